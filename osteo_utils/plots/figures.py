"""Every figure without a film in it, drawn from tables; each states its n, data set and protocol in `where`.

The figures of the data are drawn here. Those of the models, in `curves` and `intervals`, are exported from here too.
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from osteo_utils.plots import style
from osteo_utils.plots.curves import (
    abstention,
    confusion,
    decision,
    precision_recall,
    reliability,
    roc,
    training_curves,
)  # fmt: skip
from osteo_utils.plots.intervals import beside_shuffled, by_protocol, forest, mask_trial, message, perturbations
from osteo_utils.plots.style import NAMES, PALETTE

__all__ = [
    "NAMES", "PALETTE", "abstention", "beside_shuffled", "by_protocol", "class_counts", "confusion", "decision", "flow",
    "fold_balance", "forest", "group_sizes", "image_sizes", "intensity", "mask_areas", "mask_trial", "message",
    "perturbations",
    "precision_recall", "reliability", "roc", "training_curves",
]  # fmt: skip


@style.styled
def class_counts(manifest: pd.DataFrame, where: str) -> Figure:
    """Usable images per class, and beside them the unusable ones (columns class_name, status)."""
    style.require(manifest, ["class_name", "status"], "class_counts")
    classes = style.classes_of(manifest)
    usable = pd.crosstab(manifest["class_name"], manifest["status"].eq("ok"))
    kept, lost = usable.reindex(index=classes, columns=[True, False], fill_value=0).to_numpy().T
    figure, axes = style.single_axes(5.6, 0.5 * len(classes) + 0.75, "Images per class", where)
    position = np.arange(len(classes))
    bars = axes.barh(position, kept, height=0.62, color=[style.colour_of(name) for name in classes])
    inside = {"label_type": "center", "color": "white", "fontweight": "bold"}
    axes.bar_label(bars, **(inside if lost.any() else {"padding": 4}))
    if lost.any():
        grey = PALETTE["neutral"]
        rest = axes.barh(position, lost, 0.62, left=kept, color="white", edgecolor=grey, hatch="////")
        axes.bar_label(rest, [f"{count} not usable" if count else "" for count in lost], padding=4)
    axes.set_yticks(position, classes)
    axes.invert_yaxis()
    axes.set_xlabel("images")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(axis="y", length=0)
    return figure


@style.styled
def image_sizes(manifest: pd.DataFrame, where: str) -> Figure:
    """Width against height in pixels, one panel a class; a dot's area is the number of images of that size."""
    style.require(manifest, ["class_name", "width", "height"], "image_sizes")
    classes = style.classes_of(manifest)
    figure = style.canvas(min(3.3 * len(classes) + 0.4, 10), 3.0, "Image sizes", where)
    panels = figure.subplots(1, len(classes), sharex=True, sharey=True, squeeze=False)[0]
    sizes = manifest.groupby(["class_name", "width", "height"]).size().rename("images").reset_index()
    scale = 500 / sizes["images"].max()
    for panel, name in zip(panels, classes, strict=True):
        here = sizes[sizes["class_name"].eq(name)]
        dots = {"color": style.colour_of(name), "alpha": 0.55, "edgecolor": "white", "linewidth": 0.5}
        drawn = panel.scatter(here["width"], here["height"], s=np.maximum(here["images"] * scale, 10), **dots)
        counted = here[["width", "height", "images"]].itertuples(index=False)
        style.say(drawn, *(f"{width:.0f} × {height:.0f} pixels, images: {images}" for width, height, images in counted))
        largest = here.loc[here["images"].idxmax()]
        text = f"most common: {largest['width']:.0f} × {largest['height']:.0f}, {largest['images']} images"
        panel.text(0.97, 0.04, text, transform=panel.transAxes, ha="right", fontsize=7.5)
        panel.set_title(f"{name}: {here['images'].sum()} images, {len(here)} sizes", color=style.colour_of(name))
        panel.grid(visible=True)
        panel.set_xlabel("width in pixels")
    limit = 1.12 * max(sizes["width"].max(), sizes["height"].max())
    panels[0].set(xlim=(0, limit), ylim=(0, limit), ylabel="height in pixels")
    return figure


@style.styled
def intensity(frame: pd.DataFrame, where: str) -> Figure:
    """Share of pixels at each grey level (0-255), mean over images with its band; one line a class."""
    style.require(frame, ["class_name", "level", "share", "low", "high"], "intensity")
    figure, axes = style.single_axes(6.2, 2.7, "Grey levels", where)
    for name, dashes in zip(style.classes_of(frame), ("-", "--", "-.", ":"), strict=False):
        line = frame[frame["class_name"].eq(name)].sort_values("level")
        axes.fill_between(
            line["level"], line["low"], line["high"], color=style.colour_of(name), alpha=0.18, linewidth=0
        )
        axes.plot(line["level"], line["share"], dashes, color=style.colour_of(name), label=name)
    axes.set(xlabel="grey level", ylabel="share of pixels", xlim=(frame["level"].min(), frame["level"].max()))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(visible=True, axis="y")
    axes.legend(loc="upper right")
    return figure


