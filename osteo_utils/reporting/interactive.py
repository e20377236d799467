"""What a reader can move: in the report the threshold of each model, a prevalence and the lab's mistakes; in a notebook
what its cell names.

All numbers of the report are computed here, from saved predictions and metrics; the page looks them up, and multiplies
the odds of the predictive values by those of the prevalence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import display

from osteo_utils.papers import claims
from osteo_utils.plots.style import NAMES
from osteo_utils.protocols.definitions import TERMS, Protocol
from osteo_utils.reporting.tables import MODELS, Metrics
from osteo_utils.statistics.evaluation import check_spread
from osteo_utils.statistics.metrics import TAILS, Undefined
from osteo_utils.statistics.predictions import check, check_both_classes
from osteo_utils.statistics.resampling import resample
from osteo_utils.study import order
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import read_table

THRESHOLDS = np.arange(101) / 100
SHARES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
COUNTS = ("tp", "fn", "fp", "tn")


def at_thresholds(predictions: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Counts and shares of one arm at each of THRESHOLDS, with 95 % intervals from a bootstrap over groups.

    Columns threshold, tp, fn, fp, tn, and x, x_low, x_high for each x of SHARES. A film is called osteoporosis from the
    threshold on. With several seeds, counts, sensitivity and specificity are means over seeds. ppv and npv are those at
    a prevalence of one half. By Bayes' rule any other prevalence multiplies their odds, which carries the ends of the
    intervals along; the page does that. At 0.5 and for accuracy, sensitivity and specificity the numbers are those of `evaluation.summarise` with the same `seed`.
    """
    frame = check(predictions)
    check_both_classes(frame, "a threshold")
    check_spread(frame, "the interval at a threshold")
    y, p = frame["y_true"].to_numpy(float), frame["y_prob"].to_numpy(float)
    called = (p[:, None] >= THRESHOLDS).astype(float)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        w = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        positive, negative = w * y[rows], w * (1 - y[rows])
        tp, fp = positive @ called[rows], negative @ called[rows]
        n, m = positive.sum(axis=1, keepdims=True), negative.sum(axis=1, keepdims=True)
        shares = (tp + m - fp) / (n + m), tp / n, 1 - fp / m
        return np.concatenate([tp, n - tp, fp, m - fp, *shares], axis=1)

    values, resampled = resample(frame, statistic, n_resamples, seed)
    parts, drawn = np.split(values, 7), np.split(resampled, 7, axis=1)
    parts += [_even_odds(*parts[5:7]), _even_odds(*parts[6:4:-1])]
    drawn += [_even_odds(*drawn[5:7]), _even_odds(*drawn[6:4:-1])]
    found = {"threshold": THRESHOLDS} | dict(zip(COUNTS, parts[:4], strict=True))
    for name, value, each in zip(SHARES, parts[4:], drawn[4:], strict=True):
        low, high = np.quantile(each, TAILS, axis=0)
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(found)


def _even_odds(hits: np.ndarray, passes: np.ndarray) -> np.ndarray:
    """The predictive value where both classes are as frequent: hits / (hits + false alarms); 0 where nobody is called."""
    alarms = 1 - passes
    return np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits + alarms > 1e-12)


