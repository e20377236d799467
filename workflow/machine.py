"""The machine that a run finds: its cores, its GPUs, and what programs started from here must be told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from osteo_utils.study import paths, resources


def environment(cores: int | None = None) -> dict[str, str]:
    """Variables for every program that is started from here."""
    child = {
        # The user's own ~/.keras/keras.json may name another backend or number format.
        "KERAS_HOME": str(paths.weights_dir() / "keras"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "OSTEO_HOME": str(paths.home()),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "IPYTHONDIR": str(paths.code_root() / "workflow" / "ipython"),
        # A kernel or a package in the user's home must not stand in for the locked one.
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONNOUSERSITE": "1",
    }
    if cores:
        child["OSTEO_THREADS"] = str(cores)
    if found := gpus():
        child[resources.VISIBLE] = ",".join(found)
    return child


def all_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """GPUs that the models may use: those nvidia-smi lists, or of them those that CUDA_VISIBLE_DEVICES names; none with
    OSTEO_LOCK=cpu."""
    if os.environ.get("OSTEO_LOCK") == "cpu" or not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    named = resources.gpus() if resources.VISIBLE in os.environ else list(map(str, range(count)))
    return named[:count]
