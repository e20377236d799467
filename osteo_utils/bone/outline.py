"""Where the bone lies in a knee film from the front: leg, ridge, outline, bone, step by step.

Such a film shows one leg that extends beyond the film above and below, and in it one column of bone, brighter
than the soft tissue at its sides. The method segments the leg (Otsu's threshold), lays a line along its brightest
part, and on each side of it takes the cheapest path from top to bottom along dark-to-bright edges as the outline of
the bone. Edges are normalised by those of the same rows, because exposure and thickness change along a leg. Last,
the gap between tibia and fibula is removed and a fibula outside the outline is added.

Sources: Otsu 1979 (threshold), Dijkstra 1959 (cheapest path, `skimage.graph`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage import filters, graph, measure, morphology, transform

from osteo_utils.images.image_store import Box

WORK_SIDE = 256
LEG_WIDTH = 110.0
MAX_ZOOM = 2.0
MIN_ROWS = 16
_NEVER = 8.0


class NothingToSegment(ValueError):
    """A film without a leg or without contrast; the message gives the reason."""


@dataclass(frozen=True)
class Stages:
    """Intermediate results, all at the working size (about 256 rows, slim legs more).

    `film` float32 0-1; `leg`, `outline` (between the two edge paths) and `bone` are boolean; `ridge` is the column of
    the bright line in each row, NaN outside the leg; `edges` is the strength of dark-to-bright edges towards the ridge,
    0-1. For each row of the leg, `support` tells whether both sides have an edge, and `contrast` whether the bone is
    brighter than the tissue beside it. `box` is the part of the image that all this shows.
    """

    film: np.ndarray
    leg: np.ndarray
    ridge: np.ndarray
    edges: np.ndarray
    outline: np.ndarray
    bone: np.ndarray
    support: np.ndarray
    contrast: np.ndarray
    legs: int
    box: Box


def stages(image: np.ndarray, box: Box) -> Stages:
    """Segment one film step by step; raises NothingToSegment where there is no contrast or no leg."""
    full, film = box, _shrunk(image, box, WORK_SIDE)
    if np.quantile(film, 0.99) - np.quantile(film, 0.01) < 0.05:
        raise NothingToSegment("no contrast: the film is nearly one grey level")
    leg, legs = leg_region(film)
    rows, columns = np.flatnonzero(leg.any(axis=1)), np.flatnonzero(leg.any(axis=0))
    if leg.mean() < 0.03 or np.ptp(rows) < max(0.4 * len(leg), MIN_ROWS):
        raise NothingToSegment("no leg: nothing brighter than the background runs through the film")
    # A slim leg is segmented again at a larger scale, because its bones would be a few pixels wide.
    width = float(np.median(leg[rows].sum(axis=1)))
    closer = min(MAX_ZOOM, LEG_WIDTH / width)
    if closer > 1:
        box = _columns_of(box, film.shape[1], columns[0] - 3, columns[-1] + 4)
        film = _shrunk(image, box, WORK_SIDE * closer * max(box.height, box.width) / max(full.height, full.width))
        leg, legs = leg_region(film)
        rows = np.flatnonzero(leg.any(axis=1))
        if not len(rows) or np.ptp(rows) < MIN_ROWS:
            raise NothingToSegment("no leg: what looked like one from afar is not there from near")
    span = slice(rows[0], rows[-1] + 1)
    depth, widths = _depth(leg[span]), ndimage.gaussian_filter1d(leg[span].sum(axis=1).astype(float), 8)[:, None]
    ridge, edges, outline, support = _outline(film[span], leg[span], depth, widths)
    bone, contrast = _bone(film[span], leg[span], depth, widths, outline)
    above, below = rows[0], len(leg) - rows[-1] - 1
    edges, outline, bone = (np.pad(part, ((above, below), (0, 0))) for part in (edges, outline, bone))
    ridge = np.pad(ridge, (above, below), constant_values=np.nan)
    return Stages(film, leg, ridge, edges, outline, bone, support, contrast, legs, box)


def leg_region(film: np.ndarray) -> tuple[np.ndarray, int]:
    """Separate the leg from background, white frames and markers: its region, boolean, and the number of legs."""
    frames = _white_frames(film)
    smooth = filters.gaussian(film, 1.0)
    if frames.all():
        raise NothingToSegment("no leg: the film is white")
    # On a logarithmic scale the step from air to skin is the largest one, not that from muscle to bone.
    logarithm = np.log(smooth + 0.03)
    bright = (logarithm > filters.threshold_otsu(logarithm[~frames])) & ~frames
    region = _large_parts(morphology.opening(bright, morphology.disk(3)))
    columns = np.flatnonzero(region.any(axis=0))
    if not len(columns):
        raise NothingToSegment("no leg: nothing but background")
    # Glare beside the leg is white and reaches the side of the film; bone does not.
    region &= ~_reaching(smooth > 0.9, [columns[0], columns[0] + 1, columns[-1] - 1, columns[-1]])
    region = ndimage.binary_fill_holes(_large_parts(morphology.opening(region, morphology.disk(3))))
    parts = measure.regionprops(measure.label(region))
    return region, sum(part.bbox[2] - part.bbox[0] > 0.6 * len(film) for part in parts)


def knee_row(outline: np.ndarray) -> tuple[int, float]:
    """The row where the bone is widest, without the ends of the leg, and its width there in pixels (smoothed)."""
    widths = ndimage.gaussian_filter1d(outline.sum(axis=1).astype(float), 3)
    end = max(1, len(outline) // 10)
    row = end + int(widths[end:-end].argmax())
    return row, float(widths[row])


def _shrunk(image: np.ndarray, box: Box, longest: float) -> np.ndarray:
    part = image[box.slices]
    shape = tuple(max(8, round(side * longest / max(part.shape))) for side in part.shape)
    return transform.resize(part, shape, order=1, anti_aliasing=True).astype(np.float32)


def _columns_of(box: Box, columns: int, first: int, last: int) -> Box:
    """The part of a box between two columns of a picture of it that is `columns` wide."""
    left = box.left + max(0, int(first * box.width / columns))
    right = box.left + min(box.width, round(last * box.width / columns))
    return Box(box.top, left, box.height, right - left)


def _white_frames(film: np.ndarray) -> np.ndarray:
    """White lines and blocks of a scanner or a viewer: rows, columns and patches at the rim without structure."""
    white = film > 0.93
    frames = np.zeros_like(white)
    frames |= white.mean(axis=1, keepdims=True) > 0.6
    frames |= white.mean(axis=0, keepdims=True) > 0.6
    frames |= _reaching(white, [0, 1, -2, -1])
    return ndimage.binary_dilation(frames, iterations=2)


def _reaching(region: np.ndarray, columns: list[int]) -> np.ndarray:
    """The connected parts of a region that reach one of these columns."""
    parts = measure.label(region)
    reached = np.unique(parts[:, columns])
    return np.isin(parts, reached[reached > 0])


def _large_parts(region: np.ndarray, least: float | None = None) -> np.ndarray:
    """The connected parts of more than `least` pixels, by default a quarter of the largest part."""
    parts = measure.label(region)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.isin(parts, np.flatnonzero(sizes > (0.25 * sizes.max() if least is None else least)))


def _row_quantile(values: np.ndarray, where: np.ndarray, quantile: float, smooth: float) -> np.ndarray:
    """A quantile of each row's pixels `where`, interpolated over rows with few of them, smoothed along the leg."""
    counts = where.sum(axis=1)
    rows = np.flatnonzero(counts > 4)
    if not len(rows):
        raise NothingToSegment("no leg: it is nowhere wider than its own skin")
    ordered = np.sort(np.where(where, values, np.inf)[rows], axis=1)
    found = ordered[np.arange(len(rows)), np.rint(quantile * (counts[rows] - 1)).astype(int)]
    return ndimage.gaussian_filter1d(np.interp(np.arange(len(values)), rows, found), smooth)[:, None]


