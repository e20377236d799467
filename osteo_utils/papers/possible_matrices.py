"""Which confusion matrices of two classes print as a report, and how far a printed share reaches.

`more_classes` does the same for three and more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from osteo_utils.papers.report_table import PrintedReport

LISTED = 20
Limits = Mapping[tuple[int | str, int], tuple[float, float]]
# Float errors of a share stay below this, and different shares of up to a million films with four decimals above it.
NOISE = 1e-12
_MOST_ROWS, _PORTION = 1_000_000, 100_000


class TooManyError(ValueError):
    """There are more candidates than can be searched, so nothing can be said about the report."""


@dataclass(frozen=True)
class Possible:
    """The confusion matrices that print as a report.

    `count` is how many there are, or where `exact` is False, how many pairs of diagonal and column totals, each of at
    least one matrix. `low` and `high` (k, k) are the range of each cell, rows truth; `right` is the fewest and the most
    right answers. `matrices` lists all where they are at most `LISTED`. `reading` says how the numbers had to be read
    where the plain way, to the nearest, gives none.
    """

    count: int
    exact: bool = True
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    right: tuple[int, int] = (0, 0)
    matrices: tuple[np.ndarray, ...] = ()
    reading: str = ""


def limits(
    report: PrintedReport, truncated: bool = False, decimals: Mapping[tuple[int | str, int], int] | None = None
) -> Limits:
    """The range of each share that prints as in the report, by place as in `PrintedReport.shares`.

    To the nearest, a value exactly between two printed ones counts for both, so every rule for halves is covered.
    `decimals` are those of single places, by default the report's. An accuracy beside the table, at ("accuracy", 1) and
    so on, is rounded or cut off by itself.
    """
    found = {}
    for place, value in report.shares().items():
        digits = min((decimals or {}).get(place, report.digits), 12)
        step = 10.0**-digits
        found[place] = (value - step / 2 - NOISE, value + step / 2 + NOISE)
        if truncated:
            found[place] = (value - NOISE, value + step - NOISE)
    for at, (value, digits) in enumerate(report.said, 1):
        step = 10.0 ** -min(digits, 12)
        found["accuracy", at] = (value - step / 2 - NOISE, value + max(step - NOISE, step / 2 + NOISE))
    return found


def readings(report: PrintedReport) -> Iterator[tuple[str, Limits]]:
    """Every way to read the numbers, in words and as the ranges that it leaves; the plain way first, in no words."""
    cut = "the numbers are cut off after the last decimal instead of rounded"
    by_hand = "F1 or averages were computed from the rounded numbers beside them"
    ways = list(_decimals(report))
    seen = []
    for hand in (False, True):
        for truncated in (False, True):
            for words, decimals, padded in ways:
                # Numbers that another step rounded are not cut off, and cut ones have fewer than ten decimals.
                if truncated and (padded or report.digits > 10):
                    continue
                within = limits(report, truncated, decimals)
                if hand:
                    derived = _computed_from_rounded(report, within)
                    within = {place: limit for place, limit in within.items() if place not in derived}
                if within not in seen or any(np.isnan(low) for low, _ in within.values()):
                    seen.append(within)
                    said = (words, cut if truncated else "", by_hand if hand and derived else "")
                    if not hand or derived:
                        yield ", and ".join(filter(None, said)), within


def _decimals(report: PrintedReport) -> Iterator[tuple[str, Mapping[tuple[int | str, int], int], bool]]:
    """Ways to see how many decimals each share has: words, decimals by place, and whether zeros only fill these up.

    A data frame rounded to two decimals prints 0.890000 in LaTeX; only some of its columns may have been rounded.
    """
    yield "", {}, False
    if report.fewer:
        yield "each number is read to its own decimals, as they differ", report.fewer, False
    shares = {place: value for place, value in report.shares().items() if not np.isnan(value)}
    own = {place: report.fewer.get(place, report.digits) for place in shares}

    def filled(places: Sequence[tuple[int | str, int]]) -> int:
        most = max(own[place] for place in places)
        return next((n for n in range(1, most) if all(round(shares[p], n) == shares[p] for p in places)), most)

    digits = filled(list(shares)) if shares else report.digits
    if digits <= report.digits - 2:
        words = f"the numbers were rounded to {digits} decimals before they were printed with more"
        yield words, dict.fromkeys(shares, digits), True
    columns: dict[tuple[bool | str, int], list[tuple[int | str, int]]] = {}
    for where, column in shares:
        columns.setdefault((where if where == "accuracy" else isinstance(where, int), column), []).append(
            (where, column)
        )
    short = {key: n for key, places in columns.items() if (n := filled(places)) <= max(own[p] for p in places) - 2}
    if short:
        own |= {place: n for key, n in short.items() for place in columns[key]}
        yield "some columns were rounded before they were printed with more decimals", own, True


def _computed_from_rounded(report: PrintedReport, within: Limits) -> set[tuple[int | str, int]]:
    """Places whose number is the F1 of the printed precision and recall, or the mean of the printed column.

    Authors compute these by hand, and then they can differ in the last decimal from those of any confusion matrix. The
    F1 of an average may also be that of its precision and recall (Opitz and Burst, arXiv 1911.03347), exact or rounded.
    """
    shares, supports = report.shares(), np.array(report.supports, float)
    found = set()
    for place, limit in within.items():
        where, column = place
        by_hand = []
        if isinstance(where, int) and column == 2:
            by_hand.append(_f1(shares.get((where, 0)), shares.get((where, 1))))
        elif where in ("macro avg", "weighted avg"):
            values = [shares.get((row, column)) for row in range(len(supports))]
            if None not in values:
                by_hand.append(np.average(values, weights=supports if where == "weighted avg" else None))
            if column == 2 and {(where, 0), (where, 1)} <= set(within):
                ends = [_f1(within[where, 0][end], within[where, 1][end]) for end in (0, 1)]
                by_hand += [np.clip(limit[0], *ends)] if None not in ends else []
        if any(value is not None and inside(np.float64(value), limit) for value in by_hand):
            found.add(place)
    return found


def _f1(precision: float | None, recall: float | None) -> float | None:
    if precision is None or recall is None or not precision + recall > 0:
        return None
    return 2 * precision * recall / (precision + recall)


def prints(within: Limits, sizes: Sequence[np.ndarray], wrong: Sequence[np.ndarray]) -> np.ndarray:
    """Whether matrices of two classes print so; sizes and wrong are (first class, second), shapes that broadcast.

    The precision of a class that is never named may be printed as 0 or as 1 (`zero_division`).
    """
    fits = False
    for undefined in (0.0, 1.0):
        values = _values(sizes, wrong, undefined)
        one = True
        for place, limit in within.items():
            one = one & inside(values(place), limit)
        fits = fits | one
    return np.broadcast_to(fits, np.broadcast(*wrong, *sizes).shape)


def of_two(within: Limits, sizes: Sequence[int]) -> Possible:
    e0, first, last = spans(within, sizes)
    count = int((last - first + 1).sum())
    if not count:
        return Possible(0)
    few, many = matrix(sizes, e0.min(), first.min()), matrix(sizes, e0.max(), last.max())
    listed = []
    if count <= LISTED:
        listed = [matrix(sizes, a, b) for a, one, two in zip(e0, first, last, strict=True) for b in range(one, two + 1)]
    total = sum(sizes)
    right = (total - int((e0 + last).max()), total - int((e0 + first).min()))
    return Possible(count, True, np.minimum(few, many), np.maximum(few, many), right, tuple(listed))


def spans(within: Limits, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of the first class, and for each the fewest and the most of the second, that print so; three (rows,)."""
    fewest, most = window(within.get((0, 1)), sizes[0])
    if most - fewest >= _MOST_ROWS:
        raise TooManyError(f"{most - fewest + 1:,} numbers of errors in the first class agree with its printed recall")
    # A recall above 1 leaves no number of errors at all.
    kept = [np.empty((3, 0), int)]
    for start in range(sizes[0] - most, sizes[0] - fewest + 1, _PORTION):
        e0 = np.arange(start, min(start + _PORTION, sizes[0] - fewest + 1))

        def values(e1: np.ndarray, e0: np.ndarray = e0) -> list[np.ndarray]:
            value = _values(sizes, (e0, e1), 0.0)
            return [np.broadcast_to(value(place), e0.shape) for place in within]

        first, last = span(values, list(within.values()), np.zeros_like(e0), np.full_like(e0, sizes[1]))
        kept.append(np.stack([e0, first, last])[:, first <= last])
    # With one class never named its precision may also be printed as 1, which the search above took as 0.
    for e0, e1 in ((0, sizes[1]), (sizes[0], 0)):
        known = any(np.any((rows[0] == e0) & (rows[1] <= e1) & (e1 <= rows[2])) for rows in kept)
        if not known and prints(within, [np.array(n) for n in sizes], (np.array(e0), np.array(e1))):
            kept.append(np.array([[e0], [e1], [e1]]))
    e0, first, last = np.concatenate(kept, axis=1)
    order = np.lexsort((first, e0))
    return e0[order], first[order], last[order]


