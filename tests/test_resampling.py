"""Intervals against SciPy's bootstrap and against what groups allow."""

import numpy as np
import pytest
from samples import predictions as table
from scipy import stats

from osteo_utils.statistics import evaluation
from osteo_utils.statistics.resampling import bca_tails, jackknife, resample


@pytest.fixture(scope="module")
def skewed():
    """Scores of 25 normal and 18 osteoporotic films, far from symmetric."""
    rng = np.random.default_rng(4)
    return rng.beta(1, 4, 25), rng.beta(3, 1.5, 18)


def area(osteoporosis, normal, axis=-1):
    higher = osteoporosis[..., :, None] > normal[..., None, :]
    return higher.mean(axis=(-1, -2))


def test_bca_of_an_auroc_is_scipys_of_two_samples(skewed):
    normal, osteoporosis = skewed
    theirs = stats.bootstrap(
        (osteoporosis, normal), area, n_resamples=20_000, method="BCa", random_state=1, batch=500
    ).confidence_interval
    frame = table(np.r_[np.zeros(25, int), np.ones(18, int)], np.r_[normal, osteoporosis])
    ours = evaluation.summarise(frame, ["auroc"], 20_000, seed=2, method="bca")["auroc"]
    plain = evaluation.summarise(frame, ["auroc"], 20_000, seed=2)["auroc"]
    # Two draws of 20,000 differ in the third digit; the shift from percentile to BCa is larger.
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.005)
    assert plain.low - theirs.low > 0.01


def test_the_tails_follow_efrons_formula_to_six_digits(skewed):
    """From the same resamples, by the formula as SciPy has it: bias from the midrank, acceleration from both samples."""
    normal, osteoporosis = skewed
    frame = evaluation.check(table(np.r_[np.zeros(25, int), np.ones(18, int)], np.r_[normal, osteoporosis]))
    statistic = evaluation.statistic_of(frame, ["auroc"])
    values, drawn = resample(frame, statistic, 999, 3)
    ours = bca_tails(values, drawn, np.array([[0.025, 0.975]]), jackknife(frame, statistic))[0]
    bias = stats.norm.ppf(stats.percentileofscore(drawn[:, 0], values[0], "mean") / 100)
    without = [
        np.array([area(np.delete(osteoporosis, i), normal) for i in range(18)]),
        np.array([area(osteoporosis, np.delete(normal, i)) for i in range(25)]),
    ]
    influence = [(len(part) - 1) * (part.mean() - part) for part in without]
    third = sum((each**3).sum() / len(each) ** 3 for each in influence)
    second = sum((each**2).sum() / len(each) ** 2 for each in influence)
    acceleration = third / (6 * second**1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    assert ours == pytest.approx(stats.norm.cdf(bias + z / (1 - acceleration * z)), abs=1e-6)


def test_copies_of_each_film_change_no_bca_interval(skewed):
    normal, osteoporosis = skewed
    y, p = np.r_[np.zeros(25, int), np.ones(18, int)], np.r_[normal, osteoporosis]
    once = evaluation.summarise(table(y, p), ["auroc", "accuracy"], 500, method="bca")
    groups = np.tile(np.arange(43), 3)
    copied = evaluation.summarise(table(np.tile(y, 3), np.tile(p, 3), groups), ["auroc", "accuracy"], 500, method="bca")
    for name in once:
        assert (copied[name].low, copied[name].high) == pytest.approx((once[name].low, once[name].high))


def test_a_perfect_model_keeps_its_percentile_interval():
    y = np.arange(20) % 2
    found = evaluation.summarise(table(y, np.where(y == 1, 0.9, 0.1)), ["accuracy"], 100, method="bca")
    assert (found["accuracy"].low, found["accuracy"].high) == (1, 1)


def test_a_lone_conflict_group_is_no_part_of_the_jackknife():
    frame = evaluation.check(table([0, 0, 1, 1, 0, 1], [0.1, 0.4, 0.6, 0.9, 0.5, 0.5], groups=[0, 1, 2, 3, 4, 4]))
    parts = jackknife(frame, evaluation.statistic_of(frame, ["accuracy"]))
    assert [len(part) for part in parts] == [2, 2]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="expected 'percentile' or 'bca'"):
        evaluation.summarise(table([0, 1], [0.2, 0.8]), ["accuracy"], 10, method="basic")
