"""Which confusion matrices of three and more classes print as a report.

A report depends on the right answers of each class and on how often each class is named falsely, so these are searched,
and what they leave open inside of the matrix is counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from osteo_utils.papers.possible_matrices import (
    LISTED,
    NOISE,
    Limits,
    Possible,
    TooManyError,
    inside,
    scores_of,
    span,
    window,
)

_MOST_ROWS, _MOST_CANDIDATES, _MOST_PAIRS, _PORTION = 1_000_000, 300_000, 20_000_000, 100_000
_MOST_SORTED = 100_000


def of_more(within: Limits, sizes: Sequence[int]) -> Possible:
    hits, false = totals(within, sizes)
    k = len(sizes)
    if not len(hits):
        return Possible(0)
    missed = np.array(sizes) - hits
    errors = missed.sum(axis=1)
    low, high, counts = np.zeros((k, k), int), np.zeros((k, k), int), np.ones(len(hits), int)
    few_of = np.zeros((len(hits), k, k), int) if len(hits) <= LISTED else None
    for i, j in itertools.product(range(k), repeat=2):
        if i == j:
            few, many = hits[:, i], hits[:, i]
        else:
            # By Hall's theorem for tables with margins and an empty diagonal.
            few = np.maximum(
                0,
                np.maximum(missed[:, i] + false[:, i] + false[:, j], false[:, j] + missed[:, j] + missed[:, i])
                - errors,
            )
            many = np.minimum(missed[:, i], false[:, j])
            for r in set(range(k)) - {i, j}:
                many = np.minimum(many, errors - missed[:, r] - false[:, r])
        low[i, j], high[i, j] = few.min(), many.max()
        if few_of is not None:
            few_of[:, i, j] = few
        if k == 3 and (i, j) == (0, 1):
            # With three classes this one cell settles all others.
            counts = many - few + 1
    count, listed = int(counts.sum()), []
    if k <= 3 and count <= LISTED:
        for at in range(len(hits)):
            for extra in range(counts[at]):
                listed.append(
                    _with_cell(hits[at], missed[at], false[at], few_of[at, 0, 1] + extra if k == 3 else missed[at, 0])
                )
    right = hits.sum(axis=1)
    return Possible(count, k <= 3, low, high, (int(right.min()), int(right.max())), tuple(listed))


def totals(within: Limits, sizes: Sequence[int], listed: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Right answers and false calls of each class, (rows, k) each, of all matrices that print within these limits.

    Where the classes are not all `listed`, films may also be called by other names. Raises TooManyError where the
    search would be too long.
    """
    n_all, found = sum(sizes), []
    with_nan = any(np.isnan(low) for low, _ in within.values())
    for undefined in (np.nan, 0.0, 1.0) if with_nan else (0.0, 1.0):
        lists = [_candidates(within, i, n, n_all - n, undefined, listed) for i, n in enumerate(sizes)]
        if undefined == 1.0 and min(sizes) > 0 and not any(np.any(hit + false == 0) for hit, false in lists):
            continue
        found.append(_joined(lists, *_sums(within, sizes, lists, undefined, listed), listed))
    rows = np.concatenate(found)
    # One search finds no row twice, and to sort many takes long.
    rows = np.unique(rows, axis=0) if len(found) > 1 or len(rows) < _MOST_SORTED else rows
    hits, false = rows[:, : len(sizes)], rows[:, len(sizes) :]
    if listed:
        # A matrix with these totals exists where no class has more errors in its row and column than there are in all.
        errors = (np.array(sizes) - hits).sum(axis=1, keepdims=True)
        fits = np.all(np.array(sizes) - hits + false <= errors, axis=1)
        hits, false = hits[fits], false[fits]
    return hits, false


