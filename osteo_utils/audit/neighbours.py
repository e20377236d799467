"""Which legs may show the same knee: nearest neighbours by fingerprint, in any orientation.

The fingerprint is a perceptual hash of real numbers instead of bits: coarse local contrast of frame and leg. It is
compared upright, mirrored, upside down and after quarter turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

# Orientation that makes the second film of a pair match the first. Bits: mirrored, upside down and, applied before
# these, a quarter turn anticlockwise.
MIRRORED, UPSIDE_DOWN, QUARTER = 1, 2, 4
# Least correlation of fingerprints. Films are often mirrored but rarely turned, so the rare orientations need more
# and propose only the nearest film.
_RARE, _COMMON = 0.75, 0.7
# Number of principal axes of the comparison; they are fitted only from at least four times as many legs.
_AXES = 64
_LEARN_FROM = 4096
_BLOCK = 4096

Pair = tuple[int, int, int]  # first, second, turn


def neighbours(
    upright: np.ndarray, quarter: np.ndarray, owner: np.ndarray, members: np.ndarray, plan: Mapping[int, int]
) -> dict[int, list[tuple[int, int]]]:
    """Nearest legs by fingerprint: first -> [(second, turn), …], each pair once, first < second.

    `upright` and `quarter` (n, 2, 32, 16) are `coarse` and `quarter` of `Thumbnails`, `owner` (n,) is a leg's film
    (two legs of one film are no pair), `members` are the legs to compare. `plan`: how many neighbours, upright or
    mirrored, the comparison of frames (0) and that of legs (1) may propose for each leg. Time grows with the square of
    n, but with 64 multiplications per pair: at 50,000 legs registration takes far longer.
    """
    found: set[Pair] = set()
    for box, count in plan.items():
        axes = _axes(upright, members, box)
        gallery = _in_blocks(upright, members, box, 0, axes)
        index = NearestNeighbors(algorithm="brute").fit(gallery)
        # A leg finds itself and the other parts of its film as well.
        wanted = min(count + 3, len(members))

        def nearest(turn: int, box=box, axes=axes, index=index, wanted=wanted):
            queries = _in_blocks(quarter if turn & QUARTER else upright, members, box, turn, axes)
            far, there = index.kneighbors(queries, wanted)
            return np.where(owner[members[there]] == owner[members][:, None], np.inf, far), there

        tries = [([0, MIRRORED], count, _COMMON), *(([turn], 1, _RARE) for turn in range(2, 2 * QUARTER))]
        for turns, kept, alike in tries:
            far, there = (np.concatenate(part, axis=1) for part in zip(*map(nearest, turns), strict=True))
            turn = np.repeat(turns, wanted)
            order = np.argsort(far, axis=1, kind="stable")[:, :kept]
            rows, places = np.nonzero(np.isfinite(np.take_along_axis(far, order, axis=1)))
            columns = order[rows, places]
            queries, others, ways = members[rows], members[there[rows, columns]], turn[columns]
            near = _similar(upright, quarter, box, queries, others, ways) >= alike
            for query, other, way in np.stack([queries, others, ways], axis=1)[near].tolist():
                found.add((other, query, way) if other < query else (query, other, inverse(way)))
    by_first: dict[int, list[tuple[int, int]]] = {}
    for first, second, way in sorted(found):
        by_first.setdefault(first, []).append((second, way))
    return by_first


def flipped(pictures: np.ndarray, turn: int) -> np.ndarray:
    """Pictures (..., h, w) mirrored and upside down as `turn` says; the caller does the quarter turn."""
    return pictures[..., :: -1 if turn & UPSIDE_DOWN else 1, :: -1 if turn & MIRRORED else 1]


def inverse(turn: int) -> int:
    """The turn that undoes a turn."""
    if not turn & QUARTER:
        return turn
    swapped = (turn & MIRRORED) * UPSIDE_DOWN + (turn & UPSIDE_DOWN) // UPSIDE_DOWN
    return QUARTER | ((MIRRORED | UPSIDE_DOWN) ^ swapped)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) of length one, float32."""
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(size, 1e-9)).astype(np.float32)


def _flat(pictures: np.ndarray) -> np.ndarray:
    """Pictures (n, h, w) as vectors of length one and mean zero, (n, h · w)."""
    vectors = pictures.reshape(len(pictures), -1).astype(np.float32)
    return _unit(vectors - vectors.mean(axis=1, keepdims=True))


def _axes(upright: np.ndarray, members: np.ndarray, box: int) -> Callable[[np.ndarray], np.ndarray]:
    """Map from vectors of `_flat` to those that are compared.

    Principal axes, each divided by the square root of its standard deviation (halfway to whitening): features that all
    knees share count less, and 64 numbers find a copy as often as all 512.
    """
    if len(members) < 4 * _AXES:
        return lambda vectors: vectors
    sample = members[np.linspace(0, len(members) - 1, min(len(members), _LEARN_FROM)).astype(int)]
    fit = PCA(_AXES, svd_solver="covariance_eigh").fit(_flat(upright[sample, box]))
    axes = (fit.components_.T / np.maximum(fit.explained_variance_, 1e-9) ** 0.25).astype(np.float32)
    return lambda vectors: _unit((vectors - fit.mean_) @ axes)


def _in_blocks(
    pictures: np.ndarray, members: np.ndarray, box: int, turn: int, axes: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    blocks = (members[start : start + _BLOCK] for start in range(0, len(members), _BLOCK))
    return np.concatenate([axes(_flat(flipped(pictures[block, box], turn))) for block in blocks])


def _similar(
    upright: np.ndarray, quarter: np.ndarray, box: int, queries: np.ndarray, others: np.ndarray, ways: np.ndarray
) -> np.ndarray:
    """Correlation of whole fingerprints, the query in the orientation `ways`."""
    found = np.empty(len(queries))
    for way in np.unique(ways).tolist():
        rows = np.flatnonzero(ways == way)
        pictures = quarter if way & QUARTER else upright
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            query = _flat(flipped(pictures[queries[block], box], way))
            found[block] = np.einsum("ij,ij->i", query, _flat(upright[others[block], box]))
    return found
