"""From numbers to 256 grey levels: which range is shown, and that a negative becomes the positive."""

import numpy as np
import pytest

from osteo_utils.images import grey_levels
from osteo_utils.images.grey_levels import Unusable, eight_bits

RAMP = np.tile(np.arange(60), (40, 1))


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_the_range_is_the_smallest_usual_depth_that_holds_the_brightest_pixel(depth: int) -> None:
    values = np.rint(RAMP * ((2**depth - 1) / 59)).astype(np.uint16)
    assert np.array_equal(eight_bits(values), np.rint(values * (255 / (2**depth - 1))))
    # A film that stays below the top of its range keeps its exposure.
    assert eight_bits(np.where(values == values.max(), 0.9 * values, values).astype(np.uint16)).max() < 255


def test_other_ranges_are_the_own_one_and_fractions_run_from_0_to_1() -> None:
    assert (eight_bits(RAMP - 30).min(), eight_bits(RAMP - 30).max()) == (0, 255)
    assert (eight_bits(RAMP * 1e6).min(), eight_bits(RAMP * 1e6).max()) == (0, 255)
    for kind in (np.float32, np.float64):
        assert np.array_equal(eight_bits((RAMP / 118).astype(kind)), np.rint((RAMP / 118).astype(kind) * 255.0))


@pytest.mark.parametrize("bad", [np.full((40, 60), -7), np.full((40, 60), 0.5), np.where(RAMP == 3, np.nan, 1.0)])
def test_one_colour_and_no_number_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(Unusable, match=r"single colour|not numbers"):
        eight_bits(bad)


@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_a_negative_becomes_the_positive_whatever_its_white_is(white: int) -> None:
    film = RAMP * (255 // 60) if white == 255 else 4095 - RAMP * 69
    negative = (white - film).astype(np.uint16)
    assert np.array_equal(eight_bits(grey_levels.inverted(negative)), eight_bits(film))


def test_negatives_of_other_types_are_turned_round_too() -> None:
    for values in (RAMP / 59, RAMP * 1e6, (RAMP - 30).astype(np.int8), (RAMP * 100_000).astype(np.uint32)):
        shown = eight_bits(grey_levels.inverted(values))
        assert np.abs(shown.astype(int) + eight_bits(values) - 255).max() <= 1


def test_colour_that_is_grey_keeps_its_values_and_other_colour_becomes_luminance() -> None:
    grey = (RAMP * 1000).astype(np.uint16)
    assert np.array_equal(grey_levels.one_channel(np.dstack([grey] * 3)), grey)
    assert grey_levels.one_channel(np.array([[[1000, 0, 0], [0, 1000, 0], [0, 0, 1000]]])).tolist() == [[299, 587, 114]]


def test_transparency_is_seen_before_black() -> None:
    values, alpha = np.array([[100, 100, 100]], np.uint16), np.array([[0, 50, 100]])
    assert grey_levels.over_black(values, alpha, 100).tolist() == [[0, 50, 100]]


def test_levels_are_counted_and_huge_pictures_refused() -> None:
    film = RAMP.astype(np.uint8)
    assert (grey_levels.few_levels(film, 61), grey_levels.few_levels(film, 60)) == (60, None)
    # The sample alone would see one level.
    film[::16, ::16] = 0
    assert grey_levels.few_levels(film, 32) is None and grey_levels.few_levels(film, 61) == 60
    with pytest.raises(Unusable, match="too many pixels: 8001x8000"):
        grey_levels.refuse_huge(8001, 8000)
