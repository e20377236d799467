"""Bad input is refused with its column, row and value before any number is computed; good input in any dress is the same."""

import inspect

import numpy as np
import pandas as pd
import pytest
from samples import arm

from osteo_utils.statistics import calibration, comparisons, curves, evaluation, metrics, resampling, scores
from osteo_utils.statistics.predictions import check

GOOD = arm([0, 0, 1, 1, 0, 1], [0.1, 0.6, 0.8, 0.4, 0.2, 0.9]).assign(fold=[0, 1, 0, 1, 1, 1])
ALONE = {
    "check": check,
    "summarise": evaluation.summarise,
    "summarise bca": lambda frame: evaluation.summarise(frame, method="bca"),
    "group_vote": evaluation.group_vote,
    "confusion": evaluation.confusion,
    "classification_report_frame": evaluation.classification_report_frame,
    "calibration_table": evaluation.calibration_table,
    "roc": curves.roc,
    "precision_recall": curves.precision_recall,
    "reliability": curves.reliability,
    "decision": curves.decision,
    "spread": resampling.spread,
    "by_seed": resampling.by_seed,
    "probability_estimates": lambda frame: scores.probability_estimates(frame, 20, 0),
    "named_estimates": lambda frame: scores.named_estimates(frame, "vgg16", "last_block", 20, 0),
}
PAIRED = {
    "difference": evaluation.difference,
    "mcnemar_by_group": evaluation.mcnemar_by_group,
    "by_group": comparisons.by_group,
    "by_group accuracy": lambda a, b: comparisons.by_group(a, b, "accuracy"),
    "minimal_detectable": comparisons.minimal_detectable,
    "over_folds": comparisons.over_folds,
    "side_by_side": comparisons.side_by_side,
    "by_vote": lambda a, b: comparisons.by_vote(a, b, "a", "b"),
    "contrast": lambda a, b: comparisons.contrast({"a": a, "b": b}, {"a": 1, "b": -1}),
    "compared": lambda a, b: comparisons.compared({"a": a, "b": b}, "a"),
}
ENTRIES = ALONE | {f"{name}, {side}": (lambda frame, test=test, side=side: test(*((frame, GOOD) if side == "first" else (GOOD, frame))))
                   for name, test in PAIRED.items() for side in ("first", "second")}  # fmt: skip


def with_value(column: str, value: object) -> pd.DataFrame:
    frame = GOOD.astype({column: object})
    frame.loc[4, column] = value
    return frame


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("y_prob", "high", "holds 'high'"), ("y_prob", "0.5", "holds '0.5'"), ("y_prob", 1.2, "holds 1.2"),
        ("y_prob", -0.1, "holds -0.1"), ("y_prob", np.inf, "holds inf"), ("y_prob", np.nan, "is empty"),
        ("y_prob", None, "is empty"), ("y_prob", [0.5], "holds '[0.5]'"),
        ("y_true", 2, "holds 2"), ("y_true", "osteoporosis", "holds 'osteoporosis'"), ("y_true", "1", "holds '1'"),
        ("y_true", 0.5, "holds 0.5"), ("y_true", None, "is empty"), ("group", None, "is empty"),
    ],
)  # fmt: skip
def test_every_entry_names_column_row_image_and_value(entry, column, value, told):
    with pytest.raises(ValueError) as refused:
        ENTRIES[entry](with_value(column, value))
    text, image = str(refused.value), GOOD["image_id"].iloc[4]
    assert f"column {column!r} {told} in 1 of 6 rows, the first of them row 4 ({image}); expected" in text


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_refuses_a_table_that_is_none_is_empty_lacks_a_column_or_holds_a_film_twice(entry):
    for column in ("image_id", "group", "seed", "y_true", "y_prob"):
        with pytest.raises(ValueError, match=f"lack the columns .*'{column}'"):
            ENTRIES[entry](GOOD.drop(columns=column))
    with pytest.raises(ValueError, match="predictions are empty"):
        ENTRIES[entry](GOOD.iloc[:0])
    with pytest.raises(ValueError, match=r"1 predictions are there twice.*the first of them is row 6 .*'image_id'"):
        ENTRIES[entry](pd.concat([GOOD, GOOD.iloc[[2]]], ignore_index=True))
    with pytest.raises(ValueError, match=r"the columns \['y_prob'\] twice"):
        ENTRIES[entry](pd.concat([GOOD, GOOD[["y_prob"]]], axis=1))


