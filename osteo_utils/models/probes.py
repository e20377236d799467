"""Logistic regression on pooled activations: what a backbone knows before it is trained any further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from osteo_utils.models import backbones
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Fold
from osteo_utils.models.weights import Weights

PROBE_STRENGTHS = tuple(10.0**power for power in range(-5, 1))
INNER_FOLDS = 4


def pooled_features(activations: Activations, weights: Weights, view: int) -> np.ndarray:
    """Spatial mean of each channel at the ends of the earlier stages, at the cut and at the end: float32 (n, channels).

    The end is that of the untouched tail; `depths` says which channels come from where.
    """
    earlier = activations.earlier[view : view + 1]
    at_cut = backbones.channel_means(activations.views[view])
    tail = backbones.tail(activations.backbone, weights, image_size=activations.image_size)
    at_end = backbones.outputs(backbones.features(tail), activations.views[view])
    return np.concatenate([*earlier, at_cut, at_end], axis=1)


def mean_features(activations: Activations, weights: Weights) -> np.ndarray:
    """The mean of `pooled_features` over the views that are scored: what a study's probe sees, float32 (n, channels)."""
    mean = pooled_features(activations, weights, 0)
    for view in range(1, len(activations.test_views)):
        mean += pooled_features(activations, weights, view)
    mean /= len(activations.test_views)
    return mean


def depths(activations: Activations) -> dict[str, slice]:
    """Which columns of `pooled_features` come from the earlier stages, from the cut and from the end."""
    earlier = activations.earlier[0].shape[1] if activations.earlier else 0
    cut = earlier + activations.views[0].shape[-1]
    return {"earlier": slice(0, earlier), "cut": slice(earlier, cut), "end": slice(cut, None)}


def fit_probe(job: Fold, pooled: np.ndarray, folder: Path | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Logistic regression on pooled features, its penalty chosen by inner folds of the training images.

    Returns the probability of each scored image and a row of `history`. With `folder` the fit is kept there, as
    `probe.npz`. Raises ValueError where a class has too few groups for the inner folds.
    """
    scaler = StandardScaler().fit(pooled[job.train])
    scaled = scaler.transform(pooled).astype(np.float64)
    labels, train = job.labels, job.train
    # A rotation onto the training images changes nothing for an L2 penalty, and makes the fit small where they are few.
    axes = _principal_axes(scaled[train]) if len(train) < scaled.shape[1] else None
    rotated = scaled if axes is None else scaled @ axes.T
    inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=job.seed)
    splits = list(inner.split(train, labels[train], job.inner_groups[train]))
    if any(len(set(labels[train[learn]])) < 2 for learn, _ in splits):
        raise ValueError(
            f"{job.protocol}, seed {job.seed}, fold {job.fold}: the training images hold too few knees of one class for "
            f"{INNER_FOLDS} inner folds; add films of it, or leave the recipe 'none' out"
        )
    model = LogisticRegressionCV(
        Cs=PROBE_STRENGTHS,
        l1_ratios=(0,),
        cv=splits,
        scoring="neg_log_loss",
        max_iter=2000,
        use_legacy_attributes=False,
    ).fit(rotated[train], labels[train])
    coefficients = (model.coef_ if axes is None else model.coef_ @ axes)[0] / scaler.scale_
    intercept = model.intercept_[0] - coefficients @ scaler.mean_
    if folder:
        np.savez(folder / "probe.npz", coefficients=coefficients, intercept=intercept, strength=model.C_)
    probability = model.predict_proba(rotated[job.test])[:, 1]
    reached = {
        "loss": -float(model.scores_.mean(axis=0).max()),
        "accuracy": model.score(rotated[train], labels[train]),
        "val_loss": float(-np.mean(np.log(np.where(labels[job.test] == 1, probability, 1 - probability)))),
        "val_accuracy": float(np.mean((probability >= 0.5) == labels[job.test])),
    }
    return probability, pd.DataFrame([{"epoch": 0, **reached, "seconds": 0.0}])


def _principal_axes(scaled: np.ndarray) -> np.ndarray:
    """Orthonormal rows that span those of `scaled` (n, channels), from the n by n matrix of their products."""
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    kept = values > 1e-10 * values[-1]
    return (vectors[:, kept].T @ scaled) / np.sqrt(values[kept])[:, None]
