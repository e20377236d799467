"""Plane geometry of the synthetic knee: curves along the leg, distances from an edge, paths through shells.

Lengths are millimetres. Positive distances lie inside.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float32]

REACH = 420.0
# Outlines are made on a coarse grid and read from a fine one, so that slanted edges show no steps.
STEP = 0.25
_REFINE = 5
LEVELS = np.arange(-REACH, REACH, STEP)
_FINE = np.arange(-REACH, REACH, STEP / _REFINE)


def along(points: list[tuple[float, float]], smooth: float = 3.0) -> Array:
    """A smooth curve through (position, value) points as a lookup table over `LEVELS`."""
    return _curve(tuple(points), smooth)


@lru_cache(maxsize=128)
def _curve(points: tuple[tuple[float, float], ...], smooth: float) -> Array:
    position, value = zip(*points, strict=True)
    curve = PchipInterpolator(position, value)(np.clip(LEVELS, position[0], position[-1]))
    curve = gaussian_filter1d(curve, smooth / STEP, mode="nearest").astype(np.float32)
    curve.flags.writeable = False
    return curve


def at(position: Array) -> NDArray[np.int32]:
    """Index of each position in the lookup tables."""
    scaled = (position + np.float32(REACH)) * np.float32(_REFINE / STEP)
    return np.clip(scaled, 0, len(_FINE) - 1).astype(np.int32)


def look(curve: NDArray, place: NDArray[np.int32]) -> Array:
    """Values of a lookup table at the indices given by `at`."""
    return np.take(np.interp(_FINE, LEVELS, curve).astype(np.float32), place)


def wander(rng: np.random.Generator, amount: float, wavelength: float) -> Array:
    """A slow random deviation of an outline, standard deviation `amount` mm."""
    waves = 2 * np.pi / (wavelength * rng.uniform(0.6, 2.0, (5, 1)))
    deviation = np.cos(waves * LEVELS + rng.uniform(0, 2 * np.pi, (5, 1))).sum(0)
    return (amount / np.sqrt(2.5) * deviation).astype(np.float32)


def uneven(rng: np.random.Generator) -> Array:
    """How an outline leaves its smooth course."""
    return wander(rng, 0.35, 130) + wander(rng, 0.13, 22)


def side(edge: Array, x: Array, place: NDArray[np.int32], outward: int) -> Array:
    """Distance from an edge x = edge(y), positive inside; the slope makes it a true distance."""
    slope = np.gradient(edge, STEP)
    cosine = (1 / np.sqrt(1 + slope**2)).astype(np.float32)
    return outward * (look(edge * cosine, place) - x * look(cosine, place))


def between(medial: Array, lateral: Array, x: Array, place: NDArray[np.int32]) -> Array:
    """Distance from the nearer of two edges, positive between them."""
    return np.minimum(side(medial, x, place, -1), side(lateral, x, place, 1))


def both(first: Array, second: Array, radius: float) -> Array:
    """Inside both, with the corner rounded to `radius` mm."""
    near = np.hypot(np.maximum(radius - first, 0), np.maximum(radius - second, 0))
    return np.maximum(radius, np.minimum(first, second)) - near


def chord(inside: Array, radius: Array, depth: Array) -> Array:
    """Length of the ray through an elliptic rim that reaches its full depth `radius` mm from the edge."""
    short = 1 - np.clip(inside / radius, 0, 1)
    return depth * np.sqrt(np.maximum(1 - short * short, 0))


def whole_and_core(inside: Array, radius: Array, depth: Array, layer: Array, least: float) -> tuple[Array, Array]:
    """Path through all, and through the core below an outer `layer`; the core's axes are at least `least` mm."""
    whole = chord(inside, radius, depth)
    core = chord(inside - layer, np.maximum(radius - layer, least), np.maximum(depth - 2 * layer, least))
    return whole, np.where(inside > layer, np.minimum(core, whole), 0)


def shell(inside: Array, radius: Array, depth: Array, cortex: Array, share: Array) -> tuple[Array, Array]:
    """Path through the cortical shell and through the spongy bone inside.

    A ray runs along the wall of a shaft. A condyle also curves towards the reader, so only a `share` is cortex.
    """
    whole, core = whole_and_core(inside, radius, depth, cortex, 0.3)
    wall = (whole - core) * share
    return wall, whole - wall


def rotated(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    """Coordinates in a frame rotated by `degrees`."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x


def ridge(position: Array, centre: float, width: float) -> Array:
    """A line of unit height: a thin plate seen edge-on."""
    return np.exp(-0.5 * ((position - centre) / width) ** 2)


def bump(position: NDArray, centre: float, height: float, width: float) -> NDArray:
    """A rounded bump of `height`."""
    return height * ridge(position, centre, width)
