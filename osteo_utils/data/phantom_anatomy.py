"""Anatomy of the synthetic knee: outlines, and how much of which tissue each ray crosses.

Frame: millimetres, origin in the middle of the joint, x towards the lateral side, y towards the foot.
Every bone is a smooth outline and a depth along the ray. Dimensions are those of an average adult knee,
read off as round numbers; they are not taken from one published series.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float32]

FEMUR, TIBIA, FIBULA, PATELLA = 1, 2, 4, 8
REACH = 420.0
# Outlines are made on a coarse grid and read from a fine one, so that slanted edges show no steps.
STEP = 0.25
_REFINE = 5
_LEVELS = np.arange(-REACH, REACH, STEP)
_FINE = np.arange(-REACH, REACH, STEP / _REFINE)


@dataclass(frozen=True)
class Build:
    """What differs from knee to knee. Millimetres, degrees and factors; density acts on `cortex` alone."""

    size: float
    girth: float
    alignment: float
    rotation: float
    flexion: float
    medial_gap: float
    lateral_gap: float
    cortex: float
    seed: int


@dataclass(frozen=True)
class Tissue:
    """Path lengths in mm per pixel, and which bones a pixel shows (bit flags FEMUR, TIBIA, ...)."""

    soft: Array
    fat: Array
    cortical: Array
    spongy: Array
    bones: NDArray[np.uint8]


def draw_build(rng: np.random.Generator, cortex: float) -> Build:
    """One adult knee at random; `cortex` is its cortical thickness relative to a young adult's."""
    return Build(
        size=float(np.clip(rng.normal(1.0, 0.055), 0.85, 1.15)),
        girth=float(np.clip(rng.normal(1.0, 0.11), 0.8, 1.35)),
        alignment=float(rng.normal(0.0, 2.0)),
        rotation=float(np.clip(rng.normal(0.0, 6.0), -14, 14)),
        flexion=float(rng.uniform(0.0, 1.0)),
        medial_gap=float(rng.uniform(3.0, 6.0)),
        lateral_gap=float(rng.uniform(3.8, 6.8)),
        cortex=cortex,
        seed=int(rng.integers(2**31)),
    )


def _along(points: list[tuple[float, float]], smooth: float = 3.0) -> Array:
    """A smooth curve through (position, value) points as a lookup table over -REACH..REACH."""
    return _curve(tuple(points), smooth)


@lru_cache(maxsize=128)
def _curve(points: tuple[tuple[float, float], ...], smooth: float) -> Array:
    position, value = zip(*points, strict=True)
    curve = PchipInterpolator(position, value)(np.clip(_LEVELS, position[0], position[-1]))
    curve = gaussian_filter1d(curve, smooth / STEP, mode="nearest").astype(np.float32)
    curve.flags.writeable = False
    return curve


def _at(position: Array) -> NDArray[np.int32]:
    scaled = (position + np.float32(REACH)) * np.float32(_REFINE / STEP)
    return np.clip(scaled, 0, len(_FINE) - 1).astype(np.int32)


def _look(curve: NDArray, level: NDArray[np.int32]) -> Array:
    return np.take(np.interp(_FINE, _LEVELS, curve).astype(np.float32), level)


def _wander(rng: np.random.Generator, amount: float, wavelength: float) -> Array:
    """A slow random deviation of an outline, standard deviation `amount` mm."""
    waves = 2 * np.pi / (wavelength * rng.uniform(0.6, 2.0, (5, 1)))
    deviation = np.cos(waves * _LEVELS + rng.uniform(0, 2 * np.pi, (5, 1))).sum(0)
    return (amount / np.sqrt(2.5) * deviation).astype(np.float32)


def _side(edge: Array, x: Array, level: NDArray[np.int32], outward: int) -> Array:
    """Distance from an edge x = edge(y), positive inside; the slope makes it a true distance."""
    slope = np.gradient(edge, STEP)
    cosine = (1 / np.sqrt(1 + slope**2)).astype(np.float32)
    return outward * (_look(edge * cosine, level) - x * _look(cosine, level))


def _both(first: Array, second: Array, radius: float) -> Array:
    """Inside both, with the corner rounded to `radius` mm."""
    near = np.hypot(np.maximum(radius - first, 0), np.maximum(radius - second, 0))
    return np.maximum(radius, np.minimum(first, second)) - near


