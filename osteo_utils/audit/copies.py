"""Which images show the same knee: likely pairs by fingerprint, each verified by registration.

A copy may be rescaled, squeezed, cropped, padded, mirrored, turned by a quarter or upside down, re-exposed or
recompressed. Films are compared leg by leg, so that a copy of one of two legs is found as well. Thumbnails are stored
in temporary files, so memory stays bounded for any number of films.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from osteo_utils.audit import registration
from osteo_utils.audit.neighbours import MIRRORED, QUARTER, UPSIDE_DOWN, Pair, flipped, neighbours
from osteo_utils.audit.thumbnails import Thumbnails, legs_of, of_store, release_pages, thumbnails

# Similarity of copies. Among 744 real films different knees reach 0.84 (both of one person), copies at least 0.88.
SAME_KNEE = 0.86
# Correlation of outlines of copies whose detail is lost; different knees reach 0.90 (real films) and 0.965 (synthetic).
_SURE = 0.98
# With fewer pixels, down or across, detail cannot tell knees apart. The smallest real films have 256 and 128.
_FEW_PIXELS = (160, 64)
# Outline below which detail is not compared: no copy is so unlike its source. Films that reach it mirrored but differ in
# detail look like the two knees of one person. They are not joined, because no gap separates them from strangers.
_ALIKE_OUTLINE = 0.84
# Highest similarity of films of which only the outline was compared.
_OUTLINE_ALONE = 0.7
_PAIR_COLUMNS = ["first", "second", "turn", "outline", "similarity"]
# Films whose detail agrees this far may differ in gamma, and are compared again with equalised grey levels.
_OTHER_GAMMA = 0.6
# Candidates from the comparison of legs (1) and frames (0). The second round compares one film per group of the first.
_ROUNDS = ({1: 3, 0: 2}, {1: 8, 0: 4})
# Legs per registration task, which bounds the memory of a process.
_SHARE = 64
# Fourier peak below which a candidate is dropped: copies of real films have at least 0.86, rotated by 4 degrees 0.72.
_PEAK = 0.7


class Match(NamedTuple):
    """Two registered legs: correlation of their outlines, similarity, and the warp (2, 3) of `registration.register`."""

    outline: float
    similarity: float
    warp: np.ndarray


def candidates_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows to audit, sorted by image_id: status ok, and a label."""
    usable = manifest[(manifest["status"] == "ok") & manifest["label"].notna() & (manifest["label"] != "")]
    return usable.sort_values("image_id", ignore_index=True)


