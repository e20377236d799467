"""Picture files other than DICOM into grey levels: Pillow for 8 bits, other decoders where Pillow loses depth."""

from __future__ import annotations

import io
import re
import struct

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from osteo_utils.images import codestreams
from osteo_utils.images.grey_levels import (
    MAX_PIXELS,
    Unusable,
    eight_bits,
    inverted,
    one_channel,
    over_black,
    refuse_huge,
)

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "AVIF")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
START_OF_SCAN = b"\xff\xda"
# Compressions of deep TIFF files that are read: none, LZW, Deflate (two numbers), PackBits, LZMA, Zstandard.
TIFF_COMPRESSIONS = (1, 5, 8, 32946, 32773, 34925, 50000)
COMPLEX = (5, 6)
UNASSOCIATED_ALPHA = 2
ORIENTATION, PREDICTOR, IMAGE_DEPTH = 274, 317, 32997
# Without a word of the standard, some programs store differences in it and others show these as grey levels.
PACKBITS = 32773
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
# Other files that lie among films: how they begin, what they are and what to do.
OTHERS = {
    b"\x1f\x8b": "a file packed by gzip; unpack it",
    b"PK\x03\x04": "a zip archive or an Office document; unpack it, or save its picture as PNG",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"%PDF": "a PDF; save its picture as PNG",
    b"<!doctype html": "a web page; download the film itself",
    b"<html": "a web page; download the film itself",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the film with `git lfs pull`",
    b"\xff\x0a": "JPEG XL; save it as PNG",
    b"\0\0\0\x0cJXL ": "JPEG XL; save it as PNG",
    b"\x93NUMPY": "an array of NumPy; save it as PNG",
}
HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")
# A JPEG that lost its end is used if at most this share of its rows is affected.
MOST_LOST = 0.02


def read(data: bytes) -> tuple[np.ndarray, str, str, list[str]]:
    """Grey levels (uint8, height and width), mode, format and remarks of a picture file.

    Transparency is composited over black, colour becomes luminance, the orientation that the file states is applied.
    Raises Unusable for what is no single picture, any other error where the file is damaged.
    """
    remarks: list[str] = []
    if data.startswith(TIFF_STARTS) and not _is_plain_tiff(data):
        return *_tiff(data, remarks), "TIFF", remarks
    if (deep := _deep(data)) is not None:
        return *deep, remarks
    image = _opened(data)
    mode, kind = image.mode, image.format
    # A phone's MPO file is a JPEG with a preview; in any other format a second frame is a second image.
    if kind != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise Unusable(f"{frames} pictures in one file: expected one")
    if kind == "JPEG" and data.find(START_OF_SCAN, max(data.rfind(codestreams.EOI), 0)) >= 0:
        image = _without_its_end(data)
        remarks.append("JPEG without its last bytes, used as far as it goes")
    image.load()
    return _grey(image), mode, kind, remarks


def other_content(data: bytes) -> str:
    """What a file is that is no film but often lies among films, and what to do about it; empty for all others."""
    if data[4:12] in HEIC:
        return "HEIC; save it as PNG or JPEG"
    start = data[:100].removeprefix(b"\xef\xbb\xbf").lstrip()
    for written in (data, start.lower()):
        if found := next((words for magic, words in OTHERS.items() if written.startswith(magic)), ""):
            return found
    return ""


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        expected = "expected JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000, PGM, AVIF or DICOM"
        raise Unusable(f"not an image: {other_content(data) or expected}") from None
    except Image.DecompressionBombError:
        raise Unusable(f"too many pixels: expected at most {MAX_PIXELS}") from None
    refuse_huge(image.width, image.height)
    return image


