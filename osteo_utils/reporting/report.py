"""The report of a study as one HTML file and a PDF, made from saved results only.

python -m osteo_utils.reporting.report STUDY [--no-films] [--destination DIR]
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typst
from PIL import Image

from osteo_utils.papers import claims
from osteo_utils.reporting import provenance
from osteo_utils.reporting.contents import document
from osteo_utils.study import config, results, runtime
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import atomic_path, load_metrics, read_json, write_text

HERE = Path(__file__).parent
SOURCES = tuple(name for name in config.NOTEBOOKS if not name.startswith("08"))
LARGEST_SVG = 150_000
LARGEST_PNG = 150_000
FIGURE_DPI, CSS_DPI, PAGE_INCHES = 160, 96, 8.1
# Height over width of the largest figure that a page holds with its caption.
TALLEST = 1.4
# The parts of a document that paper shows; in the others a reader moves something.
PRINTED = ("title", "subtitle", "notice", "front", "sections")
# Pages beside the report (`checklists` writes them), and what a link to them says.
BESIDE = {
    "reviewer.html": "ten questions of a reviewer",
    "checklists.html": "reporting checklists",
    "model_card.md": "model card",
    "datasheet.md": "datasheet of the films",
}
_RUN_KEYS = ("parameters", "parameters_sha256", "code_sha256", "inputs", "versions", "seconds", "finished")


def recorded_runs(study: str) -> dict[str, dict[str, Any]]:
    """What each notebook before the report recorded of itself; FileNotFoundError names the one to run."""
    runs = {}
    for notebook in SOURCES:
        path = StudyPaths(study).metrics / f"{notebook}.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: not there; run the notebook {notebook} of the study {study!r} first "
                f"(./run_all.sh {study} runs all that is missing)"
            )
        about = read_json(path).get("_run")
        if not isinstance(about, dict) or any(key not in about for key in _RUN_KEYS):
            raise ValueError(f"{path}: expected '_run' with {', '.join(_RUN_KEYS)}; run {notebook} again")
        runs[notebook] = about
    return runs


def check_consistency(study: str) -> None:
    """Refuse a mixture: metrics of notebooks that did not read the same files or parameters.

    Raises ValueError that lists every contradiction and the notebooks to run again.
    """
    runs, paths = recorded_runs(study), StudyPaths(study)
    problems, again = [], set()
    for name in sorted({name for about in runs.values() for name in about["inputs"]}):
        recorded = {notebook: about["inputs"][name] for notebook, about in runs.items() if name in about["inputs"]}
        path = next((root / name for root in (paths.interim, paths.reports) if (root / name).is_file()), None)
        if path is not None:
            current = runtime.sha256_file(path)
            stale = [notebook for notebook, found in recorded.items() if found != current]
            what = "read another version than the one that is there now"
        else:
            stale = list(recorded) if len(set(recorded.values())) > 1 else []
            what = "read different versions of it"
        if stale:
            problems.append(f"{name}: {', '.join(stale)} {what}")
            again.update(stale)
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for notebook, about in runs.items():
        for name, value in about["parameters"].items():
            values[name][json.dumps(value)].append(notebook)
    for name, by_value in values.items():
        if len(by_value) > 1:
            listed = "; ".join(f"{value} in {', '.join(notebooks)}" for value, notebooks in by_value.items())
            problems.append(f"parameter {name}: {listed}")
            usual = max(by_value.values(), key=len)
            again.update(*(notebooks for notebooks in by_value.values() if notebooks is not usual))
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(
            f"study {study!r}: the results are a mixture.\n  {listed}\nRun again: {', '.join(sorted(again))}"
        )


def render(
    study: str, films: bool = True, destination: Path | None = None, running: results.Run | None = None
) -> dict[str, Path]:
    """Write `report.html` (one file) and `report.pdf`; returns their paths under "html" and "pdf".

    `films=False` leaves out every figure that shows a film. `destination` is a folder; without it the study's own
    under reports/. `running` is the notebook that asks, whose metrics are not written yet. FileNotFoundError or
    ValueError when results are missing or a mixture.
    """
    check_consistency(study)
    paths = StudyPaths(study)
    if not paths.claims.is_file():
        raise FileNotFoundError(f"{paths.claims}: not there; run the notebook 08_report, which judges the claims")
    folder = Path(destination).resolve() if destination else paths.reports
    known = provenance.origins(paths, folder, running)
    content = document(paths, load_metrics(paths.reports), recorded_runs(study), read_json(paths.claims), films, known)
    content["beside"] = {name: words for name, words in BESIDE.items() if (folder / name).is_file()}
    made = {kind: folder / f"report.{kind}" for kind in ("html", "pdf")}
    write_text(made["html"], as_html(content))
    with atomic_path(made["pdf"]) as temporary:
        as_pdf(content, temporary)
    return made


def as_html(content: dict[str, Any]) -> str:
    """The document as one self-contained HTML page: style, script and figures are inside it."""
    filters = {"picture": picture, "tone": tone, "shown_width": shown_width}
    return results.page(HERE / "report.html.j2", content, filters)


def picture(figure: dict[str, Any], number: int) -> str:
    """A figure as an element: the SVG beside it where that is small, so that its points tell their values; or an image."""
    caption, width = figure["caption"], shown_width(figure["path"])
    kind, data = drawing_of(figure["path"])
    if kind == "svg":
        return inline(data.decode(), f"f{number}-", caption, width)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" width="{width}" alt="{html.escape(caption)}">'


def drawing_of(path: str) -> tuple[str, bytes]:
    """The SVG beside a PNG where that is small, else the PNG, `compact`: its kind and its bytes."""
    drawing = Path(path).with_suffix(".svg")
    if drawing.is_file() and drawing.stat().st_size <= LARGEST_SVG:
        return "svg", drawing.read_bytes()
    return compact(Path(path).read_bytes())


def inline(drawing: str, prefix: str, caption: str, width: int) -> str:
    """Matplotlib's SVG as an element of a page: `width` CSS pixels wide, its ids behind `prefix`, its style its own."""
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", drawing, flags=re.DOTALL)
    start, _, body = body[body.index("<svg") :].partition(">")
    box = re.search(r'viewBox="[^"]*"', start)[0]
    body = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\1{prefix}", body)
    # The file's one rule, without reaching every other drawing of the page.
    style = "stroke-linejoin: round; stroke-linecap: butt"
    return f'<svg {box} width="{width}" role="img" aria-label="{html.escape(caption)}" style="{style}">{body}'


