"""A reader's own films, read by the networks of a study: probability, map, mask, and what speaks against trusting them.

For research and teaching only. The networks of the split `grouped` are used as they were fitted; a film that shows a
knee of the study is judged only by a network that has not seen that knee.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.bone import segmentation
from osteo_utils.bone.masks import Mask
from osteo_utils.images import decode, film_views, image_store, manifest
from osteo_utils.interpretation import activation_maps, fitted_networks
from osteo_utils.interpretation.fitted_networks import Lines, Network
from osteo_utils.networks import inputs, training, trunk_cache
from osteo_utils.networks.recipes import Recipe
from osteo_utils.statistics import calibration
from osteo_utils.statistics.calibration import Calibration
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths

NOTICE = "For research and teaching only. Nothing here may be used to diagnose anybody."


@dataclass(frozen=True)
class Score:
    """Calibrated probability of osteoporosis with its 95 % interval, and what it was made from.

    `uncalibrated` is what the network says itself, `by_fold` what each fit says; `distance` and `threshold` are those
    of `fitted_networks`, `farther` the share of the study's films that lie at least as far out (None for the ensemble).
    """

    probability: float
    low: float
    high: float
    uncalibrated: float
    by_fold: dict[int, float]
    distance: float | None = None
    threshold: float | None = None
    farther: float | None = None


@dataclass(frozen=True)
class Reading:
    """What a study makes of one film. `flags` are (name, reason) pairs; nothing else is filled where it is unreadable.

    `square` is the film as the networks see it, uint8 (s, s), `mask` its bone, `maps` evidence in units of the logit.
    """

    path: Path
    flags: list[tuple[str, str]]
    known: fitted_networks.Known | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    square: np.ndarray | None = field(default=None, repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)
    maps: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def readable(self) -> bool:
        return self.square is not None


def read_films(files: Sequence[Path], loaded: Sequence[Network], seed: int = 0) -> list[Reading]:
    """Read films: one `Reading` each, in their order; `seed` is that of the intervals.

    With several networks their average is read as well. A film that cannot be decoded has the flag `unreadable`.
    """
    decoded: dict[int, decode.Radiograph] = {}
    readings: dict[int, Reading] = {}
    for number, file in enumerate(map(Path, files)):
        try:
            decoded[number] = decode.decode(file)
        except decode.Unusable as reason:
            readings[number] = Reading(file, [("unreadable", str(reason))])
    if decoded:
        with tempfile.TemporaryDirectory(prefix="reader-") as folder:
            films = _stored(list(decoded.values()), Path(folder))
            store = np.load(Path(folder) / "images.npy")
            found = _masks(store, films, loaded[0].run.paths)
            films = films.assign(**_knees(found))
            seen = {network.backbone: _seen(network, films, Path(folder)) for network in loaded}
            lines = fitted_networks.Lines(loaded, seed)
            for position, number in enumerate(decoded):
                film, bone = films.iloc[[position]], found[position]
                readings[number] = _reading(Path(files[number]), film, store, bone, loaded, seen, lines)
    return [readings[number] for number in range(len(files))]


def as_dict(reading: Reading) -> dict[str, Any]:
    """A reading as plain values for JSON; the file by its name alone, so that no folder of the reader's is told."""
    return {
        "file": reading.path.name,
        "flags": [{"flag": name, "reason": reason} for name, reason in reading.flags],
        "known": reading.known and vars(reading.known),
        "scores": {name: vars(score) for name, score in reading.scores.items()},
    }


def table(reading: Reading) -> pd.DataFrame:
    """The scores of a reading, one row a network: probability with its interval, uncalibrated, distance, threshold."""
    columns = ["probability", "low", "high", "uncalibrated", "distance", "threshold"]
    rows = {name: {column: getattr(score, column) for column in columns} for name, score in reading.scores.items()}
    return pd.DataFrame(rows).T.astype(float).rename_axis("model")


def export(run: results.Run) -> Path:
    """Write the first usable film of a study as a PNG file under its reports, to try a reading with; returns the file."""
    film = manifest.usable(run.read(run.paths.manifest, "manifest")).iloc[0]
    file = run.paths.own_films / "a film of the study.png"
    with results.atomic_path(file) as temporary:
        Image.fromarray(image_store.film(np.load(run.paths.images, mmap_mode="r"), film)).save(temporary)
    return file


