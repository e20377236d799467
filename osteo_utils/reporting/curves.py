"""Curves with their bands: ROC, precision and recall, calibration, decisions, and what abstaining brings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from osteo_utils.evidence import curves
from osteo_utils.evidence.evaluation import summarise
from osteo_utils.reporting.style import NAMES, PALETTE, canvas, colour_of, require, styled

CHANCE = {"color": "#A0A0A0", "linewidth": 0.9, "linestyle": (0, (1, 1.5))}


def _band(
    axes: Axes, table: pd.DataFrame, across: str, up: str, colour: str, label: str = "", dashes: str = "-"
) -> None:
    """A line through a table of `evidence.curves`, and its 95 % band where that has any width."""
    if (table["high"] > table["low"]).any():
        axes.fill_between(table[across], table["low"], table["high"], color=colour, alpha=0.15, linewidth=0)
    axes.plot(table[across], table[up], dashes, color=colour, label=label or None)


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
        raise ValueError(
            f"{drawing} ({name}): a curve needs both labels, found {sorted(table['y_true'].unique())}."
        )


@styled
def roc(
    predictions_by_name: Mapping[str, pd.DataFrame], where: str, resamples: int = 2000, seed: int = 0
) -> Figure:
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
        _band(axes, pd.concat([start, traced]), "fpr", "tpr", colour_of(name), label, dashes[name])
    axes.plot([0, 1], [0, 1], **CHANCE, label="chance: area 0.50")
    axes.set(
        xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal"
    )
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
        _band(axes, traced, "recall", "precision", colour_of(name), label, dashes[name])
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
        _band(axes, table, "threshold", "net_benefit", colour_of(name), NAMES.get(name, name), dashes[name])
    first = next(iter(tables_by_name.values()))
    axes.plot(
        first["threshold"], first["call_all"], color=PALETTE["neutral"], linewidth=1.1, label="call everybody"
    )
    axes.axhline(0, **CHANCE, label="call nobody")
    highest = max(float(table["high"].max()) for table in tables_by_name.values())
    axes.set(
        xlabel="threshold probability",
        ylabel="net benefit",
        xlim=(0, 1),
        ylim=(-0.2 * highest, 1.1 * highest),
    )
    axes.grid(visible=True)
    axes.legend(loc="upper right")
    return figure


@styled
def abstention(tables_by_name: Mapping[str, pd.DataFrame], where: str) -> Figure:
    """Accuracy by the share of films decided, of each table of `abstention.most_certain` (several rows) or one point.

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
            _band(axes, table, "coverage", "accuracy", colour, label, dashes[name])
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
        _band(axes, part, "predicted", "observed", colour_of(str(name)))
    axes.set(ylabel="observed share with osteoporosis", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(visible=True)
    axes.legend(loc="upper left")
    below.set(xlabel="predicted probability of osteoporosis", ylabel="images")
    below.set_ylim(bottom=0)
    sns.despine(fig=figure)
    return figure


@styled
def perturbations(table: pd.DataFrame, where: str, model: str) -> Figure:
    """AUROC and the share of calls that change, by kind of perturbation and its strength, with 95 % bands.

    `table` as `robustness.judge` gives it, with a column unit; the unchanged films are the first point of every panel.
    """
    require(table, ["kind", "strength", "unit", "value", "low", "high", "flipped"], "perturbations")
    start = table[table.strength == 0]
    parts = list(table[table.strength > 0].groupby("kind", sort=False))
    figure = canvas(1.45 * len(parts) + 0.6, 3.9, f"{NAMES.get(model, model)} on perturbed films", where)
    grid = figure.subplots(2, len(parts), sharex="col", sharey="row", squeeze=False)
    for column, (kind, part) in enumerate(parts):
        drawn = pd.concat([start, part]).assign(place=range(len(part) + 1))
        score, calls = grid[:, column]
        _band(score, drawn, "place", "value", colour_of(model), dashes="o-")
        score.axhline(float(start["value"].iloc[0]), **CHANCE)
        ends = {"flipped_low": "low", "flipped_high": "high"}
        flips = drawn.drop(columns=list(ends.values())).rename(columns=ends)
        _band(calls, flips, "place", "flipped", PALETTE["neutral"], dashes="o-")
        score.set_title(str(kind), fontsize=9)
        calls.set(xlabel=str(part["unit"].iloc[0]), ylim=(0, 1))
        calls.set_xticks(drawn["place"], ["none", *(f"{s:g}" for s in part["strength"])])
        calls.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in (score, calls):
            axes.grid(visible=True, axis="y")
    grid[0, 0].set(ylabel="AUROC", ylim=(min(0.45, float(table["low"].min())), 1.0))
    grid[1, 0].set(ylabel="calls that change")
    return figure
