"""Bone masks: the classical method and its plausibility checks, true masks of a data set, agreement of two masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from skimage import measure, transform

from osteo_utils.bone.outline import NothingToSegment, Stages, knee_row, stages
from osteo_utils.images import image_store
from osteo_utils.images.image_store import STORE_SIDE, Box
from osteo_utils.images.manifest import usable

MIN_EDGE_SUPPORT = 0.6
MIN_CONTRAST_SHARE = 0.8
MIN_SOLIDITY = 0.45
MAX_COMPONENTS = 3
MAX_TOP_WIDTH = 0.95
MAX_JUMP = 0.22
MIN_KNEE_WIDTH = 0.5


@dataclass(frozen=True)
class Mask:
    """A bone mask, uint8 with 1 = bone in the shape of the image, and the reasons why it is not plausible, if any.

    `area_share` is bone over the film's own area (without padding), `components` the number of separate pieces,
    `measured` other measures of the method.
    """

    mask: np.ndarray = field(repr=False)
    reasons: tuple[str, ...]
    area_share: float = 0.0
    components: int = 0
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def plausible(self) -> bool:
        return not self.reasons


def classical_mask(image: np.ndarray, box: Box | None = None, min_area: float = 0.08, max_area: float = 0.9) -> Mask:
    """Find the bone in one film, uint8 (h, w), by its edges; `box` is the film's place in a padded image.

    A film without leg or contrast gets an empty mask that is not plausible. Raises ValueError for another kind of array.
    """
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"classical_mask: expected uint8 (h, w), found {image.dtype} {image.shape}")
    box = box or Box(0, 0, *image.shape)
    mask = np.zeros(image.shape, np.uint8)
    try:
        found = stages(image, box)
    except NothingToSegment as problem:
        return Mask(mask, (str(problem),))
    mask[found.box.slices] = transform.resize(found.bone.astype(np.float32), found.box[2:], order=1) > 0.5
    area_share = float(mask.sum()) / (box.height * box.width)
    components = int(measure.label(found.bone).max())
    measured = {"edge_support": float(found.support.mean()), "contrast_share": float(found.contrast.mean())}
    return Mask(mask, _reasons(found, area_share, components, min_area, max_area), area_share, components, measured)


def store_masks(masks: Iterator[np.ndarray], manifest: pd.DataFrame, path: Path) -> int:
    """Write masks as a uint8 array (n, 512, 512), padded as the films are; returns n.

    `masks` yields one mask per usable film, in the manifest's order, at the film's own size, not 0 on bone (1 in the
    store). Raises ValueError where a size or the number differs from the manifest's.
    """
    chosen = usable(manifest)
    with image_store.writer(path, len(chosen)) as append:
        for film, mask in zip(chosen.itertuples(), masks, strict=True):
            if mask.shape != (film.height, film.width):
                raise ValueError(
                    f"{film.image_id}: its mask is {mask.shape}, expected {(film.height, film.width)} as the film"
                )
            box = image_store.content_box(film.width, film.height)
            bone = Image.fromarray((mask > 0).astype(np.uint8))
            stored = np.zeros((STORE_SIDE, STORE_SIDE), np.uint8)
            stored[box.slices] = np.asarray(bone.resize((box.width, box.height), Image.Resampling.NEAREST))
            append(stored)
    return len(chosen)


def store_truth_masks(root: Path, manifest: pd.DataFrame, path: Path) -> int:
    """Write the true bone masks of a data set (`store_masks`); returns how many, 0 where there are none.

    A film's mask is `truth_masks/<its name>.png`, not 0 on bone. Raises FileNotFoundError where the data set has masks
    but lacks one of a usable film.
    """
    folder = Path(root) / "truth_masks"
    if not folder.is_dir():
        # Masks of an earlier data set of this study would be mistaken for those of this one.
        path.unlink(missing_ok=True)
        return 0
    files = [(folder / image_id).with_suffix(".png") for image_id in usable(manifest)["image_id"]]
    return store_masks((_read_mask(file) for file in files), manifest, path)


def area_checks(area_share: float, min_area: float, max_area: float) -> tuple[tuple[bool, str], ...]:
    """Checks of the bone's share of the film: whether each failed, and its reason."""
    return (
        (area_share < min_area, f"area {area_share:.2f} of the film, expected at least {min_area:.2f}"),
        (area_share > max_area, f"area {area_share:.2f} of the film, expected at most {max_area:.2f}"),
    )


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


