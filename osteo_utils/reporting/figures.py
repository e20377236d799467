"""Every figure without a film in it, drawn from tables; each states its n, data set and protocol in `where`.

The figures of the data stand here, those of the models in `curves` and `intervals`; callers find all
here.
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from osteo_utils.reporting.curves import (
    abstention,
    confusion,
    decision,
    precision_recall,
    reliability,
    roc,
    training_curves,
)
from osteo_utils.reporting.intervals import beside_shuffled, by_protocol, forest, mask_trial, perturbations
from osteo_utils.reporting.style import (
    NAMES,
    PALETTE,
    canvas,
    classes_of,
    colour_of,
    legend_above,
    require,
    styled,
    use_style,
)

__all__ = [
    "NAMES",
    "PALETTE",
    "abstention",
    "beside_shuffled",
    "by_protocol",
    "class_counts",
    "confusion",
    "decision",
    "flow",
    "fold_balance",
    "forest",
    "group_sizes",
    "image_sizes",
    "intensity",
    "mask_areas",
    "mask_trial",
    "perturbations",
    "precision_recall",
    "reliability",
    "roc",
    "training_curves",
    "use_style",
]


@styled
def class_counts(manifest: pd.DataFrame, where: str) -> Figure:
    """Usable images per class, and beside them the ones that cannot be used (columns class_name, status)."""
    require(manifest, ["class_name", "status"], "class_counts")
    classes = classes_of(manifest)
    usable = manifest["status"].eq("ok")
    figure = canvas(5.6, 0.5 * len(classes) + 0.75, "Images per class", where)
    axes = figure.subplots()
    position = np.arange(len(classes))
    kept = np.array([(usable & manifest["class_name"].eq(name)).sum() for name in classes])
    lost = np.array([(~usable & manifest["class_name"].eq(name)).sum() for name in classes])
    bars = axes.barh(position, kept, height=0.62, color=[colour_of(name) for name in classes])
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


@styled
def image_sizes(manifest: pd.DataFrame, where: str) -> Figure:
    """Width against height in pixels, one panel a class; a dot's area is the number of images of that size."""
    require(manifest, ["class_name", "width", "height"], "image_sizes")
    classes = classes_of(manifest)
    figure = canvas(min(3.3 * len(classes) + 0.4, 10), 3.0, "Image sizes", where)
    panels = figure.subplots(1, len(classes), sharex=True, sharey=True, squeeze=False)[0]
    sizes = manifest.groupby(["class_name", "width", "height"]).size().rename("images").reset_index()
    scale = 500 / sizes["images"].max()
    for panel, name in zip(panels, classes, strict=True):
        here = sizes[sizes["class_name"].eq(name)]
        panel.scatter(
            here["width"],
            here["height"],
            s=np.maximum(here["images"] * scale, 10),
            color=colour_of(name),
            alpha=0.55,
            edgecolor="white",
            linewidth=0.5,
        )
        largest = here.loc[here["images"].idxmax()]
        panel.text(
            0.97,
            0.04,
            f"most common: {largest['width']:.0f} × {largest['height']:.0f}, {largest['images']} images",
            transform=panel.transAxes,
            ha="right",
            fontsize=7.5,
        )
        panel.set_title(f"{name}: {here['images'].sum()} images, {len(here)} sizes", color=colour_of(name))
        panel.grid(visible=True)
        panel.set_xlabel("width in pixels")
    limit = 1.12 * max(sizes["width"].max(), sizes["height"].max())
    panels[0].set(xlim=(0, limit), ylim=(0, limit), ylabel="height in pixels")
    return figure


@styled
def intensity(frame: pd.DataFrame, where: str) -> Figure:
    """Share of pixels at each grey level (0-255), mean over images with its band; one line a class."""
    require(frame, ["class_name", "level", "share", "low", "high"], "intensity")
    figure = canvas(6.2, 2.7, "Grey levels", where)
    axes = figure.subplots()
    for name, dashes in zip(classes_of(frame), ("-", "--", "-.", ":"), strict=False):
        line = frame[frame["class_name"].eq(name)].sort_values("level")
        axes.fill_between(line["level"], line["low"], line["high"], color=colour_of(name), alpha=0.18, linewidth=0)
        axes.plot(line["level"], line["share"], dashes, color=colour_of(name), label=name)
    axes.set(xlabel="grey level", ylabel="share of pixels", xlim=(frame["level"].min(), frame["level"].max()))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(visible=True, axis="y")
    axes.legend(loc="upper right")
    return figure


