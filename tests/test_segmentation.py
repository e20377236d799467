"""Masks of a study: the U-Net finds the bones of synthetic knees, what is no knee is flagged, the knee is located."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.bone import masks, segmentation, unet
from osteo_utils.images.image_store import content_box, to_store
from osteo_utils.phantom import synthetic

KNEES = synthetic.knees(6, 77, 384, site="storage_phosphor")


def test_unet_finds_the_bones_of_a_scanner_it_has_not_met():
    found = [segmentation.bone_mask(knee.image) for knee in KNEES]
    assert all(one.plausible for one in found), [one.reasons for one in found]
    agreement = [masks.dice(one.mask, knee.mask) for one, knee in zip(found, KNEES, strict=True)]
    assert np.mean(agreement) > 0.96
    assert np.min(agreement) > 0.9


@pytest.mark.parametrize("method", segmentation.METHODS)
def test_padding_of_the_store_does_not_move_the_mask(method: str):
    film, truth = KNEES[0].image, KNEES[0].mask
    stored, *_ = to_store(film)
    truth_stored, *_ = to_store(truth * 255)
    found = segmentation.bone_mask(stored, content_box(film.shape[1], film.shape[0]), method=method)
    assert masks.dice(found.mask, truth_stored > 127) > 0.85


@pytest.mark.parametrize("method", segmentation.METHODS)
def test_segment_all_follows_the_row_pointer_and_skips_unusable_films(method: str):
    knee = KNEES[0]
    film, truth = knee.image, knee.mask
    stored, *_ = to_store(film)
    images = np.stack([np.zeros_like(stored), stored, np.zeros_like(stored)])
    manifest = pd.DataFrame(
        {
            "image_id": ["normal/a.png", "normal/b.png", "normal/c.png"],
            "status": ["ok", "quarantined", "ok"],
            "row": [1, 0, 2],
            "width": film.shape[1],
            "height": film.shape[0],
        }
    )
    found, table = segmentation.segment_all(images, manifest, method=method)
    assert table["image_id"].tolist() == ["normal/a.png", "normal/c.png"]
    assert table["plausible"].tolist() == [1, 0]
    assert table["area_share"].iloc[0] == pytest.approx(truth.mean(), abs=0.05)
    assert found[1].any()
    assert not found[[0, 2]].any()


def test_knee_lies_where_it_was_drawn():
    for knee in KNEES:
        found = segmentation.bone_mask(knee.image).measured
        height, width = knee.image.shape
        # The joint of a drawn knee lies between 60 and 100 mm of bone's width.
        assert found["knee_y"] * height == pytest.approx(knee.joint[0], abs=12 / knee.pixel)
        assert found["knee_x"] * width == pytest.approx(knee.joint[1], abs=12 / knee.pixel)
        assert 60 < found["knee_width"] * width * knee.pixel < 110


def test_knee_of_bare_geometry():
    parts = np.zeros((100, 50, 4), bool)
    parts[:48, 10:40, 0] = True
    parts[52:, 10:40, 1] = True
    knee = segmentation.knee_of(parts)
    assert knee == pytest.approx((0.5, 0.5, 0.6), abs=0.01)
    assert segmentation.knee_of(parts[:50]) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_film_without_a_knee_is_flagged(level: int):
    found = segmentation.bone_mask(np.full((300, 150), level, np.uint8))
    assert not found.plausible


def test_noise_is_no_knee():
    noise = np.random.default_rng(0).integers(0, 256, (300, 150)).astype(np.uint8)
    assert not segmentation.bone_mask(noise).plausible


def test_two_legs_are_flagged():
    knee = KNEES[0].image
    found = segmentation.bone_mask(np.hstack([knee, knee[:, ::-1]]))
    assert "more than one leg in the film" in found.reasons


def test_upside_down_is_flagged():
    assert not segmentation.bone_mask(np.ascontiguousarray(KNEES[0].image[::-1])).plausible


def test_area_limits_decide():
    knee = KNEES[0]
    share = float(knee.mask.mean())
    too_small = segmentation.bone_mask(knee.image, min_area=share + 0.1)
    too_large = segmentation.bone_mask(knee.image, max_area=share - 0.1)
    assert any("at least" in reason for reason in too_small.reasons)
    assert any("at most" in reason for reason in too_large.reasons)


def test_bone_mask_refuses_colour_and_unknown_methods():
    with pytest.raises(ValueError, match="uint8"):
        segmentation.bone_mask(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="expected one of unet, classical"):
        segmentation.bone_mask(np.zeros((64, 64), np.uint8), method="watershed")


def test_what_the_film_shows_of_each_bone():
    seen = next(unet.predict(unet.trained(), [KNEES[0].image]))
    assert seen.parts.shape == (unet.HEIGHT, unet.WIDTH, len(unet.BONES))
    assert 0.9 < seen.certainty <= 1


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
    assert list(table.columns) == ["Dice", "intersection over union", "95 % Hausdorff distance (mm)"]
