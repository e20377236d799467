"""Small pictures of films, by which copies are found: drawn once, kept in files, read as they are needed.

Each film is reduced to pictures of its leg in local contrast, which neither brightness nor contrast changes. A film
of two legs counts as two, so that one leg cut from it is found as well.
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
# Films whose pictures are drawn in one go: what a process holds at a time.
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
    """Small pictures of n legs.

    `coarse` (n, 2, 32, 16) float16, local contrast of frame and leg, finds candidates, and `quarter`
    is the same after a quarter turn against the clock; `leg` (n, 128, 64) float16, local contrast, registers them;
    `grey` (n, 256, 128) uint8, the leg, decides. `boxes` (n, 4) holds the leg box as left, top, right, bottom in
    shares of the frame, `pixels` (n, 2) its height and width in pixels of the file, `owner` (n,) the row of the film
    and `part` (n,) which of its legs this is.
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
    """Reduce legs, each a grey uint8 picture (h, w) and its height and width in pixels of the file."""
    drawn = {name: np.zeros((len(legs), *shape), kind) for name, (shape, kind) in _KINDS.items()}
    for index, (picture, size) in enumerate(legs):
        height, width = picture.shape
        left, top, right, bottom = box = leg_box(picture)
        drawn["grey"][index] = _cut(picture, box, (2 * WIDTH, 2 * HEIGHT))
        drawn["leg"][index] = local_contrast(_cut(picture, box, (WIDTH, HEIGHT)))
        drawn["coarse"][index] = _coarse(picture, box)
        turned = np.ascontiguousarray(np.rot90(picture))
        drawn["quarter"][index] = _coarse(turned, leg_box(turned))
        drawn["boxes"][index] = left / width, top / height, right / width, bottom / height
        drawn["pixels"][index] = (bottom - top) / height * size[0], (right - left) / width * size[1]
        drawn["owner"][index] = index
    return Thumbnails(**drawn)


def of_store(images: np.ndarray, table: pd.DataFrame, folder: Path, workers: int) -> Thumbnails:
    """Portraits of every leg of the films of a table, kept in files of `folder` (54 KB a leg) and memory-mapped.

    `images` is the store, `table` the rows of its manifest. `owner` counts the rows of `table` from 0.
    """
    blocks = [table.iloc[start : start + _BLOCK] for start in range(0, len(table), _BLOCK)]
    tasks = (delayed(_of_block)(images, block, number * _BLOCK) for number, block in enumerate(blocks))
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in _KINDS}
        for drawn in Parallel(n_jobs=workers, return_as="generator")(tasks):
            for name, file in files.items():
                getattr(drawn, name).tofile(file)
    kept = {}
    for name, (shape, kind) in _KINDS.items():
        flat = np.memmap(folder / name, kind, "r")
        kept[name] = flat.reshape(-1, *shape) if shape else flat
    return Thumbnails(**kept)


def legs_of(images: np.ndarray, row: object) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The legs of one film of the store, left to right: grey pictures, and height and width in the file's pixels."""
    whole = film(images, row)
    return [
        (whole[:, columns], (row.height, max(1, round(row.width * (columns.stop - columns.start) / whole.shape[1]))))
        for columns in legs(whole)
    ]


def let_go(array: np.ndarray) -> None:
    """Give the pages of a read-only memory-mapped array back; they are read again when they are needed.

    Pages of a file once read count as this process's memory until something else asks for it; a store may be larger
    than memory. Does nothing to other arrays.
    """
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
    drawn = thumbnails([leg for leg, _, _ in found])
    drawn.owner[:] = [owner for _, owner, _ in found]
    drawn.part[:] = [part for _, _, part in found]
    let_go(images)
    return drawn


def leg_box(film: np.ndarray) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom), in pixels, of the largest bright object of a film (h, w).

    Returns the whole film when nothing stands out, such as on an empty one.
    """
    height, width = film.shape
    side = _SIDE
    bright, labels, count = _bright_objects(film)
    if count == 0:
        return 0.0, 0.0, float(width), float(height)
    largest = labels == 1 + np.argmax(ndimage.sum_labels(bright, labels, range(1, count + 1)))
    rows = np.flatnonzero(largest.mean(axis=1) > 0.04)
    columns = np.flatnonzero(largest.mean(axis=0) > 0.08)
    if len(rows) < 8 or len(columns) < 8:
        return 0.0, 0.0, float(width), float(height)
    x, y = width / side, height / side
    return columns[0] * x, rows[0] * y, (columns[-1] + 1) * x, (rows[-1] + 1) * y


def legs(film: np.ndarray) -> list[slice]:
    """The columns of each leg of a film (h, w): one slice, or two where it shows two legs side by side.

    Two legs are bright objects, both at least half as high as the film and the smaller at least 40 % of the larger,
    whose columns do not overlap.
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
    """What is not background, at 96 by 96: a mask, its connected pieces and their number."""
    picture = Image.fromarray(np.ascontiguousarray(film))
    small = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)
    small = ndimage.median_filter(small, 3)
    dark = np.percentile(small, 2)
    # A white strip along an edge is no leg, and would be cut off from a cropped copy.
    for turn in range(4):
        edge = np.rot90(small, turn)
        edge[: np.argmin(edge.min(axis=1) > _WHITE)] = dark
    # Half of Otsu's level above the background: Otsu alone keeps bone and loses the soft tissue.
    bright = small > dark + 0.5 * (threshold_otsu(small) - dark)
    return bright, *ndimage.label(bright)


def _coarse(film: np.ndarray, leg: tuple[float, float, float, float]) -> np.ndarray:
    """Local contrast of frame and leg of a film (h, w): float32 (2, 32, 16)."""
    boxes = ((0, 0, film.shape[1], film.shape[0]), leg)
    return np.stack([local_contrast(_cut(film, box, (WIDTH // 4, HEIGHT // 4))) for box in boxes])


def _cut(film: np.ndarray, box: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """A box of a film at (width, height), its grey levels stretched: the same for a flatter copy."""
    small = Image.fromarray(np.ascontiguousarray(film)).resize(
        size, Image.Resampling.BICUBIC, box=tuple(map(float, box))
    )
    picture = np.asarray(small, dtype=np.float32)
    low, high = np.percentile(picture, (1, 99))
    return np.clip((picture - low) * (255 / max(high - low, 1)), 0, 255)


def local_contrast(picture: np.ndarray) -> np.ndarray:
    """Difference of Gaussians over its local strength."""
    pixel = len(picture) / HEIGHT
    around = max(6.0 * pixel, 2.0)
    fine = ndimage.gaussian_filter(picture, max(pixel, 0.5))
    band = fine - ndimage.gaussian_filter(picture, max(3.0 * pixel, 2.0))
    strength = np.sqrt(ndimage.gaussian_filter(band * band, around))
    return band / (strength + 3.0)
