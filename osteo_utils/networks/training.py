"""Fit one fold, keep it, gather all: how predictions come about that no fitted model has seen.

A fit is a folder that appears whole or not at all. Notebooks fit what is missing and then gather, so a
kill costs one fold; what was fitted with other data, settings, code or another backend is fitted again.
"""

from __future__ import annotations

import itertools
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osteo_utils.networks import backbones, guards, inputs, probes, recipes, tails, trunk_cache
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.study import resources, results, runtime

# From a fold and the folder that the fit is kept in to the probabilities of the scored images and a `history`.
Fitter = Callable[[Fold, Path], tuple[np.ndarray, pd.DataFrame]]
# Seconds; a fold that takes longer has a line of its own, as its fellows may take hours.
SLOW = 180


def fit_missing(
    folds: list[Fold], recipe: Recipe, activations: Activations, weights: Weights, directory: Path
) -> list[Path]:
    """Fit each fold that `directory` does not hold yet; returns the folder of each, in order.

    `directory` is `fits/<model>`; `weights` the verified ImageNet tensors that trunk and tail start from.
    A line is printed for the folds of every protocol and seed, and for each fold that took minutes, fitted now or kept,
    so that a resumed notebook reads as a fresh one. Where CUDA_VISIBLE_DEVICES names several GPUs, each fits folds of
    its own (`resources`), or all of them share the batches of one fit (`recipes`). A whole network is trained in
    mixed precision on a GPU: nothing else takes long enough to gain by it.
    """
    folders = []
    # What lies before the trunk is covered by the key of the activations; guards decide no number.
    rooms = (splits, recipes, backbones, trunk_cache, probes if recipe.fine_tune == "none" else tails)
    code = runtime.code_hash([Path(__file__), *(Path(room.__file__) for room in rooms)])
    made_from = {"recipe": asdict(recipe), "activations": activations.key, "code": code}
    whole = recipe.cut == "all"
    spread = recipes.shares_batches() and whole
    made_from["backend"] = keras.config.backend()
    made_from["precision"] = recipes.MIXED if whole and recipes.on_gpu() else recipes.SINGLE
    made_from["parts"] = recipes.count() if spread else 1

    def kept(one: Fold) -> tuple[Path, str]:
        """Where a fold's fit is kept, and the identity it must have."""
        dealt = [one.protocol, one.seed, one.number, one.table.to_dict("list")]
        name = f"{recipe.fine_tune}-{activations.variant}-{one.protocol}-s{one.seed}-f{one.number}"
        return directory / name, runtime.hash_of({**made_from, "fold": dealt})

    gpus = [] if recipe.fine_tune == "none" or spread else resources.gpus()
    if len(gpus) > 1 and (missing := [one for one in folds if not _is_fitted(*kept(one))]):
        gpus = gpus[: len(missing)]
        work = partial(_fit_share, recipe, activations.packed(), weights, directory)
        resources.each_on_its_own(work, [missing[n :: len(gpus)] for n in range(len(gpus))], gpus)
    fit = None
    with recipes.spread() if spread else nullcontext():
        for (protocol, seed), dealt in itertools.groupby(folds, lambda one: (one.protocol, one.seed)):
            arm, ready = f"{recipe.fine_tune}-{activations.variant}-{protocol}-s{seed}", []
            for one in dealt:
                folder, identity = kept(one)
                ready.append(folder)
                guards.check_apart(one, one.train, one.test)
                if not _is_fitted(folder, identity):
                    fit = fit or _fitter(recipe, activations, weights, one, made_from["precision"])
                    about = one.arm(recipe.fine_tune, activations.variant)
                    _fit_one(fit, one, folder, about, {"identity": identity, **made_from})
                seconds = results.read_json(folder / "fit.json")["seconds"]
                if seconds > SLOW:
                    print(f"{activations.backbone} {folder.name}: {seconds / 60:.1f} min", flush=True)
            print(f"{activations.backbone} {arm}: {_in_short(ready)}", flush=True)
            folders += ready
    return folders


def _fit_share(recipe: Recipe, packed: Activations, weights: Weights, directory: Path, folds: list[Fold]) -> None:
    """The part of one GPU, in a process of its own."""
    fit_missing(folds, recipe, packed.unpacked(), weights, directory)


def _fit_one(fit: Fitter, fold: Fold, folder: Path, about: dict[str, object], made_from: dict[str, object]) -> None:
    started = time.perf_counter()
    with _whole_folder(folder) as temporary:
        probability, history = fit(fold, temporary)
        guards.check_probabilities(probability, folder.name)
        scored = fold.scored(probability).assign(**about)
        results.write_table(temporary / "predictions.csv", scored, "predictions")
        results.write_table(temporary / "history.csv", history.assign(**about), "history")
        seconds = round(time.perf_counter() - started, 2)
        results.write_json(temporary / "fit.json", {**made_from, "seconds": seconds})


