"""Traits of a film that can be named: of its file, of the whole film, of bone and soft tissue, of the film it was cut from.

A trait is one number or one word for a film. None of them is a measure of bone density; those of bone texture and cortex
are in `bone.texture`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from osteo_utils.evidence import shortcuts
from osteo_utils.images import image_store
from osteo_utils.sources import registry
from osteo_utils.study.results import Run

_BLACK, _WHITE = 8, 247
_EDGE, _CORNER = 0.04, 0.22
# Immerkær, Comput Vis Image Underst 1996: this mask answers to noise and not to planes or straight edges.
_GRAIN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
_OF_MASKS = {"area_share": "bone_area", "knee_y": "joint_height", "knee_x": "joint_side", "knee_width": "knee_width"}


def of_files(images: pd.DataFrame) -> pd.DataFrame:
    """Traits that need no pixel, one row per row of the manifest, in its order."""
    pixels = images["width"] * images["height"]
    kept = images[["width", "height", "bytes", "format", "mode"]].reset_index(drop=True)
    return kept.assign(
        aspect=(images["width"] / images["height"]).to_numpy(), bytes_per_pixel=(images["bytes"] / pixels).to_numpy()
    )


def of_film(film: np.ndarray, bone: np.ndarray) -> dict[str, float]:
    """Traits of one grey film, uint8 (h, w), and of its bone mask (h, w), not 0 on bone.

    What needs the mask is NaN where it is empty or where no soft tissue is left. Raises ValueError where the two differ
    in shape.
    """
    if film.shape != bone.shape or film.ndim != 2:
        raise ValueError(f"of_film: the film is {film.shape}, its mask {bone.shape}; expected the same two dimensions")
    grey = film.astype(np.float32)
    height, width = film.shape
    tall, broad = max(2, round(height * _EDGE)), max(2, round(width * _EDGE))
    strips = grey[:tall], grey[-tall:], grey[tall:-tall, :broad], grey[tall:-tall, -broad:]
    high, wide = max(8, round(height * _CORNER)), max(8, round(width * _CORNER))
    corners = film[:high, :wide], film[:high, -wide:], film[-high:, :wide], film[-high:, -wide:]
    darkest, brightest = np.percentile(film, [1, 99])
    spread = max(float(grey.std()), 1e-6)
    near, far = (_step(grey, distance) for distance in (1, 4))
    grain = np.abs(ndimage.convolve(grey, _GRAIN)[1:-1, 1:-1]).mean()
    inside = bone > 0
    of_bone = float(np.median(grey[inside])) if inside.any() else np.nan
    soft = (film >= _BLACK) & ~inside
    both = inside.any() and soft.any()
    return {
        "mean_grey": float(grey.mean()),
        "contrast": spread,
        "darkest": float(darkest),
        "brightest": float(brightest),
        "black": float((film < _BLACK).mean()),
        "white": float((film > _WHITE).mean()),
        "sharpness": float(near / far) if far else np.nan,
        "noise": float(np.sqrt(np.pi / 2) * grain / 6),
        "edge": float(np.concatenate([strip.ravel() for strip in strips]).mean()),
        "corner": float(max(np.percentile(corner, 99.5) for corner in corners)),
        "lopsided": float(np.abs(grey - grey[:, ::-1]).mean() / spread),
        "bone_grey": of_bone,
        "soft_tissue": float(soft.mean()) if both else np.nan,
        "soft_grey": float(np.median(grey[soft]) / max(of_bone, 1.0)) if both else np.nan,
    }


def _step(grey: np.ndarray, distance: int) -> float:
    down, across = np.abs(grey[distance:] - grey[:-distance]), np.abs(grey[:, distance:] - grey[:, :-distance])
    return float(down.mean() + across.mean())


def of_films(films: Iterable[np.ndarray], bones: Iterable[np.ndarray], measured: pd.DataFrame) -> pd.DataFrame:
    """`of_film` for each film, with the measures of its mask from `measured` (`segmentation.segment_all`), same order.

    What needs a mask is NaN where `measured` calls it not plausible.
    """
    table = pd.DataFrame([of_film(film, bone) for film, bone in zip(films, bones, strict=True)])
    masks = measured[list(_OF_MASKS)].rename(columns=_OF_MASKS).reset_index(drop=True)
    needs = [*_OF_MASKS.values(), "bone_grey", "soft_tissue", "soft_grey"]
    table = pd.concat([table, masks], axis=1)
    table.loc[measured["plausible"].to_numpy() != 1, needs] = np.nan
    return table


def of_sources(sources: pd.Series, dataset: str) -> pd.DataFrame:
    """Traits of the film that each film was cut from; `sources` are names in the reference, NaN or empty where unknown.

    The number is the last one in the name; width, height and mode are those of the set that the registry says the data
    set was cut from. Without any source the table has no column.
    """
    names = sources.reset_index(drop=True).astype(object).where(sources.reset_index(drop=True).notna(), "")
    if not (names != "").any():
        return pd.DataFrame(index=names.index)
    found = names.str.extract(r"(\d+)\D*$")[0].astype(float).rename("source_number").to_frame()
    origin = registry.get(dataset).crosswalk_to
    if origin and (films := registry.get(origin).films):
        known = pd.read_csv(Path(registry.__file__).with_name(films)).set_index("image_id")
        for column in ("width", "height", "mode"):
            found[f"source_{column}"] = names.map(known[column])
        found["source_form"] = _form(found["source_width"], found["source_height"], found["source_mode"])
    return found


def of_study(
    run: Run, images: pd.DataFrame, sources: pd.Series
) -> tuple[dict[str, np.ndarray | pd.DataFrame], pd.DataFrame]:
    """Families of features and named traits of the films of a study, (n, ...) and (n, traits), in the order of `images`.

    `images` are rows of the manifest, `sources` the names of the films that they were cut from. Reads what notebooks 01
    and 03 saved. The background of a film whose mask is not plausible is the median of the others.
    """
    stored, masks = (np.load(run.depends_on(path), mmap_mode="r") for path in (run.paths.images, run.paths.masks))
    films, bones = ([image_store.film(store, row) for row in images.itertuples()] for store in (stored, masks))
    measured = run.read(run.paths.tables / "masks.csv").set_index("image_id").loc[images["image_id"]]
    texture = run.read(run.paths.texture).set_index("image_id")
    place = texture.index.get_indexer(images["image_id"])
    background = np.load(run.depends_on(run.paths.background))[place].astype(float)
    trusted = measured["plausible"].to_numpy() == 1
    background[~trusted] = np.median(background[trusted], axis=0) if trusted.any() else 0.0
    tables = {
        "metadata": of_files(images),
        "film": of_films(films, bones, measured),
        "texture": texture.iloc[place].reset_index(drop=True),
        "source": of_sources(sources, images["dataset"].iloc[0]),
    }
    known = {name: table for name, table in tables.items() if len(table.columns)}
    return shortcuts.of_films(films) | {"background": background} | known, pd.concat(known.values(), axis=1)


def _form(width: pd.Series, height: pd.Series, mode: pd.Series) -> pd.Series:
    shape = np.select([width == height, width < height], ["square", "upright"], "landscape")
    return (mode + " " + pd.Series(shape, mode.index)).where(mode.notna())
