"""What the machine lends: a process for each GPU, and room on disk for arrays with a row for every film.

GPUs are those that CUDA_VISIBLE_DEVICES names. No backend is imported here, as it would look for GPUs before a new
process is told which one is its own.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from osteo_utils.study import paths, runtime

VISIBLE = "CUDA_VISIBLE_DEVICES"
_work: Callable[[Any], object]


# Bytes; squares of 668 films at 224 pixels. What is smaller is not worth a file.
IN_MEMORY = 2**25


def gpus() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names, as it names them; none where it is not set."""
    return [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]


def each_on_its_own(work: Callable[[Any], object], items: Sequence[Any], names: Sequence[str]) -> None:
    """`work(item)` for every item, in a process for each GPU of `names`, which sees it alone and its share of the cores.

    `work` and the items must be picklable. What is printed is dropped; an error is raised here, once the others have
    ended.
    """
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for name in names:
        free.put(name)
    threads = max(1, int(os.environ.get("OSTEO_THREADS", len(names))) // len(names))
    # As bytes, because reading it imports a backend, for which it is too early while a process starts.
    given = (free, threads, pickle.dumps(work))
    with ProcessPoolExecutor(len(names), context, _take_one, given) as pool:
        for done in [pool.submit(_quietly, item) for item in items]:
            done.result()


def _take_one(free: multiprocessing.SimpleQueue, threads: int, work: bytes) -> None:
    global _work
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ[VISIBLE] = free.get()
    # Work that draws numbers seeds itself.
    runtime.prepare(0, threads)
    _work = pickle.loads(work)


def _end_with_parent() -> None:
    """A killed notebook must not leave processes that hold a GPU; a fit that is cut off leaves nothing behind."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _quietly(item: Any) -> None:
    with redirect_stdout(StringIO()):
        _work(item)


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
