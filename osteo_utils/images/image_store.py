"""The image store: films as uint8 (n, 512, 512) in one file, into which the rows of a manifest point."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.study import results

STORE_SIDE = 512


class Box(NamedTuple):
    """Where a film lies in its stored square, in pixels of the store."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the film, to index the stored square."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def to_store(pixels: np.ndarray) -> tuple[np.ndarray, float, int, int]:
    """Fit a film, uint8 (h, w), into the stored square: (uint8 (512, 512), scale, pad_left, pad_top).

    The aspect is kept, the rest is 0. Resampling is Lanczos with a support that grows when shrinking.
    """
    height, width = pixels.shape
    box = content_box(width, height)
    stored = np.zeros((STORE_SIDE, STORE_SIDE), np.uint8)
    small = Image.fromarray(pixels).resize((box.width, box.height), Image.Resampling.LANCZOS)
    stored[box.slices] = np.asarray(small)
    return stored, STORE_SIDE / max(height, width), box.left, box.top


def content_box(width: int, height: int) -> Box:
    """Where a film of this size lies in the stored square; exact integers, so it needs no table."""
    longest = max(width, height)
    new_width, new_height = (max(1, (2 * side * STORE_SIDE + longest) // (2 * longest)) for side in (width, height))
    return Box((STORE_SIDE - new_height) // 2, (STORE_SIDE - new_width) // 2, new_height, new_width)


def box_of(row: Any) -> Box:
    """Where the film of a row of the manifest (width, height) lies in the stored square."""
    return content_box(int(row.width), int(row.height))


def load(path: Path, manifest: pd.DataFrame) -> np.ndarray:
    """The store, read-only and memory-mapped: uint8 (n, 512, 512).

    Raises FileNotFoundError where it is missing, ValueError where it does not fit the manifest.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; run notebook 01_data_download first")
    images = np.load(path, mmap_mode="r")
    expected = (int((manifest["status"] == "ok").sum()), STORE_SIDE, STORE_SIDE)
    if images.shape != expected or images.dtype != np.uint8:
        raise ValueError(
            f"{path}: found {images.dtype} {images.shape}, expected uint8 {expected} as in the manifest; "
            "run notebook 01_data_download again"
        )
    return images


def join(paths: Sequence[Path], path: Path) -> Path:
    """Write the films of several stores after one another as one store; returns its path.

    They go from file to file, as two sets may be larger than memory. Raises OSError where the disk is full.
    """
    parts = [np.load(part, mmap_mode="r") for part in paths]
    with Writer.opened(path, sum(map(len, parts))) as writer:
        for place, part in zip(paths, parts, strict=True):
            with place.open("rb") as source:
                source.seek(part.offset)
                shutil.copyfileobj(source, writer.stream, 1 << 20)
            writer.count += len(part)
    return path


def film(store: np.ndarray, row: Any) -> np.ndarray:
    """One film of the image store without its padding; `row` has the manifest's width, height and row."""
    return np.asarray(store[(int(row.row), *box_of(row).slices)])


def grey_levels(store: np.ndarray, images: pd.DataFrame, bins: int = 64) -> pd.DataFrame:
    """How bright the films of each class are: class_name, level (0 to 255), share, low, high.

    `share` is the median over films of the share of pixels in a bin, `low` and `high` its quartiles.
    """
    edges = np.linspace(0, 256, bins + 1)
    shares = np.array([np.histogram(film(store, row), edges)[0] for row in images.itertuples()], float)
    shares /= shares.sum(axis=1, keepdims=True)
    parts = []
    for name, part in images.reset_index(drop=True).groupby("class_name"):
        low, middle, high = np.quantile(shares[part.index], [0.25, 0.5, 0.75], axis=0)
        level = (edges[1:] + edges[:-1]) / 2
        parts.append(pd.DataFrame({"class_name": name, "level": level, "share": middle, "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)


class Writer:
    """Appends squares to an .npy file whose length is known only at the end."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self.stream, self.count = stream, 0
        self.start = self._header()

    @classmethod
    @contextmanager
    def opened(cls, path: Path | None, most: int) -> Iterator[Writer]:
        """Writer to `path`, renamed from a temporary name when whole; to nowhere when `path` is None."""
        if path is None:
            yield cls(None)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        needed, free = most * STORE_SIDE**2, shutil.disk_usage(path.parent).free
        if needed > free:
            raise OSError(
                f"{path}: the store may need {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; "
                "make room, or set OSTEO_HOME to a folder on a larger disk"
            )
        with results.atomic_path(path) as temporary, temporary.open("wb") as stream:
            writer = cls(stream)
            yield writer
            stream.seek(0)
            if writer._header() != writer.start:
                raise RuntimeError(f"{path}: the header of the store changed its length; report this as a fault")

    def append(self, square: np.ndarray) -> int:
        """Write one square; returns its row."""
        if self.stream:
            self.stream.write(square.tobytes())
        self.count += 1
        return self.count - 1

    def _header(self) -> int:
        # NumPy leaves room in the header for any first length, so it can be written again at the end.
        shape = (self.count, STORE_SIDE, STORE_SIDE)
        if not self.stream:
            return 0
        np.lib.format.write_array_header_1_0(self.stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return self.stream.tell()
