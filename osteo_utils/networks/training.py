"""Fit every fold, save each fit, gather all predictions: each film is scored by a model that was not fitted on it.

The folder of a fit appears whole or not at all. Notebooks fit what is missing, so an interruption costs one fold. A
change of data, settings, code or backend means a new fit.
"""

from __future__ import annotations

import itertools
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd

from osteo_utils.networks import backbones, guards, inputs, probes, recipes, tails, trunk_cache
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols import inner_folds, splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.study import progress, resources, results, runtime

# From a fold and the folder of its fit to the probabilities of the scored images and a `history`.
Fitter = Callable[[Fold, Path], tuple[np.ndarray, pd.DataFrame]]
# Seconds; a fold that takes longer prints a line of its own.
SLOW = 180
# Multiply-adds of the tail at 224 pixels as a share of those of the trunk at `last_block`, by what is trained; a whole
# network is the trunk and the tail. The recipe `paper` trains dense layers alone.
TAIL_SHARES = {
    "vgg16": {"last_block": 0.031, "last_stage": 0.093, "all": 1.031, "paper": 0.0},
    "resnet50": {"last_block": 0.060, "last_stage": 0.201, "all": 1.060, "paper": 0.0},
}
# A training step goes forward and back; the second takes twice as long as the first.
STEP = 3
# A probe, and whatever else trains no convolution, takes about as long as two films.
LEAST = 2.0


class Arm(NamedTuple):
    """Fits that differ by their fold alone: a recipe on a variant, under these protocols and split seeds."""

    recipe: Recipe
    variant: str
    protocols: list[str]
    seeds: list[int]


def arms(run: results.Run, variants: Iterable[str], images: pd.DataFrame) -> Iterator[Arm]:
    """The arms that a model notebook's parameters ask for, by variant.

    Whole films are fitted under every protocol, the other variants under `grouped` alone. The variant `background` is a
    control: it gets the probe alone. The recipe `paper` is fitted on whole films alone. Probes, which are cheap, are
    fitted for every split seed, networks for the first `trained_seeds`; where a person has several knees, probes of whole
    films also show what `grouped_knees` costs.
    """
    several = images.knee.nunique() > images.group.nunique()
    for variant in variants:
        full = variant == "full"
        for fine_tune in ["none"] if variant == "background" else run.p.recipes:
            if fine_tune == "paper" and not full:
                continue
            n_seeds = len(run.p.split_seeds) if fine_tune == "none" else run.p.trained_seeds
            recipe = Recipe.from_parameters(fine_tune, run.parameters)
            protocols = run.p.protocols if full else ["grouped"]
            if full and fine_tune == "none" and several:
                protocols = list(dict.fromkeys([*protocols, "grouped_knees"]))
            yield Arm(recipe, variant, protocols, run.p.split_seeds[:n_seeds])


def planned(run: results.Run, backbone: str, images: pd.DataFrame, folds: pd.DataFrame) -> dict[str, progress.Kind]:
    """Passes through the trunk and fits of each recipe that a model notebook's parameters ask for, kept ones among them.

    Their costs decide only what share of a run counts as done before the first piece of a kind has been timed.
    """
    p, n_images = run.p, len(images)
    views = len(p.variants) * p.augmented_views + len(p.compared_views)
    n_folds = folds[folds.fold >= 0].groupby(["protocol", "seed"]).fold.nunique()
    fits: dict[str, progress.Kind] = {}
    for recipe, _, protocols, seeds in arms(run, p.variants, images):
        cost = TAIL_SHARES[backbone].get(recipe.fine_tune, 0.0) * STEP * recipe.epochs * n_images
        kind = fits.setdefault(recipe.fine_tune, progress.Kind(0, max(LEAST, cost)))
        kind.planned += int(n_folds.loc[[(protocol, seed) for protocol in protocols for seed in seeds]].sum())
        # A whole network has no trunk.
        if recipe.cut != "all" and not recipe.shares_input("last_block", p.view):
            views += p.augmented_views
    for recipe, _, protocols, seeds in candidates(run, images):
        pairs = (inner_folds.pairs(count, p.nested_folds) for count in n_folds.loc[[(protocols[0], s) for s in seeds]])
        fits[recipe.fine_tune].planned += sum(map(len, pairs))
    return {progress.PASSES: progress.Kind(views * n_images), **fits}


