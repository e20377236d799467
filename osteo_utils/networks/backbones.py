"""VGG16 and ResNet50, cut into a frozen trunk and a trainable tail.

Trunk and tail put together equal the network of `keras.applications` without its classification layers,
followed by global average pooling and one dense unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import keras
import numpy as np
from sklearn.utils import gen_batches

from osteo_utils.networks import recipes
from osteo_utils.sources.weights import Weights

# The last layer of the trunk, by the part that is trained; with "all" the trunk is empty.
CUTS = {
    "vgg16": {"head": "block5_pool", "last_block": "block5_conv2", "last_stage": "block4_pool", "all": ""},
    "resnet50": {
        "head": "conv5_block3_out",
        "last_block": "conv5_block2_out",
        "last_stage": "conv4_block6_out",
        "all": "",
    },
}
# Where the earlier stages end. A probe reads their means as well, because early layers respond to texture.
STAGES = {
    "vgg16": ("block2_pool", "block3_pool", "block4_pool"),
    "resnet50": ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out"),
}
# The layers of a tail that are not of `keras.applications`.
OWN_LAYERS = ("pool", "hidden", "dropout", "head")


def preprocess(images: np.ndarray) -> np.ndarray:
    """Grey images, uint8 (n, s, s), as input of both networks: float32 (n, s, s, 3), in Keras's caffe mode."""
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"preprocess: got {images.dtype} {images.shape}; expected uint8 (images, rows, columns)")
    colour = np.repeat(images[..., None], 3, axis=-1).astype(np.float32)
    return keras.applications.imagenet_utils.preprocess_input(colour, data_format="channels_last", mode="caffe")


def trunk(backbone: str, weights: Weights, image_size: int = 224, cut: str = "last_block") -> keras.Model:
    """The frozen part: preprocessed images (n, s, s, 3) → activations (n, h, w, c) after the cut's layer."""
    model = keras.models.model_from_json(_parts(backbone, cut, image_size)[0])
    model.trainable = False
    _set_weights(model, weights, backbone)
    return model


def tail(
    backbone: str,
    weights: Weights,
    dropout: float = 0.0,
    seed: int = 0,
    image_size: int = 224,
    cut: str = "last_block",
    hidden_units: int = 0,
    precision: str = recipes.SINGLE,
) -> keras.Model:
    """The trainable part: activations (n, h, w, c) → logit of osteoporosis (n, 1); not compiled.

    The convolutions start from `weights`; BatchNorm stays frozen, because statistics of small batches are noisy.
    Layers `pool` (global average), `hidden` (dense, ReLU; only with `hidden_units`), `dropout` and `head` (one dense
    unit) follow; `seed` initialises the dense ones. With the cut `all` the input is preprocessed films (n, s, s, 3).
    The convolutions compute in `precision`, a Keras dtype policy; the rest, and every variable, is in single precision.
    """
    base = keras.models.model_from_json(_parts(backbone, cut, image_size, precision)[1])
    _set_weights(base, weights, backbone)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    values = keras.layers.GlobalAveragePooling2D(name="pool", dtype=recipes.SINGLE)(base.output)
    initial = keras.initializers.GlorotUniform(seed=seed)
    if hidden_units:
        values = keras.layers.Dense(hidden_units, "relu", kernel_initializer=initial, name="hidden")(values)
    dropped = keras.layers.Dropout(dropout, seed=seed, name="dropout")(values)
    logit = keras.layers.Dense(1, kernel_initializer=initial, name="head")(dropped)
    return keras.Model(base.input, logit, name=f"{backbone}_tail")


def features(tail_model: keras.Model) -> keras.Model:
    """A tail's pooled features: activations → (n, 2048) for ResNet50, (n, 512) for VGG16; shares its layers."""
    return keras.Model(tail_model.input, tail_model.get_layer("pool").output)


def maps(tail_model: keras.Model) -> keras.Model:
    """A tail's last feature maps, before pooling: activations → (n, h, w, c); shares its layers."""
    return keras.Model(tail_model.input, tail_model.get_layer("pool").input)


def outputs(model: keras.Model, rows: np.ndarray, batch_size: int = 64, chosen: np.ndarray | None = None) -> np.ndarray:
    """The output of a model with one output for rows (n, ...), float32 (n, ...); see `by_batch`."""
    return np.concatenate([values for _, (values,) in by_batch(model, rows, batch_size, chosen)])


def by_batch(
    model: keras.Model, rows: np.ndarray, batch_size: int = 64, chosen: np.ndarray | None = None
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """The outputs of a model batch by batch, each with its place among the rows.

    `rows` are activations, or films, uint8 (n, s, s); with `chosen` positions (m,), only these. Memory-mapped rows are
    read one batch at a time. Not by `predict`, which goes through tf.data and with few threads stalled for half a
    minute at a time.
    """
    count = len(rows) if chosen is None else len(chosen)
    for part in gen_batches(count, batch_size):
        batch = np.asarray(rows[part if chosen is None else chosen[part]])
        # The last batch is padded: for another shape the backend would compile the model again.
        missing = min(batch_size, count) - len(batch)
        padded = np.pad(batch, ((0, missing), *[(0, 0)] * (batch.ndim - 1)))
        found = model.predict_on_batch(network_input(padded))
        yield part, [np.asarray(one)[: len(batch)] for one in (found if isinstance(found, list) else [found])]


def network_input(rows: np.ndarray) -> np.ndarray:
    """A batch as float32 input: films (uint8) preprocessed, activations in single precision."""
    return preprocess(rows) if rows.dtype == np.uint8 else rows.astype(np.float32)


def output_shape(backbone: str, cut: str, image_size: int) -> tuple[int, ...]:
    """Height, width and channels of the activations at a cut."""
    return _parts(backbone, cut, image_size)[2]


@lru_cache(maxsize=16)
def _parts(
    backbone: str, cut: str, image_size: int, precision: str = recipes.SINGLE
) -> tuple[str, str, tuple[int, ...]]:
    """Trunk and tail as JSON, and the shape between them; cached, as building a network takes longer than a short fit."""
    layer = CUTS.get(backbone, {}).get(cut)
    if layer is None:
        known = {name: list(cuts) for name, cuts in CUTS.items()}
        raise ValueError(f"backbone {backbone!r} with cut {cut!r}: not known; expected one of {known}")
    build = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}[backbone]
    with recipes.precision(precision):
        whole = build(weights=None, include_top=False, input_shape=(image_size, image_size, 3))
    border = whole.get_layer(layer).output if layer else whole.input
    first = keras.Model(whole.input, border)
    if layer == whole.layers[-1].name:
        empty = keras.Input(border.shape[1:])
        second = keras.Model(empty, empty)
    else:
        second = keras.Model(border, whole.output)
    return first.to_json(), second.to_json(), tuple(border.shape[1:])


def _set_weights(model: keras.Model, weights: Weights, backbone: str) -> None:
    if weights.backbone != backbone:
        raise ValueError(f"weights of {weights.backbone} given to {backbone}; load those of {backbone}")
    for layer in model.layers:
        for variable in layer.variables:
            variable.assign(weights.tensors[f"{layer.name}/{variable.name}"])
