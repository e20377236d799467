"""Class activation maps of a study: one per film, from the fit that has not seen it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from osteo_utils.models import backbones, explain
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Fold
from osteo_utils.models.tails import fitted_tail
from osteo_utils.models.weights import Weights


@dataclass(frozen=True)
class StudyMaps:
    """Maps of the films that were scored, and where these films stand in the table of images.

    `maps` is float32 (n, size, size) in the input's geometry; its mean plus the head's bias is the logit.
    """

    positions: np.ndarray
    maps: np.ndarray


def out_of_fold_maps(
    fitted: list[tuple[Fold, Path]], activations: Activations, weights: Weights
) -> StudyMaps:
    """A map for every film scored under `grouped` with the first seed, from that fold's own fit."""
    jobs = [(job, folder) for job, folder in fitted if job.protocol == "grouped"]
    jobs = [(job, folder) for job, folder in jobs if job.seed == jobs[0][0].seed]
    positions, maps = [], []
    for job, folder in jobs:
        keras.utils.clear_session()
        tail = fitted_tail(folder, activations.backbone, weights, activations.image_size)
        last = backbones.outputs(backbones.maps(tail), activations.views[0][job.test])
        kernel = np.asarray(tail.get_layer("head").kernel.numpy())
        maps.append(explain.upsample(explain.class_activation_map(last, kernel), activations.image_size))
        positions.append(job.test)
    return StudyMaps(np.concatenate(positions), np.concatenate(maps))


def pick_cases(predictions: pd.DataFrame, each: int = 2) -> pd.DataFrame:
    """The surest right, the surest wrong and the least sure predictions, `each` of them, with a column `case`."""
    sure = (predictions.y_prob - 0.5).abs()
    right = (predictions.y_prob >= 0.5) == (predictions.y_true == 1)
    first = predictions.assign(sure=sure, right=right).query("seed == @predictions.seed.min()")
    parts = [
        first[first.right].nlargest(each, "sure").assign(case="right"),
        first[~first.right].nlargest(each, "sure").assign(case="wrong"),
        first.nsmallest(each, "sure").assign(case="unsure"),
    ]
    return pd.concat(parts, ignore_index=True)


def drawn(
    picked: pd.DataFrame, study_maps: StudyMaps, squares: np.ndarray, masks: np.ndarray, images: pd.DataFrame
) -> dict[str, Any]:
    """Films, titles, outlines and heat of picked cases, as `films.grid` takes them.

    Only positive evidence for osteoporosis is drawn, on one common scale, so that a pale map is a weak one.
    """
    place = {position: number for number, position in enumerate(study_maps.positions)}
    position = pd.Series(np.arange(len(images)), index=images.image_id)[picked.image_id].to_numpy()
    heat = np.maximum(study_maps.maps[[place[at] for at in position]], 0)
    label = np.where(picked.y_true == 1, "osteoporosis", "normal")
    titles = [
        f"{case}: {name}, {probability:.2f}"
        for case, name, probability in zip(picked.case, label, picked.y_prob, strict=True)
    ]
    return {
        "images": list(squares[position]),
        "titles": titles,
        "masks": list(masks[position]),
        "heat": list(heat / max(float(heat.max()), 1e-9)),
    }


def inside_bone(study_maps: StudyMaps, masks: np.ndarray, images: pd.DataFrame) -> pd.DataFrame:
    """Per film: share of the positive evidence that lies on bone, and the share of the film that is bone.

    Films without any positive evidence or without a mask have no row. Columns image_id, group, share, area.
    """
    share, area = explain.share_inside(study_maps.maps, masks[study_maps.positions])
    table = images.iloc[study_maps.positions][["image_id", "group"]].assign(share=share, area=area)
    return table[np.isfinite(table.share) & (table.area > 0)].reset_index(drop=True)
