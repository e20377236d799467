"""Which images show the same knee: likely pairs by fingerprint, each verified by registration.

A copy may be rescaled, squeezed, cropped, padded, mirrored, turned by a quarter or upside down, re-exposed or
recompressed. Candidates come from a coarse local-contrast fingerprint (a perceptual hash kept in real numbers
instead of bits, compared for every way in which a film can be laid down); each is then verified by registration.
A film of two legs is looked at leg by leg, so that one leg cut from it is found as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from osteo_utils.data import registration
from osteo_utils.data.manifest import film

# Similarity from which two films count as one. Among the 744 real films every pair near it was looked at: different
# knees end at 0.84 (the other knee of the same person) and copies begin at 0.88.
SAME_KNEE = 0.86
# From this agreement in outline on, two films are one even where noise or compression has eaten the detail: the most
# alike outlines of different knees reach 0.90 among the real films and 0.965 among synthetic ones.
_SURE = 0.98
# A leg of fewer pixels than this along its height has no detail to tell knees apart by; then the outline must be sure.
_FEW_PIXELS = 160
# Below this agreement in outline, detail is not looked at: no copy is so unlike its source.
_OUTLINE = 0.7
# From here on, films that match only when one is mirrored look like two knees of one person.
_OTHER_SIDE = 0.84
# How the second film of a pair must be laid down to match the first: the bits stand for mirrored, upside down
# and, before these, a quarter turn against the clock. Films are often mirrored and seldom anything else, so the
# other ways put forward only what already looks alike in the fingerprint.
MIRRORED, UPSIDE_DOWN, QUARTER = 1, 2, 4
_SELDOM = 0.75
_PAIR_COLUMNS = ["first", "second", "turn", "outline", "similarity"]
# Which box of one film is held against which of the other (0 frame, 1 leg, 2 core), and how many neighbours each
# comparison may put forward. The second round compares one film per group that the first one found.
_ROUNDS = ({(1, 1): 3, (0, 0): 2}, {(1, 1): 6, (0, 0): 2, (2, 1): 4, (1, 2): 4})
# Fourier peak below which a candidate is dropped. True copies among the real films have 0.86 or more, and ones
# that were cropped, turned and recompressed on purpose mostly 0.77.
_PEAK = 0.77

Pair = tuple[int, int, int]  # first, second, turn


def candidates_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows that the audit looks at, sorted by image_id: status ok, and a label."""
    kept = manifest[(manifest["status"] == "ok") & manifest["label"].notna() & (manifest["label"] != "")]
    return kept.sort_values("image_id", ignore_index=True)