def shown_width(path: str) -> int:
    """Width in CSS pixels at which a figure's text has the size that it was drawn with."""
    with Image.open(path) as picture:
        return round(picture.width * CSS_DPI / picture.info.get("dpi", (FIGURE_DPI,))[0])


def page_share(path: str) -> float:
    """Share of a page's width at which a figure is set: not enlarged, and with its caption no taller than the page."""
    with Image.open(path) as picture:
        fitting = TALLEST * picture.width / picture.height
    return min(1.0, fitting, shown_width(path) / (CSS_DPI * PAGE_INCHES))


def compact(data: bytes) -> tuple[str, bytes]:
    """A PNG as it is, or as a JPEG where it is large because of films: its kind and its bytes."""
    if len(data) <= LARGEST_PNG:
        return "png", data
    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("RGB")
        small.thumbnail((1200, 4000))
        packed = io.BytesIO()
        small.save(packed, "JPEG", quality=80)
    return "jpeg", packed.getvalue()


def tone(verdict: str) -> str:
    """The colour of a verdict: good, bad or open; its words are always printed beside it."""
    if verdict not in claims.VERDICTS:
        known = ", ".join(claims.VERDICTS)
        raise ValueError(f"claims.json: the verdict {verdict!r} is unknown; expected one of {known}")
    if verdict in (claims.REPRODUCED, claims.WITHIN):
        return "good"
    return "bad" if verdict in (claims.NOT_REPRODUCED, claims.IMPOSSIBLE) else "open"


def as_pdf(content: dict[str, Any], path: Path) -> None:
    """Set the document as PDF at `path`, with the fonts that typst carries; needs no network."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(HERE / "report.typ", folder)
        printed = json.loads(json.dumps({name: content[name] for name in PRINTED}))
        blocks = [block for section in printed["front"] + printed["sections"] for block in section["blocks"]]
        for number, block in enumerate(block for block in blocks if block["kind"] == "figure"):
            kind, data = drawing_of(block["path"])
            block["width"] = page_share(block["path"])
            block["path"] = f"figure{number}.{kind}"
            (folder / block["path"]).write_bytes(data)
        judged = [block for block in blocks if block["kind"] == "claims"]
        for row in [row for block in judged for row in (*block["rows"], *block.get("beside", {}).values())]:
            row["tone"] = tone(row["verdict"])
        (folder / "document.json").write_text(json.dumps(printed), "utf-8")
        fonts = typst.Fonts(include_system_fonts=False)
        typst.compile(folder / "report.typ", output=path, root=folder, font_paths=fonts, pdf_standards="ua-1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code (1 with a message when the report cannot be made)."""
    parser = argparse.ArgumentParser(prog="python -m osteo_utils.reporting.report", description=__doc__.split("\n")[0])
    parser.add_argument("study", help="name of the study, as under reports/")
    parser.add_argument("--no-films", action="store_true", help="leave out every figure that shows a film")
    parser.add_argument("--destination", type=Path, help="folder to write into; the study's own without it")
    chosen = parser.parse_args(arguments)
    try:
        made = render(chosen.study, films=not chosen.no_films, destination=chosen.destination)
        if not chosen.destination:
            provenance.write_pages(StudyPaths(chosen.study))
    except (FileNotFoundError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    for path in made.values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
