"""VGG16 and ResNet50, cut into a frozen trunk and a trainable tail, and the cache of trunk activations.

Trunk and tail put together equal the network of `keras.applications` without its classification layers,
followed by global average pooling and one dense unit.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap

from osteo_utils.models import devices
from osteo_utils.models.weights import Weights
from osteo_utils.study import results, runtime, scratch

# The last layer of the trunk, by what learns; with "all" the trunk is empty and films go in as they are.
CUTS = {
    "vgg16": {"head": "block5_pool", "last_block": "block5_conv2", "last_stage": "block4_pool", "all": ""},
    "resnet50": {
        "head": "conv5_block3_out",
        "last_block": "conv5_block2_out",
        "last_stage": "conv4_block6_out",
        "all": "",
    },
}
# Where the earlier stages end; a probe reads their means as well, as texture is seen there and not at the end alone.
STAGES = {
    "vgg16": ("block2_pool", "block3_pool", "block4_pool"),
    "resnet50": ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out"),
}
# What a tail has after the layers of `keras.applications`.
OWN_LAYERS = ("pool", "hidden", "dropout", "head")
FLOAT16_MAX = float(np.finfo(np.float16).max)
SECONDS_BETWEEN_REPORTS = 15


def preprocess(images: np.ndarray) -> np.ndarray:
    """Grey images, uint8 (n, s, s), as both networks expect them: float32 (n, s, s, 3).

    Keras's caffe mode: blue, green, red, each less its ImageNet mean, on the scale 0 to 255.
    """
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"preprocess: got {images.dtype} {images.shape}; expected uint8 (images, rows, columns)"
        )
    colour = np.repeat(images[..., None], 3, axis=-1).astype(np.float32)
    return keras.applications.imagenet_utils.preprocess_input(
        colour, data_format="channels_last", mode="caffe"
    )


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
    precision: str = devices.SINGLE,
) -> keras.Model:
    """The part that learns: activations (n, h, w, c) → logit of osteoporosis (n, 1); not compiled.

    The convolutions start from `weights` and are trainable; BatchNorm keeps its ImageNet statistics and
    scale, as batches of this size would only blur them. Layers `pool` (global average), `hidden` (dense, ReLU;
    only with `hidden_units`), `dropout` (a share in [0, 1)) and `head` (one dense unit) follow, the dense ones
    drawn with `seed`. With the cut `all` the input is preprocessed films (n, s, s, 3). The convolutions compute in
    `precision`, a name of Keras's dtype policies; what follows them, and every variable, is in single precision.
    """
    base = keras.models.model_from_json(_parts(backbone, cut, image_size, precision)[1])
    _set_weights(base, weights, backbone)
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    values = keras.layers.GlobalAveragePooling2D(name="pool", dtype=devices.SINGLE)(base.output)
    initial = keras.initializers.GlorotUniform(seed=seed)
    if hidden_units:
        dense = keras.layers.Dense(hidden_units, "relu", kernel_initializer=initial, name="hidden")
        values = dense(values)
    dropped = keras.layers.Dropout(dropout, seed=seed, name="dropout")(values)
    logit = keras.layers.Dense(1, kernel_initializer=initial, name="head")(dropped)
    return keras.Model(base.input, logit, name=f"{backbone}_tail")


def features(tail_model: keras.Model) -> keras.Model:
    """A tail's pooled features: activations → (n, 2048) for ResNet50, (n, 512) for VGG16; shares its layers."""
    return keras.Model(tail_model.input, tail_model.get_layer("pool").output)


def maps(tail_model: keras.Model) -> keras.Model:
    """A tail's last feature maps, before pooling: activations → (n, h, w, c); shares its layers."""
    return keras.Model(tail_model.input, tail_model.get_layer("pool").input)


