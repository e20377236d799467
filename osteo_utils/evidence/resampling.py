"""The bootstrap over groups and the ends of its intervals, for any statistic of a table of predictions."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.evidence.measures import draw_groups

# From rows of a table and their weights (resamples, rows; None = one each) to values (resamples or 1, k).
Statistic = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
_CELLS = 2_000_000


def resample(
    frame: pd.DataFrame, statistic: Statistic, n_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute statistics of a checked table, averaged over its seeds: values (k,) and resamples (n_resamples, k)."""
    drawn, column = draw_groups(frame["group"], frame["y_true"].to_numpy(), n_resamples, seed)
    return _over_seeds(frame, statistic, None, column)[0], _over_seeds(frame, statistic, drawn, column)


def _over_seeds(
    frame: pd.DataFrame, statistic: Statistic, counts: np.ndarray | None, column: np.ndarray
) -> np.ndarray:
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
    """For each stratum of groups, the statistics without one group of it at a time, (groups, k).

    A stratum of one group is drawn whole every time, so it adds no spread and is not left out.
    """
    groups, y = frame["group"], frame["y_true"].to_numpy()
    _, column = draw_groups(groups, y, 0, 0)
    kind = np.sign(np.bincount(column, y) / np.bincount(column) - 0.5) * (
        frame.groupby("group", sort=True)["y_true"].nunique().to_numpy() == 1
    )
    left_out = []
    for stratum in (-1, 0, 1):
        members = np.flatnonzero(kind == stratum)
        if len(members) > 1:
            counts = np.ones((len(members), len(kind)), dtype=np.int16)
            counts[np.arange(len(members)), members] = 0
            left_out.append(_over_seeds(frame, statistic, counts, column))
    return left_out


def bca_tails(
    values: np.ndarray, resampled: np.ndarray, tails: np.ndarray, left_out: list[np.ndarray]
) -> np.ndarray:
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
