"""How far a result moves with the seed alone: the floor below which a difference says nothing.

A seed decides the split, the fresh layers and the order of the batches, so its spread holds all three.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.evidence.measures import measure
from osteo_utils.study.results import Estimate


def by_seed(predictions: pd.DataFrame, metric: str = "auroc") -> pd.Series:
    """A metric of one study arm for each seed; index seed, in ascending order."""
    return pd.Series(
        {
            seed: float(measure(part.y_true, part.y_prob, [metric])[metric][0])
            for seed, part in predictions.groupby("seed")
        }
    )


def standard_deviation(values: pd.Series, level: float = 0.95) -> tuple[float, float, float]:
    """Standard deviation of independent values with its interval, as (value, low, high).

    Denominator n - 1; the interval is that of normal values, from the chi-square distribution. Raises ValueError
    for a single value, which has no spread.
    """
    if len(values) < 2:
        raise ValueError("the spread over seeds needs two seeds at least; give split_seeds another one")
    degrees = len(values) - 1
    found = float(np.std(values, ddof=1))
    tails = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], degrees)
    low, high = found * np.sqrt(degrees / tails)
    return found, float(low), float(high)


def spread(predictions: pd.DataFrame, metric: str = "auroc") -> Estimate | None:
    """Standard deviation of a metric over the seeds of one study arm; None where there is one seed alone."""
    values = by_seed(predictions, metric)
    if len(values) < 2:
        return None
    note = f"standard deviation of {metric} over {len(values)} seeds; interval from chi-square"
    n_files, n_groups = predictions.image_id.nunique(), predictions.group.nunique()
    return Estimate(*standard_deviation(values), n_files, n_groups, note=note)


def beside_difference(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str) -> str:
    """What stands beside a difference of two arms: how far it moves with the seed, or that this was not measured."""
    gaps = by_seed(pred_a, metric) - by_seed(pred_b, metric)
    if len(gaps) < 2:
        return "one seed, spread over seeds not measured"
    value, low, high = standard_deviation(gaps)
    return f"standard deviation over {len(gaps)} seeds {value:.3g} [{low:.3g}, {high:.3g}]"


def in_words(predictions: pd.DataFrame, primary_recipe: str) -> str:
    """For the reader of a model notebook: what the seeds of a `predictions` table say, under `grouped` on whole films."""
    honest = predictions[(predictions.protocol == "grouped") & (predictions.variant == "full")]
    arms = dict(list(honest.groupby("recipe")))
    primary = arms.pop(primary_recipe)
    if said := _moves(primary):
        return said
    said = (
        f"{primary_recipe} was fitted with one split seed ({primary.seed.iloc[0]}): how far its numbers move with the "
        "seed alone was not measured, and the intervals do not contain it. A small difference between two rows may be "
        "the seed's."
    )
    return " ".join([said, *filter(None, map(_moves, arms.values()))])


def _moves(arm: pd.DataFrame) -> str:
    """How far two runs of one arm lie apart; empty where there is one seed alone."""
    found = spread(arm)
    if found is None:
        return ""
    # Two independent runs differ by more than 1.96 √2 standard deviations in one case of twenty.
    return (
        f"Over {arm.seed.nunique()} split seeds the AUROC of {arm.recipe.iloc[0]} under grouped has a standard deviation "
        f"of {found}: two runs that differ in nothing but the seed lie up to {1.96 * np.sqrt(2) * found.value:.3f} apart "
        "in 19 cases of 20. A smaller difference says nothing."
    )
