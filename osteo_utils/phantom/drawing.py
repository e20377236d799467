"""One synthetic knee radiograph from a seed and a bone density, and the outlines of its bones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from osteo_utils.phantom import acquisition, anatomy
from osteo_utils.phantom.anatomy import FEMUR, FIBULA, PATELLA, TIBIA
from osteo_utils.phantom.shapes import Array, rotated

# Femoral neck of white women aged 20-29 in NHANES III (Looker et al., Osteoporos Int 1998), g/cm²: the
# reference behind WHO's definition. The phantom borrows it for the knee.
YOUNG_MEAN, YOUNG_SD = 0.858, 0.120
# WHO 1994 (Technical Report Series 843): osteoporosis is a T-score of -2.5 or lower.
THRESHOLD = -2.5
# Middle and spread of the T-scores of a set with as many knees of each class.
_MIDDLE, _SPREAD = -1.65, 1.8
_SHARED_NOISE, _OWN_NOISE = 0.7, 0.4
LAYOUTS = ("open", "collimated", "long")
BONES = {"femur": FEMUR, "tibia": TIBIA, "fibula": FIBULA, "patella": PATELLA}
# Largest distance, in pixels, between a polygon and the outline that it approximates.
TOLERANCE = 0.5


@dataclass(frozen=True)
class Knee:
    """One drawn knee.

    image uint8 (h, w); parts uint8 (h, w), the sum of 1 femur, 2 tibia, 4 fibula, 8 patella at each pixel;
    pixel: mm per pixel; joint: (row, column) of the joint's centre.
    """

    image: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    pixel: float
    joint: tuple[float, float]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """Bone as 1, uint8 (h, w)."""
        return (self.parts > 0).astype(np.uint8)


def t_score(density: float) -> float:
    """T-score of an areal bone density in g/cm²: (density - young mean) / young standard deviation."""
    return (density - YOUNG_MEAN) / YOUNG_SD


def is_osteoporosis(density: float) -> bool:
    """Whether a density meets WHO's definition."""
    return t_score(density) <= THRESHOLD


def _shown(density: float, signal: float, rng: np.random.Generator) -> tuple[float, float]:
    """T-scores of cortex and texture: the knee's own with noise; with `signal` 0 they do not depend on it."""
    pulled = _MIDDLE + signal * (t_score(density) - _MIDDLE)
    pulled += np.sqrt(1 - signal**2) * _SPREAD * rng.standard_normal() + _SHARED_NOISE * rng.standard_normal()
    cortex, texture = pulled + _OWN_NOISE * rng.standard_normal(2)
    return float(np.clip(cortex, -5.0, 3.0)), float(np.clip(texture, -4.8, 3.0))


@dataclass(frozen=True)
class Bone:
    """Properties of bone that depend on density. Lengths are projected mm; factors are relative to a young adult.

    cortex: cortical thickness (factor); fraction: bone volume fraction of spongy bone; mineral: attenuation of the
    cortex per mm (factor); spacing: between struts; cross: power of transverse over vertical struts; hurst:
    exponent of the texture's spectrum; contrast: of the texture, relative to the spongy bone's mean.
    """

    cortex: float
    fraction: float
    mineral: float
    spacing: float
    cross: float
    hurst: float
    contrast: float


def bone_of(cortex_t: float, texture_t: float) -> Bone:
    """Bone for a T-score of the cortex and a T-score of the spongy bone.

    As density falls, the cortex thins and struts are lost, transverse ones first (Singh et al., J Bone Joint Surg
    Am 1970, hip). Bone volume lies between the 9 % of a spine and the 26 % of a femoral head (Hildebrand et al.,
    J Bone Miner Res 1999). Texture is rougher in patients with fractures: its Hurst exponent is lower (Benhamou et
    al., J Bone Miner Res 2001, heel). These papers give the directions; the slopes are our choice, set so that an
    ideal reader of both signs reaches an AUROC of about 0.998. Strut spacing is that of the projection at film
    resolution, wider than in histology. Contrast rises as the mean falls.

    One departure from physics is deliberate: a thin cortex attenuates more per millimetre. Otherwise the coarse
    pattern (bright shafts, dim ends) would give the class away even in a thumbnail. The sign should be the width of
    the cortex, not the brightness of the shaft.
    """
    return Bone(
        cortex=float(np.exp(0.17 * cortex_t)),
        fraction=float(0.19 * np.exp(0.03 * texture_t)),
        mineral=float(np.exp(-0.14 * cortex_t)),
        spacing=float(1.3 * np.exp(-0.13 * texture_t)),
        cross=float(np.clip(0.55 + 0.11 * texture_t, 0.05, 0.9)),
        hurst=float(np.clip(0.62 + 0.05 * texture_t, 0.3, 0.8)),
        contrast=float(0.062 * np.exp(-0.18 * texture_t)),
    )


