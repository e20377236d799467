"""Where tables, figures and saved metrics of the report come from: the file, and the notebook cell that saved it.

`Run` notes the cell when it saves. The executed notebooks become pages beside the report, with an anchor for each cell,
that need neither a kernel nor a network.

python -m osteo_utils.reporting.provenance STUDY
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter

from osteo_utils.papers import claims
from osteo_utils.reporting.tables import Block, Cited, Metrics, as_text
from osteo_utils.study import config, results
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate

TEMPLATE = Path(__file__).with_name("notebook_page.html.j2")
# Widgets need a kernel and scripts a browser that runs them; every such output has a picture or a text beside it.
LIVE = re.compile(r"javascript|widget|bokeh|vega")
_ACTIVE = re.compile(r"<(script|style)\b.*?</\1\s*>|<(?:link|meta|iframe|base)\b[^>]*>", re.IGNORECASE | re.DOTALL)
_TO_NOTEBOOK = re.compile(r'(href="(?:\d\d_\w+))\.ipynb')


class Watched(Mapping[str, Estimate]):
    """Metrics that remember which of them were read."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics, self.read = metrics, {}

    def __getitem__(self, name: str) -> Estimate:
        self.read[name] = self.metrics[name]
        return self.read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)


def told(make: Callable[[Metrics], str], metrics: Metrics) -> Block:
    """The text that `make` writes from metrics, as a block that knows which of its numbers is which metric."""
    watched = Watched(metrics)
    text = make(watched)
    return {"kind": "text", "text": text, "pieces": pieces(text, watched.read)}


def pieces(text: str, read: Metrics) -> list[tuple[str, str]]:
    """The text in parts, each with the name of the metric that it prints, or "".

    A number is taken for the metric of `read` that prints like it. Several that print alike are taken in order if the
    text has as many such numbers, else none of them is named: which is which cannot be told.
    """
    printed: dict[str, list[str]] = {}
    for name, estimate in read.items():
        for words in _printed(estimate):
            printed.setdefault(words, []).append(name)
    if not printed:
        return [(text, "")]
    longest_first = "|".join(map(re.escape, sorted(printed, key=len, reverse=True)))
    parts = re.split(rf"(?<![\w.,+-])({longest_first})(?![\w%]|[.,]\d)", text)
    found = []
    for place, part in enumerate(parts):
        names = printed[part] if place % 2 else [""]
        if len(names) > 1 and len(names) != parts[1::2].count(part):
            names = [""]
        alike = parts[1:place:2].count(part) if len(names) > 1 else 0
        found += [(part, names[alike])] if part else []
    return found


def claims_block(
    rows: list[dict[str, Any]], metrics: Metrics, short: bool = False, beside: Mapping[str, Any] | None = None
) -> Block:
    """The verdicts on the claims, each knowing which numbers in `ours` and `why` are metrics that its rule reads.

    A `short` block leaves out the reasons; `beside` has other verdicts by the claim's id.
    """
    tests = {claim["id"]: claim["tests"] for claim in claims.load()["claims"]}
    read = {row["id"]: {name: metrics[name] for name in tests.get(row["id"], ()) if name in metrics} for row in rows}
    known = [
        {**row, **{f"{part}_pieces": pieces(row[part], read[row["id"]]) for part in ("ours", "why")}} for row in rows
    ]
    return {"kind": "claims", "rows": known, "short": short, "beside": beside or {}, "origin": ["claims.json"]}


def figure_block(path: Path, caption: str) -> Block:
    """A saved figure as a block of the report."""
    film = path.parent.name == "films"
    origin = f"figures/{'films/' if film else ''}{path.name}"
    return {"kind": "figure", "path": str(path), "caption": caption, "film": film, "origin": [origin]}


def with_origins(blocks: list[Block], known: Mapping[str, Mapping[str, Any]]) -> None:
    """Give each table that prints metrics, and no file, the files of its metrics as `origin`."""
    for block in blocks:
        if block["kind"] == "table" and "origin" not in block:
            names = [cell.metric for row in block["rows"] for cell in row if isinstance(cell, Cited)]
            block["origin"] = list(dict.fromkeys(known[name]["file"] for name in names if name in known))


