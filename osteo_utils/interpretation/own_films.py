"""A reader's own films, scored by the networks of a study: probability, map, mask and warnings.

For research and teaching only. The fits of the split `grouped` are used; a film that shows a knee of the study is
scored only by the fit that left that knee out.
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
from osteo_utils.statistics import calibration, novelty
from osteo_utils.statistics.calibration import Calibration
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths

NOTICE = "For research and teaching only. Nothing here may be used to diagnose anybody."


@dataclass(frozen=True)
class Score:
    """Calibrated probability of osteoporosis with its 95 % interval.

    `uncalibrated` is the network's own probability, `by_fold` that of each fit; `distance` and `threshold` are those of
    `fitted_networks`, `farther` the share of the study's films with at least this distance (None for the ensemble).
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
    """The result for one film. `flags` are (name, reason) pairs, and all there is where the film is unreadable.

    `square` is the film as network input, uint8 (s, s), `mask` its bone, `maps` evidence in units of the logit.
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
    """One `Reading` for each file, in order; `seed` is that of the intervals.

    Several networks are averaged as well. A film that cannot be decoded has the flag `unreadable`.
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
            outputs = {network.backbone: _outputs(network, films, Path(folder)) for network in loaded}
            lines = Lines(loaded, seed)
            for position, number in enumerate(decoded):
                film, bone = films.iloc[[position]], found[position]
                readings[number] = _reading(Path(files[number]), film, store, bone, loaded, outputs, lines)
    return [readings[number] for number in range(len(files))]


def as_dict(reading: Reading) -> dict[str, Any]:
    """A reading as plain values for JSON, with the file's name but not its folder."""
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
    """Write the first usable film of a study as a PNG file under its reports, as an example; returns the file."""
    film = manifest.usable(run.read(run.paths.manifest, "manifest")).iloc[0]
    pixels = image_store.film(np.load(run.paths.images, mmap_mode="r"), film)
    path = run.paths.own_films / "a film of the study.png"
    with results.atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary)
    return path


@dataclass(frozen=True)
class _ReaderPaths(StudyPaths):
    """The paths of a study, with the image store and the trunk cache in a temporary folder."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "images.npy"

    @property
    def trunk(self) -> Path:
        return self.folder / "trunk"


def _stored(films: list[decode.Radiograph], folder: Path) -> pd.DataFrame:
    """Write the films as an image store in `folder`; returns their table, with the columns that `inputs` reads."""
    np.save(folder / "images.npy", np.stack([image_store.to_store(film.pixels)[0] for film in films]))
    columns = ("width", "height", "sha256", "pixel_sha256")
    table = pd.DataFrame({name: [getattr(film, name) for film in films] for name in columns})
    table["image_id"] = [f"film {number}" for number in range(len(films))]
    return table.assign(row=np.arange(len(films)), status="ok")


@dataclass(frozen=True)
class _Outputs:
    """Outputs of one network for all films: pooled features (views, n, c), logits (fits, n), maps (fits, n, h, w)."""

    pooled: np.ndarray
    logits: np.ndarray
    maps: np.ndarray


def _outputs(network: Network, films: pd.DataFrame, folder: Path) -> _Outputs:
    """The films are processed as the study's own: same view, test views, precision and fits."""
    place = _ReaderPaths(network.run.paths.study, folder)
    run = results.Run(network.run.notebook, network.run.parameters, place, network.run.threads)
    n_views = min(inputs.TEST_VIEWS, run.p.augmented_views)
    cached = inputs.trunk_views(run, films, network.backbone, "full", network.weights, n_views)
    folders = [fit for _, fit in network.fitted]
    recipe = Recipe.from_parameters(network.recipe, run.parameters)
    activations = training.activations_for(recipe, run, films, cached, network.weights)
    return _Outputs(
        np.stack([trunk_cache.channel_means(one) for one in cached.test_views]),
        *activation_maps.evidence(network.recipe, folders, activations, network.weights),
    )


