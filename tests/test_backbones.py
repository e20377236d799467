"""Trunk and tail are Keras's own network cut in two, and the cache holds what the trunk computed, once."""

import re

import keras
import numpy as np
import pytest

from osteo_utils.networks import backbones, trunk_cache
from osteo_utils.sources import weights

SIZE = 32


@pytest.fixture(scope="module")
def random_weights():
    return {name: weights.random(name, 7) for name in ("vgg16", "resnet50")}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture
def doubling(monkeypatch):
    """A trunk of one layer, so that the cache can be tested without a network: every value is doubled."""
    built = []

    def trunk(backbone, weights, image_size, cut):
        inputs = keras.Input((image_size, image_size, 3))
        built.append(backbone)
        return keras.Model(inputs, keras.layers.Rescaling(weights.tensors["scale"])(inputs))

    monkeypatch.setattr(backbones, "trunk", trunk)
    monkeypatch.setattr(backbones, "output_shape", lambda backbone, cut, size: (size, size, 3))
    return built


def scale(factor):
    return weights.Weights("vgg16", {"scale": factor}, "test", f"hash of {factor}")


def whole_network(name, given):
    build = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}[name]
    network = build(weights=None, include_top=False, pooling="avg", input_shape=(SIZE, SIZE, 3))
    for layer in network.layers:
        for variable in layer.variables:
            variable.assign(given.tensors[f"{layer.name}/{variable.name}"])
    return network


def test_preprocess_is_caffe_mode():
    levels = np.array([[[0, 128], [255, 7]]], np.uint8)
    found = backbones.preprocess(levels)
    # Blue, green and red means of ImageNet as He et al. and Simonyan & Zisserman subtracted them.
    expected = levels[..., None].astype(np.float32) - np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "channels"), [("vgg16", 512), ("resnet50", 2048)])
def test_trunk_and_tail_equal_the_whole_network(name, channels, random_weights, images):
    given = random_weights[name]
    trunk = backbones.trunk(name, given, SIZE)
    tail = backbones.tail(name, given, dropout=0.5, seed=1, image_size=SIZE)
    inputs = backbones.preprocess(images)
    middle = trunk.predict_on_batch(inputs)
    pooled = backbones.features(tail).predict_on_batch(middle)
    assert pooled.shape == (5, channels)
    expected = whole_network(name, given).predict_on_batch(inputs)
    np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    # Dropout is silent in prediction, pooling is the mean over the map and the head is linear.
    last = backbones.maps(tail).predict_on_batch(middle)
    np.testing.assert_allclose(last.mean(axis=(1, 2)), pooled, rtol=1e-4, atol=1e-3)
    kernel, bias = tail.get_layer("head").get_weights()
    np.testing.assert_allclose(tail.predict_on_batch(middle), pooled @ kernel + bias, rtol=1e-3, atol=1e-2)
    assert not trunk.trainable_variables


@pytest.mark.parametrize(("cut", "stages"), [("last_block", 3), ("last_stage", 2)])
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_the_means_beside_the_activations_are_those_of_the_stages_before_the_cut(
    name, cut, stages, random_weights, images, tmp_path
):
    given = random_weights[name]
    stored = trunk_cache.activations(images, name, given, tmp_path, cut=cut, batch_size=2)
    whole = whole_network(name, given)
    ends = [whole.get_layer(end).output for end in backbones.STAGES[name][:stages]]
    reached = keras.Model(whole.input, ends).predict_on_batch(backbones.preprocess(images))
    expected = np.concatenate([np.asarray(end).mean(axis=(1, 2)) for end in reached], axis=1)
    np.testing.assert_allclose(trunk_cache.stage_means(stored), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


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
def test_wherever_it_is_cut_trunk_and_tail_are_the_whole_network(name, cut, random_weights, images):
    given = random_weights[name]
    inputs = backbones.preprocess(images)
    middle = np.asarray(backbones.trunk(name, given, SIZE, cut)(inputs))
    tail = backbones.tail(name, given, image_size=SIZE, cut=cut)
    pooled = np.asarray(backbones.features(tail)(middle))
    expected = np.asarray(whole_network(name, given)(inputs))
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


def test_cache_holds_what_the_trunk_computed_and_computes_once(tmp_path, images, doubling):
    for _ in range(2):
        store = trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path, batch_size=2)
    assert store.dtype == np.float16 and store.shape == (5, SIZE, SIZE, 3) and not store.flags.writeable
    np.testing.assert_allclose(store, 2 * backbones.preprocess(images), rtol=1e-3)
    assert len(doubling) == 1
    assert len(list(tmp_path.glob("vgg16-last_block-*.npy"))) == 1


