"""The mistakes, on data where the right answer is known: features that carry no signal at all."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from osteo_utils.protocols import leakage, splits
from osteo_utils.protocols.definitions import PROTOCOLS, SHUFFLED, Protocol, asked

N, VIEWS, CHANNELS = 120, 2, 400


SEEDS = (0, 1)


SPLITS = ("grouped", "grouped_all", "by_file", "augment_first")


@pytest.fixture(scope="module")
def lab() -> leakage.Lab:
    """Sixty knees, each filed twice, labelled by a coin; nothing in their features tells the label.

    The two files of a knee look almost alike, and so do the views of a file.
    """
    labels = np.repeat(np.random.default_rng(3).permutation([0, 1] * (N // 4)), 2)
    about = {"image_id": [f"c/{n:03d}" for n in range(N)], "label": labels, "knee": np.arange(N) // 2}
    images = pd.DataFrame(about).assign(group=np.arange(N) // 2, conflict=0)
    rng = np.random.default_rng(4)
    knees = np.repeat(rng.normal(size=(N // 2, CHANNELS)), 2, axis=0)
    features = np.stack([knees + 0.05 * rng.normal(size=knees.shape) for _ in range(VIEWS)])
    folds = pd.concat(splits.make_folds(images, name, 5, seed, VIEWS) for name in SPLITS for seed in SEEDS)
    return leakage.Lab(leakage.Network(epochs=20, penalty=0.1), features, images, folds, size=90)


@pytest.fixture(scope="module")
def predictions(lab: leakage.Lab) -> pd.DataFrame:
    return leakage.run(lab, [*asked(lab.images), *SHUFFLED], SEEDS)


@pytest.fixture(scope="module")
def accuracy(predictions: pd.DataFrame) -> pd.Series:
    right = (predictions.y_prob >= 0.5) == (predictions.y_true == 1)
    return right.groupby(predictions.protocol).mean()


HONEST = [name for name in (*PROTOCOLS, *SHUFFLED) if Protocol(name).honest]


@pytest.mark.parametrize("name", [*HONEST, "scaled_first"])
def test_without_signal_the_honest_protocols_are_at_chance(name: str, accuracy: pd.Series) -> None:
    # Two and a half standard errors of 60 knees; scaling on all films is a mistake that costs nothing here.
    assert abs(accuracy[name] - 0.5) < 0.16


def test_without_signal_the_other_knee_of_a_person_tells_his_label() -> None:
    """Sixty persons with two knees that look almost alike and share a label, which is a coin's."""
    rng = np.random.default_rng(5)
    about = {"image_id": [f"c/{n:03d}" for n in range(N)], "label": np.repeat(rng.permutation([0, 1] * (N // 4)), 2)}
    images = pd.DataFrame(about).assign(knee=np.arange(N), group=np.arange(N) // 2, conflict=0)
    features = np.repeat(rng.normal(size=(1, N // 2, CHANNELS)), 2, axis=1) + 0.05 * rng.normal(size=(1, N, CHANNELS))
    folds = pd.concat(splits.make_folds(images, name, 5, 0) for name in ("grouped", "grouped_knees"))
    lab = leakage.Lab(leakage.Network(epochs=20, penalty=0.1), features, images, folds, size=90)
    assert "grouped_knees" in asked(images) and "grouped_knees" not in asked(images.assign(group=images.knee))
    called = leakage.run(lab, ["grouped", "grouped_knees"], [0])
    right = ((called.y_prob >= 0.5) == (called.y_true == 1)).groupby(called.protocol).mean()
    assert right["grouped_knees"] > 0.8 > right["grouped"] + 0.14


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in (*HONEST, "scaled_first", "grouped_knees")])
def test_without_signal_a_leaking_protocol_still_looks_better(name: str, accuracy: pd.Series) -> None:
    assert accuracy[name] > accuracy["grouped"] + 0.08


@pytest.mark.parametrize("name", ["by_file", "augment_first", "train_in_test", "resubstitution"])
def test_a_knee_on_both_sides_scores_high_on_labels_that_mean_nothing(name: str, accuracy: pd.Series) -> None:
    assert accuracy[f"{name}+shuffled"] > 0.75


def test_features_chosen_on_all_films_score_high_on_labels_that_mean_nothing(accuracy: pd.Series) -> None:
    """Ambroise and McLachlan 2002: the same choice made inside the training folds is at chance."""
    assert accuracy["selected_first+shuffled"] > accuracy["selected_inside+shuffled"] + 0.15


def test_training_films_in_the_test_set_lie_between_the_two(accuracy: pd.Series) -> None:
    assert accuracy["by_file"] < accuracy["train_in_test"] < accuracy["resubstitution"]


def test_shuffled_labels_keep_copies_in_agreement_and_the_count_of_either_class(lab: leakage.Lab) -> None:
    shuffled, true = lab.labels(True, 0), lab.labels(False, 0)
    assert pd.Series(shuffled).groupby(lab.images.group).nunique().eq(1).all()
    assert shuffled.sum() == true.sum()
    assert np.mean(shuffled == true) < 0.75


def test_every_fit_learns_from_as_many_films(lab: leakage.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def watched(network, features, labels, epochs, seed):
        shown.append([(len(positions), len(set(zip(views, positions, strict=True)))) for views, positions in epochs])
        return leakage_train(network, features, labels, epochs, seed)

    leakage_train = leakage.Network.train
    monkeypatch.setattr(leakage.Network, "train", watched)
    leakage.run(replace(lab, network=leakage.Network(2)), asked(lab.images), SEEDS[:1])
    assert {pair for epochs in shown for pair in epochs} == {(lab.size, lab.size)}


def test_no_network_of_an_honest_protocol_has_seen_the_knee_that_it_scores(
    lab: leakage.Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each film that resubstitution scores was seen: asked with a network that only remembers."""
    groups = lab.images.group.to_numpy()

    class Memory:
        def __init__(self, positions):
            self.positions = positions

    def remember(network, features, labels, epochs, seed):
        yield Memory(set(np.concatenate([positions for _, positions in epochs])))

    def known(memory, inputs, rows):
        return rows.position.isin(memory.positions) + 0.5 * np.isin(
            groups[rows.position], groups[list(memory.positions)]
        )

    monkeypatch.setattr(leakage.Network, "train", remember)
    monkeypatch.setattr(leakage, "_scores", known)
    names = ["grouped", "grouped_all", "by_file", "resubstitution", "train_in_test", "selected_first"]
    told = leakage.run(replace(lab, network=leakage.Network(1)), names, SEEDS).groupby("protocol").y_prob
    assert told.max()["grouped"] == told.max()["grouped_all"] == told.max()["selected_first"] == 0
    assert 0 < told.mean()["by_file"] < 0.5
    assert told.min()["resubstitution"] == 1.5
    assert told.max()["train_in_test"] == 1.5 and told.min()["train_in_test"] < 1


def test_the_recipe_is_frozen_without_the_folds_of_any_mistake(lab: leakage.Lab) -> None:
    honest = lab.folds[lab.folds.protocol == "grouped"]
    made, tried = leakage.prepare(lab.features, lab.images, honest, SEEDS, 6)
    assert made.size == 96 and made.network.epochs <= 6
    # Twelve of 48 training groups are held out in each of five folds.
    best = tried.accuracy.max()
    good = tried[tried.accuracy >= best - np.sqrt(best * (1 - best) / 60)]
    longest = good[good.epoch == good.epoch.max()]
    assert (made.network.penalty, made.network.epochs) == (longest.penalty.min(), good.epoch.max())
    assert set(tried.penalty) == set(leakage.PENALTIES) and tried.groupby("penalty").size().eq(6).all()


def test_tuning_on_the_test_fold_finds_the_best_epoch_and_threshold() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 30)
    by_epoch = np.round(rng.random((5, 30)), 1)
    cuts = np.arange(-0.05, 1.1, 0.1)
    best = max(accuracy_score(labels, p >= cut) for p in by_epoch for cut in cuts)
    assert accuracy_score(labels, leakage.tuned_on_test(by_epoch, labels) >= 0.5) == best


def test_a_tuned_threshold_becomes_one_half_and_keeps_the_order() -> None:
    by_epoch = np.array([[0.9, 0.1, 0.8, 0.2], [0.60, 0.70, 0.85, 0.90]])
    labels = np.array([0, 0, 1, 1])
    tuned = leakage.tuned_on_test(by_epoch, labels)
    assert ((tuned >= 0.5) == (labels == 1)).all()
    assert list(np.argsort(tuned)) == list(np.argsort(by_epoch[1]))


def test_a_sure_network_in_single_precision_is_tuned_without_a_division_by_zero() -> None:
    sure = np.array([[0.0, 0.3, 1.0, 1.0]], np.float32)
    with np.errstate(all="raise"):
        tuned = leakage.tuned_on_test(sure, np.array([0, 0, 1, 1]))
    assert (tuned >= 0.5).tolist() == [False, False, True, True]
    assert tuned.min() > 0 and tuned.max() < 1


def test_only_augment_first_scores_the_views_one_by_one(predictions: pd.DataFrame, lab: leakage.Lab) -> None:
    counts = predictions.groupby("protocol").size() / len(SEEDS)
    assert counts["by_file"] == N
    assert counts["augment_first"] == lab.size * VIEWS
    assert counts["train_in_test"] == lab.size + N / 5


def test_the_table_keeps_the_order_of_the_names(lab: leakage.Lab, predictions: pd.DataFrame) -> None:
    assert predictions.protocol.unique().tolist() == [*asked(lab.images), *SHUFFLED]


def test_a_split_that_was_not_made_is_named(lab: leakage.Lab) -> None:
    with pytest.raises(ValueError, match="no protocol 'by_file' with seed 7"):
        leakage.run(lab, ["by_file"], [7])
