"""Robustness to perturbations of a film: blur, noise, exposure, crop, compression.

Perturbed films of a study are scored by the fits that left their knee out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from osteo_utils.interpretation import activation_maps
from osteo_utils.networks import guards, inputs, scoring
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.statistics import calibration, comparisons, metrics
from osteo_utils.study import results, runtime

UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Perturbation:
    """`change` takes grey pixels uint8 (h, w), a strength and a generator, and returns uint8 (h, w).

    `strengths` go from mild to strong, in the `unit`. The change is made to the stored film, whose longer side has 512
    pixels, or with `of_square` to the square that is cut from it.
    """

    unit: str
    strengths: tuple[float, float, float]
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    of_square: bool = False


def blurred(film: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian blur of `sigma` pixels: movement, a larger focal spot, a coarser screen."""
    return _grey(ndimage.gaussian_filter(film.astype(np.float32), sigma, mode="nearest"))


def noisy(film: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """White noise with a standard deviation in grey levels: fewer photons."""
    return _grey(film + deviation * random.standard_normal(film.shape, np.float32))


def exposed(film: np.ndarray, gamma: float, random: np.random.Generator) -> np.ndarray:
    """Another display curve: grey levels to the power `gamma` or, at random, its inverse: darker or brighter."""
    power = gamma if random.random() < 0.5 else 1 / gamma
    return _grey(255 * (np.arange(256) / 255) ** power)[film]


def cropped(square: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """A random part of the square, its side shorter by `share`, enlarged to the square's size."""
    lost = [round(share * side) for side in square.shape]
    top, left = (int(random.random() * (most + 1)) for most in lost)
    part = square[top : top + square.shape[0] - lost[0], left : left + square.shape[1] - lost[1]]
    resized = Image.fromarray(np.ascontiguousarray(part)).resize(square.shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(resized)


def compressed(film: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    """Written as JPEG at a `quality` between 1 and 95 and read again."""
    buffer = io.BytesIO()
    Image.fromarray(film).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer))


PERTURBATIONS = {
    "blur": Perturbation("pixels", (0.5, 1.0, 2.0), blurred),
    "noise": Perturbation("grey levels", (4.0, 8.0, 16.0), noisy),
    "exposure": Perturbation("gamma", (1.25, 1.6, 2.2), exposed),
    "crop": Perturbation("share of the side", (0.1, 0.2, 0.3), cropped, True),
    "compression": Perturbation("JPEG quality", (50.0, 20.0, 10.0), compressed),
}


def perturbed(pixels: np.ndarray, kind: str, strength: float, image_id: str, seed: int) -> np.ndarray:
    """A film or square, uint8 (h, w), under the perturbation `kind`, same shape.

    The random numbers depend on seed, film and kind, not on the strength, so a stronger perturbation is more of the
    same. Raises ValueError for an unknown kind.
    """
    if kind not in PERTURBATIONS:
        raise ValueError(f"perturbation {kind!r} is unknown; expected one of {', '.join(PERTURBATIONS)}")
    random = np.random.default_rng(runtime.derived_seed("perturbed", seed, image_id, kind))
    return PERTURBATIONS[kind].change(pixels, strength, random)


def chosen_films(fitted: list[tuple[Fold, Path]], count: int, seed: int) -> np.ndarray:
    """Sorted positions of `count` films (0: as many as there are) scored under `grouped` with the first split seed.

    One film of a group and as many of either class, drawn with `seed`; fewer where a class has fewer groups.
    """
    table = activation_maps.first_grouped(fitted)[0][0].table
    scored = table[table.fold >= 0]
    knees = scored.sample(frac=1, random_state=seed).drop_duplicates("group").groupby("label")
    fewest = int(knees.size().min())
    each = min(count // 2, fewest) if count else fewest
    return np.sort(knees.head(each).index.to_numpy())


def passes(n_films: int) -> int:
    """How often `predict` sends films through the trunk for so many films."""
    return n_films * (1 + sum(len(one.strengths) for one in PERTURBATIONS.values()))


def squares(run: results.Run, films: pd.DataFrame, kind: str, strength: float, view: str, size: int) -> np.ndarray:
    """Perturbed whole films as squares, uint8 (n, size, size), cut at the knee of the unchanged film."""
    seed = run.p.seed
    if PERTURBATIONS[kind].of_square:
        whole = inputs.square_films(run, films, "full", view, size)
        pairs = zip(whole, films.image_id, strict=True)
        return np.stack([perturbed(square, kind, strength, name, seed) for square, name in pairs])
    return inputs.changed_films(
        run, films, lambda pixels, film: perturbed(pixels, kind, strength, film.image_id, seed), view, size
    )


def predict(
    run: results.Run, images: pd.DataFrame, fitted: list[tuple[Fold, Path]], weights: Weights
) -> dict[str, pd.DataFrame]:
    """Predictions of the chosen films by arm: `unchanged`, and `<kind>/<strength>` for every perturbation.

    `fitted` are the fits of the primary recipe on whole films. Each film is scored by the fit of `grouped` that left its
    knee out, without its mirror image, which would double the time.
    """
    positions = chosen_films(fitted, run.p.perturbed_films, run.p.seed)
    films, recipe = images.iloc[positions], Recipe.from_parameters(run.p.primary_recipe, run.parameters)
    shape = recipe.view or run.p.view, run.p.image_size
    made = {UNCHANGED: inputs.square_films(run, films, "full", *shape)}
    for kind, one in PERTURBATIONS.items():
        made |= {f"{kind}/{s:g}": squares(run, films, kind, s, *shape) for s in one.strengths}
    together = [np.concatenate(list(made.values()))]
    activations = inputs.activations_of(run, together, "full", weights, recipe.cut, n_scored=1)
    logits_of = scoring.scorer(recipe.fine_tune, activations, weights)
    logits = np.full((len(made), len(films)), np.nan)
    number = np.full(len(films), -1)
    folds = activation_maps.first_grouped(fitted)
    for fold, folder in folds:
        scored = np.flatnonzero(np.isin(positions, fold.test))
        guards.check_apart(fold, fold.train, positions[scored])
        rows = scored + len(films) * np.arange(len(made))[:, None]
        logits[:, scored] = logits_of(folder, rows.ravel()).reshape(rows.shape)
        number[scored] = fold.number
    arms = {}
    for name, own in zip(made, logits, strict=True):
        probability = calibration.sigmoid(own)
        guards.check_probabilities(probability, f"{weights.backbone}, {name}")
        arms[name] = splits.predictions(films, probability, folds[0][0].arm(name, "full") | {"fold": number})
    return arms


def judge(arms: Mapping[str, pd.DataFrame], unchanged: str, n_resamples: int, seed: int) -> pd.DataFrame:
    """AUROC of each arm and its paired difference from the arm `unchanged`, one row each.

    Arms are named `<kind>/<strength>`. Columns kind, strength (0 where unchanged), unit, those of
    `comparisons.compared`, and flipped, flipped_low, flipped_high: the share of films whose class at 0.5 changes, with
    Wilson's interval. Raises ValueError where a knee has two films, which that interval does not allow.
    """
    before = arms[unchanged].set_index("image_id").y_prob >= 0.5
    if len(repeated := arms[unchanged].group[arms[unchanged].group.duplicated()]):
        raise ValueError(f"group {repeated.iloc[0]} has two films; expected one, as a share of films is taken")
    table = comparisons.compared(arms, unchanged, "auroc", n_resamples, seed)
    names = table.name.str.partition("/")
    units = names[0].map({kind: one.unit for kind, one in PERTURBATIONS.items()}).fillna("")
    table = table.assign(kind=names[0], strength=pd.to_numeric(names[2]).fillna(0.0), unit=units)
    for row, name in zip(table.index, table.name, strict=True):
        after = arms[name].set_index("image_id").y_prob.loc[before.index] >= 0.5
        changed = int((after != before).sum())
        share = changed / len(before), *metrics.wilson(changed, len(before))
        table.loc[row, ["flipped", "flipped_low", "flipped_high"]] = share
    return table


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
