"""The views of a film, its mask and its augmented copies."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from osteo_utils.images import film_views
from osteo_utils.images.film_views import augment, view
from osteo_utils.images.image_store import content_box, to_store


@settings(max_examples=40, deadline=None)
@given(st.integers(32, 900), st.integers(32, 900), st.sampled_from(["squeeze", "pad"]))
def test_squeeze_and_pad_lose_no_edge(width, height, kind):
    film = np.full((height, width), 90, np.uint8)
    edge_y, edge_x = max(2, height // 10), max(2, width // 10)
    film[:edge_y], film[-edge_y:], film[:, :edge_x], film[:, -edge_x:] = 255, 255, 255, 255
    stored, *_ = to_store(film)
    seen = view(stored, content_box(width, height), kind, 224)
    rows, columns = np.flatnonzero(seen.max(axis=1) > 40), np.flatnonzero(seen.max(axis=0) > 40)
    part = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    expected = (224, 224) if kind == "squeeze" else np.array([height, width]) * 224 / max(height, width)
    assert np.abs(np.array(part.shape) - expected).max() <= 2
    # All four edges of the film are there: bright at the middle of each side, darker in the centre.
    centre_y, centre_x = part.shape[0] // 2, part.shape[1] // 2
    border = (part[:3, centre_x], part[-3:, centre_x], part[centre_y, :3], part[centre_y, -3:])
    assert min(side.max() for side in border) > part[centre_y, centre_x]


def test_crop_is_the_centred_square():
    film = np.zeros((400, 200), np.uint8)
    film[90:310] = 255
    stored, *_ = to_store(film)
    assert view(stored, content_box(200, 400), "crop", 64).min() == 255
    assert view(stored, {"width": 200, "height": 400}, "pad", 64).min() == 0
    with pytest.raises(ValueError, match="expected one of squeeze, pad, crop, knee"):
        view(stored, content_box(200, 400), "zoom")


def test_views_follow_the_row_and_skip_the_unusable():
    levels = [50, 100, 150]
    images = np.stack([to_store(np.full((64, 64), level, np.uint8))[0] for level in levels])
    manifest = pd.DataFrame(
        {"status": ["ok", "quarantined", "ok"], "row": [2, None, 0], "width": [64, None, 64], "height": [64, None, 64]}
    )
    seen = film_views.views(images, manifest, "crop", 32)
    assert seen.shape == (2, 32, 32) and [image.mean() for image in seen] == [150, 50]


def test_knee_view_is_centred_on_the_knee_and_scaled_by_its_width():
    film = np.zeros((400, 200), np.uint8)
    film[300:320, 60:80] = 255
    stored, *_ = to_store(film)
    box = content_box(200, 400)
    # A knee of 64 pixels at the bright square's centre: a square of 96 around it.
    seen = view(stored, box, "knee", 96, knee=(310 / 400, 70 / 200, 64 / 200))
    rows, columns = np.nonzero(seen > 128)
    assert rows.mean() == pytest.approx(47.5, abs=1.5) and columns.mean() == pytest.approx(47.5, abs=1.5)
    assert np.sqrt(len(rows)) == pytest.approx(20, abs=1.5)


def test_knee_view_stays_in_the_film_and_is_the_centred_square_without_a_knee():
    film = np.full((400, 200), 80, np.uint8)
    stored, *_ = to_store(film)
    box = content_box(200, 400)
    for place in ((0.0, 0.0, 0.3), (1.0, 1.0, 0.3), (0.5, 0.5, 1.0)):
        assert (view(stored, box, "knee", 64, knee=place) == 80).all()
    noise, *_ = to_store(np.asarray(Image.effect_noise((200, 400), 60)))
    assert np.array_equal(view(noise, box, "knee", 64), view(noise, box, "crop", 64))


def test_knee_views_of_a_table_need_its_knees():
    images = np.stack([to_store(np.asarray(Image.effect_noise((100, 200), 60)))[0]] * 2)
    table = pd.DataFrame({"status": "ok", "row": [0, 1], "width": 100, "height": 200})
    with pytest.raises(ValueError, match="'knee_width', 'knee_x', 'knee_y'"):
        film_views.views(images, table, "knee", 32)
    placed = table.assign(knee_y=[0.3, np.nan], knee_x=[0.5, np.nan], knee_width=[0.5, np.nan])
    found, centred = film_views.views(images, placed, "knee", 32)
    assert np.array_equal(centred, film_views.views(images, table, "crop", 32)[1])
    assert not np.array_equal(found, centred)


def test_mask_view_holds_no_new_values():
    mask = (np.add.outer(np.arange(512), np.arange(512)) % 97 < 40).astype(np.uint8)
    assert set(np.unique(view(mask, content_box(512, 512), "pad", 100, mask=True))) == {0, 1}


SQUARE = np.asarray(Image.effect_noise((96, 96), 60))


def test_first_copies_are_the_image_and_its_mirror():
    assert np.array_equal(augment(SQUARE, 0, "normal/1.png", 7), SQUARE)
    mirrored = augment(SQUARE, 1, "normal/1.png", 7)
    assert np.array_equal(mirrored, np.fliplr(SQUARE))
    assert np.array_equal(augment(mirrored, 1, "normal/1.png", 7), SQUARE)


def test_random_copy_depends_on_seed_key_and_index_alone():
    first = augment(SQUARE, 2, "normal/1.png", 7)
    assert np.array_equal(first, augment(SQUARE, 2, "normal/1.png", 7))
    for other in ((3, "normal/1.png", 7), (2, "normal/2.png", 7), (2, "normal/1.png", 8)):
        assert not np.array_equal(first, augment(SQUARE, *other))


def test_random_copy_stays_close_to_its_limits():
    # A bright square of 32 x 32 in the centre: zoom within 10 %, shift within 5 % of 128 pixels.
    image = np.zeros((128, 128), np.uint8)
    image[48:80, 48:80] = 200
    areas, shifts = [], []
    for index in range(2, 60):
        points = np.argwhere(augment(image, index, "a", 1) > 100)
        areas.append(len(points) / 32**2)
        shifts.append(np.abs(points.mean(axis=0) - 63.5).max())
    assert 0.78 < min(areas) < 0.92 and 1.08 < max(areas) < 1.24
    assert 4 < max(shifts) < 7.5


def test_all_copies_at_once_equal_one_by_one():
    images = np.stack([SQUARE, SQUARE[::-1]])
    together = film_views.augment_all(images, ["a", "b"], 3, 5)
    assert np.array_equal(together[1], augment(images[1], 3, "b", 5))
    with pytest.raises(ValueError, match="2 images but 1 keys"):
        film_views.augment_all(images, ["a"], 3, 5)
