"""How near the study's training comes to what arithmetic allows, and what the usual ways of doing it cost.

    python benchmarks/training_speed.py [--films 744] [--epochs 4] [--folds 5] [--image-size 224]
                                        [--backbones vgg16 resnet50] [--recipes none last_block last_stage]
                                        [--grow] [--out reports]

One run, one machine, one process; every figure is a ratio within it. Weights are random and films synthetic: speed depends
on neither. What is compared, for one network and recipe under one split:

  study      trunk activations of every film and view once, then the probe or the tail on them, fold by fold, as notebooks
             04 and 05 do
  bound      the multiply-adds of every pass that this must make, at the rate that the same process reaches on the same
             layers when it does nothing else (the fastest of several passes over one batch)
  tutorial   the frozen network run again in every epoch, from JPEG files through a Keras input pipeline: measured on one
             fold and two epochs, and extrapolated to all (the table says so). A probe has no epochs; its counterpart, a new
             head on a frozen network, gets as many as the paper's recipe
  pytorch    the usual loop of PyTorch, films in memory, the frozen part run in every step; measured on a few steps and
             extrapolated; for the last block alone, and left out where torch is not installed

`--grow` adds how the study's time with the last block grows with films, views, folds and seeds. Writes `benchmarks.json` and the figure
`figures/benchmarks/training_speed.png` under `--out`.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from osteo_utils.networks import backbones, training, trunk_cache
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import PAPER, Recipe
from osteo_utils.phantom import synthetic
from osteo_utils.plots.style import canvas, colour_of, styled
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.study import results, runtime

threads = runtime.prepare(1)

import keras  # noqa: E402  the switches above are read when Keras is imported

PASSES = 5
TUTORIAL_EPOCHS = 2
TORCH_STEPS = 4
# Films beyond these repeat the first ones; the networks do not notice.
DIFFERENT = 60
WAYS = {
    "study": "the study",
    "bound": "arithmetic bound",
    "tutorial": "usual tutorial recipe",
    "pytorch": "usual PyTorch loop",
}
# A training step computes the outputs, the gradient of the inputs and that of the weights.
STEP_PASSES = 3
RECIPES = ("none", "last_block", "last_stage")


@dataclass(frozen=True)
class Size:
    """How large the measured training is."""

    films: int
    epochs: int
    folds: int
    image_size: int
    views: int = 2
    seeds: int = 1
    batch_size: int = 32
    recipe: str = "last_block"

    @property
    def cut(self) -> str:
        """Where the trunk ends."""
        return Recipe(self.recipe).cut

    @property
    def tutorial_epochs(self) -> int:
        """Passes over the films that the usual recipe makes."""
        return PAPER.epochs if self.recipe == "none" else self.epochs

    @property
    def steps(self) -> int:
        """Training steps of one fold and epoch."""
        return int(np.ceil(self.films * (self.folds - 1) / self.folds / self.batch_size))


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of the convolutions and dense layers of a model, for one input."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            places = np.prod(layer.output.shape[1:-1], dtype=int) if len(layer.output.shape) == 4 else 1
            total += int(np.prod(layer.kernel.shape)) * int(places)
    return total


def fastest(work: Callable[[], object], passes: int = PASSES) -> float:
    """Seconds of the quickest of several passes, after one that is not counted."""
    work()
    taken = []
    for _ in range(passes):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def table_of(size: Size) -> pd.DataFrame:
    position = np.arange(size.films)
    table = pd.DataFrame({"image_id": [f"film {n}" for n in position], "label": position % 2})
    return table.assign(group=position, fold=(position // 2) % size.folds)


def study(backbone: str, films: np.ndarray, size: Size) -> dict[str, float]:
    """Seconds of the study's way: the trunk once per view, then the tail for every fold and seed."""
    pretrained = weights.random(backbone, 1)
    # Small steps, as a network of random weights would run away and be refused.
    settings = {"epochs": size.epochs, "batch_size": size.batch_size, "learning_rate": 1e-5}
    recipe = Recipe(size.recipe, **settings) if size.recipe != "none" else Recipe("none")
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        views = tuple(
            trunk_cache.activations(view, backbone, pretrained, Path(scratch), cache_gb=1e4, cut=size.cut)
            for view in (films, films[:, :, ::-1], films[:, ::-1], films[:, ::-1, ::-1])[: size.views]
        )
        trunk_seconds = time.perf_counter() - started
        means = tuple(trunk_cache.stage_means(view) for view in views)
        # Not `full`: random weights need not learn a few films by heart, which a guard would ask of whole films.
        seen = Activations(backbone, "timed", size.image_size, views, "benchmark", size.cut, earlier=means)
        table = table_of(size)
        jobs = [Fold("grouped", seed, fold, table) for seed in range(size.seeds) for fold in range(size.folds)]
        started = time.perf_counter()
        training.fit_missing(jobs, recipe, seen, pretrained, Path(scratch) / "fits")
        tail_seconds = time.perf_counter() - started
    return {"trunk": trunk_seconds, "tail": tail_seconds, "total": trunk_seconds + tail_seconds}


