"""How masks agree, and films with all but the bone, or the bone itself, taken away."""

import numpy as np
import pytest
from samples import drawn_knee
from scipy import ndimage

from osteo_utils.bone import masks
from osteo_utils.images import film_views


def test_apply_mask_keeps_the_bone_and_removes_the_rest():
    film, truth = drawn_knee()
    cut = film_views.apply_mask(film, truth, dilation=6)
    distance = ndimage.distance_transform_edt(truth == 0)
    assert np.array_equal(cut[distance <= 6], film[distance <= 6])
    assert not cut[distance >= 12].any()
    assert np.all(cut <= film)


def test_apply_mask_refuses_an_empty_or_foreign_mask():
    film, truth = drawn_knee()
    with pytest.raises(ValueError, match="empty"):
        film_views.apply_mask(film, np.zeros_like(truth))
    with pytest.raises(ValueError, match="same shape"):
        film_views.apply_mask(film, truth[1:])


def test_overlap_of_known_masks():
    left, right = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    left[:, :2], right[:, 1:3] = 1, 1
    assert masks.dice(left, right) == pytest.approx(0.5)
    assert masks.iou(left, right) == pytest.approx(1 / 3)
    assert masks.dice(left, left) == masks.iou(left, left) == 1
    assert masks.dice(left, 1 - left) == masks.iou(left, 1 - left) == 0
    assert masks.dice(np.zeros((2, 2)), np.zeros((2, 2))) == 1


def test_hausdorff_of_two_squares_is_their_shift():
    one, other = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    one[10:20, 10:20], other[10:20, 14:24] = 1, 1
    # Sides of the squares lie 4 pixels apart, and more than a tenth of each outline does.
    assert masks.hausdorff95(one, other) == pytest.approx(4)
    assert masks.hausdorff95(one, other, pixel=0.5) == pytest.approx(2)
    assert masks.hausdorff95(one, one) == 0


def test_hausdorff_with_an_empty_mask():
    one, none = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    assert masks.hausdorff95(none, none) == 0
    assert masks.hausdorff95(one, none) == float("inf")


def test_without_bone_leaves_the_rest_and_levels_the_bone():
    film, truth = drawn_knee()
    bare = film_views.without_bone(film, truth)
    away = ndimage.distance_transform_edt(truth == 0)
    assert np.array_equal(bare[away > 7], film[away > 7])
    # Bone is 190 and soft tissue 90 in this film.
    assert abs(float(bare[truth == 1].mean()) - 90) < 6


def test_without_bone_shows_neither_an_edge_nor_a_smooth_patch():
    film, truth = drawn_knee()
    bare = film_views.without_bone(film, truth).astype(float)
    edge = ndimage.gaussian_gradient_magnitude(bare, 2)
    border = truth.astype(bool) ^ ndimage.binary_erosion(truth, iterations=3)
    soft = (film > 60) & (film < 130) & (ndimage.distance_transform_edt(truth == 0) > 12)
    assert edge[border].mean() < 2 * edge[ndimage.binary_erosion(soft, iterations=6)].mean()
    grain = bare - ndimage.gaussian_filter(bare, 2)
    inside = ndimage.binary_erosion(truth, iterations=6)
    assert grain[inside].std() == pytest.approx(grain[ndimage.binary_erosion(soft, iterations=6)].std(), rel=0.5)


def test_without_bone_refuses_an_empty_mask_and_levels_a_full_one():
    film, truth = drawn_knee()
    with pytest.raises(ValueError, match="empty"):
        film_views.without_bone(film, np.zeros_like(truth))
    assert np.ptp(film_views.without_bone(film, np.ones_like(truth))) == 0
