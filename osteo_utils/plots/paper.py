"""Counterparts of the paper's figures at the sizes of a journal: one column or two, letters of 6 points or more.

Each says its n, data set and protocol below its title, as every figure does. The paper's Fig. 2 shows films, so its
counterpart is `films.samples`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from osteo_utils.plots import curves, films, intervals, style

POINTS = 6.5
# Of the flow chart, in millimetres: a line of text, the title of a step, the space in a box, between boxes, for a letter.
_LINE, _HEAD, _SPACE, _GAP, _LETTER = 2.9, 3.6, 1.6, 4.5, 1.22


@style.for_print
def flow_chart(steps: pd.DataFrame, arrows: Sequence[tuple[str, str]], where: str) -> Figure:
    """The paper's Fig. 1: the steps of a study from top to bottom, an arrow from a step to each that goes on with it.

    Columns step (its name in `arrows`), title, text (lines), layer (0 is the first), left and right (the first and the
    last of the columns that its box covers), model (a name of `PALETTE`, or empty).
    """
    style.require(steps, ["step", "title", "text", "layer", "left", "right", "model"], "flow_chart")
    inside = style.TWO_COLUMNS - 2.6  # the layout keeps a margin
    column = (inside + _GAP) / (steps["right"].max() + 1)
    boxes: dict[str, tuple[float, float, float, float]] = {}
    texts, top = {}, 0.0
    for _, layer in steps.groupby("layer"):
        for row in layer.itertuples():
            across = column * (row.right - row.left + 1) - _GAP
            texts[row.step] = [part for line in row.text for part in textwrap.wrap(line, int((across - 4) / _LETTER))]
        height = 2 * _SPACE + _HEAD + _LINE * max(len(texts[step]) for step in layer["step"])
        for row in layer.itertuples():
            across = column * (row.right - row.left + 1) - _GAP
            boxes[row.step] = (column * row.left, top, across, height)
        top += height + _GAP
    figure = style.sheet(2, top - _GAP + 2, "Steps of the study", where)
    axes = figure.subplots()
    axes.set(xlim=(0, inside), ylim=(top - _GAP + 0.5, -0.5))
    axes.axis("off")
    for row in steps.itertuples():
        x, y, width, height = boxes[row.step]
        edge = style.PALETTE.get(row.model, style.PALETTE["neutral"])
        outline = {
            "boxstyle": "round,pad=0,rounding_size=1.2",
            "facecolor": "white",
            "edgecolor": edge,
            "gid": "box",
            "clip_on": False,
        }
        axes.add_patch(FancyBboxPatch((x, y), width, height, linewidth=1.4 if row.model else 0.8, **outline))
        middle = {"ha": "center", "va": "top"}
        axes.text(x + width / 2, y + _SPACE, row.title, fontsize=POINTS + 1, fontweight="bold", gid="step", **middle)
        said = "\n".join(texts[row.step])
        axes.text(x + width / 2, y + _SPACE + _HEAD, said, fontsize=POINTS, linespacing=1.2, gid="counts", **middle)
    for start, end in arrows:
        (x, y, width, height), (other, below, other_width, _) = boxes[start], boxes[end]
        at = (max(x, other) + min(x + width, other + other_width)) / 2
        arrow = {"arrowstyle": "-|>", "color": style.PALETTE["neutral"], "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (at, below), (at, y + height), arrowprops=arrow, gid="arrow")
    return figure


@style.for_print
def samples(images: pd.DataFrame, store: np.ndarray, seed: int) -> Figure:
    """The paper's Fig. 2: films of each class, as `films.samples` draws them."""
    return films.samples(images, store, seed, style.TWO_COLUMNS / style.MILLIMETRES)


@style.for_print
def training(histories: Mapping[str, pd.DataFrame], where: str, paper: Mapping[str, float]) -> Figure:
    """The paper's Fig. 3 for each network: accuracy and loss by epoch, in training and validation, fold by fold.

    `histories` by model, each of one protocol, recipe and variant; `paper` the accuracy that the paper gives of it.
    """
    figure = style.sheet(2, 92, "Accuracy and loss by epoch", where)
    grid = figure.subplots(2, len(histories), sharex=True, sharey="row", squeeze=False)
    lowest = min(history[["accuracy", "val_accuracy"]].min().min() for history in histories.values())
    for (model, history), (above, below) in zip(histories.items(), grid.T, strict=True):
        needed = ["fold", "epoch", "accuracy", "val_accuracy", "loss", "val_loss"]
        style.require(history, needed, f"training ({model})")
        for axes, measure in ((above, "accuracy"), (below, "loss")):
            curves.by_epoch(axes, history, measure, style.colour_of(model), 1.6)
            axes.grid(visible=True, axis="y")
        style.paper_line(above, paper[model], horizontal=True, points=POINTS)
        above.set_title(style.label_of(model), fontweight="bold", color=style.colour_of(model))
        style.legend_above(below)
        below.set_xlabel("epoch")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[0, 0].set(ylabel="accuracy", ylim=(max(0.0, min(lowest, *paper.values()) - 0.05), 1.02))
    grid[0, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    grid[1, 0].set_ylabel("loss")
    grid[1, 0].set_ylim(bottom=0)
    return figure


@style.for_print
def accuracy(rows: pd.DataFrame, where: str) -> Figure:
    """The paper's Fig. 4 for each model: accuracy with its interval, the paper's as a diamond.

    Columns name, value, low, high, paper (empty where the paper has none).
    """
    style.require(rows, ["name", "value", "low", "high", "paper"], "accuracy")
    figure = style.sheet(1, 7 * len(rows) + 16, "Final accuracy of each model", where)
    axes = figure.subplots()
    intervals.dots(axes, rows, [style.colour_of(name) for name in rows["name"]], [True] * len(rows), POINTS)
    intervals.paper_marks(axes, rows["paper"], 5)
    axes.set_yticks(np.arange(len(rows)), [textwrap.fill(name, 16) for name in rows["name"]])
    axes.set_xlabel("accuracy")
    axes.set_xlim(min(0.5, float(rows["low"].min()) - 0.02), 1.01)
    return figure


@style.for_print
def report(matrix: np.ndarray, rows: pd.DataFrame, where: str, model: str) -> Figure:
    """The paper's Fig. 5: the confusion matrix of a model, and its classification report beside the printed one.

    `matrix` counts labels (rows) against predictions, 2 by 2. `rows` has the columns name, value, low, high, paper.
    """
    style.require(rows, ["name", "value", "low", "high", "paper"], "report")
    figure = style.sheet(2, 58, f"Classification report of {style.label_of(model)}", where)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    curves.counts_by_class(left, matrix, 11)
    intervals.dots(right, rows, [style.colour_of(name) for name in rows["name"]], [True] * len(rows), POINTS)
    intervals.paper_marks(right, rows["paper"], 5)
    right.set_yticks(np.arange(len(rows)), rows["name"])
    right.set_xlabel("share")
    right.set_xlim(min(0.5, float(rows["low"].min()) - 0.02), 1.01)
    return figure