@style.styled
def group_sizes(audit: pd.DataFrame, where: str) -> Figure:
    """How many knees have one image, two, three ...; hatched: knees with both labels (knee, conflict)."""
    style.require(audit, ["knee", "conflict"], "group_sizes")
    knees = audit.groupby("knee").agg(size=("conflict", "size"), conflict=("conflict", "max"))
    sizes = np.arange(1, knees["size"].max() + 1)
    counts = pd.crosstab(knees["size"], knees["conflict"]).reindex(index=sizes, columns=[0, 1], fill_value=0)
    alike, conflicts = counts.to_numpy().T
    figure, axes = style.single_axes(6.2, 2.7, "Images that show the same knee", where)
    edges = {"edgecolor": "#404040", "linewidth": 0.8}
    axes.bar(sizes, alike, 0.7, color="#8C8C8C", label="one label", **edges)
    axes.bar(sizes, conflicts, 0.7, alike, color="white", hatch="/////", label="both labels (conflict)", **edges)
    for size, count, torn in zip(sizes, alike + conflicts, conflicts, strict=True):
        text = f"{count}" + (f"\n({torn} conflict{'s' if torn > 1 else ''})" if torn else "")
        axes.annotate(text, (size, count), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xlabel="images of the knee", ylabel="knees")
    axes.margins(y=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")
    return figure


@style.styled
def flow(table: pd.DataFrame, where: str) -> Figure:
    """Flow diagram from the files found to those analysed, after CLAIM and STARD (columns step, files, knees, groups, main).

    Steps with `main` form the column; the others stand beside the arrow where they are excluded or counted.
    """
    style.require(table, ["step", "files", "knees", "groups", "main"], "flow")
    figure, axes = style.single_axes(6.4, 0.62 * len(table) + 0.1, "From files to analysed knees", where)
    axes.set(xlim=(0, 10), ylim=(len(table) - 0.4, -0.6))
    axes.axis("off")
    places = np.arange(len(table))
    column = places[table["main"].to_numpy(bool)]
    for start, end in itertools.pairwise(column):
        arrow = {"arrowstyle": "-|>", "color": PALETTE["neutral"]}
        axes.annotate("", (2.6, end - 0.32), (2.6, start + 0.32), arrowprops=arrow)
    for place, row in zip(places, table.itertuples(), strict=True):
        knees = "" if pd.isna(row.knees) else f", {row.knees:,.0f} knees"
        if knees and row.groups < row.knees:
            knees += f" of at most {row.groups:,.0f} persons"
        if not row.main:
            axes.plot([2.6, 4.6], [place, place], color=PALETTE["neutral"], linewidth=0.9)
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white"}
        box |= {"edgecolor": PALETTE["paper" if row.main else "neutral"], "linewidth": 1.1 if row.main else 0.7}
        x, side = (2.6, "center") if row.main else (4.7, "left")
        text = f"{row.step}\n{row.files:,.0f} files{knees}"
        axes.text(x, place, text, ha=side, va="center", fontsize=8.5, gid="step", bbox=box)
    return figure


@style.styled
def fold_balance(folds: pd.DataFrame, where: str) -> Figure:
    """Images of each class in each fold (fold, class_name, count); fold -1 is drawn as "left out"."""
    style.require(folds, ["fold", "class_name", "count"], "fold_balance")
    classes = style.classes_of(folds)
    table = folds.pivot_table(index="fold", columns="class_name", values="count", aggfunc="sum", fill_value=0)
    order = [fold for fold in table.index if fold >= 0] + [fold for fold in table.index if fold < 0]
    figure, axes = style.single_axes(6.2, 2.6, "Images per fold", where)
    width = 0.8 / len(classes)
    for place, name in enumerate(classes):
        at = np.arange(len(order)) + (place - (len(classes) - 1) / 2) * width
        bars = axes.bar(at, table.loc[order, name], width * 0.94, color=style.colour_of(name), label=name)
        axes.bar_label(bars, padding=2, fontsize=7.5)
    axes.set_xticks(np.arange(len(order)), ["left out" if fold < 0 else f"fold {fold}" for fold in order])
    axes.set_ylabel("images")
    axes.margins(y=0.15)
    axes.tick_params(axis="x", length=0)
    style.legend_above(axes)
    return figure


@style.styled
def mask_areas(table: pd.DataFrame, where: str) -> Figure:
    """Share of the film that is bone, one dot an image, with quartiles by class; open dots: flagged masks.

    Columns class_name, area_share (0-1), plausible (0/1).
    """
    style.require(table, ["class_name", "area_share", "plausible"], "mask_areas")
    classes = style.classes_of(table)
    figure, axes = style.single_axes(6.2, 0.75 * len(classes) + 0.7, "Bone as a share of the film", where)
    scatter = np.random.default_rng(0)
    for place, name in enumerate(classes):
        part = table[table["class_name"].eq(name)]
        at = place + scatter.uniform(-0.28, 0.28, len(part))
        trusted = part["plausible"].astype(bool).to_numpy()
        colour, area = style.colour_of(name), part["area_share"].to_numpy()
        axes.scatter(area[trusted], at[trusted], s=11, color=colour, alpha=0.45, linewidth=0)
        axes.scatter(area[~trusted], at[~trusted], s=14, facecolor="none", edgecolor=colour, linewidth=0.9)
        style.quartiles(axes, place, area)
    flagged = int((~table["plausible"].astype(bool)).sum())
    axes.set_yticks(np.arange(len(classes)), classes)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    open_dots = f" ({flagged} open dots: flagged masks)" if flagged else ""
    axes.set_xlabel(f"bone, share of the film's area{open_dots}")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    return figure
