"""The trial of both ways to find bone: its rows, and that the U-Net keeps what is promised."""

import numpy as np
import pytest

from osteo_utils.bone import segmentation


@pytest.fixture(scope="module")
def trial():
    return segmentation.trial(8, 3, size=384)


def test_unet_reaches_what_is_promised_on_an_unseen_scanner(trial):
    judged = segmentation.trial_summary(trial, 200, 0)
    assert judged["dice"].value >= 0.97
    assert judged["classical/dice"].high < judged["dice"].low
    assert judged["hd95"].unit == "mm" and judged["hd95"].value < 5


def test_every_knee_has_both_methods_and_its_long_bones(trial):
    assert set(trial.query("bone == 'all'").method) == {"unet", "classical"}
    assert (trial.query("bone == 'femur'").knee.to_numpy() == np.arange(8)).all()
    assert trial[["dice", "iou"]].to_numpy().max() <= 1 and trial.hd95_mm.min() >= 0
    np.testing.assert_allclose(trial.iou, trial.dice / (2 - trial.dice), atol=1e-9)


def test_table_has_a_row_for_each_bone_with_its_unit(trial):
    table = segmentation.trial_table(segmentation.trial_summary(trial, 100, 0))
    assert table.index[0] == "U-Net, whole bone" and "classical, whole bone" in table.index
    assert list(table.columns) == ["dice", "iou", "hd95 (mm)"]
