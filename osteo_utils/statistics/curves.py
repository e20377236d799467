"""Curves with pointwise bands from a bootstrap over groups: ROC, precision and recall, reliability, decision.

Each takes the predictions of one arm; over several seeds the curve is the mean of the seeds' curves.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from statsmodels.nonparametric.smoothers_lowess import lowess

from osteo_utils.statistics.calibration import logit
from osteo_utils.statistics.evaluation import check
from osteo_utils.statistics.resampling import Statistic, resample


def roc(
    predictions: pd.DataFrame, n_resamples: int = 500, seed: int = 0, level: float = 0.95, points: int = 101
) -> pd.DataFrame:
    """Trace sensitivity by false positive rate.

    Columns fpr (an even grid), tpr, low, high, all in [0, 1]; each curve is a staircase, read at the
    highest sensitivity that it reaches by that false positive rate.
    """
    grid = np.linspace(0, 1, points)

    def read(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        reached = np.searchsorted(false / false[-1], grid + 1e-12, side="right")
        return np.r_[0.0, true / true[-1]][reached]

    return _banded(predictions, _staircase(predictions, read), "fpr", "tpr", grid, n_resamples, seed, level)


def precision_recall(
    predictions: pd.DataFrame, n_resamples: int = 500, seed: int = 0, level: float = 0.95, points: int = 101
) -> pd.DataFrame:
    """Trace precision by recall (sensitivity).

    Columns recall (an even grid from the first step up to 1), precision, low, high. A recall between two
    steps is read at the next step, not on a line, which would be too kind (Davis and Goadrich, ICML 2006),
    so the area below is the average precision.
    """
    grid = np.linspace(0, 1, points)[1:]

    def read(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        step = np.searchsorted(true / true[-1], grid - 1e-12)
        return true[step] / (true[step] + false[step])

    statistic = _staircase(predictions, read)
    return _banded(predictions, statistic, "recall", "precision", grid, n_resamples, seed, level)


def _staircase(predictions: pd.DataFrame, read: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Statistic:
    """A statistic that reads counts of true and false alarms, from the highest probability downwards."""
    frame = check(predictions)
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


def reliability(
    predictions: pd.DataFrame, n_resamples: int = 200, seed: int = 0, level: float = 0.95, points: int = 41
) -> pd.DataFrame:
    """Smooth the observed share of osteoporosis over the predicted probability.

    Columns predicted (an even grid between the 1st and 99th percentile of what was predicted), observed,
    low, high. Local linear regression over the nearest three quarters of the predictions, without
    robustness steps: Austin and Steyerberg, Stat Med 33 (2014), section 2. No bins have to be chosen.
    """
    frame = check(predictions)
    y, p = frame["y_true"].to_numpy(float), frame["y_prob"].to_numpy(float)
    grid = np.linspace(*np.quantile(p, [0.01, 0.99]), points)

    def smooth(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
        # On a constant probability there is no line to fit; the share itself is what is left.
        if np.ptp(probs) == 0:
            return np.full(points, labels.mean())
        return np.clip(lowess(labels, probs, frac=0.75, it=0, xvals=grid), 0, 1)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        if weights is None:
            return smooth(y[rows], p[rows])[None]
        return np.stack([smooth(np.repeat(y[rows], w), np.repeat(p[rows], w)) for w in weights])

    return _banded(predictions, statistic, "predicted", "observed", grid, n_resamples, seed, level)


def decision(
    predictions: pd.DataFrame,
    prevalence: float | None = None,
    n_resamples: int = 500,
    seed: int = 0,
    level: float = 0.95,
    thresholds: np.ndarray | None = None,
) -> pd.DataFrame:
    """Trace net benefit by threshold probability, beside calling everybody and nobody (Vickers and Elkin, 2006).

    Columns threshold, net_benefit, low, high, call_all; calling nobody is 0. Net benefit is the share of true
    alarms less that of false ones, each false one worth threshold / (1 - threshold) (Med Decis Making 26,
    formula 1). `prevalence` is the share of osteoporosis to reckon with, the set's own by default; another
    one shifts the log odds of every probability by that of the two shares. `thresholds` (k,) in (0, 1).
    """
    frame = check(predictions)
    y, p = frame["y_true"].to_numpy(float), frame["y_prob"].to_numpy(float)
    own = y.mean()
    share = own if prevalence is None else prevalence
    if not 0 < share < 1:
        raise ValueError(f"prevalence is {prevalence}; expected a share between 0 and 1")
    grid = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, float)
    # Log odds are compared, so that 0.5 meets 0.5 exactly where nothing is shifted.
    shift = 0.0 if prevalence is None else float(logit(np.array(share)) - logit(np.array(own)))
    called = (p[:, None] >= grid) if shift == 0 else (logit(p)[:, None] + shift >= logit(grid))
    price = grid / (1 - grid)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        w = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        positive, negative = w * y[rows], w * (1 - y[rows])
        sensitivity = positive @ called[rows] / positive.sum(axis=1, keepdims=True)
        alarms = negative @ called[rows] / negative.sum(axis=1, keepdims=True)
        return share * sensitivity - (1 - share) * alarms * price

    table = _banded(predictions, statistic, "threshold", "net_benefit", grid, n_resamples, seed, level)
    return table.assign(call_all=share - (1 - share) * price)


def _banded(
    predictions: pd.DataFrame,
    statistic: Statistic,
    across: str,
    up: str,
    grid: np.ndarray,
    n_resamples: int,
    seed: int,
    level: float,
) -> pd.DataFrame:
    values, drawn = resample(check(predictions), statistic, n_resamples, seed)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame({across: grid, up: values, "low": low, "high": high})
