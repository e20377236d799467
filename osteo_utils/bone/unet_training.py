"""Make the weights of the bone U-Net from synthetic knees.

    python -m osteo_utils.bone.unet_training

draws knees of one scanner, trains on them, and writes `bone_unet.npz` with its settings. Instead of films of the other
scanner, training uses strong augmentation (domain randomisation, Tobin et al., IROS 2017): place, size, shear, a
smooth bend, tone curve, uneven exposure, blur, sharpening, noise, strips, markers, and at times a second leg.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import keras
import numpy as np
from PIL import Image
from scipy import ndimage

from osteo_utils.bone import unet
from osteo_utils.bone.unet import BONES, HEIGHT, WIDTH
from osteo_utils.networks.recipes import Recipe, learning_rates
from osteo_utils.networks.tails import ahead
from osteo_utils.phantom import drawing, synthetic
from osteo_utils.phantom.drawing import Knee
from osteo_utils.study import runtime

BITS = tuple(drawing.BONES[name] for name in BONES)


@dataclass(frozen=True)
class Settings:
    """All settings of the training. `phantoms` is the version of the synthetic knees."""

    seed: int = 20240521
    site: str = "flat_panel"
    knees: int = 700
    film_size: int = 384
    epochs: int = 14
    batch_size: int = 8
    learning_rate: float = 0.003
    phantoms: int = synthetic.GENERATOR

    @property
    def hash(self) -> str:
        """Short hash of the settings, stored with the weights."""
        return runtime.hash_of({**asdict(self), "channels": unet.CHANNELS, "frame": [HEIGHT, WIDTH]})


def varied(film: np.ndarray, parts: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One training example: frame float32 (192, 128) and truth float32 (192, 128, 4), from a film and its parts."""
    place = _bent_grid(film.shape, random)
    frame = ndimage.map_coordinates(film, place, np.float32, order=1, mode="nearest") / 255
    flags = ndimage.map_coordinates(parts, place, order=0, mode="nearest")
    if random.random() < 0.5:
        frame, flags = frame[:, ::-1], flags[:, ::-1]
    frame = _other_tones(frame, random)
    frame, covered = _overlaid(frame, random)
    truth = np.stack([(flags & bit > 0) & ~covered for bit in BITS], axis=-1)
    return unet.standardised(frame), truth.astype(np.float32)


