"""Whether a film looks like those that a study has learnt from, by its distance in a network's own features.

Features are brought to unit length; the distance of a film is that to its fifth nearest film of the study. What counts as far is read off the study's own films, each measured against
those of other groups: a copy of a knee would make its distance nought.
Source: Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", ICML, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 5
PERCENTILE = 99.0
# Films whose distances from all others are in memory at once.
BLOCK = 1024


@dataclass(frozen=True)
class Reference:
    """The study's films in feature space: unit vectors `points` (n, c), their `groups`, and how far apart they lie.

    `distances` (n,) is each film's own distance from the other groups, `threshold` their 99th percentile: of films
    like the study's, about one in a hundred lies beyond it.
    """

    points: np.ndarray
    groups: np.ndarray
    distances: np.ndarray
    threshold: float

    def distance(self, features: np.ndarray, without_group: int | None = None) -> float:
        """Distance of one film's features (c,) from the study, those of one group left out."""
        others = self.points if without_group is None else self.points[self.groups != without_group]
        return float(_fifth(_gaps(_unit(features[None]), others))[0])

    def nearest(self, features: np.ndarray, count: int) -> np.ndarray:
        """Positions of the `count` films of the study most like one film in any of its views (v, c), nearest first."""
        gaps = _gaps(_unit(features), self.points).min(axis=0)
        return np.argsort(gaps, kind="stable")[:count]

    def rank(self, distance: float) -> float:
        """Share of the study's own films that lie at least as far out, 0 to 1."""
        return float(np.mean(self.distances >= distance))


def reference(features: np.ndarray, groups: np.ndarray) -> Reference:
    """Learn what the study looks like from features (n, c) and groups (n,) of its films.

    Raises ValueError where a film has fewer than five films of other groups beside it.
    """
    features, groups = np.asarray(features, np.float64), np.asarray(groups)
    largest = int(np.unique(groups, return_counts=True)[1].max())
    if len(groups) - largest < NEIGHBOURS:
        raise ValueError(
            f"novelty: {len(groups)} films, {largest} of them of one group; expected at least {NEIGHBOURS} of others"
        )
    points = _unit(features)
    distances = np.empty(len(points))
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        gaps = _gaps(points[part], points)
        gaps[groups[part, None] == groups[None]] = np.inf
        distances[part] = _fifth(gaps)
    threshold = float(np.quantile(distances, PERCENTILE / 100, method="higher"))
    return Reference(points, groups, distances, threshold)


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _gaps(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * points @ others.T, 0))


def _fifth(gaps: np.ndarray) -> np.ndarray:
    return np.partition(gaps, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
