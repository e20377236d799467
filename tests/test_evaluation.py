"""Intervals against what groups allow, comparisons against their definitions."""

import numpy as np
import pandas as pd
import pytest
from samples import arm
from sklearn import metrics as sk
from statsmodels.api import GLM, add_constant
from statsmodels.genmod.families import Binomial

from osteo_utils.statistics import evaluation, metrics
from osteo_utils.statistics.metrics import measure, wilson
from osteo_utils.statistics.resampling import draw_groups


def noisy(n, rng, skill=1.0):
    y = rng.permutation(np.arange(n) % 2)
    return y, 1 / (1 + np.exp(-(skill * (2 * y - 1) + rng.normal(size=n))))


def test_groups_are_drawn_whole_and_every_stratum_keeps_its_size():
    groups = np.array(["a", "a", "b", "c", "c", "d", "e", "e"])
    y = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    drawn, column = draw_groups(groups, y, 300, seed=1)
    weights = drawn[:, column]
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (drawn[:, column[[0, 2]]].sum(axis=1) == 2).all()
    assert (drawn[:, column[[3, 5]]].sum(axis=1) == 2).all()
    assert (drawn[:, column[6]] == 1).all(), "the one conflict group is its own stratum"
    assert set(np.unique(drawn[:, column[0]])) == {0, 1, 2}


def test_the_interval_of_an_accuracy_agrees_with_the_binomial_one():
    rng = np.random.default_rng(3)
    y, p = noisy(800, rng)
    ours = evaluation.summarise(arm(y, p), ["accuracy"], n_resamples=4000)["accuracy"]
    low, high = wilson(round(ours.value * 800), 800)
    assert ours.value == pytest.approx(sk.accuracy_score(y, p >= 0.5))
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.006)
    assert (ours.n_files, ours.n_groups) == (800, 800)


def test_copies_of_each_film_add_no_evidence():
    rng = np.random.default_rng(4)
    y, p = noisy(200, rng)
    once = evaluation.summarise(arm(y, p), ["auroc"], seed=5)["auroc"]
    groups = np.tile(np.arange(200), 4)
    copied = evaluation.summarise(arm(np.tile(y, 4), np.tile(p, 4), groups), ["auroc"], seed=5)["auroc"]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-12)
    assert (copied.n_files, copied.n_groups) == (800, 200)


def test_the_value_over_seeds_is_the_mean_and_the_seeds_share_their_groups():
    rng = np.random.default_rng(6)
    y, p = noisy(120, rng)
    worse = np.clip(p * 0.5 + 0.25 + rng.normal(0, 0.1, 120), 0, 1)
    two = pd.concat([arm(y, p, seed=0), arm(y, worse, seed=1)])
    value = evaluation.summarise(two, ["auroc"])["auroc"].value
    assert value == pytest.approx((sk.roc_auc_score(y, p) + sk.roc_auc_score(y, worse)) / 2)
    one = evaluation.summarise(arm(y, p), ["accuracy"], seed=2)["accuracy"]
    same = evaluation.summarise(pd.concat([arm(y, p, seed=s) for s in (0, 1)]), ["accuracy"], seed=2)["accuracy"]
    assert (same.low, same.high) == (one.low, one.high), "seeds with own draws would have narrowed this"


def test_the_order_of_the_rows_changes_nothing():
    y, p = noisy(90, np.random.default_rng(7))
    frame = arm(y, p)
    assert evaluation.summarise(frame) == evaluation.summarise(frame.sample(frac=1, random_state=1))


def test_a_mixture_of_arms_and_a_double_image_are_refused():
    y, p = noisy(10, np.random.default_rng(9))
    frame = arm(y, p)
    with pytest.raises(ValueError, match="mix recipe"):
        evaluation.summarise(pd.concat([frame, frame.assign(recipe="last_block")]))
    with pytest.raises(ValueError, match="10 predictions are there twice"):
        evaluation.summarise(pd.concat([frame, frame]))
    with pytest.raises(ValueError, match=r"lack the columns \['group'\]"):
        evaluation.summarise(frame.drop(columns="group"))


