"""Intervals against SciPy's bootstrap and against what groups allow; the spread over seeds against textbook numbers."""

import numpy as np
import pandas as pd
import pytest
from samples import predictions as table
from scipy import stats

from osteo_utils.statistics import evaluation, resampling, scores
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


def predictions(aurocs: list[float]) -> pd.DataFrame:
    """One arm whose AUROC under seed n is `aurocs[n]`: of ten pairs of one sick and ten healthy, so many are in order."""
    parts = []
    for seed, auroc in enumerate(aurocs):
        y_true = np.array([0] * 10 + [1])
        y_prob = np.append(np.arange(1, 11) / 20, (10 * auroc + 0.5) / 20)
        frame = pd.DataFrame({"y_true": y_true, "y_prob": y_prob, "seed": seed, "group": np.arange(11)})
        parts.append(frame.assign(image_id=[f"c/{n}.png" for n in range(11)], view=0, fold=0))
    arm = {"protocol": "grouped", "recipe": "last_block", "variant": "full"}
    return pd.concat(parts, ignore_index=True).assign(**arm)


def test_the_value_of_each_seed() -> None:
    assert resampling.by_seed(predictions([0.7, 0.9])).to_dict() == pytest.approx({0: 0.7, 1: 0.9})


def test_the_spread_is_the_textbook_standard_deviation_with_its_chi_square_interval() -> None:
    # Three values 0.7, 0.8, 0.9: s = 0.1; chi-square with 2 degrees of freedom: 0.0506 and 7.378 in any table.
    found = resampling.spread(predictions([0.8, 0.7, 0.9]))
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 * np.sqrt(2 / 7.378), rel=1e-3)
    assert found.high == pytest.approx(0.1 * np.sqrt(2 / 0.0506), rel=1e-2)


def test_the_interval_holds_the_true_spread_in_nineteen_of_twenty_cases() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        _, low, high = resampling.standard_deviation(pd.Series(random.normal(0, 0.02, 3)))
        inside += low <= 0.02 <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)


def test_one_seed_has_no_spread_and_it_is_said() -> None:
    one = predictions([0.8])
    assert resampling.spread(one) is None
    with pytest.raises(ValueError, match="at least two seeds"):
        resampling.standard_deviation(resampling.by_seed(one))
    assert "last_block was fitted with one split seed (0)" in resampling.describe_spread(one, "last_block")
    assert "lie up to 0.608 apart" in resampling.describe_spread(predictions([0.8, 0.7, 0.9]), "last_block")


def test_where_the_headline_has_one_seed_the_spread_of_the_probe_is_told() -> None:
    several = predictions([0.8, 0.7, 0.9]).assign(recipe="none")
    said = resampling.describe_spread(pd.concat([predictions([0.8]), several]), "last_block")
    assert "last_block was fitted with one split seed (0)" in said
    assert "Over 3 split seeds the AUROC of none under grouped has a standard deviation of 0.100" in said


def test_the_metric_is_there_where_there_are_several_seeds() -> None:
    several = scores.named_estimates(predictions([0.8, 0.7, 0.9]), "vgg16", "last_block", 100, 0)
    assert several["vgg16/grouped/seed_sd"].value == pytest.approx(0.1)
    assert scores.overview(several).seed_sd[0].startswith("0.100 [")
    assert "vgg16/grouped/seed_sd" not in scores.named_estimates(predictions([0.8]), "vgg16", "last_block", 100, 0)


def test_the_spread_of_a_difference_stands_beside_it() -> None:
    # Both arms move together with the seed: their difference does not move at all in the first case.
    first, second = predictions([0.8, 0.6, 0.9]), predictions([0.7, 0.5, 0.8])
    note = evaluation.difference(first, second, "auroc", 100).estimate.note
    assert "standard deviation over 3 seeds" in note
    assert float(note.split("3 seeds ")[1].split(" ")[0]) == pytest.approx(0, abs=1e-9)
    apart = resampling.spread_of_difference(first, predictions([0.7, 0.7, 0.7]), "auroc")
    assert apart.startswith(f"standard deviation over 3 seeds {np.std([0.1, -0.1, 0.2], ddof=1):.3g} [")
    alone = evaluation.difference(predictions([0.8]), predictions([0.7]), "auroc", 100).estimate.note
    assert "one seed, spread over seeds not measured" in alone


def test_a_row_without_a_group_is_named() -> None:
    with pytest.raises(ValueError, match="column 'group' is empty in row 2"):
        resampling.draw_groups(np.array(["a", "b", None], object), np.array([0, 1, 1]), 5, 0)
