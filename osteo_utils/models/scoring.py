"""What a kept fit makes of films whose activations are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from osteo_utils.models import backbones, probes, tails
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Recipe, as_in_paper
from osteo_utils.models.weights import Weights

# As the room `tails` writes it; loading it into a tail that stands already is many times faster than a new one.
TAIL_FILE = "tail.weights.h5"

Scorer = Callable[[Path, np.ndarray], np.ndarray]


def scorer(recipe: str, activations: Activations, weights: Weights) -> Scorer:
    """From the folder of a fit and positions (m,) to the logits, float64 (m,), of these films.

    They are means over the test views of `activations`, which are those that the recipe learns from.
    """
    if recipe == "none":
        pooled = probes.mean_features(activations, weights)
        return lambda folder, positions: _probe_logits(folder, pooled[positions])
    keras.utils.clear_session()
    as_fitted = as_in_paper() if recipe == "paper" else Recipe(recipe)
    tail = tails.untrained_tail(as_fitted, activations.backbone, weights, activations.image_size)

    def tail_logits(folder: Path, positions: np.ndarray) -> np.ndarray:
        tail.load_weights(folder / TAIL_FILE)
        logits = [backbones.outputs(tail, view, chosen=positions)[:, 0] for view in activations.test_views]
        return np.mean(logits, axis=0).astype(np.float64)

    return tail_logits


def _probe_logits(folder: Path, pooled: np.ndarray) -> np.ndarray:
    with np.load(folder / "probe.npz") as probe:
        return pooled.astype(np.float64) @ probe["coefficients"] + probe["intercept"]
