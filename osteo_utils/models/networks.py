"""The fitted networks of a study that was run, ready to read films that are not its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.models import backbones, calibration, inputs, jobs, novelty, training
from osteo_utils.models import weights as pretrained
from osteo_utils.models.calibration import Calibration
from osteo_utils.models.jobs import Fold
from osteo_utils.models.weights import Weights
from osteo_utils.study import paths, results
from osteo_utils.study.paths import StudyPaths

BACKBONES = ("vgg16", "resnet50")
ENSEMBLE = "ensemble"
NO_GROUP = -1
RESAMPLES = 1000


@dataclass(frozen=True)
class Network:
    """One network of a study: the fits of `grouped`, the line that calibrates them, and the films they know."""

    backbone: str
    recipe: str
    run: results.Run
    weights: Weights
    fitted: list[tuple[Fold, Path]]
    predictions: pd.DataFrame
    familiar: novelty.Reference


def networks(study: str, backbones: Sequence[str] = BACKBONES, threads: int = 1) -> list[Network]:
    """Load the networks of a study that was run. Raises FileNotFoundError or ValueError with the next step where not."""
    return [_network(study, backbone, threads) for backbone in backbones]


class Lines:
    """The calibration of each network, on its out-of-fold predictions, and of their average, with the knee that a film shows left out."""

    def __init__(self, loaded: Sequence[Network], seed: int) -> None:
        tables = {network.backbone: network.predictions.set_index("image_id") for network in loaded}
        both = pd.concat([table.y_prob for table in tables.values()], axis=1, join="inner").mean(axis=1)
        first = next(iter(tables.values())).loc[both.index]
        self.tables = {**tables, ENSEMBLE: first.assign(y_prob=both)}
        self.seed, self.made = seed, {}

    def of(self, name: str, group: int) -> Calibration:
        """The line of one network, or of `ensemble`, fitted without the films of `group`."""
        table = self.tables[name]
        group = group if (table.group == group).any() else NO_GROUP
        if (name, group) not in self.made:
            table = table[table.group != group]
            logits = calibration.logit(table.y_prob)
            line = calibration.fit(logits, table.y_true, table.group, RESAMPLES, self.seed)
            self.made[name, group] = line
        return self.made[name, group]


def _network(study: str, backbone: str, threads: int) -> Network:
    place = StudyPaths(study)
    notebook = paths.MODEL_NOTEBOOKS[backbone]
    about = place.metrics / f"{notebook}.json"
    if not about.is_file():
        raise FileNotFoundError(
            f"study {study!r}: metrics/{notebook}.json is not there, so {backbone} has not been fitted; "
            f"run ./run_all.sh {study} first, or name another study with --study"
        )
    run = results.Run(notebook, results.read_json(about)["_run"]["parameters"], place, threads)
    recipe, images = run.p.primary_recipe, inputs.usable_images(run)
    if recipe == "paper":
        raise ValueError(
            f"study {study!r}: its primary recipe is 'paper', whose dense layer has no activation map in closed form; "
            "set primary_recipe to another of its recipes and run it again"
        )
    folds = run.read(place.folds, "folds")
    wanted = jobs.fold_list(images, folds, ["grouped"], run.p.split_seeds[:1])
    folders = [place.fits / backbone / f"{recipe}-full-grouped-s{job.seed}-f{job.fold}" for job in wanted]
    saved = run.read(place.predictions / f"{backbone}.csv", "predictions")
    arm = {"protocol": "grouped", "recipe": recipe, "variant": "full", "seed": wanted[0].seed}
    saved = saved[(saved[list(arm)] == pd.Series(arm)).all(axis=1)]
    _check_fits(study, notebook, folders, saved)
    weights = pretrained.resolve(run.parameters[f"{backbone}_weights"], backbone, run.p.seed)
    cached = inputs.trunk_views(run, images, backbone, "full", weights, 1)
    familiar = novelty.reference(backbones.channel_means(cached.views[0]), images.group.to_numpy())
    return Network(backbone, recipe, run, weights, list(zip(wanted, folders, strict=True)), saved, familiar)


def _check_fits(study: str, notebook: str, folders: list[Path], saved: pd.DataFrame) -> None:
    for folder in folders:
        if not (folder / "predictions.csv").is_file():
            raise FileNotFoundError(
                f"study {study!r}: the fit {folder.name} is not there; run ./run_all.sh {study} again"
            )
    gathered = training.gather(folders)[0].set_index("image_id").y_prob.sort_index()
    expected = saved.set_index("image_id").y_prob.sort_index()
    if not gathered.index.equals(expected.index) or not np.allclose(gathered, expected, atol=1e-9):
        raise ValueError(
            f"study {study!r}: the fits of {notebook} are not those behind its predictions; run "
            f"./run_all.sh {study} again"
        )
