"""Which films are shown as examples, and that a map comes from a fit that has not seen its film."""

import keras
import numpy as np
import pandas as pd
import pytest

from osteo_utils.interpretation import activation_maps
from osteo_utils.networks import backbones, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights

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
