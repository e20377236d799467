"""Class activation maps: where a model's evidence lies, and how much of it lies on bone.

For a network that ends in global average pooling and one dense unit, the logit is the mean over positions of
a weighted sum of feature maps, plus the bias. That sum is the class activation map (Zhou et al. 2016). For such
a network it equals Grad-CAM without its ReLU, up to the factor 1 / (height · width). In a study each film's map
comes from the fit that left the film out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy import ndimage

from osteo_utils.networks import backbones, probes
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.tails import TAIL_FILE, fitted_tail
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.study import results


def class_activation_map(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Evidence per position, float32 (n, h, w), in units of the logit; positive speaks for osteoporosis.

    `maps` (n, h, w, c) are the feature maps before pooling, `kernel` (c, 1) the weights of the head. The mean
    of a map plus the head's bias is the logit. Source: Zhou et al. 2016, CVPR, equation 2.
    """
    maps, kernel = np.asarray(maps, np.float32), np.asarray(kernel, np.float32)
    if maps.ndim != 4 or kernel.shape != (maps.shape[-1], 1):
        raise ValueError(
            f"class_activation_map: maps {maps.shape} and kernel {kernel.shape}; expected (n, h, w, c) and (c, 1)"
        )
    return maps @ kernel[:, 0]


def upsample(cam: np.ndarray, size: int) -> np.ndarray:
    """Maps (n, h, w) at the size of the image, float32 (n, size, size), linear between the cells' centres."""
    if cam.ndim != 3:
        raise ValueError(f"upsample: got shape {cam.shape}; expected (n, h, w)")
    rows, columns = (_cell_positions(size, cells) for cells in cam.shape[1:])
    grid = np.meshgrid(rows, columns, indexing="ij")
    maps = [ndimage.map_coordinates(one, grid, order=1, mode="nearest") for one in np.asarray(cam, np.float32)]
    return np.stack(maps) if maps else np.zeros((0, size, size), np.float32)


def share_inside(cam: np.ndarray, masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the positive evidence that lies on bone, and the bone's share of the area; two arrays (n,).

    `cam` (n, h, w) are maps at any resolution, `masks` n arrays (s, s), 1 on bone. The second share is the level of
    chance: that of evidence spread evenly over the film. A map without positive evidence has the share NaN.
    """
    share, area = np.full(len(cam), np.nan), np.zeros(len(cam))
    for place, (evidence, bone) in enumerate(_positive(cam, masks)):
        area[place] = bone.mean()
        if total := evidence.sum():
            share[place] = evidence[bone].sum() / total
    return share, area


def share_of_others(cam: np.ndarray, masks: Sequence[np.ndarray], groups: np.ndarray) -> np.ndarray:
    """Mean share of the positive evidence of other groups' maps that lies on each film's bone: (n,).

    Shapes as for `share_inside`; every map has positive evidence; `groups` (n,). NaN where all films are of one group.
    Linear in n, as the mean over the others is the sum over all less that over the film's own group.
    """
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    total, own = 0.0, np.zeros(len(cam))
    for members in np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1]):
        bones = [masks[place] for place in members]
        of_group = sum(evidence / evidence.sum() for evidence, _ in _positive(cam[members], bones))
        total += of_group
        own[members] = [of_group[np.asarray(bone, bool)].sum() for bone in bones]
    others = len(number) - counts[number]
    of_others = np.array([total[np.asarray(mask, bool)].sum() for mask in masks]) - own
    return np.divide(of_others, others, out=np.full(len(cam), np.nan), where=others > 0)


@dataclass(frozen=True)
class StudyMaps:
    """Maps of the scored films and their positions in the table of images (n,).

    `cells` are float32 (n, h, w) at the network's own resolution: their mean plus the head's bias is the logit.
    """

    positions: np.ndarray
    cells: np.ndarray


@dataclass(frozen=True)
class SavedMaps:
    """Maps in a file: `image_id` and `group` (n,), and `cells` float32 (n, h, w) in units of the logit."""

    image_id: np.ndarray
    group: np.ndarray
    cells: np.ndarray


def save(path: Path, study_maps: StudyMaps, images: pd.DataFrame) -> None:
    """Write the maps of a study, to compare networks."""
    scored = images.iloc[study_maps.positions]
    names, groups = scored.image_id.to_numpy(str), scored.group.to_numpy(int)
    with results.atomic_path(path) as temporary:
        np.savez(temporary, image_id=names, group=groups, cells=study_maps.cells)


def load(path: Path) -> SavedMaps:
    """Read the maps of `save`. Raises FileNotFoundError where they are not there."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; run the notebook of this network first")
    with np.load(path) as kept:
        return SavedMaps(kept["image_id"], kept["group"], kept["cells"])


def out_of_fold_maps(fitted: list[tuple[Fold, Path]], activations: Activations, weights: Weights) -> StudyMaps:
    """A map for every film scored under `grouped` with the first seed, from that fold's own fit."""
    folds = first_grouped(fitted)
    cells = []
    tail = fitted_tail(folds[0][1], activations.backbone, weights, activations.image_size)
    for fold, folder in folds:
        tail.load_weights(folder / TAIL_FILE)
        cells.append(tail_cells(tail, activations.views[0], fold.test))
    return StudyMaps(np.concatenate([fold.test for fold, _ in folds]), np.concatenate(cells))


def first_grouped(fitted: list[tuple[Fold, Path]]) -> list[tuple[Fold, Path]]:
    """The fits under `grouped` with the first seed: each film of the split is scored by one of them."""
    folds = [(fold, folder) for fold, folder in fitted if fold.protocol == "grouped"]
    return [(fold, folder) for fold, folder in folds if fold.seed == folds[0][0].seed]


