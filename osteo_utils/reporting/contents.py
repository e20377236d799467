"""What the report says: a document of sections and blocks in which every number comes from saved results.

The document is plain JSON, so that HTML and PDF print the same. A block has a `kind`: `text`, `note`, `list`,
`table`, `claims`, `figure` or `missing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd

from osteo_utils.reporting import findings
from osteo_utils.reporting.style import NAMES, protocol_name
from osteo_utils.reporting.tables import (
    MODELS,
    Block,
    Metrics,
    needed,
    other_metrics,
    protocol_table,
    said,
    saved_table,
    subject_of,
    table,
)
from osteo_utils.reporting.text import NOTICE, PROTOCOLS, SECTIONS, SYNTHETIC, Exhibit, Section
from osteo_utils.sources import registry
from osteo_utils.study import config
from osteo_utils.study.paths import StudyPaths

_ANY = Exhibit("*", "{name}.", optional=True)
CLAIMS = Section(
    "claims",
    "",
    "",
    figures=(Exhibit("headline*", "Every headline number with its interval; the paper's as a mark."),),
    tables=(
        Exhibit("headline_numbers", "The headline numbers as a table.", optional=True),
        Exhibit("paper_contradictions", "Where the paper's own numbers do not agree.", optional=True),
        Exhibit(
            "paper_intervals",
            "Wilson's intervals of the accuracies that the paper prints without one, for several sizes of test set; "
            "empty where no count prints so.",
            optional=True,
        ),
    ),
)


def summary(metrics: Metrics, claims: list[dict[str, Any]], dataset: str) -> list[str]:
    """The report in three sentences, made from the numbers."""
    files, groups, conflicts = (needed(metrics, f"data/{name}") for name in ("files", "groups", "conflicts"))
    first = (
        f"The data set {dataset} holds {said(files)} files that show {said(groups)} knees, and "
        f"{said(conflicts)} of these knees carry both labels."
    )
    scores = [
        f"{NAMES[model]} reaches AUROC {said(needed(metrics, f'{model}/grouped/auroc'))} and accuracy "
        f"{said(needed(metrics, f'{model}/grouped/accuracy'))}"
        for model in MODELS
    ]
    second = f"With no knee on both sides of a split, {', '.join(scores[:-1])}, and the combination of the two "
    second += scores[-1].split(" ", 1)[1] + "."
    lab = {
        name.split("/")[1]: value
        for name, value in metrics.items()
        if _is(name, "leakage", "accuracy") and "shuffled" not in name
    }
    honest = needed(metrics, "leakage/grouped/accuracy")
    worst = max(lab, key=lambda protocol: lab[protocol].value)
    counted = pd.Series([claim["verdict"] for claim in claims]).value_counts(sort=False)
    verdicts = ", ".join(f"{count} “{verdict}”" for verdict, count in counted.items())
    third = (
        f"One fixed small network goes from accuracy {said(honest)} when split by knee to {said(lab[worst])} under "
        f"“{protocol_name(worst)}”, and of the paper's {len(claims)} claims the verdicts are {verdicts}."
    )
    return [first, second, third]


def _is(name: str, first: str, last: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[0] == first and parts[-1] == last


def exhibits(section: Section, paths: StudyPaths, films: bool, used: set[Path]) -> list[Block]:
    """Tables and figures of a section; what is expected and not there is listed as missing."""
    blocks: list[Block] = []
    missing: list[str] = []
    places = [(section.tables, paths.tables, ".csv"), (section.figures, paths.figures, ".png")]
    if films:
        places.append((section.films, paths.films, ".png"))
    for wanted, folder, suffix in places:
        for exhibit in wanted:
            found = [path for path in _find(folder, exhibit, suffix) if path not in used]
            used.update(found)
            blocks += [
                _block(path, exhibit.caption.format(name=path.stem.replace("_", " ")), exhibit.columns)
                for path in found
            ]
            if not found and not exhibit.optional:
                missing.append(f"{folder.relative_to(paths.reports).as_posix()}/{exhibit.pattern}{suffix}")
    if missing:
        blocks.append({"kind": "missing", "items": missing})
    if section.films and not films:
        blocks.append({"kind": "note", "text": "Figures that show films were left out of this copy."})
    return blocks


def _find(folder: Path, exhibit: Exhibit, suffix: str) -> list[Path]:
    return [path for path in sorted(folder.glob(f"*{suffix}")) if fnmatch(path.stem, exhibit.pattern)]


def _block(path: Path, caption: str, columns: tuple[str, ...] = ()) -> Block:
    caption = caption[:1].upper() + caption[1:]
    if path.suffix == ".csv":
        return saved_table(path, caption, columns)
    return {"kind": "figure", "path": str(path), "caption": caption, "film": path.parent.name == "films"}


def methods(runs: Mapping[str, dict[str, Any]]) -> list[Block]:
    """Protocols in words, intervals, and every parameter that the notebooks recorded."""
    parameters = {name: value for about in runs.values() for name, value in about["parameters"].items()}
    resamples = parameters.get("bootstrap_resamples")
    rows = [
        [name, ", ".join(map(str, value)) if isinstance(value, list) else str(value), config.PARAMETERS[name].meaning]
        for name, value in parameters.items()
        if name in config.PARAMETERS
    ]
    interval = (
        "Each value is computed on out-of-fold predictions: every image is scored once by a model that was fitted "
        "without it. Its 95 % interval comes from resampling groups with replacement"
    )
    interval += f", {resamples:,} times." if resamples else "."
    return [
        table("Protocols.", ["protocol", "what it is"], [[NAMES[key], text] for key, text in PROTOCOLS.items()]),
        {"kind": "text", "text": interval},
        table("Parameters, as the notebooks recorded them.", ["parameter", "value", "meaning"], rows),
    ]


def opening_of_data(metrics: Metrics, parameters: Mapping[str, Any]) -> list[Block]:
    """Files, groups and conflicts, where the labels come from, and under which licence; osteopenia and patients."""
    known = registry.get(parameters["dataset"])
    blocks: list[Block] = [
        {"kind": "text", "text": f"{known.title}. Source: {known.source}. Licence: {known.licence}."},
        {"kind": "note", "text": known.labels},
        {"kind": "text", "text": f"{findings.osteopenia(metrics, parameters)} {findings.patients(metrics)}"},
    ]
    return [*blocks, *_some(other_metrics(metrics, "data", "The data in numbers."))]


def _some(block: Block | None) -> list[Block]:
    return [] if block is None else [block]


def numbers_of(section: Section, metrics: Metrics, parameters: Mapping[str, Any]) -> list[Block]:
    """What a section says from metrics; `parameters` are those of notebook 01."""
    if section.key == "data":
        return opening_of_data(metrics, parameters)
    if section.key == "external":
        return findings.external(metrics)
    if section.key == "segmentation":
        return _some(other_metrics(metrics, "segmentation", "Bone masks in numbers."))
    blocks = []
    if section.key in MODELS:
        blocks += _some(protocol_table(metrics, section.key))
        blocks += _some(protocol_table(metrics, f"{section.key}-segmented"))
    if section.key == "shortcuts":
        blocks += _some(protocol_table(metrics, "texture"))
    if section.key == "leakage":
        blocks += _some(protocol_table(metrics, "leakage"))
    if section.key == "ensemble":
        if sentence := findings.whether_combining_helps(metrics):
            blocks.append({"kind": "text", "text": sentence})
        blocks += _some(other_metrics(metrics, "comparison", "Differences, first minus second."))
    return blocks


def appendix(metrics: Metrics) -> list[Block]:
    """Every number that no section prints, by what it is about, so that nothing saved stays unseen."""
    topics = dict.fromkeys(subject_of(name) for name in metrics)
    blocks = [
        other_metrics(metrics, topic, f"{_titled(topic)}: all numbers that no section prints.")
        for topic in topics
        if topic not in ("data", "segmentation", "comparison", "external")
    ]
    return [{**block, "folded": True} for block in blocks if block is not None]


def _titled(topic: str) -> str:
    return NAMES.get(topic, topic.replace("_", " ").capitalize())


def document(
    paths: StudyPaths, metrics: Metrics, runs: Mapping[str, dict[str, Any]], claims: list[dict[str, Any]], films: bool
) -> dict[str, Any]:
    """The whole report as plain data: title, subtitle, notice and sections of blocks."""
    about_data = runs["01_data_download"]["parameters"]
    dataset = about_data["dataset"]
    # A table of another owner's file names; its counts stand in the section on the external set.
    used: set[Path] = {paths.tables / "external_overlap.csv"}
    body = [
        {
            "key": section.key,
            "title": section.title,
            "blocks": [
                {"kind": "text", "text": section.opening},
                *numbers_of(section, metrics, about_data),
                *exhibits(section, paths, films, used),
            ],
        }
        for section in SECTIONS
    ]
    front = [
        {
            "key": "summary",
            "title": "Summary",
            "blocks": [
                *({"kind": "text", "text": sentence} for sentence in summary(metrics, claims, dataset)),
                *([{"kind": "note", "text": SYNTHETIC}] if dataset == "phantom" else []),
            ],
        },
        {
            "key": "claims",
            "title": "The paper's claims, judged",
            "blocks": [{"kind": "claims", "rows": claims}, *exhibits(CLAIMS, paths, films, used)],
        },
    ]
    # Whatever no section above has taken is still shown, so this comes after all of them.
    rest = Section("other", "Other figures and tables", "", (_ANY,), (_ANY,), (_ANY,))
    others = exhibits(rest, paths, films, used)
    back = [
        {"key": "methods", "title": "Methods", "blocks": methods(runs)},
        {"key": "environment", "title": "Environment and run time", "blocks": findings.environment(runs)},
        {
            "key": "limits",
            "title": "Limits",
            "blocks": [{"kind": "list", "items": findings.limits(metrics, runs, dataset)}],
        },
    ]
    if numbers := appendix(metrics):
        back.append({"key": "numbers", "title": "Appendix: all other numbers", "blocks": numbers})
    if others:
        back.insert(0, {"key": "other", "title": rest.title, "blocks": others})
    return {
        "title": "Osteoporosis Prediction Using VGG16 and ResNet50: a reproduction",
        "subtitle": f"Study {paths.study}, data set {dataset}, seed {about_data['seed']}; "
        f"results of {max(about['finished'] for about in runs.values())[:10]}",
        "notice": NOTICE,
        "sections": [*front, *body, *back],
    }
