"""What kept fits make of films that they were not fitted on, those of an external set among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osteo_utils.audit import overlap
from osteo_utils.networks import backbones, guards, inputs, probes, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe, as_in_paper
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.study import results

# As the room `tails` writes it; loading it into a tail that stands already is many times faster than a new one.
TAIL_FILE = "tail.weights.h5"

Scorer = Callable[[Path, np.ndarray], np.ndarray]
EXTERNAL = "external"
NO_FOLD = -1
COLUMNS = list(results.CONTRACTS["predictions"].columns)


def scorer(recipe: str, activations: Activations, weights: Weights) -> Scorer:
    """From the folder of a fit and positions (m,) to the logits, float64 (m,), of these films.

    They are means over the test views of `activations`, which are those that the recipe learns from.
    """
    if recipe == "none":
        pooled = probes.mean_features(activations, weights)

        def probe_logits(folder: Path, positions: np.ndarray) -> np.ndarray:
            with np.load(folder / "probe.npz") as probe:
                return pooled[positions].astype(np.float64) @ probe["coefficients"] + probe["intercept"]

        return probe_logits
    keras.utils.clear_session()
    as_fitted = as_in_paper() if recipe == "paper" else Recipe(recipe)
    tail = tails.untrained_tail(as_fitted, activations.backbone, weights, activations.image_size)

    def tail_logits(folder: Path, positions: np.ndarray) -> np.ndarray:
        tail.load_weights(folder / TAIL_FILE)
        logits = [backbones.outputs(tail, view, chosen=positions)[:, 0] for view in activations.test_views]
        return np.mean(logits, axis=0).astype(np.float64)

    return tail_logits


def predictions_of(films: pd.DataFrame, logits: np.ndarray, name: str, **arm: object) -> pd.DataFrame:
    """A `predictions` table of films (image_id, group, label) with these logits (n,); `arm` are its other columns.

    Raises RuntimeError, with `name`, where the probabilities are not finite or all the same.
    """
    probability = 1.0 / (1.0 + np.exp(-logits))
    guards.check_probabilities(probability, name)
    about = {"image_id": films.image_id, "view": 0, "group": films.group, "y_true": films.label}
    return pd.DataFrame(about).assign(**arm, y_prob=probability)[COLUMNS].reset_index(drop=True)


def external_images(run: results.Run) -> tuple[pd.DataFrame, str]:
    """The external films to be scored, as `overlap.to_score` gives them, and a sentence that says what became of all.

    No film is left where there is no external set, or where films of one class alone are left.
    """
    manifest = run.read(run.paths.manifest, "manifest")
    audit = run.read(run.paths.audit, "audit")
    films = overlap.to_score(manifest, audit)
    given = int(((manifest.role == "external") & (manifest.status == "ok")).sum())
    if not given:
        return films, "no external set was given"
    said = (
        f"external set: {len(films)} of {given} usable films are left once those that show a knee or a patient of "
        "the study, or one knee under both labels, are taken out"
    )
    if films.label.nunique() < 2:
        return films.iloc[:0], f"{said}; nothing is scored, as that takes films of both classes"
    return films, said


def score_external(
    run: results.Run, films: pd.DataFrame, fits: dict[tuple[str, str], list[tuple[Fold, Path]]], weights: Weights
) -> pd.DataFrame:
    """Predictions of external films: per recipe and split seed, the mean logit of the `grouped` fits on whole films.

    `films` as `external_images` gives them, `fits` as `training.fit_study`. A `predictions` table with the protocol
    `external` and the fold -1; empty without films. Each film is seen as a scored film of the study is: in the same
    test views, their logits averaged. Raises ValueError where a film's group is one of the study's.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    if films.empty:
        return parts[0]
    views, every = min(inputs.TEST_VIEWS, run.p.augmented_views), np.arange(len(films))
    activations = inputs.trunk_views(run, films, weights.backbone, "full", weights, views)
    for (recipe, variant), fitted in fits.items():
        if variant != "full":
            continue
        settings = Recipe.from_parameters(recipe, run.parameters)
        logits_of = scorer(recipe, training.seen_by(settings, run, films, activations, weights), weights)
        by_seed: dict[int, list[Path]] = {}
        for fold, folder in fitted:
            if fold.protocol == "grouped":
                check_apart(films, fold.table)
                by_seed.setdefault(fold.seed, []).append(folder)
        for seed, folders in by_seed.items():
            logits = np.mean([logits_of(folder, every) for folder in folders], axis=0)
            arm = {"protocol": EXTERNAL, "recipe": recipe, "variant": variant, "seed": seed, "fold": NO_FOLD}
            parts.append(predictions_of(films, logits, f"{weights.backbone} {recipe}, external set", **arm))
    return pd.concat(parts[1:], ignore_index=True)


def check_apart(films: pd.DataFrame, studied: pd.DataFrame) -> None:
    """Raise ValueError where an external film has a group of the study; both tables have image_id and group."""
    shared = films[films.group.isin(studied.group)]
    if len(shared):
        raise ValueError(
            f"{shared.image_id.iloc[0]} is in group {shared.group.iloc[0]}, which the study was fitted on; "
            "run 02_eda again, which tells the two sets apart"
        )
