"""Train a backbone from a cut on: the tail on cached activations of its frozen trunk, or the whole network on films."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from scipy.special import entr

from osteo_utils.images import film_views
from osteo_utils.networks import backbones, guards, recipes
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe, StagewiseAdam, class_weights, learning_rates, stage_shares
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights
from osteo_utils.statistics import calibration
from osteo_utils.study import results, runtime

OVERFIT_RATE = 1e-3
TAIL_FILE = "tail.weights.h5"


def untrained_tail(
    recipe: Recipe, backbone: str, weights: Weights, image_size: int, precision: str = recipes.SINGLE
) -> keras.Model:
    """The tail that a recipe trains, with pretrained weights; not compiled."""
    return backbones.tail(
        backbone,
        weights,
        dropout=recipe.dropout,
        image_size=image_size,
        cut=recipe.cut,
        hidden_units=recipe.hidden_units,
        precision=precision,
    )


def fitted_tail(
    folder: Path, backbone: str, weights: Weights, image_size: int, fine_tune: str = "last_block"
) -> keras.Model:
    """The trained tail of one fit of the recipe `fine_tune`.

    For another fit of the same recipe load its `TAIL_FILE` into this tail: building a new one is many times slower.
    """
    keras.utils.clear_session()
    tail = untrained_tail(Recipe.named(fine_tune), backbone, weights, image_size)
    tail.load_weights(folder / TAIL_FILE)
    return tail


class TailFitter:
    """One compiled tail for all folds: building and tracing a new one would take longer than a short fit.

    `reset` restores every variable, those of the optimizer and of dropout included, so a fit depends on its own seed
    and data, not on the fits before it.
    """

    def __init__(
        self, recipe: Recipe, activations: Activations, weights: Weights, precision: str = recipes.SINGLE
    ) -> None:
        self.recipe = recipe
        self.activations = activations
        keras.utils.clear_session()
        self.tail = untrained_tail(recipe, activations.backbone, weights, activations.image_size, precision)
        guards.check_trainable(self.tail, activations.backbone, recipe)
        trained = self.tail.trainable_variables
        shares = stage_shares(trained, recipe.layer_decay)
        self.tail.compile(
            optimizer=StagewiseAdam(recipe.learning_rate, recipe.weight_decay, shares),
            loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
        )
        self.tail.optimizer.build(trained)
        self._variables = [*self.tail.variables, *self.tail.optimizer.variables]
        self._start = _values(self._variables)

    def reset(self, seed: int) -> None:
        """Restore pretrained layers and optimizer; `seed` draws the dense layers and dropout."""
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)
        generator = np.random.default_rng(seed)
        for name in ("hidden", "head") if self.recipe.hidden_units else ("head",):
            kernel = self.tail.get_layer(name).kernel
            limit = np.sqrt(6 / sum(kernel.shape))
            kernel.assign(generator.uniform(-limit, limit, kernel.shape).astype(np.float32))
        if self.recipe.dropout > 0:
            generator = self.tail.get_layer("dropout").seed_generator
            generator.state.assign(np.array([seed, 0], generator.state.dtype))
        keras.utils.set_random_seed(seed)

    def check_overfit(self, fold: Fold) -> None:
        """Stop the study unless the tail can overfit a few training images of a fold; `reset` undoes it."""
        self.reset(fold.seed)
        train, half = fold.train, guards.OVERFIT_IMAGES // 2
        rows = np.concatenate([train[fold.labels[train] == label][:half] for label in (0, 1)])
        batch = backbones.network_input(np.stack([self.activations.views[0][row] for row in rows]))
        truth = fold.labels[rows].astype(np.float32)[:, None]
        self.tail.optimizer.learning_rate.assign(OVERFIT_RATE)
        guards.check_overfit(
            lambda: self._step(batch, truth, None)["loss"],
            f"{self.activations.backbone}, {self.recipe.fine_tune}",
            floor=float(entr([self.recipe.label_smoothing / 2, 1 - self.recipe.label_smoothing / 2]).sum()),
        )

    def fit(self, fold: Fold, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
        """Train on the fold's training images; returns the probabilities of its scored ones and the history."""
        activations, tail = self.activations, self.tail
        seed = runtime.derived_seed(activations.backbone, activations.variant, fold.protocol, fold.seed, fold.number)
        learn, held = fold.inner_split(self.recipe.inner_validation, seed)
        guards.check_apart(fold, learn, held, fold.test)
        self.reset(seed)
        before = _values(tail.trainable_variables)
        history, inner = self._train(fold, learn, held, seed)
        guards.check_moved(tail.trainable_variables, before)
        logits = mean_logits(tail, activations, fold.test)
        # A model that is not compiled: the optimizer's moments would make the file three times as large.
        keras.Model(tail.input, tail.output).save_weights(folder / TAIL_FILE)
        if len(held):
            results.write_table(folder / "inner_validation.csv", inner)
        return calibration.sigmoid(logits), history

    def _train(self, fold: Fold, learn: np.ndarray, held: np.ndarray, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One row per epoch. The scored fold is monitored, never used to stop or to choose.

        Where images are `held` out, the epoch with their smallest loss is kept. Not by `fit`: see `backbones.by_batch`.
        """
        recipe, labels = self.recipe, fold.labels
        batches = ahead(training_batches(self.activations, fold.table.image_id, learn, recipe.batch_size, seed))
        weight = class_weights(labels, learn, recipe.class_weight)
        steps = int(np.ceil(len(learn) / recipe.batch_size))
        rates = iter(learning_rates(recipe, steps))
        rows, inner, best = [], [], (np.inf, 0, [])
        for epoch in range(1, recipe.epochs + 1):
            started = time.perf_counter()
            sums = {"loss": 0.0, "accuracy": 0.0}
            for _ in range(steps):
                self.tail.optimizer.learning_rate.assign(next(rates))
                inputs, shown = next(batches)
                truth = labels[shown].astype(np.float32)[:, None]
                logs = self._step(inputs, truth, None if weight is None else weight[shown])
                # `train_on_batch` returns one batch, so the epoch is summed here; the last batch may be smaller.
                sums = {name: total + logs[name] * len(shown) for name, total in sums.items()}
            row = {"epoch": epoch} | {name: total / len(learn) for name, total in sums.items()}
            row["val_loss"], row["val_accuracy"] = self._score(fold, fold.test)
            rows.append({**row, "seconds": round(time.perf_counter() - started, 3)})
            if len(held):
                loss, _ = self._score(fold, held)
                inner.append({"epoch": epoch, "loss": loss})
                if loss < best[0]:
                    best = (loss, epoch, _values(self.tail.trainable_variables))
                elif epoch - best[1] >= recipe.patience:
                    break
        batches.close()
        for variable, value in zip(self.tail.trainable_variables, best[2], strict=False):
            variable.assign(value)
        return pd.DataFrame(rows), pd.DataFrame(inner, columns=["epoch", "loss"])

    def _step(self, inputs: np.ndarray, truth: np.ndarray, weight: np.ndarray | None) -> dict[str, float]:
        """One training step; returns its loss and accuracy."""
        distribution = keras.distribution.distribution()
        if distribution and len(truth) % distribution.num_model_replicas:
            # A batch that does not divide evenly goes whole to every device: its means are the same.
            times = distribution.num_model_replicas
            inputs, truth = (np.concatenate([one] * times) for one in (inputs, truth))
            weight = None if weight is None else np.concatenate([weight] * times)
        logs = self.tail.train_on_batch(inputs, truth, sample_weight=weight, return_dict=True)
        return {name: float(value) for name, value in logs.items()}

    def _score(self, fold: Fold, chosen: np.ndarray) -> tuple[float, float]:
        """Loss and accuracy of the chosen images in view 0, as in training but without class weights."""
        truth = fold.labels[chosen]
        logits = backbones.outputs(self.tail, self.activations.views[0], chosen=chosen)
        logits = logits[:, 0].astype(np.float64)
        target = truth * (1 - self.recipe.label_smoothing) + self.recipe.label_smoothing / 2
        loss = float(np.mean(np.logaddexp(0, logits) - target * logits))
        return loss, float(np.mean((logits > 0) == (truth == 1)))


def mean_logits(tail: keras.Model, activations: Activations, positions: np.ndarray) -> np.ndarray:
    """Logits of the films at positions (m,), the mean over the test views: float64 (m,)."""
    logits = [backbones.outputs(tail, view, chosen=positions)[:, 0] for view in activations.test_views]
    return np.mean(logits, axis=0).astype(np.float64)


def training_batches(
    activations: Activations, image_ids: pd.Series, learn: np.ndarray, batch_size: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless training batches: the network's input, and the positions of its images.

    Each epoch shows every image once: in a cached view drawn for that epoch, or, with the cut `all`, in a random view
    of its own.
    """
    generator, views = np.random.default_rng(seed), activations.views
    with ThreadPoolExecutor(int(os.environ.get("OSTEO_THREADS", 1))) as pool:
        for epoch in itertools.count():
            order = generator.permutation(learn)
            drawn = generator.integers(len(views), size=len(order))
            for start in range(0, len(order), batch_size):
                rows, which = order[start : start + batch_size], drawn[start : start + batch_size]
                if activations.cut == "all":
                    # Views 0 and 1 are the film and its mirror image, not random ones.
                    fresh = partial(film_views.augment, index=epoch + 2, seed=seed)
                    batch = list(pool.map(lambda row, make=fresh: make(views[0][row], key=image_ids[row]), rows))
                else:
                    batch = [views[view][row] for row, view in zip(rows, which, strict=True)]
                yield backbones.network_input(np.stack(batch)), rows


def ahead(batches: Iterator) -> Iterator:
    """The same batches; each is prefetched while the one before it is trained on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, batches)
        while True:
            ready = waiting.result()
            waiting = pool.submit(next, batches)
            yield ready


def _values(variables: list) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]
