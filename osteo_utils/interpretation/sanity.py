"""Sanity checks of class activation maps: random weights, occlusion, and agreement of two networks.

A map that stays the same with random weights shows the film, not the network.
Sources: Adebayo et al. 2018, "Sanity checks for saliency maps", NeurIPS (randomised weights, rank correlation);
Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", ECCV, section 4.2 (occlusion).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.interpretation import activation_maps
from osteo_utils.networks import backbones
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.tails import TAIL_FILE, fitted_tail
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights as pretrained
from osteo_utils.sources.weights import Weights

FILMS = 48
WHOLE_FILMS = 8
PATCHES = 4


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the places of each pair of maps (n, h, w): (n,), NaN where a map is flat."""
    if maps.shape != others.shape:
        raise ValueError(f"rank_correlation: {maps.shape} and {others.shape}; expected maps of one shape")
    ranks = [stats.rankdata(part.reshape(len(part), -1), axis=1) for part in (maps, others)]
    first, second = (part - part.mean(axis=1, keepdims=True) for part in ranks)
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return np.divide((first * second).sum(axis=1), size, out=np.full(len(maps), np.nan), where=size > 0)


def randomised(
    fitted: list[tuple[Fold, Path]], activations: Activations, weights: Weights, squares: np.ndarray, seed: int
) -> pd.DataFrame:
    """Rank correlation of maps with those of a network with random weights, from the last layer back to the first.

    One row per film and `part` (head, tail, network: the part with random weights), with the film's position in the
    table of images, its group, and the correlation with the map of the fit that left it out. Up to 48 films take part,
    spread over the folds; 8 of them where the whole network is random. `squares` (n, s, s) are all films as network
    input, `fitted` the `last_block` fits on them.
    """
    name, size = activations.backbone, activations.image_size
    folds = activation_maps.first_grouped(fitted)
    tail = fitted_tail(folds[0][1], name, weights, size)
    noise = pretrained.random(name, seed)
    random_tail = backbones.tail(name, noise, seed=seed, image_size=size)
    random_trunk = backbones.trunk(name, noise, size)
    kernel, _ = activation_maps.head_of(random_tail)
    parts = []
    for fold, folder in folds:
        tail.load_weights(folder / TAIL_FILE)
        chosen = _spread(fold.test, FILMS // len(folds))
        rows = activations.views[0][chosen]
        last = backbones.outputs(backbones.maps(tail), rows)
        trained = activation_maps.class_activation_map(last, activation_maps.head_of(tail)[0])
        few = _spread(np.arange(len(chosen)), max(1, WHOLE_FILMS // len(folds)))
        from_noise = backbones.outputs(random_trunk, squares[chosen[few]])
        every = np.arange(len(chosen))
        for part, which, cells in (
            ("head", every, activation_maps.class_activation_map(last, kernel)),
            ("tail", every, activation_maps.tail_cells(random_tail, rows)),
            ("network", few, activation_maps.tail_cells(random_tail, from_noise)),
        ):
            found = {"position": chosen[which], "correlation": rank_correlation(trained[which], cells)}
            parts.append(pd.DataFrame(found).assign(part=part))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(group=folds[0][0].table.group.to_numpy()[table.position])


def occlusion(
    fitted: list[tuple[Fold, Path]],
    positions: np.ndarray,
    squares: np.ndarray,
    activations: Activations,
    weights: Weights,
) -> tuple[np.ndarray, np.ndarray]:
    """The fall of the logit when a place of the film is hidden, and the map's evidence at the same places.

    Two arrays float32 (n, 4, 4) for the films at `positions`, each scored by the fit that left it out. A place is a
    sixteenth of the film, covered with the film's median grey. The two need not agree, as a covered place adds edges.
    """
    name, size = activations.backbone, activations.image_size
    folds = activation_maps.first_grouped(fitted)
    tail = fitted_tail(folds[0][1], name, weights, size)
    trunk = backbones.trunk(name, weights, size)
    edges = np.linspace(0, size, PATCHES + 1).round().astype(int)
    falls, places = [], []
    for position in positions:
        folder = next(folder for fold, folder in folds if position in fold.test)
        tail.load_weights(folder / TAIL_FILE)
        film = squares[position]
        hidden = np.repeat(film[None], 1 + PATCHES**2, axis=0)
        for number, (row, column) in enumerate(np.ndindex(PATCHES, PATCHES), start=1):
            hidden[number, edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = np.median(film)
        cells = activation_maps.tail_cells(tail, backbones.outputs(trunk, hidden, batch_size=len(hidden)))
        logits = cells.mean(axis=(1, 2))
        falls.append((logits[0] - logits[1:]).reshape(PATCHES, PATCHES))
        fine = activation_maps.upsample(cells[:1], size)[0]
        sums = np.add.reduceat(np.add.reduceat(fine, edges[:-1], axis=0), edges[:-1], axis=1)
        places.append(sums / size**2)
    return np.stack(falls).astype(np.float32), np.stack(places).astype(np.float32)


def agreement(first: activation_maps.SavedMaps, second: activation_maps.SavedMaps) -> pd.DataFrame:
    """Rank correlation of two networks' maps of the same film, and of maps of different films.

    Columns image_id, group, same (correlation of both maps of the film) and other (mean correlation of the first
    network's map with the second's maps of other groups): the agreement that does not depend on the film.
    Raises ValueError where the two were not made on the same films.
    """
    order = np.argsort(first.image_id), np.argsort(second.image_id)
    names = first.image_id[order[0]]
    if not np.array_equal(names, second.image_id[order[1]]):
        raise ValueError("agreement: the maps are of different films; run 04_vgg16 and 05_resnet50 again")
    side = max(first.cells.shape[1], second.cells.shape[1])
    ranks, other_ranks = (
        _unit_ranks(activation_maps.upsample(maps.cells[at], side))
        for maps, at in zip((first, second), order, strict=True)
    )
    groups = first.group[order[0]]
    # The mean over other groups' maps is the sum over all less that over the film's own group: n maps, not n² pairs.
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    together = np.zeros((len(counts), other_ranks.shape[1]))
    np.add.at(together, number, other_ranks)
    others = together.sum(axis=0) - together[number]
    other = (ranks * others).sum(axis=1) / np.maximum(len(groups) - counts[number], 1)
    return pd.DataFrame({"image_id": names, "group": groups, "same": (ranks * other_ranks).sum(axis=1), "other": other})


def _unit_ranks(maps: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(maps.reshape(len(maps), -1), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return ranks / np.maximum(np.linalg.norm(ranks, axis=1, keepdims=True), 1e-12)


def _spread(positions: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of the positions, evenly spread and in order."""
    return positions[np.unique(np.linspace(0, len(positions) - 1, min(count, len(positions))).round().astype(int))]
