"""The line from score to probability: against statsmodels, against a known truth, and where classes are wholly apart."""

import numpy as np
import pytest
import statsmodels.api as sm

from osteo_utils.statistics import calibration


def drawn(n: int, intercept: float, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(size=n)
    return logits, (random.random(n) < 1 / (1 + np.exp(-intercept - slope * logits))).astype(int)


def test_line_and_spread_are_those_of_statsmodels_with_groups_as_clusters() -> None:
    logits, y = drawn(400, 0.4, 1.6)
    # Each film is present twice, which adds no evidence.
    logits, y, groups = np.repeat(logits, 2), np.repeat(y, 2), np.repeat(np.arange(400), 2)
    line = calibration.fit(logits, y, groups, 1000, seed=1)
    positive, negative = y.sum(), (1 - y).sum()
    targets = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    model = sm.GLM(targets, sm.add_constant(logits), family=sm.families.Binomial())
    expected = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    np.testing.assert_allclose(line.line, expected.params, rtol=1e-6)
    np.testing.assert_allclose(line.resampled.std(axis=0), expected.bse, rtol=0.15)
    assert (line.n_files, line.n_groups) == (800, 400)


def test_overconfident_scores_are_brought_back_and_the_interval_holds_the_truth() -> None:
    held = []
    for seed in range(60):
        logits, y = drawn(300, -0.5, 0.5, seed)
        line = calibration.fit(logits, y, np.arange(300), 200, seed)
        _, low, high = line.at(1.0)
        held.append(low <= 1 / (1 + np.exp(-0.0)) <= high)
    assert 0.85 <= np.mean(held) <= 1.0


def test_classes_wholly_apart_still_have_a_finite_line() -> None:
    logits, y = np.r_[np.linspace(-4, -2, 30), np.linspace(2, 4, 30)], np.repeat([0, 1], 30)
    line = calibration.fit(logits, y, np.arange(60), 200, seed=0)
    value, low, high = line.at(3.0)
    assert 0.9 < low <= value <= high < 1.0
    assert line.informative


def test_scores_that_know_nothing_are_called_so() -> None:
    logits, y = drawn(200, 0.0, 0.0)
    assert not calibration.fit(logits, y, np.arange(200), 200, seed=0).informative


def test_one_class_alone_is_refused_and_certainty_has_a_finite_logit() -> None:
    with pytest.raises(ValueError, match="so films of both classes"):
        calibration.fit(np.zeros(4), np.ones(4), np.arange(4), 10, 0)
    np.testing.assert_allclose(calibration.bounded_logit([0.0, 0.5, 1.0]), [-14, 0, 14], atol=1e-6)
