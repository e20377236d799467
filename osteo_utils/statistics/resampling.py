"""How far a result moves with other knees (the bootstrap over groups) and with another seed.

The seed sets the split, the new layers and the order of the batches, so the spread over seeds contains all three.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.statistics.metrics import TAILS, measure
from osteo_utils.statistics.predictions import check, check_draws, check_groups
from osteo_utils.study.results import Estimate

# From rows of a table and their weights (resamples, rows; None = one each) to values (resamples or 1, k).
Statistic = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
_CELLS = 2_000_000


def draw_groups(groups: np.ndarray, y_true: np.ndarray, n_resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw groups with replacement within each stratum: normal, osteoporosis, conflict.

    groups and y_true (n,). Returns how often each group was drawn, int16 (resamples, n_groups), and the group's column
    for each row (n,): `drawn[:, column]` are the rows' weights. Every stratum keeps its size, so both classes are in
    every resample.
    """
    check_draws(n_resamples)
    column, kinds = strata(groups, y_true)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((n_resamples, column.max() + 1), dtype=np.int16)
    for members in kinds:
        if len(members):
            drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), n_resamples)
    return drawn, column


def strata(groups: np.ndarray, y_true: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The group's column for each row, and the columns of normal groups, of osteoporosis and of conflicts.

    Raises ValueError for a row without a group.
    """
    check_groups(groups)
    column, _ = pd.factorize(np.asarray(groups), sort=True)
    share = np.bincount(column, np.asarray(y_true, float)) / np.bincount(column)
    strata = (share == 0, share == 1, (share > 0) & (share < 1))
    return column, tuple(np.flatnonzero(stratum) for stratum in strata)


def resample(frame: pd.DataFrame, statistic: Statistic, n_resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute statistics of a checked table, averaged over its seeds: values (k,) and resamples (n_resamples, k)."""
    drawn, column = draw_groups(frame["group"], frame["y_true"].to_numpy(), n_resamples, seed)
    return _over_seeds(frame, statistic, None, column)[0], _over_seeds(frame, statistic, drawn, column)


def _over_seeds(frame: pd.DataFrame, statistic: Statistic, counts: np.ndarray | None, column: np.ndarray) -> np.ndarray:
    """Mean over seeds of a statistic for each row of group counts, in portions that fit into memory."""
    rows = [np.asarray(part) for part in frame.groupby("seed").indices.values()]
    if counts is None:
        return np.mean([statistic(part, None) for part in rows], axis=0)
    size = max(1, _CELLS // max(len(part) for part in rows))
    portions = [
        np.mean([statistic(part, counts[start : start + size][:, column[part]]) for part in rows], axis=0)
        for start in range(0, len(counts), size)
    ]
    return np.concatenate(portions)


def jackknife(frame: pd.DataFrame, statistic: Statistic) -> list[np.ndarray]:
    """For each stratum of groups, the statistics with one of its groups left out at a time, (groups, k).

    A stratum of one group is the same in every resample, so it adds no spread and is skipped.
    """
    column, (normal, osteoporosis, conflict) = strata(frame["group"], frame["y_true"])
    left_out = []
    for members in (normal, conflict, osteoporosis):
        if len(members) > 1:
            counts = np.ones((len(members), column.max() + 1), dtype=np.int16)
            counts[np.arange(len(members)), members] = 0
            left_out.append(_over_seeds(frame, statistic, counts, column))
    return left_out


def bca_tails(values: np.ndarray, resampled: np.ndarray, tails: np.ndarray, left_out: list[np.ndarray]) -> np.ndarray:
    """Shift the tails (k, 2) of the percentile interval for bias and skewness (Efron 1987, section 4).

    The acceleration of several samples is that of `scipy.stats.bootstrap`. Where all resamples lie on
    one side of the value, the shift would be infinite and the tails come back as they are.
    """
    below = ((resampled < values).mean(axis=0) + (resampled <= values).mean(axis=0)) / 2
    cubes, squares = np.zeros(len(values)), np.zeros(len(values))
    for part in left_out:
        influence = (len(part) - 1) * (part.mean(axis=0) - part)
        cubes += (influence**3).sum(axis=0) / len(part) ** 3
        squares += (influence**2).sum(axis=0) / len(part) ** 2
    usable = (below > 0) & (below < 1) & (squares > 0)
    bias = stats.norm.ppf(np.where(usable, below, 0.5))[:, None]
    acceleration = (np.where(usable, cubes, 0) / (6 * np.where(usable, squares, 1) ** 1.5))[:, None]
    shifted = bias + stats.norm.ppf(tails)
    return stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))


