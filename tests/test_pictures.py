"""Picture files at full depth: colour, transparency, negatives, floats, pages, and a JPEG without its end."""

import io
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, features

from osteo_utils.images.decode import decode_bytes
from osteo_utils.images.grey_levels import Unusable, eight_bits

# 48 x 70 pixels of 12 bits with many levels; the corner shows every turn.
GREY = (np.add.outer(np.arange(48) * 13, np.arange(70) * 47)).astype(np.uint16)
GREY[:8, :8] = 4095
SHOWN = eight_bits(GREY)
EIGHT = (GREY >> 4).astype(np.uint8)


def tiff(values: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    order = options.pop("byteorder", "<")
    with tifffile.TiffWriter(stream, byteorder=order, bigtiff=options.pop("bigtiff", False)) as writer:
        writer.write(values, metadata=None, **options)
    return stream.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(values: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(values))


OPAQUE = np.full_like(GREY, 65535)
COLOUR = np.dstack([GREY] * 3)
SIXTEEN = {
    "colour PNG": png(COLOUR),
    "grey PNG with alpha": png(np.dstack([GREY, OPAQUE])),
    "colour PNG with alpha": png(np.dstack([COLOUR, OPAQUE])),
    "colour TIFF": tiff(COLOUR, photometric="rgb"),
    "big-endian colour TIFF": tiff(COLOUR, photometric="rgb", byteorder=">"),
    "TIFF of planes": tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"),
    "grey TIFF with alpha": tiff(np.dstack([GREY, OPAQUE]), photometric="minisblack", extrasamples=["unassalpha"]),
    "LZW TIFF": tiff(COLOUR, photometric="rgb", compression="lzw", predictor=True),
    "Deflate TIFF": tiff(GREY, photometric="minisblack", compression="zlib", predictor=True),
    "BigTIFF": tiff(GREY, photometric="minisblack", bigtiff=True),
    "colour PPM": b"P6\n# a film\n70 48\n65535\n" + COLOUR.astype(">u2").tobytes(),
    "grey PGM": b"P5 70 48 65535\n" + GREY.astype(">u2").tobytes(),
    "JPEG 2000": bytes(imagecodecs.jpeg2k_encode(GREY, 0, reversible=True, bitspersample=12, codecformat="JP2")),
    "JPEG 2000 codestream": bytes(imagecodecs.jpeg2k_encode(GREY, 0, reversible=True, codecformat="J2K")),
    "lossless JPEG": bytes(imagecodecs.jpeg8_encode(GREY, lossless=True, bitspersample=12)),
    "JPEG-LS": bytes(imagecodecs.jpegls_encode(GREY)),
}


@pytest.mark.parametrize("form", SIXTEEN)
def test_sixteen_bits_give_the_grey_film(form: str) -> None:
    film = decode_bytes(SIXTEEN[form])
    assert np.array_equal(film.pixels, SHOWN)
    assert film.note.startswith("no extension") and ";" not in film.note


def test_only_alpha_that_is_said_to_be_is_seen_before_black() -> None:
    half = np.full_like(GREY, 32768)
    for kind, share in (("unassalpha", 32768 / 65535), ("assocalpha", 1), ("unspecified", 1)):
        for grey, base in ((GREY, "minisblack"), (GREY, "miniswhite"), (COLOUR, "rgb")):
            values = np.dstack([4095 - grey if base == "miniswhite" else grey, half])
            film = decode_bytes(tiff(values, photometric=base, extrasamples=[kind]), ".tif")
            assert np.array_equal(film.pixels, eight_bits(np.rint(GREY * share).astype(np.uint16))), (kind, base)
    film = decode_bytes(png(np.dstack([GREY, np.where(GREY > 2000, OPAQUE, 0)])), ".png")
    assert np.array_equal(film.pixels, eight_bits(np.where(GREY > 2000, GREY, 0)))
    floats = np.dstack([GREY / 4095, np.full(GREY.shape, 0.5)]).astype(np.float32)
    film = decode_bytes(tiff(floats, photometric="minisblack", extrasamples=["unassalpha"]), ".tif")
    assert np.abs(film.pixels - SHOWN / 2.0).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "f4", "f8", "u2 full"])
