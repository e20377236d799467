"""The fitted networks of a study, loaded for other films, with the study's films to compare these with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.audit import copies
from osteo_utils.networks import inputs, training, trunk_cache
from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights as pretrained
from osteo_utils.sources.weights import Weights
from osteo_utils.statistics import calibration, novelty
from osteo_utils.statistics.calibration import Calibration
from osteo_utils.study import paths, results
from osteo_utils.study.paths import StudyPaths

BACKBONES = tuple(paths.MODEL_NOTEBOOKS)
ENSEMBLE = "ensemble"
NO_GROUP = -1
RESAMPLES = 1000
# Films of the study that a new film is registered with, the nearest in feature space.
CANDIDATES = 5


@dataclass(frozen=True)
class Network:
    """One network of a study: its fits under `grouped`, their out-of-fold predictions, and the study's films."""

    backbone: str
    recipe: str
    run: results.Run
    weights: Weights
    fitted: list[tuple[Fold, Path]]
    predictions: pd.DataFrame
    reference: novelty.Reference


@dataclass(frozen=True)
class Known:
    """The film of the study that equals a reader's film or shows the same knee; `fold` is None where no fit used it."""

    image_id: str
    relation: str
    group: int
    fold: int | None


def networks(study: str, backbones: Sequence[str] = BACKBONES, threads: int = 1) -> list[Network]:
    """Load the networks of a study. Raises FileNotFoundError or ValueError, with the next step, where it was not run."""
    return [_network(study, backbone, threads) for backbone in backbones]


class Lines:
    """Calibration of each network and of their average on out-of-fold predictions, without the knee of a film."""

    def __init__(self, loaded: Sequence[Network], seed: int) -> None:
        tables = {network.backbone: network.predictions.set_index("image_id") for network in loaded}
        both = pd.concat([table.y_prob for table in tables.values()], axis=1, join="inner").mean(axis=1)
        first = next(iter(tables.values())).loc[both.index]
        self.tables = {**tables, ENSEMBLE: first.assign(y_prob=both)}
        self.seed, self.fitted = seed, {}

    def of(self, name: str, group: int) -> Calibration:
        """The line of one network, or of `ensemble`, fitted without the films of `group`."""
        table = self.tables[name]
        group = group if (table.group == group).any() else NO_GROUP
        if (name, group) not in self.fitted:
            others = table[table.group != group]
            logits = calibration.bounded_logit(others.y_prob)
            line = calibration.fit(logits, others.y_true, others.group, RESAMPLES, self.seed)
            self.fitted[name, group] = line
        return self.fitted[name, group]


def known_film(film: pd.Series, stored: np.ndarray, network: Network, features: np.ndarray) -> Known | None:
    """The study's film with the same bytes, the same pixels, or, among the nearest ones, the same knee."""
    run, studied = network.run, network.fitted[0][0].table
    listed = results.read_table(run.paths.manifest, "manifest")
    for relation, column in (("exact", "sha256"), ("pixel", "pixel_sha256")):
        same = listed[listed[column] == film[column]]
        if len(same):
            return _place(same.image_id.iloc[0], relation, run, studied)
    images = np.load(run.paths.images, mmap_mode="r")
    for position in network.reference.nearest(features, CANDIDATES):
        other = studied.iloc[position]
        pair = pd.DataFrame({"width": [film.width, other.width], "height": [film.height, other.height]})
        both = np.stack([stored, images[int(other.row)]])
        if copies.similarities_among(both, pair.astype(int).assign(row=[0, 1]))[0, 1] >= copies.SAME_KNEE:
            return _place(other.image_id, "perceptual", run, studied)
    return None


def describe(known: Known) -> str:
    """A sentence on how a film is known, and which fits may judge it."""
    how = {"exact": "this file is", "pixel": "these pixels are those of", "perceptual": "this film shows the knee of"}[
        known.relation
    ]
    judged = "no fit was made on it"
    if known.fold is not None:
        judged = f"judged only by the fits that left its knee out, those of fold {known.fold}"
    return f"{how} {known.image_id} of the study; {judged}"


def _network(study: str, backbone: str, threads: int) -> Network:
    place = StudyPaths(study)
    notebook = paths.MODEL_NOTEBOOKS[backbone]
    about = place.metrics / f"{notebook}.json"
    if not about.is_file():
        raise FileNotFoundError(
            f"study {study!r}: metrics/{notebook}.json is not there, so {backbone} has not been fitted; "
            f"run ./run_all.sh {study} first, or name another study"
        )
    run = results.Run(notebook, results.read_json(about)["_run"]["parameters"], place, threads)
    recipe, images = run.p.primary_recipe, inputs.usable_images(run)
    if recipe == "paper":
        raise ValueError(
            f"study {study!r}: its primary recipe is 'paper', whose dense layer has no activation map in closed form; "
            "set primary_recipe to another of its recipes and run it again"
        )
    folds = run.read(place.folds, "folds")
    grouped = splits.fold_list(images, folds, ["grouped"], run.p.split_seeds[:1])
    folders = [place.fits / backbone / f"{recipe}-full-grouped-s{fold.seed}-f{fold.number}" for fold in grouped]
    saved = run.read(place.predictions / f"{backbone}.csv", "predictions")
    arm = {"protocol": "grouped", "recipe": recipe, "variant": "full", "seed": grouped[0].seed}
    saved = saved[(saved[list(arm)] == pd.Series(arm)).all(axis=1)]
    _check_fits(study, notebook, folders, saved)
    weights = pretrained.resolve(run.parameters[f"{backbone}_weights"], backbone, run.p.seed)
    cached = inputs.trunk_views(run, images, backbone, "full", weights, 1)
    films = novelty.reference(trunk_cache.channel_means(cached.views[0]), images.group.to_numpy())
    return Network(backbone, recipe, run, weights, list(zip(grouped, folders, strict=True)), saved, films)


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


def _place(image_id: str, relation: str, run: results.Run, studied: pd.DataFrame) -> Known:
    audit = results.read_table(run.paths.audit, "audit").set_index("image_id")
    group = int(audit.group[image_id]) if image_id in audit.index else NO_GROUP
    folds = studied.fold[studied.group == group]
    return Known(image_id, relation, group, int(folds.iloc[0]) if len(folds) and folds.iloc[0] >= 0 else None)
