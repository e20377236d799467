"""Calibration: Platt scaling from score to probability, and how well probabilities are calibrated.

Platt scaling is a line from the out-of-fold logit to the logit of the label. Its interval resamples groups, so it says
how far the probability at one score would move with other knees in the study. It does not say how far the networks
themselves would move, and it holds for the study's own share of osteoporosis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from osteo_utils.statistics.predictions import check_draws, check_groups, check_values

ROUNDS = 50
LARGEST_LOGIT = 14.0


@dataclass(frozen=True)
class Calibration:
    """Intercept and slope from logit to logit: `line` (2,), and `resampled` (n, 2) for the interval.

    `low` and `high` bound the logits of the study's own films; `n_files` and `n_groups` count them.
    """

    line: np.ndarray
    resampled: np.ndarray
    low: float
    high: float
    n_files: int
    n_groups: int

    def at(self, logit: float) -> tuple[float, float, float]:
        """Calibrated probability at a logit, and both ends of its 95 % interval over groups."""
        value = float(sigmoid(self.line[0] + self.line[1] * logit))
        ends = np.quantile(sigmoid(self.resampled @ np.array([1.0, logit])), [0.025, 0.975])
        return value, float(ends[0]), float(ends[1])

    @property
    def informative(self) -> bool:
        """Whether the slope is clearly above 0; if not, the study's scores do not separate the classes."""
        return bool(np.quantile(self.resampled[:, 1], 0.025) > 0)


def fit(logits: np.ndarray, y_true: np.ndarray, groups: np.ndarray, n_resamples: int, seed: int) -> Calibration:
    """Fit the line on out-of-fold logits (n,) and labels (n,) of 0 and 1, resampling `groups` (n,).

    The targets are (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), so that separated classes still have a finite line: Platt 1999,
    "Probabilistic outputs for support vector machines", section 2.2. Raises ValueError where one class is missing.
    """
    (y,) = check_values(y_true)
    logits = np.asarray(logits, float)
    if logits.shape != y.shape or len(groups) != len(y) or not np.isfinite(logits).all():
        raise ValueError(
            f"calibration: {logits.shape} logits, {int((~np.isfinite(logits)).sum())} of them not finite, {len(y)} labels "
            f"and {len(groups)} groups; expected a finite logit, a label and a group for each film"
        )
    check_groups(groups)
    check_draws(n_resamples)
    names, column = np.unique(np.asarray(groups), return_inverse=True)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    line = _lines(logits, y, np.ones((1, len(y))))[0]
    resampled = _lines(logits, y, counts[:, column].astype(float))
    return Calibration(line, resampled, float(logits.min()), float(logits.max()), len(y), len(names))


def bounded_logit(probability: np.ndarray) -> np.ndarray:
    """Log odds, clipped at ±14, beyond which saved probabilities have no digits left."""
    cut = sigmoid(np.array(LARGEST_LOGIT))
    clipped = np.clip(np.asarray(probability, float), 1 - cut, cut)
    return np.log(clipped / (1 - clipped))


def _lines(logits: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intercept and slope for each row of weights (m, n), by Newton's method on all rows at once: (m, 2)."""
    positive = weights @ y
    negative = weights.sum(axis=1) - positive
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    targets = np.where(y == 1, high[:, None], low[:, None])
    centre, spread = logits.mean(), max(float(logits.std()), 1e-9)
    x = np.stack([np.ones(len(logits)), (logits - centre) / spread], axis=1)
    lines = np.zeros((len(weights), 2))
    for _ in range(ROUNDS):
        p = sigmoid(lines @ x.T)
        gradient = (weights * (targets - p)) @ x
        curvature = np.einsum("mn,ni,nj->mij", weights * p * (1 - p), x, x) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        # A full Newton step may overshoot where nearly all probabilities are 0 or 1.
        lines = lines + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    slope = lines[:, 1] / spread
    return np.stack([lines[:, 0] - slope * centre, slope], axis=1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of log odds, the inverse of `logit`; same shape and precision."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -700, 700)))


def logit(prob: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, which are kept 1e-6 away from 0 and 1."""
    clipped = np.clip(prob, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def recalibration(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Calibration slope and intercept: 1 and 0 for probabilities that are well calibrated.

    y_true and y_prob (n,), weights (resamples, n); returns arrays (resamples,). calibration_slope is b of the logistic
    regression logit P(y = 1) = a + b logit(y_prob) (Cox 1958; Miller et al., 1991); below 1, the probabilities are too
    extreme. calibration_intercept is a with b held at 1, calibration in the large; below 0, they are too high (Van
    Calster et al., J Clin Epidemiol 74, 2016). The slope is infinite where the classes are separated and NaN where all
    probabilities are equal.
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
    """Coefficients (resamples, columns) of weighted logistic regressions; infinite where they diverge."""
    products = np.einsum("ni,nj->nij", columns, columns)
    found = np.zeros((len(w), columns.shape[1]))
    moving = np.arange(len(w))
    for _ in range(30):
        prob = expit(found[moving] @ columns.T + offset)
        gradient = (w[moving] * (y - prob)) @ columns
        curvature = np.tensordot(w[moving] * prob * (1 - prob), products, 1)
        # A separated resample diverges until no curvature is left.
        flat = np.linalg.det(curvature) < 1e-9
        curvature[flat] = np.eye(columns.shape[1])
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step = np.clip(step, -4, 4)
        found[moving] += step
        found[moving[flat]] = _diverged(found[moving[flat]])
        moving = moving[(np.abs(step).max(axis=1) > 1e-9) & ~flat]
        if not len(moving):
            return found
    found[moving] = _diverged(found[moving])
    return found


def _diverged(coefficients: np.ndarray) -> np.ndarray:
    return np.where(coefficients == 0, np.nan, np.copysign(np.inf, coefficients))


def calibration_gap(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error in ten equal bins (Guo et al., 2017); weights and result as in `measure`."""
    number = np.minimum((np.asarray(y_prob) * 10).astype(int), 9)
    gaps = np.eye(10)[number] * (np.asarray(y_prob) - y_true)[:, None]
    return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
