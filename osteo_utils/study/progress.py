"""How far a notebook is: the work that it has planned, what of it is done, and how long the rest will take.

Whatever works for minutes reports each piece to a logger. A notebook that has planned its work counts the pieces in a
file, which `run_all.sh` reads while the notebook runs. Without a plan the reports go nowhere.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from osteo_utils.study.paths import StudyPaths

PASSES = "passes"
_WORK = logging.getLogger("osteo_utils.work")
_WORK.propagate = False
_SECONDS_BETWEEN_WRITES = 1.0


@dataclass
class Kind:
    """Pieces of one kind of work: how many are planned and done, and how long the measured ones took.

    `cost` is the expected time of a piece as a multiple of one film's pass through the trunk. It counts until a piece of
    this kind has been measured; then its own mean time does.
    """

    planned: int
    cost: float = 1.0
    done: int = 0
    measured: int = 0
    seconds: float = 0.0

    def each(self, of_a_pass: float) -> float:
        """Seconds that a piece takes."""
        return self.seconds / self.measured if self.measured else self.cost * of_a_pass


@dataclass
class State:
    """How far a notebook is: the share that is done, from 0 to 1, the seconds left, and the kind of work at hand."""

    share: float
    seconds_left: float | None
    at_work: str


def path_of(study: StudyPaths, notebook: str) -> Path:
    """Where a notebook counts its work."""
    return study.logs / f"{notebook[:2]}.progress.json"


def report(kind: str, count: int, seconds: float = 0.0) -> None:
    """Tell that `count` pieces of a kind are done, in `seconds`; 0 for pieces that had been kept from an earlier run."""
    _WORK.info("%s %d %.3f", kind, count, seconds)


def plan(path: Path, work: Mapping[str, Kind], write: Callable[[Path, str], None]) -> None:
    """Count from now on what is reported, in the JSON file `path`; an earlier plan of this process ends."""
    for handler in _WORK.handlers[:]:
        _WORK.removeHandler(handler)
    _WORK.setLevel(logging.INFO)
    _WORK.addHandler(_Meter(path, work, write))


class _Meter(logging.Handler):
    def __init__(self, path: Path, work: Mapping[str, Kind], write: Callable[[Path, str], None]) -> None:
        super().__init__()
        self.path, self.work, self.write, self.written = path, dict(work), write, 0.0
        self.at_work = ""
        self._write("")

    def emit(self, record: logging.LogRecord) -> None:
        """Count one report; work that was not planned extends the plan."""
        name, count, seconds = record.args
        kind = self.work.setdefault(name, Kind(0))
        kind.done += count
        kind.planned = max(kind.planned, kind.done)
        if seconds:
            kind.measured, kind.seconds = kind.measured + count, kind.seconds + seconds
        self.at_work = name
        if time.monotonic() - self.written > _SECONDS_BETWEEN_WRITES:
            self._write(name)

    def _write(self, at_work: str) -> None:
        self.written = time.monotonic()
        content = {"at_work": at_work, "work": {name: asdict(kind) for name, kind in self.work.items()}}
        self.write(self.path, json.dumps(content))


def read(path: Path) -> State:
    """The state that a notebook last wrote; `seconds_left` is None until something has been measured.

    Raises FileNotFoundError where no plan has been made.
    """
    content = json.loads(path.read_text("utf-8"))
    work = {name: Kind(**kind) for name, kind in content["work"].items()}
    known = [(kind.seconds / kind.measured) / kind.cost for kind in work.values() if kind.measured]
    passes = work.get(PASSES)
    of_a_pass = passes.each(0) if passes and passes.measured else (sum(known) / len(known) if known else 1.0)
    total = sum(kind.planned * kind.each(of_a_pass) for kind in work.values())
    left = sum((kind.planned - kind.done) * kind.each(of_a_pass) for kind in work.values())
    return State(1 - left / total if total else 0.0, left if known else None, content["at_work"])
