"""Curves with pointwise bands from a bootstrap over groups: ROC, precision and recall, reliability, decision.

Each takes the predictions of one arm; over several seeds the curve is the mean of the seeds' curves.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from statsmodels.nonparametric.smoothers_lowess import lowess

from osteo_utils.statistics.calibration import logit
from osteo_utils.statistics.evaluation import check_spread
from osteo_utils.statistics.metrics import TAILS
from osteo_utils.statistics.predictions import check, check_both_classes
from osteo_utils.statistics.resampling import Statistic, resample


def roc(predictions: pd.DataFrame, n_resamples: int = 500, seed: int = 0, points: int = 101) -> pd.DataFrame:
    """Trace sensitivity by false positive rate.

    Columns fpr (an even grid), tpr, low, high, all in [0, 1]. Each curve is a staircase; a point is the highest
    sensitivity at a false positive rate no larger than fpr.
    """
    grid = np.linspace(0, 1, points)

    def read(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        reached = np.searchsorted(false / false[-1], grid + 1e-12, side="right")
        return np.r_[0.0, true / true[-1]][reached]

    return _banded(predictions, _staircase(predictions, read), "fpr", "tpr", grid, n_resamples, seed)


def precision_recall(
    predictions: pd.DataFrame, n_resamples: int = 500, seed: int = 0, points: int = 101
) -> pd.DataFrame:
    """Trace precision by recall (sensitivity).

    Columns recall (an even grid from the first step up to 1), precision, low, high. A recall between two steps takes the
    precision of the next step, because a line between them would be too optimistic (Davis and Goadrich, ICML 2006). The
    area below is the average precision.
    """
    grid = np.linspace(0, 1, points)[1:]

    def read(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        step = np.searchsorted(true / true[-1], grid - 1e-12)
        return true[step] / (true[step] + false[step])

    statistic = _staircase(predictions, read)
    return _banded(predictions, statistic, "recall", "precision", grid, n_resamples, seed)


def _staircase(predictions: pd.DataFrame, read: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Statistic:
    """A statistic that reads counts of true and false positives, from the highest probability downwards."""
    frame = check(predictions)
    check_both_classes(frame, "a curve by threshold")
    y, p = frame["y_true"].to_numpy(float), frame["y_prob"].to_numpy(float)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        order = np.argsort(-p[rows], kind="stable")
        labels = y[rows][order]
        # Tied probabilities are one step.
        last = np.flatnonzero(np.r_[np.diff(p[rows][order]) != 0, True])
        w = np.ones((1, len(rows))) if weights is None else weights[:, order]
        true, false = np.cumsum(w * labels, axis=1)[:, last], np.cumsum(w * (1 - labels), axis=1)[:, last]
        return np.stack([read(*pair) for pair in zip(true, false, strict=True)])

    return statistic


def reliability(predictions: pd.DataFrame, n_resamples: int = 200, seed: int = 0, points: int = 41) -> pd.DataFrame:
    """Smooth the observed share of osteoporosis over the predicted probability.

    Columns predicted (an even grid from the 1st to the 99th percentile of the predictions), observed, low, high. Local
    linear regression over the nearest three quarters of the predictions, without robustness steps: Austin and
    Steyerberg, Stat Med 33 (2014), section 2. It needs no choice of bins.
    """
    frame = check(predictions)
    y, p = frame["y_true"].to_numpy(float), frame["y_prob"].to_numpy(float)
    grid = np.linspace(*np.quantile(p, [0.01, 0.99]), points)

    def smooth(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
        # A constant probability leaves no line to fit, only the share itself.
        if np.ptp(probs) == 0:
            return np.full(points, labels.mean())
        return np.clip(lowess(labels, probs, frac=0.75, it=0, xvals=grid), 0, 1)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        if weights is None:
            return smooth(y[rows], p[rows])[None]
        return np.stack([smooth(np.repeat(y[rows], w), np.repeat(p[rows], w)) for w in weights])

    return _banded(predictions, statistic, "predicted", "observed", grid, n_resamples, seed)


def decision(
    predictions: pd.DataFrame,
    prevalence: float | None = None,
    n_resamples: int = 500,
    seed: int = 0,
    thresholds: np.ndarray | None = None,
) -> pd.DataFrame:
    """Trace net benefit by threshold probability, beside treating everybody and nobody.

    Columns threshold, net_benefit, low, high, call_all; treating nobody is 0. Net benefit is the share of true
    positives less that of false positives times threshold / (1 - threshold): Vickers and Elkin, Med Decis Making 26
    (2006), formula 1. `prevalence` is the assumed share of osteoporosis, by default the set's own; another one shifts
    all log odds of probabilities by the difference of the two log odds. `thresholds` (k,) in (0, 1).
    """
    frame = check(predictions)
    check_both_classes(frame, "a decision curve")
    y, p = frame["y_true"].to_numpy(float), frame["y_prob"].to_numpy(float)
    own = y.mean()
    share = own if prevalence is None else prevalence
    if not 0 < share < 1:
        raise ValueError(f"prevalence is {prevalence}; expected a share between 0 and 1")
    grid = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, float)
    if not np.all((grid > 0) & (grid < 1)):
        raise ValueError(f"thresholds are {grid.tolist()[:12]}; expected probabilities above 0 and below 1")
    shift = 0.0 if prevalence is None else float(logit(np.array(share)) - logit(np.array(own)))
    called = (p[:, None] >= grid) if shift == 0 else (logit(p)[:, None] + shift >= logit(grid))
    price = grid / (1 - grid)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        w = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        positive, negative = w * y[rows], w * (1 - y[rows])
        sensitivity = positive @ called[rows] / positive.sum(axis=1, keepdims=True)
        alarms = negative @ called[rows] / negative.sum(axis=1, keepdims=True)
        return share * sensitivity - (1 - share) * alarms * price

    table = _banded(predictions, statistic, "threshold", "net_benefit", grid, n_resamples, seed)
    return table.assign(call_all=share - (1 - share) * price)


def _banded(
    predictions: pd.DataFrame, statistic: Statistic, across: str, up: str, grid: np.ndarray, n_resamples: int, seed: int
) -> pd.DataFrame:
    frame = check(predictions)
    check_spread(frame, f"the band of {up}")
    values, resampled = resample(frame, statistic, n_resamples, seed)
    low, high = np.quantile(resampled, TAILS, axis=0)
    return pd.DataFrame({across: grid, up: values, "low": low, "high": high})
