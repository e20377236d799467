"""One drawn knee: repeated by its seed, moved by its density, its lines in agreement with its masks."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.draw import polygon2mask

from osteo_utils.phantom import anatomy, drawing

DENSE, THIN = 0.95, 0.45


@pytest.fixture(scope="module")
def knee() -> drawing.Knee:
    return drawing.draw_knee(11, DENSE, size=256)


def test_the_same_seed_gives_the_same_pixels(knee: drawing.Knee) -> None:
    again = drawing.draw_knee(11, DENSE, size=256)
    other = drawing.draw_knee(12, DENSE, size=256)
    np.testing.assert_array_equal(knee.image, again.image)
    np.testing.assert_array_equal(knee.parts, again.parts)
    assert np.mean(knee.image != other.image) > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_bone_is_brighter_than_the_flesh_beside_it(seed: int) -> None:
    knee = drawing.draw_knee(seed, DENSE, size=256)
    beside = (distance_transform_edt(knee.mask == 0) < 8) & (knee.mask == 0)
    assert knee.image[knee.mask == 1].mean() > 1.4 * knee.image[beside].mean()


def test_texture_coarsens_as_density_falls() -> None:
    def strength(density: float) -> list[float]:
        found = []
        for seed in range(12):
            knee = drawing.draw_knee(seed, density, size=384)
            inner = distance_transform_edt(knee.parts & anatomy.FEMUR > 0) > 12
            rows = np.arange(len(inner))[:, None] > knee.joint[0] - 45 / knee.pixel
            image = knee.image.astype(float)
            local = image - (np.roll(image, 3, 1) + np.roll(image, -3, 1)) / 2
            found.append(local[inner & rows].std() / image[inner & rows].mean())
        return found

    thin, dense = strength(THIN), strength(DENSE)
    assert np.mean(np.greater.outer(thin, dense)) > 0.8


def test_without_signal_the_density_is_not_looked_at() -> None:
    thin, dense = (drawing.draw_knee(21, density, size=128, signal=0) for density in (THIN, DENSE))
    np.testing.assert_array_equal(thin.image, dense.image)
    thin, dense = (drawing.draw_knee(21, density, size=128, signal=0.5) for density in (THIN, DENSE))
    assert np.mean(thin.image != dense.image) > 0.2


def test_density_moves_structure_and_not_the_histogram() -> None:
    for seed in range(6):
        thin, dense = (drawing.draw_knee(seed, density, size=256) for density in (THIN, DENSE))
        np.testing.assert_array_equal(thin.parts, dense.parts)
        one, two = (np.cumsum(np.bincount(k.image.ravel(), minlength=256)) / k.image.size for k in (thin, dense))
        assert np.abs(one - two).max() < 0.03
        assert np.abs(thin.image.astype(float) - dense.image).mean() > 1


def test_outlines_filled_in_give_the_bones_back(outlined: drawing.Knee) -> None:
    found = drawing.outlines(outlined.parts)
    assert set(found) == {"femur", "tibia", "fibula", "patella"}
    for name, bit in drawing.BONES.items():
        truth = outlined.parts & bit > 0
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


def test_the_joint_line_runs_between_femur_and_tibia(outlined: drawing.Knee) -> None:
    line = drawing.joint_line(outlined.parts)
    assert len(line) > 0.35 * outlined.parts.shape[1]
    columns, rows = line[:, 0].astype(int), line[:, 1]
    above = np.array([np.flatnonzero(outlined.parts[:, c] & anatomy.FEMUR).max() for c in columns])
    below = np.array([np.flatnonzero(outlined.parts[:, c] & anatomy.TIBIA).min() for c in columns])
    assert np.all((above <= rows) & (rows <= below))
    assert abs(rows.mean() - outlined.joint[0]) * outlined.pixel < 6


def test_lines_of_a_mirrored_film_are_mirrored(outlined: drawing.Knee) -> None:
    width = outlined.parts.shape[1]
    line, mirrored = drawing.joint_line(outlined.parts), drawing.joint_line(outlined.parts[:, ::-1])
    np.testing.assert_allclose(mirrored[::-1], np.column_stack([width - 1 - line[:, 0], line[:, 1]]))


def test_a_film_without_a_joint_has_no_line() -> None:
    parts = np.full((10, 10), anatomy.FEMUR, np.uint8)
    assert drawing.joint_line(parts).shape == (0, 2)
    assert set(drawing.as_lists(parts)) == {"femur", "joint_line"}


@pytest.fixture(scope="module")
def outlined() -> drawing.Knee:
    return drawing.draw_knee(11, 0.9, size=320)