def prints_as(within: Limits, matrix: np.ndarray) -> bool:
    """Whether one matrix (k, k), rows truth, prints within these limits, whatever stands for undefined shares."""
    sizes, hits = matrix.sum(axis=1), matrix.diagonal()
    false, total = matrix.sum(axis=0) - hits, matrix.sum()
    for undefined in (0.0, 1.0, np.nan):
        scores = np.stack(scores_of(sizes, total - sizes, hits, false, undefined))
        values = {(i, column): scores[column, i] for i in range(len(sizes)) for column in range(4)}
        for column, row in enumerate(scores[:3]):
            known = ~np.isnan(row)
            weights = {"macro avg": known * 1, "weighted avg": known * sizes}
            for where, weight in weights.items():
                mean = np.average(np.nan_to_num(row), weights=weight) if weight.any() else np.nan
                values[where, column] = mean
        right = hits.sum() / total
        if all(
            (where not in ("accuracy", "micro avg") and column == 2 and np.isnan(limit[0]) and not np.all(hits))
            or inside(right if where in ("accuracy", "micro avg") else values[where, column], limit)
            for (where, column), limit in within.items()
        ):
            return True
    return False


def _candidates(
    within: Limits, i: int, size: int, others: int, undefined: float, listed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Right answers and false calls of class i that agree with its own row, two (candidates,)."""
    measures = [(column, within[i, column]) for column in range(4) if (i, column) in within]
    # A report of some of the classes leaves open how many other films there are.
    most_false = others if listed else 200 * (size + others)
    if not listed:
        measures = [(column, limit) for column, limit in measures if column != 3]
    fewest, most = window(within.get((i, 1)), size)
    if most - fewest >= _MOST_CANDIDATES:
        raise TooManyError(f"{most - fewest + 1:,} numbers of right answers agree with the printed recall of class {i}")
    hit = np.arange(fewest, most + 1)

    # The recall does not depend on false calls, and may be undefined; it is checked at the end.
    by_calls = [(c, limit) for c, limit in measures if c != 1 and not (c == 2 and np.isnan(limit[0]))]

    def values(false: np.ndarray) -> list[np.ndarray]:
        scores = scores_of(size, most_false, hit, false, undefined)
        return [np.broadcast_to(scores[column], hit.shape) for column, _ in by_calls]

    # Nothing is undefined by its calls from the first false call on; no call at all is tried by itself.
    first, last = span(values, [limit for _, limit in by_calls], (hit == 0).astype(int), np.full_like(hit, most_false))
    if not listed and np.any(last == most_false):
        raise TooManyError("any number of films may be called by the name of a class that is never right")
    length = np.maximum(last - first + 1, 0)
    if length.sum() > _MOST_CANDIDATES:
        raise TooManyError(f"{length.sum():,} pairs of right answers and false calls agree with the row of class {i}")
    hits = np.repeat(hit, length)
    false = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + np.repeat(first, length)
    if fewest == 0:
        hits, false = np.append(hits, 0), np.append(false, 0)
    scores = scores_of(size, most_false, hits, false, undefined)
    fits = np.all([_agrees(scores, column, limit, hits) for column, limit in measures] or [hits >= 0], axis=0)
    return hits[fits], false[fits]


def _agrees(scores: Sequence[np.ndarray], column: int, limit: tuple[float, float], hits: np.ndarray) -> np.ndarray:
    """Whether shares lie within a limit. An F1 computed as 2PR / (P + R) is undefined wherever no answer is right."""
    return hits == 0 if column == 2 and np.isnan(limit[0]) else inside(scores[column], limit)


def _sums(
    within: Limits, sizes: Sequence[int], lists: Sequence[tuple[np.ndarray, np.ndarray]], undefined: float, listed: bool
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """What must add up over the classes: terms of each class's candidates (candidates, q), and least and most sums."""
    total, terms, least, most = sum(sizes), [[] for _ in sizes], [], []

    def add(term: Callable[[int, np.ndarray, np.ndarray], np.ndarray], low: float, high: float) -> None:
        for i, (hit, false) in enumerate(lists):
            terms[i].append(np.broadcast_to(term(i, hit, false), hit.shape).astype(float))
        least.append(low - 1e-9 * (low == high) - NOISE)
        most.append(high + 1e-9 * (low == high) + NOISE)

    # Every film that one class misses is a false call of another.
    add(lambda i, hit, false: hit + false - sizes[i], *((0, 0) if listed else (-np.inf, np.inf)))
    for (where, column), (low, high) in within.items():
        if np.isnan(low):
            continue
        if where == "accuracy" or (where == "micro avg" and (listed or column == 1)):
            add(lambda i, hit, false: hit / total, low, high)
        elif where == "micro avg":
            for bound, ends in ((low, (0, np.inf)), (high, (-np.inf, 0))):
                ratio = bound if column == 0 else bound / 2
                own = 0 if column == 0 else 1
                add(lambda i, hit, false, r=ratio, own=own: (hit - r * (hit + false + own * sizes[i])) / total, *ends)
        elif where in ("macro avg", "weighted avg"):
            # Averages leave undefined shares that are printed as nan out.
            known = [not np.isnan(within.get((i, column), (0.0, 0.0))[0]) for i in range(len(sizes))]
            weights = np.array(
                [kept * (1 if where == "macro avg" else n) for kept, n in zip(known, sizes, strict=True)]
            )
            if weights.sum():
                shares = weights / weights.sum()

                def part(i: int, hit: np.ndarray, false: np.ndarray, shares=shares, column=column) -> np.ndarray:
                    score = scores_of(sizes[i], total - sizes[i], hit, false, undefined)[column]
                    return shares[i] * np.nan_to_num(score)

                add(part, low, high)
    return [np.stack(columns, axis=1) for columns in terms], np.array(least), np.array(most)


def _joined(
    lists: Sequence[tuple[np.ndarray, np.ndarray]],
    terms: Sequence[np.ndarray],
    least: np.ndarray,
    most: np.ndarray,
    listed: bool,
) -> np.ndarray:
    """One candidate of each class such that all sums lie within their bounds: hits, then false calls (rows, 2 k)."""
    order = sorted(range(len(lists)), key=lambda i: len(lists[i][0]))
    if not len(lists[order[0]][0]):
        return np.zeros((0, 2 * len(lists)), int)
    chosen, sums, tried = np.zeros((1, 0), int), np.zeros((1, len(least))), 0
    for step, i in enumerate(order):
        rest = [terms[j] for j in order[step + 1 :]]
        low = least - sum((part.max(axis=0) for part in rest), np.zeros(len(least)))
        high = most - sum((part.min(axis=0) for part in rest), np.zeros(len(least)))
        # Sorted by the first sum, the candidates that can follow a row lie side by side.
        ranked = np.argsort(terms[i][:, 0], kind="stable")
        keys = terms[i][ranked, 0]
        first = np.searchsorted(keys, low[0] - sums[:, 0], "left")
        length = np.searchsorted(keys, high[0] - sums[:, 0], "right") - first
        tried += int(length.sum())
        if tried > _MOST_PAIRS:
            raise TooManyError(f"more than {_MOST_PAIRS:,} combinations of the classes' rows would have to be tried")
        kept_rows, kept_sums, start = [], [], 0
        ends = np.cumsum(length)
        while start < len(length):
            stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + _PORTION)))
            part = length[start:stop]
            row = np.repeat(np.arange(start, stop), part)
            at = ranked[
                np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part) + np.repeat(first[start:stop], part)
            ]
            both = sums[row] + terms[i][at]
            fits = np.all((both >= low) & (both <= high), axis=1)
            kept_rows.append(np.column_stack([chosen[row[fits]], at[fits]]))
            kept_sums.append(both[fits])
            start = stop
        chosen = np.concatenate([np.zeros((0, step + 1), int), *kept_rows])
        sums = np.concatenate([np.zeros((0, len(least))), *kept_sums])
        if len(chosen) > _MOST_ROWS:
            raise TooManyError(f"more than {_MOST_ROWS:,} combinations of the classes' rows agree with the report")
    place = np.argsort(order)
    parts = [[lists[i][which][chosen[:, place[i]]] for i in range(len(lists))] for which in (0, 1)]
    return np.column_stack([*parts[0], *parts[1]])


def _with_cell(hits: np.ndarray, missed: np.ndarray, false: np.ndarray, cell: int) -> np.ndarray:
    """The matrix of two or three classes with these margins whose cell (0, 1) is given."""
    matrix = np.diag(hits)
    matrix[0, 1] = cell
    if len(hits) == 2:
        matrix[1, 0] = missed[1]
        return matrix
    matrix[0, 2] = missed[0] - cell
    matrix[2, 1] = false[1] - cell
    matrix[2, 0] = missed[2] - matrix[2, 1]
    matrix[1, 0] = false[0] - matrix[2, 0]
    matrix[1, 2] = missed[1] - matrix[1, 0]
    return matrix
