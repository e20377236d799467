"""A small U-Net that segments femur, tibia, fibula and patella in a knee film.

It was trained on synthetic knees only (`unet_training`). Every film is resized to one small frame and standardised by
its own mean and spread. Each pixel has four independent labels, because patella and femur overlap in a film, and so
do fibula and tibia.

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
from osteo_utils.statistics import calibration

BONES = ("femur", "tibia", "fibula", "patella")
HEIGHT, WIDTH = 192, 128
CHANNELS = (12, 24, 48, 64, 96)
WEIGHTS = Path(__file__).with_name("bone_unet.npz")
# A piece of at least this share of the largest one belongs to a second leg.
SECOND_LEG = 1 / 3
_BATCH = 16


@dataclass(frozen=True)
class Prediction:
    """For one film `parts` float32 (192, 128, 4), the probability of each of `BONES`, a mean over film and mirror image.

    `certainty` (0 to 1) is the Dice coefficient of the bone masks of the two.
    """

    parts: np.ndarray
    certainty: float


def network() -> keras.Model:
    """The network with random weights: standardised film (192, 128, 1) to four logits per pixel."""
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
    """A film, uint8 (h, w), as network input: float32 (192, 128), mean 0 and standard deviation 1."""
    small = Image.fromarray(film).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return standardised(np.asarray(small, np.float32))


def standardised(frame: np.ndarray) -> np.ndarray:
    """Grey levels of one frame with mean 0 and standard deviation 1."""
    return (frame - frame.mean()) / max(float(frame.std()), 1e-3)


def predict(model: keras.Model, films: Iterable[np.ndarray]) -> Iterator[Prediction]:
    """A prediction for each film, uint8 (h, w); memory does not grow with their number."""
    remaining = iter(films)
    while batch := list(islice(remaining, _BATCH)):
        frames = np.stack([framed(film) for film in batch])[..., None]
        views = (frames, frames[:, :, ::-1])
        as_is, mirrored = (calibration.sigmoid(backbones.outputs(model, view)) for view in views)
        mirrored = mirrored[:, :, ::-1]
        for one, other in zip(as_is, mirrored, strict=True):
            first, second = one.max(axis=-1) > 0.5, other.max(axis=-1) > 0.5
            both = 2 * np.count_nonzero(first & second)
            yield Prediction((one + other) / 2, both / max(np.count_nonzero(first) + np.count_nonzero(second), 1))


def enlarged(parts: np.ndarray, height: int, width: int) -> np.ndarray:
    """The masks of the bones at the size of the film: bool (height, width, 4), from probabilities (192, 128, 4).

    Of each bone the largest piece and any other of at least a third of that, which belongs to a second leg; smaller
    ones are muscle that looks like bone. Gaps of up to a hundredth of the film's height are bridged.
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


def _convolved(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return x