def fit_study(
    run: results.Run, images: pd.DataFrame, folds: pd.DataFrame, by_variant: dict[str, Activations], weights: Weights
) -> dict[tuple[str, str], list[tuple[Fold, Path]]]:
    """Every fit that a model notebook's parameters ask for, by (recipe, variant), in the order of its folds.

    Whole films are fitted under every protocol, the other variants under `grouped` alone. The variant `background` is a
    control and gets the probe alone; films whose mask was flagged take no part in it. The recipe `paper` is fitted on
    whole films alone. The probe, which is cheap, is fitted for every split seed, what trains a network for the first
    `trained_seeds` of them.
    `by_variant` holds what `last_block` learns from; a recipe that learns from something else gets it from the trunk
    cache.
    """
    fitted, checked = {}, set()
    for variant, given in by_variant.items():
        protocols = run.p.protocols if variant == "full" else ["grouped"]
        dealt = inputs.trusted_alone(run, images, folds) if variant == "background" else folds
        for fine_tune in _recipes_for(variant, run.p.recipes):
            recipe = Recipe.from_parameters(fine_tune, run.parameters)
            trained = len(run.p.split_seeds) if fine_tune == "none" else run.p.trained_seeds
            wanted = splits.fold_list(images, dealt, protocols, run.p.split_seeds[:trained])
            activations = seen_by(recipe, run, images, given, weights)
            if activations.key not in checked:
                check_trunk(activations, weights)
                checked.add(activations.key)
            folders = fit_missing(wanted, recipe, activations, weights, run.paths.fits / activations.backbone)
            predictions, _ = gather(folders)
            guards.check_out_of_fold(predictions, wanted)
            fitted[fine_tune, variant] = list(zip(wanted, folders, strict=True))
    return fitted


def _recipes_for(variant: str, recipes: list[str]) -> list[str]:
    if variant == "background":
        return ["none"]
    return [name for name in recipes if name != "paper" or variant == "full"]


def seen_by(
    recipe: Recipe, run: results.Run, images: pd.DataFrame, given: Activations, weights: Weights
) -> Activations:
    """What a recipe learns from: the activations that are given, or those at its own cut and view of the same films."""
    if (recipe.cut, recipe.view or run.p.view, recipe.mirrored) == (given.cut, run.p.view, True):
        return given
    return inputs.trunk_views(
        run,
        images,
        given.backbone,
        given.variant,
        weights,
        len(given.views),
        recipe.cut,
        recipe.view,
        n_scored=inputs.TEST_VIEWS if recipe.mirrored else 1,
    )


def check_trunk(activations: Activations, weights: Weights) -> None:
    """Stop the study unless the backbone is whole and verified, its input right, and the cache what it computes."""
    backbone, size, cut = activations.backbone, activations.image_size, activations.cut
    trunk = backbones.trunk(backbone, weights, size, cut)
    guards.check_backbone(trunk, backbones.tail(backbone, weights, image_size=size, cut=cut), weights)
    guards.check_preprocessing(backbone, backbones.preprocess)
    if cut != "all":
        guards.check_activations(trunk, activations.first_film, activations.views[0][0])


def gather(folders: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and histories of fitted folds, as `predictions` and `history` tables.

    Raises ValueError unless each image is predicted once per protocol, recipe, variant and seed.
    """
    predictions = pd.concat([results.read_table(folder / "predictions.csv") for folder in folders], ignore_index=True)
    history = pd.concat([results.read_table(folder / "history.csv") for folder in folders], ignore_index=True)
    results.check_table(predictions, "predictions", "gathered predictions")
    return predictions, history


def _fitter(recipe: Recipe, activations: Activations, weights: Weights, fold: Fold, precision: str) -> Fitter:
    if recipe.fine_tune == "none":
        pooled = probes.mean_features(activations, weights)
        return lambda fold, folder: probes.fit_probe(fold, pooled, folder)
    fitter = tails.TailFitter(recipe, activations, weights, precision)
    # Once for each backbone and recipe: every study fits whole films.
    if activations.variant == "full":
        fitter.check_overfit(fold)
    return fitter.fit


def _in_short(folders: list[Path]) -> str:
    scored = gather(folders)[0]
    right = np.mean((scored.y_prob >= 0.5) == (scored.y_true == 1))
    seconds = sum(results.read_json(folder / "fit.json")["seconds"] for folder in folders)
    return f"{len(folders)} folds, {len(scored)} scored, {right:.0%} right, {seconds:.0f} s"


class _whole_folder:
    """A folder that takes its name only when the block has ended without an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")

    def __enter__(self) -> Path:
        for left_over in self.folder.parent.glob(f".{self.folder.name}.*"):
            shutil.rmtree(left_over, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        return self.temporary

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.temporary.rename(self.folder)
        else:
            shutil.rmtree(self.temporary, ignore_errors=True)


def _is_fitted(folder: Path, identity: str) -> bool:
    about = folder / "fit.json"
    return about.is_file() and results.read_json(about).get("identity") == identity
