"""The networks' part of the study on synthetic knees: what is planted is found, what is not planted is not.

The whole way from films to out-of-fold predictions and their interval, with the audit's part known beforehand. The short
tests use a network with random weights on small films, the long ones the real one (they need ImageNet weights).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from osteo_utils.images import film_views, image_store
from osteo_utils.networks import probes, trunk_cache
from osteo_utils.networks.inputs import Activations
from osteo_utils.phantom import synthetic
from osteo_utils.protocols import splits
from osteo_utils.sources import weights
from osteo_utils.statistics import evaluation
from osteo_utils.study.results import Estimate

# Fixed before any of them was drawn.
SEEDS = range(101, 121)
IN_TWENTY = binom.ppf([0.005, 0.995], len(SEEDS), 0.05)


def pooled(pictures: np.ndarray, network: weights.Weights, size: int, folder: Path) -> np.ndarray:
    """Pooled features of square films, uint8 (n, s, s), and their mirror images, averaged: float32 (n, channels)."""
    box = image_store.Box(0, 0, *pictures.shape[1:])
    squares = np.stack([film_views.view(picture, box, "squeeze", size) for picture in pictures])
    views = tuple(
        trunk_cache.activations(np.ascontiguousarray(one), network.backbone, network, folder)
        for one in (squares, squares[:, :, ::-1])
    )
    earlier = tuple(trunk_cache.stage_means(view) for view in views)
    seen = Activations(network.backbone, "full", size, views, "planted", earlier=earlier)
    return probes.mean_features(seen, network)


def scored(
    features: np.ndarray, table: pd.DataFrame, folder: Path, protocol: str = "grouped", metric: str = "auroc"
) -> Estimate:
    """What a probe reaches, out of fold, with its interval over knees; `table` is that of the synthetic set."""
    images = table[["image_id", "label", "conflict", "knee"]].assign(group=table["knee"])
    folds = splits.make_folds(images, protocol, 5, seed=0)
    parts = []
    for job in splits.fold_list(images.drop(columns="conflict"), folds, [protocol], [0]):
        probability, _ = probes.fit_probe(job, features, folder)
        rows = job.table.iloc[job.test]
        about = {"image_id": rows.image_id, "group": rows.group, "seed": 0, "y_true": rows.label}
        parts.append(pd.DataFrame(about).assign(y_prob=probability))
    return evaluation.summarise(pd.concat(parts), [metric], n_resamples=500, seed=0)[metric]


def bare(films: synthetic.PhantomSet) -> np.ndarray:
    return np.stack([film_views.without_bone(*both) for both in zip(films.images, films.masks, strict=True)])


def misses_chance(sets: list[synthetic.PhantomSet], network: weights.Weights, size: int, folder: Path) -> int:
    """In how many sets without signal the interval leaves out 0.5."""
    features = pooled(np.concatenate([films.images for films in sets]), network, size, folder)
    ends = np.cumsum([len(films.table) for films in sets])
    found = [scored(part, films.table, folder) for part, films in zip(np.split(features, ends[:-1]), sets, strict=True)]
    return sum(not one.low <= 0.5 <= one.high for one in found)


@pytest.fixture(scope="module")
def real() -> weights.Weights:
    return weights.imagenet("resnet50")


@pytest.mark.long
def test_without_signal_a_network_misses_chance_as_often_as_it_may(tmp_path) -> None:
    sets = [synthetic.draw(seed, 60, size=64, copies=0, signal=0) for seed in SEEDS]
    missed = misses_chance(sets, weights.random("resnet50", seed=5), 64, tmp_path)
    assert IN_TWENTY[0] <= missed <= IN_TWENTY[1]


@pytest.mark.long
def test_without_signal_the_real_network_misses_chance_as_often_as_it_may(real, tmp_path) -> None:
    sets = [synthetic.draw(seed, 60, size=224, copies=0, signal=0) for seed in SEEDS]
    missed = misses_chance(sets, real, 224, tmp_path)
    assert IN_TWENTY[0] <= missed <= IN_TWENTY[1]


@pytest.mark.long
def test_the_real_network_finds_the_more_the_more_signal_there_is(real, tmp_path) -> None:
    found = []
    for signal in (0.0, 0.7, 1.0):
        films = synthetic.draw(7, 160, size=512, copies=0, signal=signal)
        found.append(scored(pooled(films.images, real, 224, tmp_path), films.table, tmp_path).value)
    assert found[0] < found[1] < found[2]
    assert abs(found[0] - 0.5) < 0.12
    assert found[2] > 0.8


@pytest.mark.long
def test_a_planted_shortcut_is_read_without_the_bone(real, tmp_path) -> None:
    def without_bone(shortcut: float) -> Estimate:
        films = synthetic.draw(8, 120, size=256, copies=0, signal=0, shortcut=shortcut)
        return scored(pooled(bare(films), real, 224, tmp_path), films.table, tmp_path)

    assert without_bone(1.0).low > 0.8
    plain = without_bone(0.0)
    assert plain.low < 0.5 < plain.high


@pytest.mark.long
def test_planted_copies_flatter_the_real_network_by_file_alone(real, tmp_path) -> None:
    films = synthetic.draw(
        9, 80, size=256, copies=1.0, conflicts=0, signal=0, alterations=("exact", "jpeg", "brightness")
    )
    features = pooled(films.images, real, 224, tmp_path)
    by_file = scored(features, films.table, tmp_path, "by_file", "accuracy")
    grouped = scored(features, films.table, tmp_path, "grouped", "accuracy")
    assert by_file.low > 0.6
    assert grouped.low < 0.5 < grouped.high
