"""Three and more classes: counts against trying every matrix, and the search against its own definition."""

import itertools

import numpy as np
import pytest
from report_printing import printed
from test_possible_matrices import every_matrix, prints_so

from osteo_utils.papers import more_classes
from osteo_utils.papers.possible_matrices import TooManyError, limits
from osteo_utils.papers.printed_report import parse_report, possible

THREE = [np.array(m) for m in ([[3, 1, 0], [1, 2, 1], [0, 1, 2]], [[2, 2, 0], [2, 1, 1], [1, 1, 1]], [[4, 0, 0], [0, 0, 0], [1, 2, 0]])]  # fmt: skip


@pytest.mark.parametrize("matrix", THREE, ids=str)
@pytest.mark.parametrize("digits", [0, 1, 2])
def test_three_classes_are_counted_as_by_trying_every_matrix(matrix, digits):
    report = parse_report(printed(matrix, digits))
    tried = np.array([one for one in every_matrix(report.supports) if prints_so(one, report)])
    found = possible(report)
    assert found.exact and found.count == len(tried)
    assert np.array_equal(found.low, tried.min(axis=0)) and np.array_equal(found.high, tried.max(axis=0))
    if found.matrices:
        assert {one.tobytes() for one in found.matrices} == {one.tobytes() for one in tried}


def test_four_classes_are_counted_by_their_diagonal_and_column_totals():
    matrix = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1]])
    report = parse_report(printed(matrix, 2))
    tried = np.array([one for one in every_matrix(report.supports) if prints_so(one, report)])
    totals = {(*one.diagonal(), *(one.sum(axis=0) - one.diagonal())) for one in tried}
    hits, false = more_classes.totals(limits(report), report.supports)
    assert set(map(tuple, np.hstack([hits, false]).tolist())) == totals
    found = possible(report)
    assert not found.exact and found.count == len(totals) <= len(tried)
    assert np.array_equal(found.low, tried.min(axis=0)) and np.array_equal(found.high, tried.max(axis=0))


def test_the_search_joins_what_adds_up_and_nothing_else(monkeypatch):
    """In portions of one row the result is the same as in one."""
    report = parse_report(printed(np.array([[9, 2, 1], [3, 8, 1], [0, 4, 7]]), 1))
    whole = more_classes.totals(limits(report), report.supports)
    monkeypatch.setattr(more_classes, "_PORTION", 1)
    for one, other in zip(whole, more_classes.totals(limits(report), report.supports), strict=True):
        assert np.array_equal(one, other)
    hits, false = whole
    assert np.array_equal((np.array(report.supports) - hits).sum(axis=1), false.sum(axis=1))
    assert len({tuple(row) for row in np.hstack(whole)}) == len(hits)


@pytest.mark.parametrize("bound", ["_MOST_CANDIDATES", "_MOST_PAIRS", "_MOST_ROWS"])
def test_a_search_that_is_too_long_is_given_up_aloud(monkeypatch, bound):
    report = parse_report(printed(np.array([[90, 20, 10], [30, 80, 10], [0, 40, 70]]), 1))
    monkeypatch.setattr(more_classes, bound, 10)
    with pytest.raises(TooManyError):
        possible(report)


def test_a_report_of_three_of_four_classes_fits_as_a_part():
    full = np.array([[9, 2, 1, 3], [3, 8, 1, 0], [0, 4, 7, 2], [1, 1, 0, 8]])
    hits, called, n = full.diagonal()[:3], full.sum(axis=0)[:3], full.sum(axis=1)[:3]
    rows = [
        f"c{i} {h / c:.2f} {h / k:.2f} {2 * h / (c + k):.2f} {k}"
        for i, (h, c, k) in enumerate(zip(hits, called, n, strict=True))
    ]
    micro = f"micro avg {hits.sum() / called.sum():.2f} {hits.sum() / n.sum():.2f} {2 * hits.sum() / (called.sum() + n.sum()):.2f} {n.sum()}"
    report = parse_report("\n".join(["precision recall f1-score support", *rows, micro]))
    assert possible(report).count == 0
    found = more_classes.totals(limits(report), report.supports, listed=False)
    assert any(
        np.array_equal(hits, one) and np.array_equal(called - hits, two) for one, two in zip(*found, strict=True)
    )


def test_each_cell_reaches_its_range():
    """Hall's condition gives the range of a cell for margins and an empty diagonal; here by trying all of them."""
    report = parse_report(printed(np.array([[2, 1, 0], [1, 2, 1], [0, 1, 1]]), 0))
    found = possible(report)
    tried = np.array([one for one in every_matrix(report.supports) if prints_so(one, report)])
    for i, j in itertools.product(range(3), repeat=2):
        assert (found.low[i, j], found.high[i, j]) == (tried[:, i, j].min(), tried[:, i, j].max())