def tail_cells(tail: keras.Model, rows: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """Class activation maps of activations (n, h, w, c), or of those at positions `chosen`: float32 (n, h', w')."""
    kernel, batches = head_of(tail)[0], backbones.by_batch(backbones.maps(tail), rows, chosen=chosen)
    return np.concatenate([class_activation_map(last, kernel) for _, (last,) in batches])


def head_of(tail: keras.Model) -> tuple[np.ndarray, float]:
    """Kernel (c, 1) and bias of a tail's last unit."""
    head = tail.get_layer("head")
    kernel, bias = (keras.ops.convert_to_numpy(variable) for variable in (head.kernel, head.bias))
    return kernel, float(bias[0])


def evidence(
    recipe: str, folders: list[Path], activations: Activations, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of several fits on the same films: logits float64 (fits, n) and maps float32 (fits, n, h, w).

    Both are means over the test views, with the mirror image's map turned back, so the mean of a map plus the fit's
    bias is its logit. `folders` are fits of one recipe. A probe adds the maps of several depths; of the earlier stages
    only means are stored, so their evidence counts evenly at every place.
    """
    if recipe == "none":
        keras.utils.clear_session()
        end = backbones.maps(backbones.tail(activations.backbone, weights, image_size=activations.image_size))
        views = activations.test_views
        earlier = activations.earlier or [view[:, 0, 0, :0] for view in views]
        layers = [(means, view, backbones.outputs(end, view)) for means, view in zip(earlier, views, strict=False)]
        parts = probes.depths(activations)
        logits, maps = zip(*(_probe_evidence(folder, layers, parts) for folder in folders), strict=True)
        return np.stack(logits), np.stack(maps)
    tail = fitted_tail(folders[0], activations.backbone, weights, activations.image_size, recipe)
    logits, maps = [], []
    for folder in folders:
        tail.load_weights(folder / TAIL_FILE)
        cells = _upright([tail_cells(tail, view) for view in activations.test_views])
        logits.append(cells.mean(axis=(1, 2), dtype=np.float64) + head_of(tail)[1])
        maps.append(cells)
    return np.stack(logits), np.stack(maps)


def pick_cases(predictions: pd.DataFrame, each: int = 2) -> pd.DataFrame:
    """The most certain right, the most certain wrong and the least certain predictions, with a column `case`."""
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
    """Films, titles, outlines and heat of picked cases, as arguments of `films.grid`.

    Only positive evidence is drawn, on one common scale, so a pale map is a weak one.
    """
    position = pd.Series(np.arange(len(images)), images.image_id)[picked.image_id].to_numpy()
    rows = pd.Series(np.arange(len(study_maps.positions)), study_maps.positions)[position]
    cells = study_maps.cells[rows]
    heat = np.maximum(upsample(cells, squares.shape[1]), 0)
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
    """Per film: the share of the positive evidence that lies on bone, and two levels of chance.

    Columns image_id, group, share (of the film's own map on its own bone), area (the share of the film that is bone:
    evidence spread evenly) and swapped (mean share of other groups' maps on this film's bone: evidence where bone
    usually is). Films without positive evidence or a mask have no row.
    """
    share, area = share_inside(study_maps.cells, [masks[position] for position in study_maps.positions])
    table = images.iloc[study_maps.positions][["image_id", "group"]].assign(share=share, area=area)
    kept = np.isfinite(share) & (area > 0)
    table, own = table[kept], [masks[position] for position in study_maps.positions[kept]]
    swapped = share_of_others(study_maps.cells[kept], own, table.group.to_numpy())
    return table.assign(swapped=swapped).reset_index(drop=True)


def _upright(cells: list[np.ndarray]) -> np.ndarray:
    """Mean over the image and, where there is one, its mirror image."""
    return np.mean([one[:, :, ::-1] if view else one for view, one in enumerate(cells)], axis=0)


def _probe_evidence(
    folder: Path, layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]], parts: dict[str, slice]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n,) of a probe, and the sum of its maps at all depths at the resolution of the cut, (n, h, w).

    `layers` holds for each view the means over the earlier stages and the feature maps at the cut and at the end,
    `parts` the coefficients of each (`probes.depths`).
    """
    coefficients, bias = probes.load(folder)
    of = {name: coefficients[part] for name, part in parts.items()}
    logits, cells = [], []
    for earlier, at_cut, at_end in layers:
        everywhere = (earlier @ of["earlier"])[:, None, None]
        early = class_activation_map(at_cut, of["cut"][:, None]) + everywhere
        late = class_activation_map(at_end, of["end"][:, None])
        logits.append(sum(part.mean(axis=(1, 2), dtype=np.float64) for part in (early, late)) + bias)
        rows, columns = (
            np.arange(fine) * coarse // fine for fine, coarse in zip(early.shape[1:], late.shape[1:], strict=True)
        )
        cells.append(early + late[:, rows][:, :, columns])
    return np.mean(logits, axis=0), _upright(cells)


def _positive(cam: np.ndarray, masks: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positive evidence float64 (s, s) and bone bool (s, s), film by film: memory does not grow with their number."""
    if len(cam) != len(masks) or any(mask.shape != (len(mask), len(mask)) for mask in masks):
        shapes = {mask.shape for mask in masks}
        raise ValueError(
            f"evidence on bone: maps {cam.shape} and {len(masks)} masks of {shapes}; expected (n, h, w) and n masks "
            "(s, s) of the same films"
        )
    for one, mask in zip(cam, masks, strict=True):
        fine = upsample(one[None], len(mask))[0].astype(np.float64)
        yield np.maximum(fine, 0), np.asarray(mask, bool)


def _cell_positions(size: int, cells: int) -> np.ndarray:
    return (np.arange(size) + 0.5) * cells / size - 0.5
