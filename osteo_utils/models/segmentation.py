"""Bone masks of all films of a study: by the U-Net, or by the classical method of `classical`.

A mask that does not look like a knee is flagged with the reason and never used in silence: the segmented variant
shows such a film whole, the background variant leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from skimage import measure

from osteo_utils.data import radiographs, stores
from osteo_utils.data.radiographs import Box
from osteo_utils.models import bone_unet
from osteo_utils.models.bone_unet import Seen
from osteo_utils.models.classical import classical_mask
from osteo_utils.models.masks import Mask
from osteo_utils.study import scratch

METHODS = ("unet", "classical")
MIN_CERTAINTY = 0.9
MIN_BONE_SHARE = 0.01
MIN_SOLIDITY = 0.4


class Knee(NamedTuple):
    """Middle of the joint and width of the knee, as shares of the film's height and width."""

    y: float
    x: float
    width: float


def bone_mask(
    image: np.ndarray,
    box: Box | None = None,
    min_area: float = 0.08,
    max_area: float = 0.9,
    method: str = "unet",
) -> Mask:
    """The bone of one film, uint8 (h, w); `box` is the film's place in a padded image.

    Raises ValueError for another kind of array or an unknown method. For many films use `segment_all`.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    if method == "classical":
        return classical_mask(image, box, min_area, max_area)
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"bone_mask: expected uint8 (h, w), found {image.dtype} {image.shape}")
    box = box or Box(0, 0, *image.shape)
    seen = next(bone_unet.look(bone_unet.trained(), [image[within(box)]]))
    return unet_mask(seen, image.shape, box, min_area, max_area)


def unet_mask(
    seen: Seen, shape: tuple[int, int], box: Box, min_area: float = 0.08, max_area: float = 0.9
) -> Mask:
    """The mask that follows from what the U-Net saw in the film that lies in `box` of an image of `shape`.

    `measured` has `certainty` and, where femur and tibia are seen, knee_y, knee_x and knee_width (`Knee`).
    """
    parts = bone_unet.enlarged(seen.parts, box.height, box.width)
    bone = parts.any(axis=-1)
    mask = np.zeros(shape, np.uint8)
    mask[within(box)] = bone
    area_share, pieces = float(bone.mean()), _pieces(bone)
    knee = knee_of(parts)
    measured = {"certainty": seen.certainty}
    measured |= {f"knee_{name}": value for name, value in (knee._asdict() if knee else {}).items()}
    reasons = _reasons(parts, area_share, seen.certainty, min_area, max_area)
    return Mask(mask, reasons, area_share, len(pieces), measured)


def knee_of(parts: np.ndarray) -> Knee | None:
    """Where the joint lies in a film: between the femur's lower and the tibia's upper end; None where one is not seen.

    `parts` is bool (h, w, 4) in the order of `bone_unet.BONES`.
    """
    femur, tibia = parts[..., 0], parts[..., 1]
    columns = np.flatnonzero(femur.any(axis=0) & tibia.any(axis=0))
    if not len(columns):
        return None
    height, width = femur.shape
    lowest = height - 1 - np.argmax(femur[::-1, columns], axis=0)
    highest = np.argmax(tibia[:, columns], axis=0)
    row = float(np.median((lowest + highest) / 2))
    # Widest row near the joint: condyles and plateau, whichever is seen better.
    near = max(3, round(0.25 * len(columns)))
    around = (femur | tibia)[max(0, round(row) - near) : round(row) + near]
    widest = int(around.sum(axis=1).max())
    return Knee((row + 0.5) / height, (float(columns.mean()) + 0.5) / width, widest / width)


def segment_all(
    images: np.ndarray,
    manifest: pd.DataFrame,
    min_area: float = 0.08,
    max_area: float = 0.9,
    method: str = "unet",
    threads: int = 2,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Masks of all usable films of a store: uint8 (n, 512, 512), and a table with one row a film.

    `row` of the manifest points into `images` and into the masks; films that are not usable keep an empty mask
    and are not in the table (image_id, area_share, components, what the method measured, plausible, reason).
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    usable = manifest[manifest["status"].eq("ok")]
    masks, rows = scratch.array(images.shape, np.uint8), []
    found = _by_unet if method == "unet" else _by_edges
    for film, one in zip(
        usable.itertuples(), found(images, usable, min_area, max_area, threads), strict=True
    ):
        masks[int(film.row)] = one.mask
        row = {"image_id": film.image_id, "area_share": one.area_share, "components": one.components}
        rows.append(row | one.measured | {"plausible": int(one.plausible), "reason": "; ".join(one.reasons)})
    return masks, pd.DataFrame(rows)


def _by_unet(
    images: np.ndarray, usable: pd.DataFrame, min_area: float, max_area: float, threads: int
) -> Iterator[Mask]:
    seen = bone_unet.look(bone_unet.trained(), (stores.film(images, film) for film in usable.itertuples()))
    for film, one in zip(usable.itertuples(), seen, strict=True):
        yield unet_mask(one, images.shape[1:], _box(film), min_area, max_area)


def _by_edges(
    images: np.ndarray, usable: pd.DataFrame, min_area: float, max_area: float, threads: int
) -> Iterator[Mask]:
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(
            lambda film: classical_mask(np.asarray(images[int(film.row)]), _box(film), min_area, max_area),
            usable.itertuples(),
        )


def _box(film: object) -> Box:
    return radiographs.content_box(int(film.width), int(film.height))


def within(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)


def _pieces(bone: np.ndarray) -> list:
    """Separate pieces of bone, largest first; specks of less than a hundredth of the bone are none."""
    regions = measure.regionprops(measure.label(bone))
    return sorted(
        (one for one in regions if one.area >= 0.01 * bone.sum()), key=lambda one: one.area, reverse=True
    )


def _reasons(
    parts: np.ndarray, area_share: float, certainty: float, min_area: float, max_area: float
) -> tuple[str, ...]:
    if not parts.any():
        return ("no bone found in the film",)
    femur, tibia = parts[..., 0], parts[..., 1]
    for name, bone in (("femur", femur), ("tibia", tibia)):
        if bone.mean() < MIN_BONE_SHARE:
            return (f"{name} in {bone.mean():.1%} of the film, expected at least {MIN_BONE_SHARE:.0%}",)
    femurs, tibias = _pieces(femur), _pieces(tibia)
    ragged = min(femurs[0].solidity, tibias[0].solidity)
    checks = (
        (
            len(femurs) > 1,
            "more than one leg in the film",
        ),
        (area_share < min_area, f"area {area_share:.2f} of the film, expected at least {min_area:.2f}"),
        (area_share > max_area, f"area {area_share:.2f} of the film, expected at most {max_area:.2f}"),
        (femurs[0].centroid[0] >= tibias[0].centroid[0], "the femur lies below the tibia"),
        (ragged < MIN_SOLIDITY, f"ragged: solidity {ragged:.2f}, expected at least {MIN_SOLIDITY:.2f}"),
        (
            certainty < MIN_CERTAINTY,
            f"film and mirror image agree by {certainty:.2f}, expected at least {MIN_CERTAINTY:.2f}",
        ),
    )
    return tuple(text for failed, text in checks if failed)
