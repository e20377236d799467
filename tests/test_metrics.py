"""Metrics and tests on plain arrays against scikit-learn and published examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from osteo_utils.statistics.metrics import METRICS, delong, holm, measure, wilson

# DeLong, DeLong and Clarke-Pearson (1988), as printed in the SAS/STAT example on comparing ROC curves:
# albumin, total protein, K-G score and outcome of 43 patients.
OVARIAN = np.array(
    """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1
    3.8 5.7 5 1 3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0
    2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1
    3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0
    3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
    3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1""".split(),
    dtype=float,
).reshape(-1, 4)


SKLEARN = {
    "auroc": lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w),
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p >= 0.5, sample_weight=w),
    "balanced_accuracy": lambda y, p, w: sk.balanced_accuracy_score(y, p >= 0.5, sample_weight=w),
    "sensitivity": lambda y, p, w: sk.recall_score(y, p >= 0.5, sample_weight=w),
    "specificity": lambda y, p, w: sk.recall_score(y, p >= 0.5, pos_label=0, sample_weight=w),
    "precision": lambda y, p, w: sk.precision_score(y, p >= 0.5, sample_weight=w, zero_division=0),
    "npv": lambda y, p, w: sk.precision_score(y, p >= 0.5, pos_label=0, sample_weight=w, zero_division=0),
    "f1": lambda y, p, w: sk.f1_score(y, p >= 0.5, sample_weight=w, zero_division=0),
    "mcc": lambda y, p, w: sk.matthews_corrcoef(y, p >= 0.5, sample_weight=w),
    "auprc": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w),
    "brier": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w),
}


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 60), steps=st.sampled_from([2, 5, 1000]))
@settings(max_examples=12, deadline=None)
def test_every_metric_equals_scikit_learn_under_any_weights_and_ties(seed, n, steps):
    rng = np.random.default_rng(seed)
    y, p = rng.permutation(np.arange(n) % 2), rng.integers(0, steps + 1, n) / steps
    weights = rng.integers(0, 4, (3, n))
    weights[:, [np.argmax(y == 0), np.argmax(y == 1)]] += 1
    ours = measure(y, p, METRICS, weights)
    for name, theirs in SKLEARN.items():
        assert ours[name] == pytest.approx([theirs(y, p, w) for w in weights], abs=1e-12), name


def test_a_missing_class_a_wrong_probability_and_an_unknown_metric_are_refused():
    with pytest.raises(ValueError, match="expected both 0 and 1"):
        measure([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match="is empty in 1 of 2 rows, the first of them row 1; expected a probability"):
        measure([0, 1], [0.2, np.nan])
    with pytest.raises(ValueError, match="not known"):
        measure([0, 1], [0.2, 0.3], ["area"])


@pytest.mark.parametrize(
    ("test", "area", "gap", "error", "p_value"),
    [(0, 0.7366, 0.0108, 0.0953, 0.9102), (1, 0.6478, -0.0780, 0.1046, 0.4561)],
)
def test_delong_gives_the_published_numbers_for_the_ovarian_cancer_data(test, area, gap, error, p_value):
    y, kg = OVARIAN[:, 3], 10 - OVARIAN[:, 2]
    assert sk.roc_auc_score(y, OVARIAN[:, test]) == pytest.approx(area, abs=5e-5)
    assert delong(y, OVARIAN[:, test], kg) == pytest.approx((gap, error, p_value), abs=5.1e-5)


def test_delong_refuses_one_row_of_a_class():
    with pytest.raises(ValueError, match="two rows of each class"):
        delong([0, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1])


def test_holm_multiplies_the_smallest_p_value_by_the_number_of_tests():
    # 0.01 x 3, then max(0.03, 0.03 x 2), then max(0.06, 0.04 x 1).
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({}) == {}


def test_wilson_gives_the_interval_of_newcombes_example():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