@pytest.mark.parametrize("form", [bool, float, object, "int8"])
def test_labels_of_any_kind_of_number_give_the_same_to_the_bit(form):
    other = GOOD.astype({"y_true": form})
    assert evaluation.summarise(other, n_resamples=30) == evaluation.summarise(GOOD, n_resamples=30)
    assert evaluation.confusion(other).tolist() == evaluation.confusion(GOOD).tolist()
    pd.testing.assert_frame_equal(
        evaluation.classification_report_frame(other), evaluation.classification_report_frame(GOOD)
    )
    pd.testing.assert_frame_equal(curves.roc(other, 20), curves.roc(GOOD, 20))


def test_only_what_is_odd_is_converted():
    kept = check(GOOD.assign(y_prob=GOOD["y_prob"].astype("float32")))
    assert kept["y_prob"].dtype == np.float32 and kept["y_true"].dtype == GOOD["y_true"].dtype


@pytest.mark.parametrize("entry", ["roc", "precision_recall", "decision", "summarise", "over_folds, first"])
def test_one_class_alone_is_refused_in_words(entry):
    with pytest.raises(ValueError, match="both"):
        ENTRIES[entry](GOOD.assign(y_true=0) if entry != "over_folds, first" else GOOD.assign(fold=0))


@pytest.mark.parametrize("entry", ["roc", "precision_recall", "reliability", "decision", "summarise"])
def test_a_band_that_could_only_have_no_width_is_not_estimable(entry):
    with pytest.raises(metrics.Undefined, match="not estimable: column 'group' holds 1 normal groups, 1 with"):
        ENTRIES[entry](GOOD.assign(group=GOOD["y_true"]))


def test_arms_that_differ_nowhere_say_why_their_interval_has_no_width():
    for test in (comparisons.by_group, comparisons.over_folds):
        found = test(GOOD, GOOD, "accuracy").estimate
        assert (found.low, found.high) == (0, 0) and "has no width" in found.note
    found = scores.mean_estimate(pd.Series([1.0, 1.0]), pd.Series(["a", "b"]), 20, 0)
    assert (found.low, found.high) == (1, 1) and "has no width" in found.note


def test_a_column_that_an_option_names_must_be_there():
    with pytest.raises(ValueError, match=r"lack the columns \['cut'\]"):
        evaluation.summarise(GOOD, ["accuracy"], 20, threshold="cut")
    with pytest.raises(ValueError, match=r"lack the columns \['fold'\]"):
        comparisons.over_folds(GOOD.drop(columns="fold"), GOOD.drop(columns="fold"))
    for column in ("protocol", "recipe", "variant"):
        with pytest.raises(ValueError, match=rf"lack the columns \['{column}'\]"):
            scores.named_estimates(GOOD.drop(columns=column), "vgg16", "last_block", 20, 0)
        with pytest.raises(ValueError, match=f"column '{column}' is empty in 1 of 6 rows"):
            scores.named_estimates(with_value(column, None), "vgg16", "last_block", 20, 0)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "20"])
def test_a_number_of_resamples_that_leaves_nothing_is_refused(count):
    for test in (evaluation.summarise, curves.roc):
        with pytest.raises(ValueError, match="n_resamples is"):
            test(GOOD, n_resamples=count)
    with pytest.raises(ValueError, match="n_resamples is"):
        calibration.fit(np.zeros(6), GOOD["y_true"], GOOD["group"], count, 0)


@pytest.mark.parametrize(
    ("labels", "values", "told"),
    [
        ([0, 1, "x"], [0.1, 0.2, 0.3], "'y_true' holds 'x' in 1 of 3 rows, the first of them row 2"),
        ([0, 1, 1], [0.1, "high", 0.3], "'y_prob' holds 'high' in 1 of 3 rows, the first of them row 1"),
        ([0, 1, 1], [0.1, None, 0.3], "'y_prob' is empty"),
        ([0, 1, 1], [0.1, 0.2], "y_true has 3 rows and y_prob"),
        ([], [], "expected both 0 and 1"),
        ([[0, 1]], [[0.1, 0.2]], "has the shape (1, 2)"),
    ],
)  # fmt: skip
def test_functions_of_arrays_refuse_alike(labels, values, told):
    for test in (metrics.measure, metrics.placements, lambda y, p: metrics.delong(y, p, p)):
        with pytest.raises(ValueError) as refused:
            test(labels, values)
        assert told in str(refused.value)


def test_no_public_function_that_takes_predictions_is_left_out():
    rooms = (evaluation, comparisons, curves, resampling, scores)
    takes = {
        name
        for room in rooms
        for name, one in inspect.getmembers(room, inspect.isfunction)
        if one.__module__ == room.__name__ and not name.startswith("_")
        and {"predictions", "pred_a"} & set(inspect.signature(one).parameters)
    }  # fmt: skip
    tried = {name.split(",")[0].split(" ")[0] for name in ENTRIES}
    # Two sentences made of `spread`, on tables that were scored before.
    assert takes - tried == {"describe_spread", "spread_of_difference"}