def by_seed(predictions: pd.DataFrame, metric: str = "auroc") -> pd.Series:
    """A metric of one arm for each seed; index seed, ascending."""
    parts = check(predictions).groupby("seed")
    return pd.Series({s: float(measure(part.y_true, part.y_prob, [metric])[metric][0]) for s, part in parts})


def standard_deviation(values: pd.Series) -> tuple[float, float, float]:
    """Standard deviation (denominator n - 1) of independent values with its 95 % interval, as (value, low, high).

    The interval assumes normal values (chi-square). Raises ValueError for a single value.
    """
    if len(values) < 2:
        raise ValueError("the spread over seeds needs at least two seeds; add one to split_seeds")
    degrees = len(values) - 1
    found = float(np.std(values, ddof=1))
    low, high = found * np.sqrt(degrees / stats.chi2.ppf(TAILS[::-1], degrees))
    return found, float(low), float(high)


def seed_floor(deviation: float, seeds: int, averaged: int = 1) -> float:
    """How far two runs that differ in nothing but the seed lie apart at most, in 19 cases of 20.

    `deviation` is the standard deviation that `seeds` seeds show: few show it badly, so Student's distribution takes the
    place of the normal one. `averaged` is the number of seeds that each run averages.
    """
    return float(stats.t.ppf(0.975, seeds - 1) * np.sqrt(2 / averaged) * deviation)


def spread(predictions: pd.DataFrame) -> Estimate | None:
    """Standard deviation of the AUROC of one arm over its seeds; None where there is only one."""
    values = by_seed(predictions)
    if len(values) < 2:
        return None
    note = f"standard deviation of auroc over {len(values)} seeds; interval from chi-square"
    n_files, n_groups = predictions.image_id.nunique(), predictions.group.nunique()
    return Estimate(*standard_deviation(values), n_files, n_groups, note=note)


def spread_of_difference(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str) -> str:
    """For the note of a difference: how far it moves with the seed, or that this was not measured."""
    gaps = by_seed(pred_a, metric) - by_seed(pred_b, metric)
    if len(gaps) < 2:
        return "one seed, spread over seeds not measured"
    value, low, high = standard_deviation(gaps)
    return f"standard deviation over {len(gaps)} seeds {value:.3g} [{low:.3g}, {high:.3g}]"


def describe_spread(predictions: pd.DataFrame, primary_recipe: str) -> str:
    """Sentences on how far the AUROC under `grouped` on whole films moves with the seed, from a `predictions` table."""
    honest = predictions[(predictions.protocol == "grouped") & (predictions.variant == "full")]
    arms = dict(list(honest.groupby("recipe")))
    primary = arms.pop(primary_recipe)
    if sentence := _describe(primary):
        return sentence
    sentence = (
        f"{primary_recipe} was fitted with one split seed ({primary.seed.iloc[0]}): how far its numbers move with the "
        "seed alone was not measured, and the intervals do not contain it. A small difference between two rows may be "
        "the seed's."
    )
    return " ".join([sentence, *filter(None, map(_describe, arms.values()))])


def _describe(arm: pd.DataFrame) -> str:
    """How far two runs of one arm lie apart; empty where there is only one seed."""
    found = spread(arm)
    if found is None:
        return ""
    return (
        f"Over {arm.seed.nunique()} split seeds the AUROC of {arm.recipe.iloc[0]} under grouped has a standard deviation "
        f"of {found}: two runs that differ in nothing but the seed lie up to {seed_floor(found.value, arm.seed.nunique()):.3f} apart "
        "in 19 cases of 20. A smaller difference says nothing."
    )
