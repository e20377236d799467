"""From tissue to grey levels: attenuation, trabecular texture, detector, display.

Attenuation coefficients are those of NIST XCOM / NISTIR 5632 (Hubbell and Seltzer) for ICRU-44 tissues at
60 keV. Strengths of scatter, noise and image processing are choices that give the look of a digital
knee film; they are not measured on one machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from osteo_utils.data.phantom_anatomy import Tissue
from osteo_utils.data.phantom_shapes import Array

# Mass attenuation (cm²/g) times density (g/cm³), per mm.
CORTICAL = 0.3148 * 1.92 / 10
SOFT = 0.2048 * 1.06 / 10
FAT = 0.1974 * 0.95 / 10

Range = tuple[float, float]


@dataclass(frozen=True)
class Scanner:
    """How one kind of machine records and shows a film: ranges from which each film draws.

    photons: log10 of those behind the leg per 0.3 mm pixel; blur: mm (sigma, the archive's resampling
    included); scatter: scattered over primary; edges: strength of the enhancement, edge_scale: mm; levelling: how
    much of the leg's thickness is left in the picture; soft: how soft tissue is spread between black and bone (1: evenly,
    below 1: more of it dark); bone, spread: centre and standard deviation of bone's grey values (0..1); black: grey value
    of what no ray reached.
    """

    photons: Range
    blur: Range
    scatter: Range
    edges: Range
    edge_scale: Range
    levelling: Range
    soft: Range
    bone: Range
    spread: Range
    black: Range


# A flat panel against a storage phosphor plate: the plate needs more dose for the same noise and blurs more
# (Rowlands, Phys Med Biol 2002). Noise, blur and enhancement of the two do not overlap.
SCANNERS = {
    "flat_panel": Scanner(
        **{"photons": (3.5, 4.2), "blur": (0.2, 0.4), "scatter": (0.1, 0.3), "edges": (0.1, 0.7)},
        **{"edge_scale": (0.8, 2.2), "levelling": (0.2, 0.5), "soft": (0.4, 0.85), "bone": (0.58, 0.72)},
        **{"spread": (0.1, 0.14), "black": (0.0, 0.025)},
    ),
    "storage_phosphor": Scanner(
        **{"photons": (2.6, 3.2), "blur": (0.45, 0.7), "scatter": (0.3, 0.5), "edges": (0.9, 1.6)},
        **{"edge_scale": (2.5, 4.0), "levelling": (0.8, 1.0), "soft": (0.6, 1.2), "bone": (0.74, 0.82)},
        **{"spread": (0.07, 0.1), "black": (0.03, 0.08)},
    ),
}
SITES = tuple(SCANNERS)


def texture(
    shape: tuple[int, int], pixel: float, spacing: float, cross: float, hurst: float, seed: int
) -> Array:
    """Trabecular texture: an anisotropic Gaussian random field of unit variance, float32 of `shape`.

    `pixel` and `spacing` in mm: the projected distance between struts. `cross`: power of the transverse
    struts relative to the vertical ones (0..1). `hurst` (0..1): the spectrum falls as the frequency to the
    power -2(hurst + 1), as in fractional Brownian motion. Structure finer than two pixels is lost, as on a
    film, so the variance on a coarse film is below one.
    """
    rng = np.random.default_rng(seed)
    noise = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    down = fft.fftfreq(shape[0], pixel).astype(np.float32)[:, None]
    across = fft.rfftfreq(shape[1], pixel).astype(np.float32)[None, :]
    peak = 1 / spacing
    band, spread = 0.35 * peak, 0.36 * peak

    def struts(normal: Array, parallel: Array) -> Array:
        """Power of struts that repeat along `normal` and run along `parallel`; a separable bump."""
        ring = np.exp(-0.5 * ((np.abs(normal) - peak) / band) ** 2)
        return ring * np.exp(-0.5 * (parallel / spread) ** 2)

    corner = (0.25 * peak) ** 2
    cloud = (1 + (down**2 + across**2) / np.float32(corner)) ** np.float32(-(1 + hurst))
    power = struts(across, down) + np.float32(cross) * struts(down, across) + cloud
    total = (1 + cross) * 4 * np.pi * band * spread + np.pi * corner / hurst
    field = fft.irfft2(noise * np.sqrt(power / np.float32(total)) / np.float32(pixel), s=shape)
    return field.astype(np.float32)


def muscle_field(shape: tuple[int, int], rng: np.random.Generator, waves: tuple[int, int] = (7, 15)) -> Array:
    """Uneven soft tissue, drawn out along the leg: cosines over the film, unit variance, float32 of `shape`."""
    strength = rng.standard_normal(waves) / (
        1 + np.add.outer(1.3 * np.arange(waves[0]), 0.6 * np.arange(waves[1]))
    )
    strength[0, 0] = 0
    # Over a whole film the cosines are orthogonal, so the variance is known without the picture.
    halves = np.where(np.arange(waves[0]) == 0, 1, 0.5)[:, None] * np.where(np.arange(waves[1]) == 0, 1, 0.5)
    strength *= halves / np.sqrt((strength**2 * halves).sum())
    return fft.idctn(strength.astype(np.float32), s=shape, norm="forward")


def attenuate(
    tissue: Tissue, grain: Array, contrast: float, fraction: float, mineral: float, muscle: Array
) -> tuple[Array, Array]:
    """Line integrals of attenuation of soft tissue, and what bone adds to it (60 keV, Beer and Lambert).

    `fraction`: share of the spongy bone's volume that is bone, the rest attenuates as soft tissue does;
    `grain`: unit texture, `contrast` its strength relative to the spongy bone's mean; `mineral`: how the
    cortex attenuates relative to the table; `muscle`: relative deviation of the muscle's path.
    """
    core = np.float32(fraction) * np.maximum(tissue.spongy * (1 + np.float32(contrast) * grain), 0)
    bone = np.float32(CORTICAL - SOFT) * (np.float32(mineral) * tissue.cortical + core)
    soft = np.float32(SOFT) * tissue.soft * (1 + muscle) + np.float32(FAT) * tissue.fat
    return soft, bone


def _scattered(primary: Array, pixel: float) -> Array:
    """The primary image under a blur of 25 mm, worked out on an eighth of the pixels."""
    picture = Image.fromarray(primary)
    coarse = gaussian_filter(np.asarray(picture.reduce(8)), 25 / (8 * pixel), mode="nearest", truncate=3.0)
    place = (0, 0, picture.width / 8, picture.height / 8)
    return np.asarray(Image.fromarray(coarse).resize(picture.size, Image.Resampling.BILINEAR, box=place))


def detect(
    soft: Array, bone: Array, leg: NDArray[np.bool_], pixel: float, scanner: Scanner, rng: np.random.Generator
) -> tuple[Array, Array]:
    """What the detector reports in units of attenuation: the leg's thickness, and bone over it.

    Scatter is a wide blur of the primary image; quantum noise follows the square root of the photons;
    the blur of the detector acts on both; electronic noise comes last. The exposure ends when the mean
    behind the `leg` has reached its dose, so a thick leg is no noisier than a thin one.
    """
    primary = np.exp(-soft - bone)
    share = np.float32(rng.uniform(*scanner.scatter))
    scatter = share * _scattered(primary, pixel)
    signal = primary + scatter
    behind = float(signal[leg].mean()) if leg.any() else float(signal.mean())
    photons = np.float32(10 ** rng.uniform(*scanner.photons) * (pixel / 0.3) ** 2 / behind)
    signal += np.sqrt(signal / photons) * rng.standard_normal(signal.shape, dtype=np.float32)
    signal = gaussian_filter(signal, rng.uniform(*scanner.blur) / pixel, truncate=3.0)
    signal += np.float32(0.004 * behind) * rng.standard_normal(signal.shape, dtype=np.float32)
    thickness = -np.log((np.exp(-soft) + scatter) / (1 + share))
    return thickness, -np.log(np.maximum(signal / (1 + share), 2e-4)) - thickness


def develop(
    thickness: Array,
    detail: Array,
    leg: NDArray[np.bool_],
    bone_share: float,
    pixel: float,
    scanner: Scanner,
    rng: np.random.Generator,
) -> Array:
    """Grey levels in 0..1: thickness levelled, edges enhanced, and the film's histogram brought to a wanted one.

    Digital machines find the exposed leg and lay their display curve by its histogram (Prokop and Schaefer-
    Prokop, Eur Radiol 1997). The wanted histogram is a slanted one for soft tissue and a bell for bone, mixed by
    `bone_share`, the share of bone's outline in the leg; its levels are drawn, so they know nothing of density.
    The curve is one monotone function of the whole film: it moves grey levels, not structure.
    """
    shown = detail + np.float32(rng.uniform(*scanner.levelling)) * thickness
    scale = rng.uniform(*scanner.edge_scale) / pixel
    shown += np.float32(rng.uniform(*scanner.edges)) * (shown - gaussian_filter(shown, scale, truncate=2.5))
    share = np.concatenate([[0.002, 0.01, 0.025], np.arange(0.05, 0.96, 0.05), [0.975, 0.99, 0.998, 1.0]])
    knots = np.quantile(shown[::2, ::2][leg[::2, ::2]], share)
    wanted = np.interp(share, *_tones(bone_share, scanner, rng))
    start = min(0.0, knots[0] - 0.2)
    table = np.interp(np.linspace(start, knots[-1], 4096), [start, *knots], [0.0, *wanted]).astype(np.float32)
    place = (shown - np.float32(start)) * np.float32(4095 / (knots[-1] - start))
    return np.take(table, np.clip(place, 0, 4095).astype(np.int32))


def _tones(bone_share: float, scanner: Scanner, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """The wanted histogram of the leg: share of pixels at or below each grey level, and these levels."""
    grey = np.linspace(0, 1, 257)
    lowest, centre = rng.uniform(0.02, 0.07), rng.uniform(*scanner.bone)
    # Soft tissue reaches up to bone: a gap between the two would stretch noise to black and white.
    soft = np.clip((grey - lowest) / (centre - lowest), 0, 1) ** rng.uniform(*scanner.soft)
    bone = ndtr((grey - centre) / rng.uniform(*scanner.spread))
    mixed = (1 - bone_share) * soft + bone_share * bone
    return (mixed - mixed[0]) / (mixed[-1] - mixed[0]) + 1e-9 * np.arange(257), grey