@dataclass(frozen=True)
class _ReaderPaths(StudyPaths):
    """The paths of a study, with the store of films and the trunk cache in a folder of the reader's."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "images.npy"

    @property
    def trunk(self) -> Path:
        return self.folder / "trunk"


def _stored(films: list[decode.Radiograph], folder: Path) -> pd.DataFrame:
    """The films as a store in `folder`, and a table of them as `inputs` reads it."""
    np.save(folder / "images.npy", np.stack([image_store.to_store(film.pixels)[0] for film in films]))
    columns = ("width", "height", "sha256", "pixel_sha256")
    table = pd.DataFrame({name: [getattr(film, name) for film in films] for name in columns})
    table["image_id"] = [f"film {number}" for number in range(len(films))]
    return table.assign(row=np.arange(len(films)), status="ok")


@dataclass(frozen=True)
class _Seen:
    """What one network makes of all films: pooled trunk features (views, n, c), logits (fits, n), maps (fits, n, h, w)."""

    pooled: np.ndarray
    logits: np.ndarray
    maps: np.ndarray


def _seen(network: Network, films: pd.DataFrame, folder: Path) -> _Seen:
    """The films take the way of the study's own: same view, test views, precision and fits."""
    place = _ReaderPaths(network.run.paths.study, folder)
    run = results.Run(network.run.notebook, network.run.parameters, place, network.run.threads)
    n_views = min(inputs.TEST_VIEWS, run.p.augmented_views)
    cached = inputs.trunk_views(run, films, network.backbone, "full", network.weights, n_views)
    folders = [fit for _, fit in network.fitted]
    recipe = Recipe.from_parameters(network.recipe, run.parameters)
    learnt_from = training.seen_by(recipe, run, films, cached, network.weights)
    return _Seen(
        np.stack([trunk_cache.channel_means(one) for one in cached.test_views]),
        *activation_maps.evidence(network.recipe, folders, learnt_from, network.weights),
    )


def _reading(
    path: Path,
    film: pd.DataFrame,
    store: np.ndarray,
    bone: Mask,
    loaded: Sequence[Network],
    seen: dict[str, _Seen],
    lines: Lines,
) -> Reading:
    first, at = loaded[0], int(film.row.iloc[0])
    known = fitted_networks.known_film(film.iloc[0], store[at], first, seen[first.backbone].pooled[:, at])
    group = known.group if known else fitted_networks.NO_GROUP
    view, size = first.run.p.view, first.run.p.image_size
    square = film_views.views(store, film, view, size)[0]
    flags = [("known", fitted_networks.said_of(known))] if known else []
    flags += [] if bone.plausible else [("mask_not_plausible", "; ".join(bone.reasons))]
    scores, maps = {}, {}
    for network in loaded:
        mine = [
            number
            for number, (fold, _) in enumerate(network.fitted)
            if known is None or known.fold in (None, fold.number)
        ]
        theirs = seen[network.backbone]
        logits = theirs.logits[mine, at]
        by_fold = {
            network.fitted[number][0].number: _probability(one) for number, one in zip(mine, logits, strict=True)
        }
        distance = network.familiar.distance(theirs.pooled[0, at], group if known else None)
        line = lines.of(network.backbone, group)
        novelty = distance, network.familiar.threshold, network.familiar.rank(distance)
        score = Score(*line.at(float(logits.mean())), _probability(logits.mean()), by_fold, *novelty)
        scores[network.backbone] = score
        maps[network.backbone] = activation_maps.upsample(theirs.maps[mine, at].mean(axis=0)[None], size)[0]
        flags += _score_flags(network.backbone, score, line, float(logits.mean()))
    if len(loaded) > 1:
        says = np.mean([score.uncalibrated for score in scores.values()])
        line = lines.of(fitted_networks.ENSEMBLE, group)
        by_fold = pd.DataFrame({name: score.by_fold for name, score in scores.items()}).mean(axis=1).to_dict()
        scores[fitted_networks.ENSEMBLE] = Score(*line.at(float(calibration.bounded_logit(says))), float(says), by_fold)
    mask = film_views.views(bone.mask[None], film.assign(row=0), view, size, mask=True)[0]
    return Reading(path, flags, known, scores, square, mask, maps)


def _masks(store: np.ndarray, films: pd.DataFrame, place: StudyPaths) -> list[Mask]:
    """The bone of each film, found as the study found that of its own."""
    settings = results.read_json(place.metrics / "03_segmentation.json")["_run"]["parameters"]
    limits, method = (settings["mask_min_area"], settings["mask_max_area"]), settings["mask_method"]
    boxes = [image_store.content_box(int(film.width), int(film.height)) for film in films.itertuples()]
    return [segmentation.bone_mask(*both, *limits, method) for both in zip(store, boxes, strict=True)]


def _knees(found: list[Mask]) -> dict[str, list[float]]:
    """Where the knees lie, by column of the table of films; empty where a mask is not plausible."""
    return {
        name: [mask.measured.get(name, np.nan) if mask.plausible else np.nan for mask in found]
        for name in film_views.KNEE_COLUMNS
    }


def _score_flags(name: str, score: Score, line: Calibration, logit: float) -> list[tuple[str, str]]:
    flags = []
    if score.distance > score.threshold:
        usual = f"{fitted_networks.PERCENTILE:.0f} % lie within {score.threshold:.2f}"
        far = f"{name}: distance {score.distance:.2f} from the study's films, of which {usual}"
        flags.append(("out_of_distribution", f"{far}; not a knee film like those of the study?"))
    if not line.low <= logit <= line.high:
        reach = f"the study's reach {line.low:.2f} to {line.high:.2f}"
        flags.append(("beyond_calibration", f"{name}: a score of {logit:.2f}; {reach}"))
    if not line.informative:
        flags.append(("uninformative", f"{name}: its scores are not shown to tell the study's classes apart"))
    return flags


def _probability(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-logit)))