def _chord(inside: Array, radius: Array, depth: Array) -> Array:
    """Length of the ray through an elliptic rim that reaches its full depth `radius` mm from the edge."""
    short = 1 - np.clip(inside / radius, 0, 1)
    return depth * np.sqrt(np.maximum(1 - short * short, 0))


def _shell(inside: Array, radius: Array, depth: Array, cortex: Array) -> tuple[Array, Array]:
    """Path through the cortical shell and through what it encloses."""
    whole = _chord(inside, radius, depth)
    core = _chord(inside - cortex, np.maximum(radius - cortex, 0.3), np.maximum(depth - 2 * cortex, 0.3))
    core = np.where(inside > cortex, np.minimum(core, whole), 0)
    return whole - core, core


def _turned(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    angle = np.deg2rad(degrees)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x


def _plate(under: Array, centre: float, thickness: float) -> Array:
    """The dense plate under the cartilage, seen edge-on: a ridge of unit height."""
    return np.exp(-0.5 * ((under - centre) / thickness) ** 2)


def _bump(position: NDArray, centre: float, height: float, width: float) -> NDArray:
    return height * np.exp(-0.5 * ((position - centre) / width) ** 2)


def _scar(level: Array, across: Array, at: float, bow: float, rng: np.random.Generator) -> Array:
    """Remnant of the growth plate: a faint dense line, bowed across the bone."""
    wave = at + bow * (across / 35) ** 2 + 1.2 * np.sin(across / rng.uniform(6, 10) + rng.uniform(0, 6))
    return rng.uniform(0.2, 1.6) * _plate(level - wave, 0.0, 0.8)


def _femur(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    half = [(-400, 17), (-200, 15), (-140, 14.5), (-110, 15.5), (-88, 18), (-72, 22), (-58, 28.5)]
    half += [(-47, 35.5), (-38, 39.8), (-28, 41.5), (-16, 41), (-6, 39.5), (20, 36)]
    width = _along(half, 2.5)
    axis = _along([(-420, 36), (-250, 20), (-120, 7.5), (-60, 2), (-25, 0), (40, 0)], 8.0)
    # The medial epicondyle with the adductor tubercle stands out further than the lateral one.
    medial = width + _bump(_LEVELS, -33, rng.uniform(0.5, 2.5), 6) + _wander(rng, 0.3, 110)
    lateral = width + _bump(_LEVELS, -26, rng.uniform(0, 1.5), 6) + _wander(rng, 0.3, 110)
    notch = rng.uniform(4.5, 9)
    rim = (_LEVELS - np.sign(_LEVELS) * 21) / 21
    end = np.where(_LEVELS < 0, -build.medial_gap, -build.lateral_gap) / 2 - 1.6 * rim**2
    end = gaussian_filter1d(end, 4 / STEP) - _bump(_LEVELS, rng.normal(0, 1.2), notch, rng.uniform(6, 8))
    level, across = _at(y), _at(x)
    under = (_look(end, across) - y) * np.float32(0.95)
    sides = np.minimum(
        _side(axis - medial, x, level, -1),
        _side(axis + lateral, x, level, 1),
    )
    inside = _both(sides, under, 9.0)
    radius = _look(np.minimum(width, 21), level)
    depth = _along([(-400, 29), (-110, 28), (-70, 34), (-40, 55), (-20, 61), (20, 60)])
    cortex = _along([(-400, 6.2), (-160, 5.8), (-100, 4.2), (-68, 2.3), (-45, 1.1), (20, 0.8)]) * build.cortex
    cortical, core = _shell(inside, radius, _look(depth, level), _look(cortex, level))
    cortical += np.where(inside > 0, 3.0 * build.cortex * _plate(under, 0.9, 0.7), 0)
    # The roof of the notch and the floor of the patellar groove: two faint lines inside the outline.
    cortical += np.where(
        inside > 2, 1.2 * build.cortex * _plate(under, 7.5 + notch * 0.6, 0.9) * _plate(x, 0, 15), 0
    )
    cortical += np.where(inside > 1, build.cortex * _scar(y, x, -24, -5, rng), 0)
    spongy = _along([(-400, 0.05), (-120, 0.07), (-75, 0.35), (-48, 0.85), (-30, 1.0), (20, 1.05)], 8)
    return inside, cortical, core * _look(spongy, level) * (1 + 0.25 * np.exp(-np.maximum(under, 0) / 10))


def _tibia(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    half = [(-20, 37), (0, 38), (8, 38.8), (14, 37.8), (22, 33.5), (32, 28), (44, 23), (60, 18.8), (82, 15.6)]
    half += [(112, 13.6), (170, 12.3), (260, 12), (330, 15), (400, 22)]
    width = _along(half, 2.5)
    axis = _along([(-20, 0), (30, -0.5), (70, -3), (150, -5), (400, -6)], 8)
    medial = width + _bump(_LEVELS, 9, rng.uniform(0, 1.5), 5) + _wander(rng, 0.3, 110)
    lateral = width + _bump(_LEVELS, 11, rng.uniform(0, 2), 5) + _wander(rng, 0.3, 110)
    gap = np.where(_LEVELS < 0, build.medial_gap, build.lateral_gap) / 2
    dish = 1.4 * (1 - ((_LEVELS - np.sign(_LEVELS) * 21) / 19) ** 2)
    top = gaussian_filter1d(gap + np.maximum(dish, -2), 3 / STEP)
    top = top - _bump(_LEVELS, -4.5 + rng.normal(0, 0.7), rng.uniform(4.5, 8), 3.0)
    top = top - _bump(_LEVELS, 5.0 + rng.normal(0, 0.7), rng.uniform(3.5, 7), 3.2)
    level, across = _at(y), _at(x)
    slope = np.gradient(top, STEP)
    under = (y - _look(top, across)) * _look(1 / np.sqrt(1 + slope**2), across)
    sides = np.minimum(
        _side(axis - medial, x, level, -1),
        _side(axis + lateral, x, level, 1),
    )
    inside = _both(sides, under, 4.5)
    radius = _look(np.minimum(width, 19), level)
    depth = _along([(-20, 46), (15, 48), (45, 38), (90, 31), (200, 26), (400, 28)])
    cortex = _along([(-20, 0.8), (28, 1.1), (55, 2.7), (100, 4.6), (170, 5.6), (400, 5.4)]) * build.cortex
    cortical, core = _shell(inside, radius, _look(depth, level), _look(cortex, level))
    cortical += np.where(inside > 0, 3.6 * build.cortex * _plate(under, 1.0, 0.8), 0)
    # Front and back rim of the plateau do not project onto each other.
    rim = 2.5 + 3.5 * build.flexion
    cortical += np.where(inside > 1, 1.4 * build.cortex * _plate(under, rim, 0.9) * (np.abs(x) > 9), 0)
    cortical += np.where(inside > 1, build.cortex * _scar(y, x, 19, 4, rng), 0)
    spongy = _along([(-20, 1.1), (12, 1.05), (30, 0.85), (60, 0.4), (105, 0.1), (400, 0.05)], 8)
    return inside, cortical, core * _look(spongy, level) * (1 + 0.35 * np.exp(-np.maximum(under, 0) / 9))


def _fibula(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    shift = rng.normal(0, 1.5) - 14 * np.sin(np.deg2rad(build.rotation))
    half = [(0, 7), (14, 8), (24, 9.3), (34, 7.5), (50, 5.4), (80, 5.4), (160, 6.2), (280, 6), (400, 8)]
    width = _along(half)
    axis = _along([(0, 37), (25, 37), (60, 33), (130, 31), (220, 26), (400, 22)], 8) + np.float32(shift)
    tip = rng.uniform(10, 16)
    top = tip + ((_LEVELS - 38 - shift) / 9) ** 2 * 3
    level = _at(y)
    under = (y - _look(top, _at(x))) * np.float32(0.85)
    sides = np.minimum(
        _side(axis - width + _wander(rng, 0.3, 110), x, level, -1),
        _side(axis + width + _wander(rng, 0.3, 110), x, level, 1),
    )
    inside = _both(sides, under, 4.0)
    cortex = _along([(0, 0.9), (30, 1.0), (55, 2.0), (100, 3.0), (200, 3.3), (400, 2.5)]) * build.cortex
    radius = _look(width, level)
    cortical, core = _shell(inside, radius, 2 * radius, _look(cortex, level))
    spongy = _along([(0, 1.0), (30, 0.9), (60, 0.4), (100, 0.1), (400, 0.05)], 8)
    return inside, cortical, core * _look(spongy, level)


def _patella(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    centre = rng.normal(3, 2) + 35 * np.sin(np.deg2rad(build.rotation))
    height = rng.normal(-37, 4)
    across, along = (x - centre) / rng.uniform(20, 24), (y - height) / rng.uniform(20, 24)
    # Narrower towards the lower pole.
    across = across * (1 + 0.12 * along)
    reach = np.sqrt(across**2 + along**2)
    u, v = across / np.maximum(reach, 1e-3), along / np.maximum(reach, 1e-3)
    two, two_turned, three = rng.normal(0, 0.02, 3)
    reach = reach * (1 + two * (2 * u * u - 1) + two_turned * 2 * u * v + three * (4 * u**3 - 3 * u))
    inside = ((1 - reach) * 21).astype(np.float32)
    # Lens-shaped: thin at the rim, so that only its upper border stands out against the femur.
    lens = np.maximum(1 - reach**2, 0)
    cortical = np.where(inside > 0, build.cortex * (0.5 + 1.6 * np.exp(-np.maximum(inside, 0) / 1.2)), 0)
    return inside, cortical.astype(np.float32), rng.uniform(12, 17) * lens


def _leg(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array]:
    """Path through muscle and skin, and through fat."""
    medial = [(-400, 88), (-220, 78), (-120, 66), (-60, 57), (-10, 51), (30, 49), (75, 54), (120, 57)]
    lateral = [(-400, 70), (-220, 66), (-120, 58), (-60, 53), (-10, 51), (30, 51), (75, 55), (120, 54)]
    low = [(190, 47), (270, 36), (400, 35)]
    inner = _along(medial + low, 8) * build.girth + _wander(rng, 1.5, 220)
    outer = _along(lateral + low, 8) * build.girth + _wander(rng, 1.5, 220)
    axis = _along([(-420, 24), (-120, 4), (0, 0), (400, -2)], 10)
    level = _at(y)
    inside = np.minimum(_side(axis - inner, x, level, -1), _side(axis + outer, x, level, 1))
    radius = _look((inner + outer) / 2, level)
    depth = _along([(-400, 138), (-120, 122), (-20, 110), (40, 104), (110, 110), (260, 80), (400, 76)], 10)
    depth = _look(depth, level) * np.float32(build.girth)
    # Little muscle lies over the joint itself; fat pads and thin skin make it look darker there.
    layer = _along([(-400, 12), (-120, 9), (-30, 10), (20, 9), (80, 6), (400, 5)], 12)
    layer = _look(layer, level) * np.float32(rng.uniform(0.6, 1.5) * build.girth)
    whole = _chord(inside, radius, depth)
    muscle = _chord(inside - layer, np.maximum(radius - layer, 5), np.maximum(depth - 2 * layer, 5))
    muscle = np.where(inside > layer, np.minimum(muscle, whole), 0)
    return muscle, whole - muscle


def project(x: Array, y: Array, build: Build) -> Tissue:
    """Path lengths of the ray through each point of the film.

    `x`, `y`: float32 arrays of one shape, millimetres in the leg's frame (x lateral, y distal).
    Returns a `Tissue` of the same shape; bone displaces the soft tissue in the attenuation, not here.
    """
    streams = [np.random.default_rng([build.seed, part]) for part in range(5)]
    x, y = x / np.float32(build.size), y / np.float32(build.size)
    upper, lower = _turned(x, y, -build.alignment / 2), _turned(x, y, build.alignment / 2)
    muscle, fat = _leg(x, y, build, streams[4])
    flags = np.zeros(x.shape, np.uint8)
    cortical, spongy = np.zeros_like(x), np.zeros_like(x)
    bones = [
        (FEMUR, _femur, upper, -REACH, 35),
        (TIBIA, _tibia, lower, -35, REACH),
        (FIBULA, _fibula, lower, -10, REACH),
        (PATELLA, _patella, upper, -85, 15),
    ]
    for stream, (bone, draw, (across, along), first, last) in zip(streams, bones, strict=False):
        # Only the rows that the bone can reach are worked out.
        rows = np.flatnonzero((along.max(axis=1) > first) & (along.min(axis=1) < last))
        if not rows.size:
            continue
        band = slice(rows[0], rows[-1] + 1)
        inside, shell, core = draw(across[band], along[band], build, stream)
        flags[band][inside > 0] |= bone
        cortical[band] += shell
        spongy[band] += core
    size = np.float32(build.size)
    return Tissue(muscle * size, fat * size, cortical * size, spongy * size, flags)
