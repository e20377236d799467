"""Trunk and tail are Keras's own network cut in two."""

import keras
import numpy as np
import pytest
import samples

from osteo_utils.networks import backbones

SIZE = 32
random_weights, images, whole_networks = samples.network_fixtures(SIZE)


def test_preprocess_is_caffe_mode():
    levels = np.array([[[0, 128], [255, 7]]], np.uint8)
    found = backbones.preprocess(levels)
    # Blue, green and red means of ImageNet as He et al. and Simonyan & Zisserman subtracted them.
    expected = levels[..., None].astype(np.float32) - np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "channels"), [("vgg16", 512), ("resnet50", 2048)])
def test_trunk_and_tail_equal_the_whole_network(name, channels, random_weights, whole_networks, images):
    given = random_weights[name]
    trunk = backbones.trunk(name, given, SIZE)
    tail = backbones.tail(name, given, dropout=0.5, seed=1, image_size=SIZE)
    inputs = backbones.preprocess(images)
    middle = trunk.predict_on_batch(inputs)
    pooled = backbones.features(tail).predict_on_batch(middle)
    assert pooled.shape == (5, channels)
    expected = whole_networks[name].predict_on_batch(inputs)
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    # Dropout is silent in prediction, pooling is the mean over the map and the head is linear.
    last = backbones.maps(tail).predict_on_batch(middle)
    np.testing.assert_allclose(last.mean(axis=(1, 2)), pooled, rtol=1e-4, atol=1e-3)
    kernel, bias = tail.get_layer("head").get_weights()
    np.testing.assert_allclose(tail.predict_on_batch(middle), pooled @ kernel + bias, rtol=1e-3, atol=1e-2)
    assert not trunk.trainable_variables


def test_what_the_tails_learn(random_weights):
    def learns(name):
        tail = backbones.tail(name, random_weights[name], image_size=SIZE)
        return {f"{layer.name}/{v.name}" for layer in tail.layers for v in layer.trainable_variables}

    head = {"head/kernel", "head/bias"}
    assert learns("vgg16") == {"block5_conv3/kernel", "block5_conv3/bias"} | head
    convolutions = {f"conv5_block3_{n}_conv/{variable}" for n in (1, 2, 3) for variable in ("kernel", "bias")}
    assert learns("resnet50") == convolutions | head


@pytest.mark.parametrize("cut", ["head", "last_stage", "all"])
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_wherever_it_is_cut_trunk_and_tail_are_the_whole_network(name, cut, random_weights, whole_networks, images):
    given = random_weights[name]
    inputs = backbones.preprocess(images)
    middle = np.asarray(backbones.trunk(name, given, SIZE, cut)(inputs))
    tail = backbones.tail(name, given, image_size=SIZE, cut=cut)
    pooled = np.asarray(backbones.features(tail)(middle))
    expected = np.asarray(whole_networks[name](inputs))
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert middle.shape[1:] == backbones.output_shape(name, cut, SIZE)


def test_films_go_into_the_whole_network_as_they_are(random_weights, images):
    tail = backbones.tail("vgg16", random_weights["vgg16"], image_size=SIZE, cut="all")
    expected = np.asarray(tail(backbones.preprocess(images)))
    np.testing.assert_allclose(backbones.outputs(tail, images), expected, rtol=1e-4, atol=1e-4)


def test_the_dense_layer_before_the_head_is_there_where_it_is_asked_for(random_weights):
    tail = backbones.tail("vgg16", random_weights["vgg16"], image_size=SIZE, cut="head", hidden_units=8)
    learns = {f"{layer.name}/{v.name}": v.shape for layer in tail.layers for v in layer.trainable_variables}
    assert learns == {
        "hidden/kernel": (512, 8), "hidden/bias": (8,), "head/kernel": (8, 1), "head/bias": (1,),
    }  # fmt: skip


def test_batch_norm_keeps_its_statistics_in_training(random_weights, images):
    tail = backbones.tail("resnet50", random_weights["resnet50"], image_size=SIZE)
    middle = np.random.default_rng(0).random((4, *backbones.output_shape("resnet50", "last_block", SIZE)), np.float32)
    before = tail.get_layer("conv5_block3_1_bn").get_weights()
    tail.compile(keras.optimizers.SGD(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    kernel = tail.get_layer("conv5_block3_1_conv").get_weights()[0]
    tail.train_on_batch(middle, np.array([[0], [1], [0], [1]]))
    for old, new in zip(before, tail.get_layer("conv5_block3_1_bn").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(tail.get_layer("conv5_block3_1_conv").get_weights()[0] - kernel).max() > 0


def test_heads_depend_on_the_seed_alone(random_weights):
    kernels = [
        backbones.tail("vgg16", random_weights["vgg16"], seed=seed, image_size=SIZE).get_layer("head").get_weights()[0]
        for seed in (4, 4, 5)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01


def test_cuts_have_the_shapes_of_the_papers():
    # At 224 pixels: Simonyan & Zisserman 2015, table 1; He et al. 2016, table 1.
    assert backbones.output_shape("vgg16", "last_block", 224) == (14, 14, 512)
    assert backbones.output_shape("resnet50", "last_block", 224) == (7, 7, 2048)
    assert backbones.output_shape("vgg16", "last_stage", 224) == (14, 14, 512)
    assert backbones.output_shape("resnet50", "last_stage", 224) == (14, 14, 1024)
    assert backbones.output_shape("vgg16", "head", 224) == (7, 7, 512)


def test_wrong_inputs_are_named(random_weights, images):
    with pytest.raises(ValueError, match=r"float64 \(2, 4, 4\); expected uint8"):
        backbones.preprocess(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="'vgg16' with cut 'first_block': not known"):
        backbones.output_shape("vgg16", "first_block", SIZE)
    with pytest.raises(ValueError, match="weights of vgg16 given to resnet50"):
        backbones.trunk("resnet50", random_weights["vgg16"], SIZE)
