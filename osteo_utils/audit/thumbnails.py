"""Thumbnails of films, by which copies are found: computed once, stored in files, read as needed.

A thumbnail shows a leg in local contrast, which changes of brightness and contrast do not affect. A film of two legs
has two thumbnails or more, so that a copy of one leg is found as well.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from osteo_utils.images.image_store import film

HEIGHT, WIDTH = 128, 64
_SIDE = 96
_WHITE = 240
# Width over height, of film and leg, from which one leg may be two: those that touched on real films have 0.68 and more.
_WIDE = 0.8
# Films per task, which bounds the memory of a process.
_BLOCK = 128
_KINDS = {
    "coarse": ((2, HEIGHT // 4, WIDTH // 4), np.float16),
    "quarter": ((2, HEIGHT // 4, WIDTH // 4), np.float16),
    "leg": ((HEIGHT, WIDTH), np.float16),
    "grey": ((2 * HEIGHT, 2 * WIDTH), np.uint8),
    "boxes": ((4,), np.float64),
    "pixels": ((2,), np.float64),
    "owner": ((), np.int64),
    "part": ((), np.int64),
}


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails of n legs.

    Local contrast of frame and leg, `coarse` (n, 2, 32, 16) float16, finds candidates; `quarter` is the same after a
    quarter turn anticlockwise. Local contrast of the leg, `leg` (n, 128, 64) float16, serves registration; its grey
    levels, `grey` (n, 256, 128) uint8, decide. `boxes` (n, 4): left, top, right, bottom of the leg as shares of the
    frame; `pixels` (n, 2): its height and width in pixels of the file; `owner` (n,): row of the film; `part` (n,):
    which of its `parts` this is.
    """

    coarse: np.ndarray
    quarter: np.ndarray
    leg: np.ndarray
    grey: np.ndarray
    boxes: np.ndarray
    pixels: np.ndarray
    owner: np.ndarray
    part: np.ndarray


def thumbnails(legs: Sequence[tuple[np.ndarray, tuple[int, int]]]) -> Thumbnails:
    """Thumbnails of legs, each a grey uint8 image (h, w) and its height and width in pixels of the file."""
    made = {name: np.zeros((len(legs), *shape), kind) for name, (shape, kind) in _KINDS.items()}
    for index, (picture, size) in enumerate(legs):
        height, width = picture.shape
        left, top, right, bottom = box = leg_box(picture)
        made["grey"][index] = _cut(picture, box, (2 * WIDTH, 2 * HEIGHT))
        made["leg"][index] = local_contrast(_cut(picture, box, (WIDTH, HEIGHT)))
        made["coarse"][index] = _coarse(picture, box)
        turned = np.ascontiguousarray(np.rot90(picture))
        made["quarter"][index] = _coarse(turned, leg_box(turned))
        made["boxes"][index] = left / width, top / height, right / width, bottom / height
        made["pixels"][index] = (bottom - top) / height * size[0], (right - left) / width * size[1]
        made["owner"][index] = index
    return Thumbnails(**made)


def of_store(images: np.ndarray, table: pd.DataFrame, folder: Path, workers: int) -> Thumbnails:
    """Memory-mapped thumbnails of every leg of the films of a manifest `table`; `owner` is a row of `table`.

    `images` is the store. The files lie in `folder` (54 KB a leg).
    """
    blocks = [table.iloc[start : start + _BLOCK] for start in range(0, len(table), _BLOCK)]
    tasks = (delayed(_of_block)(images, block, number * _BLOCK) for number, block in enumerate(blocks))
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in _KINDS}
        for block in Parallel(n_jobs=workers, return_as="generator")(tasks):
            for name, file in files.items():
                getattr(block, name).tofile(file)
    stored = {name: np.memmap(folder / name, kind, "r").reshape(-1, *shape) for name, (shape, kind) in _KINDS.items()}
    return Thumbnails(**stored)


