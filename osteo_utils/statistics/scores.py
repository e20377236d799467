"""The scores that a model notebook reports: named estimates for every protocol, recipe and variant."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd

from osteo_utils.statistics import evaluation, metrics, resampling
from osteo_utils.statistics.predictions import NO_WIDTH, check_arms, check_draws, check_groups
from osteo_utils.study.results import CONTRACTS, Estimate

REPORTED = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "auprc", "brier")
CALIBRATED = ("calibration_slope", "calibration_intercept", "ece")
PREVALENCES = (0.05, 0.1, 0.2, 0.5)
PREDICTIVE = tuple(f"{value}@{share}" for share in PREVALENCES for value in ("ppv", "npv"))
# Where probabilities and predictive values are of use: no knee is on both sides, and no conflict is trained on.
HONEST = ("grouped", "external")


def prefix(model: str, protocol: str, recipe: str, variant: str, primary_recipe: str) -> str:
    """The path before a metric's name; it omits the variant `full` and the primary recipe."""
    subject = model if variant == "full" else f"{model}-{variant}"
    return f"{subject}/{protocol}" if recipe == primary_recipe else f"{subject}/{protocol}/{recipe}"


def arm_of(metric: str, primary_recipe: str) -> dict[str, str]:
    """The model, protocol, recipe, variant and score of a metric's full name, the other way round than `prefix`."""
    subject, protocol, *recipe, score = metric.split("/")
    model, _, variant = subject.partition("-")
    recipe = recipe[0] if recipe else "average" if model == "ensemble" else primary_recipe
    return {"model": model, "protocol": protocol, "recipe": recipe, "variant": variant or "full", "score": score}


def rows_of(tables: Mapping[str, pd.DataFrame], arm: Mapping[str, str]) -> pd.DataFrame:
    """The predictions of an arm out of those of each model; none where they are not there."""
    if arm["model"] not in tables:
        return pd.DataFrame(columns=CONTRACTS["predictions"].columns)
    table, names = tables[arm["model"]], ["protocol", "recipe", "variant"]
    return table[(table[names] == [arm[name] for name in names]).all(axis=1)]


def seed_floor(tables: Mapping[str, pd.DataFrame], arm: Mapping[str, str]) -> tuple[float, str] | None:
    """How far the score of an arm moves with the seed alone, and by which seeds that is known; None where it is not.

    By `resampling.seed_floor`, from the arm's own seeds, or else from those of the probe of the same network; for both
    networks combined, of the network whose probe moves further.
    """
    networks = ("vgg16", "resnet50") if arm["model"] == "ensemble" else (arm["model"],)
    probes = [({**arm, "model": model, "recipe": "none"}, f"probe of {model}") for model in networks]
    for candidates in ([(arm, "its own seeds")], probes):
        found = []
        for one, words in candidates:
            by_seed = resampling.by_seed(rows, arm["score"]) if len(rows := rows_of(tables, one)) else ()
            if len(by_seed) > 1:
                averaged = len(by_seed) if one is arm else 1
                deviation = resampling.standard_deviation(by_seed)[0]
                found.append((resampling.seed_floor(deviation, len(by_seed), averaged), words))
        if found:
            return max(found)
    return None


def named_estimates(
    predictions: pd.DataFrame, model: str, primary_recipe: str, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """Every reported metric of a `predictions` table, by its full name, with group-bootstrap intervals.

    Also `…/grouped_knees/…/auroc_above_grouped`, paired, film by film; `…/group_vote/…`, the accuracy and AUROC of one vote
    per group; `…/seed_sd`, the standard deviation of the AUROC
    over seeds, where there are several; and for the protocols of HONEST the `probability_estimates`. Where groups cannot
    vote, their metrics are missing and the note of the accuracy says why.
    """
    check_arms(predictions)
    found = {}
    draws = {"n_resamples": n_resamples, "seed": seed}
    for (protocol, recipe, variant), part in predictions.groupby(["protocol", "recipe", "variant"]):
        path = prefix(model, protocol, recipe, variant, primary_recipe)
        estimates = evaluation.summarise(part, REPORTED, **draws)
        if spread := resampling.spread(part):
            estimates["seed_sd"] = spread
        if protocol in HONEST:
            estimates |= probability_estimates(part, **draws)
        if protocol == "grouped_knees":
            same = (predictions[["recipe", "variant"]] == [recipe, variant]).all(axis=1)
            honest = predictions[same & (predictions["protocol"] == "grouped")]
            estimates["auroc_above_grouped"] = evaluation.difference(part, honest, "auroc", **draws).estimate
        try:
            votes = evaluation.summarise(evaluation.group_vote(part), ("auroc", "accuracy"), **draws)
            estimates |= {f"group_vote/{name}": estimate for name, estimate in votes.items()}
        except metrics.Undefined as error:
            estimates["accuracy"] = noted(estimates["accuracy"], str(error))
        found |= {f"{path}/{name}": estimate for name, estimate in estimates.items()}
    return found


def probability_estimates(part: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """The metrics of CALIBRATED and PREDICTIVE that are defined; a slope is not where the classes are separated.

    The calibration error has a BCa interval, because resampling biases it.
    """
    found = evaluation.summarise(part, PREDICTIVE, n_resamples=n_resamples, seed=seed)
    for name in CALIBRATED:
        method = "bca" if name == "ece" else "percentile"
        with suppress(metrics.Undefined):
            found |= evaluation.summarise(part, [name], n_resamples, seed, method=method)
    return found


def overview(
    estimates: dict[str, Estimate], metrics: tuple[str, ...] = ("auroc", "accuracy", "seed_sd")
) -> pd.DataFrame:
    """A table with one row per protocol, recipe and variant, one column per metric with its interval.

    Rows without any of the metrics are left out; a single missing metric is "not defined".
    """
    rows: dict[str, dict[str, object]] = {}
    for name, estimate in estimates.items():
        path, metric = name.rsplit("/", 1)
        if metric in metrics and not path.endswith("group_vote"):
            row = rows.setdefault(path, {"files": estimate.n_files, "groups": estimate.n_groups})
            row[metric] = str(estimate)
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=["files", "groups", *metrics])
    return table.astype(object).fillna("not defined").rename_axis("what").reset_index()


def noted(estimate: Estimate, remark: str) -> Estimate:
    """The estimate with a remark added to its note."""
    return replace(estimate, note="; ".join(filter(None, (estimate.note, remark))))


def mean_estimate(values: pd.Series, groups: pd.Series, n_resamples: int, seed: int, note: str = "") -> Estimate:
    """Mean of one value per image with a percentile interval from a bootstrap over groups.

    With a single group there is no interval, and the note says so. Raises ValueError for an image without a group.
    """
    check_groups(groups)
    check_draws(n_resamples)
    per_group = pd.DataFrame({"value": values.to_numpy(), "group": groups.to_numpy()}).groupby("group").value
    totals, sizes = per_group.sum().to_numpy(), per_group.size().to_numpy()
    if len(sizes) < 2:
        alone = Estimate(float(values.mean()), None, None, len(values), len(sizes), note=note)
        return noted(alone, "interval not estimable: all images are of one group")
    chosen = np.random.default_rng(seed).integers(len(sizes), size=(n_resamples, len(sizes)))
    means = totals[chosen].sum(1) / sizes[chosen].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    if low == high:
        note = "; ".join(filter(None, (note, NO_WIDTH)))
    return Estimate(float(values.mean()), float(low), float(high), len(values), len(sizes), note=note)
