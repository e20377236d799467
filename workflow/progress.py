"""Follow a run by its logs: which notebook runs, how far it is, how long it took."""

import json
import re
import time
from functools import cache
from pathlib import Path
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


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace") if log.is_file() else ""


@cache
def cell_count(name: str) -> int:
    """Cells of an executed notebook: those of its source, and one for the parameters that papermill injects."""
    return len(json.loads((paths.notebooks_dir() / f"{name}.ipynb").read_text("utf-8"))["cells"]) + 1


class Progress:
    """What the logs of a study say so far: Snakemake's, and papermill's for each notebook.

    `started` holds the time of each start, `finished` the seconds that each notebook took. On a terminal one `line` is
    kept up to date; elsewhere each notebook's start and end is a line.
    """

    def __init__(self, study: paths.StudyPaths, stream: TextIO) -> None:
        self.study, self.stream = study, stream
        self.started: dict[str, float] = {}
        self.finished: dict[str, float] = {}
        self.failed: list[str] = []
        self.began = time.monotonic()
        layout = {"bar_format": "  {n_fmt} of {total_fmt} |{bar:12}|  {desc}", "dynamic_ncols": True, "leave": False}
        self.line = tqdm(total=0, file=stream, disable=not stream.isatty(), **layout)

    def update(self) -> None:
        """Read the logs and show what is new."""
        events = EVENT.findall(_text(self.study.logs / "snakemake.log"))
        kinds = zip(("", "", "", ""), *events, strict=True)
        planned, started, finished, self.failed = ([NAMES[r] for r in dict.fromkeys(kind) if r] for kind in kinds)
        total = max(len(planned), len(started))
        for name in [name for name in started if name not in self.started]:
            self.started[name] = time.monotonic()
            if self.line.disable:
                self._print(f"  {name:<20} started")
        for name in [name for name in finished if name not in self.finished]:
            took = self.finished[name] = time.monotonic() - self.started.get(name, self.began)
            self._print(f"  {name:<20} {duration(took):>12}   {len(self.finished)} of {total}")
        self.line.total, self.line.n = total, len(finished)
        self.line.set_description_str("; ".join(map(self._state, self.running)) or "looking what there is to do")

    @property
    def running(self) -> list[str]:
        """Notebooks that have started and neither finished nor failed."""
        return [name for name in self.started if name not in self.finished and name not in self.failed]

    def cell(self, name: str) -> int:
        """Number of the cell that a notebook is at, counted from 1; 0 before the first."""
        found = CELL.findall(_text(self.study.logs / f"{name[:2]}.log"))
        return int(found[-1]) if found else 0

    def _state(self, name: str) -> str:
        at = self.cell(name)
        place = f"cell {at} of {cell_count(name)}" if at else "starting"
        return f"{name}  {place}  {duration(time.monotonic() - self.started[name])}"

    def _print(self, line: str) -> None:
        tqdm.write(line, file=self.stream)
        self.stream.flush()
