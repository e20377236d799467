"""The first two pages of the report: the question, one figure, the claims, what was found, and the limits.

Every sentence is chosen by a rule from saved numbers; what a study did not measure is left out or said to be open.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from osteo_utils.evidence import trait_words
from osteo_utils.papers import claims as paper
from osteo_utils.plots.style import NAMES, label_of
from osteo_utils.protocols.definitions import Protocol
from osteo_utils.protocols.increments import HALF_A_PERCENT
from osteo_utils.reporting.findings import paper_report, published_claims
from osteo_utils.reporting.provenance import Watched, claims_block, figure_block, pieces, told
from osteo_utils.reporting.tables import MODELS, Block, Metrics, as_text, needed
from osteo_utils.reporting.text import LIMITS, ONE_SET, SYNTHETIC
from osteo_utils.sources import registry
from osteo_utils.study import config
from osteo_utils.study.paths import StudyPaths

HALF = 0.5
# Rows of the figure's second part: metric, and what it is called.
FOLLOWED = (
    ("reference/ensemble/folder_all/auroc", "folder, all films"),
    ("reference/ensemble/folder_osteopenia/auroc", "folder, among films that are osteopenia by the reference"),
    ("reference/ensemble/reference_extremes/auroc", "reference label, normal against osteoporosis"),
)
TOPICS = ("copies", "honest", "leaks", "labels", "combining", "without_bone")
_CLAIMED = {"vgg16": "VGG16", "resnet50": "ResNet50", "ensemble-segmented": "both on bone alone"}
_LAB = ("grouped", "by_file", "augment_first", "resubstitution", "resubstitution+shuffled")


def question(metrics: Metrics, dataset: str) -> str:
    """What is asked, and of which films."""
    return f"{_asked()} Here it is run on {_films(metrics, dataset)}."


def _asked() -> str:
    printed = {claim["id"]: claim["paper"] for claim in paper.load()["claims"]}
    return (
        f"A paper tells osteoporosis from normal on {paper.load()['images']} knee X-rays. It reports an accuracy of "
        f"{printed['C3']:.0%} for VGG16, {printed['C4']:.0%} for ResNet50 and {printed['C5']:.0%} for both combined on segmented "
        f"films. What is left of each number when the study is done right?"
    )


def _films(metrics: Metrics, dataset: str) -> str:
    files, knees, groups = (needed(metrics, f"data/{name}") for name in ("usable", "knees", "groups"))
    kind = "synthetic films" if dataset == "phantom" else "films"
    persons = f" of at most {as_text(groups)} persons" if _persons_known(metrics) else ""
    return f"{as_text(files)} {kind} of {as_text(knees)} knees{persons}"


def _persons_known(metrics: Metrics) -> bool:
    """Whether several knees are known to be of one person."""
    return needed(metrics, "data/groups").value < needed(metrics, "data/knees").value


def message(metrics: Metrics) -> pd.DataFrame:
    """The rows of the figure: part, name, value, low, high, paper (empty without one), honest."""
    lab = [(f"small network, {label_of(name)}", f"leakage/{name}/accuracy", Protocol(name).honest) for name in _LAB]
    rows = [("accuracy", name, key, None, honest) for name, key, honest in lab]
    followed = [("AUROC of both networks", words, name, None, True) for name, words in FOLLOWED]
    return pd.concat([_claimed(metrics), _table(metrics, rows), _table(metrics, followed)], ignore_index=True)


def _claimed(metrics: Metrics) -> pd.DataFrame:
    """The rows of the numbers that the paper prints as well."""
    printed = paper.printed_accuracies().items()
    return _table(metrics, [("accuracy", _CLAIMED[name.split("/")[0]], name, value, True) for name, value in printed])


def _table(metrics: Metrics, rows: list[tuple[str, str, str, float | None, bool]]) -> pd.DataFrame:
    found = [
        (*row[:2], metrics[row[2]].value, metrics[row[2]].low, metrics[row[2]].high, *row[3:])
        for row in rows
        if row[2] in metrics
    ]
    table = pd.DataFrame(found, columns=["part", "name", "value", "low", "high", "paper", "honest"])
    return table.astype({"value": float, "low": float, "high": float, "paper": float, "honest": bool})


def found(metrics: Metrics, dataset: str) -> list[dict[str, str]]:
    """The findings, each with a `lead` of one sentence and a `text`."""
    return [item for topic in TOPICS if (item := by_topic(metrics, dataset, topic))]


def by_topic(metrics: Metrics, dataset: str, topic: str) -> dict[str, str]:
    """The finding on one of `TOPICS`; empty where the study has none."""
    parts, read = (_copies, _honest, _leaks, _labels, _combining, _without_bone), Watched(metrics)
    item = dict(zip(TOPICS, parts, strict=True))[topic](read, dataset)
    return {**item, "pieces": pieces(item["text"], read.read)} if item else {}


def _copies(metrics: Metrics, dataset: str) -> dict[str, str]:
    copied, conflicts = needed(metrics, "data/copied_files"), needed(metrics, "data/conflicts")
    if not copied.value:
        return {"lead": "No film is there twice.", "text": f"The audit finds no copy among {_films(metrics, dataset)}."}
    text = f"{as_text(copied)} of {_films(metrics, dataset)} have a copy, altered or not, among the others."
    if conflicts.value:
        one = conflicts.value == 1
        text += (
            f" {as_text(conflicts)} {'knee lies' if one else 'knees lie'} under both labels, so some labels are wrong."
        )
    return {"lead": "The files are not independent.", "text": text}


def _honest(metrics: Metrics, dataset: str) -> dict[str, str]:
    rows = _claimed(metrics)
    below = rows[rows["high"] < rows["paper"]]
    inside = rows[(rows["low"] <= rows["paper"]) & (rows["paper"] <= rows["high"])]
    said = "; ".join(
        f"{name} {value:.3f} ({low:.3f}–{high:.3f}), paper {printed:.2f}"
        for name, value, low, high, printed in rows[["name", "value", "low", "high", "paper"]].itertuples(index=False)
    )
    lead = f"With no {'known person' if _persons_known(metrics) else 'knee'} on both sides of a split"
    if dataset == "phantom":
        lead = "On synthetic films, with no knee on both sides of a split, these are the accuracies."
    elif len(below):
        lead += f", {_joined(below['name'])} {'stays' if len(below) == 1 else 'stay'} below the paper"
        lead += (
            f"; {_joined(inside['name'])} {'agrees' if len(inside) == 1 else 'agree'} with it." if len(inside) else "."
        )
    else:
        lead += ", no accuracy lies clearly below the paper's."
    scores = [f"{NAMES[model]} {as_text(needed(metrics, f'{model}/grouped/auroc'))}" for model in MODELS]
    text = f"Accuracy: {said}. AUROC: {'; '.join(scores)}."
    chosen = [
        f"{NAMES[model]} {as_text(metrics[name])}"
        for model in MODELS
        if (name := f"{model}/grouped/nested/auroc") in metrics
    ]
    if chosen:
        text += f" With recipe and variant chosen by inner folds, AUROC: {'; '.join(chosen)}."
    return {"lead": lead, "text": text}


def _leaks(metrics: Metrics, dataset: str) -> dict[str, str]:
    lab = {
        part[1]: metrics[name]
        for name in metrics
        if (part := name.split("/"))[::2] == ["leakage", "accuracy"] and "shuffled" not in name
    }
    honest, least = needed(metrics, "leakage/grouped/accuracy"), _papers("C4") - HALF_A_PERCENT
    reaching = [name for name, one in lab.items() if one.high >= least and not Protocol(name).honest]
    worst = max((name for name in lab if not Protocol(name).honest), key=lambda name: lab[name].value)
    text = (
        f"One small network reaches {as_text(honest)} on the honest split and {as_text(lab[worst])} under "
        f"“{label_of(worst)}”; only the mistake differs."
    )
    if shuffled := metrics.get(f"leakage/{worst}+shuffled/accuracy"):
        text += f" With shuffled labels, where nothing can be learnt, it reaches {as_text(shuffled)} that way."
    text += (
        f" The printed table behind the {_papers('C4'):.0%} scores {paper_report().support.sum():,} images of a set of "
        f"{paper.load()['images']}, so it cannot be a held-out part of it."
    )
    lead = (
        "Mistakes can print the paper's best number."
        if reaching
        else "No mistake tried here prints the paper's best number."
    )
    return {"lead": lead, "text": text}


def _papers(claim: str) -> float:
    return next(one["paper"] for one in paper.load()["claims"] if one["id"] == claim)


def _labels(metrics: Metrics, dataset: str) -> dict[str, str]:
    kappa = metrics.get("reference/kappa")
    folder, reference = (metrics.get(f"reference/ensemble/{name}_extremes/auroc") for name in ("folder", "reference"))
    if kappa is None:
        known = metrics.get("reference/osteopenia")
        why = (
            f"Of {known.n_files} films a reference label is known ({known.note}), but either it or the folder says the same of all."
            if known
            else "No reference label is known for these films."
        )
        return {"lead": "The labels could not be checked.", "text": why}
    agree = "The labels are not shown to agree with the reference label"
    if kappa.low >= paper.MODERATE:
        agree = "The labels agree with the reference label"
    elif kappa.high < paper.MODERATE:
        agree = "The labels are in doubt"
    text = (
        f"Folder and reference label ({kappa.note}) of {kappa.n_files} films agree by Cohen's kappa {as_text(kappa)}."
    )
    if folder is None or reference is None:
        return {
            "lead": f"{agree}; which of the two the networks follow could not be asked.",
            "text": f"{text} Too few films are normal or osteoporosis by the reference.",
        }
    gap = metrics.get("reference/ensemble/folder_minus_reference/auroc")
    text += (
        f" Among films that it calls normal or osteoporosis both networks together reach AUROC {as_text(folder)} at the folder "
        f"and {as_text(reference)} at the reference."
    )
    between = metrics.get("reference/ensemble/folder_osteopenia/auroc")
    if between and between.low > HALF:
        text += f" Among films that all are osteopenia by the reference they still tell the folders apart: {as_text(between)}."
        trait, p_value = (metrics.get(f"traits/osteopenia/{name}") for name in ("trait", "trait_p"))
        if trait and p_value and p_value.value <= trait_words.LEVEL:
            named = trait_words.words("trait", trait.note)
            text += f" There the folder goes most with one trait, {named}, which alone reaches {as_text(trait)}."
    if gap and gap.low > 0:
        also = (
            "more than the reference label"
            if reference.low > HALF
            else "and are not shown to follow the reference label"
        )
        return {"lead": f"The networks follow the names of the folders {also}.", "text": text}
    if gap and gap.high < 0:
        return {"lead": "The networks follow the reference label more than the names of the folders.", "text": text}
    return {"lead": f"{agree}; networks are not shown to follow one more than the other.", "text": text}


def _combining(metrics: Metrics, dataset: str) -> dict[str, str]:
    effects = {
        name: metrics.get(f"comparison/two_by_two/grouped/{name}/accuracy") for name in ("segmenting", "combining")
    }
    known = {name: one for name, one in effects.items() if one is not None and one.low is not None}
    if not known:
        return {}
    lead = "; ".join(
        f"{name} {'helps' if one.low > 0 else 'harms' if one.high < 0 else 'is not shown to help'}"
        for name, one in known.items()
    )
    said = "; ".join(f"{name} {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for name, one in known.items())
    if all(one.low <= 0 <= one.high for one in known.values()) and len(known) == len(effects):
        lead = "neither segmenting nor combining is shown to help"
    return {"lead": f"{lead[:1].upper()}{lead[1:]}.", "text": f"Gain in accuracy, all four cells compared: {said}."}


def _without_bone(metrics: Metrics, dataset: str) -> dict[str, str]:
    blind = {
        name.split("/")[1]: one
        for name in metrics
        if name.startswith("shortcut/") and name.endswith("/auroc") and (one := metrics[name]).low is not None
    }
    if not blind:
        return {}
    best = max(blind, key=lambda name: blind[name].value)
    network = needed(metrics, "resnet50/grouped/auroc")
    text = f"A linear model reaches AUROC {as_text(blind[best])} from “{label_of(best)}” alone; ResNet50 reaches {as_text(network)}."
    shown = blind[best].low > HALF
    lead = (
        "The label can be guessed without looking at bone."
        if shown
        else "Nothing but bone is shown to give the label away."
    )
    return {"lead": lead, "text": text}


def _joined(names: Sequence[str], word: str = "and") -> str:
    *most, last = list(names)
    return f"{', '.join(most)} {word} {last}" if most else last


def limits(metrics: Metrics, dataset: str) -> list[str]:
    """The most important limits; the appendix has all."""
    held = [ONE_SET] if not any("/external/" in name for name in metrics) else []
    return [*held, registry.get(dataset).labels, LIMITS[0]]


def claims_table(rows: list[dict[str, Any]], metrics: Metrics, dataset: str) -> Block:
    """The claims without their reasons; for a synthetic set beside the published verdicts on the real films."""
    beside = {row["id"]: row for row in published_claims()} if dataset == "phantom" else {}
    return claims_block(rows, metrics, short=True, beside=beside)


def figure_of(paths: StudyPaths) -> Path:
    """Where notebook 08 saves the figure of `message`."""
    return paths.figures / "message.png"


def sections(paths: StudyPaths, metrics: Metrics, rows: list[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """The first pages as sections of blocks."""
    warning = config.too_few(needed(metrics, "data/groups").value)
    notes = [*([SYNTHETIC] if dataset == "phantom" else []), *([warning] if warning else [])]
    caption = (
        "What this study finds beside what the paper prints: values with 95 % intervals, persons or knees resampled. The small "
        "network is the same in all its rows; hollow dots contain a mistake. Both: the mean of the two networks."
    )
    drawn = figure_of(paths)
    figure = [figure_block(drawn, caption)] if drawn.is_file() else []
    here = told(lambda read: question(read, dataset).removeprefix(_asked()), metrics)
    asked = {"kind": "text", "text": question(metrics, dataset), "pieces": [(_asked(), ""), *here["pieces"]]}
    blocks = {
        "Question": [*({"kind": "note", "text": text} for text in notes), asked, *figure],
        "The paper's claims": [claims_table(rows, metrics, dataset)],
        "Findings": [{"kind": "findings", "items": found(metrics, dataset)}],
        "Limits": [{"kind": "list", "items": limits(metrics, dataset)}],
    }
    return [{"title": title, "blocks": found_blocks} for title, found_blocks in blocks.items()]
