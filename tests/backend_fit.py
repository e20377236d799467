"""A small fit and its predictions on whatever backend KERAS_BACKEND names, for test_backends.

    python backend_fit.py FOLDER

runs it on a backend other than that of the tests. Writes what both networks make of the same films with the weights in
FOLDER/common, which the first backend to come leaves there for the others, and what a fit of its own comes to.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osteo_utils.interpretation import activation_maps
from osteo_utils.networks import backbones, scoring, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights

SIZE, N = 64, 12


def main(folder: Path) -> None:
    backend = keras.backend.backend()
    films = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE)).astype(np.uint8)
    films[N // 2 :, :, : SIZE // 2] //= 2
    table = pd.DataFrame({"image_id": [str(n) for n in range(N)], "label": [0] * (N // 2) + [1] * (N // 2)})
    job = Fold("grouped", 0, 0, table.assign(group=range(N), fold=np.arange(N) % 2))
    # Random networks give large activations, on which larger steps would run away on any backend.
    recipe = Recipe("last_block", epochs=6, batch_size=6, learning_rate=1e-5, weight_decay=0.01)
    found = {"backend": backend}
    for name in ("vgg16", "resnet50"):
        pretrained = weights.random(name, seed=4)
        trunk = backbones.trunk(name, pretrained, SIZE)
        views = [backbones.outputs(trunk, backbones.preprocess(view)) for view in (films, films[:, :, ::-1])]
        seen = Activations(name, "full", SIZE, tuple(view.astype(np.float16) for view in views), "films")
        common = folder / "common" / name
        if not common.exists():
            common.mkdir(parents=True)
            backbones.tail(name, pretrained, seed=1, image_size=SIZE).save_weights(common / tails.TAIL_FILE)
        logits, maps = activation_maps.evidence("last_block", [common], seen, pretrained)
        tail = tails.fitted_tail(common, name, pretrained, SIZE)
        scored = backbones.outputs(tail, seen.views[0])[:, 0]
        found[name] = {
            "trunk": views[0].mean(axis=(1, 2)).tolist(),
            "probability": (1 / (1 + np.exp(-scored))).tolist(),
            "external": scoring.scorer("last_block", seen, pretrained)(common, np.arange(N)).tolist(),
            "logits": logits[0].tolist(),
            "map": maps[0, 0].tolist(),
        }
    # One fit is enough to see that a backend learns; the network with batch normalisation is the harder one.
    (own,) = training.fit_missing([job], recipe, seen, pretrained, folder / backend)
    predictions, history = training.gather([own])
    tail = tails.fitted_tail(own, name, pretrained, SIZE)
    logits = np.mean([backbones.outputs(tail, view)[job.test, 0] for view in seen.views], axis=0)
    found["fit"] = {"loss": history.loss.tolist(), "kept": predictions.y_prob.tolist()}
    found["fit"]["again"] = (1 / (1 + np.exp(-logits))).tolist()
    (folder / f"{backend}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
