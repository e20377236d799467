"""Metrics, resampling weights and tests on plain arrays.

Every metric takes rows of weights, so a bootstrap is a handful of matrix products instead of a loop.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

METRICS = (
    "auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision",
    "npv", "f1", "mcc", "auprc", "brier",
)  # fmt: skip
CALIBRATION = ("calibration_slope", "calibration_intercept", "ece")
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

    y_true (n,) of 0 and 1; y_prob (n,) in [0, 1]; weights (resamples, n), non-negative, one row of
    ones by default; an image is called osteoporosis when y_prob >= threshold (one number or (n,)).
    Returns arrays of shape (resamples,). A ratio without a denominator (precision of a model that
    never says osteoporosis) is 0, as in scikit-learn. auprc is the average precision. Beside METRICS
    there are those of CALIBRATION (`recalibration`, `calibration_gap`) and, as "ppv@0.1" and "npv@0.1",
    the predictive values at a stated share of osteoporosis, by Bayes' rule from sensitivity and
    specificity. Raises ValueError for an unknown metric, a probability outside [0, 1] or a class that
    is missing.
    """
    y, p = np.asarray(y_true).astype(float), np.asarray(y_prob, dtype=float)
    at = {name: found for name in metrics if (found := _AT.fullmatch(name))}
    if unknown := sorted(set(metrics) - {*METRICS, *CALIBRATION, *at}):
        raise ValueError(
            f"metrics {unknown} are not known; expected some of {[*METRICS, *CALIBRATION]}, ppv@0.1, npv@0.1"
        )
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("y_prob holds values outside [0, 1] or none at all; expected probabilities")
    if set(np.unique(y)) != {0.0, 1.0}:
        raise ValueError(f"y_true holds the labels {np.unique(y).tolist()}; expected both 0 and 1")
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
    y: np.ndarray,
    p: np.ndarray,
    w: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    with_precision: bool,
) -> dict[str, np.ndarray]:
    """Areas under the curves from one descending sort; tied probabilities are one step."""
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


def logit(prob: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, which are kept 1e-6 away from 0 and 1."""
    clipped = np.clip(prob, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def recalibration(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Slope and intercept that would mend the probabilities: 1 and 0 where nothing is to be mended.

    y_true and y_prob (n,), weights (resamples, n). calibration_slope is b of the logistic regression
    logit P(y = 1) = a + b logit(y_prob) (Cox 1958; Miller et al., 1991): below 1 the probabilities are
    too extreme. calibration_intercept is a with b held at 1, calibration in the large: below 0 they are
    too high (Van Calster et al., J Clin Epidemiol 74, 2016). Arrays (resamples,), by Newton's method. The
    slope is infinite where the classes are separated, NaN where all probabilities are the same.
    """
    y, x = np.asarray(y_true, float), logit(np.asarray(y_prob, float))
    centre, scale = x.mean(), x.std()
    if scale == 0:
        slope = np.full(len(weights), np.nan)
    else:
        columns = np.stack([np.ones_like(x), (x - centre) / scale], axis=1)
        slope = _newton(y, columns, weights, np.zeros_like(x))[:, 1] / scale
    shift = _newton(y, np.ones((len(x), 1)), weights, x)[:, 0]
    return {"calibration_slope": slope, "calibration_intercept": shift}


def _newton(y: np.ndarray, columns: np.ndarray, w: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Coefficients (resamples, columns) of weighted logistic regressions; infinite where they do not settle."""
    products = np.einsum("ni,nj->nij", columns, columns)
    found = np.zeros((len(w), columns.shape[1]))
    moving = np.arange(len(w))
    for _ in range(30):
        prob = expit(found[moving] @ columns.T + offset)
        gradient = (w[moving] * (y - prob)) @ columns
        curvature = np.tensordot(w[moving] * prob * (1 - prob), products, 1)
        # On its way to infinity a separated resample has no curvature left.
        flat = np.linalg.det(curvature) < 1e-9
        curvature[flat] = np.eye(columns.shape[1])
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step = np.clip(step, -4, 4)
        found[moving] += step
        found[moving[flat]] = _endless(found[moving[flat]])
        moving = moving[(np.abs(step).max(axis=1) > 1e-9) & ~flat]
        if not len(moving):
            return found
    found[moving] = _endless(found[moving])
    return found


def _endless(coefficients: np.ndarray) -> np.ndarray:
    return np.where(coefficients == 0, np.nan, np.copysign(np.inf, coefficients))


def calibration_gap(
    y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray, bins: int = 10
) -> np.ndarray:
    """Expected calibration error in equal-width bins (Guo et al., 2017); weights and result as in `measure`."""
    number = np.minimum((np.asarray(y_prob) * bins).astype(int), bins - 1)
    gaps = np.eye(bins)[number] * (np.asarray(y_prob) - y_true)[:, None]
    return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def draw_groups(
    groups: np.ndarray, y_true: np.ndarray, n_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw groups with replacement, stratified by what a group is: normal, osteoporosis or conflict.

    groups and y_true (n,). Returns how often each group was drawn, int16 (resamples, n_groups), and
    the group's column for each row (n,): `drawn[:, column]` are the rows' weights. Both classes are
    in every resample because every stratum keeps its size.
    """
    column, names = pd.factorize(np.asarray(groups), sort=True)
    kind = np.bincount(column, np.asarray(y_true, float)) / np.bincount(column)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((n_resamples, len(names)), dtype=np.int16)
    for stratum in (kind == 0, kind == 1, (kind > 0) & (kind < 1)):
        members = np.flatnonzero(stratum)
        if len(members):
            drawn[:, members] = rng.multinomial(
                len(members), np.full(len(members), 1 / len(members)), n_resamples
            )
    return drawn, column


def delong(y_true: np.ndarray, prob_a: np.ndarray, prob_b: np.ndarray) -> tuple[float, float, float]:
    """Compare two correlated AUROCs; returns the difference, its standard error and the p value.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), by midranks (Sun and Xu, 2014). It takes
    rows as independent: give it one vote per group.
    """
    positive = np.asarray(y_true) == 1
    m, n = positive.sum(), (~positive).sum()
    if min(m, n) < 2:
        raise ValueError(f"DeLong needs two rows of each class; found {m} positive and {n} negative")
    areas, by_positive, by_negative = [], [], []
    for prob in (np.asarray(prob_a, float), np.asarray(prob_b, float)):
        ranks = stats.rankdata(prob)
        by_positive.append((ranks[positive] - stats.rankdata(prob[positive])) / n)
        by_negative.append(1 - (ranks[~positive] - stats.rankdata(prob[~positive])) / m)
        areas.append(by_positive[-1].mean())
    covariance = np.cov(by_positive) / m + np.cov(by_negative) / n
    contrast = np.array([1.0, -1.0])
    error = float(np.sqrt(max(contrast @ covariance @ contrast, 0.0)))
    gap = float(areas[0] - areas[1])
    p_value = 2 * stats.norm.sf(abs(gap) / error) if error > 0 else float(gap == 0)
    return gap, error, float(p_value)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values of one family of tests (Holm), keeping their names."""
    if not p_values:
        return {}
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, map(float, adjusted), strict=True))


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of n independent trials (Wilson 1927); ends in [0, 1]."""
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    return float(low), float(high)
