"""Follow a run by its logs: which notebook runs, how far it is, how long it took."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from typing import TextIO

from tqdm import tqdm

from osteo_utils.study import config, paths
from terminal import duration

# What Snakemake's log says of a notebook: it is planned, has started, has finished, has failed.
EVENT = re.compile(
    r"^(nb\d\d)\s+\d+\s*$|^(?:local)?rule (nb\d\d):|^Finished jobid: \d+ \(Rule: (nb\d\d)\)|^Error in rule (nb\d\d)[,:]",
    re.MULTILINE,
)
CELL = re.compile(r"Executing Cell (\d+)-")
NAMES = {f"nb{name[:2]}": name for name in config.NOTEBOOKS}


@cache
def cell_count(name: str) -> int:
    """Cells of an executed notebook: those of its source, and one for the parameters that papermill injects."""
    return len(json.loads((paths.notebooks_dir() / f"{name}.ipynb").read_text("utf-8"))["cells"]) + 1


class Progress:
    """What the logs of a study say so far: Snakemake's, and papermill's for each notebook.

    `started` holds the time of each start, `finished` the seconds that each notebook took. On a terminal one line is
    kept up to date; elsewhere each notebook's start and end is a line.
    """

    def __init__(self, study: paths.StudyPaths, stream: TextIO) -> None:
        self.study, self.stream = study, stream
        self.started: dict[str, float] = {}
        self.finished: dict[str, float] = {}
        self.failed: list[str] = []
        self.began = time.monotonic()
        layout = {"bar_format": "  {n_fmt} of {total_fmt} |{bar:12}|  {desc}", "dynamic_ncols": True, "leave": False}
        self._line = tqdm(total=0, file=stream, disable=not stream.isatty(), **layout)

    def update(self) -> None:
        """Read the logs and show what is new."""
        log = self.study.logs / "snakemake.log"
        events = EVENT.findall(log.read_text("utf-8", "replace")) if log.is_file() else []
        kinds = zip(("", "", "", ""), *events, strict=True)
        planned, started, finished, self.failed = ([NAMES[r] for r in dict.fromkeys(kind) if r] for kind in kinds)
        total = max(len(planned), len(started))
        for name in started:
            if name not in self.started:
                self.started[name] = time.monotonic()
                if self._line.disable:
                    self._print(f"  {name:<20} started")
        for name in finished:
            if name not in self.finished:
                self.finished[name] = time.monotonic() - self.started.get(name, self.began)
                share = f"{len(self.finished)} of {total}"
                self._print(f"  {name:<20} {duration(self.finished[name]):>12}   {share}")
        self._line.total, self._line.n = total, len(finished)
        self._line.set_description_str("; ".join(map(self._state, self.running)) or "looking what there is to do")

    def close(self) -> None:
        """Take the live line away."""
        self._line.close()

    @property
    def running(self) -> list[str]:
        """Notebooks that have started and neither finished nor failed."""
        return [name for name in self.started if name not in self.finished and name not in self.failed]

    def cell(self, name: str) -> int:
        """Number of the cell that a notebook is at, counted from 1; 0 before the first."""
        log = self.study.logs / f"{name[:2]}.log"
        if not log.is_file():
            return 0
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 65536))
            found = CELL.findall(stream.read().decode("utf-8", "replace"))
        return int(found[-1]) if found else 0

    def _state(self, name: str) -> str:
        at = self.cell(name)
        place = f"cell {at} of {cell_count(name)}" if at else "starting"
        return f"{name}  {place}  {duration(time.monotonic() - self.started[name])}"

    def _print(self, line: str) -> None:
        tqdm.write(line, file=self.stream)
        self.stream.flush()
