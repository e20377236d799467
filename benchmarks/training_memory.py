"""How much memory training takes, and how it grows with the number of films.

    python benchmarks/training_memory.py [--sizes 744 10000] [--backbone resnet50] [--image-size 224]

Each step of a model notebook runs in a process of its own, so that each has its own peak: the trunk over two views of
every film, the probes of five folds, the last block of two folds for one epoch with the maps of the films they score.
Weights are random, films synthetic and repeated beyond the first ones; memory depends on neither.

Told are the memory that a process has for itself, and all that is resident. The second counts pages of the trunk cache
and of the image store as well, which the kernel drops when it needs room. Writes `training_memory.csv` and prints it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from numpy.lib.format import open_memmap

from osteo_utils.images import image_store
from osteo_utils.phantom import synthetic
from osteo_utils.study import paths, results, runtime

DIFFERENT = 60
N_FOLDS = 5
TRAINED_FOLDS = 2
STEPS = ("trunk", "probes", "last_block")


def write_store(films: int) -> None:
    """An image store as notebook 01 writes it, uint8 (films, 512, 512)."""
    drawn = synthetic.draw(0, min(films, DIFFERENT), copies=0).images
    squares = [image_store.to_store(film)[0] for film in drawn]
    target = paths.StudyPaths("memory").images
    target.parent.mkdir(parents=True)
    store = open_memmap(target, "w+", np.uint8, (films, *squares[0].shape))
    for row in range(films):
        store[row] = squares[row % len(squares)]
    store.flush()


def table_of(films: int) -> pd.DataFrame:
    """As many knees as films, half of them of each class, in five folds."""
    position = np.arange(films)
    table = pd.DataFrame({"image_id": [f"film {n}" for n in position], "row": position, "label": position % 2})
    return table.assign(group=position, fold=position // 2 % N_FOLDS, width=400, height=500, status="ok")


def measured(step: str, films: int, backbone: str, image_size: int, report: multiprocessing.SimpleQueue) -> None:
    """One step at work; its peaks in GiB go on `report`."""
    peak, stop, own = {"own": 0, "resident": 0}, threading.Event(), psutil.Process()

    def watch() -> None:
        while not stop.wait(0.05):
            memory = own.memory_info()
            # Only Linux tells what is shared with files.
            now = {"own": memory.rss - getattr(memory, "shared", 0), "resident": memory.rss}
            peak.update({name: max(peak[name], value) for name, value in now.items()})

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    work(step, films, backbone, image_size)
    stop.set()
    watcher.join()
    report.put({name: value / 2**30 for name, value in peak.items()})


def work(step: str, films: int, backbone: str, image_size: int) -> None:
    threads = runtime.prepare(1)
    from osteo_utils.interpretation import activation_maps
    from osteo_utils.networks import inputs, training
    from osteo_utils.networks.recipes import Recipe
    from osteo_utils.protocols.splits import Fold
    from osteo_utils.sources import weights
    from osteo_utils.study import config, paths, resources, results

    table, pretrained = table_of(films), weights.random(backbone, 1)
    own = {"study": "memory", "view": "squeeze", "image_size": image_size, "cache_gb": 1e4}
    run = results.Run("05_resnet50", {**config.load("knee744"), **own}, paths.StudyPaths("memory"), threads)
    # Not `full` where it is fitted: random weights need not learn a few films by heart, which a guard would ask.
    seen = inputs.trunk_views(run, table, backbone, "full", pretrained, n_views=2)
    if step == "trunk":
        return
    seen = replace(seen, variant="measured")
    recipe = Recipe("none") if step == "probes" else Recipe("last_block", learning_rate=1e-5)
    folds = range(N_FOLDS if step == "probes" else TRAINED_FOLDS)
    jobs = [Fold("grouped", 0, fold, table) for fold in folds]
    folders = training.fit_missing(jobs, recipe, seen, pretrained, run.paths.fits)
    if step == "last_block":
        maps = activation_maps.out_of_fold_maps(list(zip(jobs, folders, strict=True)), seen, pretrained)
        bone = resources.array((films, image_size, image_size), np.uint8)
        bone[:, :, image_size // 3 : 2 * image_size // 3] = 1
        activation_maps.inside_bone(maps, bone, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[744, 10_000])
    parser.add_argument("--backbone", default="resnet50", choices=["vgg16", "resnet50"])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    asked = parser.parse_args()
    out, context, rows = asked.out.resolve(), multiprocessing.get_context("spawn"), []
    for films in asked.sizes:
        with tempfile.TemporaryDirectory(prefix="training-memory-") as scratch:
            os.environ["OSTEO_HOME"] = scratch
            write_store(films)
            for step in STEPS:
                report = context.SimpleQueue()
                child = context.Process(target=measured, args=(step, films, asked.backbone, asked.image_size, report))
                child.start()
                child.join()
                if child.exitcode:
                    raise RuntimeError(
                        f"{films} films, {step}: ended with {child.exitcode}; its error is printed above"
                    )
                rows.append({"films": films, "step": step, **report.get()})
                print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1), flush=True)
    results.write_table(out / "training_memory.csv", pd.DataFrame(rows).round(3))


if __name__ == "__main__":
    main()
