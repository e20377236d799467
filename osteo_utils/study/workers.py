"""Work shared out among several GPUs: a process for each, which sees no other.

The GPUs are those that CUDA_VISIBLE_DEVICES names. No backend is imported here, as it would look for GPUs before a new
process is told which one is its own.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from osteo_utils.study import runtime

VISIBLE = "CUDA_VISIBLE_DEVICES"
_work: Callable[[Any], object]


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
