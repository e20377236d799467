"""Figures of models: accuracy by epoch, confusion matrix, and curves with their bands."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from osteo_utils.plots import style
from osteo_utils.statistics import curves
from osteo_utils.statistics.evaluation import summarise


@style.styled
def training_curves(history: pd.DataFrame, where: str, paper: float | None = None, model: str | None = None) -> Figure:
    """Training and validation accuracy by epoch (the paper's Fig. 3): mean line, thin line per seed and fold.

    `history` has the columns of `history/<model>.csv` and holds one protocol, recipe and variant (ValueError
    otherwise); `paper` draws the paper's accuracy; `model` gives the validation line its colour.
    """
    style.require(history, ["fold", "epoch", "accuracy", "val_accuracy"], "training_curves")
    for column in ("protocol", "recipe", "variant"):
        if column in history and len(found := sorted(set(history[column]))) > 1:
            raise ValueError(f"training_curves: the history mixes {column} {', '.join(found)}; select one of them.")
    figure, axes = style.single_axes(
        6.2, 3.1, "Accuracy by epoch" + (f": {style.label_of(model)}" if model else ""), where
    )
    by_epoch(axes, history, "accuracy", style.PALETTE.get(model or "", "#202020"))
    if paper is not None:
        style.paper_line(axes, paper, horizontal=True)
    shown = history[["accuracy", "val_accuracy"]].min().min()
    axes.set(xlabel="epoch", ylabel="accuracy", ylim=(max(0.0, min(shown, paper or 1) - 0.05), 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, axis="y")
    axes.plot([], [], color="#8C8C8C", linewidth=0.6, label="thin: one fold each")
    style.legend_above(axes)
    return figure


def by_epoch(axes: Axes, history: pd.DataFrame, measure: str, colour: str, width: float = 2.2) -> None:
    """`accuracy` or `loss` by epoch, in training (grey) and validation: mean line, thin line per seed and fold."""
    runs = [name for name in ("seed", "fold") if name in history]
    lines = (measure, "training", "#8C8C8C", "--"), (f"val_{measure}", "validation", colour, "-")
    for column, label, hue, dashes in lines:
        for _, fit in history.sort_values("epoch").groupby(runs):
            axes.plot(fit["epoch"], fit[column], dashes, color=hue, linewidth=0.6, alpha=0.45)
        mean = history.groupby("epoch")[column].mean()
        axes.plot(mean.index, mean, dashes, color=hue, linewidth=width, label=f"{label}, mean")


@style.styled
def confusion(matrix: np.ndarray, where: str, title: str = "Confusion matrix") -> Figure:
    """Counts of truth (rows) against prediction (columns), 2 by 2, shaded by the share of the row."""
    figure, axes = style.single_axes(4.3, 3.3, title, where)
    counts_by_class(axes, matrix)
    return figure


def counts_by_class(axes: Axes, matrix: np.ndarray, points: float = 17) -> None:
    """Draw what `confusion` shows; `points` is the size of the counts. Raises ValueError for another shape."""
    counts = np.asarray(matrix)
    if counts.shape != (2, 2):
        raise ValueError(f"confusion: expected a 2 by 2 matrix of counts, found shape {counts.shape}.")
    classes = ["normal", "osteoporosis"]
    totals = counts.sum(axis=1)
    share = counts / np.maximum(totals, 1)[:, None]
    axes.imshow(share, cmap="Greys", vmin=0, vmax=1.25)
    for truth, predicted in np.ndindex(2, 2):
        ink = "white" if share[truth, predicted] > 0.62 else "#101010"
        spot = {"ha": "center", "va": "center", "color": ink}
        axes.text(predicted, truth - 0.06, f"{counts[truth, predicted]:,}", fontsize=points, fontweight="bold", **spot)
        small = max(style.SMALLEST, points * 7.5 / 17)
        axes.text(predicted, truth + 0.2, f"{share[truth, predicted]:.1%} of the row", fontsize=small, **spot)
    axes.set_xticks([0, 1], classes)
    axes.set_yticks([0, 1], [f"{name}\nn = {total:,}" for name, total in zip(classes, totals, strict=True)])
    axes.set(xlabel="predicted", ylabel="label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, name in zip(ticks, classes, strict=True):
            tick.set_color(style.PALETTE[name])


def _dashes(names: Iterable[str]) -> dict[str, str]:
    """A line style for each name that tells names of one colour apart."""
    styles: dict[str, Iterator[str]] = defaultdict(lambda: itertools.cycle(("-", "--", "-.", ":")))
    return {name: next(styles[style.colour_of(name)]) for name in names}


def _traced(
    axes: Axes, predictions_by_name: Mapping[str, pd.DataFrame], metric: str, points: int, resamples: int, seed: int
) -> None:
    """The curve of each table of predictions with its band, and the area below it with its interval as label."""
    dashes = _dashes(predictions_by_name)
    for name, table in predictions_by_name.items():
        style.require(table, ["y_true", "y_prob"], name)
        if table["y_true"].nunique() != 2:
            raise ValueError(f"{name}: a curve needs both labels, found {sorted(table['y_true'].unique())}.")
        traced = (curves.roc if metric == "auroc" else curves.precision_recall)(table, resamples, seed, points=points)
        across, up = traced.columns[:2]
        if metric == "auroc":
            origin = pd.DataFrame(0.0, index=[0], columns=traced.columns)
            traced = pd.concat([origin, traced])
        area = summarise(table, [metric], resamples, seed)[metric]
        label = f"{style.label_of(name)}: area {area.value:.2f} ({area.low:.2f}–{area.high:.2f})"
        style.band(axes, traced, across, up, style.colour_of(name), label, dashes[name])
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(visible=True)


@style.styled
def roc(predictions_by_name: Mapping[str, pd.DataFrame], where: str, resamples: int = 2000, seed: int = 0) -> Figure:
    """ROC curve and area of each named table of predictions, with 95 % band and interval from resampled groups.

    Several seeds give one curve each, averaged at each false positive rate. The band is pointwise. The interval is that
    of `evaluation.summarise` with the same `resamples` and `seed`.
    """
    figure, axes = style.single_axes(5.0, 4.3, "Receiver operating characteristic", where)
    _traced(axes, predictions_by_name, "auroc", 401, resamples, seed)
    axes.plot([0, 1], [0, 1], **style.CHANCE, label="chance: area 0.50")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity")
    axes.legend(loc="lower right")
    return figure


@style.styled
def precision_recall(
    predictions_by_name: Mapping[str, pd.DataFrame], where: str, resamples: int = 2000, seed: int = 0
) -> Figure:
    """Precision by recall and average precision of each named table of predictions, with 95 % band and interval.

    The dotted line is the share of osteoporosis in the first table: the precision of calling everybody.
    """
    figure, axes = style.single_axes(5.0, 4.3, "Precision and recall", where)
    _traced(axes, predictions_by_name, "auprc", 201, resamples, seed)
    share = next(iter(predictions_by_name.values()))["y_true"].mean()
    axes.axhline(share, **style.CHANCE, label=f"calling everybody: {share:.2f}")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision")
    axes.legend(loc="lower left")
    return figure


@style.styled
def decision(tables_by_name: Mapping[str, pd.DataFrame], where: str) -> Figure:
    """Net benefit by threshold probability of each table of `curves.decision`, beside calling all and none."""
    figure, axes = style.single_axes(5.6, 3.6, "Is acting on it better than treating all alike?", where)
    dashes = _dashes(tables_by_name)
    for name, table in tables_by_name.items():
        style.require(table, ["threshold", "net_benefit", "low", "high", "call_all"], f"decision ({name})")
        style.band(axes, table, "threshold", "net_benefit", style.colour_of(name), style.label_of(name), dashes[name])
    first = next(iter(tables_by_name.values()))
    axes.plot(
        first["threshold"], first["call_all"], color=style.PALETTE["neutral"], linewidth=1.1, label="call everybody"
    )
    axes.axhline(0, **style.CHANCE, label="call nobody")
    highest = max(float(table["high"].max()) for table in tables_by_name.values())
    axes.set(xlabel="threshold probability", xlim=(0, 1), ylabel="net benefit", ylim=(-0.2 * highest, 1.1 * highest))
    axes.grid(visible=True)
    axes.legend(loc="upper right")
    return figure


@style.styled
def abstention(tables_by_name: Mapping[str, pd.DataFrame], where: str) -> Figure:
    """Accuracy by the share of films decided, of each table of `subgroups.most_certain` (several rows) or one point.

    Columns coverage, accuracy, low, high; a table of one row is drawn as a dot with its interval.
    """
    figure, axes = style.single_axes(5.6, 3.6, "Accuracy on the films that are decided", where)
    dashes = _dashes(name for name, table in tables_by_name.items() if len(table) > 1)
    for name, table in tables_by_name.items():
        style.require(table, ["coverage", "accuracy", "low", "high"], f"abstention ({name})")
        label, colour = style.label_of(name), style.colour_of(name)
        if name in dashes:
            style.band(axes, table, "coverage", "accuracy", colour, label, dashes[name])
        else:
            at = table.iloc[0]
            ends = [[at["accuracy"] - at["low"]], [at["high"] - at["accuracy"]]]
            dot = {"marker": "o", "color": "#1A1A1A", "elinewidth": 1.4, "linestyle": "", "label": label}
            axes.errorbar(at["coverage"], at["accuracy"], ends, **dot)
    axes.set(xlabel="share of films decided; the rest is left to a human", ylabel="accuracy", xlim=(0, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(visible=True)
    axes.legend(loc="lower left")
    return figure


@style.styled
def reliability(frame: pd.DataFrame, where: str, smooth: pd.DataFrame | None = None) -> Figure:
    """Observed share of osteoporosis against predicted probability, with interval and bin size.

    Columns predicted, observed, low, high (0-1), count; optional name (one line each). `smooth` has name,
    predicted, observed, low, high of `curves.reliability`: lines with bands, and the bins become mere dots.
    """
    style.require(frame, ["predicted", "observed", "low", "high", "count"], "reliability")
    figure = style.canvas(5.0, 4.9, "Calibration", where)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    axes.plot([0, 1], [0, 1], **style.CHANCE, label="perfectly calibrated")
    parts = frame.groupby("name", sort=False) if "name" in frame else [("predictions", frame)]
    for name, part in parts:
        part = part.sort_values("predicted")
        colour = style.colour_of(str(name))
        spread = np.abs(np.vstack([part["observed"] - part["low"], part["high"] - part["observed"]]))
        marks = {"marker": "o", "markersize": 5, "color": colour, "elinewidth": 1.2, "label": style.label_of(str(name))}
        width = 1.4 if smooth is None else 0
        bars = axes.errorbar(part["predicted"], part["observed"], spread, linewidth=width, **marks)
        told = part[["observed", "low", "high"]].itertuples(index=False)
        style.say(bars[0], *(f"observed {style.interval_words(*row)}" for row in told))
        below.vlines(part["predicted"], 0, part["count"], color=colour, linewidth=4)
    for name, part in () if smooth is None else smooth.groupby("name", sort=False):
        style.band(axes, part, "predicted", "observed", style.colour_of(str(name)))
    axes.set(ylabel="observed share with osteoporosis", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(visible=True)
    axes.legend(loc="upper left")
    below.set(xlabel="predicted probability of osteoporosis", ylabel="images")
    below.set_ylim(bottom=0)
    sns.despine(fig=figure)
    return figure
