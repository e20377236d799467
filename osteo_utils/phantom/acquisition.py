"""From path lengths to an image: attenuation, texture, detector and display of two scanners, markers and collimation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from osteo_utils.phantom.anatomy import Tissue
from osteo_utils.phantom.shapes import Array

# Mass attenuation (cm²/g) times density (g/cm³), per mm.
CORTICAL = 0.3148 * 1.92 / 10
SOFT = 0.2048 * 1.06 / 10
FAT = 0.1974 * 0.95 / 10

Range = tuple[float, float]


@dataclass(frozen=True)
class Scanner:
    """How one kind of machine records and displays a film: the ranges from which each film draws.

    photons: log10 of the count behind the leg per 0.3 mm pixel; blur: sigma in mm, including resampling in the
    archive; scatter: scattered over primary; edges, edge_scale: strength and scale (mm) of edge enhancement;
    levelling: share of the leg's thickness left in the image; soft: spread of soft tissue between black and bone
    (1: even, below 1: more of it dark); bone, spread: mean and standard deviation of bone's grey values (0..1);
    black: grey value of unexposed areas.
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


def texture(shape: tuple[int, int], pixel: float, spacing: float, cross: float, hurst: float, seed: int) -> Array:
    """Trabecular texture: an anisotropic Gaussian random field of unit variance, float32 of `shape`.

    `pixel`: mm; `spacing`: projected distance between struts, mm; `cross`: power of transverse relative to vertical
    struts (0..1). `hurst` (0..1): the spectrum falls as frequency to the power -2(hurst + 1), as in fractional
    Brownian motion. Structure finer than two pixels is lost, so the variance on a coarse film is below one.
    """
    rng = np.random.default_rng(seed)
    noise = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    down = fft.fftfreq(shape[0], pixel).astype(np.float32)[:, None]
    across = fft.rfftfreq(shape[1], pixel).astype(np.float32)[None, :]
    peak = 1 / spacing
    band, spread = 0.35 * peak, 0.36 * peak

    def struts(normal: Array, parallel: Array) -> Array:
        """Power of struts that repeat along `normal` and run along `parallel`."""
        ring = np.exp(-0.5 * ((np.abs(normal) - peak) / band) ** 2)
        return ring * np.exp(-0.5 * (parallel / spread) ** 2)

    corner = (0.25 * peak) ** 2
    cloud = (1 + (down**2 + across**2) / np.float32(corner)) ** np.float32(-(1 + hurst))
    power = struts(across, down) + np.float32(cross) * struts(down, across) + cloud
    total = (1 + cross) * 4 * np.pi * band * spread + np.pi * corner / hurst
    field = fft.irfft2(noise * np.sqrt(power / np.float32(total)) / np.float32(pixel), s=shape)
    return field.astype(np.float32)


