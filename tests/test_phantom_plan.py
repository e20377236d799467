"""The controls of the phantom: each does what it says to the number, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.phantom import design
from osteo_utils.phantom.design import plan


def test_copies_above_one_give_every_knee_further_files_each_altered_in_its_own_way() -> None:
    table = plan(40, seed=3, copies=1.5)
    assert sorted(table.groupby("knee").size().unique()) == [2, 3]
    assert len(table) == 100
    assert not table[table["copy_of"] != ""].duplicated(["knee", "alteration"]).any()
    assert set(table.loc[table["copy_of"] == "", "alteration"]) == {""}


def test_only_the_alterations_asked_for_are_used() -> None:
    table = plan(40, seed=3, copies=1.0, alterations=("exact", "mirrored"))
    assert table["alteration"].value_counts().to_dict() == {"": 40, "exact": 20, "mirrored": 20}
    with pytest.raises(ValueError, match=r"alterations .*sheared.* are not known"):
        plan(40, seed=3, alterations=("sheared",))
    with pytest.raises(ValueError, match=r"copies is 2\.5; expected 0 to 2"):
        plan(40, seed=3, copies=2.5, alterations=("exact", "mirrored"))


def test_label_noise_turns_the_labels_of_whole_knees() -> None:
    table = plan(50, seed=8, copies=0.5, conflicts=0.0, label_noise=0.2)
    wrong = table["label"] != table["true_label"]
    assert table.loc[wrong, "knee"].nunique() == 10
    assert (table["flipped"] == wrong).all()
    assert table.groupby("knee")["label"].nunique().max() == 1


def test_label_noise_changes_no_film() -> None:
    films = ["knee", "seed", "density", "alteration", "height", "width", "quality", "tagged"]
    clean, noisy = (plan(50, seed=8, label_noise=noise).sort_values(["knee", "alteration"]) for noise in (0.0, 0.3))
    pd.testing.assert_frame_equal(clean[films].reset_index(drop=True), noisy[films].reset_index(drop=True))


@pytest.mark.parametrize("shortcut", [0.0, 0.5, 1.0])
def test_the_tag_goes_with_the_label_as_far_as_it_is_told(shortcut: float) -> None:
    table = plan(600, seed=1, copies=0.0, shortcut=shortcut)
    rate = table.groupby("label")["tagged"].mean()
    base = design.TAG_RATE * (1 - shortcut)
    assert rate[0] == pytest.approx(base, abs=0.05)
    assert rate[1] == pytest.approx(base + shortcut, abs=0.07)


def test_a_copy_shows_the_tag_of_its_first_file() -> None:
    table = plan(100, seed=2, copies=1.0, conflicts=0.5, shortcut=1.0)
    assert table.groupby("knee")["tagged"].nunique().max() == 1


def test_controls_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"label_noise is 1\.2"):
        plan(20, seed=1, label_noise=1.2)
    with pytest.raises(ValueError, match="site is 'mri'; expected one of"):
        plan(20, seed=1, site="mri")


def test_the_set_is_balanced_and_repeats() -> None:
    table = plan(30, seed=4)
    assert table.drop_duplicates("knee")["true_label"].sum() == 15
    pd.testing.assert_frame_equal(table, plan(30, seed=4))
    assert not np.array_equal(table["seed"], plan(30, seed=5)["seed"])
