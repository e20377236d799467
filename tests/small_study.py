"""A tiny study with random weights, as far as notebooks 01, 02 and 04 take it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from osteo_utils.audit import copies, groups, overlap
from osteo_utils.images import image_store, manifest
from osteo_utils.networks import inputs, training
from osteo_utils.phantom import synthetic
from osteo_utils.protocols import splits
from osteo_utils.sources import weights
from osteo_utils.study import config, results
from osteo_utils.study.paths import StudyPaths

SIZE = 64
SETTINGS = {
    **config.load("smoke"), "protocols": ["grouped"], "split_seeds": [0, 1], "trained_seeds": 2,
    "image_size": SIZE, "view": "crop", "compared_views": ["squeeze"], "variants": ["full"], "epochs": 1, "cache_gb": 1.0,
}  # fmt: skip


def opened(name: str) -> results.Run:
    """The run of 04."""
    return results.Run("04_vgg16", {**SETTINGS, "study": name}, StudyPaths(name), 1)


def prepared(name: str, own: Path, foreign: Path | None) -> results.Run:
    """Notebooks 01 and 02 in short; the run of 04 that follows."""
    run = opened(name)
    every = manifest.build_manifest(own, "phantom", "1", run.paths.images, external=foreign)
    results.write_table(run.paths.manifest, every, "manifest")
    every = results.read_table(run.paths.manifest, "manifest")
    store = image_store.load(run.paths.images, every)
    listed = manifest.develop(every)
    table = groups.audit(store, listed, copies.compare(store, listed))
    extended, shared = overlap.extend(store, every, table)
    results.write_table(run.paths.audit, extended, "audit")
    run.table("external_overlap", shared)
    dealt = manifest.usable(listed).merge(table, on="image_id")
    arms = [(protocol, seed) for protocol in SETTINGS["protocols"] for seed in SETTINGS["split_seeds"]]
    folds = pd.concat([splits.make_folds(dealt, protocol, 2, seed) for protocol, seed in arms])
    results.write_table(run.paths.folds, folds, "folds")
    return run


class Fitted:
    """Notebook 04 in short, or 05."""

    def __init__(self, run: results.Run, backbone: str = "vgg16") -> None:
        self.run = run
        self.weights = weights.random(backbone, seed=run.p.seed)
        self.images = inputs.usable_images(run)
        self.activations = inputs.trunk_views(run, self.images, backbone, "full", self.weights, 2)
        folds = results.read_table(run.paths.folds, "folds")
        self.fits = training.fit_study(run, self.images, folds, {"full": self.activations}, self.weights)
        self.folders = [folder for fitted in self.fits.values() for _, folder in fitted]
        self.predictions, _ = training.gather(self.folders)


@contextmanager
def on_phantoms(folders: pytest.TempPathFactory) -> Iterator[Fitted]:
    """The tiny study on 16 synthetic knees, in a home of its own for as long as the block lasts.

    It is fitted once in a run of pytest. Each file that asks gets a copy, which it may change.
    """
    base = folders.getbasetemp()
    # Each of several processes has its base in a folder that all of them share.
    kept = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small study"
    home = folders.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                made = folders.mktemp("made")
                patch.setenv("OSTEO_HOME", str(made))
                synthetic.write(made / "films", 16, 3, size=96)
                Fitted(prepared("small", made / "films", None))
                made.rename(kept)
        shutil.copytree(kept, home, dirs_exist_ok=True)
        patch.setenv("OSTEO_HOME", str(home))
        yield Fitted(opened("small"))
