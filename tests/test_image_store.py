"""The store: a film's square of fixed size, its aspect kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from osteo_utils.images.image_store import to_store


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