def legs_of(images: np.ndarray, row: object) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The `parts` of a film of the store: grey images, and height and width in pixels of the file."""
    whole = film(images, row)
    return [
        (whole[:, columns], (row.height, max(1, round(row.width * (columns.stop - columns.start) / whole.shape[1]))))
        for columns in parts(whole)
    ]


def release_pages(array: np.ndarray) -> None:
    """Release the memory of a read-only memory-mapped array, which is read again when needed; ignores other arrays."""
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        base = array.base
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)


def _of_block(images: np.ndarray, block: pd.DataFrame, start: int) -> Thumbnails:
    found = [
        (leg, start + number, part)
        for number, row in enumerate(block.itertuples())
        for part, leg in enumerate(legs_of(images, row))
    ]
    made = thumbnails([leg for leg, _, _ in found])
    made.owner[:] = [owner for _, owner, _ in found]
    made.part[:] = [part for _, _, part in found]
    release_pages(images)
    return made


def leg_box(film: np.ndarray) -> tuple[float, float, float, float]:
    """Box (left, top, right, bottom), in pixels, of the largest bright object of a film (h, w), else the whole film."""
    height, width = film.shape
    whole = 0.0, 0.0, float(width), float(height)
    bright, labels, count = _bright_objects(film)
    if count == 0:
        return whole
    largest = labels == 1 + np.argmax(ndimage.sum_labels(bright, labels, range(1, count + 1)))
    rows = np.flatnonzero(largest.mean(axis=1) > 0.04)
    columns = np.flatnonzero(largest.mean(axis=0) > 0.08)
    if len(rows) < 8 or len(columns) < 8:
        return whole
    x, y = width / _SIDE, height / _SIDE
    return columns[0] * x, rows[0] * y, (columns[-1] + 1) * x, (rows[-1] + 1) * y


def parts(film: np.ndarray) -> list[slice]:
    """Columns of what is compared of a film (h, w): each of its legs, left to right.

    One leg that is as wide as two may be two that touch, so the halves of the film are compared as well.
    """
    found = legs(film)
    if len(found) == 1:
        left, top, right, bottom = leg_box(film)
        if right - left >= _WIDE * (bottom - top) and film.shape[1] >= _WIDE * film.shape[0]:
            middle = film.shape[1] // 2
            found += [slice(0, middle), slice(middle, film.shape[1])]
    return found


def legs(film: np.ndarray) -> list[slice]:
    """Columns of each leg of a film (h, w): one slice, or two where it shows two legs side by side.

    Two legs are bright objects without common columns, at least half as high as the film and 40 % as large as the other.
    """
    width = film.shape[1]
    _, labels, count = _bright_objects(film)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if count < 2:
        return [slice(0, width)]
    first, second = (np.argsort(sizes)[::-1][:2] + 1).tolist()
    boxes = ndimage.find_objects(labels)
    ends = sorted((boxes[number - 1] for number in (first, second)), key=lambda box: box[1].start)
    tall = all(box[0].stop - box[0].start >= _SIDE / 2 for box in ends)
    if not tall or sizes[second - 1] < 0.4 * sizes[first - 1] or ends[0][1].stop > ends[1][1].start:
        return [slice(0, width)]
    middle = round((ends[0][1].stop + ends[1][1].start) / 2 * width / _SIDE)
    return [slice(0, middle), slice(middle, width)]


def _bright_objects(film: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Foreground at 96 by 96: a mask, its connected components and their number."""
    resized = Image.fromarray(np.ascontiguousarray(film)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    small = np.asarray(resized, dtype=np.float32)
    small = ndimage.median_filter(small, 3)
    dark = np.percentile(small, 2)
    # A white strip along an edge is no leg, and a cropped copy would lack it.
    for turn in range(4):
        edge = np.rot90(small, turn)
        edge[: np.argmin(edge.min(axis=1) > _WHITE)] = dark
    # Half of Otsu's threshold above the background: Otsu alone keeps bone and loses soft tissue.
    bright = small > dark + 0.5 * (threshold_otsu(small) - dark)
    return bright, *ndimage.label(bright)


def _coarse(film: np.ndarray, leg: tuple[float, float, float, float]) -> np.ndarray:
    """Local contrast of frame and leg of a film (h, w): float32 (2, 32, 16)."""
    boxes = ((0, 0, film.shape[1], film.shape[0]), leg)
    return np.stack([local_contrast(_cut(film, box, (WIDTH // 4, HEIGHT // 4))) for box in boxes])


def _cut(film: np.ndarray, box: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """A box of a film resized to (width, height), with stretched grey levels, so that low contrast does not matter."""
    image = Image.fromarray(np.ascontiguousarray(film))
    picture = np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=tuple(map(float, box))), dtype=np.float32)
    low, high = np.percentile(picture, (1, 99))
    return np.clip((picture - low) * (255 / max(high - low, 1)), 0, 255)


def local_contrast(picture: np.ndarray) -> np.ndarray:
    """Difference of Gaussians, normalised by its local amplitude."""
    pixel = len(picture) / HEIGHT
    around = max(6.0 * pixel, 2.0)
    fine = ndimage.gaussian_filter(picture, max(pixel, 0.5))
    band = fine - ndimage.gaussian_filter(picture, max(3.0 * pixel, 2.0))
    strength = np.sqrt(ndimage.gaussian_filter(band * band, around))
    return band / (strength + 3.0)
