"""What a notebook saves: tables, metrics, figures and pages, each written whole or not at all."""

from __future__ import annotations

import json
import math
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from osteo_utils.study import config, order, paths, runtime


class Contract(NamedTuple):
    """Columns and primary key of a table that rooms exchange."""

    columns: tuple[str, ...]
    key: tuple[str, ...]


def _contract(columns: str, key: str) -> Contract:
    return Contract(tuple(columns.split()), tuple(key.split()))


CONTRACTS = {
    "manifest": _contract(
        "image_id dataset role class_name label patient sha256 pixel_sha256 width height mode format bytes scale pad_left "
        "pad_top row status reason",
        "image_id",
    ),
    "audit": _contract("image_id group knee relation nearest distance conflict", "image_id"),
    "folds": _contract("protocol seed image_id view fold", "protocol seed image_id view"),
    "predictions": _contract(
        "image_id view protocol recipe variant seed fold group y_true y_prob",
        "image_id view protocol recipe variant seed",
    ),
    "history": _contract(
        "protocol recipe variant seed fold epoch loss accuracy val_loss val_accuracy seconds",
        "protocol recipe variant seed fold epoch",
    ),
    "traits": _contract(
        "among kind name value low high shuffled shuffled_low shuffled_high p_value p_corrected normal osteoporosis n_files "
        "n_groups",
        "among kind name",
    ),
    "suspect_labels": _contract(
        "image_id class_name label group osteoporosis spread self_confidence margin threshold suspect rank", "image_id"
    ),
    "suspect_films": _contract("image_id class_name group distance far mask rank", "image_id"),
}


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, what it was computed from, and its unit.

    `low` and `high` bound the 95 % interval; both are None for a count, which has no sampling error.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n_files: int | None = None
    n_groups: int | None = None
    unit: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"Estimate {self.value}: give both ends of the interval or neither")
        if not math.isfinite(self.value):
            raise ValueError(f"Estimate: the value is {self.value}; expected a finite number")

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.value:.3g}" if abs(self.value) < 1 else f"{self.value:g}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it to `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; run the notebook that writes it first")
    return path


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is named."""
    try:
        return json.loads(_existing(path).read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete it and run its notebook again") from error


def page(template: Path, content: Mapping[str, Any], filters: Mapping[str, Callable] | None = None) -> str:
    """Render a Jinja template: text is escaped, and a name without a value is an error."""
    jinja = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(filters or {})
    return jinja.get_template(template.name).render(content)


def check_table(frame: pd.DataFrame, contract: str, name: str = "table") -> None:
    """Raise ValueError unless `frame` has exactly the contract's columns and a unique, complete key."""
    wanted = CONTRACTS[contract]
    missing = [column for column in wanted.columns if column not in frame.columns]
    extra = [column for column in frame.columns if column not in wanted.columns]
    if missing or extra:
        raise ValueError(f"{name}: columns of a {contract} table are wrong: missing {missing}, unknown {extra}")
    keys = frame[list(wanted.key)]
    if keys.isna().any(axis=None):
        raise ValueError(f"{name}: the key {wanted.key} has an empty value in row {keys.isna().any(axis=1).idxmax()}")
    repeated = keys.duplicated()
    if repeated.any():
        raise ValueError(f"{name}: two rows have the same key {wanted.key}: {list(map(str, keys[repeated].iloc[0]))}")


def write_table(path: Path, frame: pd.DataFrame, contract: str | None = None) -> None:
    """Write a CSV (UTF-8, one header row) whole or not at all, checked against its contract."""
    if contract:
        check_table(frame, contract, path.name)
        frame = frame[list(CONTRACTS[contract].columns)]
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_or_clear(path: Path, frame: pd.DataFrame, contract: str) -> None:
    """Write a table that not every study has; without rows, delete what an earlier run left."""
    if frame.empty:
        path.unlink(missing_ok=True)
    else:
        write_table(path, frame, contract)


def read_table(path: Path, contract: str | None = None) -> pd.DataFrame:
    """Read a CSV of the study; a missing one is named, a wrong one refused."""
    # An image called "NA.png" or a class called "null" is a name, not a missing value.
    text = dict.fromkeys(("image_id", "other", "nearest", "reason", "patient", "class_name"), str)
    frame = pd.read_csv(_existing(path), keep_default_na=False, na_values=[""], dtype=text)
    if contract:
        check_table(frame, contract, path.name)
    return frame


def load_metrics(reports: Path) -> dict[str, Estimate]:
    """All metrics of a study's folder `reports/<study>`, by name; a name written twice is refused."""
    found: dict[str, Estimate] = {}
    for path in sorted((reports / "metrics").glob("*.json")):
        for name, entry in read_json(path).items():
            if name == "_run":
                continue
            if name in found:
                raise ValueError(f"{path.name}: the metric {name!r} is in another metrics file as well")
            found[name] = Estimate(**entry)
    return found


@dataclass
class Run:
    """One notebook at work: its parameters, folders, inputs, metrics, and the 17 of In [17] that saved a result."""

    notebook: str
    parameters: dict[str, Any]
    paths: paths.StudyPaths
    threads: int
    started: float = field(default_factory=time.perf_counter)
    metrics: dict[str, Estimate] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)

    @property
    def p(self) -> SimpleNamespace:
        """The parameters, as attributes."""
        return SimpleNamespace(**self.parameters)

    def read(self, path: Path, contract: str | None = None) -> pd.DataFrame:
        """Read a table of an earlier notebook and note its hash as an input of this one."""
        frame = read_table(path, contract)
        self.depends_on(path)
        return frame

    def depends_on(self, path: Path) -> Path:
        """Note the hash of a file that this notebook's results depend on; returns the path."""
        roots = (root for root in (self.paths.interim, self.paths.reports) if path.is_relative_to(root))
        name = next((path.relative_to(root).as_posix() for root in roots), path.name)
        self.inputs[name] = runtime.sha256_file(_existing(path))
        return path

    def metric(self, name: str, estimate: Estimate) -> Estimate:
        """Keep a metric for `metrics/<notebook>.json`; returns it."""
        self.metrics[name] = estimate
        self.note(name)
        return estimate

    def keep(self, estimates: Mapping[str, Estimate]) -> None:
        """Keep several metrics by their names."""
        for named in estimates.items():
            self.metric(*named)

    def table(self, name: str, frame: pd.DataFrame, contract: str | None = None) -> pd.DataFrame:
        """Write `tables/<name>.csv`, checked against its contract; returns the frame for display."""
        write_table(self.paths.tables / f"{name}.csv", frame, contract)
        self.note(f"tables/{name}.csv")
        return frame

    def table_or_clear(self, name: str, frame: pd.DataFrame, contract: str) -> None:
        """As `write_or_clear` does."""
        write_or_clear(self.paths.tables / f"{name}.csv", frame, contract)
        self.note(f"tables/{name}.csv")

    def note(self, name: str) -> None:
        """Note the cell at work as the one that saves `name`; without a notebook there is none."""
        if shell := "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
            self.cells[name] = shell.displayhook.prompt_count  # execution_count may be that of the next cell already

    def figure(self, figure: Any, name: str, film: bool = False) -> Any:
        """Save a figure as PNG and SVG, under `figures/films/` when it shows a radiograph; returns it."""
        folder = self.paths.films if film else self.paths.figures
        for suffix, options in ((".png", {"dpi": 160}), (".svg", {"metadata": {"Date": None}})):
            with atomic_path(folder / f"{name}{suffix}") as temporary:
                figure.savefig(temporary, bbox_inches="tight", **options)
        self.note((folder / f"{name}.png").relative_to(self.paths.reports).as_posix())
        return figure

    def finish(self) -> None:
        """Write `metrics/<notebook>.json` and say how long the notebook took."""
        # The folders of a reader's own films are private; the manifest's hash says what was read.
        private = ("data_dir", "external_dir")
        parameters = {name: value for name, value in self.parameters.items() if name not in private}
        about = {
            "notebook": self.notebook,
            "parameters": parameters,
            "parameters_sha256": runtime.hash_of(parameters),
            "code_sha256": runtime.notebook_code_hash(paths.notebooks_dir() / f"{self.notebook}.ipynb"),
            "inputs": self.inputs,
            "cells": self.cells,
            "versions": runtime.versions(),
            "threads": self.threads,
            "seconds": round(time.perf_counter() - self.started, 1),
            "peak_memory_gib": round(runtime.peak_memory_gib(), 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        content = {name: asdict(estimate) for name, estimate in self.metrics.items()}
        write_json(self.paths.metrics / f"{self.notebook}.json", {**content, "_run": about})
        print(f"{self.notebook}: {len(self.metrics)} metrics saved, {about['seconds']:.0f} s")


def start(notebook: str, namespace: Mapping[str, Any]) -> Run:
    """Open a notebook's run: check its parameters, fix seeds and threads, print the versions.

    `namespace` is the notebook's `globals()`; what it does not set is taken from `config/phantom.yaml`, and a line says
    how many parameters those are. ValueError: a parameter is wrong; FileNotFoundError: an earlier notebook was not run.
    """
    parameters = config.from_namespace(notebook, namespace)
    order.require_earlier(notebook, parameters["study"])
    threads = runtime.prepare(parameters["seed"])
    shown = runtime.versions()
    cores = "1 thread" if threads == 1 else f"{threads} threads"
    print(f"{notebook} · study {parameters['study']} · seed {parameters['seed']} · {cores}")
    print(" · ".join(f"{name} {version}" for name, version in shown.items() if name in ("python", "keras", "backend")))
    if unset := [name for name in parameters if name not in namespace]:
        print(f"{len(unset)} more parameters as in config/{config.DEFAULT_STUDY}.yaml; run.parameters shows them")
    return Run(notebook, parameters, paths.StudyPaths(parameters["study"]), threads)
