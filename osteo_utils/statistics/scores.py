"""What a model notebook reports: named estimates for every protocol, recipe and variant it has predicted."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd

from osteo_utils.statistics import evaluation, metrics, resampling
from osteo_utils.study.results import Estimate

REPORTED = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "auprc", "brier")
CALIBRATED = ("calibration_slope", "calibration_intercept", "ece")
PREVALENCES = (0.05, 0.1, 0.2, 0.5)
PREDICTIVE = tuple(f"{value}@{share}" for share in PREVALENCES for value in ("ppv", "npv"))
# Where probabilities and predictive values are of use: no knee on both sides, no contradiction trained on.
HONEST = ("grouped", "external")


def prefix(model: str, protocol: str, recipe: str, variant: str, primary_recipe: str) -> str:
    """The path in front of a metric's name; the primary recipe on whole films needs no further words."""
    subject = model if variant == "full" else f"{model}-{variant}"
    return f"{subject}/{protocol}" if recipe == primary_recipe else f"{subject}/{protocol}/{recipe}"


def named_estimates(
    predictions: pd.DataFrame, model: str, primary_recipe: str, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Every reported metric of a `predictions` table, by its full name, with group-bootstrap intervals.

    Also, for each, the accuracy and AUROC of one vote per group under `…/group_vote/…`, and under `…/seed_sd` how far
    the AUROC moves over the seeds, where there are several; and for the protocols of
    HONEST those of CALIBRATED and PREDICTIVE, as far as they are defined (a slope is not where the classes are
    separated). The calibration error alone has a BCa interval, as resampling adds to it.
    """
    found = {}
    for (protocol, recipe, variant), part in predictions.groupby(["protocol", "recipe", "variant"]):
        path = prefix(model, protocol, recipe, variant, primary_recipe)
        estimates = evaluation.summarise(part, REPORTED, n_resamples=n_resamples, seed=seed)
        found.update({f"{path}/{name}": estimate for name, estimate in estimates.items()})
        if spread := resampling.spread(part):
            found[f"{path}/seed_sd"] = spread
        if protocol in HONEST:
            found.update({f"{path}/{name}": value for name, value in believed(part, n_resamples, seed).items()})
        votes = evaluation.summarise(
            evaluation.group_vote(part), ("auroc", "accuracy"), n_resamples=n_resamples, seed=seed
        )
        found.update({f"{path}/group_vote/{name}": estimate for name, estimate in votes.items()})
    return found


def believed(part: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """What says how far probabilities and verdicts can be believed, without what is not defined."""
    found = evaluation.summarise(part, PREDICTIVE, n_resamples=n_resamples, seed=seed)
    for name in CALIBRATED:
        method = "bca" if name == "ece" else "percentile"
        with suppress(metrics.Undefined):
            found |= evaluation.summarise(part, [name], n_resamples, seed, method=method)
    return found


def overview(
    estimates: dict[str, Estimate], metrics: tuple[str, ...] = ("auroc", "accuracy", "seed_sd")
) -> pd.DataFrame:
    """A table for the reader: one row per protocol, recipe and variant, one column per metric with interval.

    Rows have at least one of the metrics; one that is not there is "not defined".
    """
    rows: dict[str, dict[str, object]] = {}
    for name, estimate in estimates.items():
        path, metric = name.rsplit("/", 1)
        if metric in metrics and not path.endswith("group_vote"):
            row = rows.setdefault(path, {"files": estimate.n_files, "groups": estimate.n_groups})
            row[metric] = str(estimate)
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=["files", "groups", *metrics])
    return table.fillna("not defined").rename_axis("what").reset_index()


def mean_estimate(values: pd.Series, groups: pd.Series, n_resamples: int, seed: int, note: str = "") -> Estimate:
    """Mean of one value per image with a percentile interval from a bootstrap over groups."""
    per_group = pd.DataFrame({"value": values.to_numpy(), "group": groups.to_numpy()}).groupby("group").value
    totals, sizes = per_group.sum().to_numpy(), per_group.size().to_numpy()
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(n_resamples, len(sizes)))
    means = totals[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values), len(sizes), note=note)
