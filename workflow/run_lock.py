"""One run per home at a time, and a clean start after a run that was killed."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import lock_descriptor

# Every process of a run carries this variable, so that what a killed run left alive can be found.
MARK = "OSTEO_RUN"


class Busy(RuntimeError):
    """Another run works in the same home."""


@contextmanager
def hold(home: Path, about: str) -> Iterator[int]:
    """Hold `data/interim/.run.lock` of `home`; gives its file descriptor. Raises Busy, naming the other run.

    The lock is the system's, not the file: it goes when the last process that holds the descriptor ends. Hand the
    descriptor to Snakemake, and a Snakemake that outlives this process still holds it.
    """
    path = home / "data" / "interim" / ".run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not lock_descriptor(file.fileno(), blocking=False):
            other = path.read_text("utf-8").strip() or "unknown process"
            raise Busy(f"another run is at work in {home}: {other}. Wait for it, or set OSTEO_HOME to another folder.")
        file.truncate(0)
        print(f"process {os.getpid()}, {about}, since {time.strftime('%Y-%m-%d %H:%M:%S')}", file=file, flush=True)
        yield file.fileno()


def clear_stale_locks(home: Path, patience: float = 15.0) -> bool:
    """Remove the locks that a killed Snakemake left in `home`; True when there were any. Call it inside `hold`.

    Kernels of a killed run end by themselves within seconds; this waits `patience` seconds for them. Raises Busy when
    something of an earlier run, or a Snakemake started by hand, is alive after that.
    """
    locks = home / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return False
    deadline = time.monotonic() + patience
    while alive := still_at_work(home):
        if time.monotonic() > deadline:
            listed = ", ".join(f"{process.pid} ({process.info['name']})" for process in alive[:5])
            raise Busy(f"an earlier run in {home} is still at work: process {listed}. Wait for it or end it.")
        time.sleep(0.5)
    shutil.rmtree(locks)
    return True


def still_at_work(home: Path) -> list[psutil.Process]:
    """Processes that belong to a run in `home`, other than this one and those that started it."""
    mine = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["name", "status", "environ", "cmdline", "cwd"]):
        about = process.info  # what another user's process keeps to itself is None
        marked = (about["environ"] or {}).get(MARK) == str(home)
        names = [Path(part).name for part in (about["cmdline"] or [])[:4]]
        by_hand = "snakemake" in names and about["cwd"] == str(home)
        if (marked or by_hand) and process.pid not in mine and about["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def end(processes: Iterable[psutil.Process], grace: float = 5.0) -> None:
    """End processes: asked first, then, after `grace` seconds, made to."""
    alive = list(processes)
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                stop(process)
        _, alive = psutil.wait_procs(alive, timeout=grace)
