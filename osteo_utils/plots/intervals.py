"""Figures of values with their intervals: forest plots, mask trial, perturbations."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from osteo_utils.plots import style

# What a row of a forest is called.
_NAMED = ("name", "protocol", "features")


def dots(axes: Axes, frame: pd.DataFrame, colours: list[str], filled: list[bool], points: float = 8) -> None:
    """Each row's value as a dot on its interval, and both as numbers of `points` beside the axes.

    Columns value, low, high.
    """
    beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for row, (item, colour, full) in enumerate(zip(frame.itertuples(), colours, filled, strict=True)):
        low, high = (item.value if pd.isna(end) else end for end in (item.low, item.high))
        (line,) = axes.plot([low, high], [row, row], color=colour, linewidth=2.0, solid_capstyle="butt", gid="interval")
        dot = {
            "color": colour,
            "markerfacecolor": colour if full else "white",
            "markersize": 0.875 * points,
            "markeredgewidth": 0.2 * points,
        }
        (point,) = axes.plot(item.value, row, "o", clip_on=False, gid="value", **dot)  # a value of 1 lies on the edge
        named = style.label_of(str(next(getattr(item, column) for column in _NAMED if column in frame)))
        for mark in (line, point):
            style.say(mark, f"{named}: {style.interval_words(item.value, item.low, item.high)}")
        text = f"{item.value:.2f}" if pd.isna(item.low) else f"{item.value:.2f} ({item.low:.2f}–{item.high:.2f})"
        axes.annotate(text, (1, row), xytext=(points + 2, 0), va="center", fontsize=points, **beside)
    beside = {"xycoords": "axes fraction", "textcoords": "offset points", "color": style.PALETTE["neutral"]}
    axes.annotate("value (95 % interval)", (1, 1), xytext=(points + 2, 3), fontsize=points - 0.5, **beside)
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def paper_marks(axes: Axes, values: pd.Series, points: float = 6.5) -> None:
    """The paper's value of each row as a diamond, and what a diamond is above the axes."""
    mark = {"markerfacecolor": "none", "markeredgecolor": style.PALETTE["paper"], "markeredgewidth": 0.2 * points}
    axes.plot(values, np.arange(len(values)), "D", label="the paper", gid="paper", markersize=points, **mark)
    style.legend_above(axes)


@style.styled
def forest(frame: pd.DataFrame, where: str, xlabel: str, title: str = "Headline numbers") -> Figure:
    """Each row's value and interval (name, value, low, high; optional paper, colour); the paper's as a mark.

    `colour` is a name of `PALETTE` or a colour; without it the colour is read from the row's name.
    """
    style.require(frame, ["name", "value", "low", "high"], "forest")
    given = frame["colour"] if "colour" in frame else frame["name"].map(style.colour_of)
    colours = [style.PALETTE.get(str(colour), str(colour)) for colour in given]
    figure, axes = style.single_axes(7.2, 0.34 * len(frame) + 0.75, title, where)
    dots(axes, frame, colours, [True] * len(frame))
    if "paper" in frame and frame["paper"].notna().any():
        paper_marks(axes, frame["paper"])
    axes.set_yticks(np.arange(len(frame)), frame["name"])
    axes.set_xlabel(xlabel)
    return figure


@style.styled
def by_protocol(
    frame: pd.DataFrame,
    where: str,
    paper: float | None = 0.98,
    title: str = "The same network under each protocol",
    chance: bool = False,
) -> Figure:
    """Accuracy and interval by protocol, the paper's as a line.

    Columns protocol, value, low, high, n_files, n_groups, honest; the dots of dishonest protocols are hollow. `chance`
    draws a line at one half.
    """
    style.require(frame, ["protocol", "value", "low", "high", "n_files", "n_groups", "honest"], "by_protocol")
    figure, axes = style.single_axes(7.2, 0.46 * len(frame) + 0.95, title, where)
    if chance:
        axes.axvline(0.5, color=style.PALETTE["neutral"], linewidth=0.9, linestyle=(0, (1, 1.5)), gid="chance")
    dots(axes, frame, [style.PALETTE["neutral"]] * len(frame), frame["honest"].tolist())
    labels = [
        f"{textwrap.fill(style.label_of(row.protocol), 44)}\n{row.n_files:,.0f} files, {row.n_groups:,.0f} groups"
        for row in frame.itertuples()
    ]
    axes.set_yticks(np.arange(len(frame)), labels, fontsize=8)
    if paper is not None:
        style.paper_line(axes, paper, horizontal=False)
    axes.set_xlabel("accuracy")
    axes.set_xlim(right=max(1.005, frame["high"].max()))
    return figure


@style.styled
def beside_shuffled(frame: pd.DataFrame, where: str, title: str = "Known without any network") -> Figure:
    """AUROC of each set of features with its interval, over a grey bar for the range of shuffled labels.

    Columns features, value, low, high, shuffled_low, shuffled_high. A row without the last two stands for bone or for a
    network; it has no bar and a black dot.
    """
    style.require(frame, ["features", "value", "low", "high", "shuffled_low", "shuffled_high"], "beside_shuffled")
    figure, axes = style.single_axes(7.2, 0.42 * len(frame) + 0.85, title, where)
    known = frame["shuffled_low"].notna().to_numpy()
    low, width = (column[known] for column in (frame["shuffled_low"], frame["shuffled_high"] - frame["shuffled_low"]))
    bars = {"color": "#DDDDDD", "label": "95 % of shuffled labels", "gid": "shuffled"}
    axes.barh(np.flatnonzero(known), width, left=low, height=0.5, **bars)
    axes.axvline(0.5, color=style.PALETTE["neutral"], linewidth=0.9, linestyle=(0, (1, 1.5)))
    dots(axes, frame, [style.PALETTE["by_file" if one else "grouped"] for one in known], [True] * len(frame))
    axes.set_yticks(np.arange(len(frame)), [style.label_of(name) for name in frame["features"]])
    axes.set_xlim(min(0.35, float(frame["low"].min()) - 0.02), 1.0)
    axes.set_xlabel("AUROC, out of fold")
    style.legend_above(axes)
    return figure


