"""Metrics and tests on plain arrays.

Every metric takes rows of weights, so a bootstrap is a handful of matrix products instead of a loop.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from osteo_utils.statistics.calibration import calibration_gap, recalibration
from osteo_utils.statistics.predictions import SCORE, check_values

METRICS = (
    "auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision",
    "npv", "f1", "mcc", "auprc", "brier",
)  # fmt: skip
CALIBRATION = ("calibration_slope", "calibration_intercept", "ece")
LEVEL = 0.95
# The quantiles that end an interval; as floats, the first is not exactly 0.025.
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_AT = re.compile(r"(ppv|npv)@(0\.\d+)")


class Undefined(ValueError):
    """A metric has no finite value on these predictions."""


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def measure(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    metrics: Sequence[str] = METRICS,
    weights: np.ndarray | None = None,
    threshold: float | np.ndarray = 0.5,
) -> dict[str, np.ndarray]:
    """Compute metrics once for every row of weights.

    y_true (n,) of 0 and 1; y_prob (n,) in [0, 1]; weights (resamples, n), non-negative, by default one row of ones.
    An image is called osteoporosis when y_prob >= threshold (one number or (n,)). Returns arrays (resamples,). A ratio
    without a denominator, such as the precision of a model that never says osteoporosis, is 0, as in scikit-learn.
    auprc is the average precision. "ppv@0.1" and "npv@0.1" are predictive values at that prevalence, by Bayes' rule.
    For those of CALIBRATION see `recalibration` and `calibration_gap`. Raises ValueError for an unknown metric, a
    probability outside [0, 1] or a missing class.
    """
    y, p = check_values(y_true, y_prob)
    at = {name: found for name in metrics if (found := _AT.fullmatch(name))}
    if unknown := sorted(set(metrics) - {*METRICS, *CALIBRATION, *at}):
        raise ValueError(
            f"metrics {unknown} are not known; expected some of {[*METRICS, *CALIBRATION]}, ppv@0.1, npv@0.1"
        )
    w = np.ones((1, len(y))) if weights is None else np.asarray(weights, dtype=float)
    called = p >= threshold
    parts = np.stack([called * y, called * (1 - y), ~called * (1 - y), ~called * y, (p - y) ** 2], axis=1)
    tp, fp, tn, fn, squares = (w @ parts).T
    positive, negative = tp + fn, tn + fp
    if np.any(positive == 0) or np.any(negative == 0):
        raise ValueError("a resample lacks one class; stratify the weights by class")
    sensitivity, specificity = tp / positive, tn / negative
    spread = np.sqrt((tp + fp) * positive * negative * (tn + fn))
    found = {
        "accuracy": (tp + tn) / (positive + negative),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": _share(tp, tp + fp),
        "npv": _share(tn, tn + fn),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "mcc": _share(tp * tn - fp * fn, spread),
        "brier": squares / (positive + negative),
    }
    for name, parts in at.items():
        share = float(parts[2])
        hits, passed = sensitivity * share, specificity * (1 - share)
        alarms, misses = (1 - specificity) * (1 - share), (1 - sensitivity) * share
        found[name] = _share(hits, hits + alarms) if parts[1] == "ppv" else _share(passed, passed + misses)
    if {"auroc", "auprc"} & set(metrics):
        found |= _ranked(y, p, w, positive, negative, "auprc" in metrics)
    if {"calibration_slope", "calibration_intercept"} & set(metrics):
        found |= recalibration(y, p, w)
    if "ece" in metrics:
        found["ece"] = calibration_gap(y, p, w)
    return {name: found[name] for name in metrics}


def _ranked(
    y: np.ndarray, p: np.ndarray, w: np.ndarray, positive: np.ndarray, negative: np.ndarray, with_precision: bool
) -> dict[str, np.ndarray]:
    """Areas under both curves from one descending sort; tied probabilities are one step."""
    order = np.argsort(-p, kind="stable")
    steps = np.flatnonzero(np.r_[True, np.diff(p[order]) != 0])
    sorted_w = w[:, order]
    hits = np.add.reduceat(sorted_w * y[order], steps, axis=1)
    alarms = np.add.reduceat(sorted_w, steps, axis=1) - hits
    true = np.cumsum(hits, axis=1)
    above = np.sum(alarms * (true - hits / 2), axis=1)
    found = {"auroc": above / (positive * negative)}
    if with_precision:
        precision = _share(true, true + np.cumsum(alarms, axis=1))
        found["auprc"] = np.sum(hits * precision, axis=1) / positive
    return found


def placements(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """For each image the share of images of the other class that it is ranked correctly against, (n,); ties half.

    The structural components V10 and V01 of DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), by midranks (Sun
    and Xu, 2014).
    """
    labels, p = check_values(y_true, y_prob, expected=SCORE)
    y = labels == 1
    ranks, found = stats.rankdata(p), np.zeros(len(p))
    found[y] = (ranks[y] - stats.rankdata(p[y])) / (~y).sum()
    found[~y] = 1 - (ranks[~y] - stats.rankdata(p[~y])) / y.sum()
    return found


def normal_test(value: float, variance: float) -> tuple[float, float, float]:
    """Value, standard error and two-sided p value of a normal test against 0."""
    error = float(np.sqrt(max(variance, 0.0)))
    p_value = 2 * stats.norm.sf(abs(value) / error) if error > 0 else float(value == 0)
    return float(value), error, float(p_value)


def delong(y_true: np.ndarray, prob_a: np.ndarray, prob_b: np.ndarray) -> tuple[float, float, float]:
    """Compare two correlated AUROCs (DeLong et al., 1988): the difference, its standard error and the p value.

    It takes rows as independent: give it one vote per group.
    """
    y_true, prob_a, prob_b = check_values(y_true, prob_a, prob_b, expected=SCORE)
    positive = y_true == 1
    m, n = positive.sum(), (~positive).sum()
    if min(m, n) < 2:
        raise Undefined(f"DeLong needs two rows of each class; found {m} positive and {n} negative")
    placed = [placements(y_true, prob) for prob in (prob_a, prob_b)]
    by_positive, by_negative = ([one[part] for one in placed] for part in (positive, ~positive))
    covariance = np.cov(by_positive) / m + np.cov(by_negative) / n
    contrast = np.array([1.0, -1.0])
    return normal_test(by_positive[0].mean() - by_positive[1].mean(), contrast @ covariance @ contrast)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values of one family of tests (Holm), keeping their names."""
    if not p_values:
        return {}
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, map(float, adjusted), strict=True))


def wilson(successes: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n independent trials (Wilson 1927); ends in [0, 1]."""
    low, high = proportion_confint(successes, n, alpha=1 - LEVEL, method="wilson")
    return float(low), float(high)
