"""What a model sees of a film: a square view of the whole film, of bone alone or without bone, and augmented copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from osteo_utils.images.decode import MIN_SIDE
from osteo_utils.images.image_store import STORE_SIDE, Box, content_box
from osteo_utils.study import resources
from osteo_utils.study.parameters import VIEWS

# Side of the square around a knee over the width of its bone: the joint with a hand's breadth of each shaft.
KNEE_ZOOM = 1.5
KNEE_COLUMNS = ("knee_y", "knee_x", "knee_width")


def view(
    stored: np.ndarray,
    box: Box,
    kind: str,
    size: int = 224,
    mask: bool = False,
    knee: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """One stored film, uint8 (512, 512), as the square that a model sees, uint8 (size, size).

    `box` is the film's place in the stored square. The kind `squeeze` stretches the film, `pad` shrinks the whole
    stored square, `crop` takes the centred square of the film's shorter side, `knee` a square of 1.5 knee widths
    around the joint, at most as large as that of `crop`. The argument `knee` is (y, x, width) as shares of the film's
    height and width; None means `crop`. A `mask` keeps its values (nearest neighbour). Raises ValueError for another
    kind.
    """
    if kind not in VIEWS:
        raise ValueError(f"view {kind!r} is unknown; expected one of {', '.join(VIEWS)}")
    if kind == "pad":
        box = Box(0, 0, STORE_SIDE, STORE_SIDE)
    elif kind in ("crop", "knee"):
        box = _square(box, knee if kind == "knee" else None)
    # Crop before resampling, or black padding would bleed into the edges.
    part = np.ascontiguousarray(stored[box.slices])
    resampling = Image.Resampling.NEAREST if mask else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(part).resize((size, size), resampling))


def _square(box: Box, knee: tuple[float, float, float] | None) -> Box:
    """The square around a film's knee, or the centred square of its shorter side."""
    side = min(box.height, box.width)
    y, x, width = (0.5, 0.5, None) if knee is None else knee
    if width is not None:
        side = min(side, max(MIN_SIDE, round(KNEE_ZOOM * width * box.width)))
    top = min(max(int(y * box.height - side / 2), 0), box.height - side)
    left = min(max(int(x * box.width - side / 2), 0), box.width - side)
    return Box(box.top + top, box.left + left, side, side)


def views(images: np.ndarray, manifest: pd.DataFrame, kind: str, size: int = 224, mask: bool = False) -> np.ndarray:
    """One view of every usable film (status `ok`) of a store: uint8 (n, size, size), in the order of the manifest.

    The view `knee` also needs the columns knee_y, knee_x and knee_width, empty where no knee was found.
    """
    usable = manifest[manifest["status"] == "ok"]
    return views_of((images[row] for row in usable["row"].astype(int)), usable, kind, size, mask)


def views_of(
    stored: Iterable[np.ndarray], films: pd.DataFrame, kind: str, size: int = 224, mask: bool = False
) -> np.ndarray:
    """One view of stored films that come one by one, in the order of their table: uint8 (n, size, size)."""
    result = resources.array((len(films), size, size), np.uint8)
    knees = [None] * len(films)
    if kind == "knee":
        if missing := sorted(set(KNEE_COLUMNS) - set(films.columns)):
            raise ValueError(f"view 'knee' needs the columns {missing}; they come from notebook 03")
        places = films[list(KNEE_COLUMNS)].to_numpy(float)
        knees = [tuple(place) if np.isfinite(place).all() else None for place in places]
    sides = (films[name].astype(int) for name in ("width", "height"))
    for index, (film, width, height, knee) in enumerate(zip(stored, *sides, knees, strict=True)):
        result[index] = view(film, content_box(width, height), kind, size, mask, knee)
    return result


