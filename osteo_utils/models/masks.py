"""A bone mask and whether it may be trusted; how far two masks agree; films with the bone or all else taken away."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage


@dataclass(frozen=True)
class Mask:
    """A bone mask, uint8 with 1 = bone in the shape of the image, and whether it may be trusted.

    `area_share` is bone over the film's own area (padding left out), `components` the number of separate pieces.
    `measured` holds what else the method looked at. `reasons` is empty exactly when `plausible` is true.
    """

    mask: np.ndarray = field(repr=False)
    reasons: tuple[str, ...]
    area_share: float = 0.0
    components: int = 0
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def plausible(self) -> bool:
        return not self.reasons


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

    The 95th percentile of the distances from each outline to the other, both directions pooled, as nnU-Net and most
    challenges report it (Huttenlocher et al. 1993, taken at a quantile). Two empty masks give 0, an empty and
    a filled one infinity.
    """
    mask, truth = _same_shape(mask, truth)
    if not mask.any() or not truth.any():
        return 0.0 if mask.any() == truth.any() else float("inf")
    ours, theirs = (shape ^ ndimage.binary_erosion(shape) for shape in (mask, truth))
    away = [ndimage.distance_transform_edt(~theirs)[ours], ndimage.distance_transform_edt(~ours)[theirs]]
    return float(np.quantile(np.concatenate(away), 0.95)) * pixel


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


def without_bone(image: np.ndarray, mask: np.ndarray, margin: float = 0.03, seed: int = 0) -> np.ndarray:
    """The film with its bone replaced by what lies around it: same shape, uint8.

    The hole (the mask and a margin, as share of the film's width) is filled with the smoothest surface between its
    edges (repeated averaging from coarse to fine, the Laplace equation) and given the grain of the soft tissue
    beside it, so that neither an edge nor a lack of noise shows where the bone was. A film that is bone all over becomes
    one grey level. Raises ValueError for an empty
    mask or one of another shape.
    """
    mask, _ = _same_shape(mask, image)
    if not mask.any():
        raise ValueError("without_bone: the mask is empty; leave out films whose mask is not plausible")
    reach = max(2, round(margin * image.shape[1]))
    hole = ndimage.distance_transform_edt(~mask) <= reach
    film = image.astype(np.float32)
    if hole.all():
        return np.full_like(image, round(float(film.mean())))
    filled = _bridged(film, hole)
    beside = ~hole & (ndimage.distance_transform_edt(~hole) <= 4 * reach)
    # Of the filled film, so that not even the blur of a bright bone reaches the grain.
    grain = (filled - ndimage.gaussian_filter(filled, 1.5))[beside]
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.standard_normal(image.shape, np.float32), 0.6)
    noise *= 1.4826 * np.median(np.abs(grain - np.median(grain))) / noise.std()
    # Over the margin the fill fades in: the film there is soft tissue already.
    share = np.clip((reach - ndimage.distance_transform_edt(~mask)) / max(reach / 2, 1), 0, 1)
    return np.clip(np.rint(film + share * (filled + noise - film)), 0, 255).astype(np.uint8)


def _bridged(film: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The film with its hole filled smoothly: solved on half the pixels first, then relaxed."""
    known = (~hole).astype(np.float32)
    if min(film.shape) <= 4 or not hole.any():
        mean = float((film * known).sum() / max(known.sum(), 1))
        return np.where(hole, mean, film)
    size = tuple((side + 1) // 2 for side in film.shape[::-1])
    weight = np.asarray(Image.fromarray(known).resize(size, Image.Resampling.BOX))
    level = np.asarray(Image.fromarray(film * known).resize(size, Image.Resampling.BOX))
    coarse = _bridged(np.divide(level, weight, out=np.zeros_like(level), where=weight > 0), weight <= 0)
    guess = np.asarray(Image.fromarray(coarse).resize(film.shape[::-1], Image.Resampling.BILINEAR))
    filled = np.where(hole, guess, film)
    for _ in range(20):
        filled = np.where(hole, ndimage.uniform_filter(filled, 3, mode="nearest"), film)
    return filled


def _same_shape(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.shape != truth.shape:
        raise ValueError(f"the mask is {mask.shape}, the truth {truth.shape}; expected the same shape")
    return mask.astype(bool), truth.astype(bool)