def activations(
    images: np.ndarray,
    backbone: str,
    weights: Weights,
    directory: Path,
    cache_gb: float = 8.0,
    cut: str = "last_block",
    batch_size: int = 32,
    note: str = "",
) -> np.memmap:
    """Trunk activations of uint8 images (n, s, s): float16 (n, h, w, c), read-only, row i for image i.

    The means over the earlier stages are kept beside them (`stage_means`).
    Computed once per content: the file's name carries a hash of the images, the weights, the cut and `note`.
    The file appears under its name only when it is whole. Raises ValueError, before anything is computed,
    where the folder would grow beyond `cache_gb` (10⁹ bytes each) or the disk is too full, and where an
    activation does not fit into float16.
    """
    key = runtime.hash_of(
        {
            "images": images,
            "weights": weights.sha256,
            "preprocessing": "caffe",
            "store": "float16, means beside",
            "stages": STAGES[backbone],
            "note": note,
        }
    )[:16]
    path = Path(directory) / f"{backbone}-{cut}-{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            for left in path.parent.glob(f".{path.stem}.*"):
                left.unlink()
            shape = (len(images), *output_shape(backbone, cut, images.shape[1]))
            _check_room(path, int(np.prod(shape)) * 2, cache_gb)
            model = _with_stages(trunk(backbone, weights, images.shape[1], cut), STAGES[backbone])
            # The activations come last, so that where they are the means are as well.
            with results.atomic_path(path) as values, results.atomic_path(_beside(path)) as means:
                _fill((values, means), model, images, shape, batch_size, f"{backbone} trunk")
    return np.load(path, mmap_mode="r")


def channel_means(rows: np.ndarray) -> np.ndarray:
    """Spatial mean of each channel of activations (n, h, w, c): float32 (n, c)."""
    means = scratch.array((len(rows), rows.shape[-1]), np.float32)
    for row, mean in zip(rows, means, strict=True):
        row.mean((0, 1), dtype=np.float32, out=mean)
    return means


def stage_means(stored: np.memmap) -> np.ndarray:
    """Spatial mean of each channel at the ends of the stages before the cut: float32 (n, channels), 0 channels if none.

    `stored` is what `activations` returned.
    """
    return np.load(_beside(Path(stored.filename)), mmap_mode="r")


def _beside(path: Path) -> Path:
    return path.with_suffix(".means")


def _with_stages(trunk_model: keras.Model, stages: tuple[str, ...]) -> keras.Model:
    """The trunk with one more output: the means over the stages that it holds, (n, channels)."""
    held = [layer.name for layer in trunk_model.layers]
    ends = [trunk_model.get_layer(name).output for name in stages if name in held[:-1]]
    pool = keras.layers.GlobalAveragePooling2D(dtype="float32")
    means = [pool(end) for end in ends]
    return keras.Model(trunk_model.input, [trunk_model.output, *means])


def outputs(
    model: keras.Model, rows: np.ndarray, batch_size: int = 64, chosen: np.ndarray | None = None
) -> np.ndarray:
    """What a model gives for rows (n, ...): float32 (n, ...); with `chosen` positions (m,) for these alone, (m, ...).

    Rows of a float type go in as they are; uint8 rows are films (n, s, s), which are preprocessed first. They are read
    batch by batch, so that of memory-mapped rows no more than a batch is in memory.
    """
    return np.concatenate([values for _, values in by_batch(model, rows, batch_size, chosen)])


