"""A whole network fitted once, by one device or spread over several; run as a process of its own by test_backends.

    python spread_fit.py FOLDER

KERAS_BACKEND, OSTEO_SHARE and XLA_FLAGS say how; the fit is kept in FOLDER.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.networks import training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights

SIZE, N = 64, 14


def main(folder: Path) -> None:
    films = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE)).astype(np.uint8)
    films[N // 2 :, :, : SIZE // 2] //= 2
    label = np.arange(N) // (N // 2)
    table = pd.DataFrame({"image_id": [str(n) for n in range(N)], "label": label, "group": range(N)})
    job = Fold("grouped", 0, 0, table.assign(fold=np.arange(N) % 2))
    # Seven training films in batches of four: the last batch cannot be halved.
    recipe = Recipe("all", epochs=2, batch_size=4, learning_rate=1e-5, class_weight="balanced")
    seen = Activations("vgg16", "drawn", SIZE, (films, films[:, :, ::-1]), "films", cut="all")
    training.fit_missing([job], recipe, seen, weights.random("vgg16", seed=4), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
