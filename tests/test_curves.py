"""Curves against scikit-learn and against their definitions."""

import numpy as np
import pandas as pd
import pytest
from samples import predictions as table
from sklearn import metrics as sk

from osteo_utils.statistics import curves


def noisy(n, seed, skill=1.0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    return y, 1 / (1 + np.exp(-(skill * (2 * y - 1) + rng.normal(size=n))))


def test_the_roc_is_scikit_learns_staircase_with_a_band_around_it():
    y, p = noisy(300, 13)
    points = curves.roc(table(y, np.round(p, 2)), n_resamples=200, points=21)
    false, true, _ = sk.roc_curve(y, np.round(p, 2), drop_intermediate=False)
    expected = [true[false <= at + 1e-12].max() for at in points["fpr"]]
    assert points["tpr"].to_numpy() == pytest.approx(expected)
    assert points["tpr"].is_monotonic_increasing
    assert points["tpr"].between(points["low"], points["high"]).mean() > 0.9
    assert points["tpr"].iloc[-1] == 1


def test_the_area_below_precision_and_recall_is_the_average_precision():
    y, p = noisy(200, 14)
    p = np.round(p, 2)
    # A grid of one step for each of the 100 positives reads every stair.
    points = curves.precision_recall(table(y, p), n_resamples=50, points=101)
    assert points["precision"].mean() == pytest.approx(sk.average_precision_score(y, p), abs=1e-12)
    assert points["precision"].between(points["low"], points["high"]).mean() > 0.9


def test_copies_of_every_film_widen_and_narrow_no_band():
    y, p = noisy(60, 15)
    copied = table(np.tile(y, 3), np.tile(p, 3), np.tile(np.arange(60), 3))
    for trace in (curves.roc, curves.precision_recall, curves.decision):
        once, thrice = trace(table(y, p), n_resamples=50), trace(copied, n_resamples=50)
        np.testing.assert_allclose(once.to_numpy(), thrice.to_numpy(), atol=1e-12)


def test_calibrated_probabilities_lie_on_the_diagonal_and_halved_log_odds_do_not():
    rng = np.random.default_rng(16)
    p = rng.uniform(0.02, 0.98, 4000)
    y = (rng.random(4000) < p).astype(int)
    good = curves.reliability(table(y, p), n_resamples=40)
    inside = good["predicted"].between(good["low"], good["high"])
    assert inside.mean() > 0.8
    assert np.abs(good["observed"] - good["predicted"]).max() < 0.06
    odds = np.sqrt(p / (1 - p))
    timid = curves.reliability(table(y, odds / (1 + odds)), n_resamples=40).iloc[[2, -3]]
    assert (timid["high"].iloc[0] < timid["predicted"].iloc[0]) and (timid["low"].iloc[1] > timid["predicted"].iloc[1])


def test_one_probability_for_all_is_smoothed_to_the_share():
    found = curves.reliability(table([0, 0, 0, 1], [0.5] * 4), n_resamples=5)
    assert set(found["observed"]) == {0.25}


def test_net_benefit_is_true_alarms_less_false_ones_at_the_thresholds_price():
    # 321 films: 111 true and 21 false alarms at 0.25 are worth 111/321 - 21/321 / 3 = 0.3240.
    y = np.r_[np.ones(187, int), np.zeros(134, int)]
    p = np.r_[np.full(111, 0.6), np.full(76, 0.01), np.full(21, 0.6), np.full(113, 0.01)]
    found = curves.decision(table(y, p), n_resamples=20, thresholds=np.array([0.05, 0.25]))
    assert found["net_benefit"].tolist() == pytest.approx([0.3424, 0.3240], abs=5e-5)
    assert found["call_all"].iloc[0] == pytest.approx(187 / 321 - 134 / 321 * 0.05 / 0.95)


def test_calling_everybody_and_a_perfect_model_bound_the_net_benefit():
    y, p = noisy(200, 17)
    perfect = curves.decision(table(y, np.where(y == 1, 1.0, 0.0)), n_resamples=20)
    assert perfect["net_benefit"].tolist() == pytest.approx([0.5] * 99)
    ours = curves.decision(table(y, p), n_resamples=20)
    assert (ours["net_benefit"] <= 0.5).all()
    assert ours["net_benefit"].iloc[0] == pytest.approx(ours["call_all"].iloc[0], abs=0.01)


def test_another_prevalence_is_a_set_in_which_the_normal_count_more():
    """Nine normal films for each one with osteoporosis: drawn so, or reckoned from a balanced set."""
    y, p = noisy(400, 18, skill=1.5)
    odds = p / (1 - p) / 9
    rare = pd.concat([table(y, odds / (1 + odds))] + [table(y, odds / (1 + odds))[y == 0]] * 8)
    rare = rare.assign(image_id=np.arange(len(rare)), group=np.arange(len(rare)))
    drawn = curves.decision(rare, n_resamples=5)
    reckoned = curves.decision(table(y, p), prevalence=0.1, n_resamples=5)
    for column in ("net_benefit", "call_all"):
        np.testing.assert_allclose(drawn[column], reckoned[column], atol=1e-9)
    with pytest.raises(ValueError, match="prevalence is 10"):
        curves.decision(table(y, p), prevalence=10)