def compare(images: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Likely pairs of images and their similarity after registration.

    `images` is the store, uint8 (n, 512, 512); `manifest` as in its contract. Returns one row per candidate pair:
    first, second (image_ids, first < second), turn (orientation of the second, 0 to 7), outline (correlation, −1 to 1,
    of the registered legs) and similarity: the lower of outline and detail, with equalised grey levels if that is
    more; the outline alone where it exceeds 0.98 but detail is lost; at most 0.7 where detail was not compared (outline
    below 0.84) or cannot decide (too few pixels). Images with the same pixels are compared once, under the first of
    their names. Temporary files take about 54 KB a film.
    """
    table = candidates_of(manifest).drop_duplicates("pixel_sha256", ignore_index=True)
    if len(table) < 2:
        return pd.DataFrame(columns=_PAIR_COLUMNS)
    # Below a hundred films, starting processes costs more than it saves.
    workers = cpu_count() if len(table) > 100 else 1
    seen: dict[Pair, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="copies-") as scratch:
        small = of_store(images, table, Path(scratch), workers)
        owner = np.array(small.owner)
        verify = partial(_similarities_of, small, images, table)
        labels = np.arange(len(owner))
        for plan in _ROUNDS:
            members = np.unique(labels, return_index=True)[1]
            near = neighbours(small.coarse, small.quarter, owner, members, plan)
            release_pages(small.coarse), release_pages(small.quarter)
            todo = [
                (first, new)
                for first, others in near.items()
                if (new := [other for other in others if (first, *other) not in seen])
            ]
            shares = (todo[start : start + _SHARE] for start in range(0, len(todo), _SHARE))
            for found in Parallel(n_jobs=workers, return_as="generator")(map(delayed(verify), shares)):
                seen.update(found)
            joined = [(a, b) for (a, b, _), (_, similarity) in seen.items() if similarity >= SAME_KNEE]
            labels = components(len(owner), joined)
    names = table["image_id"].to_numpy()[owner]
    rows = [(names[a], names[b], turn, *np.round(seen[a, b, turn], 4)) for a, b, turn in sorted(seen)]
    pairs = pd.DataFrame(rows, columns=_PAIR_COLUMNS)
    # Both legs of a film may have been compared with another film: the better match counts.
    best = pairs.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(_PAIR_COLUMNS[:3])
    return best.sort_values(_PAIR_COLUMNS[:3], ignore_index=True)


def similarities_among(images: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Similarity of all films of a small table, registered upright and mirrored: (n, n)."""
    small = thumbnails([legs_of(images, row)[0] for row in table.itertuples()])
    found = np.eye(len(table))
    for first in range(len(table)):
        others = [(second, turn) for second in range(first + 1, len(table)) for turn in (0, MIRRORED)]
        values = matches(small, {}, first, others, peak=-1.0)
        for (second, _), match in zip(others, values, strict=True):
            found[first, second] = found[second, first] = max(match.similarity, found[first, second])
    return found


def components(size: int, links: Sequence[tuple[int, int]]) -> np.ndarray:
    """Connected components, numbered in the order of their first member."""
    ends = np.array(links, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    return pd.factorize(labels)[0]


def _similarities_of(
    small: Thumbnails, images: np.ndarray, table: pd.DataFrame, share: list[tuple[int, list[tuple[int, int]]]]
) -> dict[Pair, tuple[float, float]]:
    found: dict[Pair, tuple[float, float]] = {}
    for first, others in share:
        turned = {}
        for other in {other for other, turn in others if turn & QUARTER}:
            picture, size = legs_of(images, table.iloc[small.owner[other]])[small.part[other]]
            turned[other] = thumbnails([(np.rot90(picture), size[::-1])])
        values = matches(small, turned, first, others)
        found |= {(first, *other): value[:2] for other, value in zip(others, values, strict=True)}
    for array in (images, small.coarse, small.leg, small.grey):
        release_pages(array)
    return found


def matches(
    small: Thumbnails, turned: dict[int, Thumbnails], first: int, others: list[tuple[int, int]], peak: float = _PEAK
) -> list[Match]:
    """Leg `first` with each of `others` (second, turn), registered where the Fourier peak reaches `peak`.

    `turned` has the thumbnails of legs after a quarter turn. A warp leads from the leg to the other one, turned.
    """
    if not others:
        return []
    places = [(turned[other], 0, turn) if turn & QUARTER else (small, other, turn) for other, turn in others]
    coarse = np.stack([flipped(kind.coarse[at, 1], turn) for kind, at, turn in places]).astype(np.float32)
    warps, peaks = registration.search(small.coarse[first, 1].astype(np.float32), coarse)
    fixed = registration.target(small.leg[first])
    found = []
    for (kind, at, turn), warp, height in zip(places, warps, peaks, strict=True):
        box = kind.boxes[at].copy()
        if turn & MIRRORED:
            box[[0, 2]] = 1 - box[[2, 0]]
        if turn & UPSIDE_DOWN:
            box[[1, 3]] = 1 - box[[3, 1]]
        same_field = registration.frame_start(small.boxes[first], box)
        starts = [warp, np.eye(2, 3), same_field] if height >= peak else []
        warp, outline = registration.register(fixed, flipped(kind.leg[at], turn), starts)
        similarity = min(outline, _OUTLINE_ALONE)
        pixels = small.pixels[first], kind.pixels[at]
        if outline >= _ALIKE_OUTLINE:
            fine = registration.detail(small.grey[first], flipped(kind.grey[at], turn), warp, *pixels)
            few = any(side < least for size in pixels for side, least in zip(size, _FEW_PIXELS, strict=True))
            if outline >= _SURE:
                similarity = min(outline, fine) if fine >= SAME_KNEE else outline
            elif few:
                similarity = min(fine, _OUTLINE_ALONE)
            else:
                similarity = min(outline, fine)
                if _OTHER_GAMMA <= fine < SAME_KNEE:
                    equalised = registration.equalised(small.grey[first], flipped(kind.grey[at], turn), warp, *pixels)
                    similarity = max(similarity, equalised)
        found.append(Match(outline, similarity, warp))
    return found
