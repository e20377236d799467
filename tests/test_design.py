"""The plan of a synthetic set: each control does what it says to the number, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.phantom import design, drawing
from osteo_utils.phantom.design import plan


def test_osteoporosis_begins_at_minus_two_and_a_half() -> None:
    # 0.858 - 2.5 * 0.120 = 0.558 g/cm².
    assert drawing.is_osteoporosis(0.5579)
    assert not drawing.is_osteoporosis(0.5581)
    table = design.plan(50, seed=1)
    assert (table["true_label"] == (table["t_score"] <= -2.5)).all()
    assert table.drop_duplicates("knee")["true_label"].sum() == 25


def test_copies_and_conflicts_are_as_many_as_asked() -> None:
    table = design.plan(80, seed=4, copies=0.25, conflicts=0.2)
    files = table.groupby("knee").size()
    assert (files == 2).sum() == 20 and len(table) == 100
    labels = table.groupby("knee")["label"].nunique()
    assert (labels == 2).sum() == 4
    assert set(table.loc[table["conflict"] == 1, "knee"]) == set(labels.index[labels == 2])
    assert table["image_id"].is_unique
    originals = table.set_index("image_id")["knee"]
    seconds = table[table["copy_of"] != ""]
    assert (originals[seconds["copy_of"]].to_numpy() == seconds["knee"].to_numpy()).all()
    assert (table["image_id"].str.split("/").str[0] == table["class_name"]).all()
    assert (table["label"] != table["true_label"]).sum() == 4


def test_planning_a_film_does_not_look_at_the_class() -> None:
    told = {"label", "true_label", "density", "t_score"}
    for knee in range(20):
        sick = design.first_file(knee, 9, -4.0, 512, False)
        well = design.first_file(knee, 9, 1.0, 512, False)
        assert {k: v for k, v in sick.items() if k not in told} == {k: v for k, v in well.items() if k not in told}


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="n_knees is 2"):
        design.plan(2, seed=1)
    with pytest.raises(ValueError, match=r"copies is 5\.5"):
        design.plan(20, seed=1, copies=5.5)
    with pytest.raises(ValueError, match="signal is 2"):
        drawing.draw_knee(1, 0.8, signal=2)
    with pytest.raises(ValueError, match="density 80"):
        drawing.draw_knee(1, 80)


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


def test_relabelling_sorts_by_a_second_scanner_that_density_does_not_know() -> None:
    table = plan(400, seed=8, copies=0.5, conflicts=0.0, relabel=1.0)
    assert ((table["site"] == "storage_phosphor") == (table["label"] == 1)).all()
    assert table.groupby("knee")["site"].nunique().max() == 1
    firsts = table.drop_duplicates("knee")
    assert pd.crosstab(firsts["label"], firsts["true_label"]).to_numpy().tolist() == [[100, 100], [100, 100]]
    assert abs(firsts["label"].corr(firsts["t_score"])) < 0.05
    half = plan(400, seed=8, copies=0.0, relabel=0.5)
    assert (half["site"] == "storage_phosphor").sum() == 200
    followed = (half["site"] == "storage_phosphor") == (half["label"] == 1)
    # Half of the knees follow the scanner, and of the others every second one by chance.
    assert followed.mean() == pytest.approx(0.75, abs=0.06)


def test_without_relabelling_nothing_changes_and_with_it_only_scanner_and_label() -> None:
    kept = ["knee", "true_label", "t_score", "seed", "alteration", "height", "width", "quality", "tagged", "side"]
    plain, same, sorted_ = (plan(50, seed=8, **more) for more in ({}, {"relabel": 0.0}, {"relabel": 1.0}))
    pd.testing.assert_frame_equal(plain, same)
    assert set(plain["site"]) == {"flat_panel"}
    ordered = [table.sort_values(["knee", "alteration"])[kept].reset_index(drop=True) for table in (plain, sorted_)]
    pd.testing.assert_frame_equal(*ordered)
    with pytest.raises(ValueError, match="relabel is 2"):
        plan(20, seed=1, relabel=2)
