"""What a person reads at the end of a run: the summary, or the one screen that explains a failure."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from progress import spoken

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CLAIM_LINES = 10
CODE_LINES = 10
TRACEBACK_LINES = 10
LOG_LINES = 15


def claims_table(claims: list[dict[str, Any]], width: int = 100) -> list[str]:
    """The claims as at most ten lines, the head included; cells too long for `width` end in an ellipsis."""
    head = {"id": "", "claim": "the paper's claim", "paper": "paper", "ours": "ours", "verdict": "verdict"}
    shown = claims if len(claims) < CLAIM_LINES else claims[: CLAIM_LINES - 2]
    rows = [head, *shown]
    columns = {name: max(len(_cell(row, name)) for row in rows) for name in head}
    # The claim's text gives way first: paper, ours and verdict are what the reader came for.
    others = sum(size for name, size in columns.items() if name != "claim") + 2 * len(columns)
    columns["claim"] = min(columns["claim"], max(16, width - others))
    lines = ["  ".join(_fit(_cell(row, name), size) for name, size in columns.items()).rstrip() for row in rows]
    if len(shown) < len(claims):
        lines.append(f"and {len(claims) - len(shown)} more in the report")
    return [_fit(line, width).rstrip() for line in lines]


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else " ".join(str(value).split())


def _fit(text: str, size: int) -> str:
    return text.ljust(size) if len(text) <= size else text[: size - 1] + "…"


def notebook_seconds(metrics: Path) -> dict[str, float]:
    """Seconds that each notebook took when it last ran, from the metrics that it left."""
    found = {}
    for path in sorted(metrics.glob("*.json")):
        about = json.loads(path.read_text("utf-8")).get("_run", {})
        if "seconds" in about:
            found[path.stem] = float(about["seconds"])
    return found


def summary(study: Any, seconds: float, width: int = 100) -> list[str]:
    """Where the report is, the claims, and how long it took. `study` is a StudyPaths."""
    lines = [""]
    if study.claims.is_file():
        lines += claims_table(json.loads(study.claims.read_text("utf-8")), width)
    else:
        lines.append("No claims yet: notebook 08 has not run.")
    took = [f"{name[:2]} {spoken(passed)}" for name, passed in notebook_seconds(study.metrics).items()]
    report = study.reports / "report.html"
    lines += ["", f"Report     {report}" if report.is_file() else "Report     not written yet"]
    if (pdf := report.with_suffix(".pdf")).is_file():
        lines.append(f"           {pdf}")
    lines += [f"Notebooks  {study.notebooks}", f"Took       {spoken(seconds)} in all"]
    if took:
        listed = textwrap.wrap("each notebook when it last ran: " + ", ".join(took), width - 11)
        lines += [" " * 11 + line for line in listed]
    return lines


def failure(name: str, study: Any, resume: str) -> list[str]:
    """One screen about a notebook that failed: the cell, its error, the log, and how to go on."""
    copy, log = study.notebooks / f"{name}.ipynb", study.logs / f"{name[:2]}.log"
    lines = ["", f"Notebook {name} failed."]
    found = _failed_cell(copy)
    if found is None:
        lines += ["It left no cell with an error. The end of its log:", "", *tail(log)]
    else:
        cell, error = found
        where = f"In [{cell['execution_count']}]" if cell.get("execution_count") else "a cell"
        source = "".join(cell["source"]).splitlines()
        lines += [f"The cell is {where}, id {cell.get('id', 'unknown')}:", ""]
        lines += [f"    {line}" for line in source[:CODE_LINES]]
        lines += ["    ..."] if len(source) > CODE_LINES else []
        if error is None:
            lines += ["", "The kernel stopped while this cell ran, perhaps for want of memory. The end of the log:"]
            lines += ["", *tail(log)]
        else:
            trace = COLOURS.sub("", "\n".join(error.get("traceback", []))).splitlines()
            message = f"{error.get('ename')}: {error.get('evalue')}".splitlines()
            # The traceback repeats the message at its end.
            body = trace[: -len(message)] if trace[-len(message) :] == message else trace
            lines += ["", *[f"    {line}" for line in body[-TRACEBACK_LINES:]], "", *message[:8]]
    return [*lines, "", f"Executed copy  {copy}", f"Log            {log}", f"To go on       {resume}"]


def _failed_cell(copy: Path) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
    """The cell with an error output, and the error; or the cell that was running when the kernel stopped."""
    try:
        cells = json.loads(copy.read_text("utf-8"))["cells"]
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for cell in code:
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                return cell, output
    running = [cell for cell in code if cell["metadata"].get("papermill", {}).get("status") in ("running", "failed")]
    return (running[-1], None) if running else None


def tail(log: Path, lines: int = LOG_LINES) -> list[str]:
    """The last lines of a log, indented."""
    if not log.is_file():
        return [f"    ({log} is not there)"]
    return [f"    {line[:160]}" for line in log.read_text("utf-8", "replace").splitlines()[-lines:]]