def bound(backbone: str, films: np.ndarray, size: Size) -> dict[str, float]:
    """Seconds of the same passes at the rate that the same layers reach in this process, and what they consist of."""
    pretrained = weights.random(backbone, 1)
    trunk = backbones.trunk(backbone, pretrained, size.image_size, size.cut)
    tail = backbones.tail(backbone, pretrained, image_size=size.image_size, cut=size.cut)
    images = backbones.preprocess(np.resize(films, (size.batch_size, *films.shape[1:])))
    rows = np.asarray(trunk.predict_on_batch(images))
    labels = (np.arange(size.batch_size) % 2).astype(np.float32)[:, None]
    tail.compile(optimizer=keras.optimizers.AdamW(1e-4), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    per_trunk = fastest(lambda: trunk.predict_on_batch(images)) / size.batch_size
    per_tail = fastest(lambda: tail.predict_on_batch(rows)) / size.batch_size
    per_step = fastest(lambda: tail.train_on_batch(rows, labels)) / size.batch_size
    if size.recipe == "none":
        # The tail is passed once for each test view; what the regressions cost is not counted.
        fits, trained, scored = 1, 0, min(2, size.views) * size.films
    else:
        fits = size.folds * size.seeds
        trained = size.epochs * size.films * (size.folds - 1) / size.folds
        # After each epoch the scored fold is watched in one view, and at the end scored in all test views.
        scored = (size.epochs + min(2, size.views)) * size.films / size.folds
    adds = {"trunk": multiply_adds(trunk), "tail": multiply_adds(tail)}
    seconds = {"trunk": size.films * size.views * per_trunk, "tail": fits * (trained * per_step + scored * per_tail)}
    needed = {
        "trunk": size.films * size.views * adds["trunk"],
        "tail": fits * (trained * STEP_PASSES + scored) * adds["tail"],
    }
    return {
        **seconds,
        "total": sum(seconds.values()),
        "multiply_adds": float(sum(needed.values())),
        "trunk_gigaflop_per_second": 2e-9 * adds["trunk"] / per_trunk,
        "tail_step_gigaflop_per_second": 2e-9 * STEP_PASSES * adds["tail"] / per_step,
    }


def tutorial(backbone: str, films: np.ndarray, size: Size) -> dict[str, float]:
    """Seconds of the usual recipe: frozen layers run again in every epoch, from JPEG files, with `fit`.

    One fold and two epochs are measured; the first epoch, which compiles, is not counted.
    """
    pretrained = weights.random(backbone, 1)
    trunk = backbones.trunk(backbone, pretrained, size.image_size, size.cut)
    tail = backbones.tail(backbone, pretrained, image_size=size.image_size, cut=size.cut)
    if size.recipe == "none":
        for layer in tail.layers:
            layer.trainable = layer.name == "head"
    network = keras.Sequential([keras.layers.RandomFlip("horizontal"), trunk, tail])
    network.compile(
        optimizer=keras.optimizers.AdamW(1e-4),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
    )
    with tempfile.TemporaryDirectory() as scratch:
        for position, film in enumerate(films):
            side = "test" if position // 2 % size.folds == 0 else "train"
            folder = Path(scratch) / side / ("normal", "osteoporosis")[position % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(film).save(folder / f"{position}.jpg", quality=90)
        shape = {"image_size": (size.image_size, size.image_size), "batch_size": size.batch_size}
        train, test = (
            keras.utils.image_dataset_from_directory(
                str(Path(scratch) / side), label_mode="binary", seed=1, verbose=False, **shape
            )
            for side in ("train", "test")
        )
        ends: list[float] = [time.perf_counter()]
        clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
        network.fit(train, validation_data=test, epochs=TUTORIAL_EPOCHS, callbacks=[clock], verbose=0)
    per_epoch, epochs = ends[-1] - ends[-2], size.tutorial_epochs * size.folds * size.seeds
    # With a probe's counterpart only the head is trained, which costs next to nothing.
    passes = 1 if size.recipe == "none" else STEP_PASSES
    trained = size.films * (size.folds - 1) / size.folds
    adds = size.films * multiply_adds(trunk) + (trained * passes + size.films - trained) * multiply_adds(tail)
    return {"epoch": per_epoch, "total": per_epoch * epochs, "multiply_adds": float(adds * epochs)}


def pytorch(backbone: str, films: np.ndarray, size: Size) -> dict[str, float] | str:
    """Seconds of the usual loop in PyTorch, extrapolated from a few steps; a reason where torch is not installed.

    Only training is counted, from films in memory: no file is read and no fold is scored, which favours it.
    """
    if size.recipe != "last_block":
        return f"not written for {size.recipe}"
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch_loop

    per_step = torch_loop.seconds_per_step(backbone, films, size.batch_size, threads, TORCH_STEPS)
    return {"step": per_step, "total": per_step * size.steps * size.epochs * size.folds * size.seeds}


def compared(backbone: str, films: np.ndarray, size: Size) -> dict[str, object]:
    """Every way on one network: seconds of each, and each as a multiple of the study's."""
    ways: dict[str, dict[str, float] | str] = {
        "study": study(backbone, films, size),
        "bound": bound(backbone, films, size),
        "tutorial": tutorial(backbone, films, size),
        "pytorch": pytorch(backbone, films, size),
    }
    mine = ways["study"]["total"]
    ratios = {name: way["total"] / mine for name, way in ways.items() if not isinstance(way, str)}
    return {
        "seconds": ways,
        "times_the_study": ratios,
        "study_over_bound": 1 / ratios["bound"],
        "tutorial_over_study_by_multiply_adds": ways["tutorial"]["multiply_adds"] / ways["bound"]["multiply_adds"],
        "extrapolated": {
            "tutorial": f"one fold, epoch {TUTORIAL_EPOCHS} of {TUTORIAL_EPOCHS} measured; times {size.tutorial_epochs} epochs, "
            f"{size.folds} folds, {size.seeds} seeds",
            "pytorch": f"quickest of {TORCH_STEPS} steps measured; times all steps",
        },
    }


def growth(backbone: str, films: np.ndarray, size: Size) -> list[dict[str, object]]:
    """How the study's seconds grow when one thing at a time is doubled."""
    half = max(2 * size.folds, size.films // 2)
    plans = {
        "films": replace(size, films=half),
        "views": replace(size, views=2 * size.views),
        "folds": replace(size, folds=2 * size.folds),
        "seeds": replace(size, seeds=2 * size.seeds),
    }
    whole = study(backbone, films, size)["total"]
    rows = []
    for name, plan in plans.items():
        seconds = study(backbone, films[: plan.films], plan)["total"]
        before, after = (seconds, whole) if name == "films" else (whole, seconds)
        more = size.films / half if name == "films" else 2.0
        rows.append({"doubled": name, "times_more": more, "times_longer": after / before})
    return rows


@styled
def figure(table: pd.DataFrame, where: str) -> Figure:
    """Every way's time as a multiple of the study's; columns backbone, recipe, way, times_the_study."""
    drawing = canvas(6.2, 0.28 * len(table) + 0.7, "Time of training, as a multiple of the study's", where)
    axes = drawing.subplots()
    places = np.arange(len(table))
    bars = axes.barh(places, table["times_the_study"], 0.7, color=[colour_of(b) for b in table["backbone"]])
    axes.bar_label(bars, [f"{value:.2f}" for value in table["times_the_study"]], padding=3, fontsize=8)
    axes.set_yticks(places, [f"{row.backbone}, {row.recipe}: {WAYS[row.way]}" for row in table.itertuples()])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times the study's time")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    return drawing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=744)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=224, help="pixels, at least 96")
    parser.add_argument("--backbones", nargs="+", default=["vgg16", "resnet50"], choices=list(backbones.CUTS))
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--grow", action="store_true", help="also how time grows with films, views, folds and seeds")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    given = parser.parse_args()
    size = Size(given.films, given.epochs, given.folds, given.image_size)
    drawn = synthetic.draw(0, min(given.films, DIFFERENT), given.image_size, copies=0).images
    films = np.resize(drawn, (given.films, *drawn.shape[1:]))
    found = {
        name: {recipe: compared(name, films, replace(size, recipe=recipe)) for recipe in given.recipes}
        for name in given.backbones
    }
    grown = {name: growth(name, films, size) for name in given.backbones if given.grow}
    shape = {name: value for name, value in asdict(size).items() if name != "recipe"}
    about = {"size": shape, "threads": threads, "versions": runtime.versions()}
    about["peak_memory_gib"] = round(runtime.peak_memory_gib(), 2)
    about |= {"networks": found, "growth": grown}
    results.write_json(given.out / "benchmarks.json", {"training_speed": about})
    rows = [
        {"backbone": name, "recipe": recipe, "way": way, "times_the_study": value}
        for name, by_recipe in found.items()
        for recipe, one in by_recipe.items()
        for way, value in one["times_the_study"].items()
    ]
    table = pd.DataFrame(rows)
    where = (
        f"n = {size.films} synthetic films of {size.image_size} pixels, random weights, {size.folds} folds, "
        f"{size.epochs} epochs, {threads} threads; tutorial and PyTorch extrapolated"
    )
    picture = given.out / "figures" / "benchmarks" / "training_speed.png"
    with results.atomic_path(picture) as temporary:
        figure(table, where).savefig(temporary, dpi=160, bbox_inches="tight")
    print(table.round(3).to_string(index=False))
    for name, by_recipe in found.items():
        for recipe, one in by_recipe.items():
            print(
                f"{name}, {recipe}: the study takes {one['study_over_bound']:.2f} times the bound; the tutorial needs "
                f"{one['tutorial_over_study_by_multiply_adds']:.1f} times as many multiply-adds"
            )
            if isinstance(one["seconds"]["pytorch"], str):
                print(f"{name}, {recipe}: PyTorch left out, {one['seconds']['pytorch']}")
    for name, rows in grown.items():
        print(f"{name}, last_block:")
        print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
