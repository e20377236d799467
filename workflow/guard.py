"""One run per home at a time, and a clean start after a run that was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

# Every process of a run carries this variable, so that what a killed run left alive can be found.
MARK = "OSTEO_RUN"
ORPHANS_MAY_TAKE = 15.0


class Busy(RuntimeError):
    """Another run works in the same home."""


@contextmanager
def only_run(home: Path, about: str) -> Iterator[int]:
    """Hold `data/interim/.run.lock` of `home`; gives its file descriptor.

    The lock is the system's, not the file: it goes when the last process that holds the descriptor ends,
    however it ends. Hand the descriptor to Snakemake, and a Snakemake that outlives this process still
    holds it. Raises Busy, naming the other run.
    """
    path = home / "data" / "interim" / ".run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(
                f"another run is at work in {home}: {path.read_text('utf-8').strip() or 'unknown process'}. "
                "Wait for it, or set OSTEO_HOME to another folder."
            ) from None
        os.ftruncate(descriptor, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(descriptor, f"process {os.getpid()}, {about}, since {started}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def clear_stale_locks(home: Path, patience: float = ORPHANS_MAY_TAKE) -> bool:
    """Remove the locks that a killed Snakemake left in `home`; True when there were any.

    Call it inside `only_run`. Kernels of a killed run end by themselves within seconds; this waits for
    them. Raises Busy when something of an earlier run, or a Snakemake started by hand, is still alive.
    """
    locks = home / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return False
    deadline = time.monotonic() + patience
    while alive := still_at_work(home):
        if time.monotonic() > deadline:
            listed = ", ".join(f"{process.pid} ({_name(process)})" for process in alive[:5])
            raise Busy(f"an earlier run in {home} is still at work: process {listed}. Wait for it or end it.")
        time.sleep(0.5)
    shutil.rmtree(locks)
    return True


def still_at_work(home: Path) -> list[psutil.Process]:
    """Processes that belong to a run in `home`, other than this one and those that started it."""
    mine = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in mine and _belongs(process, home)]


def _belongs(process: psutil.Process, home: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARK) == str(home):
            return True
        by_hand = any(Path(part).name == "snakemake" for part in process.cmdline()[:4])
        return by_hand and process.cwd() == str(home)
    except (psutil.Error, OSError):
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "ended"


def end_all(processes: Iterable[psutil.Process], grace: float = 5.0) -> None:
    """End processes: asked first, then, after `grace` seconds, made to."""
    processes = list(processes)
    for process in processes:
        _try(process.terminate)
    _, stubborn = psutil.wait_procs(processes, timeout=grace)
    for process in stubborn:
        _try(process.kill)
    psutil.wait_procs(stubborn, timeout=grace)


def _try(action: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        action()
