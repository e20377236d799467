"""Whether a film is like those of a study: distances in the normalised features of a network.

A film is out of distribution where its distance to the fifth nearest film of the study exceeds the 99th percentile of
the study's own distances, each taken to films of other groups.
Source: Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", ICML, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

NEIGHBOURS = 5
PERCENTILE = 99.0
# Films whose distances from all others are in memory at once.
BLOCK = 1024


@dataclass(frozen=True)
class Reference:
    """The study's films in feature space: unit vectors `points` (n, c) and their `groups`.

    `distances` (n,) is each film's distance to the other groups, `threshold` their 99th percentile.
    """

    points: np.ndarray
    groups: np.ndarray
    distances: np.ndarray
    threshold: float

    def distance(self, features: np.ndarray, without_group: int | None = None) -> float:
        """Distance of one film's features (c,) to the study, without the films of one group."""
        others = self.points if without_group is None else self.points[self.groups != without_group]
        return float(_nth(_gaps(_unit(features[None]), others), NEIGHBOURS)[0])

    def nearest(self, features: np.ndarray, count: int) -> np.ndarray:
        """Positions of the `count` films of the study nearest to any view of one film (v, c), nearest first."""
        gaps = _gaps(_unit(features), self.points).min(axis=0)
        return np.argsort(gaps, kind="stable")[:count]

    def rank(self, distance: float) -> float:
        """Share of the study's own films with at least this distance, 0 to 1."""
        return float(np.mean(self.distances >= distance))


def reference(features: np.ndarray, groups: np.ndarray) -> Reference:
    """The reference of features (n, c) and groups (n,) of a study's films.

    Raises ValueError where a film has fewer than five films of other groups.
    """
    largest = int(np.unique(groups, return_counts=True)[1].max())
    if len(groups) - largest < NEIGHBOURS:
        raise ValueError(
            f"novelty: {len(groups)} films, {largest} of them of one group; expected at least {NEIGHBOURS} of others"
        )
    points = _unit(features)
    distances = distances_to_others(features, groups, NEIGHBOURS)
    threshold = float(np.quantile(distances, PERCENTILE / 100, method="higher"))
    return Reference(points, groups, distances, threshold)


def distances_to_others(features: np.ndarray, groups: np.ndarray, neighbours: int) -> np.ndarray:
    """Each film's distance to the `neighbours`-th nearest film of other groups, (n,), of normalised features (n, c)."""
    points = _unit(features)
    distances = np.empty(len(points))
    for part in gen_batches(len(points), BLOCK):
        gaps = _gaps(points[part], points)
        gaps[groups[part, None] == groups[None]] = np.inf
        distances[part] = _nth(gaps, neighbours)
    return distances


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _gaps(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * points @ others.T, 0))


def _nth(gaps: np.ndarray, number: int) -> np.ndarray:
    return np.partition(gaps, number - 1, axis=1)[:, number - 1]
