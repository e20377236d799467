"""Films as network input: usable images, variant, square view, augmented views, trunk activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from osteo_utils.images import film_views, image_store
from osteo_utils.images.manifest import WHOLE_NUMBERS, develop
from osteo_utils.networks import trunk_cache
from osteo_utils.sources.weights import Weights
from osteo_utils.study import results, runtime

TEST_VIEWS = 2


@dataclass(frozen=True)
class Activations:
    """Trunk activations of the same images in several views; view 0 is the image itself, view 1 its mirror.

    `views` are float16 arrays (n, height, width, channels), memory-mapped, in the order of the table of
    `usable_images`; `key` identifies their content. With the cut `all` there is no trunk, and they are the films, uint8
    (n, size, size). `earlier` are the means over the stages before the cut, float32 (n, channels), one array for each
    view. A prediction is averaged over the first `n_scored` views. `first_film` is the film of row 0, with which a
    guard checks the cache.
    """

    backbone: str
    variant: str
    image_size: int
    views: tuple[np.ndarray, ...]
    key: str
    cut: str = "last_block"
    n_scored: int = TEST_VIEWS
    first_film: np.ndarray | None = None
    earlier: tuple[np.ndarray, ...] = ()

    def packed(self) -> Activations:
        """The same for another process: views in a file are replaced by its path, not copied."""
        views = (Path(one.filename) if isinstance(one.base, mmap) else one for one in self.views)
        return replace(self, views=tuple(views))

    def unpacked(self) -> Activations:
        """The inverse of `packed`."""
        views = (np.load(one, mmap_mode="r") if isinstance(one, Path) else one for one in self.views)
        return replace(self, views=tuple(views))

    @property
    def test_views(self) -> tuple[np.ndarray, ...]:
        """The views that a prediction is averaged over: the image and, where cached, its mirror."""
        return self.views[: self.n_scored]


def usable_images(run: results.Run) -> pd.DataFrame:
    """The images that take part, in the order of `images.npy`, without those of an external set.

    Columns of the manifest, then group, knee and conflict of the audit; `label` is an integer.
    """
    manifest = develop(run.read(run.paths.manifest, "manifest"))
    audit = run.read(run.paths.audit, "audit")
    usable = manifest[(manifest.status == "ok") & manifest.label.notna()]
    table = usable.merge(
        audit[["image_id", "group", "knee", "conflict"]], on="image_id", how="left", validate="one_to_one"
    )
    if table.group.isna().any():
        raise ValueError(f"audit.csv has no row for {table.image_id[table.group.isna()].iloc[0]}; run 02_eda again")
    # A refused file has no width, which turns the column into floats; the identity of a fit depends on the type.
    whole = dict.fromkeys((*WHOLE_NUMBERS, "group", "knee", "conflict"), int)
    return table.astype(whole).sort_values("row", ignore_index=True)


def square_films(run: results.Run, images: pd.DataFrame, variant: str, view: str, size: int) -> np.ndarray:
    """The films as squares, uint8 (n, size, size): whole, bone alone (`segmented`) or without bone (`background`).

    A film whose mask was flagged as implausible in `tables/masks.csv` stays whole; the variant `background` must leave
    it out (`trusted_alone`).
    """
    if variant == "full":
        stored = np.load(run.depends_on(run.paths.images), mmap_mode="r")
        return film_views.views(stored, _with_knees(run, images, view), view, size)
    change = {"segmented": film_views.apply_mask, "background": film_views.without_bone}[variant]
    bones = np.load(run.depends_on(run.paths.masks), mmap_mode="r")
    trusted = _trusted(run, images)

    def changed(pixels: np.ndarray, film: Any) -> np.ndarray:
        return change(pixels, image_store.film(bones, film)) if film.image_id in trusted else pixels

    return changed_films(run, images, changed, view, size)


def changed_films(
    run: results.Run, images: pd.DataFrame, change: Callable[[np.ndarray, Any], np.ndarray], view: str, size: int
) -> np.ndarray:
    """Whole films as squares, uint8 (n, size, size), after `change` of their pixels, given with their row of `images`."""
    stored = np.load(run.depends_on(run.paths.images), mmap_mode="r")

    def changed() -> Iterator[np.ndarray]:
        for film in images.itertuples():
            padded = np.zeros(stored.shape[1:], np.uint8)
            padded[image_store.box_of(film).slices] = change(image_store.film(stored, film), film)
            yield padded

    return film_views.views_of(changed(), _with_knees(run, images, view), view, size)


def square_masks(run: results.Run, images: pd.DataFrame, view: str, size: int) -> np.ndarray:
    """The bone masks in the geometry of the squares, uint8 (n, size, size); all zero where a mask was flagged."""
    bones = np.load(run.depends_on(run.paths.masks), mmap_mode="r")
    squares = film_views.views(bones, _with_knees(run, images, view), view, size, mask=True)
    squares[~images.image_id.isin(_trusted(run, images)).to_numpy()] = 0
    return squares


def trusted_alone(run: results.Run, images: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """`folds.csv` without the films whose mask was flagged (fold -1): their bone would stay in view."""
    return folds.assign(fold=folds.fold.where(folds.image_id.isin(_trusted(run, images)), -1))


def _measured(run: results.Run, images: pd.DataFrame) -> pd.DataFrame:
    """`tables/masks.csv` in the order of the images."""
    return run.read(run.paths.tables / "masks.csv").set_index("image_id").loc[images.image_id]


def _trusted(run: results.Run, images: pd.DataFrame) -> set[str]:
    """The `image_id`s whose mask is plausible."""
    return set(images.image_id[_measured(run, images).plausible.to_numpy(bool)])


def _with_knees(run: results.Run, images: pd.DataFrame, view: str) -> pd.DataFrame:
    """The images with the place of their knee, if the view needs it; empty where the mask was flagged.

    A table of a reader's own films has these columns already and is returned unchanged.
    """
    if view != "knee" or set(film_views.KNEE_COLUMNS) <= set(images.columns):
        return images
    measured = _measured(run, images)
    if missing := sorted(set(film_views.KNEE_COLUMNS) - set(measured.columns)):
        raise ValueError(
            f"view 'knee': tables/masks.csv lacks {missing}; the classical method finds no joint, so set "
            "mask_method: unet or another view"
        )
    places = measured[list(film_views.KNEE_COLUMNS)].where(measured.plausible.eq(1), np.nan)
    return images.assign(**dict(zip(places.columns, places.to_numpy(float).T, strict=True)))


def augmented(films: np.ndarray, image_ids: pd.Series, index: int, seed: int) -> np.ndarray:
    """View `index` of each film, same shape: 0 the film itself, 1 its mirror image, from 2 on random."""
    if index == 0:
        return films
    return film_views.augment_all(films, image_ids.tolist(), index, seed)


def trunk_views(
    run: results.Run,
    images: pd.DataFrame,
    backbone: str,
    variant: str,
    weights: Weights,
    n_views: int,
    cut: str = "last_block",
    view: str = "",
    n_scored: int = TEST_VIEWS,
) -> Activations:
    """Activations of `n_views` views of every film, from the trunk cache or computed now.

    `view` is how a film becomes a square, empty for the study's own. With the cut `all`, the films themselves in the
    scored views alone, as training then augments each film anew in every epoch.
    """
    films = square_films(run, images, variant, view or run.p.view, run.p.image_size)
    count = min(n_views, n_scored) if cut == "all" else n_views
    squares = (augmented(films, images.image_id, index, run.p.seed) for index in range(count))
    return activations_of(run, squares, variant, weights, cut, n_scored)


def activations_of(
    run: results.Run,
    squares: Iterable[np.ndarray],
    variant: str,
    weights: Weights,
    cut: str = "last_block",
    n_scored: int = TEST_VIEWS,
) -> Activations:
    """Activations of squares, uint8 (n, size, size), one array for each view."""
    whole, views, first_film = cut == "all", [], None
    for films in squares:
        first_film = films[0] if first_film is None and len(films) else first_film
        if not whole:
            films = trunk_cache.activations(films, weights.backbone, weights, run.paths.trunk, run.p.cache_gb, cut)
        views.append(films)
    return Activations(
        backbone=weights.backbone,
        variant=variant,
        image_size=run.p.image_size,
        views=tuple(views),
        key=runtime.hash_of(views if whole else [Path(each.filename).stem for each in views]),
        cut=cut,
        n_scored=n_scored,
        first_film=first_film,
        earlier=() if whole else tuple(trunk_cache.stage_means(each) for each in views),
    )