def _reading(
    path: Path,
    film: pd.DataFrame,
    store: np.ndarray,
    bone: Mask,
    loaded: Sequence[Network],
    outputs: dict[str, _Outputs],
    lines: Lines,
) -> Reading:
    first, at = loaded[0], int(film.row.iloc[0])
    known = fitted_networks.known_film(film.iloc[0], store[at], first, outputs[first.backbone].pooled[:, at])
    group = known.group if known else fitted_networks.NO_GROUP
    view, size = first.run.p.view, first.run.p.image_size
    square = film_views.views(store, film, view, size)[0]
    flags = [("known", fitted_networks.describe(known))] if known else []
    flags += [] if bone.plausible else [("mask_not_plausible", "; ".join(bone.reasons))]
    scores, maps = {}, {}
    for network in loaded:
        output, numbers = outputs[network.backbone], [fold.number for fold, _ in network.fitted]
        used = [place for place, number in enumerate(numbers) if known is None or known.fold in (None, number)]
        logits = output.logits[used, at]
        mean = float(logits.mean())
        distance = network.reference.distance(output.pooled[0, at], group if known else None)
        line = lines.of(network.backbone, group)
        score = Score(
            *line.at(mean),
            uncalibrated=float(calibration.sigmoid(mean)),
            by_fold={numbers[place]: float(calibration.sigmoid(one)) for place, one in zip(used, logits, strict=True)},
            distance=distance,
            threshold=network.reference.threshold,
            farther=network.reference.rank(distance),
        )
        scores[network.backbone] = score
        maps[network.backbone] = activation_maps.upsample(output.maps[used, at].mean(axis=0)[None], size)[0]
        flags += _score_flags(network.backbone, score, line, mean)
    if len(loaded) > 1:
        average = np.mean([score.uncalibrated for score in scores.values()])
        ends = lines.of(fitted_networks.ENSEMBLE, group).at(float(calibration.bounded_logit(average)))
        by_fold = pd.DataFrame({name: score.by_fold for name, score in scores.items()}).mean(axis=1).to_dict()
        scores[fitted_networks.ENSEMBLE] = Score(*ends, float(average), by_fold)
    mask = film_views.views(bone.mask[None], film.assign(row=0), view, size, mask=True)[0]
    return Reading(path, flags, known, scores, square, mask, maps)


def _masks(store: np.ndarray, films: pd.DataFrame, place: StudyPaths) -> list[Mask]:
    """The bone mask of each film, by the study's own method and limits."""
    settings = results.read_json(place.metrics / "03_segmentation.json")["_run"]["parameters"]
    limits, method = (settings["mask_min_area"], settings["mask_max_area"]), settings["mask_method"]
    boxes = map(image_store.box_of, films.itertuples())
    return [segmentation.bone_mask(*both, *limits, method) for both in zip(store, boxes, strict=True)]


def _knees(found: list[Mask]) -> dict[str, list[float]]:
    """The place of each knee, by column of the table of films; NaN where a mask is not plausible."""
    return {
        name: [mask.measured.get(name, np.nan) if mask.plausible else np.nan for mask in found]
        for name in film_views.KNEE_COLUMNS
    }


def _score_flags(name: str, score: Score, line: Calibration, logit: float) -> list[tuple[str, str]]:
    far = (
        f"{name}: distance {score.distance:.2f} from the study's films, of which {novelty.PERCENTILE:.0f} % lie "
        f"within {score.threshold:.2f}; not a knee film like those of the study?"
    )
    beyond = f"{name}: a score of {logit:.2f}; the study's reach {line.low:.2f} to {line.high:.2f}"
    flags = {
        "out_of_distribution": (score.distance > score.threshold, far),
        "beyond_calibration": (not line.low <= logit <= line.high, beyond),
        "uninformative": (not line.informative, f"{name}: its scores are not shown to tell the study's classes apart"),
    }
    return [(flag, reason) for flag, (raised, reason) in flags.items() if raised]
