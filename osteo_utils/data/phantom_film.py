"""From tissue to film: attenuation, trabecular texture, noise, exposure, markers and borders.

Attenuation coefficients are those of NIST XCOM / NISTIR 5632 (Hubbell and Seltzer) for ICRU-44 tissues at
60 keV. Strengths of scatter, noise and image processing are choices that give the look of a digital
knee film; they are not measured on one machine.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import fft
from scipy.ndimage import gaussian_filter, zoom

from osteo_utils.data.phantom_anatomy import Array, Tissue

# Mass attenuation (cm²/g) times density (g/cm³), per mm.
CORTICAL = 0.3148 * 1.92 / 10
SOFT = 0.2048 * 1.06 / 10
FAT = 0.1974 * 0.95 / 10


def texture(shape: tuple[int, int], pixel: float, spacing: float, cross: float, seed: int) -> Array:
    """Trabecular texture: an anisotropic Gaussian random field of unit variance, float32 of `shape`.

    `pixel` and `spacing` in mm: the projected distance between struts. `cross`: power of the transverse
    struts relative to the vertical ones (0..1). Structure finer than two pixels is lost, as on a film, so
    the variance on a coarse film is below one.
    """
    rng = np.random.default_rng(seed)
    noise = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    down = fft.fftfreq(shape[0], pixel).astype(np.float32)[:, None]
    across = fft.rfftfreq(shape[1], pixel).astype(np.float32)[None, :]
    peak = 1 / spacing
    band, spread = 0.35 * peak, 0.28 * peak

    def struts(normal: Array, parallel: Array) -> Array:
        """Power of struts that repeat along `normal` and run along `parallel`; a separable bump."""
        ring = np.exp(-0.5 * ((np.abs(normal) - peak) / band) ** 2)
        return ring * np.exp(-0.5 * (parallel / spread) ** 2)

    # Trabecular projections have power-law spectra on top of the strut spacing.
    cloud = 1 / (1 + (down**2 + across**2) / (0.25 * peak) ** 2) ** 1.5
    power = struts(across, down) + cross * struts(down, across) + 0.5 * cloud
    total = (1 + cross) * 4 * np.pi * band * spread + 0.5 * 2 * np.pi * (0.25 * peak) ** 2
    field = fft.irfft2(noise * np.sqrt(power / total) / np.float32(pixel), s=shape)
    return field.astype(np.float32)


def slow_field(shape: tuple[int, int], rng: np.random.Generator, waves: int = 7) -> Array:
    """Uneven soft tissue: a sum of the first cosines over the film, about unit variance."""
    strength = rng.standard_normal((waves, waves)) / (1 + np.add.outer(np.arange(waves), np.arange(waves)))
    strength[0, 0] = 0

    def basis(n: int) -> NDArray:
        return np.cos(np.pi * np.outer((np.arange(n) + 0.5) / n, np.arange(waves)))

    field = basis(shape[0]) @ strength @ basis(shape[1]).T
    return (field / field.std()).astype(np.float32)


def attenuate(
    tissue: Tissue, grain: Array, contrast: float, cortical: float, spongy: float, muscle: Array
) -> tuple[Array, Array]:
    """Line integrals of attenuation of soft tissue, and what bone adds (60 keV, Beer and Lambert).

    `grain`: unit texture; `contrast` its strength relative to the trabecular attenuation. `cortical`,
    `spongy`: the mean extra attenuation that each of the two adds over the bone seen. A film has no
    absolute scale and each exposure is set for its bone, so the caller decides these means: how bone is
    laid out (width of the cortex, texture) tells of density, its overall brightness need not. This is
    where the model departs from physics on purpose.
    """
    inside = tissue.bones > 0
    shell = (CORTICAL - SOFT) * tissue.cortical
    core = np.maximum(tissue.spongy * (1 + contrast * grain), 0)
    shell *= cortical / max(float(shell.mean(where=inside)), 1e-6)
    core *= spongy / max(float(core.mean(where=inside)), 1e-6)
    return SOFT * tissue.soft * (1 + muscle) + FAT * tissue.fat, shell + core


def _enlarge(coarse: Array, shape: tuple[int, ...]) -> Array:
    factors = (shape[0] / coarse.shape[0], shape[1] / coarse.shape[1])
    return zoom(coarse, factors, order=1, mode="nearest", grid_mode=True)


def detect(soft: Array, bone: Array, pixel: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """What the detector reports in units of attenuation: the leg's thickness, and bone over it.

    Scatter is a wide blur of the primary image; quantum noise follows the square root of the photons;
    the blur of the detector acts on both; electronic noise comes last.
    """
    primary = np.exp(-soft - bone)
    scatter = gaussian_filter(primary[::8, ::8], 25 / (8 * pixel), mode="nearest")
    share = np.float32(rng.uniform(0.1, 0.35))
    scatter = share * _enlarge(scatter, soft.shape)
    signal = primary + scatter
    photons = np.float32(10 ** rng.uniform(4.0, 4.7) * (pixel / 0.3) ** 2)
    signal += np.sqrt(signal / photons) * rng.standard_normal(signal.shape, dtype=np.float32)
    signal = gaussian_filter(signal, rng.uniform(0.3, 0.55) / max(pixel, 0.3), truncate=3.0)
    signal += np.float32(0.0006) * rng.standard_normal(signal.shape, dtype=np.float32)
    thickness = -np.log((np.exp(-soft) + scatter) / (1 + share))
    return thickness, -np.log(np.maximum(signal / (1 + share), 2e-4)) - thickness


def develop(
    thickness: Array, detail: Array, soft: float, bone: float, pixel: float, rng: np.random.Generator
) -> Array:
    """The display curve: an S-shaped film curve for bone over a compressed leg, edges enhanced; 0..1.

    `soft`: typical `thickness` of the leg; `bone`: typical `detail` of bone. Each film places the two at
    grey values of its own choice. Makers of digital machines compress the leg's thickness so that bone
    near the skin and deep in the thigh are both seen; here it is taken out by its known value.
    """
    dark, bright = rng.uniform(0.2, 0.38), rng.uniform(0.62, 0.76)
    low, high = np.log(dark / (1 - dark)), np.log(bright / (1 - bright))
    # Flat over the leg, then down to the black of air at the skin line.
    relative = np.clip(thickness / soft - 1, -1, 1)
    leg = rng.uniform(0.7, 1.6) * relative - rng.uniform(2.2, 4.5) * np.maximum(-relative, 0) ** 3
    film = low + (high - low) * detail / max(bone, 0.05) + leg
    grey = 1 / (1 + np.exp(-film))
    amount = rng.uniform(0.15, 0.6)
    coarse = gaussian_filter(grey, rng.uniform(1.2, 2.5) / pixel, truncate=2.5)
    return np.clip(grey + amount * (grey - coarse), 0, 1).astype(np.float32)


def _paste(grey: Array, patch: Image.Image, top: int, left: int) -> None:
    ink = np.asarray(patch, np.float32) / 255
    height, width = ink.shape
    top = int(np.clip(top, 0, max(grey.shape[0] - height, 0)))
    left = int(np.clip(left, 0, max(grey.shape[1] - width, 0)))
    room = grey[top : top + height, left : left + width]
    seen = ink[: room.shape[0], : room.shape[1]]
    room[:] = np.where(seen > 0, seen, room)


def mark(grey: Array, side: str, rng: np.random.Generator) -> Array:
    """Add a side marker (letter on a plate, letter alone or lead ball), placed beside the leg."""
    height, width = grey.shape
    kind = rng.choice(["plate", "letter", "ball", "none"], p=[0.5, 0.2, 0.1, 0.2])
    size = max(7, round(rng.uniform(0.026, 0.042) * height))
    if kind == "none":
        return grey
    patch = Image.new("L", (size, round(size * (1.0 if kind == "ball" else 1.2))), 0)
    pen = ImageDraw.Draw(patch)
    if kind == "ball":
        pen.ellipse((0, 0, size - 1, size - 1), fill=int(rng.integers(225, 250)))
    else:
        font = ImageFont.load_default(size=size)
        middle = (patch.width / 2, patch.height / 2)
        if kind == "plate":
            pen.rectangle((0, 0, patch.width, patch.height), fill=int(rng.integers(185, 235)))
            pen.text(middle, side, fill=int(rng.integers(30, 90)), font=font, anchor="mm")
        else:
            pen.text(middle, side, fill=int(rng.integers(200, 250)), font=font, anchor="mm")
    # A marker lies beside the leg: of a few places near the edges the darkest is taken.
    tops = np.rint(rng.uniform(0.06, 0.7, 8) * height).astype(int)
    margin = round(rng.uniform(0.02, 0.09) * width)
    places = [(top, left) for top in tops for left in (margin, width - patch.width - margin)]
    top, left = min(places, key=lambda p: grey[p[0] : p[0] + size, p[1] : p[1] + size].mean())
    _paste(grey, patch, int(top), left)
    return grey


def collimate(
    grey: Array, bands: bool, pixel: float, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """Black out what the collimator covers; returns the film and where it is exposed."""
    height, width = grey.shape
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    tilt = np.float32(rng.normal(0, 0.006))
    down, across = down + tilt * across, across - tilt * down
    if bands:
        top, bottom = rng.uniform(0.05, 0.12, 2) * height
        left, right = rng.uniform(0.0, 0.05, 2) * width
    else:
        top, bottom = rng.choice([-9.0, 0.01 * height], 2) + rng.uniform(0, 0.012, 2) * height
        left, right = -9.0, rng.choice([-9.0, 0.02 * width])
    inside = np.minimum(
        np.minimum(down - top, height - bottom - down), np.minimum(across - left, width - right - across)
    )
    open_share = np.clip(inside * pixel / np.float32(rng.uniform(0.6, 2.0)) + 0.5, 0, 1)
    level = np.float32(rng.uniform(0, 0.02))
    return level + (grey - level) * open_share, open_share > 0.5


def frame(grey: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Bright strips along an edge, as left by a film digitiser; drawn in place, returns where they are."""
    strip = np.zeros(grey.shape, bool)
    if rng.random() < 0.25:
        strip[grey.shape[0] - max(1, round(rng.uniform(0.003, 0.02) * grey.shape[0])) :] = True
    if rng.random() < 0.15:
        strip[:, grey.shape[1] - max(1, round(rng.uniform(0.005, 0.02) * grey.shape[1])) :] = True
    grey[strip] = np.float32(rng.uniform(0.85, 1.0))
    return strip
