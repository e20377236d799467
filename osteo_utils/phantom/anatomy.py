"""Anatomy of the synthetic knee: outlines, and how much of which tissue each ray crosses.

Frame: millimetres, origin in the middle of the joint, x towards the lateral side, y towards the foot.
Every bone is a smooth outline and a depth along the ray. Dimensions are those of an average adult knee,
read off as round numbers; they are not taken from one published series.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from osteo_utils.phantom.shapes import (
    LEVELS,
    REACH,
    STEP,
    Array,
    along,
    at,
    both,
    bump,
    chord,
    look,
    ridge,
    shell,
    side,
    turned,
    uneven,
    wander,
)

FEMUR, TIBIA, FIBULA, PATELLA = 1, 2, 4, 8


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
        size=float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15)),
        girth=float(np.clip(rng.normal(1.0, 0.13), 0.8, 1.4)),
        alignment=float(np.clip(rng.normal(0.0, 1.6), -3.2, 3.2)),
        rotation=float(np.clip(rng.normal(0.0, 7.0), -16, 16)),
        flexion=float(rng.uniform(0.0, 1.0)),
        medial_gap=float(rng.uniform(2.2, 4.8)),
        lateral_gap=float(rng.uniform(2.8, 5.8)),
        cortex=cortex,
        seed=int(rng.integers(2**31)),
    )


def _scar(level: Array, across: Array, place: float, bow: float, rng: np.random.Generator) -> Array:
    """Remnant of the growth plate: a faint dense line, bowed across the bone and broken in places."""
    wave = place + bow * (across / 35) ** 2 + 1.2 * np.sin(across / rng.uniform(6, 10) + rng.uniform(0, 6))
    seen = 0.6 + 0.4 * np.sin(across / rng.uniform(7, 16) + rng.uniform(0, 6))
    return rng.uniform(0.0, 1.8) * seen * ridge(level - wave, 0.0, 0.8)


def _femur(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    shaft = [(-400, 17), (-200, 15), (-150, 14.6), (-115, 15.4), (-92, 17), (-75, 19.6)]
    inner = [*shaft, (-63, 23.5), (-54, 29), (-48, 35.5), (-42, 40.5), (-35, 42), (-20, 41), (-9, 38), (4, 32)]
    outer = [*shaft, (-64, 22.5), (-55, 27), (-47, 33), (-39, 38.5), (-30, 40.2), (-16, 39.6), (-6, 37), (6, 31)]
    medial, lateral = along(inner, 1.4), along(outer, 1.4)
    axis = along([(-420, 36), (-250, 20), (-120, 7.5), (-60, 2), (-25, 0), (40, 0)], 8.0)
    # The medial epicondyle with the adductor tubercle stands out further than the lateral one.
    width = (medial + lateral) / 2
    medial = medial + bump(LEVELS, -40, rng.uniform(0.0, 3.0), rng.uniform(3, 6)) + uneven(rng)
    lateral = lateral + bump(LEVELS, -30, rng.uniform(-0.5, 2.0), rng.uniform(3, 6)) + uneven(rng)
    notch = 4 + 5 * build.flexion + rng.normal(0, 0.8)
    centre = -8 * np.sin(np.deg2rad(build.rotation)) + rng.normal(0, 1.0)
    rim = (LEVELS - np.sign(LEVELS) * 19) / 21
    end = np.where(LEVELS < 0, -build.medial_gap, -build.lateral_gap) / 2 - rng.uniform(1.0, 2.4) * rim**2
    end = gaussian_filter1d(end, 4 / STEP) - bump(LEVELS, centre, notch, rng.uniform(6.5, 8.5)) + wander(rng, 0.25, 30)
    level, across = at(y), at(x)
    under = (look(end, across) - y) * np.float32(0.95)
    sides = np.minimum(side(axis - medial, x, level, -1), side(axis + lateral, x, level, 1))
    inside = both(sides, under, 7.0)
    radius = look(np.minimum(width, along([(-110, 21), (-55, 15), (20, 12)])), level)
    depth = along([(-400, 29), (-110, 28), (-70, 34), (-40, 55), (-20, 61), (20, 60)])
    cortex = along([(-400, 6.2), (-160, 5.8), (-100, 4.2), (-68, 2.3), (-45, 1.1), (20, 0.8)]) * build.cortex
    share = along([(-130, 1.0), (-90, 0.8), (-60, 0.45), (-40, 0.25), (20, 0.22)], 5)
    cortical, core = shell(inside, radius, look(depth, level), look(cortex, level), look(share, level))
    # The plates under the cartilage, the roof of the notch, and the back edges of both condyles.
    cortical += np.where(inside > 0, 3.4 * build.cortex * ridge(under, 1.0, 0.8), 0)
    roof = 1.6 * ridge(under, 6.0 + notch * 0.7, 1.0) * ridge(x, centre, 13)
    back = rng.uniform(0.4, 1.4, 2)
    edge = np.where(x < 0, back[0], back[1]) * ridge(sides, rng.uniform(5, 9), 1.2) * ridge(y, -22, 13)
    cortical += np.where(inside > 1.5, build.cortex * (roof + edge + _scar(y, x, -24, -5, rng)), 0)
    spongy = along([(-400, 0.05), (-120, 0.07), (-75, 0.35), (-48, 0.85), (-30, 1.0), (20, 1.05)], 8)
    # Less spongy bone lies behind the notch; more on the loaded sides.
    loaded = 1 + 0.25 * np.exp(-np.maximum(under, 0) / 12) - 0.22 * ridge(x, centre, 11) * ridge(y, -14, 12)
    return inside, cortical, core * look(spongy, level) * loaded


def _tibia(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    shaft = [(70, 15.8), (90, 14.4), (120, 13.4), (170, 12.4), (260, 12), (330, 15), (400, 22)]
    inner = [(-20, 37.5), (0, 38), (7, 38.6), (13, 36.5), (20, 31.5), (29, 26.5), (40, 21.5), (53, 18), *shaft]
    outer = [(-20, 37), (0, 37.5), (6, 38.6), (11, 37.3), (17, 32.5), (26, 27), (37, 22), (52, 18.2), *shaft]
    medial, lateral = along(inner, 1.8), along(outer, 1.8)
    width = (medial + lateral) / 2
    axis = along([(-20, 0), (30, -0.5), (70, -3), (150, -5), (400, -6)], 8)
    medial = medial + bump(LEVELS, 8, rng.uniform(-0.5, 1.8), 4) + uneven(rng)
    lateral = lateral + bump(LEVELS, 9, rng.uniform(-0.5, 2.2), 4) + uneven(rng)
    gap = np.where(LEVELS < 0, build.medial_gap, build.lateral_gap) / 2
    dish = np.where(LEVELS < 0, rng.uniform(0.8, 2.0), rng.uniform(-0.3, 1.2))
    dish = dish * (1 - ((LEVELS - np.sign(LEVELS) * 21) / 19) ** 2)
    top = gaussian_filter1d(gap + np.maximum(dish, -2), 3 / STEP) + wander(rng, 0.25, 30)
    top = top - bump(LEVELS, 0, rng.uniform(1.5, 3.5), 8)
    top = top - bump(LEVELS, -5.0 + rng.normal(0, 0.8), rng.uniform(2.5, 6), rng.uniform(2.2, 3.4))
    top = top - bump(LEVELS, 5.0 + rng.normal(0, 0.8), rng.uniform(2.0, 5), rng.uniform(2.4, 3.6))
    level, across = at(y), at(x)
    slope = np.gradient(top, STEP)
    under = (y - look(top, across)) * look(1 / np.sqrt(1 + slope**2), across)
    sides = np.minimum(side(axis - medial, x, level, -1), side(axis + lateral, x, level, 1))
    inside = both(sides, under, 4.0)
    radius = look(np.minimum(width, along([(-20, 11), (30, 13), (80, 19)])), level)
    depth = along([(-20, 46), (15, 48), (45, 38), (90, 31), (200, 26), (400, 28)])
    cortex = along([(-20, 0.8), (28, 1.1), (55, 2.7), (100, 4.6), (170, 5.6), (400, 5.4)]) * build.cortex
    share = along([(-20, 0.25), (25, 0.35), (50, 0.65), (80, 0.9), (120, 1.0)], 5)
    cortical, core = shell(inside, radius, look(depth, level), look(cortex, level), look(share, level))
    cortical += np.where(inside > 0, 4.2 * build.cortex * ridge(under, 1.0, 0.9), 0)
    # Front and back rim of the plateau do not project onto each other.
    rim = ridge(under, 2.5 + 3.5 * build.flexion, 0.9) * (np.abs(x) > 9)
    # The tuberosity in front of the shaft: a faint oblique line below the plateau.
    tuber = rng.uniform(0, 1.2) * ridge(x + 4 - 0.12 * y, 0, 1.5) * ridge(y, 45, 11)
    cortical += np.where(inside > 1.5, build.cortex * (1.4 * rim + tuber + _scar(y, x, 17, 4, rng)), 0)
    spongy = along([(-20, 1.1), (12, 1.05), (30, 0.85), (60, 0.4), (105, 0.1), (400, 0.05)], 8)
    return inside, cortical, core * look(spongy, level) * (1 + 0.3 * np.exp(-np.maximum(under, 0) / 9))


def _fibula(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    shift = rng.normal(0, 1.5) - 14 * np.sin(np.deg2rad(build.rotation))
    thick = rng.uniform(0.9, 1.15)
    half = [(0, 8), (12, 9), (21, 10.5), (29, 9.6), (40, 7.2), (54, 6.2), (80, 6.2), (160, 7), (280, 6.6), (400, 8)]
    width = along(half, 2.0) * thick
    bend = along([(0, 38), (25, 37), (60, 32), (130, 30), (220, 26), (400, 22)], 8) + np.float32(shift)
    axis = bend + wander(rng, 0.6, 160)
    # The head rises to a point on its outer side, the styloid process.
    peak = 38 + shift + rng.uniform(1, 6)
    top = rng.uniform(8, 15) + np.abs(gaussian_filter1d(np.abs(LEVELS - peak), 1.5 / STEP)) * rng.uniform(0.4, 0.8)
    level = at(y)
    under = (y - look(top, at(x))) * np.float32(0.85)
    sides = np.minimum(side(axis - width + uneven(rng), x, level, -1), side(axis + width + uneven(rng), x, level, 1))
    inside = both(sides, under, 2.5)
    cortex = along([(0, 1.0), (30, 1.1), (55, 2.2), (100, 3.2), (200, 3.4), (400, 2.5)]) * build.cortex
    radius = look(width, level)
    share = along([(0, 0.5), (30, 0.6), (60, 1.0)], 5)
    cortical, core = shell(inside, radius, 2 * radius, look(cortex, level), look(share, level))
    spongy = along([(0, 1.2), (30, 1.1), (60, 0.4), (100, 0.1), (400, 0.05)], 8)
    return inside, cortical, core * look(spongy, level)


def _patella(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    centre = rng.normal(2, 3) + 35 * np.sin(np.deg2rad(build.rotation))
    height = rng.normal(-38, 5)
    across, upward = (x - centre) / rng.uniform(21, 25), (y - height) / rng.uniform(21, 25)
    # Narrower towards the lower pole.
    across = across * (1 + 0.16 * upward)
    reach = np.sqrt(across**2 + upward**2)
    u, v = across / np.maximum(reach, 1e-3), upward / np.maximum(reach, 1e-3)
    two, two_turned, three = rng.normal(0, 0.035, 3)
    reach = reach * (1 + two * (2 * u * u - 1) + two_turned * 2 * u * v + three * u * (4 * u * u - 3))
    inside = ((1 - reach) * 22).astype(np.float32)
    # Lens-shaped: thin at the rim, so that only parts of its border stand out against the femur.
    seen = 0.45 + 0.55 * np.clip(-v * rng.uniform(0.4, 1.2) + rng.normal(0, 0.3) * u, -0.8, 1)
    rim = np.exp(-np.maximum(inside, 0) / 1.5)
    cortical = np.where(inside > 0, build.cortex * (0.4 + rng.uniform(0.6, 1.6) * seen * rim), 0)
    lens = np.sqrt(np.maximum(1 - reach**2, 0))
    return inside, cortical.astype(np.float32), rng.uniform(4, 9) * lens


def _leg(x: Array, y: Array, build: Build, rng: np.random.Generator) -> tuple[Array, Array]:
    """Path through muscle and skin, and through fat."""
    medial = [(-400, 88), (-220, 78), (-120, 66), (-60, 57), (-10, 51), (30, 49), (75, 54), (120, 57)]
    lateral = [(-400, 70), (-220, 66), (-120, 58), (-60, 53), (-10, 51), (30, 51), (75, 55), (120, 54)]
    low = [(190, 47), (270, 36), (400, 35)]
    inner = along(medial + low, 8) * build.girth + wander(rng, 1.5, 220)
    outer = along(lateral + low, 8) * build.girth + wander(rng, 1.5, 220)
    axis = along([(-420, 24), (-120, 4), (0, 0), (400, -2)], 10)
    level = at(y)
    inside = np.minimum(side(axis - inner, x, level, -1), side(axis + outer, x, level, 1))
    radius = look((inner + outer) / 2, level)
    depth = along([(-400, 138), (-120, 122), (-20, 108), (40, 102), (110, 108), (260, 80), (400, 76)], 10)
    depth = look(depth, level) * np.float32(build.girth)
    # Little muscle lies over the joint itself; fat pads and thin skin make it look darker there.
    layer = along([(-400, 13), (-120, 11), (-30, 13), (20, 13), (80, 8), (400, 6)], 12)
    layer = layer * rng.uniform(0.6, 1.5) * build.girth + wander(rng, 1.2, 90)
    layer = look(np.maximum(layer, 2.0), level)
    whole = chord(inside, radius, depth)
    muscle = chord(inside - layer, np.maximum(radius - layer, 5), np.maximum(depth - 2 * layer, 5))
    muscle = np.where(inside > layer, np.minimum(muscle, whole), 0)
    return muscle, whole - muscle


def project(x: Array, y: Array, build: Build) -> Tissue:
    """Path lengths of the ray through each point of the film.

    `x`, `y`: float32 arrays of one shape, millimetres in the leg's frame (x lateral, y distal).
    Returns a `Tissue` of the same shape; bone displaces the soft tissue in the attenuation, not here.
    """
    streams = [np.random.default_rng([build.seed, part]) for part in range(5)]
    x, y = x / np.float32(build.size), y / np.float32(build.size)
    upper, lower = turned(x, y, -build.alignment / 2), turned(x, y, build.alignment / 2)
    muscle, fat = _leg(x, y, build, streams[4])
    flags = np.zeros(x.shape, np.uint8)
    cortical, spongy = np.zeros_like(x), np.zeros_like(x)
    bones = [
        (FEMUR, _femur, upper, (-62, 62), (-REACH, 35)),
        (TIBIA, _tibia, lower, (-60, 60), (-35, REACH)),
        (FIBULA, _fibula, lower, (0, 75), (-10, REACH)),
        (PATELLA, _patella, upper, (-45, 48), (-85, 15)),
    ]
    for stream, (bone, draw, (across, down), wide, tall) in zip(streams, bones, strict=False):
        # Only the rectangle that the bone can reach is worked out.
        rows = np.flatnonzero((down.max(axis=1) > tall[0]) & (down.min(axis=1) < tall[1]))
        columns = np.flatnonzero((across.max(axis=0) > wide[0]) & (across.min(axis=0) < wide[1]))
        if not rows.size or not columns.size:
            continue
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside, shell_path, core_path = draw(across[part], down[part], build, stream)
        flags[part][inside > 0] |= bone
        cortical[part] += np.where(inside > 0, shell_path, 0)
        spongy[part] += np.where(inside > 0, core_path, 0)
    size = np.float32(build.size)
    return Tissue(muscle * size, fat * size, cortical * size, spongy * size, flags)
