"""Reporting checklists, model card, datasheet and the reviewer's page, filled by a run.

The items are data (`guidelines/<guideline>.yaml`). Each is answered by facts of the run with links to where they stand,
by what the author says in `about.yaml`, or by the reason why neither can answer it. What is missing is always named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from osteo_utils.plots.style import NAMES
from osteo_utils.reporting.report import BESIDE
from osteo_utils.reporting.tables import MODELS
from osteo_utils.reporting.text import NOTICE
from osteo_utils.review import answers
from osteo_utils.review.answers import FOLDER, REPORT, Link, Study
from osteo_utils.study import about, config, results
from osteo_utils.study.paths import StudyPaths

GUIDELINES = ("claim", "tripod_ai", "reforms", "probast_ai", "stard_ai", "mi_claim", "model_card", "datasheet")
TEMPLATE = "about_template.yaml"
# How an item can be answered, from a whole answer to none, and what a page calls it.
RUN, BOTH, AUTHOR, PART, OPEN, NOT_US = STATES = ("run", "both", "author", "part", "open", "not_us")
WORDS = {
    RUN: "by this run",
    BOTH: "by run and author",
    AUTHOR: "by the author",
    PART: "in part",
    OPEN: "not answered",
    NOT_US: "not by us",
}
READ = (
    "Topics and numbers of items were read from copies of the guidelines. Compare them with the originals before a "
    "checklist is handed in under a guideline's name. No checklist says that a study is good; it says what can be read "
    "where. Whether the author's words are enough of an answer is for the reader to judge."
)
Row = dict[str, Any]


@cache
def guideline(name: str) -> dict[str, Any]:
    """One list: title, source, note and items (item, topic; facts, about, lacks, or a reason)."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))


def answer(study: Study, said: dict[str, Any], item: dict[str, Any], shown: Collection[str]) -> Row:
    """The answer to one item: its state, what the run and the author say, what is missing, and where it stands.

    `said` are the fields of `about.yaml`, `shown` the files of the study that a link may lead to.
    """
    row: Row = {"item": item["item"], "topic": item["topic"], "run": [], "author": [], "missing": [], "links": []}
    if "reason" in item:
        return row | {"state": NOT_US, "missing": [item["reason"]]}
    links: list[Link] = []
    for name in item.get("facts", ()):
        fact = answers.fact(study, name)
        row["run"] += fact.said
        links += [link for link in fact.links if link not in links]
        row["missing"] += [f"Not in this run: {reason}." for reason in fact.missing]
    for name in item.get("about", ()):
        text = said.get(name)
        if not text:
            row["missing"].append(f"Not said: {name} ({about.FIELDS[name]}); write it into about.yaml.")
        elif about.is_unknown(text):
            row["missing"].append(f"The author on {_in_words(name)}: {_sentence(text)}")
        else:
            words = ", ".join(text) if isinstance(text, list) else text
            row["author"].append(f"{_in_words(name).capitalize()}: {_sentence(words)}")
    if "lacks" in item:
        row["missing"].append(f"Missing: {item['lacks'].rstrip('.')}.")
    return row | {"state": _state(row), "links": _grouped(links, shown)}


def _in_words(name: str) -> str:
    return name.replace("_", " ")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _state(row: Row) -> str:
    if row["missing"]:
        return PART if row["run"] or row["author"] else OPEN
    if row["run"] and row["author"]:
        return BOTH
    return RUN if row["run"] else AUTHOR


def _grouped(links: list[Link], shown: Collection[str]) -> list[dict[str, Any]]:
    """Links by file: where it leads (empty for a file that is not shown), and what to look for in it."""
    words: dict[str, list[str]] = {}
    for link in links:
        words.setdefault(link.target, [])
        if link.words and link.words not in words[link.target]:
            words[link.target].append(link.words)
    return [
        {"label": target, "href": target if target.partition("#")[0] in shown else "", "words": found}
        for target, found in words.items()
    ]


def filled(study: Study, said: dict[str, Any], name: str, shown: Collection[str]) -> dict[str, Any]:
    """A list with its answers, and how many items have each state."""
    listed = guideline(name)
    rows = [answer(study, said, item, shown) for item in listed["items"]]
    counts = Counter(row["state"] for row in rows)
    return {**listed, "key": name, "rows": rows, "counts": {state: counts[state] for state in STATES}}


