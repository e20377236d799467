"""A program for `test_determinism`: fits two folds of a made-up set, and may be killed in the second.

Called as `fit_small_study.py FOLDER [kill]`; every fit goes to a folder of its own below FOLDER.
"""

import os
import signal
import sys
from pathlib import Path

from osteo_utils.networks import backbones, guards, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.study import runtime

runtime.prepare(3, threads=2)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

SIZE, N = 32, 16
SHARED = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "dropout": 0.3}
# Without an inner split every batch of the whole network has four films, which spares two compilations.
RECIPES = (
    Recipe("last_block", inner_validation=0.25, **SHARED),
    Recipe("none"),
    Recipe("all", layer_decay=0.4, **SHARED),
)


def kill_in_the_second_fold() -> None:
    calls = []
    real = guards.check_moved

    def check_moved(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    guards.check_moved = check_moved


def main(folder: Path) -> None:
    table = pd.DataFrame({"image_id": [f"c/{n:02d}.png" for n in range(N)], "label": [0, 1] * (N // 2)})
    table = table.assign(group=np.arange(N) // 2 * 2 + table.label, fold=np.arange(N) // 2 % 2)
    folds = [Fold("grouped", 0, fold, table) for fold in range(2)]
    pretrained = weights.random("vgg16", 1)
    random = np.random.default_rng(0)
    films = random.integers(0, 256, (2, N, SIZE, SIZE), dtype=np.uint8)
    films[:, table.label == 1, :16] //= 2
    shape = backbones.output_shape("vgg16", "last_block", SIZE)
    cached = random.random((2, N, *shape)).astype(np.float16)
    cached[:, table.label == 1, ..., :100] += 1
    for recipe in RECIPES:
        views = films if recipe.cut == "all" else cached
        given = Activations("vgg16", "full", SIZE, tuple(views), f"made up, {recipe.cut}", recipe.cut)
        training.fit_missing(folds, recipe, given, pretrained, folder)


if __name__ == "__main__":
    if sys.argv[2:] == ["kill"]:
        kill_in_the_second_fold()
    main(Path(sys.argv[1]))
