"""What the square and the depth do to a probe: the ablation behind a study's settings.

Every arm is the same probe on the same films, folds and seeds, and differs from the reference in one thing. Nothing is
chosen here: the settings were fixed beforehand, and the arms show what others would have given.
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

KNEES_APART = ("grouped", "grouped_all")


def predict(
    run: results.Run, images: pd.DataFrame, folds: pd.DataFrame, given: Activations, weights: Weights
) -> dict[str, dict[str, pd.DataFrame]]:
    """Out-of-fold predictions by protocol (those of KNEES_APART that the study has) and arm, for the split seeds
    on which networks are trained.

    `given` are the activations of whole films in the study's own view. The arms: that view without its mirror image
    (the reference, under the view's name), with it (`…-mirrored`, what the study's probe sees), one depth alone
    (`…-earlier`, `…-cut`, `…-end`), each of `compared_views`, and `averaged`, the mean probability over all views.
    """
    seeds = run.p.split_seeds[: run.p.trained_seeds]
    wanted = {
        protocol: splits.fold_list(images, folds, [protocol], seeds)
        for protocol in run.p.protocols
        if protocol in KNEES_APART
    }
    found: dict[str, dict[str, pd.DataFrame]] = {protocol: {} for protocol in wanted}
    for name, pooled in _features(run, images, given, weights):
        for protocol, dealt in wanted.items():
            found[protocol][name] = _probed(dealt, pooled, name)
    for arms in found.values():
        views = [arms[name] for name in (run.p.view, *run.p.compared_views)]
        if len(views) > 1:
            mean = np.mean([arm.y_prob for arm in views], axis=0)
            arms["averaged"] = views[0].assign(y_prob=mean, recipe="averaged")
    return found


def _features(
    run: results.Run, images: pd.DataFrame, given: Activations, weights: Weights
) -> Iterator[tuple[str, np.ndarray]]:
    """Each arm with the pooled features of every film, float32 (n, channels); one square's at a time are in memory."""
    own = run.p.view
    pooled = probes.pooled_features(given, weights, 0)
    yield own, pooled
    for depth, part in probes.depths(given).items():
        yield f"{own}-{depth}", pooled[:, part]
    if len(given.test_views) > 1:
        yield f"{own}-mirrored", probes.mean_features(given, weights)
    for view in run.p.compared_views:
        seen = inputs.trunk_views(run, images, given.backbone, "full", weights, 1, given.cut, view)
        yield view, probes.pooled_features(seen, weights, 0)


def _probed(wanted: list[Fold], pooled: np.ndarray, name: str) -> pd.DataFrame:
    """A `predictions` table of one arm, its name as the recipe."""
    parts = []
    for one in wanted:
        guards.check_apart(one, one.train, one.test)
        probability, _ = probes.fit_probe(one, pooled)
        parts.append(one.scored(probability).assign(**one.arm(name, "full")))
    predictions = pd.concat(parts, ignore_index=True)
    results.check_table(predictions, "predictions", f"ablation, {name}")
    guards.check_out_of_fold(predictions, wanted)
    return predictions
