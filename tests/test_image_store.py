"""The store: a film's square of fixed size, its aspect kept."""

import base64
import io

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from osteo_utils.images.image_store import as_url, to_store


def test_store_of_a_known_shape():
    stored, scale, pad_left, pad_top = to_store(np.full((256, 128), 200, np.uint8))
    assert (scale, pad_left, pad_top) == (2.0, 128, 0)
    assert (stored[:, 128:384] == 200).all() and stored[:, :128].max() == stored[:, 384:].max() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(32, 1500), st.integers(32, 1500))
def test_store_keeps_the_aspect(width, height):
    stored, scale, pad_left, pad_top = to_store(np.full((height, width), 255, np.uint8))
    rows, columns = np.flatnonzero(stored.max(axis=1)), np.flatnonzero(stored.max(axis=0))
    assert max(len(rows), len(columns)) == 512
    assert abs(len(columns) - width * scale) <= 0.5 + 1e-9 and abs(len(rows) - height * scale) <= 0.5 + 1e-9
    assert (columns[0], rows[0]) == (pad_left, pad_top)


def test_a_film_for_a_page_is_a_small_jpeg_without_its_padding():
    store = to_store(np.full((256, 128), 200, np.uint8))[0][None]
    kind, data = as_url(store, pd.Series({"row": 0, "width": 128, "height": 256})).split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (90, 180)
        assert np.abs(np.asarray(picture).astype(int) - 200).max() <= 2
