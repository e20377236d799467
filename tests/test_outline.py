"""The classical bone mask: the bone of a drawn knee is found, what is no knee is flagged."""

import numpy as np
import pytest
from samples import drawn_knee
from scipy import ndimage

from osteo_utils.bone import masks, outline
from osteo_utils.bone.masks import classical_mask
from osteo_utils.phantom import synthetic


def test_bone_of_a_drawn_knee_is_found():
    film, truth = drawn_knee()
    found = classical_mask(film)
    assert found.plausible, found.reasons
    assert masks.dice(found.mask, truth) > 0.95
    assert found.area_share == pytest.approx(truth.mean(), abs=0.02)


def test_masks_of_phantoms_agree_with_their_truth():
    plan = synthetic.plan(8, 3).query("alteration == ''").head(4)
    scores = []
    for row in plan.itertuples():
        knee = synthetic.draw_knee(
            row.seed, row.density, 384, aspect=row.width / row.height, layout=row.layout, side=row.side
        )
        scores.append(masks.dice(classical_mask(knee.image).mask, knee.mask))
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
    assert masks.dice(classical_mask(changed).mask, expected) > 0.93


def test_exposure_that_changes_along_the_leg_does_not_matter():
    film, truth = drawn_knee()
    falling = np.linspace(1.25, 0.55, len(film))[:, None]
    found = classical_mask(np.clip(film * falling, 0, 255).astype(np.uint8))
    assert masks.dice(found.mask, truth) > 0.93


@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_film_has_no_bone_and_says_why(level: int):
    found = classical_mask(np.full((300, 150), level, np.uint8))
    assert not found.plausible
    assert not found.mask.any()
    assert "no contrast" in found.reasons[0]


def test_marker_alone_is_no_leg():
    film = np.full((300, 150), 5, np.uint8)
    film[20:60, 20:60] = 200
    found = classical_mask(film)
    assert not found.plausible
    assert "no leg" in found.reasons[0]


def test_leg_without_bone_is_not_plausible():
    film, truth = drawn_knee()
    film[truth == 1] = 90
    found = classical_mask(ndimage.gaussian_filter(film, 2))
    assert not found.plausible
    assert found.reasons


def test_two_legs_are_flagged():
    film, _ = drawn_knee()
    found = classical_mask(np.hstack([film, film]))
    assert not found.plausible
    assert "more than one leg in the film" in found.reasons


def test_area_limits_decide():
    film, truth = drawn_knee()
    too_small = classical_mask(film, min_area=float(truth.mean()) + 0.1)
    too_large = classical_mask(film, max_area=float(truth.mean()) - 0.1)
    assert any("at least" in reason for reason in too_small.reasons)
    assert any("at most" in reason for reason in too_large.reasons)


def test_classical_mask_refuses_colour_and_floats():
    with pytest.raises(ValueError, match="uint8"):
        classical_mask(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        classical_mask(np.zeros((8, 8)))


def test_knee_is_the_widest_row():
    _, truth = drawn_knee()
    row, width = outline.knee_row(truth.astype(bool))
    assert row == pytest.approx(0.45 * 400, abs=6)
    assert width == pytest.approx(2 * 0.25 * 200, abs=3)
