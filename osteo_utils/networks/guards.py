"""Guards: conditions without which predictions mean nothing. Each one stops the study where it does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import pandas as pd

from osteo_utils.networks import backbones
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources.weights import Weights, tensor_hash

PREPROCESSING = {"vgg16": keras.applications.vgg16, "resnet50": keras.applications.resnet50}
# Trainable weights of each cut, kernels and biases, counted from Simonyan & Zisserman 2015 (table 1, D) and He et al.
# 2016 (table 1, 50-layer, with Keras's biases and without BatchNorm).
TRAINABLE = {
    "vgg16": {"head": 0, "last_block": 2_359_808, "last_stage": 7_079_424, "all": 14_714_688},
    "resnet50": {"head": 0, "last_block": 4_459_520, "last_stage": 14_953_472, "all": 23_481_472},
}
CHANNELS = {"vgg16": 512, "resnet50": 2048}
OVERFIT_IMAGES = 4
OVERFIT_STEPS = 300


def check_backbone(trunk: keras.Model, tail: keras.Model, weights: Weights) -> None:
    """Raise RuntimeError unless trunk and tail together hold every tensor of `weights`, unchanged."""
    held = {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for model in (trunk, tail)
        for layer in model.layers
        if layer.name not in backbones.OWN_LAYERS
        for variable in layer.variables
        if "seed_generator" not in variable.path
    }
    if absent := sorted(set(weights.tensors) - set(held)):
        raise RuntimeError(
            f"{weights.backbone}: {len(absent)} of {len(weights.tensors)} tensors are not in the network, the first "
            f"is {absent[0]}; the backbone is not in the graph. Mend CUTS in backbones.py"
        )
    if (found := tensor_hash(held)) != weights.sha256:
        raise RuntimeError(
            f"{weights.backbone}: the network's tensors have the hash {found[:12]}…, expected {weights.sha256[:12]}… of "
            f"{weights.source}; something wrote to them before training"
        )


def check_preprocessing(backbone: str, preprocess: Callable[[np.ndarray], np.ndarray]) -> None:
    """Raise RuntimeError unless `preprocess` agrees with the backbone's own `preprocess_input` at every grey level."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    expected = PREPROCESSING[backbone].preprocess_input(np.repeat(levels[..., None], 3, -1).astype(np.float32))
    if (gap := float(np.abs(preprocess(levels) - expected).max())) > 1e-4:
        raise RuntimeError(
            f"{backbone}: the input differs by up to {gap:g} from keras.applications.{backbone}.preprocess_input; the "
            "weights were trained with that one"
        )


def check_activations(trunk: keras.Model, film: np.ndarray, stored: np.ndarray) -> None:
    """Raise RuntimeError unless the `stored` activations of a film, uint8 (s, s), match the trunk's, within float16."""
    found = keras.ops.convert_to_numpy(trunk(backbones.preprocess(film[None]), training=False))[0]
    scale = float(np.abs(found).max())
    if (gap := float(np.abs(found - stored).max())) > 0.01 * scale:
        raise RuntimeError(
            f"{trunk.name}: the stored activations of the first film differ by {gap:g} from those computed now (largest "
            f"{scale:g}); delete the study's folder trunk/ and run again"
        )


def check_trainable(tail: keras.Model, backbone: str, recipe: Recipe) -> None:
    """Raise RuntimeError unless as many weights are trainable as the recipe trains."""
    channels, hidden = CHANNELS[backbone], recipe.hidden_units
    added = (channels + 1) * hidden + hidden + 1 if hidden else channels + 1
    expected = TRAINABLE[backbone][recipe.cut] + added
    found = sum(int(np.prod(variable.shape)) for variable in tail.trainable_variables)
    if found != expected:
        raise RuntimeError(
            f"{backbone}, {recipe.fine_tune}: {found:,} weights are trainable, expected {expected:,}; a layer is frozen "
            "or free that should not be"
        )


def check_overfit(
    step: Callable[[], float], name: str, floor: float = 0.0, n_steps: int = OVERFIT_STEPS
) -> list[float]:
    """Train on the same batch until the loss has halved; returns the losses.

    `step` takes one step and returns the loss before it; `floor` is the loss of perfect predictions (above 0 with label
    smoothing). A first loss above log 2, the loss of guessing, counts as log 2, which a network reaches without seeing
    its images. Raises RuntimeError where `n_steps` do not suffice: a network that cannot overfit a few images is not
    being trained.
    """
    losses = [step()]
    goal = floor + 0.5 * (min(losses[0], float(np.log(2))) - floor)
    # NaN has not reached the goal either.
    while not losses[-1] <= goal:
        if len(losses) > n_steps:
            raise RuntimeError(
                f"{name}: {n_steps} steps on the same {OVERFIT_IMAGES} images took the loss from {losses[0]:.3f} to "
                f"{losses[-1]:.3f}, expected {goal:.3f}; the images, their labels or the gradient do not reach the network"
            )
        losses.append(step())
    return losses


def check_moved(variables: list, before: list[np.ndarray]) -> None:
    """Raise RuntimeError where training did not change one of the trainable variables."""
    for variable, old in zip(variables, before, strict=True):
        if np.array_equal(keras.ops.convert_to_numpy(variable), old):
            raise RuntimeError(f"{variable.path} did not move; it is cut off from the loss")


def check_apart(fold: Fold, learn: np.ndarray, *others: np.ndarray) -> None:
    """Raise RuntimeError where a group of the positions `learn` is among those of `others`.

    Under `by_file`, which splits groups on purpose, images are compared instead.
    """
    for other in others:
        if shared := set(fold.inner_groups[learn]) & set(fold.inner_groups[other]):
            raise RuntimeError(
                f"{fold.protocol}, seed {fold.seed}, fold {fold.number}: {len(shared)} "
                f"{'images' if fold.protocol == 'by_file' else 'groups'} are on both sides, the first is "
                f"{min(shared)}; run 02_eda again"
            )


def check_probabilities(probability: np.ndarray, name: str) -> None:
    """Raise RuntimeError for predictions that are not finite or all equal: a dead network."""
    if not np.isfinite(probability).all():
        raise RuntimeError(f"{name}: a prediction is not finite; lower learning_rate")
    if len(probability) > 1 and np.ptp(probability) < 1e-7:
        raise RuntimeError(f"{name}: every image gets {probability[0]:.6f}; the network did not learn anything")


def check_out_of_fold(predictions: pd.DataFrame, folds: Iterable[Fold]) -> None:
    """Raise RuntimeError unless each image is predicted once per protocol and seed, by the fold that left it out.

    `predictions` of one recipe and variant, `folds` all of its folds.
    """
    columns = ["protocol", "seed", "fold", "image_id"]
    left_out = [
        (fold.protocol, fold.seed, fold.number, image)
        for fold in folds
        for image in fold.table.image_id.iloc[fold.test]
    ]
    expected = pd.MultiIndex.from_tuples(left_out, names=columns)
    found = pd.MultiIndex.from_frame(predictions[columns])
    for what, wrong in (
        ("is predicted twice", found[found.duplicated()]),
        ("is predicted by a fit that does not leave it out", found.difference(expected)),
        ("has no prediction", expected.difference(found)),
    ):
        if len(wrong):
            place = dict(zip(columns, wrong[0], strict=True))
            raise RuntimeError(
                f"{place['image_id']} {what} (protocol {place['protocol']}, seed {place['seed']}, fold "
                f"{place['fold']}; {len(wrong)} such); delete the study's folder fits/ and run again"
            )