def _values(
    sizes: Sequence[np.ndarray], wrong: Sequence[np.ndarray], undefined: float
) -> Callable[[tuple], np.ndarray]:
    """Every share of matrices of two classes by its place; all fall as either number of errors grows."""
    total = sizes[0] + sizes[1]
    scores = [scores_of(sizes[i], sizes[1 - i], sizes[i] - wrong[i], wrong[1 - i], undefined) for i in (0, 1)]
    accuracy = 1 - (wrong[0] + wrong[1]) / total

    def value(place: tuple[int | str, int]) -> np.ndarray:
        where, column = place
        if where in (0, 1):
            return scores[where][column]
        if where in ("accuracy", "micro avg"):
            return accuracy
        share = 0.5 if where == "macro avg" else sizes[0] / total
        return share * scores[0][column] + (1 - share) * scores[1][column]

    return value


def inside(value: np.ndarray, limit: tuple[float, float]) -> np.ndarray:
    return np.isnan(value) if np.isnan(limit[0]) else (value >= limit[0]) & (value <= limit[1])


def _share(part: np.ndarray, whole: np.ndarray, undefined: float) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, undefined), where=whole > 0)


def scores_of(
    size: int | np.ndarray, others: int | np.ndarray, hit: np.ndarray, false: np.ndarray, undefined: float
) -> list[np.ndarray]:
    """Precision, recall, F1 and specificity of one class, in the order of `MEASURES`."""
    return [
        _share(hit, hit + false, undefined),
        _share(hit, size, undefined),
        _share(2 * hit, size + hit + false, undefined),
        _share(others - false, others, undefined),
    ]