def _bent_grid(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Position in the film of each pixel of the frame: float32 (2, 192, 128)."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    zoom = np.exp(random.uniform(-0.35, 0.2)) * np.exp(random.uniform(-0.15, 0.15, 2))
    angle, shear = np.deg2rad(random.uniform(-12, 12)), random.uniform(-0.12, 0.12)
    # In the film's own proportions, so that a rotation does not shear a slim film.
    long = shape[0] / shape[1]
    ys = zoom[0] * (np.cos(angle) * y - np.sin(angle) / long * x)
    xs = zoom[1] * (np.sin(angle) * long * y + np.cos(angle) * x + shear * y)
    shift = random.uniform(-0.15, 0.15, 2)
    bends = [_smooth(random, (6, 4), random.uniform(0, 0.04)) for _ in range(2)]
    ys, xs = ys + shift[0] + bends[0], xs + shift[1] + bends[1]
    return np.stack([(ys + 1) / 2 * (shape[0] - 1), (xs + 1) / 2 * (shape[1] - 1)])


def _smooth(random: np.random.Generator, cells: tuple[int, int], spread: float) -> np.ndarray:
    field = random.normal(0, spread, cells).astype(np.float32)
    return np.asarray(Image.fromarray(field).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _other_tones(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    frame = np.clip(frame, 0, 1) ** np.exp(random.uniform(-0.7, 0.7))
    if random.random() < 0.5:
        # Local contrast, as equalised films have it.
        frame = frame - random.uniform(0, 0.8) * ndimage.gaussian_filter(frame, random.uniform(8, 30))
    if random.random() < 0.7:
        frame = frame * np.exp(_smooth(random, (4, 3), random.uniform(0, 0.3)))
    frame = frame * _muscles(random)
    if random.random() < 0.5:
        frame = ndimage.gaussian_filter(frame, random.uniform(0.2, 1.5))
    elif random.random() < 0.5:
        frame = frame + random.uniform(0.2, 2) * (frame - ndimage.gaussian_filter(frame, random.uniform(0.7, 3)))
    noise = random.uniform(0, 0.08) * float(frame.std()) * 4
    frame = frame + random.normal(0, noise, frame.shape)
    low, high = np.quantile(frame, [random.uniform(0, 0.03), 1 - random.uniform(0, 0.06)])
    return (np.clip((frame - low) / max(high - low, 1e-3), 0, 1)).astype(np.float32)


def _muscles(random: np.random.Generator) -> np.ndarray:
    """Factors (192, 128) that imitate muscle: bands along the leg, thin as a fibula, and bellies with an edge."""
    factors = np.ones((HEIGHT, WIDTH), np.float32)
    if random.random() < 0.5:
        across = (random.uniform(6, 25), random.uniform(0.8, 4))
        bands = ndimage.gaussian_filter(random.standard_normal(factors.shape, np.float32), across)
        factors += random.uniform(0, 0.2) * bands / bands.std()
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for _ in range(random.integers(0, 4)):
        long, wide, turn = random.uniform(20, 80), random.uniform(5, 25), random.uniform(-0.3, 0.3)
        down, right = y - random.uniform(0, HEIGHT), x - random.uniform(0, WIDTH)
        distance = np.hypot(down / long, (right - turn * down) / wide)
        sharp = random.uniform(3, 12)
        factors *= 1 + random.uniform(-0.2, 0.35) / (1 + np.exp(sharp * (distance - 1) * np.sqrt(wide)))
    return factors


def _overlaid(frame: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Strips at the edges, which cover the bone, and markers and wires, which do not."""
    frame, covered = frame.copy(), np.zeros(frame.shape, bool)
    for axis, side in ((0, 0), (0, -1), (1, 0), (1, -1)):
        if random.random() < 0.2:
            width = round(frame.shape[axis] * random.uniform(0.01, 0.12))
            strip = [slice(None), slice(None)]
            strip[axis] = slice(0, width) if side == 0 else slice(frame.shape[axis] - width, None)
            frame[tuple(strip)] = random.choice([0.0, 1.0, random.random()])
            covered[tuple(strip)] = True
    for _ in range(random.integers(0, 4) if random.random() < 0.5 else 0):
        top, left = random.integers(0, HEIGHT - 6), random.integers(0, WIDTH - 6)
        high, wide = random.integers(2, 16), random.integers(2, 14)
        frame[top : top + high, left : left + wide] = random.uniform(0.6, 1)
    if random.random() < 0.1:
        frame[np.abs(np.arange(HEIGHT) - random.integers(HEIGHT)) < 1] = random.uniform(0.5, 1)
    return frame, covered


def _beside(first: Knee, second: Knee) -> tuple[np.ndarray, np.ndarray]:
    """A film of two legs: two films side by side, at the height of the first."""
    height = first.image.shape[0]
    width = round(second.image.shape[1] * height / second.image.shape[0])
    other = np.asarray(Image.fromarray(second.image).resize((width, height), Image.Resampling.BILINEAR))
    parts = np.asarray(Image.fromarray(second.parts).resize((width, height), Image.Resampling.NEAREST))
    return np.hstack([first.image, other]), np.hstack([first.parts, parts])


def _examples(films: list[Knee], seed: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless training batches: each film once an epoch, augmented anew each time."""

    def one(number: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([seed, turn, number])
        film = films[number]
        if random.random() < 0.08:
            image, parts = _beside(film, films[random.integers(len(films))])
        else:
            image, parts = film.image, film.parts
        return varied(image, parts, random)

    for turn in itertools.count():
        order = np.random.default_rng([seed, turn]).permutation(len(films))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            batch = [one(number, turn) for number in order[start : start + batch_size].tolist()]
            frames, truths = zip(*batch, strict=True)
            yield np.stack(frames)[..., None], np.stack(truths)


def loss(truth: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy plus one minus the soft Dice coefficient of each bone (Milletari et al., 3DV 2016)."""
    ops = keras.ops
    entropy = ops.mean(keras.losses.binary_crossentropy(truth, logits, from_logits=True))
    probability = ops.sigmoid(logits)
    shared = ops.sum(truth * probability, axis=(0, 1, 2))
    total = ops.sum(truth, axis=(0, 1, 2)) + ops.sum(probability, axis=(0, 1, 2))
    return entropy + 1 - ops.mean((2 * shared + 1) / (total + 1))


def train(settings: Settings = Settings()) -> keras.Model:
    """Draw the knees and train; one line per epoch."""
    films = synthetic.knees(settings.knees, settings.seed, settings.film_size, site=settings.site)
    runtime.seed_everything(settings.seed)
    model = unet.network()
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss=loss)
    batches = ahead(_examples(films, settings.seed, settings.batch_size))
    steps = settings.knees // settings.batch_size
    rates = learning_rates(Recipe("all", epochs=settings.epochs, learning_rate=settings.learning_rate), steps)
    for epoch in range(settings.epochs):
        started, total = time.perf_counter(), 0.0
        for step in range(steps):
            model.optimizer.learning_rate.assign(rates[epoch * steps + step])
            total += float(model.train_on_batch(*next(batches)))
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1} of {settings.epochs}: loss {total / steps:.4f}, {seconds:.0f} s", flush=True)
    return model


def main() -> None:
    settings = Settings()
    runtime.prepare(settings.seed)
    model = train(settings)
    unet.keep(model, {**asdict(settings), "hash": settings.hash})
    print(f"{unet.WEIGHTS.name}: {unet.WEIGHTS.stat().st_size:,} bytes, settings {settings.hash}")


if __name__ == "__main__":
    main()
