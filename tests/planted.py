"""Folds, films and activations in which a few channels tell the classes apart, for the tests of tails and of training."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from osteo_utils.networks import backbones
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights

SIZE = 64
N = 24
RECIPE = Recipe("last_block", epochs=4, batch_size=4, learning_rate=1e-3, weight_decay=0.01, dropout=0.2)


def activations_of(backbone: str) -> Activations:
    """Two views of N images, half of each class, with 256 channels that are larger in one class."""
    shape = backbones.output_shape(backbone, "last_block", SIZE)
    rng = np.random.default_rng(0)
    views = []
    for _ in range(2):
        values = rng.random((N, *shape), np.float32)
        values[N // 2 :, ..., :256] += 2.0
        views.append(values.astype(np.float16))
    return Activations(backbone, "full", SIZE, tuple(views), "planted")


def table(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": [f"c/{n:02d}.png" for n in range(N)], "label": [0] * (N // 2) + [1] * (N // 2)})
    frame["group"] = frame["knee"] = np.arange(N)
    frame["fold"] = np.arange(N) % 2
    return frame.assign(**columns)


def fold_of(number: int = 0, **columns: object) -> Fold:
    """Fold `number` of two; `columns` replace those of `table`."""
    return Fold("grouped", 0, number, table(**columns))


def fixtures(backbone: str) -> tuple[Callable[[], weights.Weights], Callable[[], Activations]]:
    """The fixtures `pretrained` and `activations` of a file that trains one backbone."""

    @pytest.fixture(scope="module")
    def pretrained() -> weights.Weights:
        return weights.random(backbone, seed=1)

    @pytest.fixture(scope="module")
    def activations() -> Activations:
        return activations_of(backbone)

    return pretrained, activations
