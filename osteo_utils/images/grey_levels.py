"""From numbers to the 256 grey levels of a film, and the reason why a file cannot be one."""

from __future__ import annotations

import numpy as np
from PIL import Image

MAX_PIXELS = 64_000_000
USUAL_DEPTHS = (8, 10, 12, 14, 16)
# Weights of ITU-R BT.601, those that Pillow uses for 8-bit colour.
RED_GREEN_BLUE = (0.299, 0.587, 0.114)


class Unusable(ValueError):
    """A file that cannot serve as a radiograph; the message is the reason in the manifest."""


def refuse_huge(width: int, height: int) -> None:
    """Raise Unusable for a picture of more than `MAX_PIXELS`; called before memory is taken for it."""
    if width * height > MAX_PIXELS:
        raise Unusable(f"too many pixels: {width}x{height}, expected at most {MAX_PIXELS}")


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Values of any type (height, width) as uint8.

    Image files do not record the detector's depth, so whole numbers from 0 below 2**16 are scaled by the full range of
    the smallest usual depth that holds the brightest pixel. Fractions from 0 to 1 are scaled by that range, all others
    by their own. Raises Unusable for values that are not finite or all alike.
    """
    if not np.isfinite(values).all():
        raise Unusable("pixels that are not numbers: expected finite values")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu" and (depth := _depth(low, high)):
        low, high = 0.0, 2.0**depth - 1
    elif values.dtype.kind == "f" and 0 <= low < high <= 1:
        low, high = 0.0, 1.0
    if high == low:
        raise Unusable(f"a single colour: every pixel is {low:g}")
    return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)


def inverted(values: np.ndarray) -> np.ndarray:
    """The negative of a picture in which white is the lowest value.

    Whole numbers are inverted within the depth that `eight_bits` takes for them, so that a negative and a positive of
    one film become the same.
    """
    if values.dtype.kind in "iu":
        if depth := _depth(float(values.min()), float(values.max())):
            return (2**depth - 1) - values.astype(np.int32)
        return -values.astype(np.float64)
    return 1 - values if values.min() >= 0 and values.max() <= 1 else -values


def _depth(low: float, high: float) -> int | None:
    """Smallest usual depth in bits that holds whole numbers from `low` to `high`."""
    if low < 0:
        return None
    return next((bits for bits in USUAL_DEPTHS if high < 2**bits), None)


def one_channel(colours: np.ndarray) -> np.ndarray:
    """Grey values of a colour picture (height, width, 3), in its type: the luminance, or the channel if all are equal."""
    first = colours[..., 0]
    if all(np.array_equal(first, colours[..., channel]) for channel in (1, 2)):
        return first
    grey = colours.astype(np.float64) @ np.array(RED_GREEN_BLUE)
    return np.rint(grey).astype(colours.dtype) if colours.dtype.kind in "iu" else grey


def over_black(values: np.ndarray, alpha: np.ndarray, opaque: float) -> np.ndarray:
    """Values (height, width) seen before black, in their type, where `alpha` runs from 0 to `opaque`."""
    if (alpha == opaque).all():
        return values
    seen = values * (alpha / opaque)
    return np.rint(seen).astype(values.dtype) if values.dtype.kind in "iu" else seen


def few_levels(pixels: np.ndarray, enough: int) -> int | None:
    """How many different grey levels a uint8 film has if they are fewer than `enough`, else None."""
    # A sample answers for nearly every film, at a tenth of the time.
    if len(np.unique(pixels[::16, ::16])) >= enough:
        return None
    levels = sum(count > 0 for count in Image.fromarray(pixels).histogram())
    return levels if levels < enough else None
