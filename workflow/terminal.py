"""What a person reads at the end of a run: the summary, or the one screen that explains a failure."""

import json
import re
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

from osteo_utils.study.paths import StudyPaths

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LINES = 10  # at most, of each part of a screen


def duration(seconds: float) -> str:
    """A duration as people say it: `8 s`, `2 min 05 s`, `1 h 02 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


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


def summary(study: StudyPaths, seconds: float, width: int = 100) -> list[str]:
    """Where the report is, the claims, and how long it took."""
    lines = ["No claims yet: notebook 08 has not run."]
    if study.claims.is_file():
        lines = claims_table(json.loads(study.claims.read_text("utf-8")), width)
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


def failure(failed: list[str], study: StudyPaths, resume: str) -> list[str]:
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
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else [f"({log} is not there)"]
    return _indented(lines[-LINES:])


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line[:160]}" for line in lines]