def test_cache_is_made_anew_for_other_images_or_weights(tmp_path, images, doubling):
    other = images.copy()
    other[4, 31, 31] ^= 1
    for given, network in ((images, scale(2.0)), (other, scale(2.0)), (images, scale(3.0))):
        trunk_cache.activations(given, "vgg16", network, tmp_path)
    assert len(doubling) == 3
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_too_large_a_cache_is_refused_before_computing(tmp_path, images, doubling):
    needed = 5 * SIZE * SIZE * 3 * 2
    with pytest.raises(ValueError, match=rf"needs {needed:,} bytes.*Raise cache_gb to at least"):
        trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path, cache_gb=needed * 0.99e-9)
    assert not doubling
    trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path, cache_gb=needed * 1.01e-9)
    with pytest.raises(ValueError, match="holds"):
        trunk_cache.activations(images, "vgg16", scale(3.0), tmp_path, cache_gb=needed * 1.01e-9)


def test_the_cache_size_that_is_told_suffices(tmp_path, images, doubling):
    large = np.concatenate([images] * 40)
    needed = 200 * SIZE * SIZE * 3 * 2
    with pytest.raises(ValueError, match="Raise cache_gb") as caught:
        trunk_cache.activations(large, "vgg16", scale(2.0), tmp_path, cache_gb=0.001)
    told = float(re.search(r"at least ([0-9.]+)", str(caught.value))[1])
    assert needed <= told * 1e9 < needed + 1e6
    trunk_cache.activations(large, "vgg16", scale(2.0), tmp_path, cache_gb=told)


def test_each_cut_has_a_file_of_its_own(tmp_path, images, doubling):
    for cut in ("last_block", "last_stage"):
        trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path, cut=cut)
    names = sorted(path.name for path in tmp_path.glob("*.npy"))
    assert [name.rsplit("-", 1)[0] for name in names] == ["vgg16-last_block", "vgg16-last_stage"]
    assert len(doubling) == 2


def test_full_disk_is_said_before_computing(tmp_path, images, doubling, monkeypatch):
    monkeypatch.setattr(trunk_cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ValueError, match="has 1,000 free"):
        trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path)
    assert not doubling


@pytest.mark.parametrize("factor", [1000.0, float("nan")])
def test_values_beyond_float16_are_refused_and_leave_nothing(tmp_path, images, doubling, factor):
    with pytest.raises(ValueError, match="float16 holds at most 65504"):
        trunk_cache.activations(images, "vgg16", scale(factor), tmp_path)
    assert not list(tmp_path.glob("*.npy")) and not list(tmp_path.glob(".*.npy"))


def test_remains_of_a_kill_are_cleared(tmp_path, images, doubling):
    store = trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path)
    whole = next(tmp_path.glob("*.npy"))
    expected = np.array(store)
    left = whole.with_name(f".{whole.stem}.0123abcd.npy")
    whole.rename(left)
    again = trunk_cache.activations(images, "vgg16", scale(2.0), tmp_path)
    np.testing.assert_array_equal(again, expected)
    assert not left.exists()


def test_wrong_inputs_are_named(random_weights, images):
    with pytest.raises(ValueError, match=r"float64 \(2, 4, 4\); expected uint8"):
        backbones.preprocess(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="'vgg16' with cut 'first_block': not known"):
        backbones.output_shape("vgg16", "first_block", SIZE)
    with pytest.raises(ValueError, match="weights of vgg16 given to resnet50"):
        backbones.trunk("resnet50", random_weights["vgg16"], SIZE)
