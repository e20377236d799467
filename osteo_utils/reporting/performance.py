"""Figures of what the models do, drawn from saved predictions, histories and metrics."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import auc, roc_curve

from osteo_utils.reporting.style import (
    NAMES,
    PALETTE,
    canvas,
    colour_of,
    legend_above,
    paper_line,
    require,
    styled,
)

CHANCE = {"color": "#A0A0A0", "linewidth": 0.9, "linestyle": (0, (1, 1.5))}


@styled
def training_curves(
    history: pd.DataFrame, where: str, paper: float | None = None, model: str | None = None
) -> Figure:
    """Training and validation accuracy by epoch (the paper's Fig. 3): mean line, thin line per seed and fold.

    `history` has the columns of `history/<model>.csv` and holds one protocol, recipe and variant (ValueError
    otherwise); `paper` draws the paper's accuracy; `model` gives the validation line its colour.
    """
    require(history, ["fold", "epoch", "accuracy", "val_accuracy"], "training_curves")
    for column in ("protocol", "recipe", "variant"):
        if column in history and len(set(history[column])) > 1:
            raise ValueError(
                f"training_curves: the history mixes {column} {', '.join(sorted(set(history[column])))}; "
                "a mean over them says nothing. Select one."
            )
    figure = canvas(6.2, 3.1, "Accuracy by epoch" + (f": {NAMES.get(model, model)}" if model else ""), where)
    axes = figure.subplots()
    hue = PALETTE.get(model or "", "#202020")
    runs = [name for name in ("seed", "fold") if name in history]
    for column, label, colour, dashes in (
        ("accuracy", "training", "#8C8C8C", "--"),
        ("val_accuracy", "validation", hue, "-"),
    ):
        for _, fit in history.sort_values("epoch").groupby(runs):
            axes.plot(fit["epoch"], fit[column], dashes, color=colour, linewidth=0.6, alpha=0.45)
        mean = history.groupby("epoch")[column].mean()
        axes.plot(mean.index, mean, dashes, color=colour, linewidth=2.2, label=f"{label}, mean")
    if paper is not None:
        paper_line(axes, paper, horizontal=True)
    shown = history[["accuracy", "val_accuracy"]].min().min()
    axes.set(xlabel="epoch", ylabel="accuracy", ylim=(max(0.0, min(shown, paper or 1) - 0.05), 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, axis="y")
    axes.plot([], [], color="#8C8C8C", linewidth=0.6, label="thin: one fold each")
    legend_above(axes)
    return figure


@styled
def confusion(matrix: np.ndarray, where: str, title: str = "Confusion matrix") -> Figure:
    """Counts of truth (rows) against prediction (columns), 2 by 2, shaded by the share of the row."""
    counts = np.asarray(matrix)
    if counts.shape != (2, 2):
        raise ValueError(f"confusion: expected a 2 by 2 matrix of counts, found shape {counts.shape}.")
    classes = ["normal", "osteoporosis"]
    totals = counts.sum(axis=1)
    share = counts / np.maximum(totals, 1)[:, None]
    figure = canvas(4.3, 3.3, title, where)
    axes = figure.subplots()
    axes.imshow(share, cmap="Greys", vmin=0, vmax=1.25)
    for truth, predicted in np.ndindex(2, 2):
        ink = "white" if share[truth, predicted] > 0.62 else "#101010"
        spot = {"ha": "center", "va": "center", "color": ink}
        axes.text(
            predicted, truth - 0.06, f"{counts[truth, predicted]:,}", fontsize=17, fontweight="bold", **spot
        )
        axes.text(predicted, truth + 0.2, f"{share[truth, predicted]:.1%} of the row", fontsize=7.5, **spot)
    axes.set_xticks([0, 1], classes)
    axes.set_yticks([0, 1], [f"{name}\nn = {total:,}" for name, total in zip(classes, totals, strict=True)])
    axes.set(xlabel="predicted", ylabel="label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, name in zip(ticks, classes, strict=True):
            tick.set_color(PALETTE[name])
    return figure


def _curve(table: pd.DataFrame, grid: np.ndarray) -> tuple[np.ndarray, float]:
    heights, areas = [], []
    for _, part in table.groupby("seed") if "seed" in table else [(0, table)]:
        false, true, _ = roc_curve(part["y_true"], part["y_prob"])
        # The curve is a staircase: at each false positive rate it stands at the highest point reached.
        heights.append(true[np.searchsorted(false, grid, side="right") - 1])
        areas.append(auc(false, true))
    return np.mean(heights, axis=0), float(np.mean(areas))


def _band(table: pd.DataFrame, grid: np.ndarray, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = [index.to_numpy() for index in table.reset_index(drop=True).groupby("group").groups.values()]
    curves = []
    for _ in range(resamples):
        picked = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        sample = table.iloc[picked]
        # Every seed scores the same images, so a resample without one label lacks it in all seeds.
        if len(set(sample["y_true"])) == 2:
            curves.append(_curve(sample, grid)[0])
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    return low, high


@styled
def roc(predictions_by_name: Mapping[str, pd.DataFrame], where: str, resamples: int = 200) -> Figure:
    """ROC curve of each named table (y_true, y_prob); with a column `group`, its 95 % band from resampled groups.

    A column `seed` gives one curve per seed, averaged at each false positive rate. The band is pointwise.
    """
    figure = canvas(5.0, 4.3, "Receiver operating characteristic", where)
    axes = figure.subplots()
    grid = np.linspace(0, 1, 401)
    axes.plot([0, 1], [0, 1], **CHANCE, label="chance: area 0.50")
    seen: dict[str, int] = {}
    for name, table in predictions_by_name.items():
        require(table, ["y_true", "y_prob"], f"roc ({name})")
        if table["y_true"].nunique() != 2:
            raise ValueError(
                f"roc ({name}): a curve needs both labels, found {sorted(table['y_true'].unique())}."
            )
        colour = colour_of(name)
        dashes = ("-", "--", "-.", ":")[seen.setdefault(colour, 0) % 4]
        seen[colour] += 1
        true, area = _curve(table, grid)
        if "group" in table and resamples:
            axes.fill_between(grid, *_band(table, grid, resamples), color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            np.insert(grid, 0, 0.0),
            np.insert(true, 0, 0.0),
            dashes,
            color=colour,
            label=f"{NAMES.get(name, name)}: area {area:.2f}",
        )
    axes.set(
        xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal"
    )
    axes.grid(visible=True)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="lower right")
    return figure


@styled
def reliability(frame: pd.DataFrame, where: str) -> Figure:
    """Observed share of osteoporosis against predicted probability, with interval and bin size.

    Columns predicted, observed, low, high (0-1), count; optional name (one line each).
    """
    require(frame, ["predicted", "observed", "low", "high", "count"], "reliability")
    figure = canvas(5.0, 4.9, "Calibration", where)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    axes.plot([0, 1], [0, 1], **CHANCE, label="perfectly calibrated")
    parts = frame.groupby("name", sort=False) if "name" in frame else [("predictions", frame)]
    for name, part in parts:
        part = part.sort_values("predicted")
        colour = colour_of(str(name))
        spread = np.abs(np.vstack([part["observed"] - part["low"], part["high"] - part["observed"]]))
        axes.errorbar(
            part["predicted"],
            part["observed"],
            spread,
            marker="o",
            markersize=5,
            color=colour,
            linewidth=1.4,
            elinewidth=1.2,
            label=NAMES.get(str(name), str(name)),
        )
        below.vlines(part["predicted"], 0, part["count"], color=colour, linewidth=4)
    axes.set(ylabel="observed share with osteoporosis", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(visible=True)
    axes.legend(loc="upper left")
    below.set(xlabel="predicted probability of osteoporosis", ylabel="images")
    below.set_ylim(bottom=0)
    sns.despine(fig=figure)
    return figure
