"""Changes that a film meets on its way to a reader, each in three strengths; its label stays true under all of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from osteo_utils.study import runtime

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Perturbation:
    """`change` takes grey pixels uint8 (h, w), a strength and a generator, and returns uint8 (h, w).

    `strengths` go from mild to strong, in the `unit`. What is changed is the stored film, whose longer side has 512
    pixels, or with `of_square` the square that is cut from it.
    """

    meaning: str
    unit: str
    strengths: tuple[float, float, float]
    change: Change
    of_square: bool = False


def blurred(film: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian blur of `sigma` pixels: movement, a larger focal spot, a coarser screen."""
    return _grey(ndimage.gaussian_filter(film.astype(np.float32), sigma, mode="nearest"))


def noisy(film: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """White noise with a standard deviation in grey levels: fewer photons. Display levels have lost their number."""
    return _grey(film + deviation * random.standard_normal(film.shape, np.float32))


def exposed(film: np.ndarray, gamma: float, random: np.random.Generator) -> np.ndarray:
    """Another display curve: grey levels to the power `gamma` or, by coin, its inverse, so darker or brighter."""
    power = gamma if random.random() < 0.5 else 1 / gamma
    return _grey(255 * (np.arange(256) / 255) ** power)[film]


def cropped(square: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """A part of the square, its side shorter by `share` and its place random, enlarged to the square's size."""
    lost = [round(share * side) for side in square.shape]
    top, left = (int(random.random() * (most + 1)) for most in lost)
    part = square[top : top + square.shape[0] - lost[0], left : left + square.shape[1] - lost[1]]
    resized = Image.fromarray(np.ascontiguousarray(part)).resize(square.shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(resized)


def compressed(film: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    """Written as JPEG at a `quality` between 1 and 95 and read again."""
    buffer = io.BytesIO()
    Image.fromarray(film).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer))


PERTURBATIONS = {
    "blur": Perturbation("blurred", "pixels", (0.5, 1.0, 2.0), blurred),
    "noise": Perturbation("noisier", "grey levels", (4.0, 8.0, 16.0), noisy),
    "exposure": Perturbation("darker or brighter", "gamma", (1.25, 1.6, 2.2), exposed),
    "crop": Perturbation("cut tighter, off centre", "share of the side", (0.1, 0.2, 0.3), cropped, True),
    "compression": Perturbation("compressed", "JPEG quality", (50.0, 20.0, 10.0), compressed),
}


def perturbed(pixels: np.ndarray, kind: str, strength: float, image_id: str, seed: int) -> np.ndarray:
    """A film or square, uint8 (h, w), under the perturbation `kind`, same shape.

    What is random depends on the seed, the film and the kind, and not on the strength: a stronger one is more of the
    same. Raises ValueError for an unknown kind.
    """
    if kind not in PERTURBATIONS:
        raise ValueError(f"perturbation {kind!r} is unknown; expected one of {', '.join(PERTURBATIONS)}")
    random = np.random.default_rng(runtime.derived_seed("perturbed", seed, image_id, kind))
    return PERTURBATIONS[kind].change(pixels, strength, random)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
