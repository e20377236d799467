"""The image store: films as uint8 (n, 512, 512) in one file, indexed by the `row` of a manifest."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.study import results

STORE_SIDE = 512
Append = Callable[[np.ndarray], int]


class Box(NamedTuple):
    """Place of a film in its stored square, in pixels of the store."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the film, to index the stored square."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def to_store(pixels: np.ndarray) -> tuple[np.ndarray, float, int, int]:
    """Fit a film, uint8 (h, w), into the stored square by Lanczos: (uint8 (512, 512), scale, pad_left, pad_top)."""
    height, width = pixels.shape
    box = content_box(width, height)
    stored = np.zeros((STORE_SIDE, STORE_SIDE), np.uint8)
    small = Image.fromarray(pixels).resize((box.width, box.height), Image.Resampling.LANCZOS)
    stored[box.slices] = np.asarray(small)
    return stored, STORE_SIDE / max(height, width), box.left, box.top


def content_box(width: int, height: int) -> Box:
    """Place in the stored square of a film of this size; integer arithmetic, so it need not be saved."""
    longest = max(width, height)
    new_width, new_height = (max(1, (2 * side * STORE_SIDE + longest) // (2 * longest)) for side in (width, height))
    return Box((STORE_SIDE - new_height) // 2, (STORE_SIDE - new_width) // 2, new_height, new_width)


def box_of(row: Any) -> Box:
    """Place in the stored square of the film of a row of the manifest (width, height)."""
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
        found = f"found {images.dtype} {images.shape}, expected uint8 {expected} as in the manifest"
        raise ValueError(f"{path}: {found}; run notebook 01_data_download again")
    return images


def join(paths: Sequence[Path], path: Path) -> Path:
    """Concatenate several stores, film by film to save memory; returns `path`, or raises OSError on a full disk."""
    parts = [np.load(part, mmap_mode="r") for part in paths]
    with writer(path, sum(map(len, parts))) as append:
        for square in chain.from_iterable(parts):
            append(square)
    return path


def film(store: np.ndarray, row: Any) -> np.ndarray:
    """One film of the store without its padding; `row` has the manifest's width, height and row."""
    return np.asarray(store[(int(row.row), *box_of(row).slices)])


def as_url(store: np.ndarray, row: Any, height: int = 180) -> str:
    """One film of the store as a data URL for a page: JPEG, `height` pixels high."""
    picture = Image.fromarray(np.ascontiguousarray(film(store, row)))
    small = picture.resize((max(1, round(picture.width * height / picture.height)), height))
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()


def grey_levels(store: np.ndarray, images: pd.DataFrame) -> pd.DataFrame:
    """Histogram of the films of each class: class_name, level (0 to 255), share, low, high.

    `share` is the median over films of the share of pixels in a bin, `low` and `high` its quartiles.
    """
    edges = np.linspace(0, 256, 65)
    shares = np.array([np.histogram(film(store, row), edges)[0] for row in images.itertuples()], float)
    shares /= shares.sum(axis=1, keepdims=True)
    parts = []
    for name, part in images.reset_index(drop=True).groupby("class_name"):
        low, middle, high = np.quantile(shares[part.index], [0.25, 0.5, 0.75], axis=0)
        level = (edges[1:] + edges[:-1]) / 2
        parts.append(pd.DataFrame({"class_name": name, "level": level, "share": middle, "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)


@contextmanager
def writer(path: Path | None, most: int) -> Iterator[Append]:
    """A function that appends a stored square to a new store of unknown length and returns its row.

    The store appears at `path` only when complete; where `path` is None, rows are counted and nothing is written.
    Raises OSError where `most` squares would not fit on the disk.
    """
    rows = count()
    if path is None:
        yield lambda square: next(rows)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    needed, free = most * STORE_SIDE**2, shutil.disk_usage(path.parent).free
    if needed > free:
        space = f"the store may need {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free"
        raise OSError(f"{path}: {space}; make room, or set OSTEO_HOME to a folder on a larger disk")
    with results.atomic_path(path) as temporary, temporary.open("wb") as stream:

        def write_header(length: int) -> int:
            shape = (length, STORE_SIDE, STORE_SIDE)
            np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
            return stream.tell()

        def append(square: np.ndarray) -> int:
            stream.write(square.tobytes())
            return next(rows)

        start = write_header(0)
        yield append
        # NumPy pads the header for any length of the first axis, so it can be rewritten at the end.
        stream.seek(0)
        if write_header(next(rows)) != start:
            raise RuntimeError(f"{path}: the header of the store changed its length; please report this bug")
