"""Which images show the same knee: likely pairs by fingerprint, each verified by registration.

A copy may be rescaled, squeezed, cropped, padded, mirrored, turned by a quarter or upside down, re-exposed or
recompressed. Candidates come from `neighbours`; each is then verified by registration. A film of two legs is looked
at leg by leg, so that one leg cut from it is found as well. Memory stays bounded however many films there are: their
pictures wait in temporary files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from osteo_utils.audit import registration
from osteo_utils.audit.neighbours import MIRRORED, QUARTER, UPSIDE_DOWN, Pair, laid, neighbours
from osteo_utils.audit.thumbnails import Thumbnails, legs_of, let_go, of_store, thumbnails

# Similarity from which two films count as one. Among the 744 real films every pair near it was looked at: different
# knees end at 0.84 (the other knee of the same person) and copies begin at 0.88.
SAME_KNEE = 0.86
# From this agreement in outline on, two films are one even where noise or compression has eaten the detail: the most
# alike outlines of different knees reach 0.90 among the real films and 0.965 among synthetic ones.
_SURE = 0.98
# A leg of fewer pixels than this along its height or across has no detail to tell knees apart by; then the outline
# must be sure. The smallest films of the real set have 256 and 128.
_FEW_PIXELS = (160, 64)
# Outline below which detail is not looked at: no copy is so unlike its source. Films that reach it mirrored and differ in
# detail look like the two knees of one person; they are not joined, as no gap parts such pairs from strangers.
_ALIKE_OUTLINE = 0.84
# What films reach at most of which nothing but the outline was compared.
_OUTLINE_ALONE = 0.7
_PAIR_COLUMNS = ["first", "second", "turn", "outline", "similarity"]
# Films whose detail agrees this far may be one under another gamma, and are compared once more with levelled greys.
_BENT = 0.6
# How many neighbours the comparison of frames (0) and that of legs (1) may put forward. The second round compares one
# film per group that the first one found.
_ROUNDS = ({1: 3, 0: 2}, {1: 8, 0: 4})
# Legs whose pairs are registered in one go: what a process holds at a time.
_SHARE = 64
# Fourier peak below which a candidate is dropped. True copies among the real films have 0.86 or more, ones that were
# turned by 4 degrees on purpose 0.72.
_PEAK = 0.7


def candidates_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows that the audit looks at, sorted by image_id: status ok, and a label."""
    kept = manifest[(manifest["status"] == "ok") & manifest["label"].notna() & (manifest["label"] != "")]
    return kept.sort_values("image_id", ignore_index=True)


