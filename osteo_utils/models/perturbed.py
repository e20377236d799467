"""A study's own films as other machines and hands would have made them, scored by the fits that do not know their knee."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.data.perturbations import PERTURBATIONS, perturbed
from osteo_utils.models import attention, guards, inputs, scoring
from osteo_utils.models.jobs import Fold, Recipe
from osteo_utils.models.weights import Weights
from osteo_utils.study import results

UNCHANGED = "unchanged"
# Fewest and most films; each goes through the trunk sixteen times.
FILMS = (16, 80)


def chosen_films(fitted: list[tuple[Fold, Path]], seed: int) -> np.ndarray:
    """Positions, in order, of films scored under `grouped` with the first split seed: a ninth of all, 16 to 80 of them.

    One film of a knee, as many knees of either class as there are in the smaller one, drawn by `seed`.
    """
    table = attention.first_grouped(fitted)[0][0].table
    scored = table[table.fold >= 0]
    knees = scored.sample(frac=1, random_state=seed).drop_duplicates("group").groupby("label")
    count = int(np.clip(len(table) // 9, *FILMS))
    each = min(count // 2, int(knees.size().min()))
    return np.sort(knees.head(each).index.to_numpy())


def squares(
    run: results.Run, films: pd.DataFrame, kind: str, strength: float, view: str, size: int
) -> np.ndarray:
    """Whole films under a perturbation as squares, uint8 (n, size, size). The place of the knee is that of the film unchanged."""
    change = partial(_changed, kind, strength, run.p.seed)
    if not PERTURBATIONS[kind].of_square:
        return inputs.changed_films(run, films, change, view, size)
    whole = inputs.square_films(run, films, "full", view, size)
    return np.stack([change(*each) for each in zip(whole, films.image_id, strict=True)])


def predict(
    run: results.Run, images: pd.DataFrame, fitted: list[tuple[Fold, Path]], weights: Weights
) -> dict[str, pd.DataFrame]:
    """Predictions of the chosen films by arm: `unchanged`, and `<kind>/<strength>` for every perturbation.

    `fitted` are the fits of the primary recipe on whole films. Each film is scored by the fit of `grouped` that left its
    knee out, as it is and without its mirror image, which would double the time.
    """
    positions = chosen_films(fitted, run.p.seed)
    films, recipe = images.iloc[positions], Recipe.from_parameters(run.p.primary_recipe, run.parameters)
    shape = recipe.view or run.p.view, run.p.image_size
    made = {UNCHANGED: inputs.square_films(run, films, "full", *shape)}
    for kind, one in PERTURBATIONS.items():
        made |= {f"{kind}/{s:g}": squares(run, films, kind, s, *shape) for s in one.strengths}
    seen = inputs.activations_of(
        run, [np.concatenate(list(made.values()))], "full", weights, recipe.cut, n_scored=1
    )
    logits_of = scoring.scorer(recipe.fine_tune, seen, weights)
    logits = np.full((len(made), len(films)), np.nan)
    folds = np.full(len(films), -1)
    jobs = attention.first_grouped(fitted)
    for job, folder in jobs:
        mine = np.flatnonzero(np.isin(positions, job.test))
        guards.check_apart(job, job.train, positions[mine])
        rows = mine + len(films) * np.arange(len(made))[:, None]
        logits[:, mine] = logits_of(folder, rows.ravel()).reshape(rows.shape)
        folds[mine] = job.fold
    about = {
        "image_id": films.image_id,
        "view": 0,
        "group": films.group,
        "y_true": films.label,
        "fold": folds,
    }
    arm = {"protocol": "grouped", "variant": "full", "seed": jobs[0][0].seed}
    columns = list(results.CONTRACTS["predictions"].columns)
    arms = {}
    for name, own in zip(made, logits, strict=True):
        probability = 1 / (1 + np.exp(-own))
        guards.check_probabilities(probability, f"{weights.backbone}, {name}")
        table = pd.DataFrame(about).assign(**arm, recipe=name, y_prob=probability)
        arms[name] = table[columns].reset_index(drop=True)
    return arms


def _changed(kind: str, strength: float, seed: int, pixels: np.ndarray, image_id: str) -> np.ndarray:
    return perturbed(pixels, kind, strength, image_id, seed)
