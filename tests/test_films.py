"""Figures that show films: grey, in shape, with masks at their edge and heat where it is warm."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from osteo_utils.plots import films

WHERE = "n = 12 files in 9 groups · made up · protocol grouped, 3 folds, seed 0"


def folds() -> pd.DataFrame:
    rows = [(0, "normal", 4), (0, "osteoporosis", 3), (-1, "normal", 2), (-1, "osteoporosis", 1)]
    return pd.DataFrame(rows, columns=["fold", "class_name", "count"])


def test_films_are_grey_and_keep_their_shape() -> None:
    tall = np.tile(np.linspace(0, 255, 10).astype(np.uint8), (40, 1))
    wide = tall.T.copy()
    figure = films.grid([tall, wide], ["tall", "wide"], WHERE, 2)
    figure.draw_without_rendering()
    for axes, shape in zip(figure.axes, (tall.shape, wide.shape), strict=True):
        (picture,) = axes.images
        assert picture.get_cmap().name == "gray"
        assert picture.get_clim() == (0, 255)
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(shape[0] / shape[1], rel=0.02)


def test_a_long_title_stays_above_its_own_film() -> None:
    film = np.zeros((40, 20), np.uint8)
    figure = films.grid([film] * 8, ["group 18 (perceptual): osteoporosis"] * 8, WHERE, 4)
    figure.draw_without_rendering()
    boxes = [axes._left_title.get_window_extent() for axes in figure.axes]
    for left, right in pairwise(boxes[:4]):
        assert left.x1 < right.x0


def test_masks_become_contours_at_their_edge_and_heat_leaves_cold_places_bare() -> None:
    film = np.full((20, 20), 100, np.uint8)
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    heat = np.zeros((20, 20))
    heat[8:12, 8:12] = 1
    first, second, _ = films.grid([film, film], ["a", "b"], WHERE, 2, masks=[mask, None], heat=[None, heat]).axes
    outline = np.vstack([path.vertices for path in first.collections[0].get_paths()])
    assert (outline.min(), outline.max()) == (4.5, 14.5)
    assert not second.collections
    warmth = second.images[1].get_alpha()
    assert warmth[0, 0] == 0
    assert 0.5 < warmth[10, 10] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"titles": []}, "1 images but 0 titles"),
        ({"masks": [None, None]}, "1 images but 2 masks"),
        ({"heat": [np.zeros((2, 2))]}, r"heat\[0\] has shape \(2, 2\)"),
        ({"images": [np.zeros((4, 4, 3))]}, "2-D films"),
        ({"ncols": 0}, "ncols is 0"),
    ],
)
def test_films_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    given = {"images": [np.zeros((4, 4), np.uint8)], "titles": ["a"], "where": WHERE, "ncols": 1, **options}
    with pytest.raises(ValueError, match=message):
        films.grid(**given)
