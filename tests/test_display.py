"""From stored values to display: windows, lookup tables, padding and inversion, and what is said of the odd ones."""

from collections.abc import Sequence

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from samples import dicom_film

from osteo_utils.images import dicom, display

# 40 rows of 0, 65, ... 4030, and what they look like without a window.
RAMP = np.tile(np.arange(63) * 65, (40, 1))
PLAIN = np.rint(RAMP * (255 / 4030)).astype(int)


def shown(
    values: np.ndarray = RAMP, photometric: str = "MONOCHROME2", **elements: object
) -> tuple[np.ndarray, list[str]]:
    grey, _, remarks = dicom.read(dicom_film(values, photometric, **elements))
    return grey.astype(int), remarks


def lut(descriptor: Sequence[int], entries: np.ndarray, packed: bool = False, signed: bool = False) -> list[Dataset]:
    """A sequence of one lookup table, its entries in 16 bits each or two to a word."""
    item = Dataset()
    item.LUTDescriptor = list(descriptor)
    item["LUTDescriptor"].VR = "SS" if signed else "US"
    item.LUTData = entries.astype("u1" if packed else "<u2").tobytes()
    item["LUTData"].VR = "OW"
    return [item]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_follows_its_formula(function: str | None, inverse: bool) -> None:
    # PS3.3 C.11.2.1.2 and C.11.2.1.3, value by value.
    centre, width = 1800.0, 1300.0
    right = []
    for value in RAMP[0]:
        if function == "SIGMOID":
            level = 1 / (1 + np.exp(-4 * (value - centre) / width))
        elif function == "LINEAR_EXACT":
            level = min(max((value - centre) / width + 0.5, 0), 1)
        else:
            level = min(max((value - (centre - 0.5)) / (width - 1) + 0.5, 0), 1)
        right.append(round(255 * (1 - level if inverse else level)))
    extra = {"VOILUTFunction": function} if function else {}
    grey, remarks = shown(RAMP, f"MONOCHROME{1 if inverse else 2}", WindowCenter=centre, WindowWidth=width, **extra)
    assert np.abs(grey - right).max() <= 1 and (grey == right).mean() > 0.95
    assert remarks == []


@pytest.mark.parametrize(
    ("elements", "remark"),
    [
        ({"WindowCenter": 1800, "WindowWidth": 0}, "width 0 ignored: too narrow"),
        ({"WindowCenter": 1800, "WindowWidth": 0.5}, "width 0.5 ignored: too narrow"),
        ({"WindowCenter": 1800, "WindowWidth": -900}, "width -900 ignored: too narrow"),
        ({"WindowCenter": 0, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}, "width 0 ignored: too narrow"),
        ({"WindowCenter": 0, "WindowWidth": -5, "VOILUTFunction": "SIGMOID"}, "width -5 ignored: too narrow"),
        ({"WindowCenter": 1800}, "window ignored: 1 centres and 0 widths"),
        ({"WindowWidth": 1800}, "window ignored: 0 centres and 1 widths"),
        ({"WindowCenter": 30000, "WindowWidth": 900}, "shows nothing of values from 0 to 4030"),
        ({"WindowCenter": -9000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}, "shows nothing"),
    ],
)
def test_an_invalid_window_is_ignored_and_named(elements: dict, remark: str) -> None:
    grey, remarks = shown(**elements)
    assert np.array_equal(grey, PLAIN)
    assert remark in remarks[0] and remarks[-1] == "the film's own range is shown"


def test_a_decimal_comma_is_read_as_a_point_and_words_are_ignored() -> None:
    words = dicom_film(RAMP, WindowCenter="1800.5", WindowWidth="1300.0")
    right, _, _ = dicom.read(words)
    grey, _, remarks = dicom.read(words.replace(b"1800.5", b"1800,5").replace(b"1300.0", b"1300,0"))
    assert np.array_equal(grey, right) and remarks == ["decimal comma in the window, read as a point"]
    several = dicom_film(RAMP, WindowCenter=["1800.5", "900.50"], WindowWidth=["1300.0", "400.00"])
    commas = several.replace(b"1800.5", b"1800,5").replace(b"900.50", b"900,50").replace(b"400.00", b"400,00")
    grey, _, remarks = dicom.read(commas)
    assert np.array_equal(grey, right) and len(remarks) == 2
    grey, _, remarks = dicom.read(words.replace(b"1300.0", b"narrow"))
    assert np.array_equal(grey, PLAIN) and remarks[0] == "window ignored: centre 1800.5, width narrow"