def _cheapest_path(cost: np.ndarray) -> np.ndarray:
    """The cheapest 8-connected path from the top row to the bottom row, (steps, 2) of row and column."""
    # A nearly free row above and below leaves the ends of the path free.
    open_ended = np.pad(cost, ((1, 1), (0, 0)), constant_values=1e-3)
    middle = cost.shape[1] // 2
    steps, _ = graph.route_through_array(open_ended, (0, middle), (len(cost) + 1, middle))
    path = np.array(steps) - (1, 0)
    return path[(path[:, 0] >= 0) & (path[:, 0] < len(cost))]


def _depth(leg: np.ndarray) -> np.ndarray:
    """Distance to the skin in pixels; the leg extends beyond the film, so its upper and lower ends are not skin."""
    rim = len(leg)
    longer = np.pad(np.pad(leg, ((rim, rim), (0, 0)), mode="edge"), ((0, 0), (1, 1)))
    return ndimage.distance_transform_edt(longer)[rim:-rim, 1:-1]


def _outline(
    film: np.ndarray, leg: np.ndarray, depth: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ridge (rows,), edge strength and region between the two edge paths (rows, columns), support (rows,)."""
    width = float(np.median(widths))
    columns = np.arange(leg.shape[1])[None, :]

    bright = filters.gaussian(film, 0.04 * width)
    inner = depth > 0.05 * width
    low, high = _row_quantile(bright, inner, 0.1, 2), _row_quantile(bright, inner, 0.97, 2)
    relative = np.clip((bright - low) / np.maximum(high - low, 1e-3), 0, 1)
    path = _cheapest_path(np.where(inner, 0.02 + (1 - relative) ** 2, 5.0))
    visits = np.bincount(path[:, 0], minlength=len(leg))
    ridge = ndimage.gaussian_filter1d(np.bincount(path[:, 0], path[:, 1], len(leg)) / visits, 3)[:, None]

    across = ndimage.gaussian_filter(film, 1.5, order=(0, 1))
    along = ndimage.gaussian_filter(film, 1.5, order=(1, 0))
    usual = np.maximum(_row_quantile(np.abs(across), depth > 0.12 * widths, 0.9, 8), 1e-4)
    # At both ends the collimator's edge lies across the film; only edges along the leg count there.
    to_end = np.minimum(np.arange(len(leg)), np.arange(len(leg))[::-1])[:, None] / (0.06 * len(leg))
    steep = np.clip(np.hypot(across, along * np.clip(to_end - 0.5, 0, 1)) / usual, 0, 1.5) / 1.5
    # The step at the skin is strong too, so edges are weighted by their depth.
    below_skin = 1 - np.exp(-((depth / (0.02 * np.maximum(widths, width))) ** 2))

    edges, ends, found = np.zeros_like(film), [], []
    for sign in (1, -1):
        side = (sign * (ridge - columns) > 0.03 * width) & (depth > 0.015 * width)
        strength = np.where(side & (sign * across > 0), steep, 0)
        path = _cheapest_path(np.where(side, 0.03 + (1 - strength * below_skin) ** 2, _NEVER))
        end = np.full(len(leg), sign * columns.size)
        (np.minimum if sign > 0 else np.maximum).at(end, *path.T)
        # A path may run along the first and last rows to enter and leave; the rows next to them are more reliable.
        end[:3], end[-3:] = end[3], end[-4]
        best = np.zeros(len(leg))
        np.maximum.at(best, path[:, 0], strength[path[:, 0], path[:, 1]])
        edges, ends, found = np.maximum(edges, strength), [*ends, end[:, None]], [*found, best > 0.3]
    outline = (columns >= ends[0]) & (columns <= ends[1]) & leg
    return ridge[:, 0], edges, outline, found[0] & found[1]


def _bone(
    film: np.ndarray, leg: np.ndarray, depth: np.ndarray, widths: np.ndarray, outline: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bone: the outline without the gap between tibia and fibula, with a fibula beside it; contrast by row."""
    smooth = filters.gaussian(film, 0.8)
    tall = 0.08 * len(leg)
    reach = max(3, round(0.25 * float(np.median(widths))))
    beside = leg & ~outline & (depth > 0.06 * widths)
    near = beside & (ndimage.distance_transform_edt(~outline) <= reach)
    core = outline & (ndimage.distance_transform_edt(outline) > 1.5)
    soft, hard = _row_quantile(smooth, near, 0.5, 5), _row_quantile(smooth, core, 0.5, 5)
    relative = (smooth - soft) / np.maximum(hard - soft, 0.02)

    line = np.ones((1, 2 * round(0.07 * float(np.median(widths))) + 3))
    ridge_like = smooth - ndimage.grey_opening(smooth, footprint=line)
    trough_like = ndimage.grey_closing(smooth, footprint=np.ones_like(line)) - smooth
    notable = 0.25 * np.maximum(hard - soft, 0.02)
    # Above the knee, where the bone is widest, a narrow bright part is a fold of skin.
    knee, _ = knee_row(outline)
    beside[:knee] = False
    fibula = _upright(beside & (relative > 0.3) & (ridge_like > notable), tall)
    flanks = beside & (relative > 0.15) & (ridge_like > notable / 2) & ndimage.binary_dilation(fibula, iterations=2)
    fibula |= flanks
    # The gap is as dark as the tissue around; a marrow cavity is darker than its cortex, but not that dark.
    dark = outline & (relative < 0.35) & (trough_like > notable)
    dark[:knee] = False
    gap = _upright(dark, 2 * tall)
    bone = (outline & ~gap) | ndimage.binary_closing(fibula, iterations=2)
    bone = _large_parts(morphology.opening(bone, morphology.disk(1)) & leg, 0.01 * leg.sum())
    return bone, (hard - soft)[:, 0] > 0.02


def _upright(region: np.ndarray, tall: float) -> np.ndarray:
    """The parts of a region that are long and narrow and stand upright, such as a fibula or the gap beside it."""
    parts = measure.label(region)
    keep = [
        part.label
        for part in measure.regionprops(parts)
        if (height := part.bbox[2] - part.bbox[0]) > tall and height > 4 * part.area / height and part.solidity > 0.5
    ]
    return np.isin(parts, keep)
