"""Probes: logistic regression on pooled activations of a backbone that is not trained any further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from osteo_utils.networks import trunk_cache
from osteo_utils.networks.inputs import Activations
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.study import resources

PROBE_STRENGTHS = tuple(10.0**power for power in range(-5, 1))
INNER_FOLDS = 4
PROBE_FILE = "probe.npz"
# Training images; with more, the rotation costs more than it saves.
MOST_ROTATED = 2000
BLOCK = 1024


def pooled_features(activations: Activations, weights: Weights, view: int) -> np.ndarray:
    """Spatial mean of each channel at the ends of the earlier stages, at the cut and at the end: float32 (n, channels).

    The end is that of the pretrained tail; `depths` gives the channels of each depth.
    """
    stored = activations.views[view]
    end = trunk_cache.end_means(stored, activations.backbone, weights, activations.image_size)
    earlier, at_cut, at_end = depths(activations).values()
    pooled = resources.array((len(stored), at_cut.stop + end.shape[1]), np.float32)
    if activations.earlier:
        pooled[:, earlier] = activations.earlier[view]
    pooled[:, at_cut] = trunk_cache.channel_means(stored)
    pooled[:, at_end] = end
    return pooled


def mean_features(activations: Activations, weights: Weights) -> np.ndarray:
    """The input of a study's probe: the mean of `pooled_features` over the scored views, float32 (n, channels)."""
    mean = pooled_features(activations, weights, 0)
    for view in range(1, len(activations.test_views)):
        mean += pooled_features(activations, weights, view)
    mean /= len(activations.test_views)
    return mean


def depths(activations: Activations) -> dict[str, slice]:
    """The columns of `pooled_features` from the earlier stages, from the cut and from the end."""
    earlier = activations.earlier[0].shape[1] if activations.earlier else 0
    cut = earlier + activations.views[0].shape[-1]
    return {"earlier": slice(0, earlier), "cut": slice(earlier, cut), "end": slice(cut, None)}


def fit_probe(fold: Fold, pooled: np.ndarray, folder: Path | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Logistic regression on pooled features; inner folds of the training images choose the penalty.

    Returns the probability of each scored image and a row of `history`. With `folder` the fit is saved there.
    Raises ValueError where a class has too few groups for the inner folds.
    """
    train, labels = fold.train, fold.labels
    scaler = StandardScaler()
    for part in gen_batches(len(train), BLOCK):
        scaler.partial_fit(pooled[train[part]])
    features, scored, axes = _standardised(pooled, train, fold.test, scaler)
    inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=fold.seed)
    splits = list(inner.split(train, labels[train], fold.inner_groups[train]))
    if any(len(set(labels[train[learn]])) < 2 for learn, _ in splits):
        raise ValueError(
            f"{fold.protocol}, seed {fold.seed}, fold {fold.number}: the training images hold too few knees of one class for "
            f"{INNER_FOLDS} inner folds; add films of it, or leave the recipe 'none' out"
        )
    losses = np.mean([_held_losses(features, labels[train], *split) for split in splits], axis=0)
    strength = PROBE_STRENGTHS[int(losses.argmin())]
    model = _regression(strength).fit(features, labels[train])
    coefficients = (model.coef_ if axes is None else model.coef_ @ axes)[0] / scaler.scale_
    intercept = model.intercept_[0] - coefficients @ scaler.mean_
    if folder:
        np.savez(folder / PROBE_FILE, coefficients=coefficients, intercept=intercept, strength=strength)
    logits = _logits(model, scored)
    reached = {
        "loss": float(losses.min()),
        "accuracy": float(np.mean((_logits(model, features) > 0) == (labels[train] == 1))),
        "val_loss": float(_log_losses(logits, labels[fold.test]).mean()),
        "val_accuracy": float(np.mean((logits >= 0) == (labels[fold.test] == 1))),
    }
    return expit(logits), pd.DataFrame([{"epoch": 0, **reached, "seconds": 0.0}])


def load(folder: Path) -> tuple[np.ndarray, float]:
    """Coefficients (channels,) and intercept of a saved fit, for features that are not standardised."""
    with np.load(folder / PROBE_FILE) as probe:
        return probe["coefficients"], float(probe["intercept"])


def _standardised(
    pooled: np.ndarray, train: np.ndarray, test: np.ndarray, scaler: StandardScaler
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scaled features of training and scored images, float64 (n, k), and their rotation (k, channels), if any.

    A rotation onto the span of the training images changes nothing under an L2 penalty and makes the fit small where
    they are few. Without one k is the number of channels, and the features lie where `resources.array` puts them.
    """
    if len(train) < min(pooled.shape[1], MOST_ROTATED):
        scaled = scaler.transform(pooled[train]).astype(np.float64)
        axes = _principal_axes(scaled)
        return scaled @ axes.T, scaler.transform(pooled[test]).astype(np.float64) @ axes.T, axes
    found = []
    for positions in (train, test):
        scaled = resources.array((len(positions), pooled.shape[1]), np.float64)
        for part in gen_batches(len(positions), BLOCK):
            scaled[part] = scaler.transform(pooled[positions[part]])
        found.append(scaled)
    return found[0], found[1], None


def _regression(strength: float) -> LogisticRegression:
    # At scikit-learn's own tolerance, 1e-4, the probability of a synthetic film was off by 0.025.
    return LogisticRegression(C=strength, tol=1e-6, max_iter=2000, warm_start=True)


def _held_losses(features: np.ndarray, labels: np.ndarray, learn: np.ndarray, held: np.ndarray) -> list[float]:
    """Mean log loss of the rows `held`, for each of PROBE_STRENGTHS fitted on the rows `learn`.

    Weights select the rows: indexing would copy the features for every inner fold.
    """
    weight = np.zeros(len(labels))
    weight[learn] = 1
    model, losses = _regression(PROBE_STRENGTHS[0]), []
    for strength in PROBE_STRENGTHS:
        model.set_params(C=strength).fit(features, labels, sample_weight=weight)
        losses.append(float(_log_losses(_logits(model, features), labels)[held].mean()))
    return losses


def _logits(model: LogisticRegression, features: np.ndarray) -> np.ndarray:
    return features @ model.coef_[0] + model.intercept_[0]


def _log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, np.where(labels == 1, -logits, logits))


def _principal_axes(scaled: np.ndarray) -> np.ndarray:
    """Orthonormal rows that span those of `scaled` (n, channels), from its Gram matrix (n, n)."""
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    kept = values > 1e-10 * values[-1]
    return (vectors[:, kept].T @ scaled) / np.sqrt(values[kept])[:, None]