def test_of_several_windows_the_first_usable_is_used_and_said() -> None:
    one, _ = shown(WindowCenter=1800, WindowWidth=1300)
    grey, remarks = shown(WindowCenter=[1800, 900], WindowWidth=[1300, 400])
    assert np.array_equal(grey, one)
    assert remarks == ["window of centre 1800 and width 1300 used, number 1 of 2"]
    grey, remarks = shown(WindowCenter=[900, 1800], WindowWidth=[0, 1300])
    assert np.array_equal(grey, one) and remarks[-1].endswith("number 2 of 2")
    # The same window twice leaves no choice.
    assert shown(WindowCenter=[1800, 1800], WindowWidth=[1300, 1300])[1] == []


def test_an_unknown_function_is_read_as_linear() -> None:
    grey, remarks = shown(WindowCenter=1800, WindowWidth=1300, VOILUTFunction="CUBIC")
    assert np.array_equal(grey, shown(WindowCenter=1800, WindowWidth=1300)[0])
    assert remarks == ["VOI LUT Function CUBIC unknown, read as LINEAR"]


CURVE = np.rint(255 * (np.arange(4096) / 4095) ** 0.5)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    ("bits", "packed", "scale"), [(8, False, 1), (8, True, 1), (10, False, 4), (12, False, 16), (16, False, 257)]
)
def test_a_voi_lut_of_any_depth_and_packing_shows_its_curve(bits: int, packed: bool, scale: int, inverse: bool) -> None:
    entries = CURVE * scale
    right = np.rint(255 * entries[RAMP] / (2**bits - 1))
    table = lut([4096, 0, bits], entries, packed)
    grey, remarks = shown(RAMP, f"MONOCHROME{1 if inverse else 2}", VOILUTSequence=table)
    assert np.abs(grey - (255 - right if inverse else right)).max() <= 1 and remarks == []


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_a_lut_may_begin_below_zero_under_either_vr(syntax: str) -> None:
    entries = CURVE * 16
    table = lut([4096, -2048, 12], entries, signed=True)
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -2048}
    grey, remarks = shown(syntax=syntax, VOILUTSequence=table, **rescale)
    assert np.array_equal(grey, np.rint(255 * entries[RAMP] / 4095)) and remarks == []
    grey, _ = shown(RAMP - 2048, syntax=syntax, VOILUTSequence=table, PixelRepresentation=1)
    assert np.array_equal(grey, np.rint(255 * entries[RAMP] / 4095))


def test_values_outside_a_lut_take_its_ends_and_65536_entries_are_written_as_zero() -> None:
    short = lut([1001, 1000, 16], np.linspace(0, 65535, 1001))
    grey, _ = shown(VOILUTSequence=short)
    assert (grey[RAMP <= 1000] == 0).all() and (grey[RAMP >= 2000] == 255).all()
    whole = lut([0, 0, 16], np.arange(65536))
    grey, _ = shown(RAMP * 16, BitsStored=16, VOILUTSequence=whole)
    assert np.array_equal(grey, np.rint(RAMP * 16 * (255 / 65535)))


def test_of_several_luts_the_first_usable_is_used_and_a_broken_one_named() -> None:
    good, other = lut([4096, 0, 8], CURVE)[0], lut([4096, 0, 8], CURVE[::-1])[0]
    right = CURVE[RAMP]
    grey, remarks = shown(VOILUTSequence=[good, other])
    assert np.array_equal(grey, right) and remarks == ["VOI LUT used, number 1 of 2"]
    broken = lut([4096, 0, 12], CURVE[:100])[0]
    grey, remarks = shown(VOILUTSequence=[broken, good])
    assert np.array_equal(grey, right)
    assert remarks == ["VOI LUT ignored: 100 words for 4096 entries of 12 bits", "VOI LUT used, number 2 of 2"]


