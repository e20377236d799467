"""Train the tail of a backbone on cached activations of its frozen trunk: one compiled tail for all folds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from osteo_utils.models import backbones
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Fold, Recipe
from osteo_utils.models.weights import Weights
from osteo_utils.study import runtime


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
        labels = job.labels.astype(np.float32)[:, None]
        tested = [view[job.test] for view in activations.test_views]
        history = self._train(
            training_batches(activations.views, labels, job.train, recipe, seed), job, tested[0]
        )
        for variable, old in zip(tail.trainable_variables, before, strict=True):
            if np.array_equal(keras.ops.convert_to_numpy(variable), old):
                raise RuntimeError(f"{variable.path} did not move; it is cut off from the loss")
        logits = np.mean([backbones.outputs(tail, view) for view in tested], axis=0)[:, 0]
        tail.save_weights(folder / "tail.weights.h5")
        return _sigmoid(logits), history

    def _train(
        self, batches: Iterator[tuple[np.ndarray, np.ndarray]], job: Fold, watched: np.ndarray
    ) -> pd.DataFrame:
        """One row per epoch; the scored fold is watched after each, never used to stop or to choose.

        Step by step and not by `fit`: see `backbones.outputs`.
        """
        steps = int(np.ceil(len(job.train) / self.recipe.batch_size))
        rates = iter(learning_rates(self.recipe, steps))
        rows = []
        for epoch in range(1, self.recipe.epochs + 1):
            started = time.perf_counter()
            sums = {"loss": 0.0, "accuracy": 0.0}
            for _ in range(steps):
                self.tail.optimizer.learning_rate.assign(next(rates))
                inputs, truth = next(batches)
                # Keras forgets the batches before, so the epoch is added up here; the last batch may be smaller.
                logs = self.tail.train_on_batch(inputs, truth, return_dict=True)
                sums = {name: total + float(logs[name]) * len(truth) for name, total in sums.items()}
            row = {"epoch": epoch} | {name: total / len(job.train) for name, total in sums.items()}
            logits = backbones.outputs(self.tail, watched)[:, 0].astype(np.float64)
            truth = job.labels[job.test]
            target = truth * (1 - self.recipe.label_smoothing) + self.recipe.label_smoothing / 2
            row["val_loss"] = float(np.mean(np.logaddexp(0, logits) - target * logits))
            row["val_accuracy"] = float(np.mean((logits > 0) == (truth == 1)))
            rows.append({**row, "seconds": round(time.perf_counter() - started, 3)})
        return pd.DataFrame(rows)


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


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
