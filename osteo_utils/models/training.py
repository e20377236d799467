"""Fit one fold, keep it, gather all: how predictions come about that no fitted model has seen.

A fit is a folder that appears whole or not at all. Notebooks fit what is missing and then gather, so a
kill costs one fold; what was fitted with other data, settings or code is fitted again.
"""

from __future__ import annotations

import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from osteo_utils.data import splits
from osteo_utils.models import backbones
from osteo_utils.models.inputs import Activations
from osteo_utils.models.weights import Weights
from osteo_utils.study import results, runtime

PROBE_STRENGTHS = tuple(10.0**power for power in range(-5, 1))
INNER_FOLDS = 4


@dataclass(frozen=True)
class Recipe:
    """How the trainable part learns; see `config.PARAMETERS` for the meaning of each field."""

    fine_tune: str
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0

    @classmethod
    def from_parameters(cls, fine_tune: str, parameters: dict) -> Recipe:
        """The recipe that a notebook's parameters describe; a probe has no settings of its own."""
        if fine_tune == "none":
            return cls("none")
        names = [name for name in cls.__dataclass_fields__ if name != "fine_tune"]
        return cls(fine_tune, **{name: parameters[name] for name in names})


@dataclass(frozen=True)
class Fold:
    """One fold to be fitted: where each image stands and which fold is scored."""

    protocol: str
    seed: int
    fold: int
    table: pd.DataFrame  # image_id, label, group, fold, in the order of the activations

    @property
    def train(self) -> np.ndarray:
        """Positions of the training images."""
        return np.flatnonzero((self.table.fold >= 0) & (self.table.fold != self.fold))

    @property
    def test(self) -> np.ndarray:
        """Positions of the images that are scored."""
        return np.flatnonzero(self.table.fold == self.fold)

    @property
    def labels(self) -> np.ndarray:
        return self.table.label.to_numpy(int)

    @property
    def inner_groups(self) -> np.ndarray:
        """What an inner split keeps together; under `by_file` the mistake is made inside as well."""
        return np.arange(len(self.table)) if self.protocol == "by_file" else self.table.group.to_numpy()


def fold_list(
    images: pd.DataFrame, folds: pd.DataFrame, protocols: list[str], seeds: list[int]
) -> list[Fold]:
    """Every fold of the named protocols and seeds.

    `images` has image_id, label and group, in the order of the activations; `folds` is `folds.csv`.
    Raises ValueError where a protocol is not in `folds`, misses an image, or has a group on both sides.
    """
    jobs = []
    for protocol in protocols:
        for seed in seeds:
            chosen = folds[(folds.protocol == protocol) & (folds.seed == seed) & (folds.view == 0)]
            if chosen.empty:
                raise ValueError(
                    f"folds.csv has no protocol {protocol!r} with seed {seed}; run 02_eda with it"
                )
            table = images.merge(
                chosen[["image_id", "fold"]], on="image_id", how="left", validate="one_to_one"
            )
            if table.fold.isna().any():
                raise ValueError(
                    f"folds.csv, {protocol}: no fold for {table.image_id[table.fold.isna()].iloc[0]}"
                )
            table["fold"] = table.fold.astype(int)
            if protocol != "by_file":
                splits.check_no_leak(table.set_index("image_id").fold, table.set_index("image_id").group)
            jobs += [Fold(protocol, seed, fold, table) for fold in sorted(set(table.fold) - {-1})]
    return jobs


def fit_missing(
    jobs: list[Fold], recipe: Recipe, activations: Activations, weights: Weights, directory: Path
) -> list[Path]:
    """Fit each fold that `directory` does not hold yet; returns the folder of each, in order.

    `directory` is `fits/<model>`; `weights` the verified ImageNet tensors that trunk and tail start from.
    """
    folders = []
    # What lies before the trunk is covered by the key of the activations.
    code = runtime.code_hash([Path(__file__), Path(backbones.__file__)])
    fit = None
    for job in jobs:
        name = f"{recipe.fine_tune}-{activations.variant}-{job.protocol}-s{job.seed}-f{job.fold}"
        identity = runtime.hash_of(
            {
                "recipe": asdict(recipe),
                "activations": activations.key,
                "fold": [job.protocol, job.seed, job.fold, job.table.to_dict("list")],
                "code": code,
            }
        )
        folder = directory / name
        folders.append(folder)
        if _is_fitted(folder, identity):
            continue
        started = time.perf_counter()
        with _whole_folder(folder) as temporary:
            fit = fit or _fitter(recipe, activations, weights)
            probability, history = fit(job, temporary)
            check_probabilities(probability, name)
            _predictions(job, recipe, activations.variant, probability).to_csv(
                temporary / "predictions.csv", index=False
            )
            history.assign(
                protocol=job.protocol,
                recipe=recipe.fine_tune,
                variant=activations.variant,
                seed=job.seed,
                fold=job.fold,
            ).to_csv(temporary / "history.csv", index=False)
            seconds = round(time.perf_counter() - started, 2)
            about = {
                "identity": identity,
                "recipe": asdict(recipe),
                "activations": activations.key,
                "code": code,
            }
            results.write_json(temporary / "fit.json", {**about, "seconds": seconds})
        correct = np.mean((probability >= 0.5) == job.labels[job.test])
        print(f"{activations.backbone} {name}: {len(job.test)} scored, {correct:.0%} right, {seconds:.0f} s")
    return folders


