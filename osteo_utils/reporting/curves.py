"""Figures of models: accuracy by epoch, confusion matrix, and curves with their bands."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from osteo_utils.reporting.style import (
    CHANCE,
    NAMES,
    PALETTE,
    band,
    canvas,
    colour_of,
    legend_above,
    paper_line,
    require,
    styled,
)
from osteo_utils.statistics import curves
from osteo_utils.statistics.evaluation import summarise


@styled
def training_curves(history: pd.DataFrame, where: str, paper: float | None = None, model: str | None = None) -> Figure:
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
        axes.text(predicted, truth - 0.06, f"{counts[truth, predicted]:,}", fontsize=17, fontweight="bold", **spot)
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


def _dashes(names: Mapping[str, object]) -> dict[str, str]:
    """A kind of line for each name, so that two of one colour can be told apart."""
    seen: dict[str, int] = {}
    found = {}
    for name in names:
        colour = colour_of(name)
        found[name] = ("-", "--", "-.", ":")[seen.get(colour, 0) % 4]
        seen[colour] = seen.get(colour, 0) + 1
    return found


def _with_area(name: str, table: pd.DataFrame, metric: str, resamples: int, seed: int) -> str:
    area = summarise(table, [metric], resamples, seed)[metric]
    return f"{NAMES.get(name, name)}: area {area.value:.2f} ({area.low:.2f}–{area.high:.2f})"


def _both_labels(table: pd.DataFrame, name: str, drawing: str) -> None:
    require(table, ["y_true", "y_prob"], f"{drawing} ({name})")
    if table["y_true"].nunique() != 2:
        raise ValueError(f"{drawing} ({name}): a curve needs both labels, found {sorted(table['y_true'].unique())}.")


@styled
def roc(predictions_by_name: Mapping[str, pd.DataFrame], where: str, resamples: int = 2000, seed: int = 0) -> Figure:
    """ROC curve and area of each named table of predictions, with 95 % band and interval from resampled groups.

    Several seeds give one curve each, averaged at each false positive rate. The band is pointwise. The interval is that
    of `evaluation.summarise` with the same `resamples` and `seed`.
    """
    figure = canvas(5.0, 4.3, "Receiver operating characteristic", where)
    axes = figure.subplots()
    dashes = _dashes(predictions_by_name)
    for name, table in predictions_by_name.items():
        _both_labels(table, name, "roc")
        traced = curves.roc(table, resamples, seed, points=401)
        start = pd.DataFrame({"fpr": [0.0], "tpr": [0.0], "low": [0.0], "high": [0.0]})
        label = _with_area(name, table, "auroc", resamples, seed)
        band(axes, pd.concat([start, traced]), "fpr", "tpr", colour_of(name), label, dashes[name])
    axes.plot([0, 1], [0, 1], **CHANCE, label="chance: area 0.50")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(visible=True)
    axes.legend(loc="lower right")
    return figure


@styled
def precision_recall(
    predictions_by_name: Mapping[str, pd.DataFrame], where: str, resamples: int = 2000, seed: int = 0
) -> Figure:
    """Precision by recall and average precision of each named table of predictions, with 95 % band and interval.

    The dotted line is the share of osteoporosis in the first table: the precision of calling everybody.
    """
    figure = canvas(5.0, 4.3, "Precision and recall", where)
    axes = figure.subplots()
    dashes = _dashes(predictions_by_name)
    for name, table in predictions_by_name.items():
        _both_labels(table, name, "precision_recall")
        traced = curves.precision_recall(table, resamples, seed, points=201)
        label = _with_area(name, table, "auprc", resamples, seed)
        band(axes, traced, "recall", "precision", colour_of(name), label, dashes[name])
    share = next(iter(predictions_by_name.values()))["y_true"].mean()
    axes.axhline(share, **CHANCE, label=f"calling everybody: {share:.2f}")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    axes.grid(visible=True)
    axes.legend(loc="lower left")
    return figure


@styled
def decision(tables_by_name: Mapping[str, pd.DataFrame], where: str) -> Figure:
    """Net benefit by threshold probability of each table of `curves.decision`, beside calling all and none."""
    figure = canvas(5.6, 3.6, "Is acting on it better than treating all alike?", where)
    axes = figure.subplots()
    dashes = _dashes(tables_by_name)
    for name, table in tables_by_name.items():
        require(table, ["threshold", "net_benefit", "low", "high", "call_all"], f"decision ({name})")
        band(axes, table, "threshold", "net_benefit", colour_of(name), NAMES.get(name, name), dashes[name])
    first = next(iter(tables_by_name.values()))
    axes.plot(first["threshold"], first["call_all"], color=PALETTE["neutral"], linewidth=1.1, label="call everybody")
    axes.axhline(0, **CHANCE, label="call nobody")
    highest = max(float(table["high"].max()) for table in tables_by_name.values())
    axes.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.2 * highest, 1.1 * highest))
    axes.grid(visible=True)
    axes.legend(loc="upper right")
    return figure


@styled
def abstention(tables_by_name: Mapping[str, pd.DataFrame], where: str) -> Figure:
    """Accuracy by the share of films decided, of each table of `subgroups.most_certain` (several rows) or one point.

    Columns coverage, accuracy, low, high; a table of one row is drawn as a dot with its interval.
    """
    figure = canvas(5.6, 3.6, "Accuracy on the films that are decided", where)
    axes = figure.subplots()
    curved = {name: table for name, table in tables_by_name.items() if len(table) > 1}
    dashes = _dashes(curved)
    for name, table in tables_by_name.items():
        require(table, ["coverage", "accuracy", "low", "high"], f"abstention ({name})")
        label, colour = NAMES.get(name, name), colour_of(name)
        if name in curved:
            band(axes, table, "coverage", "accuracy", colour, label, dashes[name])
        else:
            at = table.iloc[0]
            ends = [[at["accuracy"] - at["low"]], [at["high"] - at["accuracy"]]]
            axes.errorbar(
                at["coverage"],
                at["accuracy"],
                ends,
                marker="o",
                color="#1A1A1A",
                elinewidth=1.4,
                linestyle="",
                label=label,
            )
    axes.set(xlabel="share of films decided; the rest is left to a human", ylabel="accuracy", xlim=(0, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(visible=True)
    axes.legend(loc="lower left")
    return figure


@styled
def reliability(frame: pd.DataFrame, where: str, smooth: pd.DataFrame | None = None) -> Figure:
    """Observed share of osteoporosis against predicted probability, with interval and bin size.

    Columns predicted, observed, low, high (0-1), count; optional name (one line each). `smooth` has name,
    predicted, observed, low, high of `curves.reliability`: lines with bands, and the bins become mere dots.
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
            linewidth=1.4 if smooth is None else 0,
            elinewidth=1.2,
            label=NAMES.get(str(name), str(name)),
        )
        below.vlines(part["predicted"], 0, part["count"], color=colour, linewidth=4)
    for name, part in () if smooth is None else smooth.groupby("name", sort=False):
        band(axes, part, "predicted", "observed", colour_of(str(name)))
    axes.set(ylabel="observed share with osteoporosis", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(visible=True)
    axes.legend(loc="upper left")
    below.set(xlabel="predicted probability of osteoporosis", ylabel="images")
    below.set_ylim(bottom=0)
    sns.despine(fig=figure)
    return figure
