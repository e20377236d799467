"""Compressed films: every lossless kind gives the stored values back, as a second, unrelated decoder does."""

import io
from functools import partial

import imagecodecs
import libjpeg
import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from samples import dicom_film

from osteo_utils.images import codestreams, dicom, dicom_file
from osteo_utils.images.grey_levels import Unusable


def film(bits: int, signed: bool = False) -> np.ndarray:
    """A smooth picture with noise and both ends of the range, as stored values."""
    rows, columns = np.mgrid[:96, :80]
    wave = 0.5 + 0.4 * np.sin(rows / 15) * np.cos(columns / 20)
    noise = np.random.default_rng(bits).normal(0, 0.02, wave.shape)
    values = np.rint(np.clip(wave + noise, 0, 1) * (2**bits - 1)).astype(np.int64)
    values[0, :2] = 0, 2**bits - 1
    return values - 2 ** (bits - 1) if signed else values


def unsigned(values: np.ndarray, bits: int) -> np.ndarray:
    return (values & (2**bits - 1)).astype(np.uint16)


def jpeg_2000_by_pillow(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    return np.asarray(picture) >> (16 - codestreams.describe(data).precision)


LOSSLESS = {
    **{
        f"JPEG Lossless, predictor {number}": (
            uid.JPEGLosslessSV1 if number == 1 else uid.JPEGLossless,
            lambda cells, bits, number=number: imagecodecs.jpeg8_encode(cells, lossless=True, bitspersample=bits, predictor=number),
            libjpeg.decode,
        )
        for number in range(1, 8)
    },
    "JPEG-LS": (uid.JPEGLSLossless, lambda cells, bits: imagecodecs.jpegls_encode(cells), libjpeg.decode),
    "JPEG 2000": (
        uid.JPEG2000Lossless,
        lambda cells, bits: imagecodecs.jpeg2k_encode(cells, 0, reversible=True, bitspersample=bits, codecformat="J2K"),
        jpeg_2000_by_pillow,
    ),
}  # fmt: skip


def stored(data: bytes) -> np.ndarray:
    """Stored values of a DICOM film, before anything is done for the display."""
    header, remarks = dicom_file.opened(data)
    dicom._complete(header, remarks)
    return dicom.stored_values(header, dicom._cells(header, remarks)[0], remarks)[1]


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_two_decoders_give_every_pixel_back(kind: str, bits: int, signed: bool) -> None:
    syntax, encode, second = LOSSLESS[kind]
    values = film(bits, signed)
    packed = bytes(encode(unsigned(values, bits), bits))
    assert np.count_nonzero(second(packed) != unsigned(values, bits)) == 0
    described = {"BitsStored": bits, "PixelRepresentation": int(signed)}
    compressed = dicom_film(values, syntax=syntax, frames=[packed], **described)
    assert np.count_nonzero(stored(compressed) != values) == 0
    assert np.array_equal(dicom.read(compressed)[0], dicom.read(dicom_film(values, **described))[0])


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [12, 16])
def test_run_length_coding_gives_every_pixel_back(bits: int, signed: bool) -> None:
    values = film(bits, signed)
    cells = unsigned(values, bits)
    planes = [plane.astype(np.uint8).tobytes() for plane in (cells >> 8, cells & 255)]
    rows = [[plane[start : start + 80] for start in range(0, len(plane), 80)] for plane in planes]
    segments = [b"".join(imagecodecs.packbits_encode(row) for row in plane) for plane in rows]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    header = np.zeros(16, "<u4")
    header[:3] = 2, 64, 64 + len(segments[0])
    described = {"BitsStored": bits, "PixelRepresentation": int(signed)}
    packed = dicom_film(values, syntax=uid.RLELossless, frames=[header.tobytes() + b"".join(segments)], **described)
    assert np.count_nonzero(stored(packed) != values) == 0


@pytest.mark.parametrize("kind", ["JPEG Lossless, predictor 1", "JPEG 2000"])
def test_the_sign_stands_in_the_highest_bit_of_the_stream(kind: str) -> None:
    values = film(12, signed=True)
    syntax, encode, _ = LOSSLESS[kind]
    packed = bytes(encode(unsigned(values, 12), 12))
    data = dicom_film(values, syntax=syntax, frames=[packed], BitsStored=16, PixelRepresentation=1)
    assert np.count_nonzero(stored(data) != values) == 0


KEPT = "the compressed picture has negative values, its header none: they are kept"