def test_white_is_zero_gives_the_positive(kind: str, order: str) -> None:
    dtype = np.dtype(kind[:2])
    values = {"u1": EIGHT, "f4": GREY / 4095, "f8": GREY / 4095, "u4": GREY * np.uint32(1000)}.get(kind, GREY)
    white = {"u1": 255, "u2": 4095, "u2 full": 65535, "u4": 2**32 - 1, "f4": 1, "f8": 1}[kind]
    negative = (white - values.astype(np.float64)).astype(dtype)
    film = decode_bytes(tiff(negative, photometric="miniswhite", byteorder=order), ".tif")
    right = decode_bytes(tiff(values.astype(dtype), photometric="minisblack", byteorder=order), ".tif")
    assert np.abs(film.pixels.astype(int) - right.pixels).max() <= (1 if kind in ("u4", "f4") else 0)
    assert film.note == right.note == ""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_floats_of_either_width_and_byte_order(kind: str, order: str) -> None:
    film = decode_bytes(tiff((GREY / 4095).astype(kind), photometric="minisblack", byteorder=order), ".tif")
    assert np.abs(film.pixels.astype(int) - SHOWN).max() <= 1
    wide = decode_bytes(tiff((GREY * 3.0 - 500).astype(kind), photometric="minisblack", byteorder=order), ".tif")
    assert np.array_equal(wide.pixels, np.rint((GREY - GREY.min()) * (255 / np.ptp(GREY))))
    with pytest.raises(Unusable, match="not numbers"):
        decode_bytes(tiff(np.where(GREY > 400, GREY, np.inf).astype(kind), photometric="minisblack"))


@pytest.mark.parametrize("kind", ["i1", "i2", "i4"])
def test_signed_values_keep_their_order(kind: str) -> None:
    values = (GREY >> 4).astype(int) - 128 if kind == "i1" else GREY.astype(int) - 2000
    film = decode_bytes(tiff(values.astype(kind), photometric="minisblack"), ".tif")
    assert np.array_equal(film.pixels, np.rint((values - values.min()) * (255 / np.ptp(values))))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("values", [GREY, EIGHT], ids=["16 bits", "8 bits"])
def test_orientation_of_a_tiff_is_applied_at_every_depth(values: np.ndarray, turn: int) -> None:
    film = decode_bytes(tiff(values, photometric="minisblack", extratags=[(274, "H", 1, turn, True)]), ".tif")
    # TIFF 6.0: where row 0 and column 0 of the file lie in the picture.
    turned = {
        1: SHOWN, 2: SHOWN[:, ::-1], 3: SHOWN[::-1, ::-1], 4: SHOWN[::-1], 5: SHOWN.T, 6: np.rot90(SHOWN, -1),
        7: SHOWN[::-1, ::-1].T, 8: np.rot90(SHOWN),
    }[turn]  # fmt: skip
    assert film.pixels.shape == turned.shape and np.abs(film.pixels.astype(int) - turned).max() <= 1


def marked(values: np.ndarray, kind: str, turn: int) -> bytes:
    """A picture of 12 or 16 bits whose EXIF data say how it lies."""
    exif = Image.Exif()
    exif[274] = turn
    told = exif.tobytes()
    if kind == "lossless JPEG":
        data, segment = SIXTEEN[kind], b"Exif\0\0" + told.removeprefix(b"Exif\0\0")
        return data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    told = told.removeprefix(b"Exif\0\0")
    chunk = len(told).to_bytes(4, "big") + b"eXIf" + told + zlib.crc32(b"eXIf" + told).to_bytes(4, "big")
    data = png(values)
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("kind", ["grey PNG", "colour PNG", "lossless JPEG"])
def test_the_orientation_of_a_deep_picture_is_applied(kind: str) -> None:
    values = GREY if kind == "grey PNG" else COLOUR
    for turn, right in ((1, SHOWN), (3, SHOWN[::-1, ::-1]), (6, np.rot90(SHOWN, -1))):
        assert np.array_equal(decode_bytes(marked(values, kind, turn)).pixels, right)


def pages(*values: np.ndarray, reduced: tuple[int, ...] = ()) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for number, page in enumerate(values):
            writer.write(page, metadata=None, photometric="minisblack", subfiletype=int(number in reduced))
    return stream.getvalue()


@pytest.mark.parametrize("depth", [8, 16])
def test_a_thumbnail_page_is_no_second_film(depth: int) -> None:
    film = GREY if depth == 16 else EIGHT
    small = film[::4, ::4]
    for data in (pages(film, small), pages(small, film), pages(film, film[::2, ::2], small, reduced=(1, 2))):
        read = decode_bytes(data, ".tif")
        assert np.abs(read.pixels.astype(int) - SHOWN).max() <= 1
        assert "the largest is the film, the others are thumbnails" in read.note