def by_batch(
    model: keras.Model, rows: np.ndarray, batch_size: int = 64, chosen: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """The same batch by batch, for what need not be in memory as a whole: its place among the rows, and the values."""
    for start, (values,) in _in_batches(model, rows, batch_size, network_input, chosen):
        yield slice(start, start + len(values)), values


def network_input(rows: np.ndarray) -> np.ndarray:
    """A batch as a tail takes it, float32: films (uint8) preprocessed, activations in single precision."""
    return preprocess(rows) if rows.dtype == np.uint8 else rows.astype(np.float32)


def output_shape(backbone: str, cut: str, image_size: int) -> tuple[int, ...]:
    """Height, width and channels of the activations at a cut."""
    return _parts(backbone, cut, image_size)[2]


def _check_room(path: Path, needed: int, cache_gb: float) -> None:
    held = 0
    for file in path.parent.glob("*.npy"):
        # Another writer may rename its file between the listing and the look at it.
        with suppress(FileNotFoundError):
            held += file.stat().st_size
    if held + needed > cache_gb * 1e9:
        raise ValueError(
            f"{path.name} needs {needed:,} bytes and {path.parent} holds {held:,} already; cache_gb = {cache_gb} "
            f"allows {int(cache_gb * 1e9):,}. Raise cache_gb to at least {math.ceil((held + needed) / 1e6) / 1e3:g}, "
            "or delete files of that folder: they are made again when needed"
        )
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(
            f"{path.name} needs {needed:,} bytes, the disk of {path.parent} has {free:,} free; make room, or set "
            "OSTEO_HOME to a larger disk (cache_gb does not help here)"
        )


def _in_batches(
    model: keras.Model,
    rows: np.ndarray,
    batch_size: int,
    prepare: Callable[[np.ndarray], np.ndarray],
    chosen: np.ndarray | None = None,
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """First position and outputs of each batch of the rows, or of those chosen.

    Batch by batch and not by `predict`: that goes through tf.data, which with few threads was seen to stand still
    for half a minute at a time.
    """
    count = len(rows) if chosen is None else len(chosen)
    for start in range(0, count, batch_size):
        part = slice(start, start + batch_size)
        batch = np.asarray(rows[part if chosen is None else chosen[part]])
        # The last batch is filled up, as another shape would have the backend compile the model again.
        missing = min(batch_size, count) - len(batch)
        filled = np.pad(batch, ((0, missing), *[(0, 0)] * (batch.ndim - 1)))
        found = model.predict_on_batch(prepare(filled))
        found = [np.asarray(one)[: len(batch)] for one in (found if isinstance(found, list) else [found])]
        yield start, found


def _fill(
    files: tuple[Path, Path],
    model: keras.Model,
    images: np.ndarray,
    shape: tuple[int, ...],
    batch_size: int,
    name: str,
) -> None:
    """Write the first output of `model` as it comes, and its other outputs side by side, float32 (n, channels)."""
    store = open_memmap(files[0], "w+", np.float16, shape)
    channels = sum(output.shape[-1] for output in model.outputs[1:])
    means = open_memmap(files[1], "w+", np.float32, (len(images), channels))
    started = reported = time.monotonic()
    for start, (values, *others) in _in_batches(model, images, batch_size, preprocess):
        done = start + len(values)
        largest = float(np.abs(values).max())
        if not largest <= FLOAT16_MAX:
            raise ValueError(
                f"{name}: an activation of images {start} to {done - 1} is {largest:g}; float16 holds "
                f"at most {FLOAT16_MAX:g}. Check the weights, or cut the network elsewhere"
            )
        store[start:done] = values
        means[start:done] = np.concatenate([np.empty((len(values), 0)), *others], axis=1)
        now = time.monotonic()
        if now - reported > SECONDS_BETWEEN_REPORTS:
            print(
                f"{name}: {done} of {len(images)} images, {done / (now - started):.1f} images/s", flush=True
            )
            reported = now
    store.flush()
    means.flush()


@lru_cache(maxsize=16)
def _parts(
    backbone: str, cut: str, image_size: int, precision: str = devices.SINGLE
) -> tuple[str, str, tuple[int, ...]]:
    """Trunk and tail as JSON, and the shape between them; kept, as building the whole network takes longer than a short fit."""
    layer = CUTS.get(backbone, {}).get(cut)
    if layer is None:
        known = {name: list(cuts) for name, cuts in CUTS.items()}
        raise ValueError(f"backbone {backbone!r} with cut {cut!r}: not known; expected one of {known}")
    build = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}[backbone]
    with devices.precision(precision):
        whole = build(weights=None, include_top=False, input_shape=(image_size, image_size, 3))
    border = whole.get_layer(layer).output if layer else whole.input
    first = keras.Model(whole.input, border)
    if layer == whole.layers[-1].name:
        nothing = keras.Input(border.shape[1:])
        second = keras.Model(nothing, nothing)
    else:
        second = keras.Model(border, whole.output)
    return first.to_json(), second.to_json(), tuple(border.shape[1:])


def _set_weights(model: keras.Model, weights: Weights, backbone: str) -> None:
    if weights.backbone != backbone:
        raise ValueError(f"weights of {weights.backbone} given to {backbone}; load those of {backbone}")
    for layer in model.layers:
        for variable in layer.variables:
            variable.assign(weights.tensors[f"{layer.name}/{variable.name}"])