def _printed(estimate: Estimate) -> set[str]:
    """How the report's sentences print a metric."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if low is None:
        return {as_text(estimate)}
    signed = f"{value:+.3f} ({low:+.3f} to {high:+.3f})", f"{value:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
    shares = f"{value:.0%} ({low:.0%} to {high:.0%})", f"{value:+.3f}, {low:+.3f} to {high:+.3f}"
    percent = f"{100 * value:.1f} % ({100 * low:.1f} % to {100 * high:.1f} %)"
    points = f"{100 * value:+.1f} points ({100 * low:+.1f} points to {100 * high:+.1f} points)"
    return {as_text(estimate), str(estimate), *signed, *shares, percent, points}


def origins(paths: StudyPaths, folder: Path, running: results.Run | None = None) -> dict[str, dict[str, Any]]:
    """Where everything comes from: by the name of a metric, by `tables/x.csv`, `figures/x.png` and `metrics/x.json`.

    Each has `file`, `notebook` and `cell` ("" and 0 where none was noted), and what a report in `folder` can link to:
    `file_link` and `cell_link`, "" where it is not there. A cell is linked only where the executed notebook is that of
    the run that noted it. `running` is the notebook at work, whose metrics are not written yet.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(paths.metrics.glob("*.json")):
        content, notebook = results.read_json(path), path.stem
        about = content.pop("_run", {})
        if running is None or notebook != running.notebook:
            page = _page(paths, folder, notebook, about.get("finished"))
            found |= _of_notebook(folder, notebook, content, about.get("cells", {}), page)
    if running is not None:
        page = _page(paths, folder, running.notebook, None)
        found |= _of_notebook(folder, running.notebook, running.metrics, running.cells, page)
    saved = [
        *paths.reports.glob("claims.json"),
        *paths.tables.glob("*.csv"),
        *paths.figures.glob("*.png"),
        *paths.films.glob("*.png"),
        *paths.printed.glob("*.png"),
    ]
    for path in saved:
        name = path.relative_to(paths.reports).as_posix()
        found.setdefault(name, _origin(folder, name, "", 0, ""))
    return found


def _of_notebook(
    folder: Path, notebook: str, metrics: Mapping[str, Any], cells: Mapping[str, int], page: str
) -> dict[str, dict[str, Any]]:
    file = f"metrics/{notebook}.json"
    of_metrics = {name: _origin(folder, file, notebook, cells.get(name, 0), page) for name in metrics}
    of_files = {name: _origin(folder, name, notebook, cells[name], page) for name in cells if name not in metrics}
    return {file: _origin(folder, file, notebook, 0, page), **of_metrics, **of_files}


def _origin(folder: Path, file: str, notebook: str, cell: int, page: str) -> dict[str, Any]:
    anchor = f"{page}#cell-id=in-{cell}" if page and cell else page
    drawing = str(Path(file).with_suffix(".svg"))
    file = drawing if file.endswith(".png") and (folder / drawing).is_file() else file
    beside = file if (folder / file).is_file() else ""
    return {"file": file, "notebook": notebook, "cell": cell, "file_link": beside, "cell_link": anchor}


def _page(paths: StudyPaths, folder: Path, notebook: str, finished: str | None) -> str:
    """The page of an executed notebook as a report in `folder` links to it; "" where it is of another run."""
    executed = folder / "notebooks" / f"{notebook}.ipynb"
    if folder != paths.reports or not executed.is_file():
        return ""
    times = results.read_json(executed)["metadata"].get("papermill", {})
    start, end = times.get("start_time"), times.get("end_time")
    # Times are in UTC; that of the metrics is in whole seconds.
    same = end is None if finished is None else _seconds(start) <= _seconds(finished) <= _seconds(end)
    return f"notebooks/{notebook}.html" if same else ""


def _seconds(time: str | None) -> float:
    """Whole seconds of a time as text; a notebook that is still running has no end."""
    return datetime.fromisoformat(time).timestamp() // 1 if time else float("inf")


def write_pages(paths: StudyPaths) -> list[Path]:
    """Write `notebooks/<name>.html` beside each executed notebook of a study; returns the pages."""
    names = [name for name in config.NOTEBOOKS if (paths.notebooks / f"{name}.ipynb").is_file()]
    for name in names:
        results.write_text(
            paths.notebooks / f"{name}.html", as_page(paths.notebooks / f"{name}.ipynb", paths.study, names)
        )
    return [paths.notebooks / f"{name}.html" for name in names]


def as_page(notebook: Path, study: str, names: Sequence[str]) -> str:
    """An executed notebook as one HTML page without scripts; `names` are the notebooks that it leads to.

    A code cell has the anchor `cell-id=in-17`, where 17 is the number beside it.
    """
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.id = f"in-{cell.execution_count or 0}" if cell.execution_count else cell.id
            for output in cell.outputs:
                _make_still(output)
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    body, _ = exporter.from_notebook_node(content)
    # A wide table moves sideways in its box, also by the keyboard.
    body = _TO_NOTEBOOK.sub(r"\1.html", body).replace('<div class="output_html', '<div tabindex="0" class="output_html')
    return results.page(TEMPLATE, {"title": notebook.stem, "study": study, "names": names, "body": body})


def _make_still(output: dict[str, Any]) -> None:
    """Take out of an output what would run or be fetched."""
    data = output.get("data", {})
    for kind in [kind for kind in data if LIVE.search(kind)]:
        del data[kind]
    if "text/html" in data:
        data["text/html"] = _ACTIVE.sub("", data["text/html"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: write the pages of a study's executed notebooks."""
    parser = argparse.ArgumentParser(prog="python -m osteo_utils.reporting.provenance")
    parser.add_argument("study", help="name of the study, as under reports/")
    for path in write_pages(StudyPaths(parser.parse_args(arguments).study)):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
