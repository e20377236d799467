"""A DICOM file into the grey levels that a viewer shows, with remarks on what had to be guessed or left out."""

from __future__ import annotations

import numpy as np
import pydicom
from PIL import Image
from pydicom import encaps
from pydicom.pixels import convert_color_space, get_decoder

from osteo_utils.images import codestreams, display
from osteo_utils.images.dicom_file import NATIVE, SAVE_AGAIN, SYNTAXES, first_picture, opened
from osteo_utils.images.display import numbers, text
from osteo_utils.images.grey_levels import Unusable, eight_bits, one_channel, refuse_huge

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
MOST_STRETCHED = 8
GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
# Colours that a decoder turns into RGB by the header; JPEG and JPEG 2000 also say themselves what they hold.
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422")
SELF_DESCRIBED = (*SYNTAXES[codestreams.JPEG], *SYNTAXES[codestreams.JPEG_2000])


def read(data: bytes) -> tuple[np.ndarray, str, list[str]]:
    """Grey levels (uint8, height and width), photometric interpretation and remarks of a DICOM film.

    Raises Unusable where it holds no single film that can be shown, any other error where it is damaged.
    """
    header, remarks = opened(data)
    _complete(header, remarks)
    mode = text(header, "PhotometricInterpretation")
    cells, read_as_rgb = _cells(header, remarks)
    if cells.shape[:2] != (header.Rows, header.Columns):
        found = "x".join(str(side) for side in cells.shape[1::-1])
        raise Unusable(f"a picture of {found} pixels where the header says {header.Columns}x{header.Rows}")
    if cells.ndim == 3:
        grey = _colour(header, cells, read_as_rgb)
    elif mode == "PALETTE COLOR":
        grey = _palette(header, cells)
    else:
        grey = _monochrome(header, cells, remarks)
    return _square(header, grey, remarks), mode, remarks


def _complete(header: pydicom.Dataset, remarks: list[str]) -> None:
    """Check what describes the pixels; fill in what has one sensible value."""
    frames = numbers(header, "NumberOfFrames")
    if frames and frames[0] > 1:
        raise Unusable(f"{frames[0]:g} pictures in one file: expected one")
    header.NumberOfFrames = 1
    if not text(header, "PhotometricInterpretation"):
        raise Unusable("DICOM without Photometric Interpretation: nothing says whether bone is bright or dark in it")
    header.PhotometricInterpretation = mode = text(header, "PhotometricInterpretation")
    single = mode in GREY
    usual = {"SamplesPerPixel": 1 if single else 3, "BitsStored": header.get("BitsAllocated"), "PixelRepresentation": 0}
    for name, value in usual.items():
        if value is not None and not numbers(header, name):
            remarks.append(f"DICOM without {name}, read as {value}")
            setattr(header, name, value)
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored"):
        if len(found := numbers(header, name) or []) != 1 or found[0] < 1:
            raise Unusable(f"DICOM with {name} {display.written(header, name)}: expected a number above 0")
    refuse_huge(header.Columns, header.Rows)
    if header.BitsAllocated not in (8, 16, 32) or header.BitsStored > header.BitsAllocated:
        found = f"{header.BitsStored} of {header.BitsAllocated} bits"
        raise Unusable(f"DICOM pixels of {found}: expected up to 8, 16 or 32 of as many; save it with 8 or 16 bits")
    if header.SamplesPerPixel not in (1, 3) or (header.SamplesPerPixel == 1) != single:
        raise Unusable(
            f"DICOM with photometric interpretation {mode} of {header.SamplesPerPixel} samples per pixel: "
            "expected MONOCHROME1, MONOCHROME2 or a grey palette of 1, or RGB or YBR of 3"
        )
    if header.SamplesPerPixel == 3:
        if mode not in COLOURS and not (
            mode.startswith("YBR_") and header.file_meta.TransferSyntaxUID in SELF_DESCRIBED
        ):
            raise Unusable(
                f"DICOM with photometric interpretation {mode}: expected {', '.join(COLOURS)}; save it as grey"
            )
        if not numbers(header, "PlanarConfiguration"):
            header.PlanarConfiguration = 0


def _cells(header: pydicom.Dataset, remarks: list[str]) -> tuple[np.ndarray, bool]:
    """Pixels as the file holds them, with all bits of each cell, and whether colours were converted to RGB."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        wanted = header.Rows * header.Columns * header.SamplesPerPixel * header.BitsAllocated // 8
        if text(header, "PhotometricInterpretation") == "YBR_FULL_422":
            if wanted <= len(header.PixelData) <= wanted + 1:
                remarks.append("YBR_FULL_422 with the colours of every pixel, read as YBR_FULL")
                header.PhotometricInterpretation = "YBR_FULL"
            else:
                wanted = wanted * 2 // 3
        if (surplus := len(header.PixelData) // wanted) > 1:
            remarks.append(f"pixel data of {surplus} pictures where the header says one, the first is used")
            header.PixelData = header.PixelData[: wanted + wanted % 2]
        elif (longer := len(header.PixelData) - wanted) > 1:
            remarks.append(f"pixel data {longer} bytes longer than the header says")
        options = {} if header.SamplesPerPixel == 3 else {"correct_unused_bits": False}
        return get_decoder(syntax).as_array(header, index=0, allow_excess_frames=False, **options)[0], True
    frame, frames = first_picture(header.PixelData)
    if frames > 1:
        remarks.append(f"{frames} compressed pictures where the header says one, the first is used")
    stream = codestreams.describe(frame)
    if stream is not None:
        refuse_huge(stream.width, stream.height)
        if stream.channels != header.SamplesPerPixel:
            found = f"{stream.channels} samples per pixel where the header says {header.SamplesPerPixel}"
            raise Unusable(f"a compressed picture of {found}; {SAVE_AGAIN}")
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
    header.PixelData = encaps.encapsulate([frame])
    if syntax in SYNTAXES[codestreams.JPEG] and text(header, "PhotometricInterpretation") not in (*COLOURS, *GREY):
        header.PhotometricInterpretation = "YBR_FULL_422"
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
    if bits <= high_bit[0] < header.BitsAllocated and (cells.max() >= 2**bits or cells.min() < -(2**bits)):
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
