#!/usr/bin/env bash
# Reads the metadata of corrected sets with the programs that their formats come with: mlcroissant and rocrate.
#
#   benchmarks/check_corrected.sh [FOLDER ...]    default: every reports/published/*/corrected
#
# They are installed into a temporary folder beside the project's environment. They are not in the lock, as they need nine
# more packages, one of which is distributed as source alone, for two small files that the tests check by their own rules.
# OSTEO_PYTHON names the Python of the project's environment (default: .venv/bin/python).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${OSTEO_PYTHON:-.venv/bin/python}"
shopt -s nullglob
folders=("$@")
[ "$#" -gt 0 ] || folders=(reports/published/*/corrected)
[ "${#folders[@]}" -gt 0 ] || { echo "no corrected set is published; name a folder" >&2; exit 2; }
temporary="$(mktemp -d)"
trap 'rm -rf "$temporary"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$temporary" \
    mlcroissant==1.1.1 rocrate==0.16.0 arcp==0.2.1 decorator==5.3.1 etils==1.15.0 fsspec==2026.9.0 jsonpath-rw==1.4.0 \
    pandas-stubs==3.1.0.261029 ply==3.11 rdflib==7.6.0 zipp==4.1.2
PYTHONPATH="$temporary" "$python" - "${folders[@]}" <<'PYTHON'
import sys
from pathlib import Path

import pandas as pd
from mlcroissant import Dataset
from rocrate.rocrate import ROCrate

wrong = 0
for folder in map(Path, sys.argv[1:]):
    data = Dataset(jsonld=str(folder / "croissant.json"))  # raises where the file is not valid
    found = [*data.metadata.ctx.issues.errors, *data.metadata.ctx.issues.warnings]
    films = pd.read_csv(folder / "films.csv", keep_default_na=False, dtype=str)
    # Reading the records makes mlcroissant find the file, compare its SHA-256 and convert every column.
    records = pd.DataFrame(data.records("films")).rename(columns=lambda name: name.removeprefix("films/"))
    if list(records) != list(films) or len(records) != len(films):
        found.append(f"{len(records)} records with {list(records)}, expected {len(films)} with {list(films)}")
    elif not (records["sha256"].map(bytes.decode) == films["sha256"]).all():
        found.append("records have other SHA-256 than films.csv")
    crate = ROCrate(str(folder))
    described = {entity.id for entity in crate.data_entities}
    there = {path.name for path in folder.iterdir()} - {"ro-crate-metadata.json"}
    if described != there:
        found.append(f"the crate describes {sorted(described)}, the folder holds {sorted(there)}")
    linked = {one["@id"] for entity in crate.get_entities() for value in entity.properties().values()
              for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict) and "@id" in one}
    if lost := {name for name in linked if not crate.get(name)} - {"https://w3id.org/ro/crate/1.1"}:
        found.append(f"the crate links to {sorted(lost)}, which it does not describe")
    for problem in found:
        print(f"{folder}: {problem}", file=sys.stderr)
    print(f"{folder}: {len(records)} records by mlcroissant, {len(crate.get_entities())} entities by rocrate, {len(found)} problems")
    wrong += len(found)
sys.exit(wrong > 0)
PYTHON
