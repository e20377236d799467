"""Which film of one set shows a film of another, and where in it: a table by which labels can be compared.

A film may be one leg cut from a film of two, a copy, or a copy of a copy; the other set is called the source.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed

from osteo_utils.audit.copies import SAME_KNEE, candidates_of, matches
from osteo_utils.audit.neighbours import MIRRORED, QUARTER, UPSIDE_DOWN, inverse
from osteo_utils.audit.thumbnails import HEIGHT, WIDTH, Thumbnails, legs_of, parts, thumbnails
from osteo_utils.images.image_store import film
from osteo_utils.sources.data_folders import films_of_sources

COLUMNS = (
    "image_id", "sha256", "class_name", "source", "source_class", "certainty", "similarity", "turn", "left", "top", "right", "bottom",
)  # fmt: skip
# How sure it is that the source shows the film, surest first. What is joined through another film was not registered.
CERTAINTIES = ("same bytes", "same pixels", "registered", "through another film", "none")


def crosswalk(
    manifest: pd.DataFrame, images: np.ndarray, pairs: pd.DataFrame, table: pd.DataFrame, sides: pd.Series
) -> pd.DataFrame:
    """Every film of the first set with each film of the second that shows it; a film without one has a row as well.

    `images` is the store of both sets, `manifest` their rows, `pairs` and `table` the results of `copies.compare` and
    `groups.audit`; `sides` is indexed by image_id, which begins with its side, first or second. Returns image_id,
    sha256 and class_name of the film, source (its image_id, empty where there is none), source_class, certainty (one of
    CERTAINTIES), similarity (as in `compare`; 1 for the same pixels, empty where it was not measured), turn (orientation
    of the source, bits as in `neighbours`) and the place of the film in its source: left, top, right, bottom as shares
    of the source's frame, below 0 or above 1 where the film shows more than its source.
    """
    films = candidates_of(manifest).merge(table[["image_id", "knee"]], on="image_id").set_index("image_id", drop=False)
    side = sides.reindex(films["image_id"])
    sources = films[(side == "second").to_numpy()]
    by_knee = dict(iter(sources.groupby("knee")))
    measured = _measured(pairs, films["pixel_sha256"])
    both = [
        (own, source)
        for own in films[(side == "first").to_numpy()].itertuples()
        for source in by_knee.get(own.knee, sources[:0]).itertuples()
    ]
    workers = cpu_count() if len(both) > 100 else 1
    rows = Parallel(n_jobs=workers)(delayed(_row)(images, own, source, measured) for own, source in both)
    alone = films[(side == "first").to_numpy() & ~films["knee"].isin(sources["knee"]).to_numpy()]
    rows += [(*_names(own), "", "", CERTAINTIES[-1], *[np.nan] * 6) for own in alone.itertuples()]
    walked = pd.DataFrame(rows, columns=list(COLUMNS))
    rank = walked["certainty"].map(CERTAINTIES.index)
    order = walked.assign(rank=rank, unlike=-walked["similarity"]).sort_values(["image_id", "rank", "unlike", "source"])
    return order[list(COLUMNS)].astype({"turn": "Int64"}).reset_index(drop=True)


def agreement(walked: pd.DataFrame) -> pd.DataFrame:
    """Films by their class (rows) and that of their source (columns); those without one class are counted last."""
    one = films_of_sources(walked)
    without = np.select(
        [one["source"] == "", one["certainty"] == "several classes"], ["no source", "several classes"], "no class"
    )
    counted = pd.crosstab(
        one["class_name"].replace("", "no class"), one["source_class"].where(one["source_class"] != "", without)
    )
    last = [name for name in ("several classes", "no class", "no source") if name in counted]
    return counted[[*sorted(set(counted) - set(last)), *last]].rename_axis(columns=None)


def _measured(pairs: pd.DataFrame, pixels: pd.Series) -> dict[frozenset[str], tuple[float, int]]:
    """Similarity and turn by two hashes of pixels: films with the same pixels were compared once."""
    found: dict[frozenset[str], tuple[float, int]] = {}
    for pair in pairs.sort_values("similarity").itertuples():
        found[frozenset((pixels[pair.first], pixels[pair.second]))] = pair.similarity, int(pair.turn)
    return found


def _name(film: object) -> str:
    """The image_id within its set."""
    return film.image_id.split("/", 1)[1]


def _names(film: object) -> tuple[str, str, str]:
    return _name(film), film.sha256, film.class_name


def _row(images: np.ndarray, own: object, source: object, measured: dict) -> tuple:
    names = *_names(own), _name(source), source.class_name
    if own.pixel_sha256 == source.pixel_sha256:
        return *names, CERTAINTIES[0 if own.sha256 == source.sha256 else 1], 1.0, 0, 0.0, 0.0, 1.0, 1.0
    similarity, turn = measured.get(frozenset((own.pixel_sha256, source.pixel_sha256)), (np.nan, 0))
    if not similarity >= SAME_KNEE:
        return *names, CERTAINTIES[3], similarity, *[np.nan] * 5
    # The pair may have been compared the other way round.
    found = [place for way in {turn, inverse(turn)} for place in _places(images, own, source, way)]
    best, way, box = max(found, key=lambda place: place[0])
    return *names, CERTAINTIES[2], round(max(similarity, best), 4), way, *np.round(box, 4)


def _places(images: np.ndarray, own: object, source: object, way: int) -> Iterator[tuple[float, int, np.ndarray]]:
    """Similarity of each leg of a film with each part of its source, and the film's frame as a box in the source's."""
    for own_part, leg in zip(_shares(images, own), legs_of(images, own), strict=True):
        for part, (picture, size) in zip(_shares(images, source), legs_of(images, source), strict=True):
            both = thumbnails([leg, (np.rot90(picture), size[::-1]) if way & QUARTER else (picture, size)])
            (match,) = matches(both, {}, 0, [(1, way & ~QUARTER)])
            yield match.similarity, way, _box(own_part, part, both, match.warp, way)


def _shares(images: np.ndarray, row: object) -> list[tuple[float, float]]:
    """Left and right end of each part of a film, as shares of its width."""
    whole = film(images, row)
    return [(part.start / whole.shape[1], part.stop / whole.shape[1]) for part in parts(whole)]


def _box(
    own_part: tuple[float, float], part: tuple[float, float], both: Thumbnails, warp: np.ndarray, way: int
) -> np.ndarray:
    """Left, top, right, bottom of a film in its source, by the warp between their thumbnails (rows 0 and 1 of `both`)."""
    size = np.array([WIDTH, HEIGHT])
    corners = np.array([(x, y) for x in (0.0, 1.0) for y in (0.0, 1.0)])
    corners[:, 0] = (corners[:, 0] - own_part[0]) / (own_part[1] - own_part[0])
    low, high = both.boxes[0, :2], both.boxes[0, 2:]
    places = (corners - low) / (high - low) * size - size / 2
    # A warp takes and gives rows before columns.
    places = (places[:, ::-1] @ warp[:, :2].T + warp[:, 2])[:, ::-1] + size / 2
    for axis, turned in enumerate((MIRRORED, UPSIDE_DOWN)):
        if way & turned:
            places[:, axis] = size[axis] - places[:, axis]
    low, high = both.boxes[1, :2], both.boxes[1, 2:]
    places = low + places / size * (high - low)
    if way & QUARTER:
        places = np.stack([1 - places[:, 1], places[:, 0]], axis=1)
    places[:, 0] = part[0] + places[:, 0] * (part[1] - part[0])
    return np.concatenate([places.min(axis=0), places.max(axis=0)])
