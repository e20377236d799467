"""The bone masks of a study, by the U-Net or by edges, and a trial of both on synthetic knees.

A mask that is not plausible is flagged with the reason: the segmented variant shows such a film whole, the background
variant leaves it out. The trial uses a scanner that the U-Net was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from skimage import measure

from osteo_utils.bone import masks, unet
from osteo_utils.bone.masks import Mask, area_checks, classical_mask
from osteo_utils.bone.unet import Prediction
from osteo_utils.images import image_store
from osteo_utils.images.image_store import Box
from osteo_utils.phantom import drawing, synthetic
from osteo_utils.statistics import scores
from osteo_utils.study import resources
from osteo_utils.study.results import Estimate

METHODS = ("unet", "classical")
MEASURES = {"dice": "Dice", "iou": "intersection over union", "hd95": "95 % Hausdorff distance (mm)"}
MIN_CERTAINTY = 0.9
MIN_BONE_SHARE = 0.01
MIN_SOLIDITY = 0.4
# Its ranges of noise, blur and enhancement do not overlap those of the scanner in training.
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
    """The bone of one film, uint8 (h, w); `box` is the film's place in a padded image. For many films: `segment_all`.

    Raises ValueError for another kind of array or an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    if method == "classical":
        return classical_mask(image, box, min_area, max_area)
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"bone_mask: expected uint8 (h, w), found {image.dtype} {image.shape}")
    box = box or Box(0, 0, *image.shape)
    predicted = next(unet.predict(unet.trained(), [image[box.slices]]))
    return unet_mask(predicted, image.shape, box, min_area, max_area)


def unet_mask(
    predicted: Prediction, shape: tuple[int, int], box: Box, min_area: float = 0.08, max_area: float = 0.9
) -> Mask:
    """The mask of a film from the U-Net's prediction; the film lies in `box` of an image of `shape`.

    `measured` has `certainty` and, where femur and tibia are found, knee_y, knee_x and knee_width (`Knee`).
    """
    parts = unet.enlarged(predicted.parts, box.height, box.width)
    bone = parts.any(axis=-1)
    mask = np.zeros(shape, np.uint8)
    mask[box.slices] = bone
    area_share, knee = float(bone.mean()), knee_of(parts)
    measured = {f"knee_{name}": value for name, value in (knee._asdict() if knee else {}).items()}
    reasons = _reasons(parts, area_share, predicted.certainty, min_area, max_area)
    return Mask(mask, reasons, area_share, len(_pieces(bone)), {"certainty": predicted.certainty} | measured)


def knee_of(parts: np.ndarray) -> Knee | None:
    """The joint of a film, between the lower end of the femur and the upper end of the tibia; None without one of them.

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
    # The widest row near the joint: condyles or plateau.
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
    """Masks of all usable films of a store, uint8 (n, 512, 512), and a table with one row a film.

    `row` of the manifest is the row of `images` and of the masks. Columns image_id, area_share, components, measures of
    the method, plausible, reason.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    usable = manifest[manifest["status"].eq("ok")]
    masks, rows = resources.array(images.shape, np.uint8), []
    found = _by_unet(images, usable, min_area, max_area)
    if method == "classical":
        found = _by_edges(images, usable, min_area, max_area, threads)
    for film, one in zip(usable.itertuples(), found, strict=True):
        masks[int(film.row)] = one.mask
        row = {"image_id": film.image_id, "area_share": one.area_share, "components": one.components}
        rows.append(row | one.measured | {"plausible": int(one.plausible), "reason": "; ".join(one.reasons)})
    return masks, pd.DataFrame(rows)


def trial(n_knees: int, seed: int, size: int = 512) -> pd.DataFrame:
    """One row per knee, method and bone: dice, iou (0 to 1), hd95_mm, and whether the mask was plausible.

    `bone` is `all` and, for the U-Net, each of `unet.BONES` in the film; the classical method does not separate them.
    Draws the knees with `seed`, one film each. A bone without any mask has the film's diagonal as its distance.
    """
    knees, rows = synthetic.knees(n_knees, seed, size, site=UNSEEN_SITE), []
    predictions = unet.predict(unet.trained(), (knee.image for knee in knees))
    for number, (knee, predicted) in enumerate(zip(knees, predictions, strict=True)):
        by_unet = unet_mask(predicted, knee.image.shape, Box(0, 0, *knee.image.shape))
        for method, found in (("unet", by_unet), ("classical", classical_mask(knee.image))):
            rows.append((number, method, "all", *_compare(found.mask, knee.mask, knee.pixel), int(found.plausible)))
        parts = unet.enlarged(predicted.parts, *knee.image.shape)
        for place, (name, bit) in enumerate(drawing.BONES.items()):
            truth = (knee.parts & bit) > 0
            if truth.any():
                measures = _compare(parts[..., place], truth, knee.pixel)
                rows.append((number, "unet", name, *measures, int(by_unet.plausible)))
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
    """The summary as text: one row per method and bone, one column per measure."""
    rows: dict[str, dict[str, str]] = {}
    for name, one in judged.items():
        path, _, measure = name.rpartition("/")
        row = {"": "U-Net, whole bone", "classical": "classical, whole bone"}.get(path, f"U-Net, {path}")
        places = 1 if measure == "hd95" else 3
        ends = (f"{number:.{places}f}" for number in (one.value, one.low, one.high))
        rows.setdefault(row, {})[MEASURES[measure]] = "{} [{}, {}]".format(*ends)
    return pd.DataFrame.from_dict(rows, orient="index")


def _by_unet(images: np.ndarray, usable: pd.DataFrame, min_area: float, max_area: float) -> Iterator[Mask]:
    films = (image_store.film(images, film) for film in usable.itertuples())
    for film, predicted in zip(usable.itertuples(), unet.predict(unet.trained(), films), strict=True):
        yield unet_mask(predicted, images.shape[1:], image_store.box_of(film), min_area, max_area)


def _by_edges(
    images: np.ndarray, usable: pd.DataFrame, min_area: float, max_area: float, threads: int
) -> Iterator[Mask]:
    def one(film: Any) -> Mask:
        return classical_mask(np.asarray(images[int(film.row)]), image_store.box_of(film), min_area, max_area)

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(one, usable.itertuples())


def _pieces(bone: np.ndarray) -> list:
    """Separate pieces of bone, largest first, without those of less than a hundredth of the bone."""
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
        *area_checks(area_share, min_area, max_area),
        (femurs[0].centroid[0] >= tibias[0].centroid[0], "the femur lies below the tibia"),
        (ragged < MIN_SOLIDITY, f"ragged: solidity {ragged:.2f}, expected at least {MIN_SOLIDITY:.2f}"),
        (
            certainty < MIN_CERTAINTY,
            f"film and mirror image agree by {certainty:.2f}, expected at least {MIN_CERTAINTY:.2f}",
        ),
    )
    return tuple(text for failed, text in checks if failed)


def _compare(mask: np.ndarray, truth: np.ndarray, pixel: float) -> tuple[float, float, float]:
    """Dice, IoU and finite Hausdorff distance in mm."""
    distance = masks.hausdorff95(mask, truth, pixel)
    diagonal = float(np.hypot(*truth.shape)) * pixel
    return masks.dice(mask, truth), masks.iou(mask, truth), distance if np.isfinite(distance) else diagonal
