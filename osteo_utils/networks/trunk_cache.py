"""The cache of trunk activations: computed once for each content, float16 on disk, one writer at a time."""

from __future__ import annotations

import math
import shutil
import time
from contextlib import suppress
from functools import lru_cache
from mmap import mmap
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap

from osteo_utils.networks import backbones
from osteo_utils.networks.backbones import STAGES
from osteo_utils.sources.weights import Weights
from osteo_utils.study import progress, resources, results, runtime

FLOAT16_MAX = float(np.finfo(np.float16).max)
SECONDS_BETWEEN_REPORTS = 15


def activations(
    images: np.ndarray,
    backbone: str,
    weights: Weights,
    directory: Path,
    cache_gb: float = 8.0,
    cut: str = "last_block",
    batch_size: int = 32,
) -> np.memmap:
    """Trunk activations of uint8 images (n, s, s): float16 (n, h, w, c), read-only, row i for image i.

    Computed once per content: the file's name has a hash of images and weights. `stage_means` reads the means that are
    kept beside it. Raises ValueError, before anything is computed, where the folder would grow beyond `cache_gb` (10⁹
    bytes each) or the disk is too full; and where an activation does not fit into float16.
    """
    about = {"images": images, "weights": weights.sha256, "preprocessing": "caffe"}
    key = runtime.hash_of({**about, "store": "float16, means beside", "stages": STAGES[backbone]})[:16]
    path = Path(directory) / f"{backbone}-{cut}-{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            for left in path.parent.glob(f".{path.stem}.*"):
                left.unlink()
            shape = (len(images), *backbones.output_shape(backbone, cut, images.shape[1]))
            _check_room(path, int(np.prod(shape)) * 2, cache_gb)
            model = _trunk_with_stages(backbone, weights, images.shape[1], cut)
            # The activations get their name last, so wherever they are, the means are as well.
            with results.atomic_path(path) as values, results.atomic_path(_beside(path)) as means:
                _fill(values, means, model, images, shape, batch_size, backbone)
        else:
            progress.report(progress.PASSES, len(images))
    return np.load(path, mmap_mode="r")


def channel_means(rows: np.ndarray) -> np.ndarray:
    """Spatial mean of each channel of activations (n, h, w, c): float32 (n, c)."""
    means = resources.array((len(rows), rows.shape[-1]), np.float32)
    for row, mean in zip(rows, means, strict=True):
        row.mean((0, 1), dtype=np.float32, out=mean)
    return means


def stage_means(stored: np.memmap) -> np.ndarray:
    """Spatial mean of each channel at the ends of the stages before the cut: float32 (n, channels), 0 channels if none."""
    return np.load(_beside(Path(stored.filename)), mmap_mode="r")


def end_means(stored: np.ndarray, backbone: str, weights: Weights, image_size: int) -> np.ndarray:
    """Spatial mean of each channel at the end of the pretrained tail: float32 (n, channels).

    Those of activations from a file are computed once and kept beside it, with a hash of the code that builds the tail.
    """
    if not isinstance(stored.base, mmap):
        return _means_at_end(stored, backbone, weights, image_size)
    path = Path(stored.filename)
    kept = path.with_suffix(f".end-{runtime.code_hash([Path(backbones.__file__)])[:8]}")
    with FileLock(path.with_suffix(".lock")):
        if not kept.is_file():
            with results.atomic_path(kept) as temporary, temporary.open("wb") as file:
                np.save(file, _means_at_end(stored, backbone, weights, image_size))
    return np.load(kept, mmap_mode="r")


def _means_at_end(rows: np.ndarray, backbone: str, weights: Weights, image_size: int) -> np.ndarray:
    end = backbones.features(backbones.tail(backbone, weights, image_size=image_size))
    means = resources.array((len(rows), end.output_shape[-1]), np.float32)
    for part, (values,) in backbones.by_batch(end, rows):
        means[part] = values
    return means


def _beside(path: Path) -> Path:
    return path.with_suffix(".means")


# One trunk alone, as it holds a copy of its weights. Building and tracing ResNet50 takes as long as forty films.
@lru_cache(maxsize=1)
def _trunk_with_stages(backbone: str, weights: Weights, image_size: int, cut: str) -> keras.Model:
    """The trunk with one more output for each stage that it holds: its means, (n, channels)."""
    trunk_model = backbones.trunk(backbone, weights, image_size, cut)
    ends = [layer.output for layer in trunk_model.layers[:-1] if layer.name in STAGES[backbone]]
    pool = keras.layers.GlobalAveragePooling2D(dtype="float32")
    return keras.Model(trunk_model.input, [trunk_model.output, *(pool(end) for end in ends)])


def _check_room(path: Path, needed: int, cache_gb: float) -> None:
    held = 0
    for file in path.parent.glob("*.npy"):
        # Another writer may rename its file between glob and stat.
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


def _fill(
    store_path: Path,
    means_path: Path,
    model: keras.Model,
    images: np.ndarray,
    shape: tuple[int, ...],
    batch_size: int,
    backbone: str,
) -> None:
    """Write the first output of `model`, float16, and the others side by side, float32 (n, channels)."""
    store = open_memmap(store_path, "w+", np.float16, shape)
    channels = sum(output.shape[-1] for output in model.outputs[1:])
    means = open_memmap(means_path, "w+", np.float32, (len(images), channels))
    started = reported = before = time.monotonic()
    for part, (values, *others) in backbones.by_batch(model, images, batch_size):
        largest = float(np.abs(values).max())
        if not largest <= FLOAT16_MAX:
            raise ValueError(
                f"{backbone} trunk: an activation of images {part.start} to {part.stop - 1} is {largest:g}; float16 holds "
                f"at most {FLOAT16_MAX:g}. Check the weights, or cut the network elsewhere"
            )
        store[part] = values
        means[part] = np.concatenate([np.empty((len(values), 0)), *others], axis=1)
        now = time.monotonic()
        progress.report(progress.PASSES, len(values), now - before)
        before = now
        if now - reported > SECONDS_BETWEEN_REPORTS:
            print(
                f"{backbone} trunk: {part.stop} of {len(images)} images, {part.stop / (now - started):.1f} images/s",
                flush=True,
            )
            reported = now
    store.flush()
    means.flush()
