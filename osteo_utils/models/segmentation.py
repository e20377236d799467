"""Bone masks by classical segmentation, and the films that are left when everything but bone is taken away.

`bone_outline` finds the bone; here a mask is judged, used and compared. A mask that does not look like a knee
is flagged with the reason and never used in silence: the segmented variant shows such a film whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import measure, transform

from osteo_utils.data import radiographs
from osteo_utils.data.radiographs import Box
from osteo_utils.models.bone_outline import NothingToSegment, Stages, knee_row, stages

MIN_EDGE_SUPPORT = 0.6
MIN_CONTRAST_SHARE = 0.8
MIN_SOLIDITY = 0.45
MAX_COMPONENTS = 3
MAX_TOP_WIDTH = 0.95
MAX_JUMP = 0.22
MIN_KNEE_WIDTH = 0.5
TABLE_COLUMNS = (
    "image_id",
    "area_share",
    "components",
    "edge_support",
    "contrast_share",
    "plausible",
    "reason",
)


@dataclass(frozen=True)
class Mask:
    """A bone mask, uint8 with 1 = bone in the shape of the image, and whether it may be trusted.

    `area_share` is bone over the film's own area (padding left out), `components` the number of separate
    pieces, `edge_support` and `contrast_share` the shares of rows with an edge on both sides and with bone
    brighter than its surroundings. `reasons` is empty exactly when `plausible` is true.
    """

    mask: np.ndarray = field(repr=False)
    plausible: bool
    reasons: tuple[str, ...]
    area_share: float = 0.0
    components: int = 0
    edge_support: float = 0.0
    contrast_share: float = 0.0


def bone_mask(
    image: np.ndarray, box: Box | None = None, min_area: float = 0.08, max_area: float = 0.9
) -> Mask:
    """Find the bone in one film, uint8 (h, w); `box` is the film's place in a padded image.

    A film in which no leg or no contrast is found gets an empty mask that is not plausible, with the reason.
    Raises ValueError for another kind of array.
    """
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"bone_mask: expected uint8 (h, w), found {image.dtype} {image.shape}")
    box = box or Box(0, 0, *image.shape)
    mask = np.zeros(image.shape, np.uint8)
    try:
        seen = stages(image, box)
    except NothingToSegment as problem:
        return Mask(mask, False, (str(problem),))
    at = seen.box
    bone = transform.resize(seen.bone.astype(np.float32), (at.height, at.width), order=1) > 0.5
    mask[at.top : at.top + at.height, at.left : at.left + at.width] = bone
    area_share = float(mask.sum()) / (box.height * box.width)
    components = int(measure.label(seen.bone).max())
    edge_support, contrast_share = float(seen.support.mean()), float(seen.contrast.mean())
    reasons = _reasons(seen, area_share, components, min_area, max_area)
    return Mask(mask, not reasons, reasons, area_share, components, edge_support, contrast_share)


def apply_mask(image: np.ndarray, mask: np.ndarray, dilation: int = 8, fill: int = 0) -> np.ndarray:
    """The film with the bone as it was and the rest black: same shape, uint8.

    The mask is widened by `dilation` pixels, so that the outline of the bone stays in the picture, and its edge
    fades over as many pixels, so that the cut itself does not become the strongest edge. Only for plausible
    masks: whoever builds the segmented variant keeps the whole film for the others, and counts them.
    Raises ValueError for an empty mask or one of another shape.
    """
    if mask.shape != image.shape:
        raise ValueError(
            f"apply_mask: the mask is {mask.shape}, the image {image.shape}; expected the same shape"
        )
    if not mask.any():
        raise ValueError("apply_mask: the mask is empty; use the whole film where a mask is not plausible")
    distance = ndimage.distance_transform_edt(mask == 0)
    keep = np.clip(2 - distance / max(dilation, 1), 0, 1) if dilation else (distance == 0).astype(float)
    return np.rint(fill + keep * (image.astype(float) - fill)).astype(np.uint8)


def segment_all(
    images: np.ndarray,
    manifest: pd.DataFrame,
    min_area: float = 0.08,
    max_area: float = 0.9,
    threads: int = 2,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Masks of all usable films of a store: uint8 (n, 512, 512), and a table with one row a film.

    `row` of the manifest points into `images` and into the masks; films that are not usable keep an empty mask
    and are not in the table (image_id, area_share, components, edge_support, contrast_share, plausible, reason).
    """
    usable = manifest[manifest["status"].eq("ok")]
    masks = np.zeros(images.shape, np.uint8)

    def one(film: Mapping[str, Any]) -> tuple[Any, ...]:
        row = int(film["row"])
        box = radiographs.content_box(int(film["width"]), int(film["height"]))
        found = bone_mask(np.asarray(images[row]), box, min_area, max_area)
        masks[row] = found.mask
        measured = (found.area_share, found.components, found.edge_support, found.contrast_share)
        return (film["image_id"], *measured, int(found.plausible), "; ".join(found.reasons))

    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(one, usable.to_dict("records")))
    return masks, pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Overlap of two masks, 2|A∩B| / (|A|+|B|), 0-1 (Dice 1945); two empty masks agree and give 1."""
    mask, truth = _same_shape(mask, truth)
    total = mask.sum() + truth.sum()
    return 2 * float((mask & truth).sum()) / float(total) if total else 1.0


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks, 0-1 (Jaccard 1912); two empty masks agree and give 1."""
    mask, truth = _same_shape(mask, truth)
    union = (mask | truth).sum()
    return float((mask & truth).sum()) / float(union) if union else 1.0