def test_a_group_has_one_vote_and_groups_with_both_labels_have_none():
    frame = arm([0, 0, 1, 0, 1, 1], [0.2, 0.6, 0.9, 0.1, 0.3, 0.4], ["a", "a", "b", "c", "c", "d"])
    votes = evaluation.group_vote(frame)
    assert votes.set_index("group")["y_prob"].to_dict() == {"a": pytest.approx(0.4), "b": 0.9, "d": 0.4}
    assert votes.attrs["conflict_groups"] == 1
    accuracy = evaluation.summarise(votes, ["accuracy"], n_resamples=50)["accuracy"]
    assert (accuracy.value, accuracy.n_files, accuracy.n_groups) == (pytest.approx(2 / 3), 4, 3)
    assert accuracy.note == "1 groups with both labels left out"


def test_a_paired_difference_is_narrower_than_an_unpaired_one_and_finds_a_real_gap():
    rng = np.random.default_rng(10)
    y = rng.permutation(np.arange(400) % 2)
    hard = rng.normal(size=400)
    good = 1 / (1 + np.exp(-(2 * (2 * y - 1) + 2 * hard)))
    poor = 1 / (1 + np.exp(-(1.6 * (2 * y - 1) + 2 * hard)))
    gap = evaluation.difference(arm(y, good), arm(y, poor), "auroc")
    assert gap.estimate.value == pytest.approx(sk.roc_auc_score(y, good) - sk.roc_auc_score(y, poor))
    assert gap.estimate.low > 0
    assert gap.p_value == pytest.approx(2 / 2001)
    alone = evaluation.summarise(arm(y, good), ["auroc"])["auroc"]
    assert gap.estimate.high - gap.estimate.low < 0.7 * (alone.high - alone.low)
    back = evaluation.difference(arm(y, poor), arm(y, good), "auroc").estimate
    assert (back.value, back.low, back.high) == pytest.approx(
        (-gap.estimate.value, -gap.estimate.high, -gap.estimate.low)
    )


def test_a_model_does_not_differ_from_itself_and_other_images_cannot_be_paired():
    y, p = noisy(60, np.random.default_rng(11))
    same = evaluation.difference(arm(y, p), arm(y, p).sample(frac=1, random_state=0))
    assert (same.estimate.low, same.estimate.high, same.p_value) == (0, 0, 1)
    with pytest.raises(ValueError, match="same images"):
        evaluation.difference(arm(y, p), arm(y, p, prefix="j"))


def test_the_paired_p_value_is_not_small_more_often_than_it_says():
    rng = np.random.default_rng(12)
    small = 0
    for _ in range(60):
        y = rng.permutation(np.arange(100) % 2)
        signal = 0.8 * (2 * y - 1)
        first = 1 / (1 + np.exp(-(signal + rng.normal(size=100))))
        second = 1 / (1 + np.exp(-(signal + rng.normal(size=100))))
        small += evaluation.difference(arm(y, first), arm(y, second), "auroc", 200).p_value < 0.05
    assert small <= 9, "5 % of 60 are 3; ten or more have a chance below one in a thousand"


def test_mcnemar_counts_groups_and_gives_the_exact_binomial_p_value():
    # Ten discordant groups, nine in favour of a: two-sided exact p = 2 (1 + 10) / 2**10.
    y = np.ones(30, int)
    y[:5] = 0
    right = np.where(y == 1, 0.9, 0.1)
    a, b = right.copy(), right.copy()
    b[:9], a[9] = 1 - b[:9], 1 - a[9]
    found = evaluation.mcnemar_by_group(arm(y, a), arm(y, b))
    assert (found.only_a_right, found.only_b_right, found.n_groups) == (9, 1, 30)
    assert found.p_value == pytest.approx(22 / 1024)
    twice = [pd.concat([arm(y, v), arm(y, v, prefix="copy")]) for v in (a, b)]
    assert evaluation.mcnemar_by_group(*twice) == found, "a copy of every film must not double the evidence"
    assert evaluation.mcnemar_by_group(arm(y, a), arm(y, a)).p_value == 1


def test_the_report_prints_as_the_papers_figure_5_for_one_of_its_matrices():
    # Errors 5 of 372 normal and 11 of 474 osteoporosis.
    y = np.r_[np.zeros(372, int), np.ones(474, int)]
    p = np.r_[np.full(367, 0.1), np.full(5, 0.9), np.full(11, 0.1), np.full(463, 0.9)]
    report = evaluation.classification_report_frame(arm(y, p))
    assert report.loc["normal"].round(2).tolist() == [0.97, 0.99, 0.98, 372]
    assert report.loc["osteoporosis"].round(2).tolist() == [0.99, 0.98, 0.98, 474]
    assert report.loc["accuracy", ["f1-score", "support"]].round(2).tolist() == [0.98, 846]
    assert report["precision"].isna().tolist() == [False, False, True, False, False]
    assert evaluation.confusion(arm(y, p)).tolist() == [[367, 5], [11, 463]]


