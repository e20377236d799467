"""What a person sees of a run: how far it is; at its end the summary, or the one screen that explains a failure."""

import json
import re
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from osteo_utils.study import config, paths, progress

# What Snakemake's log says of a notebook: it is planned, has started, has finished, has failed.
EVENT = re.compile(
    r"^(nb\d\d)\s+\d+\s*$|^(?:local)?rule (nb\d\d):|^Finished jobid: \d+ \(Rule: (nb\d\d)\)|^Error in rule (nb\d\d)[,:]",
    re.MULTILINE,
)
CELL = re.compile(r"Executing Cell (\d+)-")
NAMES = {f"nb{name[:2]}": name for name in config.NOTEBOOKS}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LINES = 10  # at most, of each part of a screen
SECONDS_BETWEEN_LINES = 60  # where the output is no terminal


def duration(seconds: float) -> str:
    """A duration as people say it: `8 s`, `2 min 05 s`, `1 h 02 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace") if log.is_file() else ""


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
        self.began = self.told = time.monotonic()
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
                tqdm.write(f"  {name:<20} started", self.stream)
        for name in [name for name in finished if name not in self.finished]:
            took = self.finished[name] = time.monotonic() - self.started.get(name, self.began)
            tqdm.write(f"  {name:<20} {duration(took):>12}   {len(self.finished)} of {total}", self.stream)
            if name[:2] == "02":
                tqdm.write(f"  first figures: {self.study.figures}", self.stream)
        self.line.total, self.line.n = total or None, len(finished)
        if not self.line.disable:
            self.line.set_description_str("; ".join(map(self._state, self.running)) or "looking what there is to do")
        elif self.running and time.monotonic() - self.told > SECONDS_BETWEEN_LINES:
            self.told = time.monotonic()
            tqdm.write("\n".join(f"  {self._state(name)}" for name in self.running), self.stream)

    @property
    def running(self) -> list[str]:
        """Notebooks that have started and neither finished nor failed."""
        return [name for name in self.started if name not in self.finished and name not in self.failed]

    def cell(self, name: str) -> int:
        """Number of the cell that a notebook is at, counted from 1; 0 before the first."""
        found = CELL.findall(_text(self.study.logs / f"{name[:2]}.log"))
        return int(found[-1]) if found else 0

    def _state(self, name: str) -> str:
        """What a notebook is at, how long it has been at work and, where it has planned its work, how long it will be."""
        ran = duration(time.monotonic() - self.started[name])
        counted = progress.path_of(self.study, name)
        with suppress(FileNotFoundError):
            # The file of an earlier run lies there until the notebook has made its own plan.
            if time.time() - counted.stat().st_mtime < time.monotonic() - self.started[name]:
                state = progress.read(counted)
                left = "" if state.seconds_left is None else f", about {duration(state.seconds_left)} left"
                return f"{name}  {_doing(state.at_work)}  {state.share:.0%} after {ran}{left}"
        at = self.cell(name)
        cells = json.loads((paths.notebooks_dir() / f"{name}.ipynb").read_text("utf-8"))["cells"]
        # papermill adds one cell, the parameters that it injects.
        place = f"cell {at} of {len(cells) + 1}" if at else "starting"
        return f"{name}  {place}  {ran}"


def _doing(kind: str) -> str:
    return {"": "starting", progress.PASSES: "films through the trunk"}.get(kind, f"fits of {kind}")


def claims_table(claims: list[dict[str, Any]], width: int = 100) -> list[str]:
    """The claims as at most ten lines, the head included; cells too long for `width` end in an ellipsis."""
    shown = claims if len(claims) < LINES else claims[: LINES - 2]
    rows = [["", "the paper's claim", "paper", "ours", "verdict"]]
    for claim in shown:
        cells = (claim.get(name) for name in ("id", "claim", "paper", "ours", "verdict"))
        rows.append(["" if cell is None else " ".join(str(cell).split()) for cell in cells])
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The claim's text gives way first: paper, ours and verdict are what the reader came for.
    others = sum(sizes) - sizes[1] + 2 * len(sizes)
    sizes[1] = min(sizes[1], max(16, width - others))
    lines = ["  ".join(map(_fit, row, sizes)).rstrip() for row in rows]
    lines += [f"and {len(claims) - len(shown)} more in the report"] if len(shown) < len(claims) else []
    return [_fit(line, width).rstrip() for line in lines]


def _fit(text: str, size: int) -> str:
    return text.ljust(size) if len(text) <= size else text[: size - 1] + "…"


def summary(study: paths.StudyPaths, seconds: float, width: int = 100) -> list[str]:
    """Where the report is, the claims, and how long it took."""
    lines = ["No claims yet: notebook 08 has not run."]
    if study.claims.is_file():
        lines = claims_table(json.loads(study.claims.read_text("utf-8")), width)
        groups = json.loads((study.metrics / "02_eda.json").read_text("utf-8"))["data/groups"]["value"]
        lines += ["", warning] if (warning := config.too_few(groups)) else []
    report, pdf = study.reports / "report.html", study.reports / "report.pdf"
    lines += ["", f"Report     {report if report.is_file() else 'not written yet'}"]
    lines += [f"           {pdf}"] if pdf.is_file() else []
    lines += [f"Notebooks  {study.notebooks}", f"Took       {duration(seconds)} in all"]
    took = []
    for path in sorted(study.metrics.glob("*.json")):
        run = json.loads(path.read_text("utf-8")).get("_run", {})
        took += [f"{path.stem[:2]} {duration(run['seconds'])}"] if "seconds" in run else []
    listed = textwrap.wrap(f"each notebook when it last ran: {', '.join(took)}", width - 11) if took else []
    return ["", *lines, *(" " * 11 + line for line in listed)]


def failure(failed: list[str], study: paths.StudyPaths, resume: str) -> list[str]:
    """One screen about a run that failed: the cell of the first notebook, its error, the log, and how to go on."""
    log = study.logs / (f"{failed[0][:2]}.log" if failed else "snakemake.log")
    if failed:
        copy = study.notebooks / f"{failed[0]}.ipynb"
        lines = [f"Notebook {failed[0]} failed.", *_failed_cell(copy, log), "", f"Executed copy  {copy}"]
        lines += [f"Failed as well {', '.join(failed[1:])}"] if failed[1:] else []
    else:
        lines = ["The workflow stopped outside the notebooks. The end of its log:", "", *_tail(log), ""]
    return ["", *lines, f"Log            {log}", f"To go on       {resume}"]


def _failed_cell(copy: Path, log: Path) -> list[str]:
    """The cell that failed and its error; or the cell that was running when the kernel stopped."""
    cells = []
    with suppress(FileNotFoundError, json.JSONDecodeError):
        cells = [cell for cell in json.loads(copy.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    errors = [(cell, output) for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    running = [(c, None) for c in cells if c["metadata"].get("papermill", {}).get("status") in ("running", "failed")]
    if not errors + running:
        return ["It left no cell with an error. The end of its log:", "", *_tail(log)]
    cell, error = errors[0] if errors else running[-1]
    where = f"In [{cell['execution_count']}]" if cell.get("execution_count") else "a cell"
    source = "".join(cell["source"]).splitlines()
    lines = [f"The cell is {where}, id {cell.get('id', 'unknown')}:", "", *_indented(source)[:LINES]]
    lines += ["    ...", ""] if len(source) > LINES else [""]
    if error is None:
        stopped = "The kernel stopped while this cell ran, perhaps for want of memory. The end of the log:"
        return [*lines, stopped, "", *_tail(log)]
    trace = COLOURS.sub("", "\n".join(error.get("traceback", []))).splitlines()
    message = f"{error.get('ename')}: {error.get('evalue')}".splitlines()
    # The traceback repeats the message at its end.
    body = trace[: -len(message)] if trace[-len(message) :] == message else trace
    return [*lines, *_indented(body[-LINES:]), "", *message[:LINES]]


def _tail(log: Path) -> list[str]:
    return _indented(_text(log).splitlines()[-LINES:]) or [f"    ({log} is empty)"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line[:160]}" for line in lines]