def augment(image: np.ndarray, index: int, key: str, seed: int) -> np.ndarray:
    """Augmented copy number `index` of an image, uint8 (s, s); (seed, key, index) determine it.

    0 is the image itself, 1 its mirror image. From 2 on: random rotation (within 10 degrees), zoom (0.9 to 1.1),
    shift (within 5 %), contrast (0.9 to 1.1), gamma (0.8 to 1.25) and mirroring. Border pixels are reflected.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or index < 0:
        raise ValueError(f"augment: expected uint8 (s, s) and index >= 0, found {image.dtype} {image.shape}, {index}")
    if index == 0:
        return image.copy()
    if index == 1:
        return image[:, ::-1].copy()
    entropy = hashlib.sha256(f"{seed}|{key}|{index}".encode()).digest()
    random = np.random.default_rng(np.random.SeedSequence(int.from_bytes(entropy, "big")))
    angle = np.deg2rad(random.uniform(-10, 10))
    zoom = random.uniform(0.9, 1.1)
    shift = random.uniform(-0.05, 0.05, 2) * image.shape
    contrast = random.uniform(0.9, 1.1)
    gamma = np.exp(random.uniform(-1, 1) * np.log(1.25))
    mirrored = random.random() < 0.5
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    centre = (np.array(image.shape) - 1) / 2
    source = image[:, ::-1] if mirrored else image
    offset = centre - matrix @ (centre + shift)
    warped = ndimage.affine_transform(source, matrix, offset, order=1, mode="reflect")
    level = (np.arange(256) / 255) ** gamma
    curve = np.clip((level - 0.5) * contrast + 0.5, 0, 1)
    return np.rint(curve * 255).astype(np.uint8)[warped]


def augment_all(images: np.ndarray, keys: Sequence[str], index: int, seed: int) -> np.ndarray:
    """Augmented copy number `index` of every image, uint8 (n, s, s); the keys are their `image_id`s."""
    if len(images) != len(keys):
        raise ValueError(f"augment_all: {len(images)} images but {len(keys)} keys; expected one key per image")
    result = resources.array(images.shape, np.uint8)
    for position, (image, key) in enumerate(zip(images, keys, strict=True)):
        result[position] = augment(image, index, key, seed)
    return result


def apply_mask(image: np.ndarray, mask: np.ndarray, dilation: int = 8) -> np.ndarray:
    """The film with its bone unchanged and the rest black: same shape, uint8.

    The mask is dilated by `dilation` pixels to keep the bone's outline, and its edge fades over as many pixels so that
    the cut is not the strongest edge. Raises ValueError for an empty mask or one of another shape.
    """
    distance = ndimage.distance_transform_edt(~_checked(mask, image))
    return np.rint(np.clip(2 - distance / dilation, 0, 1) * image.astype(float)).astype(np.uint8)


def _checked(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    if mask.shape != image.shape:
        raise ValueError(f"the mask is {mask.shape}, the image {image.shape}; expected the same shape")
    if not mask.any():
        raise ValueError("the mask is empty; use the whole film or leave it out where its mask is not plausible")
    return mask.astype(bool)


def without_bone(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The film with its bone replaced by what surrounds it: same shape, uint8.

    The hole (the mask and a margin of 3 % of the film's width) is filled with the smoothest surface between its edges
    (Laplace's equation, by repeated averaging from coarse to fine) and the grain of adjacent soft tissue, so that
    neither an edge nor missing noise shows where the bone was. A film of nothing but bone becomes one grey level.
    Raises ValueError for an empty mask or one of another shape.
    """
    mask = _checked(mask, image)
    reach = max(2, round(0.03 * image.shape[1]))
    hole = ndimage.distance_transform_edt(~mask) <= reach
    film = image.astype(np.float32)
    if hole.all():
        return np.full_like(image, round(float(film.mean())))
    filled = _filled(film, hole)
    beside = ~hole & (ndimage.distance_transform_edt(~hole) <= 4 * reach)
    # Of the filled film, so that the blur of a bright bone does not affect the grain.
    grain = (filled - ndimage.gaussian_filter(filled, 1.5))[beside]
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.standard_normal(image.shape, np.float32), 0.6)
    noise *= 1.4826 * np.median(np.abs(grain - np.median(grain))) / noise.std()
    # The fill fades in over the margin, which is soft tissue already.
    share = np.clip((reach - ndimage.distance_transform_edt(~mask)) / max(reach / 2, 1), 0, 1)
    return np.clip(np.rint(film + share * (filled + noise - film)), 0, 255).astype(np.uint8)


def _filled(film: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The film with its hole filled smoothly: solved at half the resolution first, then relaxed."""
    known = (~hole).astype(np.float32)
    if min(film.shape) <= 4 or not hole.any():
        mean = float((film * known).sum() / max(known.sum(), 1))
        return np.where(hole, mean, film)
    size = tuple((side + 1) // 2 for side in film.shape[::-1])
    weight = np.asarray(Image.fromarray(known).resize(size, Image.Resampling.BOX))
    level = np.asarray(Image.fromarray(film * known).resize(size, Image.Resampling.BOX))
    coarse = _filled(np.divide(level, weight, out=np.zeros_like(level), where=weight > 0), weight <= 0)
    guess = np.asarray(Image.fromarray(coarse).resize(film.shape[::-1], Image.Resampling.BILINEAR))
    filled = np.where(hole, guess, film)
    for _ in range(20):
        filled = np.where(hole, ndimage.uniform_filter(filled, 3, mode="nearest"), film)
    return filled
