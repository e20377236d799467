"""Fit one fold, keep it, gather all: how predictions come about that no fitted model has seen.

A fit is a folder that appears whole or not at all. Notebooks fit what is missing and then gather, so a
kill costs one fold; what was fitted with other data, settings or code is fitted again.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.models import backbones, inputs, jobs, probes, tails
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Fold, Recipe
from osteo_utils.models.weights import Weights
from osteo_utils.study import results, runtime


def fit_missing(
    folds: list[Fold], recipe: Recipe, activations: Activations, weights: Weights, directory: Path
) -> list[Path]:
    """Fit each fold that `directory` does not hold yet; returns the folder of each, in order.

    `directory` is `fits/<model>`; `weights` the verified ImageNet tensors that trunk and tail start from.
    A line is printed for every fold, fitted now or kept, so that a resumed notebook reads as a fresh one.
    """
    folders = []
    # What lies before the trunk is covered by the key of the activations.
    rooms = (jobs, tails if recipe.fine_tune == "last_block" else probes, backbones)
    code = runtime.code_hash([Path(__file__), *(Path(room.__file__) for room in rooms)])
    fit = None
    for one in folds:
        name = f"{recipe.fine_tune}-{activations.variant}-{one.protocol}-s{one.seed}-f{one.fold}"
        made_from = {"recipe": asdict(recipe), "activations": activations.key, "code": code}
        fold = [one.protocol, one.seed, one.fold, one.table.to_dict("list")]
        identity = runtime.hash_of({**made_from, "fold": fold})
        folder = directory / name
        folders.append(folder)
        if not _is_fitted(folder, identity):
            started = time.perf_counter()
            with _whole_folder(folder) as temporary:
                fit = fit or _fitter(recipe, activations, weights)
                probability, history = fit(one, temporary)
                check_probabilities(probability, name)
                about = {
                    "protocol": one.protocol,
                    "recipe": recipe.fine_tune,
                    "variant": activations.variant,
                    "seed": one.seed,
                    "fold": one.fold,
                }
                scored = _predictions(one, probability).assign(**about)
                results.write_table(temporary / "predictions.csv", scored, "predictions")
                results.write_table(temporary / "history.csv", history.assign(**about), "history")
                seconds = round(time.perf_counter() - started, 2)
                results.write_json(
                    temporary / "fit.json", {"identity": identity, **made_from, "seconds": seconds}
                )
        print(f"{activations.backbone} {name}: {_in_short(folder)}")
    return folders


def fit_study(
    run: results.Run,
    images: pd.DataFrame,
    folds: pd.DataFrame,
    by_variant: dict[str, Activations],
    weights: Weights,
) -> dict[tuple[str, str], list[tuple[Fold, Path]]]:
    """Every fit that a model notebook's parameters ask for, by (recipe, variant), in the order of its folds.

    Whole films are fitted under every protocol, the other variants under `grouped` alone. The variant `background` is a
    control and gets the probe alone; films whose mask was flagged take no part in it.
    """
    fitted = {}
    for variant, activations in by_variant.items():
        protocols = run.p.protocols if variant == "full" else ["grouped"]
        dealt = inputs.trusted_alone(run, images, folds) if variant == "background" else folds
        wanted = jobs.fold_list(images, dealt, protocols, run.p.split_seeds)
        for fine_tune in ["none"] if variant == "background" else run.p.recipes:
            recipe = Recipe.from_parameters(fine_tune, run.parameters)
            folders = fit_missing(wanted, recipe, activations, weights, run.paths.fits / activations.backbone)
            fitted[fine_tune, variant] = list(zip(wanted, folders, strict=True))
    return fitted


def gather(folders: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and histories of fitted folds, as `predictions` and `history` tables.

    Raises ValueError unless each image is predicted once per protocol, recipe, variant and seed.
    """
    predictions = pd.concat(
        [results.read_table(folder / "predictions.csv") for folder in folders], ignore_index=True
    )
    history = pd.concat([results.read_table(folder / "history.csv") for folder in folders], ignore_index=True)
    results.check_table(predictions, "predictions", "gathered predictions")
    return predictions, history


def check_probabilities(probability: np.ndarray, name: str) -> None:
    """Raise RuntimeError for predictions that are not finite or all the same: a dead network."""
    if not np.isfinite(probability).all():
        raise RuntimeError(f"{name}: a prediction is not finite; lower learning_rate")
    if len(probability) > 1 and np.ptp(probability) < 1e-7:
        raise RuntimeError(
            f"{name}: every image gets {probability[0]:.6f}; the network did not learn anything"
        )


def _fitter(
    recipe: Recipe, activations: Activations, weights: Weights
) -> Callable[[Fold, Path], tuple[np.ndarray, pd.DataFrame]]:
    if recipe.fine_tune == "last_block":
        return tails.TailFitter(recipe, activations, weights).fit
    views = range(len(activations.test_views))
    pooled = np.mean([probes.pooled_features(activations, weights, view) for view in views], axis=0)
    return lambda fold, folder: probes.fit_probe(fold, pooled, folder)


def _predictions(fold: Fold, probability: np.ndarray) -> pd.DataFrame:
    scored = fold.table.iloc[fold.test]
    columns = {"image_id": scored.image_id, "view": 0, "group": scored.group, "y_true": scored.label}
    return pd.DataFrame(columns).assign(y_prob=probability.astype(float)).reset_index(drop=True)


def _in_short(folder: Path) -> str:
    scored = results.read_table(folder / "predictions.csv")
    right = np.mean((scored.y_prob >= 0.5) == (scored.y_true == 1))
    return (
        f"{len(scored)} scored, {right:.0%} right, {results.read_json(folder / 'fit.json')['seconds']:.0f} s"
    )


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
