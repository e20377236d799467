"""What a DICOM file holds: its data set, what kind of object it is, and how its pixels are encoded.

The encoding is taken from the first bytes of the pixels, since the transfer syntax is at times another one.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import pydicom
from pydicom import uid

from osteo_utils.images import codestreams
from osteo_utils.images.grey_levels import Unusable

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
SAVE_AGAIN = "save it again without compression"
# The groups that change how a film looks.
MACROS = ("PixelMeasuresSequence", "FrameVOILUTSequence", "PixelValueTransformationSequence")


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


def opened(data: bytes) -> tuple[pydicom.Dataset, list[str]]:
    """The data set of a picture, with the transfer syntax that its pixels have, and remarks.

    Raises Unusable where it holds no picture or one that nothing reads, ValueError where it is damaged.
    """
    remarks = [] if data[128:132] == b"DICM" else ["DICOM without its preamble"]
    header = pydicom.dcmread(io.BytesIO(_inflated(data)), force=True)
    if not header.get("PixelData"):
        if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
            raise Unusable("DICOM with floating-point pixels, a computed map: expected a radiograph")
        if PIXEL_DATA in data and "PixelData" not in header:
            raise ValueError("the file ends within its pixel data")
        raise Unusable(_no_picture(header, data))
    _lift_functional_groups(header)
    named = uid.UID(str(header.file_meta.get("TransferSyntaxUID") or "").strip(" \0"))
    if named and not any(named in known for known in (NATIVE, *SYNTAXES.values())):
        raise Unusable(f"DICOM in the transfer syntax {named.name}: {SAVE_AGAIN}")
    syntax, kind = _syntax(header, named)
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


def _syntax(header: pydicom.Dataset, named: uid.UID) -> tuple[uid.UID, str]:
    """How the pixel data are encoded, by their own first bytes."""
    pixels = header["PixelData"]
    compressed = named not in (uid.UID(""), *NATIVE) and pixels.value.startswith((codestreams.SOI, codestreams.J2K))
    if not (pixels.is_undefined_length or pixels.value.startswith(ITEM) or compressed):
        implicit, little = header.original_encoding
        if little is False:
            return uid.ExplicitVRBigEndian, uid.ExplicitVRBigEndian.name
        syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        return syntax, syntax.name
    frame, _ = first_picture(pixels.value)
    stream = codestreams.describe(frame)
    if stream is not None:
        return SYNTAXES[stream.kind][0], stream.kind
    if 1 <= int.from_bytes(frame[:4], "little") <= 15:
        return uid.RLELossless, "RLE"
    raise Unusable(f"DICOM compressed in an unknown way: {SAVE_AGAIN}")


def first_picture(value: bytes) -> tuple[bytes, int]:
    """The first compressed picture of pixel data, and how many there are.

    The table of offsets that should come first is not used: it is often wrong, and at times it is missing.
    """
    starts_picture = (codestreams.SOI, codestreams.J2K)
    fragments = [value] if value.startswith(starts_picture) else list(_items(value))
    if fragments and not fragments[0].startswith(starts_picture):
        fragments = fragments[1:]
    fragments = [fragment for fragment in fragments if fragment]
    if not fragments:
        raise Unusable("DICOM without a picture: its compressed pixel data are empty")
    first = fragments[0]
    magic = first[:3] if first.startswith(starts_picture) else b""
    starts = [number for number, fragment in enumerate(fragments) if fragment.startswith(magic)]
    if len(starts) > 1:
        return b"".join(fragments[: starts[1]]), len(starts)
    return b"".join(fragments), 1


def _items(value: bytes) -> Iterator[bytes]:
    """The contents of the items of encapsulated pixel data (PS3.5 A.4), the table of offsets first."""
    place = 0
    while value[place : place + 4] == ITEM:
        start = place + 8
        place = start + int.from_bytes(value[place + 4 : start], "little")
        yield value[start:place]


def _no_picture(header: pydicom.Dataset, data: bytes) -> str:
    kind = uid.UID(str(header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID") or ""))
    if not looks_like(data) or not (kind or len(header)):
        return "not DICOM, though it is named or marked so"
    # A private class has no name, and its number says nothing.
    what = f", but {kind.name}" if kind.name != kind else ""
    return f"DICOM without a picture{what}: no pixel data"


def _lift_functional_groups(header: pydicom.Dataset) -> None:
    """Put what enhanced objects say of their one frame where other objects say it (PS3.3 C.7.6.16)."""
    for sequence in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(header.get(sequence) or [])[:1]:
            for macro in MACROS:
                for element in (group.get(macro) or [()])[0]:
                    if element.tag not in header:
                        header[element.tag] = element
