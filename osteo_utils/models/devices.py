"""What Keras computes on: whether it is a GPU, and how one fit is spread over several of them.

Where there are several, each fits folds of its own (`study/workers`), so that a fold comes out as it would on a single
one. With OSTEO_SHARE=batches all work on one fit instead, each on its part of a batch: for networks or films that are
too large for one GPU, and under JAX alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import keras

SHARE = "OSTEO_SHARE"
SINGLE = "float32"
# The range of single precision, so that no loss needs scaling; variables stay in single precision.
MIXED = "mixed_bfloat16"


def on_gpu() -> bool:
    """Whether Keras computes on a GPU, whatever the backend."""
    where = str(keras.ops.zeros(1).device).lower()
    return any(word in where for word in ("gpu", "cuda", "rocm"))


def shares_batches() -> bool:
    """Whether all GPUs work on one fit. Raises ValueError for another word, or on a backend that cannot."""
    word = os.environ.get(SHARE, "fits")
    if word not in ("fits", "batches"):
        raise ValueError(f"{SHARE} is {word!r}; expected 'fits' or 'batches'")
    if word == "batches" and keras.config.backend() != "jax":
        raise ValueError(
            f"{SHARE}=batches on the backend {keras.config.backend()}; Keras spreads a batch under JAX alone: set "
            f"KERAS_BACKEND=jax, or leave {SHARE} out, so that each GPU fits folds of its own"
        )
    return word == "batches"


def count() -> int:
    """Devices of the kind that Keras computes on; not to be asked under PyTorch, where Keras does not tell."""
    return len(keras.distribution.list_devices())


def spread() -> AbstractContextManager:
    """What a fit is made in where all devices take their part of each batch."""
    return keras.distribution.DataParallel().scope()


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers built here compute in `policy`, a name of Keras's dtype policies."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
