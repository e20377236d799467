"""How alike two radiographs are after registration.

A copy may be rescaled, squeezed, cropped, shifted, slightly rotated, or changed in brightness. A pair of thumbnails is
therefore registered by an affine warp, and then compared in the finest detail that both files have. Two different
knees may agree in outline, but not in detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from osteo_utils.audit.thumbnails import HEIGHT, WIDTH, local_contrast

_SCALES = (0.59, 0.71, 0.84, 1.0, 1.19, 1.41, 1.68)
_STEPS = [(tall, broad) for tall in _SCALES for broad in _SCALES if 0.5 < tall / broad < 2]
_SHIFTS = (HEIGHT // 4 * 3 // 2, WIDTH // 4 * 3 // 2)
_MIN_OVERLAP, _FLOOR = 0.5, 0.72
# Width of the finest band in pixels of the coarser file; anything finer is noise of compression.
_FINEST = 0.8
# Copies agree at least this far in a band half as fine as the finest. Most different knees do not, and skip the finest.
_HALF_FINE = 0.65


@dataclass(frozen=True)
class Target:
    """The fixed image (h, w) of a registration, flat, with its gradient along the six parameters of a warp."""

    flat: np.ndarray
    jacobian: np.ndarray
    half: Target | None


def target(picture: np.ndarray) -> Target:
    """Fixed image (128, 64) for `register`, computed once for many moving images."""
    picture = np.asarray(picture, np.float32)
    half = target(_halved(picture)) if len(picture) == HEIGHT else None
    grid = _grid(*picture.shape)
    jacobian = np.concatenate([slope.ravel() * grid for slope in np.gradient(picture)])
    return Target(picture.ravel(), jacobian, half)


def search(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift by Fourier correlation: one image against many.

    `fixed` (32, 16) and `moving` (m, 32, 16) are coarse images of legs. Returns warps (m, 2, 3) from the fixed to each
    moving image, in pixels of the full image, and the peak correlation (m,). It is normalised over the overlap
    (Padfield, IEEE Trans. Image Process. 2012), at least 40 % of the smaller image, so a part is found in the whole.
    """
    height = len(fixed)
    window, masks, enough = _overlaps()
    down, across = _scalings()
    scaled = down @ (fixed - fixed.mean()) @ across
    spectra = np.conj(fft.rfft2(scaled, _SHIFTS))
    energy = fft.irfft2(window * np.conj(fft.rfft2(scaled**2, _SHIFTS)), _SHIFTS)
    warps, peaks = np.zeros((len(moving), 2, 3)), np.empty(len(moving))
    for index, picture in enumerate(moving):
        picture = picture - picture.mean()
        product = fft.irfft2(fft.rfft2(picture, _SHIFTS) * spectra, _SHIFTS)
        other_energy = fft.irfft2(fft.rfft2(picture**2, _SHIFTS) * masks, _SHIFTS)
        surfaces = np.where(enough, product / np.sqrt(np.maximum(energy * other_energy, 1e-3)), -1)
        step, *shift = np.unravel_index(np.argmax(surfaces), surfaces.shape)
        peaks[index] = surfaces[(step, *shift)]
        for axis in range(2):
            moved = shift[axis] - _SHIFTS[axis] if shift[axis] > _SHIFTS[axis] // 2 else shift[axis]
            warps[index, axis, axis] = 1 / _STEPS[step][axis]
            warps[index, axis, 2] = moved * (HEIGHT // height)
    return warps, peaks


@cache
def _scalings() -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation at every scale: matrices (steps, 32, 32) for rows and (steps, 16, 16) for columns."""

    def matrix(size: int, scale: float) -> np.ndarray:
        places = scale * (np.arange(size) - (size - 1) / 2) + (size - 1) / 2
        return np.stack([np.interp(places, np.arange(size), one, left=0, right=0) for one in np.eye(size)], 1)

    tall, broad = zip(*_STEPS, strict=True)
    down = np.stack([matrix(HEIGHT // 4, scale) for scale in tall]).astype(np.float32)
    across = np.stack([matrix(WIDTH // 4, scale).T for scale in broad]).astype(np.float32)
    return down, across


@cache
def _overlaps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectra of window and masks for `search`, and which shifts overlap enough."""
    down, across = _scalings()
    # A scaled image shows the original where its weights add up to one.
    mask = (down.sum(axis=2)[:, :, None] * across.sum(axis=1)[:, None] > 0.999).astype(np.float32)
    masks = np.conj(fft.rfft2(mask, _SHIFTS))
    window = fft.rfft2(np.ones(mask.shape[1:], np.float32), _SHIFTS)
    overlap = fft.irfft2(window * masks, _SHIFTS)
    return window, masks, overlap >= 0.4 * mask.sum(axis=(1, 2), keepdims=True)


def register(fixed: Target, moving: np.ndarray, starts: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """The affine warp (2, 3) that registers one leg (128, 64) with another, and their correlation.

    Refines the best of `starts` (a warp of `search`, then guesses such as `frame_start`) by Gauss-Newton steps
    (inverse compositional: Baker and Matthews, IJCV 2004), first at half size. Only the overlap counts. A fit with an
    overlap below one half, or with more rotation or stretch than a copy has, is void. Registration stops at half size
    where the correlation is below 0.72.
    """
    moving = np.asarray(moving, np.float32)
    warp, score = np.eye(2, 3), _pearson(fixed.flat, moving.ravel())
    if score < 0.97:
        small = _halved(moving)
        # A guess that does not match at all after one step is not worth three.
        halves = [start * (1, 1, 0.5) for start in starts]
        tried = [
            _refine(fixed.half, small, half, steps=3)
            for number, half in enumerate(halves)
            if number == 0 or _refine(fixed.half, small, half, steps=1)[1] > 0.25
        ]
        coarse_warp, reached = max(tried, key=lambda fit: fit[1], default=(warp, -1.0))
        if reached >= _FLOOR - 0.2:
            coarse_warp, reached = _refine(fixed.half, small, coarse_warp, steps=10)
        if reached < max(_FLOOR, score):
            return warp, max(score, reached)
        warp = coarse_warp * (1, 1, 2)
    refined, reached = _refine(fixed, moving, warp, steps=7)
    return (refined, reached) if reached > score else (np.eye(2, 3), score)


def detail(
    fixed: np.ndarray, moving: np.ndarray, warp: np.ndarray, pixels: np.ndarray, moving_pixels: np.ndarray
) -> float:
    """Correlation, −1 to 1, of the finest detail that both of two registered films have.

    `fixed` and `moving` are grey images of legs (256, 128), `warp` as from `register`, `pixels` their size in pixels of
    the file, down and across. Two knees may agree in outline; only copies agree in trabeculae, cortex and noise. A
    coarser band is used where one film is blurred. Films that disagree in a band half as fine get their correlation
    in that band, at most 0.65.
    """
    fixed, moving = (np.asarray(picture, np.float32) for picture in (fixed, moving))
    pitch = np.maximum(fixed.shape / pixels, fixed.shape / moving_pixels / warp[[0, 1], [0, 1]])
    finest = np.maximum(_FINEST, _FINEST * pitch)
    halves = _registered(_halved(fixed), _halved(moving), warp)
    if halves is None:
        return -1.0
    rough = _agreement([_band(picture, finest * 0.75) for picture in halves[:2]], halves[2], 1.5)
    if rough < _HALF_FINE:
        return rough
    own, other, inner = _registered(fixed, moving, warp * (1, 1, 2))
    for coarser in (1.0, 1.5, 2.2, 3.2):
        bands = [_band(picture, finest * coarser) for picture in (own, other)]
        # The next coarser band is smooth enough for half size.
        shares = [
            np.std(band[inner]) / max(float(np.std(_band(half, finest * coarser * 1.5)[halves[2]])), 1e-6)
            for band, half in zip(bands, halves[:2], strict=True)
        ]
        if min(shares) >= 0.6 * max(shares):
            break
    return _agreement(bands, inner, 3)


def _registered(
    fixed: np.ndarray, moving: np.ndarray, warp: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Both images on the fixed one's grid, and where both are well inside; None where that is too little."""
    inside = _inside(fixed.shape, warp)
    inner = ndimage.binary_erosion(inside, iterations=3 * len(fixed) // (2 * HEIGHT) or 1, border_value=1)
    if inner.mean() < 0.4:
        return None
    # Outside the overlap each image continues at its mean, so that the filters see no step.
    return *(np.where(inside, seen, seen[inside].mean()) for seen in (fixed, _warped(moving, warp))), inner


def _agreement(bands: Sequence[np.ndarray], inner: np.ndarray, around: float) -> float:
    """Correlation of two bands, normalised by their local amplitude."""
    first, second = (band / (np.sqrt(ndimage.gaussian_filter(band * band, around)) + 1.0) for band in bands)
    return _pearson(first[inner], second[inner])


def equalised(
    fixed: np.ndarray, moving: np.ndarray, warp: np.ndarray, pixels: np.ndarray, moving_pixels: np.ndarray
) -> float:
    """Similarity, −1 to 1, of two films that may differ in gamma; arguments as for `detail`.

    Replaces each grey level by its rank in the overlap, which no monotone curve changes, and registers the pair again
    from `warp`. Returns the lower of outline and detail. Different knees become less alike by it, not more.
    """
    fixed, moving = (np.asarray(picture, np.float32) for picture in (fixed, moving))
    there = warp * (1, 1, 2)
    back = np.linalg.inv(np.vstack([there, (0, 0, 1)]))[:2]
    ranked = [_ranked(picture, _inside(picture.shape, way)) for picture, way in ((fixed, there), (moving, back))]
    legs = [local_contrast(_halved(picture)) for picture in ranked]
    warp, outline = register(target(legs[0]), legs[1], [warp])
    return min(outline, detail(*ranked, warp, pixels, moving_pixels))


def _ranked(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Rank of each grey level among those inside, 0 to 255."""
    known = np.sort(picture[inside])
    low, high = (np.searchsorted(known, picture, side) for side in ("left", "right"))
    return ((low + high) * (127.5 / max(len(known), 1))).astype(np.float32)


def frame_start(fixed_box: np.ndarray, moving_box: np.ndarray) -> np.ndarray:
    """The warp (2, 3) between two legs whose frames show the same field; boxes as in `Thumbnails.boxes`."""
    warp = np.zeros((2, 3))
    for axis, (low, high, size) in enumerate(((1, 3, HEIGHT), (0, 2, WIDTH))):
        moving_size = moving_box[high] - moving_box[low]
        scale = (fixed_box[high] - fixed_box[low]) / moving_size
        offset = (fixed_box[low] + fixed_box[high] - moving_box[low] - moving_box[high]) / 2
        warp[axis, axis], warp[axis, 2] = scale, offset / moving_size * size
    return warp


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


def _warped(picture: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """The image (h, w) float32 warped about its centre; 0 outside."""
    middle = np.array(picture.shape) / 2
    offset = middle + warp[:, 2] - warp[:, :2] @ middle
    (down, down_x), (across_y, across) = warp[:, :2]
    # Pillow takes the source position as (x, y), and is several times faster than spline interpolation.
    numbers = (across, across_y, offset[1], down_x, down, offset[0])
    image = Image.fromarray(picture)
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR))


def _inside(shape: tuple[int, int], warp: np.ndarray) -> np.ndarray:
    """Which pixels of the warped image come from inside the image: bool (h, w)."""
    height, width = shape
    y, x = np.abs(warp.astype(np.float32) @ _grid(height, width))
    return ((y <= (height - 1) / 2) & (x <= (width - 1) / 2)).reshape(shape)


def _refine(fixed: Target, moving: np.ndarray, warp: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Gauss-Newton on the six parameters of the warp; returns the best warp and its correlation."""
    full = np.vstack([warp, (0, 0, 1)])
    best, kept = -1.0, warp
    for _ in range(steps):
        inside = _inside(moving.shape, full[:2]).ravel()
        count = np.count_nonzero(inside)
        if count < _MIN_OVERLAP * len(inside) or not _plausible(full):
            break
        weight = inside.astype(np.float32)
        a, b = fixed.flat * weight, _warped(moving, full[:2]).ravel() * weight
        a -= weight * (a.sum() / count)
        b -= weight * (b.sum() / count)
        strength_a, strength_b = float(a @ a), float(b @ b)
        score = float(a @ b) / max((strength_a * strength_b) ** 0.5, 1e-9)
        if score < best - 0.05:
            break
        if score > best:
            gained, best, kept = score - best, score, full[:2].copy()
            if gained < 3e-4:
                break
        residual = b * (strength_a / max(strength_b, 1e-9)) ** 0.5 - a
        normal = ((fixed.jacobian * weight) @ fixed.jacobian.T).astype(np.float64)
        normal[np.diag_indices(6)] = normal.diagonal() * (1 + 1e-3) + 1e-6
        change = np.eye(3)
        change[:2] += np.linalg.solve(normal, fixed.jacobian @ residual).reshape(2, 3)
        full = full @ np.linalg.inv(change)
    return kept, best


def _plausible(warp: np.ndarray) -> bool:
    scales = warp[[0, 1], [0, 1]]
    return bool((scales > 0.5).all() and (scales < 2.0).all() and abs(warp[0, 1]) < 0.5 and abs(warp[1, 0]) < 0.2)