def thresholds(paths: StudyPaths, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """By model, rows of `at_thresholds` under `grouped` on whole films, rounded; models without predictions are absent.

    `parameters` are those of notebooks 04 to 06: primary_recipe, bootstrap_resamples, seed.
    """
    found = {}
    for model in MODELS:
        path = paths.predictions / f"{model}.csv"
        if not path.is_file():
            continue
        table = read_table(path, "predictions")
        recipe = "average" if model == "ensemble" else parameters["primary_recipe"]
        arm = table[(table.protocol == "grouped") & (table.recipe == recipe) & (table.variant == "full")]
        if arm.y_true.nunique() < 2:
            continue
        try:
            rows = at_thresholds(arm, parameters["bootstrap_resamples"], parameters["seed"])
        except Undefined:
            # Too few knees for an interval: the tables say so, and there is nothing to move.
            continue
        found[model] = {
            "name": NAMES[model],
            "files": int(arm.image_id.nunique()),
            "groups": int(arm.group.nunique()),
            "seeds": int(arm.seed.nunique()),
            # A prevalence multiplies odds, so three decimals of the result need more of these.
            **{name: [round(float(value), 8) for value in rows[name]] for name in rows if name != "threshold"},
        }
    return found


def lab(metrics: Metrics) -> dict[str, Any]:
    """The lab's accuracies by the mistakes made, and whether labels are shuffled, with the words for each mistake.

    `runs` has as key the mistakes in order, joined by a plus, and "shuffled" where labels are; the honest split is "".
    """
    runs, terms = {}, {}
    for name, estimate in metrics.items():
        subject, _, score = name.partition("/")
        protocol, _, score = score.partition("/")
        if subject == "leakage" and score == "accuracy" and estimate.low is not None:
            made = [term for term in Protocol(protocol).terms if term != "grouped"]
            terms |= {term: TERMS[term] for term in made if term != "shuffled"}
            numbers = (estimate.value, estimate.low, estimate.high)
            runs["+".join(sorted(made))] = [round(number, 4) for number in numbers]
    ordered = [name for name in TERMS if name in terms]
    paper = next(claim["paper"] for claim in claims.load()["claims"] if claim["id"] == "C4")
    named = [[name, NAMES[name], terms[name].replace("none:", "no mistake,")] for name in ordered]
    return {"runs": runs, "terms": named, "paper": paper} if "" in runs else {}


def at(rows: pd.DataFrame, threshold: float, prevalence: float) -> pd.DataFrame:
    """One threshold of `at_thresholds`: value, low and high of each of SHARES, predictive values at that prevalence.

    `threshold` is one of THRESHOLDS, `prevalence` lies between 0 and 1. Raises ValueError for another value.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence {prevalence}: expected a share between 0 and 1, such as 0.05")
    row = rows[np.isclose(rows["threshold"], threshold)]
    if row.empty:
        raise ValueError(f"threshold {threshold}: expected a hundredth between 0 and 1, such as 0.35")
    odds = {"ppv": prevalence / (1 - prevalence), "npv": (1 - prevalence) / prevalence}
    found = {}
    for share in SHARES:
        ends = row[[share, f"{share}_low", f"{share}_high"]].to_numpy(float)[0]
        # At even odds a predictive value is one part in two; another prevalence weighs its first part by the odds.
        weight = odds.get(share, 1.0)
        found[share] = ends * weight / (ends * weight + 1 - ends)
    return pd.DataFrame(found, index=["value", "low", "high"]).T.rename_axis("at this threshold")


def choose(show: Callable[..., Any], slow: bool = False, **choices: Sequence[Any]) -> None:
    """Display `show(**values)` with a control for each of `choices`; where nobody can turn one, for their first values.

    Controls are shown where a server has opened the notebook for a person, as JupyterLab does. A headless run and a
    test show the first value of each, so that their results do not depend on a browser. `slow`: only at the press of a
    button.
    """
    if order.READ_BY_A_PERSON in os.environ:
        # Headless runs have no use for it.
        import ipywidgets

        controls = {
            name: ipywidgets.SelectionSlider(options=sorted(values), value=values[0], continuous_update=False)
            if isinstance(values[0], float)
            else ipywidgets.Dropdown(options=values)
            for name, values in choices.items()
        }
        (ipywidgets.interact_manual if slow else ipywidgets.interact)(show, **controls)
        return
    first = {name: values[0] for name, values in choices.items()}
    print(", ".join(f"{name}: {value}" for name, value in first.items()) + " (in JupyterLab these can be chosen)")
    display(show(**first))