def compare(images: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Likely pairs of images and how alike they are after registration.

    `images` is the store, uint8 (n, 512, 512); `manifest` as in its contract. Returns one row per pair that was
    looked at: first, second (image_ids, first < second), turn (how the second was laid down, 0 to 7), outline
    (correlation, −1 to 1, of the registered legs) and similarity (the lower of outline and detail; the outline alone
    where it is below 0.7, or above 0.98 with its detail lost; at most 0.7 where there are too few pixels for detail). Images with the same pixels are compared once, under the first of their names.
    """
    table = candidates_of(manifest).drop_duplicates("pixel_sha256", ignore_index=True)
    if len(table) < 2:
        return pd.DataFrame(columns=_PAIR_COLUMNS)
    legs, owner = _legs(images, table)
    portraits = registration.portraits(*legs)
    quarter = np.stack([registration.coarse(np.rot90(leg)) for leg in legs[0]])
    seen: dict[Pair, tuple[float, float]] = {}
    labels = np.arange(len(owner))
    # Below a hundred films, starting processes costs more than it saves.
    parts = cpu_count() if len(table) > 100 else 1
    for plan in _ROUNDS:
        members = np.unique(labels, return_index=True)[1]
        todo = {
            first: new
            for first, others in _neighbours(portraits.coarse, quarter, members, plan).items()
            if (new := [o for o in others if (first, *o) not in seen and owner[o[0]] != owner[first]])
        }
        turned = _quarter_turned(legs, todo)
        shares = [list(todo.items())[start::parts] for start in range(parts)]
        for found in Parallel(n_jobs=parts)(
            delayed(_similarities_of)(portraits, turned, share) for share in shares
        ):
            seen.update(found)
        joined = [(a, b) for (a, b, _), (_, similarity) in seen.items() if similarity >= SAME_KNEE]
        labels = components(len(owner), joined)
    names = table["image_id"].to_numpy()[owner]
    rows = [(names[a], names[b], turn, *np.round(seen[a, b, turn], 4)) for a, b, turn in sorted(seen)]
    pairs = pd.DataFrame(rows, columns=_PAIR_COLUMNS)
    # The two legs of one film may both have been held against another film: the better match counts.
    best = pairs.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(_PAIR_COLUMNS[:3])
    return best.sort_values(_PAIR_COLUMNS[:3], ignore_index=True)


def other_side(pairs: pd.DataFrame) -> pd.DataFrame:
    """Mirrored pairs alike in outline but not in detail: probably the left and the right knee of one person.

    They are not joined, because a group is one knee and no gap separates such pairs from strangers. Returns the
    rows of `pairs` that are mirrored, with an outline of at least 0.84, below SAME_KNEE, most alike first.
    """
    near = (pairs["turn"] == MIRRORED) & (pairs["outline"] >= _OTHER_SIDE) & (pairs["similarity"] < SAME_KNEE)
    return pairs[near].sort_values("outline", ascending=False, ignore_index=True)


def similarities_among(images: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """How alike each film of a small table is to each other one, registered upright and mirrored: (n, n)."""
    legs = [film(images, row) for row in table.itertuples()], _sizes(table)
    portraits = registration.portraits(*legs)
    found = np.eye(len(table))
    for first in range(len(table)):
        others = [(second, turn) for second in range(first + 1, len(table)) for turn in (0, MIRRORED)]
        values = _similarities(portraits, {}, first, others, peak=-1.0)
        for (second, _), (_, similarity) in zip(others, values, strict=True):
            best = max(similarity, found[first, second])
            found[first, second] = found[second, first] = best
    return found


def components(size: int, links: Sequence[tuple[int, int]]) -> np.ndarray:
    """Connected components, numbered in the order of their first member."""
    ends = np.array(links, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    return pd.factorize(labels)[0]


def _sizes(table: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(table["height"], table["width"], strict=True))


def _legs(
    images: np.ndarray, table: pd.DataFrame
) -> tuple[tuple[list[np.ndarray], list[tuple[int, int]]], np.ndarray]:
    """Films (h, w), cut in two where they show two legs, their sizes in pixels of the file, and whose they are."""
    parts, sizes, owner = [], [], []
    for number, (row, (height, width)) in enumerate(zip(table.itertuples(), _sizes(table), strict=True)):
        whole = film(images, row)
        for columns in registration.legs(whole):
            part = whole[:, columns]
            parts.append(part)
            sizes.append((height, max(1, round(width * part.shape[1] / whole.shape[1]))))
            owner.append(number)
    return (parts, sizes), np.array(owner)


def _quarter_turned(
    legs: tuple[list[np.ndarray], list[tuple[int, int]]], todo: Mapping[int, list[tuple[int, int]]]
) -> dict[int, registration.Portraits]:
    """Portraits of the films that have to be laid down after a quarter turn, by number; few films need them."""
    needed = sorted({other for others in todo.values() for other, turn in others if turn & QUARTER})
    return {
        number: registration.portraits([np.rot90(legs[0][number])], [legs[1][number][::-1]])
        for number in needed
    }


def _laid(pictures: np.ndarray, turn: int) -> np.ndarray:
    """Pictures (..., h, w) mirrored and upside down as `turn` says; a quarter turn is the caller's."""
    return pictures[..., :: -1 if turn & UPSIDE_DOWN else 1, :: -1 if turn & MIRRORED else 1]


def _undone(turn: int) -> int:
    """The turn that takes the other film of a pair onto this one."""
    if not turn & QUARTER:
        return turn
    swapped = (turn & MIRRORED) * UPSIDE_DOWN + (turn & UPSIDE_DOWN) // UPSIDE_DOWN
    return QUARTER | ((MIRRORED | UPSIDE_DOWN) ^ swapped)


def _unit(coarse: np.ndarray) -> np.ndarray:
    """Vectors of length one and mean zero, (boxes, n, pixels)."""
    flat = coarse.reshape(*coarse.shape[:2], -1).transpose(1, 0, 2)
    flat = flat - flat.mean(axis=2, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1e-9)


def _neighbours(
    upright: np.ndarray,
    quarter: np.ndarray,
    members: np.ndarray,
    plan: Mapping[tuple[int, int], int],
    block: int = 2048,
) -> dict[int, list[tuple[int, int]]]:
    """Nearest by fingerprint, as first -> (second, turn); in blocks, so that memory grows only with n."""
    found: set[Pair] = set()
    gallery = _unit(upright[members])
    for turn in range(2 * QUARTER):
        queries = _unit(_laid((quarter if turn & QUARTER else upright)[members], turn))
        seldom = turn not in (0, MIRRORED)
        for (query_box, box), count in plan.items():
            kept = min(1 if seldom else count, len(members) - 1)
            if kept < 1 or (seldom and query_box != box):
                continue
            for start in range(0, len(members), block):
                alike = queries[query_box, start : start + block] @ gallery[box].T
                rows = np.arange(len(alike))
                alike[rows, start + rows] = -np.inf
                nearest = np.argpartition(-alike, kept - 1, axis=1)[:, :kept]
                for row, others in enumerate(nearest):
                    for there in others:
                        if seldom and alike[row, there] < _SELDOM:
                            continue
                        query, other = int(members[start + row]), int(members[there])
                        found.add((other, query, turn) if other < query else (query, other, _undone(turn)))
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for first, second, turn in sorted(found):
        neighbours.setdefault(first, []).append((second, turn))
    return neighbours


def _similarities_of(
    portraits: registration.Portraits,
    turned: Mapping[int, registration.Portraits],
    share: list[tuple[int, list[tuple[int, int]]]],
) -> dict[Pair, tuple[float, float]]:
    return {
        (first, *other): values
        for first, others in share
        for other, values in zip(others, _similarities(portraits, turned, first, others), strict=True)
    }


def _similarities(
    portraits: registration.Portraits,
    turned: Mapping[int, registration.Portraits],
    first: int,
    others: list[tuple[int, int]],
    peak: float = _PEAK,
) -> list[tuple[float, float]]:
    """Outline and similarity with each of `others` (second, turn); below `peak` nothing is registered."""
    if not others:
        return []
    # Where a portrait stands: a film after a quarter turn has one of its own.
    places = [
        (turned[other], 0, turn) if turn & QUARTER else (portraits, other, turn) for other, turn in others
    ]
    coarse = np.stack([_laid(kind.coarse[at, 1], turn) for kind, at, turn in places])
    warps, peaks = registration.search(portraits.coarse[first, 1], coarse)
    found = []
    for (kind, at, turn), warp, height in zip(places, warps, peaks, strict=True):
        leg, grey = (np.ascontiguousarray(_laid(picture[at], turn)) for picture in (kind.leg, kind.grey))
        box = kind.boxes[at].copy()
        if turn & MIRRORED:
            box[[0, 2]] = 1 - box[[2, 0]]
        if turn & UPSIDE_DOWN:
            box[[1, 3]] = 1 - box[[3, 1]]
        same_field = registration.frame_start(portraits.boxes[first], box)
        starts = [warp, np.eye(2, 3), same_field] if height >= peak else []
        warp, outline = registration.register(portraits.leg[first], leg, starts)
        similarity = outline
        if outline >= _OUTLINE:
            pixels = portraits.pixels[first], kind.pixels[at]
            fine = registration.detail(portraits.grey[first], grey, warp, *pixels)
            similarity = min(outline, fine)
            if outline >= _SURE and similarity < SAME_KNEE:
                similarity = outline
            elif outline < _SURE and min(size[0] for size in pixels) < _FEW_PIXELS:
                similarity = min(similarity, _OUTLINE)
        found.append((outline, similarity))
    return found