def pages(study: str, shown: Collection[str] | None = None) -> dict[str, str]:
    """The four pages of a study as text by file name.

    `shown` are the files, relative to the pages, that links may lead to; without it all files of the study. Raises
    FileNotFoundError or ValueError where results are missing or broken.
    """
    found = answers.load(study)
    said = about.of_study(study, found.dataset)
    if shown is None:
        there = (path for path in found.reports.rglob("*") if path.is_file())
        shown = {*(path.relative_to(found.reports).as_posix() for path in there), *REPORT}
    shown = {*shown, *BESIDE}
    lists = [filled(found, said, name, shown) for name in GUIDELINES]
    by_key = {one["key"]: one for one in lists}
    about_run = {
        "subtitle": f"Study {study}, data set {found.dataset}; results of {_finished(found)}",
        "notice": NOTICE,
        "words": WORDS,
        "report": "report.html" if "report.html" in shown else "",
    }
    warning = config.too_few(found.metrics["data/groups"].value) if "data/groups" in found.metrics else ""
    reviewer = filled(found, said, "reviewer", shown)
    content = {**about_run, "lists": lists, "read": READ, "said": bool(said), "states": STATES}
    return {
        "checklists.html": results.page(FOLDER / "checklists.html.j2", content),
        "reviewer.html": results.page(
            FOLDER / "reviewer.html.j2", {**about_run, "list": reviewer, "warning": warning, "synthetic": found.dataset == "phantom"}
        ),
        "model_card.md": model_card(found, by_key["model_card"]),
        "datasheet.md": _markdown(f"Datasheet: {study}", by_key["datasheet"], about_run["subtitle"]),
    }  # fmt: skip


def _finished(study: Study) -> str:
    return max(run["finished"] for run in study.runs.values())[:10]


def write(study: str) -> list[Path]:
    """Write the pages into the study's folder, and `about_template.yaml` where no author said anything; their paths."""
    paths = StudyPaths(study)
    made = []
    for name, text in pages(study).items():
        results.write_text(paths.reports / name, text)
        made.append(paths.reports / name)
    form = paths.reports / TEMPLATE
    if about.of_study(study, answers.load(study).dataset):
        form.unlink(missing_ok=True)
    else:
        results.write_text(form, about.template())
        made.append(form)
    return made


def shares(study: str) -> dict[str, dict[str, int]]:
    """How many items of each list have each state, by the list's title and the state's words."""
    found = answers.load(study)
    said = about.of_study(study, found.dataset)
    lists = [filled(found, said, name, ()) for name in GUIDELINES]
    return {one["title"]: {WORDS[state]: count for state, count in one["counts"].items()} for one in lists}


def model_card(study: Study, listed: dict[str, Any]) -> str:
    """The model card: metadata that the Hugging Face hub reads, then the answers as Markdown."""
    name = f"{study.name}: VGG16, ResNet50 and their average on knee radiographs"
    measured = []
    for model in MODELS:
        scores = [
            {
                "type": kind,
                "name": f"{score}, out of fold, {one.low:.3f} to {one.high:.3f}",
                "value": round(one.value, 3),
            }
            for kind, score in (("roc_auc", "AUROC"), ("accuracy", "accuracy"))
            if (one := study.metrics.get(f"{model}/grouped/{score.lower()}")) and one.low is not None
        ]
        if scores:
            task = {"type": "image-classification"}
            data = {"type": study.dataset, "name": f"{study.dataset}, no group on both sides of a split"}
            measured.append((model, {"task": task, "dataset": data, "metrics": scores}))
    head: dict[str, Any] = {
        "license": "other",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["knee-radiographs", "osteoporosis", "reproducibility", "research-only"],
    }
    if measured:
        head["model-index"] = [{"name": NAMES[model], "results": [found]} for model, found in measured]
    header = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)
    body = _markdown(f"Model card: {name}", listed, f"Results of {_finished(study)}, data set {study.dataset}")
    return f"---\n{header}---\n\n{body}"


def _markdown(title: str, listed: dict[str, Any], subtitle: str) -> str:
    """A list with its answers as Markdown."""
    lines = [f"# {_plain(title)}", _plain(subtitle), f"**{NOTICE}**", f"{listed['note']} Source: {listed['source']}"]
    for row in listed["rows"]:
        lines.append(f"## {row['item']}. {row['topic']}")
        lines += [_plain(" ".join(row["run"]))] if row["run"] else []
        lines += [f"Author. {_plain(' '.join(row['author']))}"] if row["author"] else []
        lines += ["\n".join(f"- {_plain(text)}" for text in row["missing"])] if row["missing"] else []
        places = [_place(link) for link in row["links"]]
        lines += [f"Where: {'; '.join(places)}"] if places else []
    return "\n\n".join(lines) + "\n"


def _place(link: dict[str, Any]) -> str:
    where = f"[{link['label']}]({link['href']})" if link["href"] else f"{link['label']} (not published)"
    return f"{where} ({', '.join(f'`{word}`' for word in link['words'])})" if link["words"] else where


def _plain(text: str) -> str:
    """Text of any author as Markdown that shows it as it is."""
    for sign in "\\`*_[]<>#|":
        text = text.replace(sign, f"\\{sign}")
    return text
