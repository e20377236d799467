"""Bone masks: the bone of a drawn knee is found, what is no knee is flagged, a mask cuts what it should."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from osteo_utils.data import phantom
from osteo_utils.data.radiographs import content_box, to_store
from osteo_utils.models import bone_outline, segmentation


def drawn_knee(height: int = 400, width: int = 200, left: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A leg as bare geometry: soft tissue as a strip, a femur that widens at the knee, a tibia; and its bone."""
    rows, columns = np.mgrid[:height, :width]
    away = np.abs(columns - width / 2 - left)
    knee = np.exp(-(((rows - 0.45 * height) / (0.12 * height)) ** 2))
    bone = away < 0.11 * width + 0.14 * width * knee
    film = np.where(away < 0.38 * width, 90.0, 8.0)
    film[bone] = 190
    film = ndimage.gaussian_filter(film, 1.0) + np.random.default_rng(3).normal(0, 3, film.shape)
    return np.clip(film, 0, 255).astype(np.uint8), bone.astype(np.uint8)


def test_bone_of_a_drawn_knee_is_found():
    film, truth = drawn_knee()
    found = segmentation.bone_mask(film)
    assert found.plausible, found.reasons
    assert segmentation.dice(found.mask, truth) > 0.95
    assert found.area_share == pytest.approx(truth.mean(), abs=0.02)


def test_masks_of_phantoms_agree_with_their_truth():
    plan = phantom.plan(8, 3).query("alteration == ''").head(4)
    scores = []
    for row in plan.itertuples():
        knee = phantom.draw_knee(
            row.seed, row.density, 384, aspect=row.width / row.height, layout=row.layout, side=row.side
        )
        scores.append(segmentation.dice(segmentation.bone_mask(knee.image).mask, knee.mask))
    assert np.mean(scores) > 0.88
    assert np.min(scores) > 0.75


@pytest.mark.parametrize("change", ["darker", "inverted_gamma", "white_frame", "mirrored"])
def test_exposure_frame_and_side_do_not_matter(change: str):
    film, truth = drawn_knee()
    changed = {
        "darker": lambda image: (image * 0.5).astype(np.uint8),
        "inverted_gamma": lambda image: (255 * (image / 255) ** 0.5).astype(np.uint8),
        "white_frame": lambda image: np.pad(image[:, :-6], ((0, 0), (0, 6)), constant_values=255),
        "mirrored": lambda image: image[:, ::-1],
    }[change](film)
    expected = truth[:, ::-1] if change == "mirrored" else truth
    assert segmentation.dice(segmentation.bone_mask(changed).mask, expected) > 0.93


def test_exposure_that_changes_along_the_leg_does_not_matter():
    film, truth = drawn_knee()
    falling = np.linspace(1.25, 0.55, len(film))[:, None]
    found = segmentation.bone_mask(np.clip(film * falling, 0, 255).astype(np.uint8))
    assert segmentation.dice(found.mask, truth) > 0.93


@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_film_has_no_bone_and_says_why(level: int):
    found = segmentation.bone_mask(np.full((300, 150), level, np.uint8))
    assert not found.plausible
    assert not found.mask.any()
    assert "no contrast" in found.reasons[0]


def test_marker_alone_is_no_leg():
    film = np.full((300, 150), 5, np.uint8)
    film[20:60, 20:60] = 200
    found = segmentation.bone_mask(film)
    assert not found.plausible
    assert "no leg" in found.reasons[0]


def test_leg_without_bone_is_not_plausible():
    film, truth = drawn_knee()
    film[truth == 1] = 90
    found = segmentation.bone_mask(ndimage.gaussian_filter(film, 2))
    assert not found.plausible
    assert found.reasons


def test_two_legs_are_flagged():
    film, _ = drawn_knee()
    found = segmentation.bone_mask(np.hstack([film, film]))
    assert not found.plausible
    assert "more than one leg in the film" in found.reasons


def test_area_limits_decide():
    film, truth = drawn_knee()
    too_small = segmentation.bone_mask(film, min_area=float(truth.mean()) + 0.1)
    too_large = segmentation.bone_mask(film, max_area=float(truth.mean()) - 0.1)
    assert any("at least" in reason for reason in too_small.reasons)
    assert any("at most" in reason for reason in too_large.reasons)


def test_bone_mask_refuses_colour_and_floats():
    with pytest.raises(ValueError, match="uint8"):
        segmentation.bone_mask(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        segmentation.bone_mask(np.zeros((8, 8)))


def test_padding_of_the_store_does_not_move_the_mask():
    film, truth = drawn_knee()
    stored, *_ = to_store(film)
    truth_stored, *_ = to_store(truth * 255)
    found = segmentation.bone_mask(stored, content_box(film.shape[1], film.shape[0]))
    assert segmentation.dice(found.mask, truth_stored > 127) > 0.95


def test_segment_all_follows_the_row_pointer_and_skips_unusable_films():
    film, truth = drawn_knee()
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
    masks, table = segmentation.segment_all(images, manifest)
    assert table["image_id"].tolist() == ["normal/a.png", "normal/c.png"]
    assert table["plausible"].tolist() == [1, 0]
    assert table["area_share"].iloc[0] == pytest.approx(truth.mean(), abs=0.02)
    assert masks[1].any()
    assert not masks[[0, 2]].any()


def test_apply_mask_keeps_the_bone_and_removes_the_rest():
    film, truth = drawn_knee()
    cut = segmentation.apply_mask(film, truth, dilation=6)
    distance = ndimage.distance_transform_edt(truth == 0)
    assert np.array_equal(cut[distance <= 6], film[distance <= 6])
    assert not cut[distance >= 12].any()
    assert np.all(cut <= film)


def test_apply_mask_without_margin_cuts_at_the_outline():
    film, truth = drawn_knee()
    assert np.array_equal(segmentation.apply_mask(film, truth, dilation=0), film * truth)


def test_apply_mask_refuses_an_empty_or_foreign_mask():
    film, truth = drawn_knee()
    with pytest.raises(ValueError, match="empty"):
        segmentation.apply_mask(film, np.zeros_like(truth))
    with pytest.raises(ValueError, match="same shape"):
        segmentation.apply_mask(film, truth[1:])


def test_overlap_of_known_masks():
    left, right = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    left[:, :2], right[:, 1:3] = 1, 1
    assert segmentation.dice(left, right) == pytest.approx(0.5)
    assert segmentation.iou(left, right) == pytest.approx(1 / 3)
    assert segmentation.dice(left, left) == segmentation.iou(left, left) == 1
    assert segmentation.dice(left, 1 - left) == segmentation.iou(left, 1 - left) == 0
    assert segmentation.dice(np.zeros((2, 2)), np.zeros((2, 2))) == 1


def test_knee_is_the_widest_row():
    _, truth = drawn_knee()
    row, width = bone_outline.knee_row(truth.astype(bool))
    assert row == pytest.approx(0.45 * 400, abs=6)
    assert width == pytest.approx(2 * 0.25 * 200, abs=3)
