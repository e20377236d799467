"""Decode a radiograph file into a grey image, or say why it is unusable."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom.pixels import apply_modality_lut, apply_voi_lut

MIN_SIDE = 32
MAX_PIXELS = 64_000_000
MAX_BYTES = 1_000_000_000
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    **{".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"},
}
# A .dcm file without the DICOM marker may be another image with a wrong name, or old DICOM without a preamble.
IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"BM", b"GIF8", b"RIFF")


class Unusable(ValueError):
    """A file that cannot serve as a radiograph; the message is the reason in the manifest."""


@dataclass(frozen=True)
class Radiograph:
    """One decoded film: grey `pixels`, uint8 (height, width), bright where tissue is dense.

    `mode` and `format` describe the file (`RGB`, `MONOCHROME1`; `JPEG`, `DICOM`), `bytes` and `sha256` its content.
    `note` names a harmless oddity, such as a wrong extension.
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
    """Decode a JPEG, PNG, TIFF, BMP, GIF, WebP or DICOM file; raises Unusable with the reason.

    Transparency is composited over black, colour becomes luminance, EXIF orientation is applied. Image files do not
    record the detector's bit depth, so more than 8 bits are scaled by the full range of the smallest usual depth (8,
    10, 12, 14, 16) that holds the brightest pixel. DICOM passes its modality and VOI transforms (PS3.3 C.11.1,
    C.11.2) and is inverted for MONOCHROME1.
    """
    named = SUFFIXES.get(suffix.lower(), "")
    is_dicom = data[128:132] == b"DICM" or (named == "DICOM" and not data.startswith(IMAGE_STARTS))
    try:
        pixels, mode, kind = _decode_dicom(data) if is_dicom else _decode_image(data)
    except Unusable:
        raise
    # Damaged files make the decoders fail in every possible way; each is a reason, not a crash.
    except Exception as error:
        raise Unusable(f"damaged or truncated: {error or type(error).__name__}") from error
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise Unusable(f"too small: {width}x{height} pixels, expected at least {MIN_SIDE} on each side")
    if pixels.min() == pixels.max():
        raise Unusable(f"a single colour: every pixel is {pixels.flat[0]}")
    note = f"named {suffix}, content is {kind}" if named != {"MPO": "JPEG"}.get(kind, kind) else ""
    return Radiograph(pixels, mode, kind, len(data), hashlib.sha256(data).hexdigest(), note)


def _decode_image(data: bytes) -> tuple[np.ndarray, str, str]:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Unusable("not an image: expected JPEG, PNG, TIFF, BMP, GIF, WebP or DICOM") from None
    except Image.DecompressionBombError:
        raise Unusable(f"too many pixels: expected at most {MAX_PIXELS}") from None
    _refuse_huge(image.width, image.height)
    mode, kind = image.mode, image.format
    # A phone's MPO file is a JPEG with a preview; in any other format a second frame is a second image.
    if kind != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise Unusable(f"{frames} pictures in one file: expected one")
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(np.asarray(image)), mode, kind
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, (0, 0, 0, 255)), colours)
    if image.mode not in ("L", "1", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L")), mode, kind


def _eight_bits(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise Unusable("pixels that are not numbers: expected finite values")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu" and low >= 0 and high < 2**16:
        low, high = 0.0, next(2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits)
    if high == low:
        raise Unusable(f"a single colour: every pixel is {low:g}")
    return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)


def _decode_dicom(data: bytes) -> tuple[np.ndarray, str, str]:
    header = pydicom.dcmread(io.BytesIO(data), force=True)
    if "PixelData" not in header:
        raise Unusable("DICOM without a picture: no pixel data")
    if (frames := int(header.get("NumberOfFrames") or 1)) > 1:
        raise Unusable(f"{frames} pictures in one file: expected one")
    _refuse_huge(int(header.Columns), int(header.Rows))
    mode = str(header.PhotometricInterpretation)
    values = header.pixel_array
    if mode.startswith(("RGB", "YBR")):
        return np.asarray(Image.fromarray(values).convert("L")), mode, "DICOM"
    if not mode.startswith("MONOCHROME"):
        raise Unusable(f"DICOM with photometric interpretation {mode}: expected MONOCHROME1, MONOCHROME2 or RGB")
    values = apply_modality_lut(values, header)
    if header.get("VOILUTSequence") or header.get("WindowWidth") is not None:
        level = _windowed(values, header)
    else:
        low, high = float(values.min()), float(values.max())
        level = (values - low) / max(high - low, 1e-9)
    return np.rint((1 - level if mode == "MONOCHROME1" else level) * 255).astype(np.uint8), mode, "DICOM"


def _windowed(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Display values in 0..1 after the file's first VOI transform (PS3.3 C.11.2.1)."""
    if header.get("VOILUTSequence"):
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        return np.clip(apply_voi_lut(values.astype(np.int64), header) / (2**bits - 1), 0, 1)
    centre, width = (np.ravel(header[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
    centre, width = float(centre), float(width)
    function = str(header.get("VOILUTFunction", "LINEAR"))
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _refuse_huge(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unusable(f"too many pixels: {width}x{height}, expected at most {MAX_PIXELS}")
