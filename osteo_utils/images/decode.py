"""Decode a radiograph file into a grey image, or say why it is unusable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from osteo_utils.images import codestreams, dicom, dicom_file, grey_levels, pictures
from osteo_utils.images.grey_levels import Unusable

__all__ = ["MIN_SIDE", "Radiograph", "Unusable", "decode", "decode_bytes"]

MIN_SIDE = 32
FEWEST_LEVELS = 32
MAX_BYTES = 1_000_000_000
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".j2c", ".jpf"), "JPEG2000"),
    **dict.fromkeys((".pgm", ".ppm", ".pnm", ".pbm"), "PPM"),
    **{".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP", ".avif": "AVIF"},
}
# A .dcm file without the DICOM marker may be another image with a wrong name, or old DICOM without a preamble.
IMAGE_STARTS = (
    b"\x89PNG",
    b"\xff\xd8",
    *pictures.TIFF_STARTS,
    b"BM",
    b"GIF8",
    b"RIFF",
    codestreams.J2K,
    codestreams.JP2,
)


@dataclass(frozen=True)
class Radiograph:
    """One decoded film: grey `pixels`, uint8 (height, width), bright where tissue is dense.

    `mode` and `format` describe the file (`RGB`, `MONOCHROME1`; `JPEG`, `DICOM`), `bytes` and `sha256` its content.
    `note` joins remarks on what was chosen, guessed or ignored by "; ", such as a wrong extension.
    """

    pixels: np.ndarray = field(repr=False)
    mode: str
    format: str
    bytes: int
    sha256: str
    note: str = ""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def pixel_sha256(self) -> str:
        """SHA-256 of shape and grey pixels: equal for two files of the same image."""
        shape = f"{self.height}x{self.width}:".encode()
        return hashlib.sha256(shape + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise Unusable(f"too large: {size} bytes, expected at most {MAX_BYTES}")
        data = path.read_bytes()
    except PermissionError:
        raise Unusable("not readable: permission denied") from None
    except OSError as error:
        raise Unusable(f"not readable: {error.strerror or error}") from None
    if not data:
        raise Unusable("zero bytes")
    return data


def decode(path: Path) -> Radiograph:
    """Decode a file as `decode_bytes` does; raises Unusable where it cannot be read, is empty or far too large."""
    return decode_bytes(_read_bytes(path), path.suffix)


def decode_bytes(data: bytes, suffix: str = "") -> Radiograph:
    """Decode a DICOM, JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000, PGM or AVIF file; raises Unusable with the reason.

    `FORMATS.md` beside this file lists what is done with each form of a file. Where something had to be chosen,
    guessed or ignored, the film's `note` says so.
    """
    named = SUFFIXES.get(suffix.lower(), "")
    is_dicom = dicom_file.looks_like(data) or (
        named == "DICOM" and not (data.startswith(IMAGE_STARTS) or pictures.other_content(data))
    )
    try:
        if is_dicom:
            (pixels, mode, remarks), kind = dicom.read(data), "DICOM"
        else:
            pixels, mode, kind, remarks = pictures.read(data)
    except Unusable:
        raise
    except MemoryError:
        raise Unusable("needs more memory than there is; read it alone, or make it smaller") from None
    # Damaged files make the decoders fail in every possible way; each is a reason, not a crash.
    except Exception as error:
        raise Unusable(f"damaged or truncated: {error or type(error).__name__}") from error
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise Unusable(f"too small: {width}x{height} pixels, expected at least {MIN_SIDE} on each side")
    levels = grey_levels.few_levels(pixels, FEWEST_LEVELS)
    if levels == 1:
        raise Unusable(f"a single colour: every pixel is {pixels.flat[0]}")
    if levels is not None:
        remarks.append(f"only {levels} grey levels")
    if named != {"MPO": "JPEG"}.get(kind, kind):
        remarks.insert(0, f"named {suffix}, content is {kind}" if suffix else f"no extension, content is {kind}")
    return Radiograph(pixels, mode, kind, len(data), hashlib.sha256(data).hexdigest(), "; ".join(remarks))
