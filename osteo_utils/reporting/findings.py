"""What notebook 08 and the report show side by side: who is in the study, our headline numbers, the paper's, run times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from osteo_utils.evidence import claims, printed_report
from osteo_utils.reporting.style import NAMES
from osteo_utils.reporting.tables import MODELS, Block, Metrics, needed, other_metrics, said, table
from osteo_utils.reporting.text import LIMITS, METRICS, ONE_SET, PROTOCOLS
from osteo_utils.sources import registry

SCORES = ("auroc", "accuracy", "sensitivity", "specificity")


Runs = Mapping[str, Mapping[str, Any]]
# Where the metric of a variant stands behind its model's name, and how it is told.
_VARIANTS = {
    "/grouped": "",
    "-segmented/grouped": ", bone alone",
    "-background/grouped/none": ", bone taken out (probe)",
}


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
    files, overlap, kept = (needed(metrics, f"external/{name}") for name in ("files", "overlap_files", "scored_files"))
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
    heads = ["model", "files", "groups", *(METRICS[name] for name in SCORES), "AUROC on the study's own films"]
    return table("Scores on the external films: value and 95 % interval.", heads, rows)


def facts(metrics: Metrics, runs: Runs) -> dict[str, Any]:
    """What the rules of `claims` must know of the data: name, whether synthetic, files and groups."""
    dataset = runs["01_data_download"]["parameters"]["dataset"]
    counts = {f"n_{name}": int(metrics[f"data/{name}"].value) for name in ("files", "groups", "conflicts")}
    return {"dataset": dataset, "synthetic": dataset == "phantom", **counts}


def headline(metrics: Metrics) -> pd.DataFrame:
    """Accuracy and AUROC of each model under `grouped`, whole, segmented and without bone, with the paper's number where it has one.

    Columns name, metric, value, low, high, paper, n_files, n_groups; a row for each metric that was saved.
    """
    printed = {claim["tests"][0]: claim["paper"] for claim in claims.load()["claims"] if claim["unit"] == "accuracy"}
    rows = []
    for score in ("accuracy", "auroc"):
        for model in MODELS:
            for variant, words in _VARIANTS.items():
                name = f"{model}{variant}/{score}"
                if name in metrics:
                    found = metrics[name]
                    rows.append(
                        {
                            "name": f"{NAMES[model]}{words}: {METRICS[score]}",
                            "metric": name,
                            "value": found.value,
                            "low": found.low,
                            "high": found.high,
                            "paper": printed.get(name),
                            "n_files": found.n_files,
                            "n_groups": found.n_groups,
                        }
                    )
    return pd.DataFrame(rows).astype({"paper": float})


def paper_report() -> pd.DataFrame:
    """The classification report of the paper's Fig. 5, as printed."""
    report = printed_report.parse_report(_fig5())
    return pd.DataFrame(report.rows, columns=["class", "precision", "recall", "f1-score", "support"])


def fig5_matrices() -> pd.DataFrame:
    """Every confusion matrix of whole images that prints as Fig. 5 does: counts and accuracy."""
    columns = ["normal, right", "normal, wrong", "osteoporosis, wrong", "osteoporosis, right"]
    found = printed_report.matrices_printing_as(printed_report.parse_report(_fig5()))
    table = pd.DataFrame([matrix.ravel() for matrix in found], columns=columns)
    return table.assign(images=table.sum(axis=1), accuracy=[matrix.trace() / matrix.sum() for matrix in found])


def _fig5() -> str:
    return next(claim["report"] for claim in claims.load()["claims"] if "report" in claim)


def whether_combining_helps(metrics: Metrics) -> str:
    """Say in one sentence for each metric whether averaging both models beats the better one; "" when not compared.

    From `comparison/ensemble-single_best/grouped/<metric>` and its `/detectable`: it helps where the whole 95 %
    interval is above zero, harms where it is below, and is otherwise not shown to help.
    """
    said = []
    for score in ("auroc", "accuracy"):
        name = f"comparison/ensemble-single_best/grouped/{score}"
        if name not in metrics:
            continue
        gap = metrics[name]
        verdict = "helps" if gap.low > 0 else "harms" if gap.high < 0 else "is not shown to help"
        sentence = (
            f"By {METRICS[score]}, averaging both models {verdict}: it differs from the single best, chosen on the "
            f"other folds, by {gap.value:+.3f} (95 % interval {gap.low:+.3f} to {gap.high:+.3f})"
        )
        if f"{name}/detectable" in metrics:
            least = metrics[f"{name}/detectable"].value
            sentence += f"; with these films a true difference of {least:.3f} is found four times in five"
        said.append(f"{sentence}.")
    return " ".join(said)


def by_split(metrics: Metrics, score: str = "accuracy") -> pd.DataFrame:
    """One metric of each model under each split as text with interval: one row a model, one column a split."""
    cells = {
        NAMES[model]: {
            NAMES[protocol]: str(metrics[f"{model}/{protocol}/{score}"])
            for protocol in PROTOCOLS
            if f"{model}/{protocol}/{score}" in metrics
        }
        for model in MODELS
    }
    return pd.DataFrame(cells).T.fillna("not saved")


def run_times(runs: Runs) -> pd.DataFrame:
    """Seconds, peak memory and hashes of code and parameters, one row a notebook."""
    rows = {
        notebook: {
            "seconds": about["seconds"],
            "peak memory (GiB)": about["peak_memory_gib"],
            "code": about["code_sha256"][:12],
            "parameters": about["parameters_sha256"][:12],
        }
        for notebook, about in runs.items()
    }
    return pd.DataFrame(rows).T


def environment(runs: Mapping[str, dict[str, Any]]) -> list[Block]:
    """Run time, memory, hashes and versions, from what each notebook recorded of itself."""
    rows = [
        [
            notebook,
            f"{about['seconds']:,.0f}",
            f"{about['peak_memory_gib']:.2f}",
            about["finished"],
            about["code_sha256"][:12],
            about["parameters_sha256"][:12],
        ]
        for notebook, about in runs.items()
    ]
    total = sum(about["seconds"] for about in runs.values())
    heads = ["notebook", "seconds", "peak memory (GiB)", "finished (UTC)", "code", "parameters"]
    names = sorted({name for about in runs.values() for name in about["versions"]})
    versions = [[name, " / ".join(_distinct(about["versions"].get(name) for about in runs.values()))] for name in names]
    return [
        {"kind": "text", "text": f"The notebooks took {total / 60:.1f} minutes together."},
        table("Run time, memory, and the first twelve digits of the hashes of code and parameters.", heads, rows),
        table("Versions.", ["package", "version"], versions),
    ]


def _distinct(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def limits(metrics: Metrics, runs: Mapping[str, dict[str, Any]], dataset: str) -> list[str]:
    """What the numbers cannot say, as far as this study's settings decide it."""
    asked = runs["04_vgg16"]["parameters"]
    seeds = asked.get("split_seeds", [])
    if asked.get("primary_recipe") != "none":
        seeds = seeds[: asked.get("trained_seeds", len(seeds))]
    return [
        registry.get(dataset).labels,
        *([] if has_external(metrics) else [ONE_SET]),
        *LIMITS,
        *(
            [
                f"Headline numbers come from one split seed only ({seeds[0]}): another deal of the folds would move every number."
            ]
            if len(seeds) == 1
            else []
        ),
    ]
