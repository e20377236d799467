"""Abstaining: what is counted, and that no film has a say in its own case."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.evidence import subgroups


def table(y_true, y_prob, folds=None, groups=None, seed=0):
    n = len(y_true)
    return pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(n)], "view": 0, "seed": seed,
            "fold": np.arange(n) % 2 if folds is None else folds,
            "group": np.arange(n) if groups is None else groups, "y_true": y_true, "y_prob": y_prob,
        }
    )  # fmt: skip


def test_films_are_parted_by_whether_two_models_say_the_same():
    y = [1, 1, 1, 0, 0, 0, 0, 1]
    a = [0.9, 0.8, 0.3, 0.1, 0.2, 0.7, 0.6, 0.9]
    b = [0.7, 0.6, 0.2, 0.3, 0.1, 0.1, 0.9, 0.2]
    # They differ on the sixth (mean 0.4: right) and the last (mean 0.55: right); agree rightly on four of six.
    found = subgroups.agreement(table(y, a), table(y, b), 100).set_index("name")
    assert found["films"].tolist() == [6, 2]
    assert found["coverage"].tolist() == [0.75, 0.25]
    assert found["accuracy"].tolist() == pytest.approx([4 / 6, 1])


def test_two_seeds_are_averaged_and_models_of_one_mind_leave_no_film():
    y, p = [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.4]
    two = pd.concat([table(y, p), table(y, [0.1, 0.9, 0.2, 0.8], seed=1)])
    found = subgroups.agreement(two, two, 50)
    assert found["films"].tolist() == [4, 0]
    assert found["accuracy"].iloc[0] == pytest.approx((0.75 + 1) / 2)
    assert np.isnan(found["accuracy"].iloc[1])


def test_the_bar_is_the_certainty_that_the_wanted_share_of_the_other_fold_has():
    # Fold 1 is certain by 0.05, 0.15, ... 0.45: half of its ten films are certain by 0.25 and more.
    certain = np.repeat(np.arange(5) / 10 + 0.05, 2)
    y = np.tile([0, 1], 10)
    p = np.r_[0.5 + certain, 0.5 + np.full(10, 0.25)]
    folds = np.r_[np.ones(10, int), np.zeros(10, int)]
    found = subgroups.most_certain(table(y, p, folds), np.array([0.5, 1.0]), 20)
    # All of fold 0 are as certain as 0.25, and the six of fold 1 that are as certain as any of fold 0.
    assert found["coverage"].tolist() == [(10 + 6) / 20, 1.0]
    assert found["accuracy"].iloc[1] == 0.5


def test_how_many_are_decided_is_what_the_definition_counts():
    rng = np.random.default_rng(1)
    y, p, folds = np.arange(40) % 2, rng.random(40), np.arange(40) // 20
    certainty = np.abs(p - 0.5)
    found = subgroups.most_certain(table(y, p, folds), np.array([0.3, 0.6]), 2)
    for share, reached in zip((0.3, 0.6), found["coverage"], strict=True):
        count = 0
        for fold in (0, 1):
            known = np.sort(certainty[folds != fold])
            bar = known[int(np.ceil(round(19 * (1 - share), 9)))]
            count += (certainty[folds == fold] >= bar).sum()
        assert reached == count / 40


def test_the_certain_are_the_right_ones_where_probabilities_can_be_believed():
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, 2000)
    y = (rng.random(2000) < p).astype(int)
    found = subgroups.most_certain(table(y, p), np.array([0.2, 0.5, 1.0]), 100)
    # The mean of max(p, 1 - p) over the outer fifth, half and whole of a uniform p.
    assert found["accuracy"].tolist() == pytest.approx([0.95, 0.875, 0.75], abs=0.03)
    assert ((found["low"] < found["accuracy"]) & (found["accuracy"] < found["high"])).all()


def test_a_lone_fold_and_an_impossible_share_are_refused():
    frame = table([0, 1], [0.2, 0.8], folds=[0, 0])
    with pytest.raises(ValueError, match="only one fold"):
        subgroups.most_certain(frame)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        subgroups.most_certain(frame, np.array([80.0]))
