"""Which notebooks come before a notebook, and how those that were not run are made up for.

The workflow runs all in order. By hand they can be opened in any order, so each says at its start what it lacks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from osteo_utils.study import config, paths
from osteo_utils.study.parameters import NOTEBOOKS

_DATA, _MODELS = NOTEBOOKS[:3], NOTEBOOKS[3:5]
# Jupyter's server sets it for the kernels of the notebooks that a person has opened.
READ_BY_A_PERSON = "JPY_SESSION_NAME"
# For each notebook those whose results it reads.
BEFORE: dict[str, tuple[str, ...]] = {
    **{notebook: NOTEBOOKS[:place] for place, notebook in enumerate(_DATA)},
    **dict.fromkeys(_MODELS, _DATA),
    "06_ensemble": (*_DATA, *_MODELS),
    "07_leakage_lab": _DATA,
    "08_report": NOTEBOOKS[:-1],
}


def missing(notebook: str, study: str) -> list[str]:
    """Notebooks that must be run before `notebook`, in order: those that have not saved their metrics."""
    metrics = paths.StudyPaths(study).metrics
    return [name for name in BEFORE[notebook] if not (metrics / f"{name}.json").is_file()]


def require_earlier(notebook: str, study: str) -> None:
    """Raise FileNotFoundError, which says what to run and how, where a notebook that `notebook` reads was not run."""
    if not (lacking := missing(notebook, study)):
        return
    several = len(lacking) > 1
    whole = f", or in a terminal: ./run_all.sh {study}" if study in config.studies() else ""
    raise FileNotFoundError(
        f"{notebook} reads the results of {', '.join(lacking)}, which {'were' if several else 'was'} not run for the "
        f"study {study!r}. Open and run {'them in this order' if several else 'it'}{whole}, or here, in a new cell:\n"
        f"    from osteo_utils.study import order; order.run_missing({notebook!r}, globals())"
    )


def overview(study: str) -> list[dict[str, str]]:
    """For each notebook what it reads, and when it was run for the study and how long that took; in order."""
    rows = []
    for name in NOTEBOOKS:
        path = paths.StudyPaths(study).metrics / f"{name}.json"
        done = {}
        if path.is_file():
            try:
                about = json.loads(path.read_text("utf-8"))["_run"]
                done = {"run": about["finished"], "minutes": f"{about['seconds'] / 60:.1f}"}
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{path}: not the metrics of a notebook; delete it and run {name} again") from None
        reads = ", ".join(before[:2] for before in BEFORE[name]) or "nothing"
        rows.append({"notebook": name, "reads": reads, "run": "not yet", "minutes": "", **done})
    return rows


def run_missing(notebook: str, namespace: Mapping[str, Any]) -> list[str]:
    """Run the notebooks that `notebook` lacks, in order, with its parameters; returns their names.

    `namespace` is the notebook's `globals()`: parameters that an earlier notebook takes as well have the same value
    there. Executed notebooks go to `reports/<study>/notebooks`. The first error of a notebook ends the call.
    """
    # It takes a second to import, and the workflow has no need of it here.
    import papermill

    settings = config.from_namespace(notebook, namespace)
    study = paths.StudyPaths(settings["study"])
    lacking = missing(notebook, study.study)
    # Nobody reads along in the kernels that start here.
    reader = os.environ.pop(READ_BY_A_PERSON, None)
    try:
        for name in lacking:
            print(f"running {name} ...")
            study.notebooks.mkdir(parents=True, exist_ok=True)
            shared = {key: settings[key] for key in config.names_for(name) if key in settings}
            papermill.execute_notebook(
                paths.notebooks_dir() / f"{name}.ipynb",
                study.notebooks / f"{name}.ipynb",
                shared,
                kernel_name="python3",
                cwd=paths.notebooks_dir(),
            )
    finally:
        if reader:
            os.environ[READ_BY_A_PERSON] = reader
    return lacking
