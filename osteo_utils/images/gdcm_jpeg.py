"""Lossy JPEG with 16 in place of 12 bits, as GDCM writes it, made readable for a decoder that keeps to the standard.

GDCM compresses 12-bit films by a JPEG library built for 16 bits. The frame header then says 16, which a lossy JPEG
cannot have (ITU-T T.81 table B.2), and the level shift is lost, since its 32768 times 8 does not fit a coefficient. All
else is as in a 12-bit JPEG. Only the first DC difference has to change: all later ones count from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from osteo_utils.images.grey_levels import Unusable

LEVEL_SHIFT = 2048
SOF, DHT, SOS, DQT, DRI = 0xC1, 0xC4, 0xDA, 0xDB, 0xDD


def to_twelve_bits(data: bytes) -> bytes:
    """The same film as a 12-bit JPEG; raises Unusable where it is not of one scan and one channel."""
    return moved(data, -LEVEL_SHIFT, precision=12)


def moved(data: bytes, levels: int, precision: int) -> bytes:
    """A grey JPEG of one scan with all values moved by `levels`, and this precision in its header."""
    segments, start = _segments(data)
    found: dict[int, bytes] = {}
    tables: dict[int, _Huffman] = {}
    steps: dict[int, int] = {}
    for marker, body in segments:
        found[marker] = body
        if marker == DHT:
            tables.update(_huffman(body))
        elif marker == DQT:
            steps.update(_first_steps(body))
    if DRI in found or SOF not in found or found[SOF][5] != 1:
        raise Unusable("a lossy JPEG of 16 bits with restarts or several channels: save it without compression")
    table, step = tables[found[SOS][2] >> 4], steps[found[SOF][8]]

    bits = np.unpackbits(np.frombuffer(data[start : data.rfind(b"\xff\xd9")].replace(b"\xff\0", b"\xff"), np.uint8))
    category, place = table.read(bits)
    difference = _value(bits[place : place + category]) + round(levels * 8 / step)
    rest = bits[place + category :]
    category = abs(difference).bit_length()
    code = table.code(category)
    magnitude = difference if difference > 0 else difference + 2**category - 1
    changed = np.array([int(bit) for bit in code + (f"{magnitude:0{category}b}" if category else "")], np.uint8)
    bits = np.concatenate([changed, rest])
    bits = np.concatenate([bits, np.ones(-len(bits) % 8, np.uint8)])

    parts = [b"\xff\xd8"]
    for marker, body in segments:
        if marker == SOF:
            body = bytes([precision]) + body[1:]
        elif marker == DHT:
            continue
        elif marker == SOS:
            parts += [_segment(DHT, bytes([identifier]) + one.body()) for identifier, one in tables.items()]
        parts.append(_segment(marker, body))
    return b"".join([*parts, np.packbits(bits).tobytes().replace(b"\xff", b"\xff\0"), b"\xff\xd9"])


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Marker and body of each segment up to the scan's header, and where the scan begins."""
    segments, place = [], 2
    while True:
        marker, length = data[place + 1], struct.unpack_from(">H", data, place + 2)[0]
        segments.append((marker, data[place + 4 : place + 2 + length]))
        place += 2 + length
        if marker == SOS:
            return segments, place


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@dataclass
class _Huffman:
    """How many codes each length from 1 to 16 has, and the symbols in order of their codes."""

    counts: list[int]
    symbols: list[int]

    def codes(self) -> dict[str, int]:
        found, code, position = {}, 0, 0
        for length, count in enumerate(self.counts, 1):
            for symbol in self.symbols[position : position + count]:
                found[f"{code:0{length}b}"] = symbol
                code += 1
            position += count
            code <<= 1
        return found

    def read(self, bits: np.ndarray) -> tuple[int, int]:
        """The first symbol of a stream, and where the next bits begin."""
        text = "".join(str(bit) for bit in bits[:16])
        codes = self.codes()
        return next((codes[text[:length]], length) for length in range(1, 17) if text[:length] in codes)

    def code(self, symbol: int) -> str:
        """The code of a symbol; a new one, one bit longer than all others, where the table lacks it."""
        if symbol not in self.symbols:
            longest = max(length for length, count in enumerate(self.counts, 1) if count)
            # The code of ones alone is never in use, so there is room below it.
            self.counts[longest] += 1
            self.symbols.append(symbol)
        return next(code for code, other in self.codes().items() if other == symbol)

    def body(self) -> bytes:
        return bytes(self.counts) + bytes(self.symbols)


def _huffman(body: bytes) -> dict[int, _Huffman]:
    tables = {}
    while body:
        counts = list(body[1:17])
        tables[body[0]] = _Huffman(counts, list(body[17 : 17 + sum(counts)]))
        body = body[17 + sum(counts) :]
    return tables


def _first_steps(body: bytes) -> dict[int, int]:
    """Quantisation step of the DC coefficient in each table."""
    steps = {}
    while body:
        wide = body[0] >> 4
        steps[body[0] & 15] = int.from_bytes(body[1 : 2 + wide], "big")
        body = body[1 + 64 * (1 + wide) :]
    return steps


def _value(bits: np.ndarray) -> int:
    """A difference from its magnitude bits (ITU-T T.81 F.1.2.1.1)."""
    if not len(bits):
        return 0
    number = int("".join(str(bit) for bit in bits), 2)
    return number if bits[0] else number - 2 ** len(bits) + 1
