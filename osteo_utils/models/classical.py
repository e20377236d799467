"""The classical bone mask: the outline that `bone_outline` finds, judged against what a knee looks like."""

from __future__ import annotations

import numpy as np
from skimage import measure, transform

from osteo_utils.data.radiographs import Box
from osteo_utils.models.bone_outline import NothingToSegment, Stages, knee_row, stages
from osteo_utils.models.masks import Mask

MIN_EDGE_SUPPORT = 0.6
MIN_CONTRAST_SHARE = 0.8
MIN_SOLIDITY = 0.45
MAX_COMPONENTS = 3
MAX_TOP_WIDTH = 0.95
MAX_JUMP = 0.22
MIN_KNEE_WIDTH = 0.5


def classical_mask(
    image: np.ndarray, box: Box | None = None, min_area: float = 0.08, max_area: float = 0.9
) -> Mask:
    """Find the bone in one film, uint8 (h, w), by its edges; `box` is the film's place in a padded image.

    A film in which no leg or no contrast is found gets an empty mask that is not plausible, with the reason.
    Raises ValueError for another kind of array.
    """
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"classical_mask: expected uint8 (h, w), found {image.dtype} {image.shape}")
    box = box or Box(0, 0, *image.shape)
    mask = np.zeros(image.shape, np.uint8)
    try:
        seen = stages(image, box)
    except NothingToSegment as problem:
        return Mask(mask, (str(problem),))
    at = seen.box
    bone = transform.resize(seen.bone.astype(np.float32), (at.height, at.width), order=1) > 0.5
    mask[at.top : at.top + at.height, at.left : at.left + at.width] = bone
    area_share = float(mask.sum()) / (box.height * box.width)
    components = int(measure.label(seen.bone).max())
    edge_support, contrast_share = float(seen.support.mean()), float(seen.contrast.mean())
    reasons = _reasons(seen, area_share, components, min_area, max_area)
    return Mask(
        mask,
        reasons,
        area_share,
        components,
        {"edge_support": edge_support, "contrast_share": contrast_share},
    )


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
