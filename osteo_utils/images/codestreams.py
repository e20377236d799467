"""Compressed pictures as archives of radiographs hold them: what a codestream says of itself, and its values.

Pillow reads JPEG at 8 bits alone and rounds others, so every deeper or lossless kind is read here. The kind is taken
from the codestream, since the transfer syntax of a DICOM file is at times another one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np

from osteo_utils.images.gdcm_jpeg import to_twelve_bits
from osteo_utils.images.grey_levels import Unusable, refuse_huge

JPEG, LOSSLESS, JPEG_LS, JPEG_2000 = "JPEG", "JPEG Lossless", "JPEG-LS", "JPEG 2000"
SOI, EOI, J2K, JP2 = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"
# Start-of-frame markers (ITU-T T.81 table B.1, T.87): sequential, extended and progressive, the last two also in
# arithmetic coding; lossless; JPEG-LS.
FRAMES = {**dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC9, 0xCA), JPEG), 0xC3: LOSSLESS, 0xF7: JPEG_LS}
OTHER_FRAMES = (0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)


@dataclass(frozen=True)
class Stream:
    """What a codestream says of itself: its kind, the bits of a sample, and its shape."""

    kind: str
    precision: int
    height: int
    width: int
    channels: int


def describe(data: bytes) -> Stream | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream; None if `data` is neither.

    Raises Unusable for a JPEG of a kind that no decoder reads, ValueError for a damaged header.
    """
    if data.startswith(SOI):
        return _jpeg(data)
    if data.startswith((J2K, JP2)):
        return _jpeg_2000(data)
    return None


def _jpeg(data: bytes) -> Stream:
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:  # decoders step over surplus bytes
            place += 1
            continue
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            place += 2
        elif marker in OTHER_FRAMES:
            raise Unusable(f"hierarchical JPEG (SOF{marker - 0xC0}): save it without compression")
        elif marker in FRAMES:
            precision, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
            return Stream(FRAMES[marker], precision, height, width, channels)
        elif marker == 0xDA:
            break
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    raise ValueError("JPEG without a frame header")


def _jpeg_2000(data: bytes) -> Stream:
    start = data.find(J2K)
    if start < 0:
        raise ValueError("JPEG 2000 without a codestream")
    # SIZ (ISO/IEC 15444-1 A.5.1): the picture reaches from its offset to the end of the reference grid.
    right, lower, left, upper = struct.unpack_from(">4I", data, start + 8)
    channels, precision = struct.unpack_from(">HB", data, start + 40)
    return Stream(JPEG_2000, (precision & 0x7F) + 1, lower - upper, right - left, channels)


def decode(data: bytes, stream: Stream) -> np.ndarray:
    """Values of a codestream, integers (height, width) or (height, width, channels); negative where it has a sign.

    Raises Unusable for a picture that is too large, ValueError where the stream has no end, since most decoders fill
    what is missing without a word.
    """
    refuse_huge(stream.width, stream.height)
    if stream.channels > 4:
        raise Unusable(f"a picture of {stream.channels} channels: expected grey or colour")
    if not data.rstrip(b"\0").endswith(EOI):
        raise ValueError("the compressed picture has no end")
    if stream.kind == JPEG_2000:
        values = imagecodecs.jpeg2k_decode(data, numthreads=1)
    elif stream.kind == JPEG_LS:
        values = imagecodecs.jpegls_decode(data)
    elif stream.kind == LOSSLESS:
        # Without a colour space of its own a lossless JPEG of three channels would pass for YCbCr and be converted.
        space = {} if stream.channels == 1 else {"colorspace": "RGB", "outcolorspace": "RGB"}
        values = imagecodecs.jpeg8_decode(data, **space)
    else:
        values = imagecodecs.jpeg8_decode(to_twelve_bits(data) if stream.precision == 16 else data)
    return np.asarray(values)
