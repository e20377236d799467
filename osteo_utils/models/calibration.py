"""From a network's score to a probability that can be taken at its word, with the interval of that step.

A line is laid from the out-of-fold logit to the logit of the label (Platt scaling). Its interval comes from
resampling groups, so it says how far the probability at one score would move with other knees in the study. It
does not say how far the networks themselves would move, and it holds for the study's own share of osteoporosis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDS = 50
LARGEST_LOGIT = 14.0


@dataclass(frozen=True)
class Calibration:
    """The line from logit to logit: intercept and slope, `line` (2,) and its resampled copies `drawn` (n, 2).

    `low` and `high` bound the logits that the study has seen, `n_files` and `n_groups` count them.
    """

    line: np.ndarray
    drawn: np.ndarray
    low: float
    high: float
    n_files: int
    n_groups: int

    def at(self, logit: float) -> tuple[float, float, float]:
        """Calibrated probability at a score, and the ends of its 95 % interval over groups."""
        value = float(_probability(self.line[0] + self.line[1] * logit))
        ends = np.quantile(_probability(self.drawn @ np.array([1.0, logit])), [0.025, 0.975])
        return value, float(ends[0]), float(ends[1])

    @property
    def informative(self) -> bool:
        """Whether the slope is shown to be above 0: else the study's scores do not tell the classes apart."""
        return bool(np.quantile(self.drawn[:, 1], 0.025) > 0)


def fit(
    logits: np.ndarray, y_true: np.ndarray, groups: np.ndarray, n_resamples: int, seed: int
) -> Calibration:
    """Fit the line on out-of-fold logits (n,) and labels (n,) of 0 and 1, resampling `groups` (n,).

    Targets are moved inwards by the number of films of each class, (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), so that
    classes that are wholly apart still have a finite line. Raises ValueError where one class is missing. Source:
    Platt 1999, "Probabilistic outputs for support vector machines", section 2.2; the bootstrap over groups as for
    every other interval of the study.
    """
    logits, y = np.asarray(logits, float), np.asarray(y_true, float)
    if set(np.unique(y)) != {0.0, 1.0}:
        raise ValueError(f"calibration: labels {np.unique(y).tolist()}; expected films of both classes")
    names, column = np.unique(np.asarray(groups), return_inverse=True)
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    line = _lines(logits, y, np.ones((1, len(y))))[0]
    drawn = _lines(logits, y, counts[:, column].astype(float))
    return Calibration(line, drawn, float(logits.min()), float(logits.max()), len(y), len(names))


def logit(probability: np.ndarray) -> np.ndarray:
    """Log odds, cut at ±14, beyond which saved probabilities have no digits left."""
    cut = _probability(np.array(LARGEST_LOGIT))
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
        p = _probability(lines @ x.T)
        gradient = (weights * (targets - p)) @ x
        curvature = np.einsum("mn,ni,nj->mij", weights * p * (1 - p), x, x) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        # A full Newton step may overshoot where nearly all probabilities are 0 or 1.
        lines = lines + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    slope = lines[:, 1] / spread
    return np.stack([lines[:, 0] - slope * centre, slope], axis=1)


def _probability(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -700, 700)))
