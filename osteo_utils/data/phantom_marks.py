"""What lies on a film beside the leg: collimation, seams of stitched films, side markers, tags, bright borders."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from osteo_utils.data.phantom_shapes import Array


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
    inside = np.minimum(
        np.minimum(rows - top, height - bottom - rows), np.minimum(columns - left, width - right - columns)
    )
    return np.clip(inside * np.float32(pixel / rng.uniform(0.6, 2.0)) + 0.5, 0, 1)


def stitch(
    grey: Array, parts: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[Array, NDArray[np.uint8]]:
    """A film put together from two exposures: below the seam the leg is a little shifted and lighter or darker."""
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
    font = ImageFont.load_default(size=size)
    middle = (patch.width / 2, patch.height / 2)
    if kind == "plate":
        plate, letter = int(rng.integers(150, 235)), int(rng.integers(30, 90))
        if rng.random() < 0.35:
            plate, letter = int(rng.integers(25, 70)), int(rng.integers(150, 235))
        pen.rectangle((0, 0, patch.width, patch.height), fill=plate, outline=(plate + letter) // 2)
        pen.text(middle, side, fill=letter, font=font, anchor="mm")
    else:
        pen.text(middle, side, fill=int(rng.integers(200, 250)), font=font, anchor="mm")
    # A marker lies beside the leg: of a few places near the edges the darkest is taken.
    tops = np.rint(rng.uniform(0.06, 0.7, 8) * height).astype(int)
    margin = round(rng.uniform(0.02, 0.09) * width)
    places = [(top, left) for top in tops for left in (margin, width - patch.width - margin)]
    top, left = min(places, key=lambda p: grey[p[0] : p[0] + size, p[1] : p[1] + size].mean())
    _paste(grey, patch, int(top), left)


def tag(grey: Array, rng: np.random.Generator) -> None:
    """Draw a lead ball, as used for scale, in a lower corner."""
    height, width = grey.shape
    size = max(6, round(rng.uniform(0.06, 0.075) * height))
    patch = Image.new("L", (size, size), 0)
    ImageDraw.Draw(patch).ellipse((0, 0, size - 1, size - 1), fill=int(rng.integers(225, 250)))
    left = round(rng.uniform(0.025, 0.04) * width)
    _paste(grey, patch, round(rng.uniform(0.85, 0.87) * height), left)


def frame(grey: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Bright strips along an edge, as left by a film digitiser; drawn in place, returns where they are."""
    strip = np.zeros(grey.shape, bool)
    chance = rng.random()
    if chance < 0.3:
        thick = rng.uniform(0.003, 0.02) if chance < 0.2 else rng.uniform(0.03, 0.1)
        strip[grey.shape[0] - max(1, round(thick * grey.shape[0])) :] = True
    if rng.random() < 0.15:
        strip[:, grey.shape[1] - max(1, round(rng.uniform(0.005, 0.02) * grey.shape[1])) :] = True
    grey[strip] = np.float32(rng.uniform(0.85, 1.0))
    return strip
