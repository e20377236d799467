"""DICOM films as archives hold them: encodings, missing elements, surplus pictures, shapes of pixels."""

import io
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from samples import dicom_film

from osteo_utils.images import dicom
from osteo_utils.images.decode import decode_bytes
from osteo_utils.images.grey_levels import Unusable

FILM = np.tile(np.arange(63) * 65, (40, 1))
SHOWN = np.rint(FILM * (255 / 4030)).astype(np.uint8)
# SOP Class UID, the first element of a data set without its file meta information.
FIRST = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.1\0"


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian])  # fmt: skip
def test_every_plain_encoding_gives_the_film(syntax: str, signed: int, bits: int) -> None:
    values = FILM * 2**bits // 4096 - signed * 2 ** (bits - 1)
    described = {"BitsStored": bits, "PixelRepresentation": signed}
    grey, mode, remarks = dicom.read(dicom_film(values, syntax=syntax, **described))
    assert np.array_equal(grey, np.rint((values - values.min()) * (255 / np.ptp(values))))
    assert (mode, remarks) == ("MONOCHROME2", [])


def test_eight_bits_and_thirty_two() -> None:
    grey, _, _ = dicom.read(dicom_film(FILM // 16, BitsAllocated=8, BitsStored=8))
    assert np.array_equal(grey, np.rint((FILM // 16) * (255 / (FILM // 16).max())))
    grey, _, _ = dicom.read(dicom_film(FILM * 1000, BitsAllocated=32, BitsStored=24))
    assert np.array_equal(grey, SHOWN)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_without_preamble_and_file_meta_the_encoding_is_guessed_and_said(syntax: str) -> None:
    whole = dicom_film(FILM, syntax=syntax, SOPClassUID="1.2.840.10008.5.1.4.1.1.1")
    meta = 132 + 12 + int.from_bytes(whole[140:144], "little")
    film = decode_bytes(whole[132:], "")
    assert (
        np.array_equal(film.pixels, SHOWN) and film.note == "no extension, content is DICOM; DICOM without its preamble"
    )
    film = decode_bytes(whole[meta:], ".dcm")
    said = f"DICOM without its preamble; DICOM without a transfer syntax, read as {uid.UID(syntax).name}"
    assert np.array_equal(film.pixels, SHOWN) and film.note == said
    assert np.array_equal(decode_bytes(whole[meta:]).pixels, SHOWN)


def test_a_compressed_film_without_file_meta_is_told_by_its_content() -> None:
    frame = bytes(imagecodecs.jpegls_encode(FILM.astype(np.uint16)))
    whole = dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[frame], SOPClassUID="1.2.840.10008.5.1.4.1.1.1")
    film = decode_bytes(whole[132 + 12 + int.from_bytes(whole[140:144], "little") :], ".dcm")
    assert np.array_equal(film.pixels, SHOWN) and film.note.endswith("without a transfer syntax, read as JPEG-LS")


def test_blanks_and_small_letters_do_no_harm() -> None:
    data = dicom_film(FILM).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1 ")
    grey, mode, remarks = dicom.read(data.replace(b"MONOCHROME2 ", b"monochrome2 "))
    assert np.array_equal(grey, SHOWN) and (mode, remarks) == ("MONOCHROME2", [])


def test_a_wrong_label_is_named_and_the_content_read() -> None:
    frame = bytes(imagecodecs.jpeg8_encode(FILM.astype(np.uint16), lossless=True, bitspersample=12))
    grey, _, remarks = dicom.read(dicom_film(FILM, syntax=uid.JPEGBaseline8Bit, frames=[frame]))
    assert np.array_equal(grey, SHOWN)
    assert remarks == ["DICOM labelled as JPEG Baseline (Process 1), read as JPEG Lossless"]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.3.4"])
def test_a_syntax_that_nothing_reads_is_no_damage(syntax: str) -> None:
    with pytest.raises(Unusable, match=r"transfer syntax .*: save it again without compression"):
        decode_bytes(dicom_film(FILM, syntax=syntax, frames=[b"\0\0\1\xb3" + bytes(60)]))


def test_one_film_in_several_fragments_is_one_and_surplus_films_are_named() -> None:
    frame = bytes(imagecodecs.jpegls_encode(FILM.astype(np.uint16)))
    half = len(frame) // 2 & ~1
    pieces = dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[frame[:half], frame[half:]])
    grey, _, remarks = dicom.read(pieces)
    assert np.array_equal(grey, SHOWN) and remarks == []
    grey, _, remarks = dicom.read(dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[frame, frame]))
    assert np.array_equal(grey, SHOWN)
    assert remarks == ["2 compressed pictures where the header says one, the first is used"]
    grey, _, remarks = dicom.read(dicom_film(np.stack([FILM, FILM[::-1]]), Rows=40))
    assert np.array_equal(grey, SHOWN)
    assert remarks == ["pixel data of 2 pictures where the header says one, the first is used"]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"NumberOfFrames": 7}, "7 pictures in one file"),
        ({"Rows": None}, "DICOM with Rows None"),
        ({"Columns": 0}, "DICOM with Columns 0"),
        ({"PhotometricInterpretation": None}, "without Photometric Interpretation"),
        ({"BitsAllocated": None}, "DICOM with BitsAllocated None"),
        ({"BitsStored": 17}, "DICOM pixels of 17 of 16 bits"),
        ({"SamplesPerPixel": 3}, "MONOCHROME2 of 3 samples"),
        ({"SamplesPerPixel": 4}, "MONOCHROME2 of 4 samples"),
        ({"Rows": 60000, "Columns": 60000}, "too many pixels: 60000x60000"),
        ({"PixelData": b""}, "no pixel data"),
        ({"PhotometricInterpretation": "HSV"}, "photometric interpretation HSV"),
    ],
)
def test_what_cannot_be_shown_is_named_and_not_called_damaged(elements: dict, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refused:
        decode_bytes(changed(**elements))
    assert "damaged" not in str(refused.value)


def changed(**elements: object) -> bytes:
    """A sound film with elements changed afterwards; None removes one."""
    header = pydicom.dcmread(io.BytesIO(dicom_film(FILM)))
    for name, value in elements.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    stream = io.BytesIO()
    header.save_as(stream)
    return stream.getvalue()


def test_elements_with_one_sensible_value_are_filled_in_and_said() -> None:
    grey, _, remarks = dicom.read(changed(SamplesPerPixel=None, PixelRepresentation=None, HighBit=None))
    assert np.array_equal(grey, SHOWN)
    assert remarks == ["DICOM without SamplesPerPixel, read as 1", "DICOM without PixelRepresentation, read as 0"]
    assert dicom.read(changed(BitsStored=None))[2] == ["DICOM without BitsStored, read as 16"]


def test_a_picture_of_another_size_than_the_header_says_is_refused() -> None:
    frame = bytes(imagecodecs.jpegls_encode(FILM.astype(np.uint16)[:30]))
    with pytest.raises(Unusable, match="63x30 pixels where the header says 63x40"):
        decode_bytes(dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[frame]))


