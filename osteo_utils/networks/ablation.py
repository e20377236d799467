"""Ablation of square and depth: the same probe on the same films, folds and seeds, with one difference in each arm.

Nothing is chosen here: the study's settings were fixed beforehand, and the arms show what others would have given.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from osteo_utils.networks import guards, inputs, probes
from osteo_utils.networks.inputs import Activations
from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.study import results

GROUPED = ("grouped", "grouped_all")


def predict(
    run: results.Run, images: pd.DataFrame, folds: pd.DataFrame, given: Activations, weights: Weights
) -> dict[str, dict[str, pd.DataFrame]]:
    """Out-of-fold predictions by protocol (those of GROUPED in the study) and arm, for the first `trained_seeds`.

    `given` are the activations of whole films in the study's own view. The arms: that view without its mirror image
    (the reference, named after the view), with it (`…-mirrored`, the study's probe), one depth alone (`…-earlier`,
    `…-cut`, `…-end`), each of `compared_views`, and `averaged`, the mean probability over all views.
    """
    seeds = run.p.split_seeds[: run.p.trained_seeds]
    protocols = [protocol for protocol in run.p.protocols if protocol in GROUPED]
    by_protocol = {protocol: splits.fold_list(images, folds, [protocol], seeds) for protocol in protocols}
    found: dict[str, dict[str, pd.DataFrame]] = {protocol: {} for protocol in protocols}
    for name, pooled in _features(run, images, given, weights):
        for protocol, of_protocol in by_protocol.items():
            found[protocol][name] = _predict_arm(of_protocol, pooled, name)
    for arms in found.values():
        views = [arms[name] for name in (run.p.view, *run.p.compared_views)]
        if len(views) > 1:
            mean = np.mean([arm.y_prob for arm in views], axis=0)
            arms["averaged"] = views[0].assign(y_prob=mean, recipe="averaged")
    return found


def _features(
    run: results.Run, images: pd.DataFrame, given: Activations, weights: Weights
) -> Iterator[tuple[str, np.ndarray]]:
    """Each arm with the pooled features of every film, float32 (n, channels); one view is in memory at a time."""
    own = run.p.view
    pooled = probes.pooled_features(given, weights, 0)
    yield own, pooled
    for depth, part in probes.depths(given).items():
        yield f"{own}-{depth}", pooled[:, part]
    if len(given.test_views) > 1:
        yield f"{own}-mirrored", probes.mean_features(given, weights)
    for view in run.p.compared_views:
        other = inputs.trunk_views(run, images, given.backbone, "full", weights, 1, given.cut, view)
        yield view, probes.pooled_features(other, weights, 0)


def _predict_arm(folds: list[Fold], pooled: np.ndarray, name: str) -> pd.DataFrame:
    """A `predictions` table of one arm, its name as the recipe."""
    parts = []
    for fold in folds:
        guards.check_apart(fold, fold.train, fold.test)
        probability, _ = probes.fit_probe(fold, pooled)
        parts.append(splits.predictions(fold.table.iloc[fold.test], probability, fold.arm(name, "full")))
    predictions = pd.concat(parts, ignore_index=True)
    results.check_table(predictions, "predictions", f"ablation, {name}")
    guards.check_out_of_fold(predictions, folds)
    return predictions