def test_a_lut_that_holds_more_than_it_says_is_read_at_its_true_depth() -> None:
    grey, _ = shown(VOILUTSequence=lut([4096, 0, 8], np.arange(4096)))
    assert np.array_equal(grey, np.rint(RAMP * (255 / 4095)))


@pytest.mark.parametrize("packed", [False, True])
def test_a_modality_lut_of_eight_bits_is_applied(packed: bool) -> None:
    grey, remarks = shown(ModalityLUTSequence=lut([4096, 0, 8], CURVE, packed))
    values = CURVE[RAMP]
    assert np.array_equal(grey, np.rint(255 * (values - values.min()) / np.ptp(values))) and remarks == []


def test_rescaling_that_cannot_be_is_ignored() -> None:
    assert shown(RescaleSlope=0, RescaleIntercept=5)[1][0].startswith("rescale slope and intercept ignored")
    grey, _ = shown(RescaleSlope=-1, RescaleIntercept=4030, WindowCenter=1800, WindowWidth=1300)
    assert np.array_equal(grey, shown(4030 - RAMP, WindowCenter=1800, WindowWidth=1300)[0])


def padded(value: int, values: np.ndarray = RAMP) -> tuple[np.ndarray, np.ndarray]:
    frame = np.zeros(values.shape, bool)
    frame[:6] = frame[:, :6] = True
    return np.where(frame, value, values), frame


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("bits", "signed", "value"), [(12, 0, 4095), (16, 0, 65535), (12, 0, 63536), (13, 1, -2000), (16, 1, -32768)])  # fmt: skip
def test_padding_is_black_and_outside_the_range(bits: int, signed: int, value: int, photometric: str) -> None:
    values, frame = padded(value, RAMP + 50 * (1 - signed))
    vr = {"BitsStored": bits, "PixelRepresentation": signed, "PixelPaddingValue": value}
    grey, remarks = shown(values, photometric, **vr)
    film = values[~frame]
    level = (values - film.min()) / np.ptp(film)
    right = np.rint(255 * (level if photometric == "MONOCHROME2" else 1 - level))
    assert np.array_equal(grey, np.where(frame, 0, right)) and remarks == []
    windowed, _ = shown(values, photometric, WindowCenter=1800, WindowWidth=1300, **vr)
    assert (windowed[frame] == 0).all() and np.ptp(windowed[~frame]) == 255


def test_a_range_of_padding_is_left_out_whole() -> None:
    values, frame = padded(4090)
    values[0] = 4080
    grey, _ = shown(values, "MONOCHROME1", PixelPaddingValue=4095, PixelPaddingRangeLimit=4080)
    assert (grey[frame] == 0).all() and grey[~frame].max() == 255 and grey[~frame].min() == 0


def test_padding_everywhere_is_no_padding() -> None:
    assert shown(PixelPaddingValue=0, PixelPaddingRangeLimit=4095)[1] == [
        "Pixel Padding Value ignored: every pixel has it"
    ]


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")])
def test_a_presentation_shape_that_contradicts_is_named_and_not_applied(photometric: str, shape: str) -> None:
    grey, remarks = shown(RAMP, photometric, PresentationLUTShape=shape)
    assert np.array_equal(grey, shown(RAMP, photometric)[0])
    assert remarks == [f"Presentation LUT Shape {shape} contradicts {photometric}, not applied"]
    agreeing = {"MONOCHROME2": "IDENTITY", "MONOCHROME1": "INVERSE"}[photometric]
    assert shown(RAMP, photometric, PresentationLUTShape=agreeing)[1] == []


def test_numbers_of_an_element() -> None:
    header = Dataset()
    assert display.numbers(header, "Rows") == []
    header.WindowCenter = ["1", "2.5"]
    assert display.numbers(header, "WindowCenter") == [1.0, 2.5]
    header.ImageComments = "2,5"
    assert display.numbers(header, "ImageComments") == [2.5] and display.has_comma(header, "ImageComments")
    for words in ("none", "inf", "1,000,5"):
        header.ImageComments = words
        assert display.numbers(header, "ImageComments") is None
