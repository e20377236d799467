"""Both ways to find bone, on synthetic knees of a scanner that neither has met: how far their masks agree with the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from osteo_utils.data import phantom, phantom_truth
from osteo_utils.data.phantom_knee import Knee
from osteo_utils.data.radiographs import Box
from osteo_utils.evidence import scores
from osteo_utils.models import bone_unet, masks, segmentation
from osteo_utils.models.classical import classical_mask
from osteo_utils.study.results import Estimate

# The scanner whose ranges of noise, blur and enhancement do not overlap those of the scanner in training.
UNSEEN_SITE = "storage_phosphor"
COLUMNS = ("knee", "method", "bone", "dice", "iou", "hd95_mm", "plausible")


def trial(n_knees: int, seed: int, site: str = UNSEEN_SITE, size: int = 512) -> pd.DataFrame:
    """One row per knee, method and bone: dice, iou (0 to 1), hd95_mm, and whether the mask was plausible.

    `bone` is `all`, and for the U-Net each of `bone_unet.BONES` that the film shows as well; the classical method
    does not tell them apart. The knees are drawn with `seed`, one film each. A bone that was missed altogether counts
    with the film's diagonal as its distance.
    """
    drawn = phantom.knees(n_knees, seed, size, site=site)
    model = bone_unet.trained()
    rows = []
    for number, (knee, seen) in enumerate(
        zip(drawn, bone_unet.look(model, (knee.image for knee in drawn)), strict=True)
    ):
        box = Box(0, 0, *knee.image.shape)
        by_unet = segmentation.unet_mask(seen, knee.image.shape, box)
        by_edges = classical_mask(knee.image, box)
        for method, found in (("unet", by_unet), ("classical", by_edges)):
            rows.append(_row(number, method, "all", found.mask, knee.mask, knee, found.plausible))
        parts = bone_unet.enlarged(seen.parts, *knee.image.shape)
        for place, (name, bit) in enumerate(phantom_truth.BONES.items()):
            truth = (knee.parts & bit) > 0
            if truth.any():
                rows.append(_row(number, "unet", name, parts[..., place], truth, knee, by_unet.plausible))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(trial: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Means over knees with intervals (knees resampled), by name.

    `dice`, `iou` and `hd95` of the U-Net's whole bone, `classical/dice` and so on, and `femur/dice` and so on.
    """
    found = {}
    for (method, bone), part in trial.groupby(["method", "bone"], sort=False):
        path = {"unet": "", "classical": "classical/"}[method] + ("" if bone == "all" else f"{bone}/")
        for name, unit in (("dice", ""), ("iou", ""), ("hd95_mm", "mm")):
            one = scores.mean_estimate(
                part[name], part["knee"], n_resamples, seed, "unseen scanner, mean over knees"
            )
            found[path + name.removesuffix("_mm")] = replace(one, unit=unit)
    return found


def as_table(judged: dict[str, Estimate]) -> pd.DataFrame:
    """The summary for the reader: one row per method and bone, one column per measure."""
    rows: dict[str, dict[str, str]] = {}
    for name, one in judged.items():
        path, _, measure = name.rpartition("/")
        who = {"": "U-Net, whole bone", "classical": "classical, whole bone"}.get(path, f"U-Net, {path}")
        rows.setdefault(who, {})[measure + (f" ({one.unit})" if one.unit else "")] = str(one)
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(
    number: int, method: str, bone: str, mask: np.ndarray, truth: np.ndarray, knee: Knee, plausible: bool
) -> tuple:
    away = masks.hausdorff95(mask, truth, knee.pixel)
    missed = float(np.hypot(*truth.shape)) * knee.pixel
    away = away if np.isfinite(away) else missed
    return number, method, bone, masks.dice(mask, truth), masks.iou(mask, truth), away, int(plausible)
