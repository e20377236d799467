"""Folder and reference of the same films: Cohen's kappa, what a score follows, what the evidence is."""

import numpy as np
import pandas as pd
import pytest
from samples import people
from sklearn.metrics import cohen_kappa_score

from osteo_utils.evidence import reference_label
from osteo_utils.statistics import two_labels


def scored(table: pd.DataFrame, y_prob: np.ndarray) -> pd.DataFrame:
    columns = {"y_true": table.label, "y_prob": y_prob, "seed": 0, "view": 0}
    return table[["image_id", "group"]].assign(**columns)


def test_agreement_is_cohens_kappa_and_its_interval_counts_persons() -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 3, 80)
    labels = np.where(rng.random(80) < 0.3, rng.integers(0, 2, 80), levels == 2).astype(int)
    once, twice = people(list(levels), list(labels), 1), people(list(levels), list(labels), 6)
    found, more = (two_labels.agreement(table, 500, 0) for table in (once, twice))
    assert found["kappa"].value == pytest.approx(cohen_kappa_score(labels == 1, levels == 2))
    far = levels != 1
    assert found["kappa_extremes"].value == pytest.approx(cohen_kappa_score(labels[far] * 2, levels[far]))
    weighted = cohen_kappa_score(labels * 2, levels, weights="linear", labels=[0, 1, 2])
    assert found["kappa_weighted"].value == pytest.approx(weighted)
    assert found["same"].value == pytest.approx((labels * 2 == levels)[far].mean())
    assert found["osteopenia"].value == pytest.approx((levels == 1).mean())
    for name, one in found.items():
        # Six copies of each film are no more evidence.
        assert more[name].value == pytest.approx(one.value)
        assert (more[name].low, more[name].high) == pytest.approx((one.low, one.high), abs=1e-12)
        assert one.low < one.value < one.high
    counts = reference_label.counted(once)
    assert counts.loc["osteoporosis", "normal"] == "{0} ({0})".format(((labels == 1) & (levels == 0)).sum())


@pytest.mark.parametrize(("follows", "folder", "reference"), [("label", 1.0, 0.5), ("level", 0.5, 1.0)])
def test_a_score_is_seen_to_follow_the_folder_or_the_reference(follows: str, folder: float, reference: float) -> None:
    # Folder and reference are independent; the score is one of the two with a little noise.
    rng = np.random.default_rng(1)
    levels, labels = rng.integers(0, 3, 240), rng.integers(0, 2, 240)
    table = people(list(levels), list(labels), 2)
    score = (table[follows] + rng.normal(0, 0.1, len(table))).rank(pct=True)
    found = two_labels.questions(scored(table, score.to_numpy()), table, 99, 200, 0).set_index(["follows", "among"])
    for key, expected in {
        ("folder", "all"): folder,
        ("reference", "extremes"): reference,
        ("folder", "osteopenia"): folder,
    }.items():
        row = found.loc[key]
        assert row.value == pytest.approx(expected, abs=0.1)
        assert row.low <= row.value <= row.high and (row.p_value == 0.01) == (expected == 1)
        assert row.chance_low < 0.5 < row.chance_high
    trend = two_labels.trend(scored(table, score.to_numpy()), table, 200, 0)
    assert trend.low <= trend.value <= trend.high and (trend.low > 0.8) == (follows == "level")


def test_a_question_that_has_too_few_films_of_a_class_is_not_asked() -> None:
    table = people([0] * 30 + [1] * 30, [0, 1] * 30, 1)
    found = two_labels.questions(scored(table, np.linspace(0.1, 0.9, 60)), table, 20, 100, 0)
    assert found.among.tolist() == ["all", "extremes", "normal", "osteopenia"] and (found.follows == "folder").all()