def fit_study(
    run: results.Run, images: pd.DataFrame, folds: pd.DataFrame, by_variant: dict[str, Activations], weights: Weights
) -> dict[tuple[str, str], list[tuple[Fold, Path]]]:
    """The fits of all `arms`, by (recipe, variant), in the order of its folds.

    The variant `background` does without films whose mask was flagged. `by_variant` holds the activations of
    `last_block`; those of other recipes come from the trunk cache.
    """
    fitted, checked = {}, set()
    for recipe, variant, protocols, seeds in arms(run, by_variant, images):
        included = inputs.trusted_alone(run, images, folds) if variant == "background" else folds
        of_recipe = splits.fold_list(images, included, protocols, seeds)
        activations = activations_for(recipe, run, images, by_variant[variant], weights)
        if activations.key not in checked:
            check_trunk(activations, weights)
            checked.add(activations.key)
        folders = fit_missing(of_recipe, recipe, activations, weights, run.paths.fits / activations.backbone)
        guards.check_out_of_fold(gather(folders)[0], of_recipe)
        fitted[recipe.fine_tune, variant] = list(zip(of_recipe, folders, strict=True))
    return fitted


def candidates(run: results.Run, images: pd.DataFrame) -> Iterator[Arm]:
    """The arms of `nested_recipes` on whole and on segmented films, under `grouped`, for the seeds that each is fitted for."""
    for arm in arms(run, [variant for variant in run.p.variants if variant != "background"], images):
        if arm.recipe.fine_tune in run.p.nested_recipes:
            yield arm._replace(protocols=["grouped"])


def fit_inner(
    run: results.Run, images: pd.DataFrame, folds: pd.DataFrame, by_variant: dict[str, Activations], weights: Weights
) -> pd.DataFrame:
    """Predictions of all `candidates` on inner folds: columns of `predictions`, and `outer` (see `inner_folds`)."""
    found = []
    for recipe, variant, protocols, seeds in candidates(run, images):
        activations = activations_for(recipe, run, images, by_variant[variant], weights)
        of_seeds = [splits.fold_list(images, folds, protocols, [seed]) for seed in seeds]
        inner = [inner_folds.inner_folds(outer, run.p.nested_folds) for outer in of_seeds]
        directory = run.paths.fits / activations.backbone
        for outer, wanted in zip(of_seeds, inner, strict=True):
            folders = fit_missing(wanted, recipe, activations, weights, directory)
            found.append(inner_folds.by_outer(_scored(folders), outer))
    return pd.concat(found, ignore_index=True)


def fit_missing(
    folds: list[Fold], recipe: Recipe, activations: Activations, weights: Weights, directory: Path
) -> list[Path]:
    """Fit each fold that `directory`, `fits/<model>`, does not hold yet; returns the folder of each, in order.

    Trunk and tail start from `weights`. Prints a line for each protocol and seed, and for each fold that took minutes,
    whether fitted now or earlier. Where CUDA_VISIBLE_DEVICES names several GPUs, each fits folds of its own
    (`resources`), or all share the batches of one fit (`recipes.shares_batches`). Only the whole network trains long
    enough to gain from mixed precision, so only it uses it, on a GPU.
    """
    whole = recipe.cut == "all"
    spread = recipes.shares_batches() and whole
    # The key of the activations covers what lies before the trunk; guards change no number.
    rooms = (splits, recipes, backbones, trunk_cache, probes if recipe.fine_tune == "none" else tails)
    made_from = {
        "recipe": asdict(recipe),
        "activations": activations.key,
        "code": runtime.code_hash([Path(__file__), *(Path(room.__file__) for room in rooms)]),
        "backend": keras.config.backend(),
        "precision": recipes.MIXED if whole and recipes.on_gpu() else recipes.SINGLE,
        "parts": len(keras.distribution.list_devices()) if spread else 1,
    }

    def place(fold: Fold) -> tuple[Path, str]:
        """The folder of a fold's fit, and the identity that it must have."""
        content = [fold.protocol, fold.seed, fold.number, fold.table.to_dict("list")]
        name = f"{recipe.fine_tune}-{activations.variant}-{fold.protocol}-s{fold.seed}-f{fold.number}"
        return directory / name, runtime.hash_of({**made_from, "fold": content})

    gpus = [] if recipe.fine_tune == "none" or spread else resources.gpus()
    if len(gpus) > 1 and (missing := [fold for fold in folds if not _is_fitted(*place(fold))]):
        gpus = gpus[: len(missing)]
        work = partial(_fit_share, recipe, activations.packed(), weights, directory)
        resources.each_on_its_own(work, [missing[n :: len(gpus)] for n in range(len(gpus))], gpus)
    folders, fit = [], None
    with keras.distribution.DataParallel().scope() if spread else nullcontext():
        for (protocol, seed), of_seed in itertools.groupby(folds, lambda fold: (fold.protocol, fold.seed)):
            ready = []
            for fold in of_seed:
                folder, identity = place(fold)
                ready.append(folder)
                guards.check_apart(fold, fold.train, fold.test)
                kept = _is_fitted(folder, identity)
                if not kept:
                    fit = fit or _fitter(recipe, activations, weights, fold, made_from["precision"])
                    arm = fold.arm(recipe.fine_tune, activations.variant)
                    _fit_one(fit, fold, folder, arm, {"identity": identity, **made_from})
                seconds = results.read_json(folder / "fit.json")["seconds"]
                progress.report(recipe.fine_tune, 1, 0.0 if kept else seconds)
                if seconds > SLOW:
                    print(f"{activations.backbone} {folder.name}: {seconds / 60:.1f} min", flush=True)
            name = f"{recipe.fine_tune}-{activations.variant}-{protocol}-s{seed}"
            print(f"{activations.backbone} {name}: {_summary(ready)}", flush=True)
            folders += ready
    return folders


