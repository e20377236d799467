"""A class activation map is the gradient's own account of the logit, and the shares are counted by hand; a map comes from a fit that has not seen its film."""

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteo_utils.interpretation import activation_maps
from osteo_utils.networks import backbones, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights


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


SIZE = 64


N = 12


@pytest.fixture(scope="module")
def images() -> pd.DataFrame:
    return pd.DataFrame(
        {"image_id": [f"c/{n}.png" for n in range(N)], "label": [0, 1] * (N // 2), "group": np.arange(N)}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, images: pd.DataFrame) -> tuple:
    pretrained = weights.random("vgg16", seed=2)
    shape = backbones.output_shape("vgg16", "last_block", SIZE)
    values = np.random.default_rng(0).random((N, *shape)).astype(np.float16)
    activations = Activations("vgg16", "full", SIZE, (values,), "noise")
    jobs = [Fold("grouped", 0, fold, images.assign(fold=np.arange(N) // 4)) for fold in range(3)]
    folder = tmp_path_factory.mktemp("fits")
    folders = training.fit_missing(jobs, Recipe("last_block", epochs=1, batch_size=4), activations, pretrained, folder)
    return list(zip(jobs, folders, strict=True)), activations, pretrained


def test_a_map_adds_up_to_the_prediction_of_the_fold_that_left_the_film_out(study: tuple) -> None:
    fitted, activations, pretrained = study
    found = activation_maps.out_of_fold_maps(fitted, activations, pretrained)
    assert sorted(found.positions) == list(range(N))
    predictions, _ = training.gather([folder for _, folder in fitted])
    probability = predictions.set_index("image_id").y_prob
    for job, folder in fitted:
        tail = tails.fitted_tail(folder, "vgg16", pretrained, SIZE)
        bias = float(tail.get_layer("head").bias.numpy()[0])
        maps = backbones.outputs(backbones.maps(tail), activations.views[0][job.test])
        kernel = tail.get_layer("head").kernel.numpy()
        logits = maps.mean((1, 2)) @ kernel[:, 0] + bias
        expected = probability[job.table.image_id.iloc[job.test]].to_numpy()
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-5)


def test_map_of_a_fitted_tail_is_grad_cam_of_its_logit(study: tuple) -> None:
    fitted, activations, pretrained = study
    tail = tails.fitted_tail(fitted[0][1], "vgg16", pretrained, SIZE)
    rows = activations.views[0][:2]
    last = backbones.outputs(backbones.maps(tail), rows)
    after = keras.Model(tail.get_layer("pool").input, tail.output)
    # Grad-CAM weighs a channel by the gradient summed over places (Selvaraju et al. 2017, equation 1, without 1 / Z).
    # That sum is the slope of the logit when the whole channel is raised.
    channels = last.shape[-1]
    for film, found in zip(last, activation_maps.tail_cells(tail, rows), strict=True):
        raised = np.repeat(film[None], channels, axis=0)
        raised[np.arange(channels), :, :, np.arange(channels)] += 1.0
        logit = backbones.outputs(after, film[None])[0, 0]
        weights_of_channels = backbones.outputs(after, raised)[:, 0] - logit
        np.testing.assert_allclose(film @ weights_of_channels, found, rtol=1e-3, atol=1e-4)


def test_examples_are_the_surest_and_the_least_sure() -> None:
    table = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "y_true": [1, 0, 1, 0, 1, 0],
            "y_prob": [0.99, 0.02, 0.1, 0.7, 0.51, 0.48],
            "seed": 0,
        }
    )
    picked = activation_maps.pick_cases(table, each=1).set_index("case").image_id
    assert picked.to_dict() == {"right": "a", "wrong": "c", "unsure": "e"}


def test_evidence_on_bone_is_counted_only_where_there_is_bone(images: pd.DataFrame) -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, :4] = 1.0
    maps[1, :2] = 1.0
    maps[2] = -1.0
    masks = np.zeros((N, 8, 8), np.uint8)
    masks[:, :4] = 1
    table = activation_maps.inside_bone(activation_maps.StudyMaps(np.array([0, 1, 2]), maps), masks, images)
    assert list(table.image_id) == ["c/0.png", "c/1.png"], "a film without positive evidence has no share"
    assert list(table.area) == [0.5, 0.5]
    assert list(table.share) == [1.0, 1.0]
    assert list(table.swapped) == pytest.approx([1.0, 1.0])


def test_heat_is_on_one_scale_and_shows_only_what_speaks_for_osteoporosis(images: pd.DataFrame) -> None:
    maps = np.stack([np.full((8, 8), value, np.float32) for value in (2.0, 1.0, -3.0)])
    found = activation_maps.StudyMaps(np.array([4, 2, 0]), maps)
    picked = pd.DataFrame({"image_id": ["c/0.png", "c/2.png", "c/4.png"], "y_true": 0, "y_prob": 0.5, "case": "x"})
    squares = np.zeros((N, 8, 8), np.uint8)
    heat = activation_maps.drawn(picked, found, squares, squares, images)["heat"]
    assert [float(one.max()) for one in heat] == [0.0, 0.5, 1.0]
