"""The bone masks of a study, by the U-Net or by edges, and a trial of both where the truth is known.

A mask that does not look like a knee is flagged with the reason and never used in silence: the segmented variant
shows such a film whole, the background variant leaves it out. The trial runs on synthetic knees of a scanner that
neither method has met.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from skimage import measure

from osteo_utils.bone import masks, unet
from osteo_utils.bone.masks import Mask, classical_mask
from osteo_utils.bone.unet import Seen
from osteo_utils.images import image_store
from osteo_utils.images.image_store import Box
from osteo_utils.phantom import drawing, synthetic
from osteo_utils.phantom.drawing import Knee as SyntheticKnee
from osteo_utils.statistics import scores
from osteo_utils.study import resources
from osteo_utils.study.results import Estimate

METHODS = ("unet", "classical")
MIN_CERTAINTY = 0.9
MIN_BONE_SHARE = 0.01
MIN_SOLIDITY = 0.4


# The scanner whose ranges of noise, blur and enhancement do not overlap those of the scanner in training.
UNSEEN_SITE = "storage_phosphor"
TRIAL_COLUMNS = ("knee", "method", "bone", "dice", "iou", "hd95_mm", "plausible")


class Knee(NamedTuple):
    """Middle of the joint and width of the knee, as shares of the film's height and width."""

    y: float
    x: float
    width: float


def bone_mask(
    image: np.ndarray, box: Box | None = None, min_area: float = 0.08, max_area: float = 0.9, method: str = "unet"
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
    seen = next(unet.look(unet.trained(), [image[within(box)]]))
    return unet_mask(seen, image.shape, box, min_area, max_area)


def unet_mask(seen: Seen, shape: tuple[int, int], box: Box, min_area: float = 0.08, max_area: float = 0.9) -> Mask:
    """The mask that follows from what the U-Net saw in the film that lies in `box` of an image of `shape`.

    `measured` has `certainty` and, where femur and tibia are seen, knee_y, knee_x and knee_width (`Knee`).
    """
    parts = unet.enlarged(seen.parts, box.height, box.width)
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

    `parts` is bool (h, w, 4) in the order of `unet.BONES`.
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
    masks, rows = resources.array(images.shape, np.uint8), []
    found = _by_unet if method == "unet" else _by_edges
    for film, one in zip(usable.itertuples(), found(images, usable, min_area, max_area, threads), strict=True):
        masks[int(film.row)] = one.mask
        row = {"image_id": film.image_id, "area_share": one.area_share, "components": one.components}
        rows.append(row | one.measured | {"plausible": int(one.plausible), "reason": "; ".join(one.reasons)})
    return masks, pd.DataFrame(rows)


def _by_unet(
    images: np.ndarray, usable: pd.DataFrame, min_area: float, max_area: float, threads: int
) -> Iterator[Mask]:
    seen = unet.look(unet.trained(), (image_store.film(images, film) for film in usable.itertuples()))
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
    return image_store.content_box(int(film.width), int(film.height))


def within(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)


def _pieces(bone: np.ndarray) -> list:
    """Separate pieces of bone, largest first; specks of less than a hundredth of the bone are none."""
    regions = measure.regionprops(measure.label(bone))
    return sorted((one for one in regions if one.area >= 0.01 * bone.sum()), key=lambda one: one.area, reverse=True)


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
        (len(femurs) > 1, "more than one leg in the film"),
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


def trial(n_knees: int, seed: int, site: str = UNSEEN_SITE, size: int = 512) -> pd.DataFrame:
    """One row per knee, method and bone: dice, iou (0 to 1), hd95_mm, and whether the mask was plausible.

    `bone` is `all`, and for the U-Net each of `unet.BONES` that the film shows as well; the classical method
    does not tell them apart. The knees are drawn with `seed`, one film each. A bone that was missed altogether counts
    with the film's diagonal as its distance.
    """
    drawn = synthetic.knees(n_knees, seed, size, site=site)
    model = unet.trained()
    rows = []
    for number, (knee, seen) in enumerate(zip(drawn, unet.look(model, (knee.image for knee in drawn)), strict=True)):
        box = Box(0, 0, *knee.image.shape)
        by_unet = unet_mask(seen, knee.image.shape, box)
        by_edges = classical_mask(knee.image, box)
        for method, found in (("unet", by_unet), ("classical", by_edges)):
            rows.append(_trial_row(number, method, "all", found.mask, knee.mask, knee, found.plausible))
        parts = unet.enlarged(seen.parts, *knee.image.shape)
        for place, (name, bit) in enumerate(drawing.BONES.items()):
            truth = (knee.parts & bit) > 0
            if truth.any():
                rows.append(_trial_row(number, "unet", name, parts[..., place], truth, knee, by_unet.plausible))
    return pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))


def trial_summary(trial: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Means over knees with intervals (knees resampled), by name.

    `dice`, `iou` and `hd95` of the U-Net's whole bone, `classical/dice` and so on, and `femur/dice` and so on.
    """
    found = {}
    for (method, bone), part in trial.groupby(["method", "bone"], sort=False):
        path = {"unet": "", "classical": "classical/"}[method] + ("" if bone == "all" else f"{bone}/")
        for name, unit in (("dice", ""), ("iou", ""), ("hd95_mm", "mm")):
            one = scores.mean_estimate(part[name], part["knee"], n_resamples, seed, "unseen scanner, mean over knees")
            found[path + name.removesuffix("_mm")] = replace(one, unit=unit)
    return found


def trial_table(judged: dict[str, Estimate]) -> pd.DataFrame:
    """The summary for the reader: one row per method and bone, one column per measure."""
    rows: dict[str, dict[str, str]] = {}
    for name, one in judged.items():
        path, _, measure = name.rpartition("/")
        who = {"": "U-Net, whole bone", "classical": "classical, whole bone"}.get(path, f"U-Net, {path}")
        rows.setdefault(who, {})[measure + (f" ({one.unit})" if one.unit else "")] = str(one)
    return pd.DataFrame.from_dict(rows, orient="index")


def _trial_row(
    number: int, method: str, bone: str, mask: np.ndarray, truth: np.ndarray, knee: SyntheticKnee, plausible: bool
) -> tuple:
    away = masks.hausdorff95(mask, truth, knee.pixel)
    missed = float(np.hypot(*truth.shape)) * knee.pixel
    away = away if np.isfinite(away) else missed
    return number, method, bone, masks.dice(mask, truth), masks.iou(mask, truth), away, int(plausible)