def fit_study(
    run: results.Run,
    images: pd.DataFrame,
    folds: pd.DataFrame,
    by_variant: dict[str, Activations],
    weights: Weights,
) -> dict[tuple[str, str], list[tuple[Fold, Path]]]:
    """Every fit that a model notebook's parameters ask for, by (recipe, variant), in the order of its folds.

    Whole films are fitted under every protocol, segmented ones under `grouped` alone.
    """
    fitted = {}
    for variant, activations in by_variant.items():
        protocols = run.p.protocols if variant == "full" else ["grouped"]
        jobs = fold_list(images, folds, protocols, run.p.split_seeds)
        for fine_tune in run.p.recipes:
            recipe = Recipe.from_parameters(fine_tune, run.parameters)
            folders = fit_missing(jobs, recipe, activations, weights, run.paths.fits / activations.backbone)
            fitted[fine_tune, variant] = list(zip(jobs, folders, strict=True))
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


def fitted_tail(folder: Path, backbone: str, weights: Weights, image_size: int) -> keras.Model:
    """The trained tail of one `last_block` fit."""
    tail = backbones.tail(backbone, weights, image_size=image_size)
    tail.load_weights(folder / "tail.weights.h5")
    return tail


class TailFitter:
    """One compiled tail for all folds: building and tracing it anew would cost more than a short fit.

    `reset` brings back every variable, those of the optimiser and of dropout included, so that a fit depends
    on its own seed and data alone, not on the fits before it.
    """

    def __init__(self, recipe: Recipe, activations: Activations, weights: Weights) -> None:
        self.recipe = recipe
        self.activations = activations
        keras.utils.clear_session()
        self.tail = backbones.tail(
            activations.backbone, weights, dropout=recipe.dropout, image_size=activations.image_size
        )
        self.tail.compile(
            optimizer=keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay),
            loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
        )
        self.tail.optimizer.build(self.tail.trainable_variables)
        self._variables = [*self.tail.variables, *self.tail.optimizer.variables]
        self._start = [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def reset(self, seed: int) -> None:
        """Pretrained block, fresh head and fresh optimiser; `seed` decides head and dropout."""
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)
        head = self.tail.get_layer("head").kernel
        limit = np.sqrt(6 / sum(head.shape))
        head.assign(np.random.default_rng(seed).uniform(-limit, limit, head.shape).astype(np.float32))
        if self.recipe.dropout > 0:
            generator = self.tail.get_layer("dropout").seed_generator
            generator.state.assign(np.array([seed, 0], generator.state.dtype))
        keras.utils.set_random_seed(seed)

    def fit(self, job: Fold, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
        """Train on the fold's training images; returns the probabilities of its scored ones and the history."""
        recipe, activations, tail = self.recipe, self.activations, self.tail
        seed = runtime.derived_seed(
            activations.backbone, activations.variant, job.protocol, job.seed, job.fold
        )
        self.reset(seed)
        before = [keras.ops.convert_to_numpy(variable) for variable in tail.trainable_variables]
        steps = int(np.ceil(len(job.train) / recipe.batch_size))
        labels = job.labels.astype(np.float32)[:, None]
        tested = [np.asarray(view[job.test], np.float32) for view in activations.test_views]
        watch = _Watch(learning_rates(recipe, steps))
        with warnings.catch_warnings():
            # Keras notes that a generator is not shuffled; ours shuffles by itself.
            warnings.filterwarnings("ignore", message=".*shuffle=True.*")
            fitted = tail.fit(
                training_batches(activations.views, labels, job.train, recipe, seed),
                steps_per_epoch=steps,
                epochs=recipe.epochs,
                validation_data=(tested[0], labels[job.test]),
                validation_batch_size=64,
                callbacks=[watch],
                verbose=0,
            )
        for variable, old in zip(tail.trainable_variables, before, strict=True):
            if np.array_equal(keras.ops.convert_to_numpy(variable), old):
                raise RuntimeError(f"{variable.path} did not move; it is cut off from the loss")
        logits = np.mean([tail.predict(view, batch_size=64, verbose=0) for view in tested], axis=0)[:, 0]
        tail.save_weights(folder / "tail.weights.h5")
        history = pd.DataFrame(fitted.history)[["loss", "accuracy", "val_loss", "val_accuracy"]]
        history.insert(0, "epoch", np.arange(1, recipe.epochs + 1))
        return _sigmoid(logits), history.assign(seconds=np.round(watch.seconds, 3))


def learning_rates(recipe: Recipe, steps: int) -> np.ndarray:
    """The step size of every training step: linear warm-up over the first epoch, then cosine decay to zero.

    Source of the decay: Loshchilov and Hutter 2017, SGDR, equation 5, without restarts.
    """
    step = np.arange(steps * recipe.epochs)
    decay = (step - steps + 1) / max(1, steps * (recipe.epochs - 1))
    shape = np.where(step < steps, (step + 1) / steps, 0.5 * (1 + np.cos(np.pi * np.clip(decay, 0, 1))))
    return recipe.learning_rate * shape


def training_batches(
    views: tuple[np.ndarray, ...], labels: np.ndarray, train: np.ndarray, recipe: Recipe, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless training batches: each epoch shows every image once, in a view drawn for that epoch."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(train)
        drawn = generator.integers(len(views), size=len(order))
        for start in range(0, len(order), recipe.batch_size):
            rows, which = order[start : start + recipe.batch_size], drawn[start : start + recipe.batch_size]
            batch = np.stack([views[view][row] for row, view in zip(rows, which, strict=True)])
            yield batch.astype(np.float32), labels[rows]


def _fitter(
    recipe: Recipe, activations: Activations, weights: Weights
) -> Callable[[Fold, Path], tuple[np.ndarray, pd.DataFrame]]:
    if recipe.fine_tune == "last_block":
        return TailFitter(recipe, activations, weights).fit
    views = range(len(activations.test_views))
    pooled = np.mean([pooled_features(activations, weights, view) for view in views], axis=0)
    return lambda job, folder: fit_probe(job, pooled, folder)


def pooled_features(activations: Activations, weights: Weights, view: int) -> np.ndarray:
    """Spatial mean of each channel at the cut and at the end of the untouched tail: float32 (n, channels)."""
    at_cut = np.stack([row.mean((0, 1), dtype=np.float32) for row in activations.views[view]])
    tail = backbones.tail(activations.backbone, weights, image_size=activations.image_size)
    at_end = backbones.features(tail).predict(np.asarray(activations.views[view]), batch_size=64, verbose=0)
    return np.concatenate([at_cut, at_end], axis=1)


def fit_probe(job: Fold, pooled: np.ndarray, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Logistic regression on pooled features, its penalty chosen by inner folds of the training images."""
    scaler = StandardScaler().fit(pooled[job.train])
    # A rotation onto the training images changes nothing for an L2 penalty and makes the fit small.
    _, _, axes = np.linalg.svd(scaler.transform(pooled[job.train]), full_matrices=False)
    rotated = scaler.transform(pooled) @ axes.T
    labels, train = job.labels, job.train
    inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=job.seed)
    scores = {}
    for strength in PROBE_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000)
        fold_scores = cross_val_score(
            model,
            rotated[train],
            labels[train],
            groups=job.inner_groups[train],
            cv=inner,
            scoring="neg_log_loss",
        )
        scores[strength] = float(fold_scores.mean())
    best = max(scores, key=scores.get)
    model = LogisticRegression(C=best, max_iter=2000).fit(rotated[train], labels[train])
    coefficients = (model.coef_ @ axes)[0] / scaler.scale_
    intercept = model.intercept_[0] - coefficients @ scaler.mean_
    np.savez(folder / "probe.npz", coefficients=coefficients, intercept=intercept, strength=best)
    probability = model.predict_proba(rotated[job.test])[:, 1]
    reached = {
        "loss": -scores[best],
        "accuracy": model.score(rotated[train], labels[train]),
        "val_loss": float(-np.mean(np.log(np.where(labels[job.test] == 1, probability, 1 - probability)))),
        "val_accuracy": float(np.mean((probability >= 0.5) == labels[job.test])),
    }
    return probability, pd.DataFrame([{"epoch": 0, **reached, "seconds": 0.0}])


def _predictions(job: Fold, recipe: Recipe, variant: str, probability: np.ndarray) -> pd.DataFrame:
    scored = job.table.iloc[job.test]
    return pd.DataFrame(
        {
            "image_id": scored.image_id.to_numpy(),
            "view": 0,
            "protocol": job.protocol,
            "recipe": recipe.fine_tune,
            "variant": variant,
            "seed": job.seed,
            "fold": job.fold,
            "group": scored.group.to_numpy(),
            "y_true": scored.label.to_numpy(int),
            "y_prob": probability.astype(float),
        }
    )


class _Watch(keras.callbacks.Callback):
    """Sets the step size before each step and notes how long each epoch took."""

    def __init__(self, rates: np.ndarray) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._rates = iter(rates)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.model.optimizer.learning_rate.assign(next(self._rates))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


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


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