def draw_knee(
    seed: int,
    density: float,
    size: int = 512,
    *,
    aspect: float = 0.5,
    layout: str = "open",
    side: str = "R",
    signal: float = 1.0,
    site: str = "flat_panel",
    tagged: bool = False,
) -> Knee:
    """Draw one knee; the same arguments give the same pixels.

    density: areal bone density, g/cm². size: the longer edge in pixels; aspect: width over height.
    layout: "open" (lower leg on a dark film), "collimated" (dark bands around the knee) or "long" (a leg stitched
    from two exposures). side: "R" or "L", the patient facing the reader. signal: 0 (cortex and texture ignore the
    density) to 1. site: the scanner, one of `acquisition.SITES`. tagged: a lead ball lies in a corner.
    """
    if not 0 <= signal <= 1:
        raise ValueError(f"signal is {signal}; expected a number from 0 (no signal) to 1")
    if side not in ("L", "R") or layout not in LAYOUTS:
        raise ValueError(f"side {side!r}, layout {layout!r}; expected 'L' or 'R' and one of {LAYOUTS}")
    if site not in acquisition.SITES:
        raise ValueError(f"site is {site!r}; expected one of {acquisition.SITES}")
    if not 0 < density < 3 or size < 48:
        raise ValueError(f"density {density} g/cm², size {size}; expected 0-3 g/cm² and at least 48 pixels")
    streams = np.random.default_rng(seed).spawn(5)
    bone = bone_of(*_shown(density, signal, streams[0]))
    rng = streams[1]
    shape = (size, round(size * aspect)) if aspect <= 1 else (round(size / aspect), size)
    pixel = _pixel(shape, layout, rng)
    joint = (shape[0] * rng.uniform(0.34, 0.56), shape[1] * rng.uniform(0.44, 0.56))
    build = anatomy.draw_build(rng, bone.cortex)
    tilt = float(np.clip(rng.normal(0, 3.0 if layout != "long" else 1.5), -8, 8))
    tissue = anatomy.project(*_grid(shape, pixel, joint, tilt, side), build)
    grain = acquisition.texture(shape, pixel, bone.spacing, bone.cross, bone.hurst, seed=int(rng.integers(2**31)))
    muscle = acquisition.muscle_field(shape, rng) * np.float32(0.05)
    fraction, mineral = bone.fraction * _spread(rng), bone.mineral * _spread(rng)
    soft, hard = acquisition.attenuate(tissue, grain, bone.contrast, fraction, mineral, muscle)

    rng = streams[3]
    scanner = acquisition.SCANNERS[site]
    opened = acquisition.aperture(shape, layout, pixel, rng)
    leg = (tissue.soft + tissue.fat > 12) & (opened > 0.5)
    parts = np.where(opened > 0.5, tissue.bones, 0).astype(np.uint8)
    thickness, detail = acquisition.detect(soft, hard, leg, pixel, scanner, streams[2])
    share = np.count_nonzero(parts) / max(np.count_nonzero(leg), 1)
    grey = acquisition.develop(thickness, detail, leg, share, pixel, scanner, rng)
    if layout == "long":
        grey, parts = acquisition.stitch(grey, parts, rng)
    black = np.float32(rng.uniform(*scanner.black))
    grey = black + (grey - black * grey) * opened
    acquisition.mark(grey, side, layout, rng)
    strips = acquisition.frame(grey, rng)
    # The tag has its own stream, so a film with a tag and one without are otherwise the same.
    if tagged:
        acquisition.tag(grey, streams[4])
    parts = np.where(strips, 0, parts).astype(np.uint8)
    return Knee(np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8), parts, pixel, joint)


def _spread(rng: np.random.Generator) -> float:
    """Variation of the mean attenuation of bone between knees of one density (factor)."""
    return float(np.exp(0.2 * np.clip(rng.standard_normal(), -2, 2)))


def _pixel(shape: tuple[int, int], layout: str, rng: np.random.Generator) -> float:
    """Millimetres per pixel: a film shows a knee, a knee with half the lower leg, or most of the leg."""
    if layout == "long":
        return rng.uniform(380, 520) / shape[0]
    if shape[1] > 0.8 * shape[0]:
        return rng.uniform(215, 300) / shape[0]
    return (rng.uniform(120, 165) if layout == "open" else rng.uniform(105, 135)) / shape[1]


def _grid(
    shape: tuple[int, int], pixel: float, joint: tuple[float, float], tilt: float, side: str
) -> tuple[Array, Array]:
    """Each pixel's position in the leg's frame, in mm."""
    down = (np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(joint[0])) * np.float32(pixel)
    across = (np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(joint[1])) * np.float32(pixel)
    # The reader faces the patient: the lateral side of a right knee lies on the left of the film.
    return rotated(-across if side == "R" else across, down, tilt)


def outlines(parts: NDArray[np.uint8]) -> dict[str, list[NDArray[np.float32]]]:
    """Closed polygons around each visible bone, float (n, 2): x and y from the first pixel's centre, in pixels."""
    return {name: _around(parts & bit > 0) for name, bit in BONES.items() if (parts & bit).any()}


def _around(mask: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    # A border of background closes outlines that the film's edge cuts.
    cut = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    found = [approximate_polygon(line, TOLERANCE) for line in find_contours(cut.astype(np.float32), 0.5)]
    return [(line[:, ::-1] + [left - 1, top - 1]).astype(np.float32) for line in found if len(line) > 3]


def joint_line(parts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Midline between femur and tibia over the plateau: float (n, 2), x and y in pixels; empty without both bones."""
    femur, tibia = parts & FEMUR > 0, parts & TIBIA > 0
    columns = np.flatnonzero(femur.any(axis=0) & tibia.any(axis=0))
    if not columns.size:
        return np.empty((0, 2), np.float32)
    lowest = len(parts) - 1 - np.argmax(femur[::-1, columns], axis=0)
    highest = np.argmax(tibia[:, columns], axis=0)
    gap = highest - lowest
    # Beside the plateau the two edges part; there is no joint between them.
    joint = gap <= 3 * max(float(np.median(gap)), 1.0)
    return np.column_stack([columns, (lowest + highest) / 2])[joint].astype(np.float32)


def as_lists(parts: NDArray[np.uint8]) -> dict[str, list]:
    """`outlines` and `joint_line` with one decimal, for a JSON file."""

    def plain(line: NDArray[np.float32]) -> list[list[float]]:
        return [[round(value, 1) for value in point] for point in line.tolist()]

    found = {name: [plain(line) for line in lines] for name, lines in outlines(parts).items()}
    return {**found, "joint_line": plain(joint_line(parts))}
