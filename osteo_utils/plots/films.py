"""Figures that show films (radiographs): grey, true aspect, mask as a contour, heat as a translucent map.

Films of a real set must not be published, so these figures are saved with `film=True`.
"""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from osteo_utils.images import image_store
from osteo_utils.plots.style import canvas, look

CONTOUR = "#F0E442"
HEAT_MAP = "inferno"
CHARACTER = 0.06  # width of a letter of a title, in inches


def _checked(name: str, given: Sequence[np.ndarray | None] | None, images: Sequence[np.ndarray]) -> list:
    if given is None:
        return [None] * len(images)
    if len(given) != len(images):
        raise ValueError(f"grid: {len(images)} images but {len(given)} {name}; expected one for each image.")
    for number, (part, image) in enumerate(zip(given, images, strict=True)):
        if part is not None and np.shape(part) != np.shape(image):
            raise ValueError(f"grid: {name}[{number}] has shape {np.shape(part)}, its image {np.shape(image)}.")
    return list(given)


def _wrapped(text: str, width: float) -> str:
    """A title whose lines are broken so that none reaches the next film; `width` in inches."""
    return "\n".join(textwrap.fill(line, max(8, int(width / CHARACTER))) for line in text.split("\n"))


def grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    where: str,
    ncols: int,
    masks: Sequence[np.ndarray | None] | None = None,
    heat: Sequence[np.ndarray | None] | None = None,
    title: str = "Films",
    width: float | None = None,
) -> Figure:
    """Draw films side by side in grey with their true aspect, `ncols` a row; `width` is that of the figure in inches.

    `images` are 2-D arrays (uint8 on a scale of 0-255, others on their own range). `masks` (1 = bone) become yellow
    contours, `heat` (0-1, of the image's shape) a translucent map with a colour bar; None leaves a film without. Raises
    ValueError when counts or shapes do not fit.
    """
    images = [np.asarray(image) for image in images]
    if not images or any(image.ndim != 2 for image in images):
        raise ValueError(f"grid: expected 2-D films, found shapes {[image.shape for image in images]}.")
    if len(titles) != len(images):
        raise ValueError(f"grid: {len(images)} images but {len(titles)} titles; expected one for each image.")
    if ncols < 1:
        raise ValueError(f"grid: ncols is {ncols}; expected 1 or more.")
    outlines, maps = _checked("masks", masks, images), _checked("heat", heat, images)
    ncols = min(ncols, len(images))
    nrows = -(-len(images) // ncols)
    # Each row is as high as its tallest film at the common width, so that no film is stretched.
    shapes = [image.shape[0] / image.shape[1] for image in images]
    heights = [max(shapes[first : first + ncols]) for first in range(0, len(images), ncols)]
    mapped = any(warmth is not None for warmth in maps)
    beside = 0.7 if mapped else 0
    film_width = (width - beside) / ncols if width else min(max(1.75, 4.0 / ncols), 9.0 / ncols)
    titles = [_wrapped(text, film_width) for text in titles]
    words = 0.12 + 0.15 * max(text.count("\n") + 1 for text in titles)
    with look():
        height = sum(film_width * share + words for share in heights)
        figure = canvas(film_width * ncols + beside, height, title, where)
        panels = figure.subplots(nrows, ncols, squeeze=False, height_ratios=heights).ravel()
        for panel, image, text, outline, warmth in zip(panels, images, titles, outlines, maps, strict=False):
            low, high = (0, 255) if image.dtype == np.uint8 else (image.min(), image.max())
            panel.imshow(image, cmap="gray", vmin=low, vmax=high, aspect="equal", gid="film")
            if warmth is not None:
                # Where the map is low, the film shows through unchanged.
                strength = np.clip(warmth, 0, 1)
                alpha = 0.65 * np.sqrt(strength)
                panel.imshow(strength, cmap=HEAT_MAP, vmin=0, vmax=1, alpha=alpha, aspect="equal", gid="heat")
            if outline is not None and np.any(outline) and not np.all(outline):
                panel.contour(np.asarray(outline, float), levels=[0.5], colors=[CONTOUR], linewidths=0.9)
            panel.set_title(text, fontsize=7.5, loc="left", pad=3)
            panel.set_anchor("N")
        for panel in panels:
            panel.set_axis_off()
        if mapped:
            scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), HEAT_MAP)
            bar = figure.colorbar(scale, ax=list(panels), shrink=0.6, aspect=30, pad=0.01, ticks=[0, 1])
            bar.ax.set_yticklabels(["none", "most"], fontsize=7.5)
            bar.set_label("class activation", fontsize=7.5)
            bar.outline.set_visible(False)
    return figure


def samples(images: pd.DataFrame, store: np.ndarray, seed: int, width: float | None = None) -> Figure:
    """Up to six films of each class, drawn at random; `images` are rows of the manifest, `store` what they point into.

    `width` as in `grid`.
    """
    of_each = min(6, images["class_name"].value_counts().min())
    sample = images.groupby("class_name").sample(of_each, random_state=seed)
    drawn = [image_store.film(store, row) for row in sample.itertuples()]
    where = f"n = {len(sample)} of {len(images)} files · {images['dataset'].iloc[0]} · drawn at random"
    return grid(drawn, sample["class_name"].tolist(), where, ncols=6, title="Samples", width=width)
