"""The cache holds what the trunk computed, once, and refuses what it cannot hold."""

import re

import keras
import numpy as np
import pytest
import samples

from osteo_utils.networks import backbones, trunk_cache
from osteo_utils.sources import weights

SIZE = 32
random_weights, images, whole_networks = samples.network_fixtures(SIZE)


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


@pytest.mark.parametrize(("cut", "stages"), [("last_block", 3), ("last_stage", 2)])
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_the_means_beside_the_activations_are_those_of_the_stages_before_the_cut(
    name, cut, stages, random_weights, whole_networks, images, tmp_path
):
    given = random_weights[name]
    stored = trunk_cache.activations(images, name, given, tmp_path, cut=cut, batch_size=2)
    whole = whole_networks[name]
    ends = [whole.get_layer(end).output for end in backbones.STAGES[name][:stages]]
    reached = keras.Model(whole.input, ends).predict_on_batch(backbones.preprocess(images))
    expected = np.concatenate([np.asarray(end).mean(axis=(1, 2)) for end in reached], axis=1)
    np.testing.assert_allclose(trunk_cache.stage_means(stored), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


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