def test_several_full_pages_are_refused() -> None:
    for second in (EIGHT, EIGHT[:40, :60]):
        with pytest.raises(Unusable, match="2 pictures in one file: expected one"):
            decode_bytes(pages(EIGHT, second))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.dstack([COLOUR, OPAQUE]), photometric="separated"), "16-bit TIFF in SEPARATED of 4 samples"),
        (tiff(GREY, photometric="minisblack", compression="jpeg2000"), "16-bit TIFF compressed by"),
        (
            tiff(EIGHT, photometric="minisblack", compression="jpeg2000"),
            "8-bit TIFF with compression JPEG2000: no decoder",
        ),
        (tiff(np.stack([EIGHT] * 3), photometric="minisblack", volumetric=True), "3 pictures in one file"),
        (tiff(GREY.astype(np.complex64), photometric="minisblack"), "TIFF of complex numbers"),
        (tiff(EIGHT, photometric="minisblack", compression="packbits", predictor=True), "PackBits and a predictor"),
        (tiff(GREY, photometric="minisblack", compression="packbits", predictor=True), "PackBits and a predictor"),
        (b"P6 70 48 65535\n" + bytes(200), "damaged or truncated"),
        (SIXTEEN["colour TIFF"][:-2000], "damaged or truncated"),
        (SIXTEEN["colour PNG"][:-200], "damaged or truncated"),
        (SIXTEEN["JPEG-LS"][:-200], "damaged or truncated"),
        (b"P6 60000 60000 65535\n" + bytes(200), "too many pixels: 60000x60000"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        decode_bytes(data)


@pytest.mark.parametrize("suffix", [".png", ".dcm"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x1f\x8b\x08\0", "a file packed by gzip; unpack it"),
        (b"PK\x03\x04", "a zip archive or an Office document; unpack it"),
        (b"%PDF-1.7\n", "a PDF; save its picture as PNG"),
        (b"\xef\xbb\xbf\n <!DOCTYPE HTML><title>404</title>", "a web page; download the film itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\0\0\0\x18ftypheic", "HEIC; save it as PNG or JPEG"),
        (bytes(imagecodecs.jpegxl_encode(EIGHT)), "JPEG XL; save it as PNG"),
    ],
)
def test_what_often_lies_among_films_is_named_with_what_to_do(data: bytes, reason: str, suffix: str) -> None:
    with pytest.raises(Unusable, match=f"^not an image: {reason}"):
        decode_bytes(data + bytes(200), suffix)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_short_of_its_last_bytes_is_used_with_a_remark(progressive: bool) -> None:
    large = Image.fromarray(EIGHT).resize((280, 192))
    whole = saved(large, "JPEG", quality=92, progressive=progressive)
    for lost in (1, 2):
        film = decode_bytes(whole[:-lost], ".jpg")
        assert np.array_equal(film.pixels, decode_bytes(whole, ".jpg").pixels)
        assert film.note == "JPEG without its last bytes, used as far as it goes"
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(Unusable, match="truncated"):
            decode_bytes(whole[: int(share * len(whole))], ".jpg")


def test_a_jpeg_with_surplus_bytes_before_a_marker_is_left_to_pillow() -> None:
    whole = saved(Image.fromarray(EIGHT), "JPEG", quality=92)
    place = whole.find(b"\xff\xdb")
    film = decode_bytes(whole[:place] + b"\0\0\0" + whole[place:], ".jpg")
    assert np.array_equal(film.pixels, decode_bytes(whole, ".jpg").pixels) and film.note == ""


def test_eight_bit_forms_that_pillow_reads() -> None:
    image = Image.fromarray(EIGHT)
    assert np.array_equal(decode_bytes(saved(image, "PPM"), ".pgm").pixels, EIGHT)
    film = decode_bytes(saved(image, "JPEG2000", irreversible=False), ".jp2")
    assert np.array_equal(film.pixels, EIGHT) and (film.format, film.note) == ("JPEG2000", "")
    if features.check("avif"):
        film = decode_bytes(saved(image, "AVIF", quality=95), ".avif")
        assert np.abs(film.pixels.astype(int) - EIGHT)[10:, 10:].max() <= 6 and film.note == ""


@pytest.mark.parametrize("levels", [2, 4, 16, 31])
def test_few_grey_levels_never_pass_without_a_remark(levels: int) -> None:
    steps = np.rint(np.linspace(0, 255, levels)).astype(np.uint8)
    few = steps[np.arange(48 * 70).reshape(48, 70) % levels]
    assert decode_bytes(saved(Image.fromarray(few), "PNG"), ".png").note == f"only {levels} grey levels"
    assert (
        decode_bytes(tiff(few.astype(np.uint16), photometric="minisblack"), ".tif").note == f"only {levels} grey levels"
    )
