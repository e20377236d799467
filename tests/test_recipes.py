"""Recipes, step sizes, the optimizer, precision, and which words about devices are understood."""

import keras
import numpy as np
import pytest

from osteo_utils.networks import backbones, recipes
from osteo_utils.networks.recipes import Recipe
from osteo_utils.sources import weights
from osteo_utils.study import config


def test_the_learning_rate_warms_up_for_one_epoch_and_ends_near_zero() -> None:
    rates = recipes.learning_rates(Recipe("last_block", epochs=5, learning_rate=1e-3), steps=10)
    assert len(rates) == 50
    assert rates[0] == pytest.approx(1e-4)
    assert int(np.argmax(rates)) == 9 and rates[9] == pytest.approx(1e-3)
    assert rates[29] == pytest.approx(5e-4)
    assert rates[49] == pytest.approx(0)


def test_balanced_classes_weigh_alike_and_one_on_average() -> None:
    labels = np.array([0] * 9 + [1] * 3 + [1] * 50)
    weight = recipes.class_weights(labels, np.arange(12), "balanced")
    assert weight[:9].sum() == pytest.approx(weight[9:12].sum())
    assert weight[:12].mean() == pytest.approx(1)
    assert recipes.class_weights(labels, np.arange(12), "none") is None


def test_one_step_of_the_optimiser_is_that_of_adamw_and_smaller_towards_the_input() -> None:
    start = np.array([1.0, -2.0, 0.5], np.float32)
    gradient = np.array([0.3, -0.1, 2.0], np.float32)

    def stepped(made: keras.optimizers.Optimizer) -> np.ndarray:
        variable = keras.Variable(start, name="x")
        made.build([variable])
        for _ in range(3):
            made.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        return keras.ops.convert_to_numpy(variable)

    reference = stepped(keras.optimizers.AdamW(0.01, weight_decay=0.1))
    np.testing.assert_allclose(stepped(recipes.StagewiseAdam(0.01, 0.1, [1.0])), reference, rtol=1e-6)
    slow = stepped(keras.optimizers.AdamW(0.005, weight_decay=0.1))
    np.testing.assert_allclose(stepped(recipes.StagewiseAdam(0.01, 0.1, [0.5])), slow, rtol=1e-6)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_step_sizes_fall_from_the_head_to_the_first_stage(backbone: str) -> None:
    tail = backbones.tail(backbone, weights.random(backbone, 0), image_size=32, cut="all")
    variables = tail.trainable_variables
    shares = dict(zip([v.path for v in variables], recipes.stage_shares(variables, 0.5), strict=True))
    first, last = {"vgg16": ("block1_conv1", "block5_conv3"), "resnet50": ("conv1_conv", "conv5_block3_3_conv")}[
        backbone
    ]
    assert shares["head/kernel"] == 1
    assert shares[f"{last}/kernel"] == 0.5
    assert shares[f"{first}/kernel"] == 0.5**5
    assert sorted(set(shares.values())) == [0.5**n for n in range(5, -1, -1)]
    assert not [path for path in shares if "_bn" in path], "BatchNorm stays as ImageNet left it"


def test_recipes_take_the_parameters_that_are_meant_for_them() -> None:
    parameters = {**config.load("smoke"), "view": "crop", "layer_decay": 0.3, "epochs": 7}
    found = {name: Recipe.from_parameters(name, parameters) for name in config.RECIPES}
    assert {name: recipe.cut for name, recipe in found.items()} == {
        "none": "last_block", "last_block": "last_block", "last_stage": "last_stage", "all": "all",
        "paper": "head",
    }  # fmt: skip
    assert found["all"].layer_decay == 0.3 and found["last_stage"].layer_decay == 1
    assert found["last_stage"].epochs == found["all"].epochs == 7
    assert found["paper"].view == "squeeze" and not found["paper"].mirrored and found["all"].view == ""


SIZE, N = 64, 12


def test_words_that_are_not_understood_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not recipes.shares_batches()
    monkeypatch.setenv(recipes.SHARE, "batch")
    with pytest.raises(ValueError, match="expected 'fits' or 'batches'"):
        recipes.shares_batches()
    monkeypatch.setenv(recipes.SHARE, "batches")
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="set KERAS_BACKEND=jax"):
        recipes.shares_batches()


def test_a_dtype_policy_lasts_as_long_as_its_block() -> None:
    before = keras.config.dtype_policy().name
    with pytest.raises(RuntimeError), recipes.precision(recipes.MIXED):
        assert keras.config.dtype_policy().name == recipes.MIXED
        raise RuntimeError
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_in_mixed_precision_only_the_convolutions_compute_in_half_the_bits(backbone: str) -> None:
    drawn = weights.random(backbone, seed=2)
    single, mixed = (
        backbones.tail(backbone, drawn, seed=3, image_size=SIZE, cut="all", precision=one)
        for one in (recipes.SINGLE, recipes.MIXED)
    )
    computes = {layer.name: layer.compute_dtype for layer in mixed.layers if layer.weights}
    assert {computes[layer.name] for layer in mixed.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}
    assert computes["head"] == mixed.get_layer("pool").compute_dtype == "float32"
    assert {variable.dtype for variable in mixed.variables if "seed" not in variable.path} == {"float32"}
    images = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE)).astype(np.uint8)
    exact, rounded = (backbones.outputs(model, images)[:, 0] for model in (single, mixed))
    assert rounded.dtype == np.float32
    # A bfloat16 has 8 bits for a number, so that a network of dozens of layers is right to a few per cent.
    np.testing.assert_allclose(rounded, exact, atol=0.1 * np.abs(exact).max())
    assert np.abs(rounded - exact).max() > 0
