"""The spread over seeds against textbook numbers, and that its absence is said."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.statistics import evaluation, resampling, scores


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
    assert "lie up to 0.277 apart" in resampling.describe_spread(predictions([0.8, 0.7, 0.9]), "last_block")


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