def _same_shape(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.shape != truth.shape:
        raise ValueError(f"the mask is {mask.shape}, the truth {truth.shape}; expected the same shape")
    return mask.astype(bool), truth.astype(bool)


def _reasons(
    seen: Stages, area_share: float, components: int, min_area: float, max_area: float
) -> tuple[str, ...]:
    if not seen.bone.any():
        return ("no bone found in the leg",)
    rows = np.flatnonzero(seen.leg.any(axis=1))
    margin = max(2, round(0.03 * len(rows)))
    hull = measure.regionprops(seen.bone.astype(int))[0]
    edge_support, contrast_share = seen.support.mean(), seen.contrast.mean()
    top, jump, knee = _femur_shape(seen)
    checks = (
        (seen.legs > 1, "more than one leg in the film"),
        (area_share < min_area, f"area {area_share:.2f} of the film, expected at least {min_area:.2f}"),
        (area_share > max_area, f"area {area_share:.2f} of the film, expected at most {max_area:.2f}"),
        (not seen.bone[: rows[0] + margin].any(), "does not reach the top of the leg"),
        (not seen.bone[rows[-1] + 1 - margin :].any(), "does not reach the bottom of the leg"),
        (
            top > MAX_TOP_WIDTH,
            f"femur {top:.2f} times as wide as the knee, expected at most {MAX_TOP_WIDTH:.2f}",
        ),
        (
            jump > MAX_JUMP,
            f"its side jumps by {jump:.2f} of the knee's width, expected at most {MAX_JUMP:.2f}",
        ),
        (
            knee < MIN_KNEE_WIDTH,
            f"knee {knee:.2f} of the leg's width, expected at least {MIN_KNEE_WIDTH:.2f}",
        ),
        (components > MAX_COMPONENTS, f"{components} pieces, expected at most {MAX_COMPONENTS}"),
        (hull.solidity < MIN_SOLIDITY, f"ragged: solidity {hull.solidity:.2f}, expected {MIN_SOLIDITY}"),
        (edge_support < MIN_EDGE_SUPPORT, f"an edge on both sides in only {edge_support:.0%} of the rows"),
        (
            contrast_share < MIN_CONTRAST_SHARE,
            f"brighter than its sides in only {contrast_share:.0%} of the rows",
        ),
    )
    return tuple(text for failed, text in checks if failed)


def _femur_shape(seen: Stages) -> tuple[float, float, float]:
    """Width at the top and largest step of a side above the knee, over the knee's width; the knee over the leg."""
    rows = np.flatnonzero(seen.outline.any(axis=1))
    outline, leg = seen.outline[rows[0] : rows[-1] + 1], seen.leg[rows[0] : rows[-1] + 1]
    widths = outline.sum(axis=1).astype(float)
    row, width = knee_row(outline)
    step = 3
    # The joint is a notch in the outline, and the widest row may lie on either side of it.
    # In the first rows a tilted edge of the film may leave a tip of the leg only.
    above = slice(step, max(2 * step + 1, row - round(0.35 * width)))
    left = outline.argmax(axis=1)[above].astype(float)
    right = left + widths[above]
    jump = max(np.abs(side[step:] - side[:-step]).max() for side in (left, right))
    top = widths[step : step + max(1, len(widths) // 20)].max()
    return top / width, jump / width, width / leg[row].sum()