def hausdorff95(mask: np.ndarray, truth: np.ndarray, pixel: float = 1.0) -> float:
    """95 % Hausdorff distance of two outlines, in pixels or, with `pixel` in mm, in mm.

    The 95th percentile of the distances from each outline to the other, both directions pooled, as in nnU-Net
    (Huttenlocher et al. 1993, at a quantile). Two empty masks give 0, one empty mask infinity.
    """
    mask, truth = _same_shape(mask, truth)
    if not mask.any() or not truth.any():
        return 0.0 if mask.any() == truth.any() else float("inf")
    first, second = (shape ^ ndimage.binary_erosion(shape) for shape in (mask, truth))
    distances = [ndimage.distance_transform_edt(~second)[first], ndimage.distance_transform_edt(~first)[second]]
    return float(np.quantile(np.concatenate(distances), 0.95)) * pixel


def _reasons(found: Stages, area_share: float, components: int, min_area: float, max_area: float) -> tuple[str, ...]:
    if not found.bone.any():
        return ("no bone found in the leg",)
    rows = np.flatnonzero(found.leg.any(axis=1))
    margin = max(2, round(0.03 * len(rows)))
    solidity = measure.regionprops(found.bone.astype(int))[0].solidity
    support, contrast = found.support.mean(), found.contrast.mean()
    top, jump, knee = _femur_shape(found)
    checks = (
        (found.legs > 1, "more than one leg in the film"),
        *area_checks(area_share, min_area, max_area),
        (not found.bone[: rows[0] + margin].any(), "does not reach the top of the leg"),
        (not found.bone[rows[-1] + 1 - margin :].any(), "does not reach the bottom of the leg"),
        (top > MAX_TOP_WIDTH, f"femur {top:.2f} times as wide as the knee, expected at most {MAX_TOP_WIDTH:.2f}"),
        (jump > MAX_JUMP, f"its side jumps by {jump:.2f} of the knee's width, expected at most {MAX_JUMP:.2f}"),
        (knee < MIN_KNEE_WIDTH, f"knee {knee:.2f} of the leg's width, expected at least {MIN_KNEE_WIDTH:.2f}"),
        (components > MAX_COMPONENTS, f"{components} pieces, expected at most {MAX_COMPONENTS}"),
        (solidity < MIN_SOLIDITY, f"ragged: solidity {solidity:.2f}, expected {MIN_SOLIDITY}"),
        (support < MIN_EDGE_SUPPORT, f"an edge on both sides in only {support:.0%} of the rows"),
        (contrast < MIN_CONTRAST_SHARE, f"brighter than its sides in only {contrast:.0%} of the rows"),
    )
    return tuple(text for failed, text in checks if failed)


def _femur_shape(found: Stages) -> tuple[float, float, float]:
    """Width at the top and largest step of a side above the knee, over the knee's width; the knee over the leg."""
    rows = np.flatnonzero(found.outline.any(axis=1))
    outline, leg = found.outline[rows[0] : rows[-1] + 1], found.leg[rows[0] : rows[-1] + 1]
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


def _read_mask(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; expected the bone mask of this film, draw the set again")
    with Image.open(path) as mask:
        return np.asarray(mask)


def _same_shape(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.shape != truth.shape:
        raise ValueError(f"the mask is {mask.shape}, the truth {truth.shape}; expected the same shape")
    return mask.astype(bool), truth.astype(bool)
