"""A DICOM file into the grey levels that a viewer shows, with remarks on what had to be guessed or left out."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pydicom
from PIL import Image
from pydicom import encaps, uid
from pydicom.pixels import convert_color_space, get_decoder

from osteo_utils.images import codestreams, display
from osteo_utils.images.display import numbers, text
from osteo_utils.images.grey_levels import Unusable, eight_bits, one_channel, refuse_huge

# pydicom's warnings quote the value that they find fault with, which may be a patient's name.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

PIXEL_DATA = b"\xe0\x7f\x10\x00"
FIRST_TYPES = (b"UL", b"UI", b"CS", b"DA", b"TM", b"SH", b"OB")
ITEM = b"\xfe\xff\x00\xe0"
MOST_INFLATED = 1_000_000_000
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian)  # fmt: skip
SYNTAXES = {
    codestreams.JPEG: (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    codestreams.LOSSLESS: (uid.JPEGLosslessSV1, uid.JPEGLossless),
    codestreams.JPEG_LS: (uid.JPEGLSLossless, uid.JPEGLSNearLossless),
    codestreams.JPEG_2000: (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K),
    "RLE": (uid.RLELossless,),
}
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
MOST_STRETCHED = 8
SAVE_AGAIN = "save it again without compression"


def looks_like(data: bytes) -> bool:
    """Whether a file is DICOM: it has the marker, or begins as a data set that lost its preamble does."""
    if data[128:132] == b"DICM":
        return True
    for order in ("little", "big"):
        group, element, length = (int.from_bytes(data[a:b], order) for a, b in ((0, 2), (2, 4), (4, 8)))
        if group in (0x0002, 0x0008) and element <= 0x0100:
            # The type of the element stands next, or its length where types are implicit.
            return data[4:6] in FIRST_TYPES or (order == "little" and length <= 64 and length % 2 == 0)
    return False


def read(data: bytes) -> tuple[np.ndarray, str, list[str]]:
    """Grey levels (uint8, height and width), photometric interpretation and remarks of a DICOM film.

    Raises Unusable where it holds no single film that can be shown, any other error where it is damaged.
    """
    header, remarks = _open(data)
    _complete(header, remarks)
    cells, read_as_rgb = _cells(header, remarks)
    if cells.shape[:2] != (header.Rows, header.Columns):
        found = "x".join(str(side) for side in cells.shape[1::-1])
        raise Unusable(f"a picture of {found} pixels where the header says {header.Columns}x{header.Rows}")
    mode = text(header, "PhotometricInterpretation")
    if cells.ndim == 3:
        grey = _colour(header, cells, read_as_rgb)
    elif mode == "PALETTE COLOR":
        grey = _palette(header, cells)
    else:
        grey = _monochrome(header, cells, remarks)
    return _square(header, grey, remarks), mode, remarks


def _open(data: bytes) -> tuple[pydicom.Dataset, list[str]]:
    """The data set, with the transfer syntax that its pixels have."""
    remarks = [] if data[128:132] == b"DICM" else ["DICOM without its preamble"]
    header = pydicom.dcmread(io.BytesIO(_inflated(data)), force=True)
    if not header.get("PixelData"):
        if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
            raise Unusable("DICOM with floating-point pixels, a computed map: expected a radiograph")
        if PIXEL_DATA in data and "PixelData" not in header:
            raise ValueError("the file ends within its pixel data")
        raise Unusable("DICOM without a picture: no pixel data")
    named = uid.UID(str(header.file_meta.get("TransferSyntaxUID") or "").strip(" \0"))
    if named and not any(named in known for known in (NATIVE, *SYNTAXES.values())):
        raise Unusable(f"DICOM in the transfer syntax {named.name}: {SAVE_AGAIN}")
    syntax, kind = _syntax(header)
    alike = NATIVE if syntax in NATIVE else SYNTAXES[kind]
    if not named:
        remarks.append(f"DICOM without a transfer syntax, read as {kind}")
    elif named not in alike:
        remarks.append(f"DICOM labelled as {named.name}, read as {kind}")
    if named not in NATIVE or syntax not in NATIVE:
        header.file_meta.TransferSyntaxUID = syntax
    return header, remarks


def _inflated(data: bytes) -> bytes:
    """The file, with a deflated data set checked: a small file can hold more than the memory."""
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[:2048]:
        meta = 132 if data[128:132] == b"DICM" else 0
        start = meta + 12 + int.from_bytes(data[meta + 8 : meta + 12], "little")
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        stream.decompress(data[start:], MOST_INFLATED)
        if stream.unconsumed_tail:
            raise Unusable(f"too large: more than {MOST_INFLATED} bytes when inflated")
    return data


def _syntax(header: pydicom.Dataset) -> tuple[uid.UID, str]:
    """How the pixel data are encoded, by their own first bytes."""
    pixels = header["PixelData"]
    if not (pixels.is_undefined_length or pixels.value.startswith(ITEM)):
        implicit, little = header.original_encoding
        if little is False:
            return uid.ExplicitVRBigEndian, uid.ExplicitVRBigEndian.name
        syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        return syntax, syntax.name
    frame, _ = _frame(pixels.value)
    stream = codestreams.describe(frame)
    if stream is not None:
        return SYNTAXES[stream.kind][0], stream.kind
    if 1 <= int.from_bytes(frame[:4], "little") <= 15:
        return uid.RLELossless, "RLE"
    raise Unusable(f"DICOM compressed in an unknown way: {SAVE_AGAIN}")


def _frame(value: bytes) -> tuple[bytes, int]:
    """The first compressed picture, and how many there are; the table of offsets before it is often wrong."""
    encaps.parse_basic_offsets(stream := io.BytesIO(value))
    fragments = list(encaps.generate_fragments(stream))
    if not fragments:
        raise Unusable("DICOM without a picture: its compressed pixel data are empty")
    first = fragments[0]
    magic = first[:3] if first.startswith((codestreams.SOI, codestreams.J2K)) else b""
    starts = [number for number, fragment in enumerate(fragments) if fragment.startswith(magic)]
    if len(starts) > 1:
        return b"".join(fragments[: starts[1]]), len(starts)
    return b"".join(fragments), 1


def _complete(header: pydicom.Dataset, remarks: list[str]) -> None:
    """Check what describes the pixels; fill in what has one sensible value."""
    frames = numbers(header, "NumberOfFrames")
    if frames and frames[0] > 1:
        raise Unusable(f"{frames[0]:g} pictures in one file: expected one")
    header.NumberOfFrames = 1
    if not text(header, "PhotometricInterpretation"):
        raise Unusable("DICOM without Photometric Interpretation: nothing says whether bone is bright or dark in it")
    header.PhotometricInterpretation = mode = text(header, "PhotometricInterpretation")
    single = mode in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    usual = {"SamplesPerPixel": 1 if single else 3, "BitsStored": header.get("BitsAllocated"), "PixelRepresentation": 0}
    for name, value in usual.items():
        if value is not None and not numbers(header, name):
            remarks.append(f"DICOM without {name}, read as {value}")
            setattr(header, name, value)
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored"):
        if not (found := numbers(header, name)) or found[0] < 1:
            raise Unusable(f"DICOM with {name} {display.written(header, name)}: expected a number above 0")
    refuse_huge(header.Columns, header.Rows)
    if header.BitsAllocated not in (8, 16, 32) or header.BitsStored > header.BitsAllocated:
        found = f"{header.BitsStored} of {header.BitsAllocated} bits"
        raise Unusable(f"DICOM pixels of {found}: expected up to 8, 16 or 32 of as many; {SAVE_AGAIN}")
    if header.SamplesPerPixel not in (1, 3) or (header.SamplesPerPixel == 1) != single:
        raise Unusable(
            f"DICOM with photometric interpretation {mode} of {header.SamplesPerPixel} samples per pixel: "
            "expected MONOCHROME1, MONOCHROME2 or a grey palette of 1, or RGB or YBR of 3"
        )
    if header.SamplesPerPixel == 3 and not numbers(header, "PlanarConfiguration"):
        header.PlanarConfiguration = 0


def _cells(header: pydicom.Dataset, remarks: list[str]) -> tuple[np.ndarray, bool]:
    """Pixels as the file holds them, with all bits of each cell, and whether colours were converted to RGB."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        wanted = header.Rows * header.Columns * header.SamplesPerPixel * header.BitsAllocated // 8
        if text(header, "PhotometricInterpretation").startswith("YBR_FULL_422"):
            wanted = wanted * 2 // 3
        if (surplus := len(header.PixelData) // wanted) > 1:
            remarks.append(f"pixel data of {surplus} pictures where the header says one, the first is used")
            header.PixelData = header.PixelData[: wanted + wanted % 2]
        options = {} if header.SamplesPerPixel == 3 else {"correct_unused_bits": False}
        return get_decoder(syntax).as_array(header, index=0, allow_excess_frames=False, **options)[0], True
    frame, frames = _frame(header.PixelData)
    if frames > 1:
        remarks.append(f"{frames} compressed pictures where the header says one, the first is used")
        header.PixelData = encaps.encapsulate([frame])
    stream = codestreams.describe(frame)
    if stream is not None:
        refuse_huge(stream.width, stream.height)
        if stream.kind == codestreams.JPEG and header.BitsStored > 12:
            raise Unusable(f"lossy JPEG of {header.BitsStored} bits: expected at most 12; {SAVE_AGAIN}")
        by_pillow = stream.kind in (codestreams.JPEG, codestreams.JPEG_2000)
        if not (by_pillow and stream.precision == 8 and header.BitsAllocated == 8):
            # The sign is the highest bit that the stream has, whatever the header says.
            header.BitsStored = min(header.BitsStored, stream.precision)
            cells = codestreams.decode(frame, stream)
            if cells.min() < 0 and not header.PixelRepresentation:
                remarks.append("the compressed picture has negative values, its header none: they are kept")
                header.PixelRepresentation = 1
            return cells, by_pillow
    plugin = {"decoding_plugin": "pydicom" if stream is None else "pillow"}
    options = {"correct_unused_bits": False} if header.SamplesPerPixel == 1 else {}
    return get_decoder(syntax).as_array(header, index=0, **plugin, **options)[0], True


def _colour(header: pydicom.Dataset, cells: np.ndarray, is_rgb: bool) -> np.ndarray:
    if not is_rgb and text(header, "PhotometricInterpretation").startswith("YBR_FULL"):
        cells = convert_color_space(cells, "YBR_FULL", "RGB")
    if cells.dtype == np.uint8:
        return np.asarray(Image.fromarray(cells).convert("L"))
    return eight_bits(one_channel(cells))


def _palette(header: pydicom.Dataset, cells: np.ndarray) -> np.ndarray:
    """Levels of a palette whose red, green and blue are the same."""
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    if not all(f"{name}Descriptor" in header and f"{name}Data" in header for name in names):
        raise Unusable("DICOM with photometric interpretation PALETTE COLOR without a plain palette: save it as grey")
    tables = [
        display.lookup_table(header[f"{name}Descriptor"].value, header[f"{name}Data"].value, display.little_endian(header), 0)
        for name in names
    ]  # fmt: skip
    places = cells & (2 ** int(header.BitsStored) - 1)
    red, green, blue = (table(places) for table in tables)
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise Unusable("DICOM with photometric interpretation PALETTE COLOR in colours: expected grey; save it as grey")
    return np.rint(red * (255 / (2 ** tables[0].bits - 1))).astype(np.uint8)


def stored_values(header: pydicom.Dataset, cells: np.ndarray, remarks: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Cells as integers, and the values of the bits in use with their sign (PS3.5 8.1.1); adds to the remarks."""
    bits = int(header.BitsStored)
    if header.PixelRepresentation or cells.dtype.kind != "u":
        cells = cells.astype(np.int64 if header.BitsAllocated > 16 else np.int32)
    high_bit = numbers(header, "HighBit") or [bits - 1.0]
    # Many headers name a high bit that the pixels do not reach; then they lie in the lower bits.
    if high_bit[0] >= bits and (cells.max() >= 2**bits or cells.min() < -(2**bits)):
        remarks.append(f"High Bit {high_bit[0]:g} above Bits Stored {bits}: the upper bits are read")
        cells = cells >> (int(high_bit[0]) + 1 - bits)
    stored = cells & (2**bits - 1)
    if header.PixelRepresentation:
        stored = (stored ^ 2 ** (bits - 1)) - 2 ** (bits - 1)
    return cells, stored


def _monochrome(header: pydicom.Dataset, cells: np.ndarray, remarks: list[str]) -> np.ndarray:
    cells, stored = stored_values(header, cells, remarks)
    padded, said = display.padding(header, stored, cells)
    remarks += said
    overlays = any(element.tag.group & 0xFF01 == 0x6000 and element.tag.element == 0x0102 for element in header)
    if (
        not overlays
        and not header.PixelRepresentation
        and cells.max() > stored.max()
        and (stored != cells)[~padded].any()
    ):
        remarks.append(f"bits above Bits Stored {header.BitsStored} are in use and not read")
    values, lowest, said = display.modality(header, stored)
    remarks += said
    grey, said = display.levels(header, values, padded, lowest)
    remarks += said
    return grey


def _square(header: pydicom.Dataset, grey: np.ndarray, remarks: list[str]) -> np.ndarray:
    """The film with as many pixels to the millimetre down as across; the coarser side grows."""
    for name in SPACINGS:
        found = numbers(header, name)
        if found == []:
            continue
        if found is None or len(found) != 2 or min(found) <= 0 or max(found) > MOST_STRETCHED * min(found):
            remarks.append(f"{name} {display.written(header, name)} ignored: expected two similar numbers above 0")
            continue
        down, across = found
        if max(down, across) < 1.01 * min(down, across):
            return grey
        height, width = grey.shape
        height, width = round(height * max(1, down / across)), round(width * max(1, across / down))
        refuse_huge(width, height)
        remarks.append(f"{name} {down:g} and {across:g}: resampled to square pixels")
        return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC))
    return grey
