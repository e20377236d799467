"""Score other films with the fits of a study, those of an external set among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osteo_utils.audit import overlap
from osteo_utils.networks import guards, inputs, probes, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.statistics import calibration
from osteo_utils.study import results


def scorer(recipe: str, activations: Activations, weights: Weights) -> Callable[[Path, np.ndarray], np.ndarray]:
    """A function from the folder of a fit and positions (m,) to the logits, float64 (m,), of these films.

    They are means over the test views of `activations`, which are those of the recipe (`training.activations_for`).
    """
    if recipe == "none":
        pooled = probes.mean_features(activations, weights)

        def probe_logits(folder: Path, positions: np.ndarray) -> np.ndarray:
            coefficients, intercept = probes.load(folder)
            return pooled[positions].astype(np.float64) @ coefficients + intercept

        return probe_logits
    keras.utils.clear_session()
    tail = tails.untrained_tail(Recipe.named(recipe), activations.backbone, weights, activations.image_size)

    def tail_logits(folder: Path, positions: np.ndarray) -> np.ndarray:
        tail.load_weights(folder / tails.TAIL_FILE)
        return tails.mean_logits(tail, activations, positions)

    return tail_logits


def external_images(run: results.Run) -> tuple[pd.DataFrame, str]:
    """The external films to score (`overlap.to_score`), and a sentence on how many were left out and why.

    The table is empty without an external set, or where the films left are of one class.
    """
    manifest = run.read(run.paths.manifest, "manifest")
    audit = run.read(run.paths.audit, "audit")
    films = overlap.to_score(manifest, audit)
    total = int(((manifest.role == "external") & (manifest.status == "ok")).sum())
    if not total:
        return films, "no external set was given"
    about = (
        f"external set: {len(films)} of {total} usable films are left once those that show a knee or a patient of "
        "the study, or one knee under both labels, are taken out"
    )
    if films.label.nunique() < 2:
        return films.iloc[:0], f"{about}; nothing is scored, as that takes films of both classes"
    return films, about


def score_external(
    run: results.Run, films: pd.DataFrame, fits: dict[tuple[str, str], list[tuple[Fold, Path]]], weights: Weights
) -> pd.DataFrame:
    """Predictions of external films: per recipe and split seed, the mean logit of the `grouped` fits on whole films.

    `films` come from `external_images`, `fits` from `training.fit_study`. A `predictions` table with the protocol
    `external` and the fold -1; empty without films. Raises ValueError where a film's group is one of the study's.
    """
    if films.empty:
        return pd.DataFrame(columns=list(results.CONTRACTS["predictions"].columns))
    n_views = min(inputs.TEST_VIEWS, run.p.augmented_views)
    whole = inputs.trunk_views(run, films, weights.backbone, "full", weights, n_views)
    parts = []
    for (recipe, variant), fitted in fits.items():
        if variant != "full":
            continue
        grouped = [(fold, folder) for fold, folder in fitted if fold.protocol == "grouped"]
        settings = Recipe.from_parameters(recipe, run.parameters)
        activations = training.activations_for(settings, run, films, whole, weights)
        logits_of = scorer(recipe, activations, weights)
        for seed in dict.fromkeys(fold.seed for fold, _ in grouped):
            of_seed = [(fold, folder) for fold, folder in grouped if fold.seed == seed]
            check_apart(films, of_seed[0][0].table)
            logits = np.mean([logits_of(folder, np.arange(len(films))) for _, folder in of_seed], axis=0)
            probability = calibration.sigmoid(logits)
            guards.check_probabilities(probability, f"{weights.backbone} {recipe}, external set")
            arm = {"protocol": "external", "recipe": recipe, "variant": variant, "seed": seed}
            parts.append(splits.predictions(films, probability, arm | {"fold": splits.LEFT_OUT}))
    return pd.concat(parts, ignore_index=True)


def check_apart(films: pd.DataFrame, study: pd.DataFrame) -> None:
    """Raise ValueError where an external film has a group of the study; both tables have image_id and group."""
    shared = films[films.group.isin(study.group)]
    if len(shared):
        raise ValueError(
            f"{shared.image_id.iloc[0]} is in group {shared.group.iloc[0]}, which the study was fitted on; "
            "run 02_eda again, which tells the two sets apart"
        )
