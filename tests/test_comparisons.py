"""Paired tests against their definitions, published examples and each other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import arm
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC
from statsmodels.stats.power import NormalIndPower

from osteo_utils.evidence import ensemble
from osteo_utils.statistics import comparisons, evaluation, metrics
from osteo_utils.statistics.metrics import delong


def table(y_true, y_prob, groups=None, seed=0):
    n = len(y_true)
    return pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(n)], "view": 0, "seed": seed, "fold": np.arange(n) % 5,
            "group": np.arange(n) if groups is None else groups, "y_true": y_true, "y_prob": y_prob,
        }
    )  # fmt: skip


def by_definition(y, a, b, groups):
    """Obuchowski (1997), formulas for S10, S01 and S11, loop by loop, for the difference of two areas."""
    areas, s10, s01, s11 = [], np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    names = sorted(set(groups))
    sums = []
    for p in (a, b):
        positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
        v10 = {i: np.mean([(p[i] > p[j]) + (p[i] == p[j]) / 2 for j in negative]) for i in positive}
        v01 = {j: np.mean([(p[i] > p[j]) + (p[i] == p[j]) / 2 for i in positive]) for j in negative}
        areas.append(np.mean(list(v10.values())))
        sums.append((v10, v01))
    members = {name: [i for i in range(len(y)) if groups[i] == name] for name in names}
    m, n = (y == 1).sum(), (y == 0).sum()
    i10 = sum(any(y[i] == 1 for i in each) for each in members.values())
    i01 = sum(any(y[i] == 0 for i in each) for each in members.values())
    for r in range(2):
        for s in range(2):
            for each in members.values():
                plus = [i for i in each if y[i] == 1]
                minus = [i for i in each if y[i] == 0]
                off10 = [sum(sums[k][0][i] for i in plus) - len(plus) * areas[k] for k in (r, s)]
                off01 = [sum(sums[k][1][i] for i in minus) - len(minus) * areas[k] for k in (r, s)]
                s10[r, s] += i10 / ((i10 - 1) * m) * off10[0] * off10[1]
                s01[r, s] += i01 / ((i01 - 1) * n) * off01[0] * off01[1]
                s11[r, s] += len(names) / (len(names) - 1) * off10[0] * off01[1]
    covariance = s10 / m + s01 / n + (s11 + s11.T) / (m * n)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return areas[0] - areas[1], np.sqrt(variance)


def clustered_delong(y, a, b, groups):
    placed = metrics.placements(y, a) - metrics.placements(y, b)
    return comparisons.clustered_delong(y, placed, groups)


@given(seed=st.integers(0, 2**32 - 1), steps=st.sampled_from([4, 1000]))
@settings(max_examples=10, deadline=None)
def test_clustered_delong_is_its_definition_with_ties_and_groups_of_both_labels(seed, steps):
    rng = np.random.default_rng(seed)
    groups = np.r_[np.repeat(np.arange(8), 3), np.arange(8, 14)]
    y = rng.integers(0, 2, 30)
    y[:6], y[24:28] = [0, 0, 0, 1, 1, 1], [0, 1, 0, 1]
    a, b = rng.integers(0, steps + 1, (2, 30)) / steps
    gap, error, p_value = clustered_delong(y, a, b, groups)
    assert (gap, error) == pytest.approx(by_definition(y, a, b, groups), abs=1e-10)
    assert p_value == pytest.approx(2 * stats.norm.sf(abs(gap) / error))


def test_with_one_image_in_each_group_it_is_delongs_test_to_ten_digits():
    rng = np.random.default_rng(1)
    y = np.arange(80) % 2
    a, b = y + rng.normal(size=80), y + rng.normal(size=80)
    ours = clustered_delong(y, a, b, rng.permutation(80))
    assert ours == pytest.approx(delong(y, a, b), rel=1e-10)


def test_copies_add_no_evidence_and_seeds_are_averaged():
    rng = np.random.default_rng(2)
    y = np.arange(60) % 2
    a, b = (1 / (1 + np.exp(-(2 * y - 1 + rng.normal(size=60)))) for _ in range(2))
    for metric in ("auroc", "accuracy"):
        once = comparisons.by_group(table(y, a), table(y, b), metric)
        groups = np.tile(np.arange(60), 3)
        copied = comparisons.by_group(*(table(np.tile(y, 3), np.tile(p, 3), groups) for p in (a, b)), metric)
        assert copied.p_value == pytest.approx(once.p_value)
        assert (copied.estimate.n_files, copied.estimate.n_groups) == (180, 60)
        two = [pd.concat([table(y, p), table(y, q, seed=1)]) for p, q in ((a, b), (b, a))]
        assert comparisons.by_group(*two, metric).estimate.value == pytest.approx(0, abs=1e-12)
    gap = comparisons.by_group(table(y, a), table(y, b)).estimate.value
    assert gap == pytest.approx(roc_auc_score(y, a) - roc_auc_score(y, b))


def test_accuracy_of_ungrouped_images_is_the_paired_z_test():
    rng = np.random.default_rng(3)
    y = np.arange(50) % 2
    a, b = rng.random(50), rng.random(50)
    right = [(p >= 0.5) == (y == 1) for p in (a, b)]
    gaps = right[0].astype(float) - right[1]
    found = comparisons.by_group(table(y, a), table(y, b), "accuracy")
    expected = 2 * stats.norm.sf(abs(gaps.mean()) / (gaps.std(ddof=1) / np.sqrt(50)))
    assert found.p_value == pytest.approx(expected, rel=1e-10)


def test_the_normal_test_and_the_bootstrap_over_groups_tell_one_story():
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(150), 2)
    y = (groups % 2).astype(int)
    shared = rng.normal(size=150)[groups]
    a, b = (1 / (1 + np.exp(-((2 * y - 1) + shared + rng.normal(size=300)))) for _ in range(2))
    for metric in ("auroc", "accuracy"):
        normal = comparisons.by_group(table(y, a, groups), table(y, b, groups), metric).estimate
        drawn = evaluation.difference(table(y, a, groups), table(y, b, groups), metric).estimate
        assert (normal.low, normal.high) == pytest.approx((drawn.low, drawn.high), abs=0.006)


def test_the_corrected_t_gives_scikit_learns_published_numbers():
    # scikit-learn, "Statistical comparison of models using grid search": rbf against linear kernel, ten times
    # ten folds of 100 points; corrected t 0.750 and one-sided p 0.227.
    points, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel), points, y, cv=folds, scoring="roc_auc") for kernel in ("rbf", "linear")
    )
    mean, low, high, p_value = comparisons.corrected_t(rbf - linear, 10 / 90)
    assert p_value / 2 == pytest.approx(0.227, abs=5e-4)
    assert stats.t(99).isf(p_value / 2) == pytest.approx(0.750, abs=5e-4)
    half = stats.t(99).ppf(0.975) * mean / 0.7503127
    assert (low, high) == pytest.approx((mean - half, mean + half), rel=1e-5)


def test_folds_are_compared_with_the_share_that_each_was_of_its_training_films():
    rng = np.random.default_rng(5)
    y = np.arange(100) // 5 % 2
    a, b = rng.random(100), rng.random(100)
    found = comparisons.over_folds(table(y, a), table(y, b))
    folds = np.arange(100) % 5
    gaps = [roc_auc_score(y[folds == k], a[folds == k]) - roc_auc_score(y[folds == k], b[folds == k]) for k in range(5)]
    assert found.estimate.value == pytest.approx(np.mean(gaps))
    assert found.p_value == pytest.approx(comparisons.corrected_t(np.array(gaps), 20 / 80)[3])
    with pytest.raises(ValueError, match="found 1"):
        comparisons.corrected_t(np.array([0.1]), 0.25)


@pytest.mark.parametrize(("power", "alpha", "factor"), [(0.8, 0.05, 2.802), (0.9, 0.05, 3.242), (0.8, 0.01, 3.417)])
def test_a_detectable_difference_is_the_published_multiple_of_the_standard_error(power, alpha, factor):
    # Bloom (1995) rounds the first two to 2.8 and 3.24; statsmodels solves the same for one sample.
    assert comparisons.detectable(0.01, power, alpha) == pytest.approx(0.01 * factor, abs=5e-6)
    solved = NormalIndPower(ddof=0).solve_power(None, nobs1=1, alpha=alpha, power=power, ratio=0)
    assert comparisons.detectable(1, power, alpha) == pytest.approx(solved, abs=1e-4)


def test_what_can_be_found_depends_on_the_spread_and_not_on_what_was_found():
    rng = np.random.default_rng(6)
    y = np.arange(400) % 2
    a, b = (1 / (1 + np.exp(-(2 * y - 1 + rng.normal(size=400)))) for _ in range(2))
    all_films = comparisons.minimal_detectable(table(y, a), table(y, b))
    quarter = comparisons.minimal_detectable(table(y[:100], a[:100]), table(y[:100], b[:100]))
    assert quarter.value / all_films.value == pytest.approx(2, rel=0.25)
    assert all_films.low is None
    assert "power 0.8" in all_films.note
    with pytest.raises(ValueError, match="shares between 0 and 1"):
        comparisons.detectable(0.1, power=80)


def test_a_contrast_of_one_and_minus_one_is_the_difference():
    rng = np.random.default_rng(7)
    y = np.arange(60) % 2
    frames = {"a": table(y, rng.random(60)), "b": table(y, rng.random(60))}
    ours = comparisons.contrast(frames, {"a": 1, "b": -1}, "auroc", 300, 1)
    plain = evaluation.difference(frames["a"], frames["b"], "auroc", 300, 1)
    assert ours.p_value == plain.p_value
    # The notes differ: that of a plain difference tells of the spread over seeds as well.
    assert replace(ours.estimate, note="") == replace(plain.estimate, note="")


def test_the_two_by_two_takes_two_changes_apart():
    y = np.tile([0, 1], 50)
    right, wrong = np.where(y == 1, 0.9, 0.1), np.where(y == 1, 0.1, 0.9)

    def reaching(accuracy):
        return table(y, np.where(np.arange(100) < 100 * accuracy, right, wrong))

    cells = {
        "single best, full": reaching(0.70), "both, full": reaching(0.74),
        "single best, segmented": reaching(0.60), "both, segmented": reaching(0.90),
    }  # fmt: skip
    found = comparisons.two_by_two_effects(cells, "accuracy", 400).set_index("name")
    assert found["difference"].to_dict() == pytest.approx(
        {"combining": 0.17, "segmenting": 0.03, "interaction": 0.26, "both at once": 0.20}
    )
    assert found["p_holm"].to_dict() == pytest.approx(metrics.holm(found["p"].to_dict()))
    assert found.loc["interaction", "low"] > 0
    with pytest.raises(ValueError, match="both, segmented"):
        comparisons.two_by_two_effects({name: cells[name] for name in list(cells)[:3]})
    assert set(ensemble.two_by_two.__doc__.split('"')) >= set(cells), "both name the cells alike"


def test_a_class_in_one_group_alone_and_another_metric_are_refused():
    with pytest.raises(ValueError, match="found 1 with osteoporosis"):
        clustered_delong(np.array([1, 0, 0]), [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], np.arange(3))
    with pytest.raises(ValueError, match="expected one of"):
        comparisons.by_group(table([0, 1], [0.1, 0.2]), table([0, 1], [0.1, 0.2]), "brier")


def test_a_fold_of_one_class_leaves_the_other_tests_and_is_named():
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(20, int), np.ones(20, int)]
    pair = [
        arm(y, rng.uniform(0, 1, 40)).assign(fold=np.r_[np.zeros(10, int), np.arange(30) % 2 + 1]) for _ in range(2)
    ]
    with pytest.raises(metrics.Undefined, match=r"fold 0 of seed 0 .* holds the labels \[0\] in column y_true"):
        comparisons.over_folds(*pair)
    found = comparisons.side_by_side(*pair, n_resamples=50)
    assert sorted(found) == sorted(
        f"{metric}{name}" for metric in ("auroc", "accuracy") for name in ("", "/by_group", "/detectable")
    )
    assert "corrected_t not estimable: fold 0 of seed 0" in found["auroc"].note


def test_one_vote_per_group_gives_delong_and_mcnemar_or_says_why_not():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    pair = [arm(y, rng.uniform(0, 1, 40)) for _ in range(2)]
    told = comparisons.by_vote(*pair, "A", "B")
    gap, error, p_value = metrics.delong(y, pair[0].y_prob, pair[1].y_prob)
    assert f"{gap:+.3f} (standard error {error:.3f}), p = {p_value:.3g}" in told[0]
    assert told[1].startswith("McNemar: only A right") and "of 40 groups" in told[1]
    mixed = [part.assign(group=np.arange(40) // 2) for part in pair]
    assert ["of 20 groups 20 carry both labels" in line for line in comparisons.by_vote(*mixed, "A", "B")] == [True]
    table = comparisons.compared(dict(zip("ab", mixed, strict=True)), "a", n_resamples=50)
    assert table.p_mcnemar.isna().all() and table.p.notna().any()
    # One group of a class can vote, but DeLong needs two.
    few = [part.assign(group=np.r_[0, 1, np.full(38, 2)]) for part in pair]
    assert ["not estimable" in line for line in comparisons.by_vote(*few, "A", "B")] == [True, False]
