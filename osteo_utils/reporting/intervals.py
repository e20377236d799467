"""Figures of values with their intervals, one row each."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from osteo_utils.reporting.style import (
    CHANCE,
    NAMES,
    PALETTE,
    band,
    canvas,
    colour_of,
    legend_above,
    paper_line,
    protocol_name,
    require,
    styled,
)


def _dots(axes: Axes, frame: pd.DataFrame, colours: list[str], filled: list[bool]) -> None:
    for row, (item, colour, full) in enumerate(zip(frame.itertuples(), colours, filled, strict=True)):
        low, high = (item.value if pd.isna(end) else end for end in (item.low, item.high))
        axes.plot([low, high], [row, row], color=colour, linewidth=2.0, solid_capstyle="butt", gid="interval")
        axes.plot(
            item.value,
            row,
            "o",
            color=colour,
            markersize=7,
            markerfacecolor=colour if full else "white",
            markeredgewidth=1.6,
            clip_on=False,  # a value of 1 lies on the edge
            gid="value",
        )
        text = f"{item.value:.2f}" if pd.isna(item.low) else f"{item.value:.2f} ({item.low:.2f}–{item.high:.2f})"
        axes.annotate(
            text,
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.annotate(
        "value (95 % interval)",
        (1, 1),
        xycoords="axes fraction",
        xytext=(10, 3),
        textcoords="offset points",
        fontsize=7.5,
        color=PALETTE["neutral"],
    )
    axes.set_ylim(len(frame) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


@styled
def forest(frame: pd.DataFrame, where: str, xlabel: str, title: str = "Headline numbers") -> Figure:
    """Each row's value and interval (name, value, low, high; optional paper, colour); the paper's as a mark.

    `colour` is a name of `PALETTE` or a colour; without it the colour is read from the row's name.
    """
    require(frame, ["name", "value", "low", "high"], "forest")
    given = frame["colour"] if "colour" in frame else frame["name"].map(colour_of)
    colours = [PALETTE.get(str(colour), str(colour)) for colour in given]
    figure = canvas(7.2, 0.34 * len(frame) + 0.75, title, where)
    axes = figure.subplots()
    _dots(axes, frame, colours, [True] * len(frame))
    if "paper" in frame and frame["paper"].notna().any():
        axes.plot(
            frame["paper"],
            np.arange(len(frame)),
            linestyle="",
            marker="D",
            markersize=6.5,
            markerfacecolor="none",
            markeredgecolor=PALETTE["paper"],
            markeredgewidth=1.3,
            label="the paper",
            gid="paper",
        )
        legend_above(axes)
    axes.set_yticks(np.arange(len(frame)), frame["name"])
    axes.set_xlabel(xlabel)
    return figure


@styled
def by_protocol(
    frame: pd.DataFrame,
    where: str,
    paper: float | None = 0.98,
    xlabel: str = "accuracy",
    title: str = "The same network under each protocol",
    model: str | None = None,
    chance: bool = False,
) -> Figure:
    """Value and interval by protocol (protocol, value, low, high, n_files, n_groups), the paper's as a line.

    Protocols without a mistake have a filled dot, all others are hollow: those that the column `honest` names, or
    without it the splits that keep a group on one side. `model` gives the dots its colour; `chance` draws a line at
    one half.
    """
    require(frame, ["protocol", "value", "low", "high", "n_files", "n_groups"], "by_protocol")
    figure = canvas(7.2, 0.46 * len(frame) + 0.95, title, where)
    axes = figure.subplots()
    honest = (frame["honest"] if "honest" in frame else frame["protocol"].isin(["grouped", "grouped_all"])).tolist()
    if chance:
        axes.axvline(0.5, color=PALETTE["neutral"], linewidth=0.9, linestyle=(0, (1, 1.5)), gid="chance")
    _dots(axes, frame, [PALETTE[model or "neutral"]] * len(frame), honest)
    labels = [
        f"{textwrap.fill(protocol_name(row.protocol), 44)}\n{row.n_files:,.0f} files, {row.n_groups:,.0f} groups"
        for row in frame.itertuples()
    ]
    axes.set_yticks(np.arange(len(frame)), labels, fontsize=8)
    if paper is not None:
        paper_line(axes, paper, horizontal=False)
    axes.set_xlabel(xlabel)
    axes.set_xlim(right=max(1.005, frame["high"].max()))
    return figure


@styled
def beside_shuffled(frame: pd.DataFrame, where: str, title: str = "Known without any network") -> Figure:
    """AUROC by kind of feature with its interval, and as a grey bar the range that shuffled labels reach.

    Columns features, value, low, high, shuffled_low, shuffled_high; a row without the last two looks at bone, gets
    no bar and is drawn in black.
    """
    require(frame, ["features", "value", "low", "high", "shuffled_low", "shuffled_high"], "beside_shuffled")
    figure = canvas(7.2, 0.42 * len(frame) + 0.85, title, where)
    axes = figure.subplots()
    known = frame["shuffled_low"].notna().to_numpy()
    axes.barh(
        np.flatnonzero(known),
        (frame["shuffled_high"] - frame["shuffled_low"])[known],
        left=frame["shuffled_low"][known],
        height=0.5,
        color="#DDDDDD",
        label="95 % of shuffled labels",
        gid="shuffled",
    )
    axes.axvline(0.5, color=PALETTE["neutral"], linewidth=0.9, linestyle=(0, (1, 1.5)))
    _dots(axes, frame, [PALETTE["by_file" if one else "grouped"] for one in known], [True] * len(frame))
    axes.set_yticks(np.arange(len(frame)), [NAMES.get(name, name) for name in frame["features"]])
    axes.set_xlim(min(0.35, float(frame["low"].min())), 1.0)
    axes.set_xlabel("AUROC, out of fold")
    legend_above(axes)
    return figure


@styled
def mask_trial(trial: pd.DataFrame, where: str) -> Figure:
    """Dice of masks whose truth is known: a dot a knee, a row per method and bone, the middle half as a bar.

    Columns method (unet, classical), bone (all, femur, ...), dice (0-1), as `evidence.mask_trial.trial` gives them.
    """
    require(trial, ["method", "bone", "dice"], "mask_trial")
    rows = list(trial.groupby(["method", "bone"], sort=False))
    rows.sort(key=lambda row: (row[0][1] != "all", row[0][0] != "unet"))
    figure = canvas(6.2, 0.42 * len(rows) + 0.8, "Masks against the truth", where)
    axes = figure.subplots()
    scatter = np.random.default_rng(0)
    for place, ((method, _), part) in enumerate(rows):
        colour = PALETTE["normal"] if method == "unet" else PALETTE["neutral"]
        at = place + scatter.uniform(-0.25, 0.25, len(part))
        axes.scatter(part["dice"], at, s=10, color=colour, alpha=0.45, linewidth=0)
        low, middle, high = np.quantile(part["dice"], [0.25, 0.5, 0.75])
        axes.plot([low, high], [place, place], color="black", linewidth=2.2, solid_capstyle="butt")
        axes.plot(middle, place, "o", markersize=6, color="white", markeredgecolor="black")
    who = {"unet": "U-Net", "classical": "classical"}
    axes.set_yticks(
        range(len(rows)), [f"{who[method]}, {'whole bone' if bone == 'all' else bone}" for (method, bone), _ in rows]
    )
    axes.invert_yaxis()
    axes.set_xlabel("Dice coefficient (median and quartiles over knees)")
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    return figure


@styled
def perturbations(table: pd.DataFrame, where: str, model: str) -> Figure:
    """AUROC and the share of calls that change, by kind of perturbation and its strength, with 95 % bands.

    `table` as `perturbations.judge` gives it, with a column unit; the unchanged films are the first point of every panel.
    """
    require(table, ["kind", "strength", "unit", "value", "low", "high", "flipped"], "perturbations")
    start = table[table.strength == 0]
    parts = list(table[table.strength > 0].groupby("kind", sort=False))
    figure = canvas(1.45 * len(parts) + 0.6, 3.9, f"{NAMES.get(model, model)} on perturbed films", where)
    grid = figure.subplots(2, len(parts), sharex="col", sharey="row", squeeze=False)
    for column, (kind, part) in enumerate(parts):
        drawn = pd.concat([start, part]).assign(place=range(len(part) + 1))
        score, calls = grid[:, column]
        band(score, drawn, "place", "value", colour_of(model), dashes="o-")
        score.axhline(float(start["value"].iloc[0]), **CHANCE)
        ends = {"flipped_low": "low", "flipped_high": "high"}
        flips = drawn.drop(columns=list(ends.values())).rename(columns=ends)
        band(calls, flips, "place", "flipped", PALETTE["neutral"], dashes="o-")
        score.set_title(str(kind), fontsize=9)
        calls.set(xlabel=str(part["unit"].iloc[0]), ylim=(0, 1))
        calls.set_xticks(drawn["place"], ["none", *(f"{s:g}" for s in part["strength"])])
        calls.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in (score, calls):
            axes.grid(visible=True, axis="y")
    grid[0, 0].set(ylabel="AUROC", ylim=(min(0.45, float(table["low"].min())), 1.0))
    grid[1, 0].set(ylabel="calls that change")
    return figure
