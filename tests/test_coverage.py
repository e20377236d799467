"""Intervals cover and tests keep their level on simulated groups; bounds from the binomial distribution."""

import numpy as np
import pytest
import samples
from scipy import stats

from osteo_utils.statistics.metrics import measure

# Outside these a right method falls once in a thousand runs; the runs are seeded, so it never flickers.
SURE = 0.999


def between(share: float, n_sets: int) -> tuple[float, float]:
    low, high = stats.binom(n_sets, share).interval(SURE)
    return low / n_sets, high / n_sets


@pytest.fixture(scope="module")
def benchmark():
    return samples.benchmark("coverage")


def test_the_population_is_what_the_formula_says(benchmark) -> None:
    large, _ = benchmark.draw(benchmark.Scenario(60_000), np.random.default_rng(1))
    found = measure(large["y_true"], large["y_prob"], ["auroc", "accuracy", "calibration_slope"])
    true = benchmark.truth_of(benchmark.Scenario(335))
    assert true["auroc"] == pytest.approx(0.87)
    assert found["auroc"][0] == pytest.approx(true["auroc"], abs=0.004)
    assert found["accuracy"][0] == pytest.approx(true["accuracy"], abs=0.004)
    assert found["calibration_slope"][0] == pytest.approx(1, abs=0.02)


def test_nineteen_in_twenty_intervals_hold_the_populations_value(benchmark) -> None:
    low, high = between(0.95, 200)
    found = benchmark.coverage(benchmark.Scenario(100), 200, 300, seed=7)
    assert set(found) == {f"{m}, {how}" for m in ("auroc", "accuracy") for how in ("percentile", "bca")}
    for name, share in found.items():
        assert low <= share <= high, name


def test_clustered_tests_keep_their_level_where_delong_without_groups_does_not(benchmark) -> None:
    low, high = between(0.05, 200)
    found = benchmark.level(benchmark.Scenario(120, conflicts=0.05), 200, seed=7)
    assert low <= found["clustered DeLong"] <= high
    assert low <= found["clustered proportions"] <= high
    assert found["McNemar by group"] <= high
    assert found["DeLong, groups ignored"] > high


def test_at_chance_a_cross_validated_interval_misses_oftener_than_it_says(benchmark) -> None:
    found = benchmark.at_chance(80, 100, 200, seed=7)
    assert 0.05 < found["below"] + found["above"] < 0.4


def test_the_detectable_difference_is_found_four_times_in_five(benchmark) -> None:
    low, high = between(0.8, 100)
    assert low <= benchmark.power(benchmark.Scenario(200), 100, seed=7)["found"] <= high
