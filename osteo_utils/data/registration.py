"""How alike two radiographs are once one is laid over the other.

A copy of a radiograph may be rescaled, squeezed, cropped, shifted, mirrored, slightly turned, or changed in
brightness. Each film is therefore reduced to small pictures of its leg in local contrast; a pair is registered by
an affine warp, and then compared in the finest detail that both files hold. Two different knees may agree in
outline, but not in detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import fft, ndimage
from skimage.filters import threshold_otsu

HEIGHT, WIDTH = 128, 64
_SIDE = 96
_SCALES = (0.59, 0.71, 0.84, 1.0, 1.19, 1.41, 1.68)
_STEPS = [(tall, broad) for tall in _SCALES for broad in _SCALES if 0.5 < tall / broad < 2]
_MIN_OVERLAP = 0.5
# Pixels of the finer of two files that the finest band spans; below lies noise of compression.
_FINEST = 0.8


@dataclass(frozen=True)
class Portraits:
    """Small pictures of n films.

    `coarse` (n, 3, 32, 16) float32, local contrast of frame, leg and the leg's core, finds candidates; `leg`
    (n, 128, 64) float32, local contrast, registers them; `grey` (n, 256, 128) uint8, the leg, decides. `boxes`
    (n, 4) holds the leg box as left, top, right, bottom in shares of the frame, `pixels` (n, 2) its height and
    width in pixels of the file.
    """

    coarse: np.ndarray
    leg: np.ndarray
    grey: np.ndarray
    boxes: np.ndarray
    pixels: np.ndarray


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
    # Half of Otsu's level above the background: Otsu alone keeps bone and loses the soft tissue.
    bright = small > dark + 0.5 * (threshold_otsu(small) - dark)
    return bright, *ndimage.label(bright)


def coarse(film: np.ndarray, leg: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """Local contrast of frame, leg and the leg's core of a film (h, w): float32 (3, 32, 16).

    The core is the middle 80 % of the leg box: it is what a cropped copy shares with its source.
    """
    height, width = film.shape
    left, top, right, bottom = leg or leg_box(film)
    x, y = 0.1 * (right - left), 0.1 * (bottom - top)
    boxes = (
        (0, 0, width, height),
        (left, top, right, bottom),
        (left + x, top + y, right - x, bottom - y),
    )
    return np.stack([_local_contrast(_cut(film, box, (WIDTH // 4, HEIGHT // 4))) for box in boxes])


def portraits(films: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> Portraits:
    """Reduce films, each grey uint8 (h, w); `sizes` are height and width in pixels of their files."""
    count = len(films)
    fingerprints = np.empty((count, 3, HEIGHT // 4, WIDTH // 4), np.float32)
    leg = np.empty((count, HEIGHT, WIDTH), np.float32)
    grey = np.empty((count, 2 * HEIGHT, 2 * WIDTH), np.uint8)
    boxes, pixels = np.empty((count, 4)), np.empty((count, 2))
    for index, (film, size) in enumerate(zip(films, sizes, strict=True)):
        height, width = film.shape
        left, top, right, bottom = leg_box(film)
        grey[index] = _cut(film, (left, top, right, bottom), (2 * WIDTH, 2 * HEIGHT))
        leg[index] = _local_contrast(_cut(film, (left, top, right, bottom), (WIDTH, HEIGHT)))
        fingerprints[index] = coarse(film, (left, top, right, bottom))
        boxes[index] = left / width, top / height, right / width, bottom / height
        pixels[index] = (bottom - top) / height * size[0], (right - left) / width * size[1]
    return Portraits(fingerprints, leg, grey, boxes, pixels)


def search(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift by Fourier correlation: one picture against many.

    `fixed` (32, 16) and `moving` (m, 32, 16) are coarse leg pictures. Returns warps (m, 2, 3) from the fixed to
    each moving picture, in pixels of the full leg picture, and the correlation (m,) at each one's peak. It is
    normalised over the overlap (Padfield, IEEE Trans. Image Process. 2012), which is at least 40 % of the
    smaller picture; so a part finds its place in the whole.
    """
    height, width = fixed.shape
    shape = (height * 3 // 2, width * 3 // 2)
    warped = [_warped(fixed - fixed.mean(), np.diag((*step, 1.0))[:2]) for step in _STEPS]
    scaled = np.stack([seen for seen, _ in warped])
    mask = np.stack([inside.reshape(height, width) for _, inside in warped]).astype(np.float32)
    spectra, masks = np.conj(fft.rfft2(scaled, shape)), np.conj(fft.rfft2(mask, shape))
    window = fft.rfft2(np.ones_like(fixed), shape)
    energy = fft.irfft2(window * np.conj(fft.rfft2(scaled**2, shape)), shape)
    overlap = fft.irfft2(window * masks, shape)
    enough = overlap >= 0.4 * mask.sum(axis=(1, 2), keepdims=True)
    warps, peaks = np.zeros((len(moving), 2, 3)), np.empty(len(moving))
    for index, picture in enumerate(moving):
        picture = picture - picture.mean()
        product = fft.irfft2(fft.rfft2(picture, shape) * spectra, shape)
        other_energy = fft.irfft2(fft.rfft2(picture**2, shape) * masks, shape)
        surfaces = np.where(enough, product / np.sqrt(np.maximum(energy * other_energy, 1e-3)), -1)
        step, *shift = np.unravel_index(np.argmax(surfaces), surfaces.shape)
        peaks[index] = surfaces[(step, *shift)]
        for axis in range(2):
            moved = shift[axis] - shape[axis] if shift[axis] > shape[axis] // 2 else shift[axis]
            warps[index, axis, axis] = 1 / _STEPS[step][axis]
            warps[index, axis, 2] = moved * (HEIGHT // height)
    return warps, peaks


def register(
    fixed: np.ndarray, moving: np.ndarray, starts: Sequence[np.ndarray], floor: float = 0.72
) -> tuple[np.ndarray, float]:
    """The affine warp (2, 3) that lays one leg picture (128, 64) over another, and their correlation under it.

    From the best of the `starts`, a warp of `search` and then guesses such as `frame_start`, the fit is refined with
    Gauss-Newton steps (inverse compositional: Baker and Matthews, IJCV 2004), first at half size. Only the
    overlap counts; a fit that keeps less than half of the picture, or turns or stretches it beyond what a copy
    shows, is void. Below `floor` at half size the pair is given up.
    """
    warp, score = np.eye(2, 3), _pearson(fixed.ravel(), moving.ravel())
    if score < 0.97:
        small_fixed, small_moving = _halved(fixed), _halved(moving)
        # A guess that does not match at all before the first step is not worth three.
        halves = [start * (1, 1, 0.5) for start in starts]
        tried = [
            _refine(small_fixed, small_moving, half, steps=3)
            for number, half in enumerate(halves)
            if number == 0 or _refine(small_fixed, small_moving, half, steps=1)[1] > 0.25
        ]
        coarse_warp, reached = max(tried, key=lambda fit: fit[1], default=(warp, -1.0))
        if reached >= floor - 0.2:
            coarse_warp, reached = _refine(small_fixed, small_moving, coarse_warp, steps=10)
        if reached < max(floor, score):
            return warp, max(score, reached)
        warp = coarse_warp * (1, 1, 2)
    refined, reached = _refine(fixed, moving, warp, steps=7)
    return (refined, reached) if reached > score else (np.eye(2, 3), score)


def detail(
    fixed: np.ndarray, moving: np.ndarray, warp: np.ndarray, pixels: np.ndarray, moving_pixels: np.ndarray
) -> float:
    """Correlation, −1 to 1, of the finest detail that both of two registered films hold.

    `fixed` and `moving` are grey leg pictures (256, 128), `warp` as from `register`, `pixels` how many pixels
    of each file made the picture, down and across. Two knees may agree in outline; in trabeculae, cortex and
    noise only copies do. Where one film is blurred in spite of its pixels, a coarser band is used.
    """
    height, width = fixed.shape
    seen, inside = _warped(moving.astype(np.float32), warp * (1, 1, 2))
    inside = inside.reshape(height, width)
    inner = ndimage.binary_erosion(inside, iterations=3, border_value=1)
    if inner.mean() < 0.4:
        return -1.0
    # Outside the overlap each picture goes on at its mean, so that the filters see no step there.
    own = np.where(inside, fixed, fixed[inside].mean()).astype(np.float32)
    other = np.where(inside, seen, seen[inside].mean())
    pitch = np.maximum((height, width) / pixels, (height, width) / moving_pixels / warp[[0, 1], [0, 1]])
    for coarser in (1.0, 1.5, 2.2, 3.2):
        narrow = np.maximum(_FINEST, _FINEST * pitch) * coarser
        bands = [_band(picture, narrow) for picture in (own, other)]
        shares = [
            np.std(band[inner]) / max(float(np.std(whole[inner])), 1e-6)
            for band, whole in zip(bands, (_band(own, narrow * 3), _band(other, narrow * 3)), strict=True)
        ]
        if min(shares) >= 0.6 * max(shares):
            break
    first, second = (band / (np.sqrt(ndimage.gaussian_filter(band * band, 3)) + 1.0) for band in bands)
    return _pearson(first[inner], second[inner])


def frame_start(fixed_box: np.ndarray, moving_box: np.ndarray) -> np.ndarray:
    """The warp (2, 3) between two leg pictures that holds when both frames show the same field.

    Boxes as in `Portraits.boxes`; mirror the moving one first where the moving picture is mirrored.
    """
    warp = np.zeros((2, 3))
    for axis, (low, high, size) in enumerate(((1, 3, HEIGHT), (0, 2, WIDTH))):
        moving_size = moving_box[high] - moving_box[low]
        scale = (fixed_box[high] - fixed_box[low]) / moving_size
        offset = (fixed_box[low] + fixed_box[high] - moving_box[low] - moving_box[high]) / 2
        warp[axis, axis], warp[axis, 2] = scale, offset / moving_size * size
    return warp


def _cut(film: np.ndarray, box: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """A box of a film at (width, height), its grey levels stretched: the same for a flatter copy."""
    small = Image.fromarray(np.ascontiguousarray(film)).resize(
        size, Image.Resampling.BICUBIC, box=tuple(map(float, box))
    )
    picture = np.asarray(small, dtype=np.float32)
    low, high = np.percentile(picture, (1, 99))
    return np.clip((picture - low) * (255 / max(high - low, 1)), 0, 255)


def _local_contrast(picture: np.ndarray) -> np.ndarray:
    """Difference of Gaussians over its local strength."""
    pixel = len(picture) / HEIGHT
    around = max(6.0 * pixel, 2.0)
    fine = ndimage.gaussian_filter(picture, max(pixel, 0.5))
    band = fine - ndimage.gaussian_filter(picture, max(3.0 * pixel, 2.0))
    strength = np.sqrt(ndimage.gaussian_filter(band * band, around))
    return band / (strength + 3.0)


def _band(picture: np.ndarray, narrow: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(picture, narrow) - ndimage.gaussian_filter(picture, 2.3 * narrow)


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _halved(picture: np.ndarray) -> np.ndarray:
    return (picture[::2, ::2] + picture[1::2, ::2] + picture[::2, 1::2] + picture[1::2, 1::2]) / 4


@cache
def _grid(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rows = [y.ravel() - (height - 1) / 2, x.ravel() - (width - 1) / 2, np.ones(height * width, np.float32)]
    return np.stack(rows)


def _warped(picture: np.ndarray, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture seen through the warp, 0 outside, and which pixels lie inside."""
    height, width = picture.shape
    y, x = warp.astype(np.float32) @ _grid(height, width)
    y += (height - 1) / 2
    x += (width - 1) / 2
    inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    seen = ndimage.map_coordinates(picture, (y, x), order=1, mode="constant")
    return seen.reshape(height, width), inside


def _refine(fixed: np.ndarray, moving: np.ndarray, warp: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Gauss-Newton on the six numbers of the warp; returns the best warp seen and its correlation."""
    slopes = np.gradient(fixed)
    grid = _grid(*fixed.shape)
    jacobian = np.concatenate([slope.ravel() * grid for slope in slopes])
    target = fixed.ravel()
    full = np.vstack([warp, (0, 0, 1)])
    best, kept = -1.0, warp
    for _ in range(steps):
        seen, inside = _warped(moving, full[:2])
        if inside.mean() < _MIN_OVERLAP or not _plausible(full):
            break
        a, b = target[inside], seen.ravel()[inside]
        a, b = a - a.mean(), b - b.mean()
        strength_a, strength_b = float(a @ a), float(b @ b)
        score = float(a @ b) / max((strength_a * strength_b) ** 0.5, 1e-9)
        if score < best - 0.05:
            break
        if score > best:
            gained, best, kept = score - best, score, full[:2].copy()
            if gained < 3e-4:
                break
        slope = jacobian[:, inside]
        residual = b * (strength_a / max(strength_b, 1e-9)) ** 0.5 - a
        normal = (slope @ slope.T).astype(np.float64)
        normal[np.diag_indices(6)] = normal.diagonal() * (1 + 1e-3) + 1e-6
        change = np.eye(3)
        change[:2] += np.linalg.solve(normal, slope @ residual).reshape(2, 3)
        full = full @ np.linalg.inv(change)
    return kept, best


def _plausible(warp: np.ndarray) -> bool:
    scales = warp[[0, 1], [0, 1]]
    return bool(
        (scales > 0.5).all() and (scales < 2.0).all() and abs(warp[0, 1]) < 0.5 and abs(warp[1, 0]) < 0.2
    )
