"""Logistic regression on pooled activations: what a backbone knows before it is trained any further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from osteo_utils.models import backbones
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Fold
from osteo_utils.models.weights import Weights

PROBE_STRENGTHS = tuple(10.0**power for power in range(-5, 1))
INNER_FOLDS = 4


def pooled_features(activations: Activations, weights: Weights, view: int) -> np.ndarray:
    """Spatial mean of each channel at the cut and at the end of the untouched tail: float32 (n, channels)."""
    at_cut = np.stack([row.mean((0, 1), dtype=np.float32) for row in activations.views[view]])
    tail = backbones.tail(activations.backbone, weights, image_size=activations.image_size)
    at_end = backbones.outputs(backbones.features(tail), activations.views[view])
    return np.concatenate([at_cut, at_end], axis=1)


def fit_probe(job: Fold, pooled: np.ndarray, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Logistic regression on pooled features, its penalty chosen by inner folds of the training images."""
    scaler = StandardScaler().fit(pooled[job.train])
    # A rotation onto the training images changes nothing for an L2 penalty and makes the fit small.
    _, _, axes = np.linalg.svd(scaler.transform(pooled[job.train]), full_matrices=False)
    rotated = scaler.transform(pooled) @ axes.T
    labels, train = job.labels, job.train
    inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=job.seed)
    scores = {}
    for strength in PROBE_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000)
        fold_scores = cross_val_score(
            model,
            rotated[train],
            labels[train],
            groups=job.inner_groups[train],
            cv=inner,
            scoring="neg_log_loss",
        )
        scores[strength] = float(fold_scores.mean())
    best = max(scores, key=scores.get)
    model = LogisticRegression(C=best, max_iter=2000).fit(rotated[train], labels[train])
    coefficients = (model.coef_ @ axes)[0] / scaler.scale_
    intercept = model.intercept_[0] - coefficients @ scaler.mean_
    np.savez(folder / "probe.npz", coefficients=coefficients, intercept=intercept, strength=best)
    probability = model.predict_proba(rotated[job.test])[:, 1]
    reached = {
        "loss": -scores[best],
        "accuracy": model.score(rotated[train], labels[train]),
        "val_loss": float(-np.mean(np.log(np.where(labels[job.test] == 1, probability, 1 - probability)))),
        "val_accuracy": float(np.mean((probability >= 0.5) == labels[job.test])),
    }
    return probability, pd.DataFrame([{"epoch": 0, **reached, "seconds": 0.0}])
