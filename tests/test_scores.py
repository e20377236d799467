"""Names of metrics, and the interval of a mean over groups."""

import numpy as np
import pandas as pd
import pytest
from samples import arm

from osteo_utils.statistics import scores


def predictions(protocol: str, recipe: str, variant: str, right: float) -> pd.DataFrame:
    """Sixty images in thirty groups; the share `right` of each class is on its side of the threshold."""
    y_true = np.repeat([0, 1], 30)
    wrong = np.tile(np.arange(30) >= round(30 * right), 2)
    prob = np.where((y_true == 1) ^ wrong, 0.8, 0.2)
    frame = pd.DataFrame({"image_id": [f"c/{n}.png" for n in range(60)], "y_true": y_true, "y_prob": prob})
    about = {"view": 0, "protocol": protocol, "recipe": recipe, "variant": variant, "seed": 0, "fold": 0}
    return frame.assign(**about, group=np.arange(60) // 2)


TABLE = pd.concat(
    [
        predictions("grouped", "last_block", "full", 0.8),
        predictions("grouped", "none", "full", 0.7),
        predictions("grouped", "last_block", "segmented", 0.6),
    ]
)


def test_the_primary_recipe_on_whole_films_has_the_short_name() -> None:
    estimates = scores.named_estimates(TABLE, "vgg16", "last_block", 200, 0)
    accuracy = {name: e.value for name, e in estimates.items() if name.endswith("/accuracy") and "vote" not in name}
    assert accuracy == pytest.approx(
        {"vgg16/grouped/accuracy": 0.8, "vgg16/grouped/none/accuracy": 0.7, "vgg16-segmented/grouped/accuracy": 0.6}
    )
    assert estimates["vgg16/grouped/group_vote/accuracy"].n_groups == 30


def test_the_overview_has_one_row_per_arm() -> None:
    table = scores.overview(scores.named_estimates(TABLE, "vgg16", "last_block", 200, 0))
    assert list(table.what) == ["vgg16/grouped", "vgg16-segmented/grouped", "vgg16/grouped/none"]
    assert table.accuracy[0].startswith("0.800 [")


def test_probabilities_are_judged_where_no_knee_is_on_both_sides_and_a_missing_slope_is_said() -> None:
    by_file = predictions("by_file", "last_block", "full", 0.8)
    perfect = predictions("grouped", "none", "full", 1.0)
    table = pd.concat([predictions("grouped", "last_block", "full", 0.6), perfect, by_file])
    estimates = scores.named_estimates(table, "vgg16", "last_block", 100, 0)
    # Right in three of five films at 0.8 and at 0.2: too sure by as much as the log odds of 4 are above those of 1.5.
    assert estimates["vgg16/grouped/calibration_slope"].value == pytest.approx(np.log(1.5) / np.log(4))
    assert estimates["vgg16/grouped/calibration_intercept"].value == pytest.approx(0, abs=1e-9)
    assert estimates["vgg16/grouped/ece"].value == pytest.approx(0.2)
    assert estimates["vgg16/grouped/ppv@0.2"].value == pytest.approx(0.6 * 0.2 / (0.6 * 0.2 + 0.4 * 0.8))
    assert not [name for name in estimates if name.startswith("vgg16/by_file") and "@" in name]
    shown = scores.overview(estimates, ("calibration_slope", "ece")).set_index("what")
    assert list(shown.index) == ["vgg16/grouped", "vgg16/grouped/none"]
    assert shown.loc["vgg16/grouped/none", "calibration_slope"] == "not defined"


def test_the_mean_of_independent_values_has_the_textbook_interval() -> None:
    values = pd.Series(np.random.default_rng(0).normal(10, 2, 400))
    estimate = scores.mean_estimate(values, pd.Series(np.arange(400)), 4000, 1)
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.02)


def test_copies_do_not_narrow_the_interval_of_a_mean() -> None:
    values = pd.Series(np.random.default_rng(0).normal(size=50))
    once = scores.mean_estimate(values, pd.Series(range(50)), 2000, 1)
    twice = scores.mean_estimate(pd.concat([values, values]), pd.Series([*range(50), *range(50)]), 2000, 1)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert (twice.n_files, twice.n_groups) == (100, 50)


def test_a_mean_of_one_group_has_no_interval_and_a_missing_group_is_named() -> None:
    found = scores.mean_estimate(pd.Series([1.0, 2.0]), pd.Series(["a", "a"]), 50, 0)
    assert (found.value, found.low, found.high) == (1.5, None, None)
    assert "interval not estimable: all images are of one group" in found.note
    with pytest.raises(ValueError, match="column 'group' is empty in row 1"):
        scores.mean_estimate(pd.Series([1.0, 2.0]), pd.Series(["a", None]), 50, 0)


def test_where_every_patient_has_films_of_both_labels_the_vote_is_missing_and_said_to_be() -> None:
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 20)
    part = arm(y, rng.uniform(0.2, 0.8, 40)).assign(group=np.repeat(np.arange(20), 2))
    found = scores.named_estimates(part, "vgg16", part.recipe.iloc[0], 50, 0)
    path = next(name for name in found if name.endswith("/accuracy"))
    assert not any("group_vote" in name for name in found)
    assert "one vote per group is not estimable" in found[path].note and found[path].low < found[path].high


def test_the_arm_of_a_name_is_the_one_that_the_name_was_made_of() -> None:
    for arm_named in (("vgg16", "grouped", "last_block", "full"), ("resnet50", "by_file", "none", "segmented")):
        name = f"{scores.prefix(*arm_named, 'last_block')}/auroc"
        assert tuple(scores.arm_of(name, "last_block").values()) == (*arm_named, "auroc")
    assert scores.arm_of("ensemble-segmented/grouped/accuracy", "last_block")["recipe"] == "average"


def test_a_mean_over_seeds_moves_less_with_them_than_one_fit_and_two_networks_as_the_worse_of_them() -> None:
    steady, loose = (
        pd.concat(
            [predictions("grouped", "none", "full", right).assign(seed=seed) for seed, right in enumerate(rights)]
        )
        for rights in ((0.7, 0.8), (0.6, 0.8))
    )
    tables = {"vgg16": steady, "resnet50": loose}
    own = scores.arm_of("vgg16/grouped/none/accuracy", "last_block")
    one_fit = scores.arm_of("vgg16/grouped/accuracy", "last_block")
    both = scores.arm_of("ensemble/grouped/accuracy", "last_block")
    # The standard deviation of 0.7 and 0.8 is 0.1 / √2; of two seeds, Student's distribution has one degree of freedom.
    student = 12.706205
    assert scores.seed_floor(tables, own) == (pytest.approx(student * 0.1 / 2**0.5), "its own seeds")
    assert scores.seed_floor(tables, one_fit) == (pytest.approx(student * 0.1), "probe of vgg16")
    assert scores.seed_floor(tables, both) == (pytest.approx(student * 0.2), "probe of resnet50")
    assert scores.seed_floor({"vgg16": TABLE}, one_fit) is None
