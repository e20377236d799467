"""One synthetic knee radiograph from a seed and a bone density."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from osteo_utils.data import phantom_anatomy as anatomy
from osteo_utils.data import phantom_film as film

# Femoral neck of white women aged 20-29 in NHANES III (Looker et al., Osteoporos Int 1998), g/cm²: the
# reference on which WHO's definition rests. The phantom borrows it for the knee.
YOUNG_MEAN, YOUNG_SD = 0.858, 0.120
# WHO 1994 (Technical Report Series 843): osteoporosis is a T-score of -2.5 or lower.
THRESHOLD = -2.5
# Middle and spread of the T-scores of a set with as many knees of each class.
_MIDDLE, _SPREAD = -1.65, 1.8
_SHARED_NOISE, _OWN_NOISE = 1.15, 0.4


@dataclass(frozen=True)
class Knee:
    """One drawn knee.

    image uint8 (h, w); mask uint8 (h, w), 1 = bone; parts uint8 (h, w), the sum of 1 femur, 2 tibia,
    4 fibula, 8 patella where each is seen; pixel: mm per pixel; joint: (row, column) of the joint's centre.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    pixel: float
    joint: tuple[float, float]


def t_score(density: float) -> float:
    """T-score of an areal bone density in g/cm²: (density - young mean) / young standard deviation."""
    return (density - YOUNG_MEAN) / YOUNG_SD


def is_osteoporosis(density: float) -> bool:
    """WHO's definition: T-score of -2.5 or lower."""
    return t_score(density) <= THRESHOLD


def _shown(density: float, signal: float, rng: np.random.Generator) -> tuple[float, float]:
    """T-scores that cortex and texture follow: the knee's own, blurred by biology.

    With `signal` 0 they are drawn from the same spread without looking at the density.
    """
    pulled = _MIDDLE + signal * (t_score(density) - _MIDDLE)
    pulled += np.sqrt(1 - signal**2) * _SPREAD * rng.standard_normal() + _SHARED_NOISE * rng.standard_normal()
    cortex, texture = pulled + _OWN_NOISE * rng.standard_normal(2)
    return float(np.clip(cortex, -5.0, 3.0)), float(np.clip(texture, -4.8, 3.0))


def draw_knee(
    seed: int,
    density: float,
    size: int = 512,
    *,
    aspect: float = 0.5,
    layout: str = "open",
    side: str = "R",
    signal: float = 1.0,
) -> Knee:
    """Draw one knee; the same arguments give the same pixels.

    density: areal bone density, g/cm². size: the longer edge in pixels; aspect: width over height.
    layout: "open" (lower leg on a dark film) or "collimated" (dark bands around the knee). side: "R" or
    "L", as in a film that faces the reader. signal: 0 (cortex and texture ignore the density) to 1.
    Thinner cortex, wider strut spacing and fewer transverse struts with falling density are the known
    signs (Singh et al., J Bone Joint Surg Am 1970, for the hip); how steep they are here is our choice,
    set so that an ideal reader of both signs reaches an AUROC of about 0.98. The strut spacing is that of
    the projection at film resolution, wider than the spacing seen in histology.
    """
    if not 0 <= signal <= 1:
        raise ValueError(f"signal is {signal}; expected a number from 0 (no signal) to 1")
    if side not in ("L", "R") or layout not in ("open", "collimated"):
        raise ValueError(f"side {side!r}, layout {layout!r}; expected 'L' or 'R', 'open' or 'collimated'")
    if not 0 < density < 3 or size < 48:
        raise ValueError(f"density {density} g/cm², size {size}; expected 0-3 g/cm² and at least 48 pixels")
    streams = np.random.default_rng(seed).spawn(4)
    cortex_t, texture_t = _shown(density, signal, streams[0])
    rng = streams[1]
    height, width = (size, round(size * aspect)) if aspect <= 1 else (round(size / aspect), size)
    across_mm = rng.uniform(128, 165) if layout == "open" else rng.uniform(108, 132)
    pixel = across_mm / width if aspect <= 0.8 else rng.uniform(215, 270) / height
    joint = (height * rng.uniform(0.4, 0.56), width * rng.uniform(0.45, 0.55))
    build = anatomy.draw_build(rng, cortex=float(np.exp(0.17 * cortex_t)))
    x, y = _grid(height, width, pixel, joint, rng.normal(0, 2.5), side)
    tissue = anatomy.project(x, y, build)

    grain = film.texture(
        (height, width),
        pixel,
        spacing=float(1.75 * np.exp(-0.13 * texture_t)),
        cross=float(np.clip(0.55 + 0.11 * texture_t, 0.05, 0.9)),
        seed=int(rng.integers(2**31)),
    )
    soft, bone = film.attenuate(
        tissue,
        grain=grain,
        contrast=float(0.078 * np.exp(-0.18 * texture_t)),
        cortical=float(rng.uniform(0.2, 0.27) * build.cortex**0.2),
        spongy=float(rng.uniform(0.1, 0.15)),
        muscle=film.slow_field((height, width), rng) * np.float32(0.045),
    )
    thickness, detail = film.detect(soft, bone, pixel, streams[2])
    return _finish(thickness, detail, tissue, pixel, joint, layout, side, streams[3])


def _grid(
    height: int, width: int, pixel: float, joint: tuple[float, float], tilt: float, side: str
) -> tuple[anatomy.Array, anatomy.Array]:
    down = (np.arange(height, dtype=np.float32)[:, None] - np.float32(joint[0])) * np.float32(pixel)
    across = (np.arange(width, dtype=np.float32)[None, :] - np.float32(joint[1])) * np.float32(pixel)
    # The reader faces the patient: the lateral side of a right knee lies on the left of the film.
    lateral = -across if side == "R" else across
    cosine, sine = np.float32(np.cos(np.deg2rad(tilt))), np.float32(np.sin(np.deg2rad(tilt)))
    return cosine * lateral + sine * down, cosine * down - sine * lateral


def _finish(
    thickness: anatomy.Array,
    detail: anatomy.Array,
    tissue: anatomy.Tissue,
    pixel: float,
    joint: tuple[float, float],
    layout: str,
    side: str,
    rng: np.random.Generator,
) -> Knee:
    bone = tissue.bones > 0
    leg = (tissue.soft > 0.35 * tissue.soft.max()) & ~bone
    leg_level, bone_level = float(np.median(thickness[leg])), float(np.mean(detail[bone]))
    grey = film.develop(thickness, detail, leg_level, bone_level, pixel, rng)
    grey, exposed = film.collimate(grey, layout == "collimated", pixel, rng)
    grey = film.mark(grey, side, rng)
    exposed &= ~film.frame(grey, rng)
    parts = np.where(exposed, tissue.bones, 0).astype(np.uint8)
    image = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
    return Knee(image, (parts > 0).astype(np.uint8), parts, pixel, joint)
