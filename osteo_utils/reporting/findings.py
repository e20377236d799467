"""What notebook 08 lays side by side: our headline numbers, the paper's, its Fig. 5 taken apart, and the run times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from osteo_utils.evidence import claims
from osteo_utils.reporting.style import NAMES
from osteo_utils.reporting.tables import MODELS, Metrics
from osteo_utils.reporting.wording import METRICS, PROTOCOLS

Runs = Mapping[str, Mapping[str, Any]]
# Where the metric of a variant stands behind its model's name, and how it is told.
_VARIANTS = {
    "/grouped": "",
    "-segmented/grouped": ", bone alone",
    "-background/grouped/none": ", bone taken out (probe)",
}


def facts(metrics: Metrics, runs: Runs) -> dict[str, Any]:
    """What the rules of `claims` must know of the data: name, whether synthetic, files and groups."""
    dataset = runs["01_data_download"]["parameters"]["dataset"]
    counts = {f"n_{name}": int(metrics[f"data/{name}"].value) for name in ("files", "groups", "conflicts")}
    return {"dataset": dataset, "synthetic": dataset == "phantom", **counts}


def headline(metrics: Metrics) -> pd.DataFrame:
    """Accuracy and AUROC of each model under `grouped`, whole, segmented and without bone, with the paper's number where it has one.

    Columns name, metric, value, low, high, paper, n_files, n_groups; a row for each metric that was saved.
    """
    printed = {
        claim["tests"][0]: claim["paper"] for claim in claims.load()["claims"] if claim["unit"] == "accuracy"
    }
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


def printed_report() -> pd.DataFrame:
    """The classification report of the paper's Fig. 5, as printed."""
    report = claims.parse_report(_fig5())
    return pd.DataFrame(report.rows, columns=["class", "precision", "recall", "f1-score", "support"])


def fig5_matrices() -> pd.DataFrame:
    """Every confusion matrix of whole images that prints as Fig. 5 does: counts and accuracy."""
    columns = ["normal, right", "normal, wrong", "osteoporosis, wrong", "osteoporosis, right"]
    found = claims.matrices_printing_as(claims.parse_report(_fig5()))
    table = pd.DataFrame([matrix.ravel() for matrix in found], columns=columns)
    return table.assign(
        images=table.sum(axis=1), accuracy=[matrix.trace() / matrix.sum() for matrix in found]
    )


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