def test_calibration_bins_hold_everything_and_the_error_is_the_weighted_gap():
    y, p = [0, 1, 1, 1], [0.05, 0.05, 0.95, 1.0]
    found = evaluation.calibration_table(arm(y, p), bins=10)
    assert found["bin"].tolist() == [0, 9]
    assert found["count"].tolist() == [2, 2]
    assert found["observed"].tolist() == [0.5, 1.0]
    assert (found["low"].iloc[0], found["high"].iloc[0]) == pytest.approx(wilson(1, 2))
    # Gaps 0.45 and 0.025, two images each.
    assert measure(y, p, ["ece"])["ece"][0] == pytest.approx((0.45 + 0.025) / 2)


def test_copies_do_not_narrow_a_calibration_bin():
    groups = [0, 1] * 50
    found = evaluation.calibration_table(arm([0, 1] * 50, [0.55] * 100, groups))
    assert (found["low"].iloc[0], found["high"].iloc[0]) == pytest.approx(wilson(1, 2))


def test_a_threshold_can_differ_from_row_to_row():
    frame = arm([0, 1, 0, 1], [0.4, 0.6, 0.6, 0.8]).assign(cut=[0.5, 0.5, 0.7, 0.7])
    assert evaluation.summarise(frame, ["accuracy"], 20, threshold="cut")["accuracy"].value == 1
    assert evaluation.summarise(frame, ["accuracy"], 20)["accuracy"].value == 0.75


def test_slope_and_intercept_are_statsmodels_to_eight_digits_under_any_weights():
    rng = np.random.default_rng(20)
    y, p = noisy(120, rng)
    weights = rng.integers(0, 4, (5, 120))
    ours = measure(y, p, ["calibration_slope", "calibration_intercept"], weights)
    log_odds = np.log(p / (1 - p))
    for row, w in enumerate(weights):
        family = {"family": Binomial(), "freq_weights": w}
        line = GLM(y, add_constant(log_odds), **family).fit(tol=1e-12)
        level = GLM(y, np.ones(120), offset=log_odds, **family).fit(tol=1e-12)
        assert ours["calibration_slope"][row] == pytest.approx(line.params[1], rel=1e-8)
        assert ours["calibration_intercept"][row] == pytest.approx(level.params[0], abs=1e-8)


def test_what_was_done_to_calibrated_probabilities_is_what_slope_and_intercept_say():
    rng = np.random.default_rng(21)
    log_odds = rng.normal(0, 1.5, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-log_odds))).astype(int)
    bold = 1 / (1 + np.exp(-2 * log_odds))
    high = 1 / (1 + np.exp(-(log_odds + 0.7)))
    assert measure(y, bold, ["calibration_slope"])["calibration_slope"][0] == pytest.approx(0.5, abs=0.02)
    assert measure(y, high, ["calibration_intercept"])["calibration_intercept"][0] == pytest.approx(-0.7, abs=0.04)


def test_separated_classes_and_one_probability_for_all_have_no_slope():
    y = np.arange(20) % 2
    for p in (np.where(y == 1, 0.7, 0.4), np.full(20, 0.4)):
        with pytest.raises(metrics.Undefined, match="separated or all probabilities alike"):
            evaluation.summarise(arm(y, p), ["calibration_slope"], 20)
    ends = measure(y, np.where(y == 1, 0.7, 0.4), ["calibration_slope"])["calibration_slope"]
    assert ends[0] == np.inf
    # Both logits are 0.4's, and half of the films are positive: the shift is -logit(0.4).
    shift = measure(y, np.full(20, 0.4), ["calibration_intercept"])["calibration_intercept"][0]
    assert shift == pytest.approx(np.log(0.6 / 0.4))


def test_predictive_values_at_a_stated_prevalence_follow_bayes():
    # Sensitivity 0.9 and specificity 0.91 at a prevalence of 1 %: of those called, 9.2 % are ill (Gigerenzer's
    # mammography example has 0.9, 0.09 and 1 %, and the answer "9 of 98").
    y = np.r_[np.ones(100, int), np.zeros(100, int)]
    p = np.r_[np.full(90, 0.9), np.full(10, 0.1), np.full(9, 0.9), np.full(91, 0.1)]
    found = measure(y, p, ["ppv@0.01", "npv@0.01", "ppv@0.5", "precision", "npv@0.5", "npv"])
    assert found["ppv@0.01"][0] == pytest.approx(0.009 / (0.009 + 0.0891))
    assert found["npv@0.01"][0] == pytest.approx(0.9009 / (0.9009 + 0.001))
    assert found["ppv@0.5"] == pytest.approx(found["precision"])
    assert found["npv@0.5"] == pytest.approx(found["npv"])
    with pytest.raises(ValueError, match="not known"):
        measure(y, p, ["ppv@50"])