def test_damaged_files_are_called_damaged() -> None:
    frame = bytes(imagecodecs.jpegls_encode(FILM.astype(np.uint16)))
    for data in (
        dicom_film(FILM)[:-300],
        dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[frame[:-50]]),
        dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[frame])[:-300],
    ):
        with pytest.raises(Unusable, match="damaged or truncated"):
            decode_bytes(data)


def test_a_deflated_file_may_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MOST_INFLATED", 4000)
    with pytest.raises(Unusable, match="more than 4000 bytes when inflated"):
        decode_bytes(dicom_film(FILM, syntax=uid.DeflatedExplicitVRLittleEndian))
    assert len(zlib.compress(dicom_film(FILM))) < 4000


def test_high_bits_hold_an_overlay_or_are_named() -> None:
    overlay = FILM | (np.arange(40)[:, None] % 2 << 15)
    grey, _, remarks = dicom.read(dicom_film(overlay, BitsStored=12))
    assert np.array_equal(grey, SHOWN) and remarks == ["bits above Bits Stored 12 are in use and not read"]
    header = pydicom.dcmread(io.BytesIO(dicom_film(overlay)))
    header.add_new(0x60000102, "US", 15)
    stream = io.BytesIO()
    header.save_as(stream)
    assert dicom.read(stream.getvalue())[2] == []
    shifted, _, remarks = dicom.read(dicom_film(FILM << 4, HighBit=15))
    assert np.array_equal(shifted, SHOWN)
    assert remarks == ["High Bit 15 above Bits Stored 12: the upper bits are read"]
    assert dicom.read(dicom_film(FILM, HighBit=15))[2] == []


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("mode", ["RGB", "YBR_FULL"])
def test_colour_of_either_plane_order_becomes_luminance(mode: str, planar: int) -> None:
    colours = np.dstack([FILM // 16, FILM[:, ::-1] // 16, FILM // 32]).astype(np.uint8)
    right = np.asarray(Image.fromarray(colours).convert("L")).astype(int)
    stored = np.asarray(Image.fromarray(colours).convert("YCbCr")) if mode == "YBR_FULL" else colours
    values = np.moveaxis(stored, -1, 0) if planar else stored
    described = {"BitsAllocated": 8, "BitsStored": 8, "PlanarConfiguration": planar, "Rows": 40, "Columns": 63}
    grey, _, _ = dicom.read(dicom_film(values, mode, **described))
    assert np.abs(grey - right).max() <= (2 if mode == "YBR_FULL" else 0)


def test_grey_in_sixteen_bit_colour_is_the_grey_film() -> None:
    grey, _, _ = dicom.read(dicom_film(np.dstack([FILM] * 3), "RGB", PlanarConfiguration=0))
    assert np.array_equal(grey, np.rint(FILM * (255 / 4095)))


def palette(red: np.ndarray, green: np.ndarray, bits: int = 16) -> bytes:
    elements = {}
    for name, curve in (("Red", red), ("Green", green), ("Blue", red)):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"{name}PaletteColorLookupTableData"] = curve.astype("<u2" if bits > 8 else "u1").tobytes()
    return dicom_film(FILM // 16, "PALETTE COLOR", BitsAllocated=8, BitsStored=8, **elements)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_palette_is_read_and_a_coloured_one_refused(bits: int) -> None:
    curve = np.rint((2**bits - 1) * (np.arange(256) / 255) ** 0.5)
    grey, mode, _ = dicom.read(palette(curve, curve, bits))
    assert np.array_equal(grey, np.rint(255 * curve[FILM // 16] / (2**bits - 1))) and mode == "PALETTE COLOR"
    with pytest.raises(Unusable, match="PALETTE COLOR in colours"):
        dicom.read(palette(curve, curve[::-1], bits))


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PixelSpacing": [0.1, 0.2]}, (40, 126)),
        ({"PixelSpacing": [0.2, 0.1]}, (80, 63)),
        ({"ImagerPixelSpacing": [0.1, 0.15]}, (40, 94)),
        ({"PixelAspectRatio": [1, 2]}, (40, 126)),
        ({"PixelSpacing": [0.14, 0.14], "PixelAspectRatio": [1, 2]}, (40, 63)),
    ],
)
def test_pixels_become_square(elements: dict, shape: tuple[int, int]) -> None:
    grey, _, remarks = dicom.read(dicom_film(FILM, **elements))
    assert grey.shape == shape
    assert [remark.endswith("resampled to square pixels") for remark in remarks] == [True] * (shape != (40, 63))
    # A ramp stays a ramp.
    right = np.asarray(Image.fromarray(SHOWN).resize(shape[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(grey - right)[:, 2:-2].max() <= 1


@pytest.mark.parametrize("spacing", [[0, 0.1], [-1, 1], [0.01, 1]])
def test_spacing_that_cannot_be_is_ignored(spacing: list[float]) -> None:
    grey, _, remarks = dicom.read(dicom_film(FILM, PixelSpacing=spacing))
    assert np.array_equal(grey, SHOWN) and "PixelSpacing" in remarks[0] and "ignored" in remarks[0]


def test_what_looks_like_dicom() -> None:
    assert dicom.looks_like(dicom_film(FILM)) and dicom.looks_like(FIRST + bytes(60))
    for start in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"II*\0",
        b"Dear colleague",
        b"\0\0\1\0\1\0",
        b"P5 3 3 255\n",
    ):
        assert not dicom.looks_like(start + bytes(200))