def window(limit: tuple[float, float] | None, size: int) -> tuple[int, int]:
    """Fewest and most right answers of a class that its printed recall leaves, give or take one."""
    if limit is None or np.isnan(limit[0]):
        return 0, size
    return max(0, int(size * limit[0]) - 1), min(size, int(np.ceil(size * limit[1])) + 1)


def span(
    values: Callable[[np.ndarray], list], within: list, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and last integer where every value, which falls as the integer grows, lies within its limits."""

    def low_enough(at: np.ndarray) -> np.ndarray:
        return np.all(
            [value <= limit[1] for value, limit in zip(values(at), within, strict=True)] or [at == at], axis=0
        )

    def too_low(at: np.ndarray) -> np.ndarray:
        return ~np.all(
            [value >= limit[0] for value, limit in zip(values(at), within, strict=True)] or [at == at], axis=0
        )

    return _first(low_enough, low, high), _first(too_low, low, high) - 1


def _first(holds: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The first integer of low to high where `holds`, which once true stays true; high + 1 where it never does."""
    low, high = low.copy(), high + 1
    while np.any(low < high):
        middle = (low + high) // 2
        # Beyond the end nothing is asked: there low equals high.
        true = holds(np.minimum(middle, high - 1)) & (low < high)
        high, low = np.where(true, middle, high), np.where(true | (low >= high), low, middle + 1)
    return low


def matrix(sizes: Sequence[int], e0: int, e1: int) -> np.ndarray:
    return np.array([[sizes[0] - e0, e0], [e1, sizes[1] - e1]])
