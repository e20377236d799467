"""A small U-Net that tells which pixels of a knee film show femur, tibia, fibula and patella.

It has seen synthetic knees only; `unet_training` makes its weights, which lie beside this file. Every film is
squeezed to one small frame, whatever its shape, and standardised by its own mean and spread. Four answers per pixel
and not one class, because a film shows the patella through the femur and the fibula through the tibia.

Source: Ronneberger, Fischer and Brox, MICCAI 2015; narrower, with batch normalisation and bilinear upsampling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image
from scipy import ndimage
from skimage import measure

from osteo_utils.networks import backbones

BONES = ("femur", "tibia", "fibula", "patella")
HEIGHT, WIDTH = 192, 128
CHANNELS = (12, 24, 48, 64, 96)
WEIGHTS = Path(__file__).with_name("bone_unet.npz")
# A piece of this share of the largest one of its kind is a second leg's.
SECOND_LEG = 1 / 3
_BATCH = 16


@dataclass(frozen=True)
class Seen:
    """What the network sees in one film: `parts` float32 (192, 128, 4), the probability of each of `BONES`.

    The mean of the film and its mirror image. `certainty` (0 to 1) is how far the two agree: the Dice coefficient
    of their bone masks.
    """

    parts: np.ndarray
    certainty: float


def network() -> keras.Model:
    """The network without its weights: standardised film (192, 128, 1) to four logits per pixel."""
    film = x = keras.Input((HEIGHT, WIDTH, 1))
    passed = []
    for channels in CHANNELS[:-1]:
        x = _convolved(x, channels)
        passed.append(x)
        x = layers.MaxPooling2D()(x)
    x = _convolved(x, CHANNELS[-1])
    for channels, skipped in zip(CHANNELS[-2::-1], passed[::-1], strict=True):
        x = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), skipped])
        x = _convolved(x, channels)
    return keras.Model(film, layers.Conv2D(len(BONES), 1)(x), name="bone_unet")


def trained(path: Path = WEIGHTS) -> keras.Model:
    """The network with the weights of `path`; raises ValueError where they do not fit."""
    model = network()
    with np.load(path) as kept:
        arrays = [kept[f"{number:03d}"] for number in range(len(kept) - 1)]
    if [array.shape for array in arrays] != [tuple(one.shape) for one in model.variables]:
        raise ValueError(
            f"{path.name}: the weights do not fit the network of this version; "
            "make them again with python -m osteo_utils.bone.unet_training"
        )
    for variable, array in zip(model.variables, arrays, strict=True):
        variable.assign(array.astype(np.float32))
    return model


def made_from(path: Path = WEIGHTS) -> dict:
    """The settings that made the weights, and their hash."""
    with np.load(path) as kept:
        return json.loads(str(kept["made_from"]))


def keep(model: keras.Model, settings: dict, path: Path = WEIGHTS) -> None:
    """Write the weights as 16-bit numbers, and the settings that made them."""
    arrays = {
        f"{number:03d}": keras.ops.convert_to_numpy(variable).astype(np.float16)
        for number, variable in enumerate(model.variables)
    }
    with path.open("wb") as stream:
        np.savez_compressed(stream, made_from=json.dumps(settings, sort_keys=True), **arrays)


def framed(film: np.ndarray) -> np.ndarray:
    """A film, uint8 (h, w), as the network takes it: float32 (192, 128), mean 0 and standard deviation 1."""
    small = Image.fromarray(film).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return standardised(np.asarray(small, np.float32))


def standardised(frame: np.ndarray) -> np.ndarray:
    """Grey levels of one frame with mean 0 and standard deviation 1."""
    return (frame - frame.mean()) / max(float(frame.std()), 1e-3)


def look(model: keras.Model, films: Iterable[np.ndarray]) -> Iterator[Seen]:
    """What the network sees in each film, uint8 (h, w), one after the other; memory does not grow with their number."""
    waiting = iter(films)
    while some := list(islice(waiting, _BATCH)):
        frames = np.stack([framed(film) for film in some])[..., None]
        as_is, mirrored = (_probabilities(model, view) for view in (frames, frames[:, :, ::-1]))
        mirrored = mirrored[:, :, ::-1]
        for one, other in zip(as_is, mirrored, strict=True):
            first, second = one.max(axis=-1) > 0.5, other.max(axis=-1) > 0.5
            both = 2 * np.count_nonzero(first & second)
            yield Seen((one + other) / 2, both / max(np.count_nonzero(first) + np.count_nonzero(second), 1))


def enlarged(parts: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which pixels of a film show each bone: bool (height, width, 4), from probabilities (192, 128, 4).

    Of each bone its largest piece and any other of at least a third of that, which would be a second leg's; smaller
    ones are sheaths of muscle that look like bone. Gaps of a hundredth of the film's height do not part a piece.
    """
    shown = []
    for part in np.moveaxis(parts, -1, 0):
        bone = at_size(part, height, width) > 0.5
        pieces = measure.label(ndimage.binary_dilation(bone, iterations=max(1, height // 200))) * bone
        areas = np.bincount(pieces.ravel())
        areas[0] = 0
        shown.append(bone & (areas >= SECOND_LEG * areas.max())[pieces])
    return np.stack(shown, axis=-1)


def at_size(part: np.ndarray, height: int, width: int) -> np.ndarray:
    """The probability of one bone at the size of its film: float32 (height, width), from (192, 128)."""
    frame = Image.fromarray(np.ascontiguousarray(part, np.float32))
    return np.asarray(frame.resize((width, height), Image.Resampling.BILINEAR))


def _probabilities(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-backbones.outputs(model, frames)))


def _convolved(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return x