@pytest.mark.parametrize(
    ("header", "remarks"), [({"PixelRepresentation": 1}, []), ({"BitsStored": 16}, [KEPT])], ids=["signed", "unsigned"]
)
def test_negative_values_of_a_stream_are_kept_whatever_the_header_says(header: dict, remarks: list[str]) -> None:
    values = film(12, signed=True)
    packed = imagecodecs.jpeg2k_encode(values.astype(np.int16), 0, reversible=True, bitspersample=12, codecformat="J2K")
    data = dicom_film(values, syntax=uid.JPEG2000Lossless, frames=[bytes(packed)], **header)
    assert np.count_nonzero(stored(data) != values) == 0
    assert dicom.read(data)[2] == remarks


def test_high_throughput_jpeg_2000_is_read() -> None:
    values = film(16)
    packed = bytes(imagecodecs.htj2k_encode(values.astype(np.uint16), reversible=True))
    data = dicom_film(values, syntax=uid.HTJ2KLossless, frames=[packed], BitsStored=16)
    assert np.count_nonzero(stored(data) != values) == 0


@pytest.mark.parametrize("loss", [1, 3])
def test_near_lossless_keeps_its_promise_and_both_decoders_agree(loss: int) -> None:
    cells = film(12).astype(np.uint16)
    packed = bytes(imagecodecs.jpegls_encode(cells, level=loss))
    values = stored(dicom_film(cells, syntax=uid.JPEGLSNearLossless, frames=[packed]))
    assert 0 < np.abs(values - cells.astype(int)).max() <= loss
    assert np.array_equal(values, libjpeg.decode(packed))


def test_twelve_bit_extended_jpeg_is_close_and_both_decoders_agree_within_rounding() -> None:
    cells = film(12).astype(np.uint16)
    packed = bytes(imagecodecs.jpeg8_encode(cells, level=98, bitspersample=12))
    values = stored(dicom_film(cells, syntax=uid.JPEGExtended12Bit, frames=[packed]))
    assert np.abs(values - cells.astype(int)).max() <= 12
    assert np.abs(values - libjpeg.decode(packed).astype(int)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG Lossless, predictor 1", "JPEG-LS", "JPEG 2000"])
def test_colour_in_lossless_kinds_is_not_converted(kind: str) -> None:
    colours = np.dstack([film(8), film(8)[::-1], film(8)[:, ::-1]]).astype(np.uint8)
    encode = {
        "JPEG Lossless, predictor 1": partial(imagecodecs.jpeg8_encode, lossless=True, colorspace="RGB", outcolorspace="RGB"),
        "JPEG-LS": imagecodecs.jpegls_encode,
        "JPEG 2000": partial(imagecodecs.jpeg2k_encode, level=0, reversible=True, codecformat="J2K"),
    }[kind]  # fmt: skip
    packed = bytes(encode(colours))
    assert np.array_equal(codestreams.decode(packed, codestreams.describe(packed)), colours)


def test_what_a_stream_says_of_itself() -> None:
    cells = film(12).astype(np.uint16)
    for kind, (_, encode, _) in LOSSLESS.items():
        described = codestreams.describe(bytes(encode(cells, 12)))
        assert (described.kind, described.height, described.width) == (kind.split(",")[0], 96, 80)
        assert described.channels == 1 and described.precision in (12, 16)
    assert codestreams.describe(b"RIFF....WEBP") is None


def test_a_stream_without_its_end_is_damaged_and_a_huge_one_is_refused_before_it_is_read() -> None:
    packed = bytes(imagecodecs.jpegls_encode(film(12).astype(np.uint16)))
    with pytest.raises(ValueError, match="no end"):
        codestreams.decode(packed[:-40], codestreams.describe(packed))
    with pytest.raises(Unusable, match="too many pixels"):
        codestreams.decode(packed, codestreams.Stream(codestreams.JPEG_LS, 12, 60_000, 60_000, 1))
    with pytest.raises(Unusable, match="500 channels"):
        codestreams.decode(packed, codestreams.Stream(codestreams.JPEG_2000, 12, 90, 90, 500))


def test_a_jpeg_of_a_kind_that_nothing_reads_is_named() -> None:
    packed = bytearray(imagecodecs.jpeg8_encode(film(8).astype(np.uint8), level=90))
    packed[packed.find(b"\xff\xc0") + 1] = 0xC5
    with pytest.raises(Unusable, match="hierarchical JPEG"):
        codestreams.describe(bytes(packed))
    with pytest.raises(ValueError, match="frame header"):
        codestreams.describe(bytes(packed[:30]))
