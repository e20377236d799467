#!/usr/bin/env bash
# Renews the three locks from pyproject.toml; needs uv.
#   workflow/lock.sh             keep every version that still fits
#   workflow/lock.sh --upgrade   take the newest of everything
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() {
    uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
        --extra dev "$@" pyproject.toml >/dev/null
}

compile --extra cpu --output-file requirements.lock "$@"
# The first lock binds the second, so that they differ in TensorFlow and NVIDIA lines alone.
compile --extra gpu --constraint requirements.lock --output-file requirements-gpu.lock "$@"
# The site is built inside either environment, so nothing that they hold may change.
compile --extra site --constraint requirements.lock --output-file requirements-site.lock "$@"