def test_disagreement_that_lies_in_persons_with_both_labels_is_uncertain_too() -> None:
    """Two of 100 persons have one film under the wrong label: some resamples have none of them, some have four."""
    table = people([0, 2] * 50, [0, 1] * 50, 2)
    table.loc[table.groupby("group").head(1).index[:2], "label"] = [1, 0]
    kappa = two_labels.agreement(table, 1000, 0)["kappa"]
    assert kappa.value == pytest.approx(0.98)
    assert kappa.low < 0.965 and kappa.high == 1.0


def test_what_cannot_be_estimated_is_left_out(recwarn: pytest.WarningsRecorder) -> None:
    few = people([0] * 8, [0, 1] * 4, 1)
    # No question can be asked, and the table still has its columns.
    assert two_labels.questions(scored(few, np.linspace(0.1, 0.9, 8)), few, 20, 100, 0).columns.tolist() == list(
        two_labels.ASKED
    )
    # Where folder or reference is always the same, kappa is 0 whatever the films show.
    assert list(two_labels.agreement(people([0, 1, 2] * 10, [0] * 30), 100, 0)) == ["same", "osteopenia"]
    assert list(two_labels.agreement(people([1] * 20, [0, 1] * 10), 100, 0)) == ["osteopenia"]
    # One person of each class: all resamples are alike, so an interval would have no width.
    two = people([0, 2], [0, 1], 15)
    assert (
        two_labels.agreement(two, 100, 0) == {}
        and two_labels.trend(scored(two, np.linspace(0.1, 0.9, 30)), two, 100, 0) is None
    )
    every = people([0, 1, 2] * 14, [0, 1] * 21)
    assert two_labels.trend(scored(every, np.full(84, 0.5)), every, 100, 0) is None
    assert not recwarn.list


def test_the_difference_of_the_two_is_paired_and_its_interval_counts_persons() -> None:
    rng = np.random.default_rng(5)
    levels, labels = rng.integers(0, 3, 200), rng.integers(0, 2, 200)
    once, more = people(list(levels), list(labels), 1), people(list(levels), list(labels), 4)
    found = []
    for table in (once, more):
        found.append(two_labels.difference(scored(table, (0.2 + 0.6 * table.label).to_numpy()), table, 300, 0))
    extremes = once[once.level != 1]
    # The score is the folder, so its AUROC is 1 there; on the reference it is the share of pairs in the right order.
    crossed = pd.crosstab(extremes.label, extremes.level)
    right = crossed.loc[1, 2] * crossed.loc[0, 0] + 0.5 * (
        crossed.loc[0, 0] * crossed.loc[0, 2] + crossed.loc[1, 0] * crossed.loc[1, 2]
    )
    assert found[0].value == pytest.approx(
        1 - right / (extremes.level == 0).sum() / (extremes.level == 2).sum(), abs=1e-12
    )
    assert found[0].low > 0.3 and found[1].low == pytest.approx(found[0].low, abs=0.05)
    assert two_labels.difference(scored(once.iloc[:12], np.linspace(0, 1, 12)), once.iloc[:12], 100, 0) is None


def test_what_is_said_of_several_models_is_what_each_says_alone() -> None:
    rng = np.random.default_rng(4)
    table = people(list(rng.integers(0, 3, 120)), list(rng.integers(0, 2, 120)), 1)
    models = {name: scored(table, rng.random(120)) for name in ("a", "b")}
    asked, found = two_labels.followed(models, table, 20, 100, 0)
    alone = two_labels.questions(models["b"], table, 20, 100, 0)
    pd.testing.assert_frame_equal(asked[asked.model == "b"].drop(columns="model").reset_index(drop=True), alone)
    assert found["b/reference_extremes/auroc"].value == alone.value[alone.follows.eq("reference")].iloc[0]
    assert found["b/folder_minus_reference/auroc"] == two_labels.difference(models["b"], table, 100, 0)
    assert found["b/trend"] == two_labels.trend(models["b"], table, 100, 0)
    constant = two_labels.followed({"c": scored(table, np.full(120, 0.5))}, table, 20, 100, 0)[1]
    assert "c/trend" not in constant, "what cannot be estimated is left out"