def compare(images: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Likely pairs of images and how alike they are after registration.

    `images` is the store, uint8 (n, 512, 512); `manifest` as in its contract. Returns one row per pair that was
    looked at: first, second (image_ids, first < second), turn (how the second was laid down, 0 to 7), outline
    (correlation, −1 to 1, of the registered legs) and similarity: the lower of outline and detail, or the same with
    levelled greys where that is more; the outline alone where it is above 0.98 with its detail lost; at most 0.7 where
    detail was not compared, because the outline is below 0.84, or where it decides nothing, because there are too few
    pixels. Images with the same pixels are compared once, under the first of their names.
    Needs about 54 KB a film on the disk of temporary files.
    """
    table = candidates_of(manifest).drop_duplicates("pixel_sha256", ignore_index=True)
    if len(table) < 2:
        return pd.DataFrame(columns=_PAIR_COLUMNS)
    # Below a hundred films, starting processes costs more than it saves.
    workers = cpu_count() if len(table) > 100 else 1
    seen: dict[Pair, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="copies-") as scratch:
        drawn = of_store(images, table, Path(scratch), workers)
        owner = np.array(drawn.owner)
        verify = partial(_similarities_of, drawn, images, table)
        labels = np.arange(len(owner))
        for plan in _ROUNDS:
            members = np.unique(labels, return_index=True)[1]
            near = neighbours(drawn.coarse, drawn.quarter, owner, members, plan)
            let_go(drawn.coarse), let_go(drawn.quarter)
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
    # The two legs of one film may both have been held against another film: the better match counts.
    best = pairs.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(_PAIR_COLUMNS[:3])
    return best.sort_values(_PAIR_COLUMNS[:3], ignore_index=True)


def similarities_among(images: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """How alike each film of a small table is to each other one, registered upright and mirrored: (n, n)."""
    legs = [leg for row in table.itertuples() for leg in legs_of(images, row)[:1]]
    drawn = thumbnails(legs)
    found = np.eye(len(table))
    for first in range(len(table)):
        others = [(second, turn) for second in range(first + 1, len(table)) for turn in (0, MIRRORED)]
        values = _similarities(drawn, {}, first, others, peak=-1.0)
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


def _similarities_of(
    drawn: Thumbnails, images: np.ndarray, table: pd.DataFrame, share: list[tuple[int, list[tuple[int, int]]]]
) -> dict[Pair, tuple[float, float]]:
    found: dict[Pair, tuple[float, float]] = {}
    for first, others in share:
        turned = {other: _quarter_turned(drawn, images, table, other) for other, turn in others if turn & QUARTER}
        values = _similarities(drawn, turned, first, others)
        found |= {(first, *other): value for other, value in zip(others, values, strict=True)}
    for array in (images, drawn.coarse, drawn.leg, drawn.grey):
        let_go(array)
    return found


def _quarter_turned(drawn: Thumbnails, images: np.ndarray, table: pd.DataFrame, number: int) -> Thumbnails:
    """The portrait of one leg after a quarter turn; few need one."""
    picture, size = legs_of(images, table.iloc[drawn.owner[number]])[drawn.part[number]]
    return thumbnails([(np.rot90(picture), size[::-1])])


def _similarities(
    drawn: Thumbnails, turned: dict[int, Thumbnails], first: int, others: list[tuple[int, int]], peak: float = _PEAK
) -> list[tuple[float, float]]:
    """Outline and similarity with each of `others` (second, turn); below `peak` nothing is registered."""
    if not others:
        return []
    # Where a portrait stands: a film after a quarter turn has one of its own.
    places = [(turned[other], 0, turn) if turn & QUARTER else (drawn, other, turn) for other, turn in others]
    coarse = np.stack([laid(kind.coarse[at, 1], turn) for kind, at, turn in places]).astype(np.float32)
    warps, peaks = registration.search(drawn.coarse[first, 1].astype(np.float32), coarse)
    fixed = registration.target(drawn.leg[first])
    found = []
    for (kind, at, turn), warp, height in zip(places, warps, peaks, strict=True):
        box = kind.boxes[at].copy()
        if turn & MIRRORED:
            box[[0, 2]] = 1 - box[[2, 0]]
        if turn & UPSIDE_DOWN:
            box[[1, 3]] = 1 - box[[3, 1]]
        same_field = registration.frame_start(drawn.boxes[first], box)
        starts = [warp, np.eye(2, 3), same_field] if height >= peak else []
        warp, outline = registration.register(fixed, laid(kind.leg[at], turn), starts)
        similarity = min(outline, _OUTLINE_ALONE)
        pixels = drawn.pixels[first], kind.pixels[at]
        if outline >= _ALIKE_OUTLINE:
            fine = registration.detail(drawn.grey[first], laid(kind.grey[at], turn), warp, *pixels)
            few = any(side < least for size in pixels for side, least in zip(size, _FEW_PIXELS, strict=True))
            if outline >= _SURE:
                similarity = min(outline, fine) if fine >= SAME_KNEE else outline
            elif few:
                similarity = min(fine, _OUTLINE_ALONE)
            else:
                similarity = min(outline, fine)
                if _BENT <= fine < SAME_KNEE:
                    bent = registration.levelled(drawn.grey[first], laid(kind.grey[at], turn), warp, *pixels)
                    similarity = max(similarity, bent)
        found.append((outline, similarity))
    return found
