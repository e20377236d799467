"""Lossy JPEG that says 16 bits, as GDCM writes it: its values are those of the 12-bit JPEG that it ought to be."""

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from samples import dicom_film

from osteo_utils.images import codestreams, dicom, gdcm_jpeg
from osteo_utils.images.grey_levels import Unusable


def picture(level: float) -> np.ndarray:
    rows, columns = np.mgrid[:72, :60]
    wave = level + 300 * np.sin(rows / 9) * np.cos(columns / 11)
    return np.clip(np.rint(wave + np.random.default_rng(2).normal(0, 20, wave.shape)), 0, 4095).astype(np.uint16)


@pytest.mark.parametrize("quality", [98, 75])
@pytest.mark.parametrize("level", [150, 1000, 2048, 3000, 3900])
def test_the_film_is_that_of_the_twelve_bit_jpeg(level: float, quality: int) -> None:
    sound = bytes(imagecodecs.jpeg8_encode(picture(level), level=quality, bitspersample=12, optimize=True))
    # GDCM's own coefficients are those of the values without a level shift.
    odd = gdcm_jpeg.moved(sound, gdcm_jpeg.LEVEL_SHIFT, precision=16)
    described = codestreams.describe(odd)
    assert (described.kind, described.precision) == (codestreams.JPEG, 16)
    right = imagecodecs.jpeg8_decode(sound).astype(int)
    assert np.abs(codestreams.decode(odd, described).astype(int) - right).max() <= 1
    film = dicom.read(dicom_film(right, syntax=uid.JPEGExtended12Bit, frames=[odd]))[0]
    assert np.abs(film.astype(int) - dicom.read(dicom_film(right))[0]).max() <= 1


def test_moving_up_and_down_again_gives_the_same_picture() -> None:
    sound = bytes(imagecodecs.jpeg8_encode(picture(700), level=95, bitspersample=12))
    again = gdcm_jpeg.moved(gdcm_jpeg.moved(sound, 512, 12), -512, 12)
    assert np.array_equal(imagecodecs.jpeg8_decode(again), imagecodecs.jpeg8_decode(sound))
    higher = imagecodecs.jpeg8_decode(gdcm_jpeg.moved(sound, 512, 12)).astype(int)
    assert np.abs(higher - 512 - imagecodecs.jpeg8_decode(sound)).max() <= 1


def test_colour_of_sixteen_bits_is_not_guessed_at() -> None:
    colours = np.dstack([picture(700)] * 3)
    packed = bytearray(imagecodecs.jpeg8_encode(colours, level=90, bitspersample=12))
    with pytest.raises(Unusable, match="several channels"):
        gdcm_jpeg.to_twelve_bits(bytes(packed))
