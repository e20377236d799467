"""An external set, scored by the models that the study has fitted: nothing is fitted or chosen on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.data import overlap
from osteo_utils.models import guards, inputs, scoring, training
from osteo_utils.models.jobs import Fold, Recipe
from osteo_utils.models.weights import Weights
from osteo_utils.study import results

PROTOCOL = "external"
NO_FOLD = -1
COLUMNS = results.CONTRACTS["predictions"].columns


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


def score(
    run: results.Run,
    films: pd.DataFrame,
    fits: dict[tuple[str, str], list[tuple[Fold, Path]]],
    weights: Weights,
) -> pd.DataFrame:
    """Predictions of external films: per recipe and split seed, the mean logit of the `grouped` fits on whole films.

    `films` as `external_images` gives them, `fits` as `training.fit_study`. A `predictions` table with the protocol
    `external` and the fold -1; empty without films. Each film is seen as a scored film of the study is: in the same
    test views, their logits averaged. Raises ValueError where a film's group is one of the study's.
    """
    parts = [pd.DataFrame(columns=list(COLUMNS))]
    if films.empty:
        return parts[0]
    n_views = min(inputs.TEST_VIEWS, run.p.augmented_views)
    activations = inputs.trunk_views(run, films, weights.backbone, "full", weights, n_views)
    for (recipe, variant), fitted in fits.items():
        if variant != "full":
            continue
        honest = [(job, folder) for job, folder in fitted if job.protocol == "grouped"]
        settings = Recipe.from_parameters(recipe, run.parameters)
        seen = training.seen_by(settings, run, films, activations, weights)
        logits_of = scoring.scorer(recipe, seen, weights)
        for seed in dict.fromkeys(job.seed for job, _ in honest):
            mine = [(job, folder) for job, folder in honest if job.seed == seed]
            for job, _ in mine:
                check_apart(films, job.table)
            every = np.arange(len(films))
            logits = np.mean([logits_of(folder, every) for _, folder in mine], axis=0)
            probability = 1.0 / (1.0 + np.exp(-logits))
            guards.check_probabilities(probability, f"{weights.backbone} {recipe}, external set")
            about = {"image_id": films.image_id, "view": 0, "group": films.group, "y_true": films.label}
            arm = {"protocol": PROTOCOL, "recipe": recipe, "variant": variant, "seed": seed, "fold": NO_FOLD}
            parts.append(pd.DataFrame(about).assign(**arm, y_prob=probability)[list(COLUMNS)])
    return pd.concat(parts[1:], ignore_index=True)


def check_apart(films: pd.DataFrame, studied: pd.DataFrame) -> None:
    """Raise ValueError where an external film has a group of the study; both tables have image_id and group."""
    shared = films[films.group.isin(studied.group)]
    if len(shared):
        raise ValueError(
            f"{shared.image_id.iloc[0]} is in group {shared.group.iloc[0]}, which the study was fitted on; "
            "run 02_eda again, which tells the two sets apart"
        )
