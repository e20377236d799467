"""From the stored values of a DICOM film to what a viewer shows: modality transform, padding, VOI transform, inversion.

Written against PS3.3 C.11.1, C.11.2 and C.7.5.1.1.2 rather than pydicom, whose transforms misread packed and 8-bit
lookup tables and tables whose first value is negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pydicom

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def numbers(header: pydicom.Dataset, name: str) -> list[float] | None:
    """The numbers of an element: [] where it is absent or empty, None where one of them is not a number.

    A decimal comma counts as a point.
    """
    try:
        found = header.get(name)
        values = [] if found is None or found == "" else [_number(value) for value in np.ravel(found)]
    except (TypeError, ValueError):
        return None
    return values if np.isfinite(values).all() else None


def _number(value: object) -> float:
    return float(value.replace(",", ".") if isinstance(value, str) else value)


def has_comma(header: pydicom.Dataset, *names: str) -> bool:
    """Whether one of these elements writes a number with a decimal comma, which DICOM does not allow."""
    return any("," in str(value) for name in names for value in np.ravel(header.get(name) or ""))


def written(header: pydicom.Dataset, name: str) -> str:
    """An element as a remark quotes it."""
    try:
        return str(header.get(name))
    except (TypeError, ValueError):
        return "that is no number"


def text(header: pydicom.Dataset, name: str) -> str:
    """The code word of an element in capitals, without blanks; empty where it is absent."""
    return str(header.get(name) or "").strip().upper()


@dataclass(frozen=True)
class Table:
    """A lookup table: `entries` for the inputs from `first` on, each of `bits` bits."""

    first: int
    bits: int
    entries: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        place = values.astype(np.int64) - self.first
        return self.entries[np.clip(place, 0, len(self.entries) - 1)]


def lookup_table(descriptor: object, data: object, little: bool, lowest: float) -> Table:
    """A lookup table from its descriptor and data (PS3.3 C.11.1.1); entries may stand one or two to a word.

    `lowest`: the lowest possible input, which tells whether the first input is signed; implicit VR does not.
    Raises ValueError where the two do not belong together.
    """
    if np.size(descriptor) != 3:
        raise ValueError(f"a descriptor of {np.size(descriptor)} numbers, expected 3")
    count, first, bits = (int(value) for value in np.ravel(descriptor))
    count = (count & 0xFFFF) or 2**16
    if lowest < 0 and first > 0x7FFF:
        first -= 2**16
    elif lowest >= 0 and first < 0:
        first += 2**16
    if isinstance(data, bytes):
        raw = np.frombuffer(data, np.uint8)
        words = raw[: len(raw) // 2 * 2].view("<u2" if little else ">u2")
    else:
        words = np.array(np.ravel(data), dtype=np.int64).astype(np.uint16)
        raw = words.astype("<u2").view(np.uint8)
    if len(words) >= count:
        entries = words[:count].astype(np.int64)
    elif bits <= 8 and len(raw) >= count:
        # A big-endian file turns the bytes of each word round.
        packed = raw if little or not isinstance(data, bytes) else words.astype("<u2").view(np.uint8)
        entries = packed[:count].astype(np.int64)
    else:
        raise ValueError(f"{len(words)} words for {count} entries of {bits} bits")
    # Some tables hold more than they say; their true depth keeps the highest entries apart.
    return Table(first, max(bits, int(entries.max()).bit_length(), 1), entries)


def modality(header: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, float, list[str]]:
    """Stored values after the modality transform, the lowest that it could give, and remarks."""
    bits, signed = int(header.BitsStored), bool(header.PixelRepresentation)
    lowest, highest = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    if items := header.get("ModalityLUTSequence"):
        try:
            table = lookup_table(items[0].LUTDescriptor, items[0].LUTData, little_endian(header), lowest)
            return table(values), 0.0, []
        except (AttributeError, TypeError, ValueError) as error:
            return values, lowest, [f"modality LUT ignored: {error}"]
    found = [numbers(header, name) for name in ("RescaleSlope", "RescaleIntercept")]
    if found == [[], []]:
        return values, lowest, []
    if None in found or found[0] == [0.0]:
        return values, lowest, ["rescale slope and intercept ignored: expected numbers and a slope other than 0"]
    slope, intercept = found[0][0] if found[0] else 1.0, found[1][0] if found[1] else 0.0
    lowest = min(lowest * slope, highest * slope) + intercept
    comma = has_comma(header, "RescaleSlope", "RescaleIntercept")
    said = ["decimal comma in the rescale slope or intercept, read as a point"] if comma else []
    return values.astype(np.float64) * slope + intercept, lowest, said


def padding(header: pydicom.Dataset, stored: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which pixels are padding around the film (PS3.3 C.7.5.1.1.2), and remarks.

    `stored` are the values of the bits in use, `cells` those of all bits; a padding value may use them all.
    """
    nothing = np.zeros(stored.shape, bool)
    ends = [numbers(header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if None in ends:
        return nothing, ["Pixel Padding Value ignored: not a number"]
    if not ends[0]:
        return nothing, []
    signed, bits = bool(header.PixelRepresentation), int(header.BitsStored)
    first, last = (_of_sign(int(end[0]), signed, bits) for end in (ends[0], ends[1] or ends[0]))
    low, high = min(first, last), max(first, last)
    where = (stored >= low) & (stored <= high)
    if not signed and high >= 2**bits:
        where = (cells >= low) & (cells <= high)
    if where.all():
        return nothing, ["Pixel Padding Value ignored: every pixel has it"]
    return where, []


def _of_sign(value: int, signed: bool, bits: int) -> int:
    """A number that may have been written with the other sign than it is to be read with."""
    if not signed:
        return value + 2**16 if value < 0 else value
    if value > 0x7FFF:
        return value - 2**16
    return value - 2**bits if 2 ** (bits - 1) <= value < 2**bits else value


def levels(
    header: pydicom.Dataset, values: np.ndarray, padded: np.ndarray, lowest: float
) -> tuple[np.ndarray, list[str]]:
    """Grey levels as a viewer shows them, uint8, and remarks on what was chosen or ignored.

    The first VOI LUT that shows a picture is used, else the first such window, else the film's own range. Padding is
    black and does not count. MONOCHROME1 is inverted.
    """
    remarks: list[str] = []
    film = values[~padded] if padded.any() else values
    inverse = text(header, "PhotometricInterpretation") == "MONOCHROME1"
    shape = text(header, "PresentationLUTShape")
    if shape and inverse != (shape == "INVERSE"):
        remarks.append(f"Presentation LUT Shape {shape} contradicts {header.PhotometricInterpretation}, not applied")
    if "PresentationLUTSequence" in header:
        remarks.append("Presentation LUT Sequence not applied")

    low, high = float(film.min()), float(film.max())

    def own_range(some: np.ndarray) -> np.ndarray:
        return (np.clip(some, low, high) - low) / max(high - low, 1e-9)

    transform: Callable[[np.ndarray], np.ndarray] = own_range
    chosen, before = False, len(remarks)
    for name, number, of, view in _views(header, lowest, remarks):
        if high > low and np.ptp(np.rint(255 * view(np.array([low, high])))) == 0 and _is_flat(view(film)):
            remarks.append(f"{name} ignored: it shows nothing of values from {low:g} to {high:g}")
            continue
        if of > 1:
            remarks.append(f"{name} used, number {number} of {of}")
        transform, chosen = view, True
        break
    if not chosen and len(remarks) > before:
        remarks.append("the film's own range is shown")
    level = transform(values)
    level = np.rint((1 - level if inverse else level) * 255).astype(np.uint8)
    if padded.any():
        level[padded] = 0
    return level, remarks


def _is_flat(level: np.ndarray) -> bool:
    return np.ptp(np.rint(255 * level)) == 0


def _views(
    header: pydicom.Dataset, lowest: float, remarks: list[str]
) -> Iterator[tuple[str, int, int, Callable[[np.ndarray], np.ndarray]]]:
    """Each usable VOI transform: name, number, of how many different ones, function to 0..1; says what is not usable."""
    tables = list(header.get("VOILUTSequence") or [])
    for number, item in enumerate(tables, 1):
        try:
            table = lookup_table(item.LUTDescriptor, item.LUTData, little_endian(header), lowest)
        except (AttributeError, TypeError, ValueError) as error:
            remarks.append(f"VOI LUT ignored: {error}")
            continue
        yield "VOI LUT", number, len(tables), lambda some, table=table: table(some) / (2**table.bits - 1)

    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if centres is None or widths is None:
        centre, width = written(header, "WindowCenter"), written(header, "WindowWidth")
        remarks.append(f"window ignored: centre {centre}, width {width}")
        return
    if has_comma(header, "WindowCenter", "WindowWidth"):
        remarks.append("decimal comma in the window, read as a point")
    if len(centres) != len(widths):
        unused = " ignored" if not centres or not widths else ""
        remarks.append(f"window{unused}: {len(centres)} centres and {len(widths)} widths")
    function = text(header, "VOILUTFunction") or "LINEAR"
    if function not in FUNCTIONS and centres and widths:
        remarks.append(f"VOI LUT Function {function} unknown, read as LINEAR")
        function = "LINEAR"
    # An archive may write one window twice; that leaves no choice to speak of.
    windows = list(dict.fromkeys(zip(centres, widths, strict=False)))
    for number, (centre, width) in enumerate(windows, 1):
        name = f"window of centre {centre:g} and width {width:g}"
        if width <= 0 or (function == "LINEAR" and width < 1):
            remarks.append(f"{name} ignored: too narrow")
            continue
        yield name, number, len(windows), _window(function, centre, width)


def _window(function: str, centre: float, width: float) -> Callable[[np.ndarray], np.ndarray]:
    """A window to 0..1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return lambda some: 1 / (1 + np.exp(np.clip(-4 * (some - centre) / width, -700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return lambda some: np.clip((some - centre) / width + 0.5, 0, 1)


def little_endian(header: pydicom.Dataset) -> bool:
    """Whether the bytes of the data set run from low to high."""
    return header.original_encoding[1] is not False
