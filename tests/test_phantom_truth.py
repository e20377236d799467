"""Lines of a drawn knee agree with its masks."""

import numpy as np
import pytest
from skimage.draw import polygon2mask

from osteo_utils.phantom import anatomy, drawing


@pytest.fixture(scope="module")
def knee() -> drawing.Knee:
    return drawing.draw_knee(11, 0.9, size=320)


def test_outlines_filled_in_give_the_bones_back(knee: drawing.Knee) -> None:
    found = drawing.outlines(knee.parts)
    assert set(found) == {"femur", "tibia", "fibula", "patella"}
    for name, bit in drawing.BONES.items():
        truth = knee.parts & bit > 0
        filled = np.zeros_like(truth)
        for line in found[name]:
            np.testing.assert_array_equal(line[0], line[-1])
            filled ^= polygon2mask(truth.shape, line[:, ::-1])
        assert 2 * (filled & truth).sum() / (filled.sum() + truth.sum()) > 0.985


def test_a_square_has_the_outline_of_a_square() -> None:
    parts = np.zeros((20, 30), np.uint8)
    parts[5:15, 8:20] = anatomy.TIBIA
    (line,) = drawing.outlines(parts)["tibia"]
    np.testing.assert_allclose(line.min(axis=0), [7.5, 4.5], atol=drawing.TOLERANCE)
    np.testing.assert_allclose(line.max(axis=0), [19.5, 14.5], atol=drawing.TOLERANCE)


def test_the_joint_line_runs_between_femur_and_tibia(knee: drawing.Knee) -> None:
    line = drawing.joint_line(knee.parts)
    assert len(line) > 0.35 * knee.parts.shape[1]
    columns, rows = line[:, 0].astype(int), line[:, 1]
    above = np.array([np.flatnonzero(knee.parts[:, c] & anatomy.FEMUR).max() for c in columns])
    below = np.array([np.flatnonzero(knee.parts[:, c] & anatomy.TIBIA).min() for c in columns])
    assert np.all((above <= rows) & (rows <= below))
    assert abs(rows.mean() - knee.joint[0]) * knee.pixel < 6


def test_lines_of_a_mirrored_film_are_mirrored(knee: drawing.Knee) -> None:
    width = knee.parts.shape[1]
    line, mirrored = drawing.joint_line(knee.parts), drawing.joint_line(knee.parts[:, ::-1])
    np.testing.assert_allclose(mirrored[::-1], np.column_stack([width - 1 - line[:, 0], line[:, 1]]))


def test_a_film_without_a_joint_has_no_line() -> None:
    parts = np.full((10, 10), anatomy.FEMUR, np.uint8)
    assert drawing.joint_line(parts).shape == (0, 2)
    assert set(drawing.as_lists(parts)) == {"femur", "joint_line"}
