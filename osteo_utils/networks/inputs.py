"""Films as the networks meet them: usable images, variant, square view, augmented views, trunk activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from mmap import mmap
from pathlib import Path

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

    `views` are float16 arrays (n, height, width, channels), memory-mapped, in the order of the table that
    `usable_images` returns; `key` identifies their content. With the cut `all` there is no trunk, and they are the
    films, uint8 (n, size, size). `earlier` are the means over the stages before the cut, float32 (n, channels), one for
    each view where they were computed. A prediction is averaged over the first `n_scored` of the views. `first_film` is what
    row 0 of view 0 was computed from, so that a guard can compute it again.
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
        """The same for another process: views that lie in a file are named by it and not copied."""
        views = (Path(one.filename) if isinstance(one.base, mmap) else one for one in self.views)
        return replace(self, views=tuple(views))

    def unpacked(self) -> Activations:
        """What was packed, its files open again."""
        views = (np.load(one, mmap_mode="r") if isinstance(one, Path) else one for one in self.views)
        return replace(self, views=tuple(views))

    @property
    def test_views(self) -> tuple[np.ndarray, ...]:
        """The views that a prediction is averaged over: the image and, where cached, its mirror."""
        return self.views[: self.n_scored]


def usable_images(run: results.Run) -> pd.DataFrame:
    """The images that take part: manifest and audit side by side, in the order of `images.npy`.

    Columns of the manifest, then group and conflict; `label` is an integer. Films of an external set are not among
    them; only `scoring` reads those.
    """
    manifest = develop(run.read(run.paths.manifest, "manifest"))
    audit = run.read(run.paths.audit, "audit")
    usable = manifest[(manifest.status == "ok") & manifest.label.notna()]
    table = usable.merge(audit[["image_id", "group", "conflict"]], on="image_id", how="left", validate="one_to_one")
    if table.group.isna().any():
        raise ValueError(f"audit.csv has no row for {table.image_id[table.group.isna()].iloc[0]}; run 02_eda again")
    # A refused file has no width, which makes the column one of fractions; a fit is known by these very numbers.
    whole = dict.fromkeys((*WHOLE_NUMBERS, "group", "conflict"), int)
    return table.astype(whole).sort_values("row", ignore_index=True)


def square_films(run: results.Run, images: pd.DataFrame, variant: str, view: str, size: int) -> np.ndarray:
    """The films as squares, uint8 (n, size, size): whole, with all but the bone taken away, or without the bone.

    A film whose mask was flagged as implausible in `tables/masks.csv` stays whole; under the variant `background` it
    must then be left out (`trusted_alone`).
    """
    if variant == "full":
        stored = np.load(run.depends_on(run.paths.images), mmap_mode="r")
        return film_views.views(stored, _with_knees(run, images, view), view, size)
    change = {"segmented": film_views.apply_mask, "background": film_views.without_bone}[variant]
    bones = np.load(run.depends_on(run.paths.masks), mmap_mode="r")
    plausible = _measured(run, images).plausible.astype(bool).tolist()

    def draw(position: int, film: np.ndarray, row: int, part: tuple[slice, slice]) -> np.ndarray:
        return change(film, np.asarray(bones[row])[part]) if plausible[position] else film

    return _redrawn(run, images, draw, view, size)


def changed_films(
    run: results.Run, images: pd.DataFrame, change: Callable[[np.ndarray, str], np.ndarray], view: str, size: int
) -> np.ndarray:
    """Whole films as squares, uint8 (n, size, size), after `change` of each: (pixels uint8 (h, w), its image_id)."""
    names = images.image_id.tolist()
    return _redrawn(run, images, lambda position, film, row, part: change(film, names[position]), view, size)


def _redrawn(
    run: results.Run, images: pd.DataFrame, draw: Callable[..., np.ndarray], view: str, size: int
) -> np.ndarray:
    """Squares of films that `draw` makes from position, pixels, row of the store, and place within it."""
    stored = np.load(run.depends_on(run.paths.images), mmap_mode="r")

    def drawn() -> Iterator[np.ndarray]:
        for position, film in enumerate(images.itertuples()):
            box = image_store.content_box(int(film.width), int(film.height))
            part = (slice(box.top, box.top + box.height), slice(box.left, box.left + box.width))
            whole = np.zeros(stored.shape[1:], np.uint8)
            whole[part] = draw(position, np.asarray(stored[film.row])[part], film.row, part)
            yield whole

    return film_views.views_of(drawn(), _with_knees(run, images, view), view, size)


def square_masks(run: results.Run, images: pd.DataFrame, view: str, size: int) -> np.ndarray:
    """The bone masks in the geometry of the squares, uint8 (n, size, size); all zero where a mask was flagged."""
    bones = np.load(run.depends_on(run.paths.masks), mmap_mode="r")
    squares = film_views.views(bones, _with_knees(run, images, view), view, size, mask=True)
    squares[~_measured(run, images).plausible.to_numpy(bool)] = 0
    return squares


def trusted_alone(run: results.Run, images: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """`folds.csv` with every film left out (fold -1) whose mask was flagged: without a mask its bone stays in view."""
    trusted = set(images.image_id[_measured(run, images).plausible.to_numpy(bool)])
    return folds.assign(fold=folds.fold.where(folds.image_id.isin(trusted), -1))


def _measured(run: results.Run, images: pd.DataFrame) -> pd.DataFrame:
    """`tables/masks.csv` in the order of the images."""
    return run.read(run.paths.tables / "masks.csv").set_index("image_id").loc[images.image_id]


def _with_knees(run: results.Run, images: pd.DataFrame, view: str) -> pd.DataFrame:
    """The images with the place of their knee where the view needs it; empty where the mask was flagged.

    A table that has the places already, as one of a reader's own films, stays as it is.
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
    """View `index` of each film, same shape: 0 itself, 1 its mirror, from 2 on a random one of its own."""
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
    views that are scored: what is trained on is then augmented anew in every epoch.
    """
    parameters = run.p
    films = square_films(run, images, variant, view or parameters.view, parameters.image_size)
    squares = (
        augmented(films, images.image_id, index, parameters.seed)
        for index in range(min(n_views, n_scored) if cut == "all" else n_views)
    )
    return activations_of(run, squares, variant, weights, cut, n_scored)


def activations_of(
    run: results.Run,
    squares: Iterable[np.ndarray],
    variant: str,
    weights: Weights,
    cut: str = "last_block",
    n_scored: int = TEST_VIEWS,
) -> Activations:
    """Activations of films that are squares already, uint8 (n, size, size), one array for each view of them."""
    views, first_film = [], None
    for films in squares:
        first_film = films[0] if first_film is None and len(films) else first_film
        views.append(
            films
            if cut == "all"
            else trunk_cache.activations(
                films, weights.backbone, weights, run.paths.trunk, cache_gb=run.p.cache_gb, cut=cut
            )
        )
    return Activations(
        weights.backbone,
        variant,
        run.p.image_size,
        tuple(views),
        runtime.hash_of([each if cut == "all" else Path(each.filename).stem for each in views]),
        cut,
        n_scored,
        first_film,
        () if cut == "all" else tuple(trunk_cache.stage_means(each) for each in views),
    )
