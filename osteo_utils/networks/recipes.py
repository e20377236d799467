"""How the trainable part is trained: recipe, step sizes, optimizer, precision and devices."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from osteo_utils.study import config

SHARE = "OSTEO_SHARE"
SINGLE = "float32"
# The range of single precision, so that no loss needs scaling; variables stay in single precision.
MIXED = "mixed_bfloat16"
# Stages from the input on. Layers of the same stage share a step size; what is added to a backbone comes last.
STAGE = re.compile(r"(?:block|conv)(\d)")
STAGES = 5


@dataclass(frozen=True)
class Recipe:
    """How the trainable part is trained; see `config.PARAMETERS` for the meaning of most fields.

    `hidden_units` is the width of a dense layer before the head (0: none), `view` how a film becomes a square (empty:
    as in the study). With `mirrored` a prediction is the mean over a film and its mirror image. With `decay` the step
    size warms up and falls; without it is constant.
    """

    fine_tune: str
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    class_weight: str = "none"
    inner_validation: float = 0.0
    patience: int = 1
    layer_decay: float = 1.0
    hidden_units: int = 0
    view: str = ""
    mirrored: bool = True
    decay: bool = True

    @property
    def cut(self) -> str:
        """Where the trunk ends (`backbones.CUTS`); a probe reads the input of the last block."""
        return {"none": "last_block", "paper": "head"}.get(self.fine_tune, self.fine_tune)

    def shares_input(self, cut: str, view: str) -> bool:
        """Whether activations at this cut, of films in this view and their mirror images, are what the recipe reads."""
        return (self.cut, self.view or view, self.mirrored) == (cut, view, True)

    @classmethod
    def named(cls, fine_tune: str) -> Recipe:
        """The recipe of this name with the default settings, or the paper's settings."""
        return PAPER if fine_tune == "paper" else cls(fine_tune)

    @classmethod
    def from_parameters(cls, fine_tune: str, parameters: dict) -> Recipe:
        """The recipe with a notebook's parameters; the probe and the recipe `paper` take none of them."""
        if fine_tune in ("none", "paper"):
            return cls.named(fine_tune)
        shared = [name for name in cls.__dataclass_fields__ if name in config.PARAMETERS and name != "view"]
        settings = {name: parameters[name] for name in shared}
        # All layers of a cached tail have the same step size.
        return cls(fine_tune, **settings | ({} if fine_tune == "all" else {"layer_decay": 1.0}))


# The paper's way, as far as its text goes (sections Methodology and Data Set). The paper says: both networks pretrained,
# films resized to 224×224 (the whole film, so its aspect is lost: `squeeze`), values normalised, files stratified and
# augmented, training shown by epoch. It does not say, and we chose: what is frozen (the whole network), the layers
# behind it (global average, 256 dense units with ReLU, dropout 0.5, one unit), the normalisation (the preprocessing of
# the ImageNet weights), the augmentation (the study's views), the loss (cross-entropy), Adam at a constant 0.001,
# batches of 32 (the default), 20 epochs, and scoring without the mirror image. The square has the study's `image_size`.
PAPER = Recipe(
    "paper", epochs=20, learning_rate=1e-3, dropout=0.5, hidden_units=256, view="squeeze", mirrored=False, decay=False
)


def learning_rates(recipe: Recipe, steps: int) -> np.ndarray:
    """The step size of every training step: linear warm-up over the first epoch, then cosine decay to zero.

    Constant without `recipe.decay`. Source: Loshchilov and Hutter 2017, SGDR, equation 5, without restarts.
    """
    step = np.arange(steps * recipe.epochs)
    if not recipe.decay:
        return np.full(len(step), recipe.learning_rate)
    decay = (step - steps + 1) / max(1, steps * (recipe.epochs - 1))
    shape = np.where(step < steps, (step + 1) / steps, 0.5 * (1 + np.cos(np.pi * np.clip(decay, 0, 1))))
    return recipe.learning_rate * shape


def stage_shares(variables: list[keras.Variable], layer_decay: float) -> list[float]:
    """For each variable its share of the step size: 1 behind the backbone, `layer_decay` to the power of the distance.

    Source: Howard and Ruder 2018 (ULMFiT), section 3.2, discriminative fine-tuning, there with 1/2.6. The stages are
    VGG16's five blocks and ResNet50's conv1 to conv5.
    """
    found = [STAGE.match(variable.path) for variable in variables]
    return [layer_decay ** (STAGES + 1 - int(stage[1])) if stage else 1.0 for stage in found]


def class_weights(labels: np.ndarray, learn: np.ndarray, kind: str) -> np.ndarray | None:
    """The weight of each image (n,) in the loss, or None where all weigh the same.

    With `balanced`, both classes of the positions `learn` have the same total weight, and the mean weight is 1.
    """
    if kind == "none":
        return None
    counts = np.bincount(labels[learn], minlength=2)
    return (len(learn) / (2 * counts))[labels].astype(np.float32)


class StagewiseAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019, AdamW).

    `shares` has one entry per trainable variable, in their order, by which its step size and decay are multiplied.
    """

    def __init__(self, learning_rate: float, decay: float, shares: list[float]) -> None:
        super().__init__(learning_rate)
        self.decay = decay
        self.shares = tuple(shares)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """One step of one variable; called by Keras."""
        rate = learning_rate * self.shares[self._get_variable_index(variable)]
        if self.decay:
            self.assign_sub(variable, variable * keras.ops.cast(rate * self.decay, variable.dtype))
        super().update_step(gradient, variable, rate)


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers built in this context compute in `policy`, a name of Keras's dtype policies."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def on_gpu() -> bool:
    """Whether Keras computes on a GPU, whatever the backend."""
    where = str(keras.ops.zeros(1).device).lower()
    return any(word in where for word in ("gpu", "cuda", "rocm"))


def shares_batches() -> bool:
    """Whether all GPUs work on one fit. Raises ValueError for an unknown value, or on a backend other than JAX."""
    word = os.environ.get(SHARE, "fits")
    if word not in ("fits", "batches"):
        raise ValueError(f"{SHARE} is {word!r}; expected 'fits' or 'batches'")
    if word == "batches" and keras.config.backend() != "jax":
        raise ValueError(
            f"{SHARE}=batches on the backend {keras.config.backend()}; Keras spreads a batch under JAX alone: set "
            f"KERAS_BACKEND=jax, or leave {SHARE} out, so that each GPU fits folds of its own"
        )
    return word == "batches"