def muscle_field(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Uneven soft tissue, elongated along the leg: cosines over the film, unit variance, float32 of `shape`."""
    waves = (7, 15)
    strength = rng.standard_normal(waves) / (1 + np.add.outer(1.3 * np.arange(waves[0]), 0.6 * np.arange(waves[1])))
    strength[0, 0] = 0
    # The cosines are orthogonal over a whole film, so their variance is known without the image.
    halves = np.where(np.arange(waves[0]) == 0, 1, 0.5)[:, None] * np.where(np.arange(waves[1]) == 0, 1, 0.5)
    strength *= halves / np.sqrt((strength**2 * halves).sum())
    return fft.idctn(strength.astype(np.float32), s=shape, norm="forward")


def attenuate(
    tissue: Tissue, grain: Array, contrast: float, fraction: float, mineral: float, muscle: Array
) -> tuple[Array, Array]:
    """Line integrals of attenuation: soft tissue, and what bone adds to it (60 keV, Beer and Lambert).

    `fraction`: bone volume fraction of spongy bone; the rest attenuates like soft tissue. `grain`: unit texture;
    `contrast`: its strength relative to the spongy bone's mean. `mineral`: attenuation of the cortex relative to the
    tabulated value. `muscle`: relative deviation of the muscle's path.
    """
    core = np.float32(fraction) * np.maximum(tissue.spongy * (1 + np.float32(contrast) * grain), 0)
    bone = np.float32(CORTICAL - SOFT) * (np.float32(mineral) * tissue.cortical + core)
    soft = np.float32(SOFT) * tissue.soft * (1 + muscle) + np.float32(FAT) * tissue.fat
    return soft, bone


def _blurred(primary: Array, pixel: float) -> Array:
    """The primary image blurred by 25 mm, computed at an eighth of the resolution."""
    image = Image.fromarray(primary)
    coarse = gaussian_filter(np.asarray(image.reduce(8)), 25 / (8 * pixel), mode="nearest", truncate=3.0)
    box = (0, 0, image.width / 8, image.height / 8)
    return np.asarray(Image.fromarray(coarse).resize(image.size, Image.Resampling.BILINEAR, box=box))


def detect(
    soft: Array, bone: Array, leg: NDArray[np.bool_], pixel: float, scanner: Scanner, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The detector's signal in units of attenuation: the leg's thickness, and the bone above it.

    Scatter is a wide blur of the primary image. Quantum noise follows the square root of the photon count; detector
    blur acts on both; electronic noise comes last. Exposure ends when the mean behind the `leg` reaches its dose, so
    a thick leg is no noisier than a thin one.
    """
    primary = np.exp(-soft - bone)
    share = np.float32(rng.uniform(*scanner.scatter))
    scatter = share * _blurred(primary, pixel)
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
    """Grey levels in 0..1: thickness levelled, edges enhanced, and the histogram matched to a target.

    Digital machines find the exposed leg and fit their display curve to its histogram (Prokop and Schaefer-Prokop,
    Eur Radiol 1997). The target mixes a slanted histogram for soft tissue with a bell for bone by `bone_share`, the
    bones' share of the leg's area. Its levels are random, so they do not depend on density. The curve is one
    monotone function for the whole film: it changes grey levels, not structure.
    """
    shown = detail + np.float32(rng.uniform(*scanner.levelling)) * thickness
    scale = rng.uniform(*scanner.edge_scale) / pixel
    shown += np.float32(rng.uniform(*scanner.edges)) * (shown - gaussian_filter(shown, scale, truncate=2.5))
    share = np.concatenate([[0.002, 0.01, 0.025], np.arange(0.05, 0.96, 0.05), [0.975, 0.99, 0.998, 1.0]])
    knots = np.quantile(shown[::2, ::2][leg[::2, ::2]], share)
    tones = np.interp(share, *_target_histogram(bone_share, scanner, rng))
    start = min(0.0, knots[0] - 0.2)
    table = np.interp(np.linspace(start, knots[-1], 4096), [start, *knots], [0.0, *tones]).astype(np.float32)
    place = (shown - np.float32(start)) * np.float32(4095 / (knots[-1] - start))
    return np.take(table, np.clip(place, 0, 4095).astype(np.int32))


def _target_histogram(bone_share: float, scanner: Scanner, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Target histogram of the leg: share of pixels at or below each grey level, and these levels."""
    grey = np.linspace(0, 1, 257)
    lowest, centre = rng.uniform(0.02, 0.07), rng.uniform(*scanner.bone)
    # Soft tissue reaches up to bone: a gap between them would amplify noise to black and white.
    soft = np.clip((grey - lowest) / (centre - lowest), 0, 1) ** rng.uniform(*scanner.soft)
    bone = ndtr((grey - centre) / rng.uniform(*scanner.spread))
    mixed = (1 - bone_share) * soft + bone_share * bone
    return (mixed - mixed[0]) / (mixed[-1] - mixed[0]) + 1e-9 * np.arange(257), grey


def aperture(shape: tuple[int, int], layout: str, pixel: float, rng: np.random.Generator) -> Array:
    """How far the collimator is open at each pixel, 0 to 1, float32 of `shape`; `layout` as in `draw_knee`."""
    height, width = shape
    slant = rng.normal(0, 0.02 if layout == "collimated" else 0.006, 2).astype(np.float32)
    down, across = np.ogrid[0:height, 0:width]
    rows = down.astype(np.float32) + slant[0] * across.astype(np.float32)
    columns = across.astype(np.float32) - slant[1] * down.astype(np.float32)
    if layout == "collimated":
        top, bottom = rng.uniform(0.04, 0.14, 2) * height
        left, right = rng.choice([-0.05, 0.03, 0.08], 2) * width + rng.uniform(0, 0.05, 2) * width
    else:
        top, bottom = rng.choice([-9.0, 0.012 * height], 2) + rng.uniform(0, 0.012, 2) * height
        left, right = -9.0, rng.choice([-9.0, 0.02 * width])
    across, down = np.minimum(columns - left, width - right - columns), np.minimum(rows - top, height - bottom - rows)
    inside = np.minimum(down, across)
    return np.clip(inside * np.float32(pixel / rng.uniform(0.6, 2.0)) + 0.5, 0, 1)


def stitch(grey: Array, parts: NDArray[np.uint8], rng: np.random.Generator) -> tuple[Array, NDArray[np.uint8]]:
    """A film stitched from two exposures: below the seam the leg is slightly shifted, and lighter or darker."""
    row = round(rng.uniform(0.55, 0.75) * len(grey))
    shift = int(rng.integers(-1, 2))
    grey, parts = grey.copy(), parts.copy()
    grey[row:], parts[row:] = np.roll(grey[row:], shift, axis=1), np.roll(parts[row:], shift, axis=1)
    grey[row:] *= np.float32(1 + rng.choice([-1, 1]) * rng.uniform(0.02, 0.1))
    return grey, parts


def _paste(grey: Array, patch: Image.Image, top: int, left: int) -> None:
    ink = np.asarray(patch, np.float32) / 255
    height, width = ink.shape
    top = int(np.clip(top, 0, max(grey.shape[0] - height, 0)))
    left = int(np.clip(left, 0, max(grey.shape[1] - width, 0)))
    room = grey[top : top + height, left : left + width]
    seen = ink[: room.shape[0], : room.shape[1]]
    room[:] = np.where(seen > 0, seen, room)


def mark(grey: Array, side: str, layout: str, rng: np.random.Generator) -> None:
    """Draw a side marker (letter on a plate, letter alone, arrow head) beside the leg, or none."""
    height, width = grey.shape
    chances = [0.45, 0.2, 0.1, 0.25] if layout != "long" else [0.15, 0.05, 0.6, 0.2]
    kind = rng.choice(["plate", "letter", "arrow", "none"], p=chances)
    if kind == "none":
        return
    if kind == "arrow":
        size = max(5, round(0.02 * height))
        patch = Image.new("L", (size, size), 0)
        ends = [(0, 0), (0, size - 1), (size - 1, size // 2)]
        ImageDraw.Draw(patch).polygon(ends, fill=int(rng.integers(180, 250)))
        _paste(grey, patch, round(0.01 * height), width - size - 2)
        return
    size = max(7, round(rng.uniform(0.024, 0.04) * height))
    patch = Image.new("L", (size, round(size * 1.2)), 0)
    pen = ImageDraw.Draw(patch)
    if kind == "plate":
        plate, letter = int(rng.integers(150, 235)), int(rng.integers(30, 90))
        if rng.random() < 0.35:
            plate, letter = int(rng.integers(25, 70)), int(rng.integers(150, 235))
        pen.rectangle((0, 0, patch.width, patch.height), fill=plate, outline=(plate + letter) // 2)
    else:
        letter = int(rng.integers(200, 250))
    centre, font = (patch.width / 2, patch.height / 2), ImageFont.load_default(size=size)
    pen.text(centre, side, fill=letter, font=font, anchor="mm")
    # A marker lies beside the leg: take the darkest of a few places near the edges.
    tops = np.rint(rng.uniform(0.06, 0.7, 8) * height).astype(int)
    margin = round(rng.uniform(0.02, 0.09) * width)
    places = [(top, left) for top in tops for left in (margin, width - patch.width - margin)]
    top, left = min(places, key=lambda p: grey[p[0] : p[0] + size, p[1] : p[1] + size].mean())
    _paste(grey, patch, int(top), left)


def tag(grey: Array, rng: np.random.Generator) -> None:
    """Draw a lead ball, a scale marker, in a lower corner."""
    height, width = grey.shape
    size = max(6, round(rng.uniform(0.06, 0.075) * height))
    patch = Image.new("L", (size, size), 0)
    ImageDraw.Draw(patch).ellipse((0, 0, size - 1, size - 1), fill=int(rng.integers(225, 250)))
    left = round(rng.uniform(0.025, 0.04) * width)
    _paste(grey, patch, round(rng.uniform(0.85, 0.87) * height), left)


def frame(grey: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the bright strips that a film digitiser leaves along an edge; returns where they are."""
    strip = np.zeros(grey.shape, bool)
    chance = rng.random()
    if chance < 0.3:
        thick = rng.uniform(0.003, 0.02) if chance < 0.2 else rng.uniform(0.03, 0.1)
        strip[grey.shape[0] - max(1, round(thick * grey.shape[0])) :] = True
    if rng.random() < 0.15:
        strip[:, grey.shape[1] - max(1, round(rng.uniform(0.005, 0.02) * grey.shape[1])) :] = True
    grey[strip] = np.float32(rng.uniform(0.85, 1.0))
    return strip
