"""Who is in the study, in the report's words: osteopenia, patients, and films of another source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osteo_utils.reporting.style import NAMES
from osteo_utils.reporting.tables import MODELS, Block, Metrics, needed, other_metrics, said, table
from osteo_utils.reporting.wording import METRICS

SCORES = ("auroc", "accuracy", "sensitivity", "specificity")


def osteopenia(metrics: Metrics, parameters: Mapping[str, Any]) -> str:
    """The rule for films of osteopenia and how many it met; `parameters` are those of notebook 01."""
    count, rule = needed(metrics, "data/osteopenia"), parameters["osteopenia"]
    if not count.value:
        return "The set has no films of osteopenia, the class between the two."
    made = "are left out" if rule == "exclude" else f"count as {rule}"
    return f"By the study's rule, the {said(count)} films of osteopenia, the class between the two, {made}."


def patients(metrics: Metrics) -> str:
    """Whether films of one person were kept together."""
    count = needed(metrics, "data/patients")
    if not count.value:
        return (
            "No patients.csv was given, so films were joined by what they show alone, and patient-level leakage is "
            "unknown: two films of one person that are no copies may lie on both sides of a split."
        )
    usable = int(needed(metrics, "data/usable").value)
    text = f"{count.n_files} of {usable} films name their patient, {said(count)} in all; films of one patient stay together"
    rest = usable - (count.n_files or 0)
    return f"{text}." if not rest else f"{text}. For the other {rest}, patient-level leakage is unknown."


def has_external(metrics: Metrics) -> bool:
    """Whether the study was given an external set."""
    return "external/files" in metrics


def external(metrics: Metrics) -> list[Block]:
    """What of the external set was shared with the study, and the scores on what is left; or that there was none."""
    if not has_external(metrics):
        return [{"kind": "text", "text": "No external set was given."}]
    files, overlap, kept = (
        needed(metrics, f"external/{name}") for name in ("files", "overlap_files", "scored_files")
    )
    people = needed(metrics, "external/patients").value and needed(metrics, "data/patients").value
    text = (
        f"Of {said(files)} usable films of the external set, {said(overlap)} show a knee or a patient of the study and "
        f"were left out; {said(kept)} could be scored. "
    )
    text += (
        "Both sets name patients, so these were compared as well."
        if people
        else "Not both sets name patients, so whether they share patients by other films is unknown."
    )
    counts = other_metrics(metrics, "external", "The external set in numbers.")
    scores = external_scores(metrics)
    nothing = {"kind": "text", "text": "Nothing was scored, as films of both classes must be left."}
    return [{"kind": "text", "text": text}, *([counts] if counts else []), scores or nothing]


def external_scores(metrics: Metrics) -> Block | None:
    """Each model on the external films beside its AUROC on the study's own; None where nothing was scored."""
    rows = []
    for model in MODELS:
        cells = [metrics.get(f"{model}/external/{name}") for name in SCORES]
        if cells[0] is not None:
            own = said(needed(metrics, f"{model}/grouped/auroc"))
            about = [NAMES[model], f"{cells[0].n_files:,}", f"{cells[0].n_groups:,}"]
            rows.append([*about, *("" if cell is None else said(cell) for cell in cells), own])
    if not rows:
        return None
    heads = [
        "model",
        "files",
        "groups",
        *(METRICS[name] for name in SCORES),
        "AUROC on the study's own films",
    ]
    return table("Scores on the external films: value and 95 % interval.", heads, rows)