@styled
def group_sizes(audit: pd.DataFrame, where: str) -> Figure:
    """How many groups hold one image, two, three ...; hatched: groups with both labels (group, conflict)."""
    require(audit, ["group", "conflict"], "group_sizes")
    groups = audit.groupby("group").agg(size=("conflict", "size"), conflict=("conflict", "max"))
    sizes = np.arange(1, groups["size"].max() + 1)
    figure = canvas(6.2, 2.7, "Images that show the same knee", where)
    axes = figure.subplots()
    bottom = np.zeros(len(sizes))
    for flag, label, face, hatch in ((0, "one label", "#8C8C8C", ""), (1, "both labels (conflict)", "white", "/////")):
        counts = np.array([((groups["size"] == size) & (groups["conflict"] == flag)).sum() for size in sizes])
        axes.bar(sizes, counts, 0.7, bottom, color=face, edgecolor="#404040", hatch=hatch, label=label, linewidth=0.8)
        bottom += counts
    for size, count in zip(sizes, bottom, strict=True):
        conflicts = int(((groups["size"] == size) & (groups["conflict"] == 1)).sum())
        text = f"{count:.0f}" + (f"\n({conflicts} conflict{'s' if conflicts > 1 else ''})" if conflicts else "")
        axes.annotate(text, (size, count), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xlabel="images in the group", ylabel="groups")
    axes.margins(y=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")
    return figure


@styled
def flow(table: pd.DataFrame, where: str) -> Figure:
    """From the files found to those analysed, as CLAIM and STARD ask (columns step, files, knees, main).

    Steps with `main` form the column; the others stand beside the arrow on which they are lost or counted.
    """
    require(table, ["step", "files", "knees", "main"], "flow")
    figure = canvas(6.4, 0.62 * len(table) + 0.1, "From files to analysed knees", where)
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(len(table) - 0.4, -0.6))
    axes.axis("off")
    places = np.arange(len(table))
    column = places[table["main"].to_numpy(bool)]
    for start, end in itertools.pairwise(column):
        axes.annotate(
            "", (2.6, end - 0.32), (2.6, start + 0.32), arrowprops={"arrowstyle": "-|>", "color": PALETTE["neutral"]}
        )
    for place, row in zip(places, table.itertuples(), strict=True):
        knees = "" if pd.isna(row.knees) else f", {row.knees:,.0f} knees"
        if not row.main:
            axes.plot([2.6, 4.6], [place, place], color=PALETTE["neutral"], linewidth=0.9)
        axes.text(
            2.6 if row.main else 4.7,
            place,
            f"{row.step}\n{row.files:,.0f} files{knees}",
            ha="center" if row.main else "left",
            va="center",
            fontsize=8.5,
            gid="step",
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": "white",
                "edgecolor": PALETTE["paper" if row.main else "neutral"],
                "linewidth": 1.1 if row.main else 0.7,
            },
        )
    return figure


@styled
def fold_balance(folds: pd.DataFrame, where: str) -> Figure:
    """Images of each class in each fold (fold, class_name, count); fold -1 is drawn as "left out"."""
    require(folds, ["fold", "class_name", "count"], "fold_balance")
    classes = classes_of(folds)
    table = folds.pivot_table(index="fold", columns="class_name", values="count", aggfunc="sum", fill_value=0)
    order = [fold for fold in table.index if fold >= 0] + [fold for fold in table.index if fold < 0]
    figure = canvas(6.2, 2.6, "Images per fold", where)
    axes = figure.subplots()
    width = 0.8 / len(classes)
    for place, name in enumerate(classes):
        at = np.arange(len(order)) + (place - (len(classes) - 1) / 2) * width
        bars = axes.bar(at, table.loc[order, name], width * 0.94, color=colour_of(name), label=name)
        axes.bar_label(bars, padding=2, fontsize=7.5)
    axes.set_xticks(np.arange(len(order)), ["left out" if fold < 0 else f"fold {fold}" for fold in order])
    axes.set_ylabel("images")
    axes.margins(y=0.15)
    axes.tick_params(axis="x", length=0)
    legend_above(axes)
    return figure


@styled
def mask_areas(table: pd.DataFrame, where: str) -> Figure:
    """Share of the film that is bone, one dot an image, with quartiles by class; open dots: flagged masks.

    Columns class_name, area_share (0-1), plausible (0/1).
    """
    require(table, ["class_name", "area_share", "plausible"], "mask_areas")
    classes = classes_of(table)
    figure = canvas(6.2, 0.75 * len(classes) + 0.7, "Bone as a share of the film", where)
    axes = figure.subplots()
    scatter = np.random.default_rng(0)
    for place, name in enumerate(classes):
        part = table[table["class_name"].eq(name)]
        at = place + scatter.uniform(-0.28, 0.28, len(part))
        trusted = part["plausible"].astype(bool).to_numpy()
        colour = colour_of(name)
        area = part["area_share"].to_numpy()
        axes.scatter(area[trusted], at[trusted], s=11, color=colour, alpha=0.45, linewidth=0)
        axes.scatter(area[~trusted], at[~trusted], s=14, facecolor="none", edgecolor=colour, linewidth=0.9)
        low, middle, high = np.quantile(area, [0.25, 0.5, 0.75])
        axes.plot([low, high], [place, place], color="black", linewidth=2.2, solid_capstyle="butt")
        axes.plot(middle, place, "o", markersize=6, color="white", markeredgecolor="black")
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
