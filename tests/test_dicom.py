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

from osteo_utils.images import dicom, dicom_file
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


def encapsulated(*items: bytes) -> bytes:
    """A film whose pixel data are exactly these items, the table of offsets first."""
    whole = dicom_film(FILM, syntax=uid.JPEGLSLossless, frames=[b"XXXX"])
    written = b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in items)
    return whole[: whole.rindex(b"\xff\xff\xff\xff") + 4] + written + b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize("kind", ["jpegls", "jpeg"])
def test_fragments_of_every_shape_are_the_picture(kind: str) -> None:
    small = (FILM // 16).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "JPEG", quality=100)
    frame = bytes(imagecodecs.jpegls_encode(FILM.astype(np.uint16))) if kind == "jpegls" else stream.getvalue()
    right = dicom.read(encapsulated(b"", frame))[0]
    if kind == "jpegls":
        assert np.array_equal(right, SHOWN)
    odd = len(frame) // 2 | 1
    forms = {
        "offset beyond the file": (b"\xff\xff\0\0", frame),
        "offsets of an odd length": (b"\0\0\0", frame),
        "no table of offsets": (frame,),
        "an empty fragment": (b"", b"", frame),
        "fragments of an odd length": (b"", frame[:odd], frame[odd:]),
    }
    for name, items in forms.items():
        grey, _, remarks = dicom.read(encapsulated(*items))
        assert np.array_equal(grey, right) and not [remark for remark in remarks if "labelled" not in remark], name


def test_a_compressed_picture_that_stands_without_items_is_read() -> None:
    frame = bytes(imagecodecs.jpegls_encode(FILM.astype(np.uint16)))
    data = encapsulated(b"")
    start = data.rindex(b"\xff\xff\xff\xff")
    grey, _, remarks = dicom.read(data[:start] + len(frame).to_bytes(4, "little") + frame)
    assert np.array_equal(grey, SHOWN) and remarks == []


def test_an_enhanced_film_is_shown_as_its_functional_groups_say() -> None:
    window, spacing, values = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    window.WindowCenter, window.WindowWidth = 1000, 500
    spacing.PixelSpacing = [0.2, 0.1]
    values.RescaleSlope, values.RescaleIntercept = 2, 0
    shared, frame = pydicom.Dataset(), pydicom.Dataset()
    shared.FrameVOILUTSequence, shared.PixelMeasuresSequence = [window], [spacing]
    frame.PixelValueTransformationSequence = [values]
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": [frame]}
    plain = {
        "WindowCenter": 1000,
        "WindowWidth": 500,
        "PixelSpacing": [0.2, 0.1],
        "RescaleSlope": 2,
        "RescaleIntercept": 0,
    }
    (grey, _, said), (right, _, remarks) = (dicom.read(dicom_film(FILM, **some)) for some in (groups, plain))
    assert np.array_equal(grey, right) and grey.shape == (80, 63) and said == remarks
    # What the film says outside the groups comes first.
    grey, _, _ = dicom.read(dicom_film(FILM, **groups, RescaleSlope=1))
    assert np.array_equal(grey, dicom.read(dicom_film(FILM, **{**plain, "RescaleSlope": 1}))[0])


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        (uid.MediaStorageDirectoryStorage, "Media Storage Directory Storage"),
        (uid.BasicTextSRStorage, "Basic Text SR Storage"),
        (uid.EncapsulatedPDFStorage, "Encapsulated PDF Storage"),
    ],
)
def test_an_object_without_a_picture_is_named(sop_class: str, name: str) -> None:
    header = pydicom.dcmread(io.BytesIO(changed(PixelData=b"")))
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = sop_class
    stream = io.BytesIO()
    header.save_as(stream)
    with pytest.raises(Unusable, match=f"^DICOM without a picture, but {name}: no pixel data$"):
        decode_bytes(stream.getvalue())
    for other in (b"\0", b"Dear colleague, " * 20, b"\0" * 128 + b"DICM"):
        with pytest.raises(Unusable, match=r"^not DICOM, though it is named or marked so$"):
            decode_bytes(other, ".dcm")


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
        ({"Rows": [40, 40]}, r"DICOM with Rows \[40, 40\]"),
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
    monkeypatch.setattr(dicom_file, "MOST_INFLATED", 4000)
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
    # A bit that no pixel has says nothing.
    assert dicom.read(dicom_film(FILM | 0x8000, HighBit=20))[2] == ["bits above Bits Stored 12 are in use and not read"]


def test_pixel_data_longer_than_the_header_says_get_a_remark() -> None:
    plain = changed()
    for longer, remarks in ((0, []), (10, ["pixel data 10 bytes longer than the header says"])):
        data = pydicom.dcmread(io.BytesIO(plain)).PixelData + bytes(longer)
        grey, _, said = dicom.read(changed(PixelData=data))
        assert np.array_equal(grey, SHOWN) and said == remarks


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


COLOURS = np.dstack([FILM // 16, FILM[:, ::-1] // 16, FILM // 32]).astype(np.uint8)
EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "PlanarConfiguration": 0, "Rows": 40, "Columns": 63}


@pytest.mark.parametrize("mode", ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT"])
def test_a_colour_jpeg_is_its_luminance_however_the_header_calls_it(mode: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "JPEG", quality=100, subsampling=0)
    grey, told, _ = dicom.read(dicom_film(COLOURS, mode, uid.JPEGBaseline8Bit, [stream.getvalue()], **EIGHT))
    right = np.asarray(Image.fromarray(COLOURS).convert("L")).astype(int)
    assert np.abs(grey - right).max() <= 2 and told == mode


@pytest.mark.parametrize("mode", ["HSV", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_422"])
def test_colours_that_would_be_read_as_others_are_refused(mode: str) -> None:
    elements = {**EIGHT, "SamplesPerPixel": 3}
    with pytest.raises(Unusable, match=f"photometric interpretation {mode}: expected RGB, YBR_FULL, YBR_FULL_422"):
        decode_bytes(dicom_film(COLOURS, mode, **elements))


def test_half_the_colours_that_the_header_expects_or_all_of_them() -> None:
    grey_only = np.dstack([FILM // 16, np.full((40, 63), 128), np.full((40, 63), 128)])[:, :62]
    grey, _, remarks = dicom.read(dicom_film(grey_only, "YBR_FULL_422", **{**EIGHT, "Columns": 62}))
    assert np.abs(grey - (FILM // 16)[:, :62]).max() <= 1
    assert remarks == ["YBR_FULL_422 with the colours of every pixel, read as YBR_FULL"]


@pytest.mark.parametrize("said", [1, 3])
def test_another_number_of_samples_than_the_header_says_is_refused(said: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(COLOURS if said == 1 else COLOURS[..., 0]).save(stream, "JPEG")
    mode = "MONOCHROME2" if said == 1 else "RGB"
    values = COLOURS if said == 3 else COLOURS[..., 0]
    with pytest.raises(Unusable, match=f"{4 - said} samples per pixel where the header says {said}"):
        decode_bytes(dicom_film(values, mode, uid.JPEGBaseline8Bit, [stream.getvalue()], **EIGHT))


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
    assert dicom_file.looks_like(dicom_film(FILM)) and dicom_file.looks_like(FIRST + bytes(60))
    for start in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"II*\0",
        b"Dear colleague",
        b"\0\0\1\0\1\0",
        b"P5 3 3 255\n",
    ):
        assert not dicom_file.looks_like(start + bytes(200))
