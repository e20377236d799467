"""Which legs may show the same knee: nearest neighbours by fingerprint, however a film is laid down.

The fingerprint is a perceptual hash kept in real numbers instead of bits: coarse local contrast of frame and leg. It is compared upright, mirrored, upside down and after quarter turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

# How the second film of a pair must be laid down to match the first: the bits stand for mirrored, upside down
# and, before these, a quarter turn against the clock.
MIRRORED, UPSIDE_DOWN, QUARTER = 1, 2, 4
# Films are often mirrored and seldom laid down in another way, so the other ways put forward only the nearest, and
# only where the fingerprints are as alike as this; likewise the common ways, less strictly.
_SELDOM, _COMMON = 0.75, 0.7
# Fingerprints are compared along so many principal axes. From fewer legs than four times that no axes are learnt.
_AXES = 64
_LEARN_FROM = 4096
_BLOCK = 4096

Pair = tuple[int, int, int]  # first, second, turn


def neighbours(
    upright: np.ndarray, quarter: np.ndarray, owner: np.ndarray, members: np.ndarray, plan: Mapping[int, int]
) -> dict[int, list[tuple[int, int]]]:
    """Nearest legs by fingerprint: first -> [(second, turn), …], each pair once, first < second.

    `upright` and `quarter` (n, 2, 32, 16) are fingerprints as in `Portraits`, `owner` (n,) says whose leg it is (two
    legs of one film are no pair), `members` which of the n are compared. `plan` says how many neighbours, upright or
    mirrored, the comparison of frames (0) and that of legs (1) may put forward for each leg. Time grows with the square of n, but by 64 multiplications a pair: at 50,000 legs it is
    small beside the registration that follows.
    """
    found: set[Pair] = set()
    for box, count in plan.items():
        axes = _axes(upright, members, box)
        gallery = _in_blocks(upright, members, box, 0, axes)
        index = NearestNeighbors(algorithm="brute").fit(gallery)
        # A leg finds itself and the other leg of its film as well.
        wanted = min(count + 2, len(members))

        def nearest(turn: int, box=box, axes=axes, index=index, wanted=wanted):
            pictures = quarter if turn & QUARTER else upright
            queries = _in_blocks(pictures, members, box, turn, axes)
            far, there = index.kneighbors(queries, wanted)
            return np.where(owner[members[there]] == owner[members][:, None], np.inf, far), there

        tries = [([0, MIRRORED], count, _COMMON)]
        tries += [([turn], 1, _SELDOM) for turn in range(2, 2 * QUARTER)]
        for turns, kept, alike in tries:
            far, there = (np.concatenate(part, axis=1) for part in zip(*map(nearest, turns), strict=True))
            turn = np.repeat(turns, wanted)
            order = np.argsort(far, axis=1, kind="stable")[:, :kept]
            rows, places = np.nonzero(np.isfinite(np.take_along_axis(far, order, axis=1)))
            columns = order[rows, places]
            queries, others, ways = members[rows], members[there[rows, columns]], turn[columns]
            near = _similar(upright, quarter, box, queries, others, ways) >= alike
            for query, other, way in zip(
                queries[near].tolist(), others[near].tolist(), ways[near].tolist(), strict=True
            ):
                found.add((other, query, way) if other < query else (query, other, undone(way)))
    listed: dict[int, list[tuple[int, int]]] = {}
    for first, second, way in sorted(found):
        listed.setdefault(first, []).append((second, way))
    return listed


def laid(pictures: np.ndarray, turn: int) -> np.ndarray:
    """Pictures (..., h, w) mirrored and upside down as `turn` says; a quarter turn is the caller's."""
    return pictures[..., :: -1 if turn & UPSIDE_DOWN else 1, :: -1 if turn & MIRRORED else 1]


def undone(turn: int) -> int:
    """The turn that takes the other film of a pair onto this one."""
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
    """What turns vectors of `_flat` into those that are compared.

    Principal axes, each divided by the square root of its spread (halfway to whitening): what all knees share
    counts less, what tells them apart more, and 64 numbers find the copy as often as all 512.
    """
    if len(members) < 4 * _AXES:
        return lambda vectors: vectors
    sample = members[np.linspace(0, len(members) - 1, min(len(members), _LEARN_FROM)).astype(int)]
    learnt = PCA(_AXES, svd_solver="covariance_eigh").fit(_flat(upright[sample, box]))
    turn = (learnt.components_.T / np.maximum(learnt.explained_variance_, 1e-9) ** 0.25).astype(np.float32)
    return lambda vectors: _unit((vectors - learnt.mean_) @ turn)


def _in_blocks(
    pictures: np.ndarray, members: np.ndarray, box: int, turn: int, axes: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    starts = range(0, len(members), _BLOCK)
    return np.concatenate([axes(_flat(laid(pictures[members[start : start + _BLOCK], box], turn))) for start in starts])


def _similar(
    upright: np.ndarray, quarter: np.ndarray, box: int, queries: np.ndarray, others: np.ndarray, ways: np.ndarray
) -> np.ndarray:
    """Correlation of whole fingerprints, the query laid down as `ways` says."""
    found = np.empty(len(queries))
    for way in np.unique(ways).tolist():
        rows = np.flatnonzero(ways == way)
        pictures = quarter if way & QUARTER else upright
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            query = _flat(laid(pictures[queries[some], box], way))
            found[some] = np.einsum("ij,ij->i", query, _flat(upright[others[some], box]))
    return found
