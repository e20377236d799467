"""Arrays with a row for every film, kept on disk where they are large: memory does not grow with the number of films."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from osteo_utils.study import paths

# Bytes; squares of 668 films at 224 pixels. What is smaller is not worth a file.
IN_MEMORY = 2**25


def array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros to be filled; beyond `IN_MEMORY` bytes it lies in a file of `data/interim`.

    The file has no name and its room is free again once nothing refers to the array, however the process ends. Its pages
    are the kernel's, which writes them out when it needs memory. Raises OSError where the disk has no room for it.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.zeros(shape, dtype)
    folder = paths.home() / "data" / "interim"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, prefix=".scratch-") as file:
        _reserve(file.fileno(), size, folder)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def taken(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A copy of the rows at these positions, where `array` puts it."""
    found = array((len(positions), *rows.shape[1:]), rows.dtype)
    for place, position in enumerate(positions):
        found[place] = rows[position]
    return found


def _reserve(descriptor: int, size: int, folder: Path) -> None:
    """Room on the disk now: without it, a full disk would end the process without a word on the first write."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:
        # Not every system and not every file system can set room aside.
        if isinstance(error, AttributeError) or error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            os.truncate(descriptor, size)
            return
        raise OSError(
            error.errno,
            f"{folder}: no room for {size:,} bytes that a notebook keeps there for a while ({error.strerror}); "
            "make room, or set OSTEO_HOME to a larger disk",
        ) from error
