"""How long a whole study (or the tests) takes beside an earlier revision of this project, measured by turns.

    python benchmarks/study_speed.py --against REVISION [STUDY] [--data DIR] [--turns N] [--test]

Both revisions are checked out into a folder of their own, each with an environment made by its own `run_all.sh` and with
the ImageNet weights that are here. They then run by turns (old, new, old, new), each time from nothing but environment
and weights, so that what else the machine does falls on both. With `--test` the tests run instead of a study. Printed and
written: seconds of each run with their ratio, minutes of each notebook, films that went through each trunk, and the
largest memory of all processes together. Needs a committed working tree; uncommitted changes are not measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil

from osteo_utils.study import paths, results

PAUSE = 0.5


class Checkout(NamedTuple):
    """One revision: its name in the table, its code, and the folder of its data and reports."""

    name: str
    code: Path
    home: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="phantom")
    parser.add_argument("--against", required=True, metavar="REVISION", help="what is measured beside HEAD")
    parser.add_argument("--data", type=Path, metavar="DIR", help="films of a study that does not draw its own")
    parser.add_argument("--turns", type=int, default=2, help="runs of each revision (%(default)s)")
    parser.add_argument("--test", action="store_true", help="the tests instead of a study")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    asked = parser.parse_args()
    words = ["test"] if asked.test else [asked.study, *(["--data", str(asked.data.resolve())] if asked.data else [])]
    with tempfile.TemporaryDirectory(prefix="study-speed-") as folder:
        both = [
            checked_out(name, revision, Path(folder)) for name, revision in (("old", asked.against), ("new", "HEAD"))
        ]
        rows = []
        for turn in range(asked.turns):
            for one in both:
                rows.append({"revision": one.name, "turn": turn, **measured(one, words, asked.study)})
                print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    results.write_table(asked.out / f"study_speed_{'test' if asked.test else asked.study}.csv", table)
    means = table.drop(columns="turn").groupby("revision").mean()
    means.loc["new / old"] = means.loc["new"] / means.loc["old"]
    print(means.loc[["old", "new", "new / old"]].T.round(2).to_string())


def checked_out(name: str, revision: str, folder: Path) -> Checkout:
    """A revision of this project with its environment made and the weights that are here beside its data."""
    one = Checkout(name, folder / name, folder / f"{name}-home")
    root = paths.code_root()
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(root), str(one.code)], check=True)
    hash_of = subprocess.run(["git", "rev-parse", revision], cwd=root, check=True, capture_output=True, text=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", hash_of.stdout.strip()], cwd=one.code, check=True)
    if paths.weights_dir().is_dir():
        shutil.copytree(paths.weights_dir(), one.home / "data" / "weights")
    # A list of the tests makes the environment and loads it once, so that no run pays for byte code.
    run_all(one, ["test", "--", "--collect-only", "-q"], stdout=subprocess.DEVNULL)
    return one


def run_all(one: Checkout, words: list[str], **options: object) -> subprocess.Popen:
    """`run_all.sh` of a revision, with the machine's own variables but without another project's environment."""
    dropped = ("VIRTUAL_ENV", "PYTHONPATH", "OSTEO_ENV", "OSTEO_PYTHON")
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    process = subprocess.Popen(
        ["./run_all.sh", *words], cwd=one.code, env={**variables, "OSTEO_HOME": str(one.home)}, **options
    )
    memory = [0]
    watcher = threading.Thread(target=watch, args=(process, memory), daemon=True)
    watcher.start()
    if process.wait():
        raise SystemExit(f"{one.name}: ./run_all.sh {' '.join(words)} ended with {process.returncode}")
    watcher.join()
    process.peak_gib = memory[0] / 2**30
    return process


def watch(process: subprocess.Popen, peak: list[int]) -> None:
    """Keep the largest memory of a process and its descendants in `peak`; pages that several share count once."""
    while process.poll() is None:
        total = 0
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            try:
                memory = each.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
            except psutil.Error:
                continue
        peak[0] = max(peak[0], total)
        time.sleep(PAUSE)


def measured(one: Checkout, words: list[str], study: str) -> dict[str, float]:
    """Run once from nothing: seconds, memory and, of a study, minutes of each notebook and passes of each trunk."""
    for folder in (one.home / "reports", one.home / "data" / "interim", one.home / ".snakemake"):
        shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    done = run_all(one, words, stdout=subprocess.DEVNULL)
    row = {"seconds": time.perf_counter() - start, "peak_gib": done.peak_gib}
    for file in sorted((one.home / "reports" / study / "metrics").glob("*.json")):
        row[f"minutes {file.stem}"] = results.read_json(file)["_run"]["seconds"] / 60
    for file in sorted((one.home / "data" / "interim" / study / "trunk").glob("*.npy")):
        name = f"passes {file.name.split('-')[0]}"
        row[name] = row.get(name, 0) + len(np.load(file, mmap_mode="r"))
    return row


if __name__ == "__main__":
    main()