def _grey(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return eight_bits(np.asarray(image))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, (0, 0, 0, 255)), colours)
    if image.mode not in ("L", "1", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _without_its_end(data: bytes) -> Image.Image:
    """A JPEG that was cut near its end; raises OSError where more than a few rows are lost.

    The decoder fills what is missing, so the rows that depend on the filling are those that are lost.
    """
    data = data.rstrip(b"\xff")
    pictures = []
    for filling in (b"", b"\x55" * 64, b"\xaa" * 64):
        pictures.append(Image.open(io.BytesIO(data + filling + codestreams.EOI), formats=("JPEG",)))
        pictures[-1].load()
    first, *others = (np.asarray(picture).reshape(picture.height, -1) for picture in pictures)
    lost = np.any([(first != other).any(axis=1) for other in others], axis=0)
    if lost.mean() > MOST_LOST:
        raise OSError(f"image file is truncated: {lost.sum()} of {len(lost)} rows are missing")
    return pictures[0]


def _deep(data: bytes) -> tuple[np.ndarray, str, str] | None:
    """A picture that Pillow would cut to 8 bits or cannot read: grey levels, mode, format; None for any other."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[24:25] == b"\x10" and data[25:26] in b"\x02\x04\x06":
        image = _opened(data)
        grey = _channels(imagecodecs.png_decode(data), 2.0**16 - 1)
        return _turned(grey, image.getexif().get(ORIENTATION)), image.mode, "PNG"
    if deep := re.match(rb"P6(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d{3,5})\s", data):
        width, height, top = (int(number) for number in deep.groups())
        if top > 255:
            refuse_huge(width, height)
            values = np.frombuffer(data, ">u2", width * height * 3, deep.end()).astype(np.uint16)
            return eight_bits(one_channel(values.reshape(height, width, 3))), "RGB", "PPM"
    try:
        stream = codestreams.describe(data)
    # Pillow judges a header that is read here no further.
    except Unusable:
        raise
    except (ValueError, struct.error):
        return None
    by_pillow = (
        {codestreams.JPEG: stream.precision == 8, codestreams.JPEG_2000: stream.precision <= 8} if stream else {}
    )
    if stream is None or by_pillow.get(stream.kind):
        return None
    grey = _channels(codestreams.decode(data, stream), 2.0**stream.precision - 1)
    if stream.kind == codestreams.JPEG_2000:
        return grey, f"{stream.precision}-bit", "JPEG2000"
    return _turned(grey, _orientation(data)), f"{stream.precision}-bit", "JPEG"


def _orientation(data: bytes) -> int | None:
    """The orientation in the EXIF segment of a JPEG that Pillow does not read."""
    place = data.find(b"Exif\0\0", 0, 2**16)
    exif = Image.Exif()
    if place >= 0:
        exif.load(data[place:])
    return exif.get(ORIENTATION)


def _turned(grey: np.ndarray, orientation: object) -> np.ndarray:
    turn = TURNS.get(orientation)
    return grey if turn is None else np.asarray(Image.fromarray(grey).transpose(Image.Transpose(turn)))


def _channels(values: np.ndarray, opaque: float) -> np.ndarray:
    """Grey levels of values (height, width) or (height, width, channels); a second or fourth channel is alpha."""
    if values.ndim == 2:
        return eight_bits(values)
    grey = values[..., 0] if values.shape[2] < 3 else one_channel(values[..., :3])
    if values.shape[2] in (2, 4):
        grey = over_black(grey, values[..., -1], opaque)
    return eight_bits(grey)


def _is_plain_tiff(data: bytes) -> bool:
    """Whether Pillow reads a TIFF as it is: one page of at most 8 bits without a sign."""
    try:
        image = Image.open(io.BytesIO(data), formats=("TIFF",))
        bits, forms = (np.max(image.tag_v2.get(tag, 1)) for tag in (258, 339))
        one = image.n_frames == 1 and image.tag_v2.get(IMAGE_DEPTH, 1) == 1
        return bits <= 8 and forms == 1 and one and image.tag_v2.get(PREDICTOR, 1) == 1
    # Pillow has no reader for many deep forms, and says so in several ways.
    except (OSError, SyntaxError, TypeError, ValueError, KeyError, Image.DecompressionBombError):
        return False


def _tiff(data: bytes, remarks: list[str]) -> tuple[np.ndarray, str]:
    """Grey levels and mode of a TIFF; of several pages the one that all others are reductions of."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        number = _page(file, remarks)
        page = file.pages[number]
        refuse_huge(page.imagewidth, page.imagelength)
        depth, form = page.bitspersample, int(page.sampleformat)
        if page.imagedepth > 1:
            raise Unusable(f"{page.imagedepth} pictures in one file: expected one")
        if page.compression == PACKBITS and page.predictor != 1:
            raise Unusable("TIFF with PackBits and a predictor, which programs read in two ways: save it with LZW")
        if form in COMPLEX:
            raise Unusable("TIFF of complex numbers: expected grey levels; save their magnitude")
        if depth <= 8 and form != 2:
            try:
                image = _opened(data)
            except Unusable:
                how = f"{depth}-bit TIFF with compression {page.compression.name}"
                raise Unusable(f"{how}: no decoder for it; save it with 8 or 16 bits and LZW") from None
            image.seek(number)
            mode = image.mode
            image.load()
            return _grey(image), mode
        try:
            mode = _opened(data).mode
        except Unusable:
            mode = f"{depth}-bit"
        return _deep_tiff(page, depth), mode


def _page(file: tifffile.TiffFile, remarks: list[str]) -> int:
    pages = list(file.pages)
    if len(pages) < 2:
        return 0
    largest = max(page.imagewidth * page.imagelength for page in pages)
    full = [
        number
        for number, page in enumerate(pages)
        if not page.subfiletype & 1 and 4 * page.imagewidth * page.imagelength > largest
    ]
    if len(full) != 1:
        raise Unusable(f"{len(pages)} pictures in one file: expected one")
    remarks.append(f"{len(pages)} pages in one file: the largest is the film, the others are thumbnails")
    return full[0]


def _deep_tiff(page: tifffile.TiffPage, depth: int) -> np.ndarray:
    if int(page.compression) not in TIFF_COMPRESSIONS:
        raise Unusable(f"{depth}-bit TIFF compressed by {page.compression.name}: save it with LZW or uncompressed")
    colour, samples = int(page.photometric), page.samplesperpixel
    if colour not in (0, 1, 2) or samples > 4 or page.imagedepth != 1:
        raise Unusable(f"{depth}-bit TIFF in {page.photometric.name} of {samples} samples: expected grey or RGB")
    values = page.asarray(maxworkers=1)
    if page.axes.startswith("S"):
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(page.imagelength, page.imagewidth, samples)
    grey = one_channel(values) if colour == 2 else values[..., 0]
    if colour == 0:
        grey = inverted(grey)
    if UNASSOCIATED_ALPHA in page.extrasamples:
        opaque = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
        grey = over_black(grey, values[..., -1], opaque)
    return _turned(eight_bits(grey), int(page.tags[ORIENTATION].value) if ORIENTATION in page.tags else 1)