@style.styled
def message(frame: pd.DataFrame, where: str, title: str) -> Figure:
    """Values with intervals in one block for each `part` below each other (part, name, value, low, high, paper, honest).

    The paper's values are marks; the dots of rows that are not honest are hollow. `part` names the axis of its block.
    """
    style.require(frame, ["part", "name", "value", "low", "high", "paper", "honest"], "message")
    parts = list(frame.groupby("part", sort=False))
    figure = style.canvas(7.2, 0.26 * len(frame) + 0.62 * len(parts), title, where)
    sizes = [len(rows) + 1.2 for _, rows in parts]
    for axes, (part, rows) in zip(np.atleast_1d(figure.subplots(len(parts), height_ratios=sizes)), parts, strict=True):
        colours = [style.PALETTE["grouped" if honest else "by_file"] for honest in rows["honest"]]
        dots(axes, rows, colours, rows["honest"].tolist())
        if rows["paper"].notna().any():
            mark = {"markerfacecolor": "none", "markeredgecolor": style.PALETTE["osteoporosis"], "markeredgewidth": 1.6}
            axes.plot(rows["paper"], np.arange(len(rows)), "D", label="paper", gid="paper", markersize=7, **mark)
            axes.plot([], [], "o", color=style.PALETTE["grouped"], label="here")
            axes.plot([], [], "o", color=style.PALETTE["by_file"], markerfacecolor="white", label="mistaken")
            style.legend_above(axes)
        axes.axvline(0.5, color=style.PALETTE["neutral"], linewidth=0.9, linestyle=(0, (1, 1.5)), gid="chance")
        axes.set_yticks(np.arange(len(rows)), [textwrap.fill(name, 40) for name in rows["name"]], fontsize=8)
        axes.set_xlim(min(0.45, float(rows["low"].min()) - 0.02), 1.005)
        axes.set_xlabel(part)
    return figure


@style.styled
def mask_trial(trial: pd.DataFrame, where: str) -> Figure:
    """Dice of masks whose truth is known: a row per method and bone, a dot per knee, a bar for the middle half.

    Columns method (unet, classical), bone (all, femur, ...), dice (0-1), as `segmentation.trial` gives them.
    """
    style.require(trial, ["method", "bone", "dice"], "mask_trial")
    rows = list(trial.groupby(["method", "bone"], sort=False))
    rows.sort(key=lambda row: (row[0][1] != "all", row[0][0] != "unet"))
    figure, axes = style.single_axes(6.2, 0.42 * len(rows) + 0.8, "Masks against the truth", where)
    scatter = np.random.default_rng(0)
    for place, ((method, _), part) in enumerate(rows):
        colour = style.PALETTE["normal"] if method == "unet" else style.PALETTE["neutral"]
        at = place + scatter.uniform(-0.25, 0.25, len(part))
        dots = axes.scatter(part["dice"], at, s=10, color=colour, alpha=0.45, linewidth=0)
        style.say(dots, *(f"Dice {dice:.3f}" for dice in part["dice"]))
        style.quartiles(axes, place, part["dice"])
    methods, bones = {"unet": "U-Net", "classical": "classical"}, {"all": "whole bone"}
    axes.set_yticks(range(len(rows)), [f"{methods[method]}, {bones.get(bone, bone)}" for (method, bone), _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("Dice coefficient (median and quartiles over knees)")
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    return figure


@style.styled
def perturbations(table: pd.DataFrame, where: str, model: str) -> Figure:
    """AUROC and the share of calls that change, by kind and strength of perturbation, with 95 % bands.

    `table` as the room `perturbations` gives it; the unchanged films are the first point of every panel.
    """
    style.require(table, ["kind", "strength", "unit", "value", "low", "high", "flipped"], "perturbations")
    start = table[table.strength == 0]
    parts = list(table[table.strength > 0].groupby("kind", sort=False))
    figure = style.canvas(1.45 * len(parts) + 0.6, 3.9, f"{style.label_of(model)} on perturbed films", where)
    grid = figure.subplots(2, len(parts), sharex="col", sharey="row", squeeze=False)
    for column, (kind, part) in enumerate(parts):
        drawn = pd.concat([start, part]).assign(place=range(len(part) + 1))
        score, calls = grid[:, column]
        style.band(score, drawn, "place", "value", style.colour_of(model), dashes="o-")
        score.axhline(float(start["value"].iloc[0]), **style.CHANCE)
        ends = {"flipped_low": "low", "flipped_high": "high"}
        flips = drawn.drop(columns=list(ends.values())).rename(columns=ends)
        style.band(calls, flips, "place", "flipped", style.PALETTE["neutral"], dashes="o-")
        score.set_title(str(kind), fontsize=9)
        calls.set(xlabel=str(part["unit"].iloc[0]), ylim=(0, 1))
        calls.set_xticks(drawn["place"], ["none", *(f"{s:g}" for s in part["strength"])])
        calls.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in (score, calls):
            axes.grid(visible=True, axis="y")
    grid[0, 0].set(ylabel="AUROC", ylim=(min(0.45, float(table["low"].min())), 1.0))
    grid[1, 0].set(ylabel="calls that change")
    return figure
