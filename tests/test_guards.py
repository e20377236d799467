"""Each guard lets a sound study pass and stops one in which a fault was planted."""

import itertools
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from osteo_utils.networks import backbones, guards, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights

SIZE = 32
N = 12


RANDOM = {name: weights.random(name, seed=1) for name in ("vgg16", "resnet50")}


@pytest.fixture(scope="module")
def pretrained() -> weights.Weights:
    return RANDOM["vgg16"]


@pytest.fixture(scope="module")
def films() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def activations(films: np.ndarray, pretrained: weights.Weights) -> Activations:
    values = backbones.outputs(backbones.trunk("vgg16", pretrained, SIZE), films).astype(np.float16)
    return Activations("vgg16", "full", SIZE, (values,), "key", first_film=films[0])


def job(**columns: object) -> Fold:
    frame = pd.DataFrame({"image_id": [f"c/{n:02d}.png" for n in range(N)], "label": [0, 1] * (N // 2)})
    return Fold("grouped", 0, 0, frame.assign(group=np.arange(N), fold=np.arange(N) % 3).assign(**columns))


class TestBackbone:
    def test_the_study_passes(self, activations: Activations, pretrained: weights.Weights) -> None:
        training.check_trunk(activations, pretrained)

    def test_a_changed_weight_is_found(self, pretrained: weights.Weights) -> None:
        trunk = backbones.trunk("vgg16", pretrained, SIZE)
        tail = backbones.tail("vgg16", pretrained, image_size=SIZE)
        bias = trunk.get_layer("block1_conv1").bias
        bias.assign(bias + 1e-6)
        with pytest.raises(RuntimeError, match=r"network's tensors have the hash .* expected .* random, seed 1"):
            guards.check_backbone(trunk, tail, pretrained)

    def test_a_head_on_bare_films_is_not_a_backbone(self, pretrained: weights.Weights) -> None:
        inputs = keras.Input((SIZE, SIZE, 3))
        empty = keras.Model(inputs, keras.layers.Identity()(inputs))
        tail = backbones.tail("vgg16", pretrained, image_size=SIZE, cut="head")
        with pytest.raises(RuntimeError, match=r"26 of 26 tensors .* first is block1_conv1/bias"):
            guards.check_backbone(empty, tail, pretrained)

    @pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
    def test_pixels_scaled_to_one_are_refused(self, backbone: str) -> None:
        guards.check_preprocessing(backbone, backbones.preprocess)

        def scaled(films: np.ndarray) -> np.ndarray:
            return np.repeat(films[..., None], 3, axis=-1).astype(np.float32) / 255

        with pytest.raises(RuntimeError, match=f"differs by up to .* from keras.applications.{backbone}"):
            guards.check_preprocessing(backbone, scaled)

    def test_activations_of_another_film_are_refused(
        self, activations: Activations, films: np.ndarray, pretrained: weights.Weights
    ) -> None:
        with pytest.raises(RuntimeError, match=r"stored activations of the first film .* delete"):
            training.check_trunk(replace(activations, first_film=films[1]), pretrained)


class TestTrainable:
    @pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
    @pytest.mark.parametrize("fine_tune", ["paper", "last_block", "last_stage", "all"])
    def test_the_counts_are_those_of_the_papers_tables(self, backbone: str, fine_tune: str) -> None:
        recipe = Recipe(fine_tune, hidden_units=256 if fine_tune == "paper" else 0)
        guards.check_trainable(tails.untrained_tail(recipe, backbone, RANDOM[backbone], SIZE), backbone, recipe)

    def test_a_frozen_convolution_is_found(self, pretrained: weights.Weights) -> None:
        recipe = Recipe("last_stage")
        tail = tails.untrained_tail(recipe, "vgg16", pretrained, SIZE)
        tail.get_layer("block5_conv2").trainable = False
        with pytest.raises(RuntimeError, match="4,720,129 weights are trainable, expected 7,079,937"):
            guards.check_trainable(tail, "vgg16", recipe)


class TestOverfit:
    RECIPE = Recipe("last_block", batch_size=4, learning_rate=1e-5, label_smoothing=0.05, dropout=0.2)

    def test_a_sound_network_learns_four_films_by_heart(
        self, activations: Activations, pretrained: weights.Weights
    ) -> None:
        tails.TailFitter(self.RECIPE, activations, pretrained).check_overfit(job())

    def test_films_that_do_not_reach_the_network_are_found(
        self, activations: Activations, pretrained: weights.Weights
    ) -> None:
        blank = replace(activations, views=(np.zeros_like(activations.views[0]),))
        with pytest.raises(RuntimeError, match=r"vgg16, last_block: 300 steps on the same 4 images .* expected 0"):
            tails.TailFitter(self.RECIPE, blank, pretrained).check_overfit(job())

    def test_a_loss_that_stands_still_is_found_and_one_that_halves_is_not(self) -> None:
        with pytest.raises(RuntimeError, match=r"3 steps .* from 0\.700 to 0\.700"):
            guards.check_overfit(lambda: 0.7, "x", n_steps=3)
        falling = iter([0.5, 0.4, 0.31, 0.29])
        # With a floor of 0.1 half the way is at 0.3.
        assert len(guards.check_overfit(lambda: next(falling), "x", floor=0.1)) == 4

    def test_a_network_that_learns_no_more_than_to_guess_is_found(self) -> None:
        falling = (np.log(2) + 0.9**step for step in itertools.count())
        with pytest.raises(RuntimeError, match=r"from 1\.693 to 0\.693, expected 0\.347"):
            guards.check_overfit(lambda: next(falling), "x")

    def test_a_loss_that_is_no_number_is_found(self) -> None:
        with pytest.raises(RuntimeError, match="to nan, expected"):
            guards.check_overfit(lambda: float("nan"), "x", n_steps=3)


def test_a_layer_that_did_not_move_is_named() -> None:
    still, moved = keras.Variable(np.ones(2), name="still"), keras.Variable(np.ones(2), name="moved")
    guards.check_moved([moved], [np.zeros(2)])
    with pytest.raises(RuntimeError, match="still did not move"):
        guards.check_moved([moved, still], [np.zeros(2), np.ones(2)])


class TestSides:
    def test_a_group_on_both_sides_stops_the_study(self) -> None:
        sound, leaking = job(), job(group=np.arange(N) // 2)
        guards.check_apart(sound, sound.train, sound.test)
        with pytest.raises(RuntimeError, match=r"grouped, seed 0, fold 0: 4 groups are on both sides"):
            guards.check_apart(leaking, leaking.train, leaking.test)

    def test_by_file_groups_may_be_on_both_sides_but_no_image(self) -> None:
        by_file = replace(job(group=np.arange(N) // 2), protocol="by_file")
        guards.check_apart(by_file, by_file.train, by_file.test)
        with pytest.raises(RuntimeError, match="1 images are on both sides, the first is 0"):
            guards.check_apart(by_file, np.append(by_file.train, 0), by_file.test)

    def test_fitting_asks_before_it_fits(self, activations: Activations, pretrained: weights.Weights, tmp_path) -> None:
        with pytest.raises(RuntimeError, match="on both sides"):
            training.fit_missing([job(group=np.arange(N) // 2)], Recipe("none"), activations, pretrained, tmp_path)
        assert not list(tmp_path.iterdir())


class TestOutOfFold:
    JOBS = tuple(replace(job(), number=fold) for fold in range(3))

    def sound(self) -> pd.DataFrame:
        table = self.JOBS[0].table
        return table[["image_id", "fold"]].assign(protocol="grouped", seed=0)

    def test_one_prediction_of_each_image_by_its_own_fold_passes(self) -> None:
        guards.check_out_of_fold(self.sound(), self.JOBS)

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (lambda table: table.iloc[1:], r"c/00.png has no prediction"),
            (lambda table: pd.concat([table, table.iloc[:1]]), r"c/00.png is predicted twice"),
            (lambda table: table.assign(fold=(table.fold + 1) % 3), r"c/0.\.png is predicted by a fit that does not"),
            (lambda table: table.assign(seed=1), r"is predicted by a fit that does not .*seed 1"),
        ],
    )  # fmt: skip
    def test_any_other_table_stops_the_study(self, fault, said: str) -> None:
        with pytest.raises(RuntimeError, match=said):
            guards.check_out_of_fold(fault(self.sound()), self.JOBS)


@pytest.mark.parametrize(
    ("probability", "said"),
    [([0.1, np.nan], "not finite; lower learning_rate"), ([0.5, 0.5, 0.5], r"every image gets 0\.5")],
)
def test_a_dead_network_stops_the_study(probability: list[float], said: str) -> None:
    guards.check_probabilities(np.array([0.1, 0.2]), "fit")
    with pytest.raises(RuntimeError, match=said):
        guards.check_probabilities(np.array(probability), "fit")