def calibration_error(y, p):
    bins = evaluation.calibration_table(arm(y, p))
    return np.average((bins["predicted"] - bins["observed"]).abs(), weights=bins["count"])


def test_the_calibration_error_of_a_resample_is_that_of_its_films():
    rng = np.random.default_rng(22)
    y, p = noisy(80, rng)
    weights = np.vstack([np.ones(80, int), rng.integers(0, 3, 80)])
    found = measure(y, p, ["ece"], weights)["ece"]
    assert found[0] == pytest.approx(calibration_error(y, p))
    repeated = np.repeat(np.arange(80), weights[1])
    assert found[1] == pytest.approx(calibration_error(y[repeated], p[repeated]))


def test_bca_takes_the_resamples_bias_off_the_calibration_error():
    rng = np.random.default_rng(23)
    p = rng.uniform(0.02, 0.98, 300)
    y = (rng.random(300) < p).astype(int)
    drawn = evaluation.summarise(arm(y, p), ["ece"], 500)["ece"]
    shifted = evaluation.summarise(arm(y, p), ["ece"], 500, method="bca")["ece"]
    assert shifted.low < drawn.low and shifted.high < drawn.high
    assert shifted.low < drawn.value < shifted.high


@pytest.mark.parametrize("column", ["group", "image_id", "y_true", "y_prob", "seed"])
def test_a_missing_value_is_refused_with_its_column_and_row(column):
    rng = np.random.default_rng(0)
    frame = arm(*noisy(20, rng)).astype({"group": object, "seed": object, "y_true": object})
    frame.loc[7, column] = None
    with pytest.raises(ValueError, match=f"column '{column}' is empty in 1 of 20 rows, the first of them row 7"):
        evaluation.summarise(frame, ["accuracy"], 50)


def test_an_interval_of_one_group_is_refused_and_one_of_no_width_is_explained():
    y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    for groups in ([0, 0, 0, 0], [0, 0, 1, 1]):
        with pytest.raises(metrics.Undefined, match="interval of accuracy is not estimable: column 'group'"):
            evaluation.summarise(arm(y, p).assign(group=groups), ["accuracy"], 50)
        with pytest.raises(metrics.Undefined, match="not estimable"):
            evaluation.difference(arm(y, p).assign(group=groups), arm(y, p).assign(group=groups), "accuracy", 50)
    found = evaluation.summarise(arm(y, p), ["accuracy"], 50)["accuracy"]
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert "the same in every resample, so the interval has no width" in found.note


def test_groups_that_cannot_vote_say_why():
    y, p = np.array([0, 1, 0, 1, 0, 0]), np.full(6, 0.4)
    with pytest.raises(metrics.Undefined, match=r"of 2 groups 2 carry both labels .*the first is 0.*hold the labels"):
        evaluation.group_vote(arm(y, p).assign(group=[0, 0, 1, 1, 0, 1]))
    with pytest.raises(metrics.Undefined, match=r"those that can vote hold the labels \[0\]"):
        evaluation.group_vote(arm(y, p).assign(group=[0, 0, 1, 1, 2, 3]))


def test_two_runs_are_paired_whatever_their_groups_are_called_and_not_where_they_are_other_groups():
    rng = np.random.default_rng(5)
    first = arm(*noisy(60, rng))
    second = first.assign(y_prob=first["y_true"] * 0.8 + 0.1, group=first["group"] + 1000)
    found = evaluation.difference_of_runs(first, second, "accuracy", 200)
    direct = evaluation.difference(second.assign(group=first["group"]), first, "accuracy", 200)
    assert found == direct and found.estimate.value > 0
    with pytest.raises(ValueError, match="not the same groups"):
        evaluation.difference_of_runs(first, second.assign(group=0))
    with pytest.raises(ValueError, match="not the same labels: 60 predictions"):
        evaluation.difference_of_runs(first, second.assign(y_true=1 - first["y_true"]))
    with pytest.raises(ValueError, match="1 predictions are in one run alone"):
        evaluation.difference_of_runs(first, second.iloc[1:])
