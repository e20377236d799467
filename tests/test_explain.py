"""A class activation map is the gradient's own account of the logit, and the shares are counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteo_utils.interpretation import activation_maps


@pytest.fixture
def network():
    """Feature maps, head and the logit as a function of the maps: pooling, then one dense unit."""
    generator = np.random.default_rng(11)
    maps, kernel, bias = generator.normal(size=(2, 3, 4, 5)), generator.normal(size=(5, 1)), 0.7
    return maps, kernel, bias, lambda values: values.mean(axis=(1, 2)) @ kernel[:, 0] + bias


def test_map_equals_grad_cam_by_finite_differences(network):
    maps, kernel, _, logit = network
    step, gradient = 1e-4, np.zeros_like(maps)
    for index in np.ndindex(maps.shape):
        up, down = maps.copy(), maps.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (logit(up) - logit(down))[index[0]] / (2 * step)
    # Grad-CAM (Selvaraju et al. 2017): channel weights are the summed gradients; here without its ReLU.
    channel_weights = gradient.sum(axis=(1, 2))
    grad_cam = np.einsum("nhwc,nc->nhw", maps, channel_weights)
    np.testing.assert_allclose(activation_maps.class_activation_map(maps, kernel), grad_cam, rtol=1e-4, atol=1e-5)


def test_mean_of_the_map_is_the_logit_less_the_bias(network):
    maps, kernel, bias, logit = network
    cam = activation_maps.class_activation_map(maps, kernel)
    np.testing.assert_allclose(cam.mean(axis=(1, 2)), logit(maps) - bias, rtol=1e-5)


def test_upsampling_puts_each_cell_over_its_own_pixels():
    cam = np.zeros((1, 2, 2), np.float32)
    cam[0, 0, 1] = 4
    # Centres of cells lie at 0.5 and 1.5 of two; pixel centres of four at 0.25, 0.75, 1.25 and 1.75.
    across, down = np.array([0, 0.25, 0.75, 1]), np.array([1, 0.75, 0.25, 0])
    np.testing.assert_allclose(activation_maps.upsample(cam, 4)[0], 4 * np.outer(down, across), atol=1e-6)


@given(st.integers(1, 5), st.integers(5, 24), st.floats(-3, 3))
def test_upsampling_keeps_a_constant_and_the_symmetry(cells, size, level):
    flat = np.full((1, cells, cells), level, np.float32)
    np.testing.assert_allclose(activation_maps.upsample(flat, size), level, atol=1e-5)
    cam = np.random.default_rng(cells).normal(size=(1, cells, cells)).astype(np.float32)
    turned = activation_maps.upsample(cam[:, ::-1, ::-1], size)
    np.testing.assert_allclose(turned, activation_maps.upsample(cam, size)[:, ::-1, ::-1], atol=1e-5)


def test_shares_counted_by_hand():
    cam = np.array([[[3.0, 1.0], [-9.0, 0.0]]])
    bone = np.array([[[1, 0], [1, 0]]])
    share, area = activation_maps.share_inside(cam, bone)
    assert share == pytest.approx([0.75]) and area == pytest.approx([0.5])


def test_a_coarse_map_is_judged_at_the_resolution_of_the_masks():
    cam = np.random.default_rng(3).normal(size=(5, 3, 3))
    bone = np.random.default_rng(4).random((5, 12, 12)) < 0.4
    fine = activation_maps.upsample(cam, 12)
    for coarse, same in zip(
        activation_maps.share_inside(cam, bone), activation_maps.share_inside(fine, bone), strict=True
    ):
        np.testing.assert_allclose(coarse, same)
    groups = np.array([0, 0, 1, 2, 1])
    positive = np.maximum(fine, 0).reshape(5, -1)
    on_bone = (positive / positive.sum(axis=1, keepdims=True)) @ bone.reshape(5, -1).T
    by_pairs = [on_bone[groups != groups[film], film].mean() for film in range(5)]
    np.testing.assert_allclose(activation_maps.share_of_others(cam, bone, groups), by_pairs, rtol=1e-6)
    assert np.isnan(activation_maps.share_of_others(cam, bone, np.zeros(5))).all()


def test_even_evidence_gives_the_share_of_the_area():
    bone = np.random.default_rng(5).random((3, 16, 16)) < 0.3
    share, area = activation_maps.share_inside(np.ones((3, 16, 16)), bone)
    np.testing.assert_allclose(share, area)


def test_no_positive_evidence_has_no_share():
    share, _ = activation_maps.share_inside(-np.ones((1, 2, 2)), np.ones((1, 2, 2)))
    assert np.isnan(share).all()


def test_share_of_others_counted_by_hand():
    # Both rows of a film are alike.
    cam = np.repeat([[[1.0, 0.0]], [[1.0, 3.0]], [[0.0, 2.0]]], 2, axis=1)
    bone = np.repeat([[[1, 0]], [[0, 1]], [[1, 1]]], 2, axis=1)
    # On the first film's bone, its left half: nothing of the third map, a quarter of the second.
    found = activation_maps.share_of_others(cam, bone, np.array([0, 1, 2]))
    assert found == pytest.approx([0.125, 0.5, 1.0])
    assert activation_maps.share_of_others(cam, bone, np.array([0, 0, 2])) == pytest.approx([0.0, 1.0, 1.0])


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"kernel \(4, 1\); expected"):
        activation_maps.class_activation_map(np.zeros((1, 2, 2, 3)), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="of the same films"):
        activation_maps.share_inside(np.zeros((1, 4, 4)), np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match=r"expected \(n, h, w\)"):
        activation_maps.upsample(np.zeros((2, 2)), 4)
