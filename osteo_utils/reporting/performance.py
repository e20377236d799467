"""Figures of what the models do, drawn from saved predictions, histories and metrics."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from osteo_utils.reporting.style import (
    NAMES,
    PALETTE,
    canvas,
    legend_above,
    paper_line,
    require,
    styled,
)


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
