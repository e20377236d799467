"""The mistakes, on data where the right answer is known: features that carry no signal at all."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.data import splits
from osteo_utils.evidence import leakage

N, VIEWS, CHANNELS = 120, 2, 40
NETWORK = leakage.Network(epochs=80)


@pytest.fixture(scope="module")
def images() -> pd.DataFrame:
    """Sixty knees, each filed twice, labelled by a coin."""
    labels = np.repeat(np.random.default_rng(3).permutation([0, 1] * (N // 4)), 2)
    return pd.DataFrame(
        {
            "image_id": [f"c/{n:03d}" for n in range(N)],
            "label": labels,
            "group": np.arange(N) // 2,
            "conflict": 0,
        }
    )


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """The two files of a knee look almost alike, and so do the views of a file; nothing tells the label."""
    rng = np.random.default_rng(4)
    knees = np.repeat(rng.normal(size=(N // 2, CHANNELS)), 2, axis=0)
    return np.stack([knees + 0.05 * rng.normal(size=knees.shape) for _ in range(VIEWS)])


def accuracy(protocol: str, images: pd.DataFrame, features: np.ndarray) -> float:
    scores = []
    for seed in range(2):
        folds = splits.make_folds(images, protocol, 5, seed, views=VIEWS)
        predictions = leakage.run_protocol(NETWORK, features, images, folds, protocol, seed)
        scores.append(np.mean((predictions.y_prob >= 0.5) == (predictions.y_true == 1)))
    return float(np.mean(scores))


def test_without_signal_the_honest_split_is_at_chance(images: pd.DataFrame, features: np.ndarray) -> None:
    assert 0.35 < accuracy("grouped", images, features) < 0.65


@pytest.mark.parametrize("protocol", ["by_file", "augment_first", "resubstitution"])
def test_without_signal_a_leaking_protocol_still_looks_good(
    protocol: str, images: pd.DataFrame, features: np.ndarray
) -> None:
    assert accuracy(protocol, images, features) > 0.7


def test_tuning_on_the_test_fold_can_only_raise_accuracy(images: pd.DataFrame, features: np.ndarray) -> None:
    assert accuracy("tuned_on_test", images, features) > accuracy("grouped", images, features)


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


def test_only_augment_first_scores_the_views_one_by_one(images: pd.DataFrame, features: np.ndarray) -> None:
    counts = {}
    for protocol in ("by_file", "augment_first"):
        folds = splits.make_folds(images, protocol, 5, 0, views=VIEWS)
        counts[protocol] = len(leakage.run_protocol(NETWORK, features, images, folds, protocol, 0))
    assert counts == {"by_file": N, "augment_first": N * VIEWS}


def test_an_unknown_protocol_is_refused(images: pd.DataFrame, features: np.ndarray) -> None:
    with pytest.raises(ValueError, match="unknown protocol 'by_luck'"):
        leakage.run_protocol(NETWORK, features, images, pd.DataFrame(), "by_luck", 0)
