"""What the machine provides: a process for each GPU, and disk space for arrays that have a row for every film.

The GPUs are those that CUDA_VISIBLE_DEVICES names. This room imports no backend: a backend would look for GPUs before
a new process is told which one it may use.
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
# Bytes; squares of 668 films at 224 pixels. What is smaller is not worth a file.
IN_MEMORY = 2**25
_work: Callable[[Any], object]


def gpus() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names, as it names them; none where it is not set."""
    return [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]


def each_on_its_own(work: Callable[[Any], object], items: Sequence[Any], names: Sequence[str]) -> None:
    """Call `work(item)` for every item, in one process for each GPU of `names`.

    A process sees its own GPU alone and has its share of the cores. `work` and the items must be picklable. Printed
    output is dropped; an error is raised here once all other items are done.
    """
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for name in names:
        free.put(name)
    threads = max(1, int(os.environ.get("OSTEO_THREADS", len(names))) // len(names))
    # As bytes: unpickling `work` imports a backend, which must wait until the process knows its GPU.
    given = (free, threads, pickle.dumps(work))
    with ProcessPoolExecutor(len(names), context, _claim_gpu, given) as pool:
        for done in [pool.submit(_quietly, item) for item in items]:
            done.result()


def _claim_gpu(free: multiprocessing.SimpleQueue, threads: int, work: bytes) -> None:
    global _work
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ[VISIBLE] = free.get()
    # Work that draws random numbers seeds itself.
    runtime.prepare(0, threads)
    _work = pickle.loads(work)


def _end_with_parent() -> None:
    """A killed notebook must not leave processes that hold a GPU; an interrupted fit leaves no files behind."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _quietly(item: Any) -> None:
    with redirect_stdout(StringIO()):
        _work(item)


def array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros to be filled; beyond `IN_MEMORY` bytes it lies in a file under `data/interim`.

    The file has no name, so its space is freed with the array, however the process ends. The kernel writes its pages
    out when it needs memory. Raises OSError where the disk is too full.
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
    """Reserve disk space now: on a full disk, the first write to a mapped page would kill the process silently."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:
        # Not every system and not every file system can reserve space.
        if isinstance(error, AttributeError) or error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            os.truncate(descriptor, size)
            return
        raise OSError(
            error.errno,
            f"{folder}: no room for {size:,} bytes that a notebook keeps there for a while ({error.strerror}); "
            "make room, or set OSTEO_HOME to a larger disk",
        ) from error