def gather(folders: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and histories of fitted folds, as `predictions` and `history` tables.

    Raises ValueError unless each image is predicted once per protocol, recipe, variant and seed.
    """
    predictions, history = (
        pd.concat([results.read_table(folder / f"{name}.csv") for folder in folders], ignore_index=True)
        for name in ("predictions", "history")
    )
    results.check_table(predictions, "predictions", "gathered predictions")
    return predictions, history


def activations_for(
    recipe: Recipe, run: results.Run, images: pd.DataFrame, given: Activations, weights: Weights
) -> Activations:
    """The input of a recipe: the given activations, or those of the same films at the recipe's own cut and view."""
    if recipe.shares_input(given.cut, run.p.view):
        return given
    n_scored = inputs.TEST_VIEWS if recipe.mirrored else 1
    return inputs.trunk_views(
        run, images, given.backbone, given.variant, weights, len(given.views), recipe.cut, recipe.view, n_scored
    )


def check_trunk(activations: Activations, weights: Weights) -> None:
    """Stop the study unless backbone, preprocessing and cache are what they should be (`guards`)."""
    backbone, size, cut = activations.backbone, activations.image_size, activations.cut
    trunk = backbones.trunk(backbone, weights, size, cut)
    guards.check_backbone(trunk, backbones.tail(backbone, weights, image_size=size, cut=cut), weights)
    guards.check_preprocessing(backbone, backbones.preprocess)
    if cut != "all":
        guards.check_activations(trunk, activations.first_film, activations.views[0][0])


def _fit_share(recipe: Recipe, packed: Activations, weights: Weights, directory: Path, folds: list[Fold]) -> None:
    """The folds of one GPU, in a process of its own."""
    fit_missing(folds, recipe, packed.unpacked(), weights, directory)


def _fit_one(fit: Fitter, fold: Fold, folder: Path, arm: dict[str, object], made_from: dict[str, object]) -> None:
    started = time.perf_counter()
    with _whole_folder(folder) as temporary:
        probability, history = fit(fold, temporary)
        guards.check_probabilities(probability, folder.name)
        scored = splits.predictions(fold.table.iloc[fold.test], probability, arm)
        results.write_table(temporary / "predictions.csv", scored, "predictions")
        results.write_table(temporary / "history.csv", history.assign(**arm), "history")
        seconds = round(time.perf_counter() - started, 2)
        results.write_json(temporary / "fit.json", {**made_from, "seconds": seconds})


def _fitter(recipe: Recipe, activations: Activations, weights: Weights, fold: Fold, precision: str) -> Fitter:
    if recipe.fine_tune == "none":
        pooled = probes.mean_features(activations, weights)
        return lambda fold, folder: probes.fit_probe(fold, pooled, folder)
    fitter = tails.TailFitter(recipe, activations, weights, precision)
    # Once for each backbone and recipe: every study fits whole films.
    if activations.variant == "full":
        fitter.check_overfit(fold)
    return fitter.fit


def _scored(folders: list[Path]) -> pd.DataFrame:
    """The predictions of fits that may have scored the same films."""
    return pd.concat([results.read_table(folder / "predictions.csv") for folder in folders], ignore_index=True)


def _summary(folders: list[Path]) -> str:
    scored = _scored(folders)
    right = np.mean((scored.y_prob >= 0.5) == (scored.y_true == 1))
    seconds = sum(results.read_json(folder / "fit.json")["seconds"] for folder in folders)
    return f"{len(folders)} folds, {len(scored)} scored, {right:.0%} right, {seconds:.0f} s"


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling of `folder`, renamed to it when the block ends without an error."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_fitted(folder: Path, identity: str) -> bool:
    about = folder / "fit.json"
    return about.is_file() and results.read_json(about).get("identity") == identity
