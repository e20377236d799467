"""The matrices that print as a report are those of trying every one, in exact fractions."""

import re
import warnings
from fractions import Fraction
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_printing import FORMS, in_018, in_020, printed

from osteo_utils.papers import possible_matrices
from osteo_utils.papers.printed_report import arithmetic, matrices_printing_as, parse_report, possible

warnings.filterwarnings("ignore", message=".*ill-defined.*")


def shares_of(matrix, undefined):
    """Every share of a matrix as a fraction, by the definitions alone."""
    k, total = len(matrix), sum(map(sum, matrix))
    n, called = [sum(row) for row in matrix], [sum(row[j] for row in matrix) for j in range(k)]

    def share(part, whole):
        return Fraction(part, whole) if whole else Fraction(undefined)

    found = {}
    for i in range(k):
        hit = matrix[i][i]
        found[i, 0], found[i, 1] = share(hit, called[i]), share(hit, n[i])
        found[i, 2] = share(2 * hit, n[i] + called[i])
        found[i, 3] = share(total - n[i] - called[i] + hit, total - n[i])
    right = sum(matrix[i][i] for i in range(k))
    for column in range(3):
        found["macro avg", column] = sum(found[i, column] for i in range(k)) / k
        found["weighted avg", column] = sum(n[i] * found[i, column] for i in range(k)) / total
        found["micro avg", column] = Fraction(right, total)
    found["accuracy", 0] = Fraction(right, total)
    return found


def printed_shares(report):
    """Every printed share as a fraction, and the unit of its last decimal."""
    step = Fraction(1, 10**report.digits)
    return {place: Fraction(round(value / float(step))) * step for place, value in report.shares().items()}, step


def units(report):
    """Every way to see the last decimal of each share: as the report has it, its own, or above zeros that fill it up.

    By place, with whether zeros do fill it up.
    """
    shares, step = printed_shares(report)
    own = {place: Fraction(1, 10 ** report.fewer.get(place, report.digits)) for place in shares}
    yield dict.fromkeys(shares, step), False
    yield own, False

    def coarsest(places):
        return max(unit for n in range(1, 10) if all(shares[p] % (unit := Fraction(1, 10**n)) == 0 for p in places))

    if (all_alike := coarsest(shares)) >= 100 * step:
        yield dict.fromkeys(shares, all_alike), True
    filled = dict(own)
    for of_a_class, column in {
        (where if where == "accuracy" else where in (0, 1, 2), column) for where, column in shares
    }:
        alike = [
            p for p in shares if p[1] == column and (p[0] if p[0] == "accuracy" else p[0] in (0, 1, 2)) == of_a_class
        ]
        if coarsest(alike) >= 100 * min(own[p] for p in alike):
            filled |= dict.fromkeys(alike, coarsest(alike))
    if filled != own:
        yield filled, True


def f1_of(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else None


def computed_by_hand(report, unit, truncated):
    """Places whose number is the F1, or the average, of the printed numbers beside it; or the F1 of two averages."""
    shares, _ = printed_shares(report)
    low = {p: v if truncated else v - unit[p] / 2 for p, v in shares.items()}
    high = {p: v + unit[p] * (1 if truncated else Fraction(1, 2)) for p, v in shares.items()}

    def fits(value, place):
        return (
            value is not None and low[place] <= value and (value < high[place] if truncated else value <= high[place])
        )

    found, k = set(), len(report.rows)
    for where, column in shares:
        p, r = (where, 0), (where, 1)
        if where in range(k) and column == 2:
            found |= {(where, 2)} if fits(f1_of(shares[p], shares[r]), (where, 2)) else set()
        elif where in ("macro avg", "weighted avg"):
            weights = report.supports if where == "weighted avg" else [1] * k
            mean = sum(w * shares[i, column] for i, w in enumerate(weights)) / sum(weights)
            found |= {(where, column)} if fits(mean, (where, column)) else set()
            if column == 2:
                least, most = f1_of(low[p], low[r]), f1_of(high[p], high[r])
                if None not in (least, most) and least <= high[where, 2] and most >= low[where, 2]:
                    found.add((where, 2))
    return found


def prints_so(matrix, report, truncated=False, left_out=(), unit=None):
    shares, step = printed_shares(report)
    unit = unit or dict.fromkeys(shares, step)
    for undefined in (0, 1):
        exact = shares_of(matrix, undefined)
        gaps = [(exact[place] - value, unit[place]) for place, value in shares.items() if place not in left_out]
        if all(0 <= gap < one if truncated else abs(gap) <= one / 2 for gap, one in gaps):
            return True
    return False


def is_read_another_way(report):
    """Whether some matrix prints as the report in any of the ways that authors have of printing it."""
    every = every_matrix(report.supports)
    for by_hand in (False, True):
        for truncated in (False, True):
            for unit, filled in units(report):
                left_out = computed_by_hand(report, unit, truncated) if by_hand else ()
                if not (truncated and filled) and any(
                    prints_so(one, report, truncated, left_out, unit) for one in every
                ):
                    return True
    return False


def rows_of(n, k):
    """Every way to call n films by k names."""
    if k == 1:
        return [(n,)]
    return [(first, *rest) for first in range(n + 1) for rest in rows_of(n - first, k - 1)]


def every_matrix(supports):
    found = [()]
    for n in supports:
        found = [(*before, row) for before in found for row in rows_of(n, len(supports))]
    return found


def with_a_digit_changed(text, pick, digit):
    """The report with one digit of its shares replaced; scikit-learn prints supports with one decimal where one is 0."""
    places = [match.start() + at for match in re.finditer(r"\d\.\d\d+", text) for at in (0, *range(2, len(match[0])))]
    place = places[pick % len(places)]
    return text[:place] + str(digit) + text[place + 1 :]


@st.composite
def matrices(draw, least, most, cells):
    k = draw(st.integers(least, most))
    row = st.lists(st.integers(0, cells), min_size=k, max_size=k)
    return np.array(draw(st.lists(row, min_size=k, max_size=k).filter(lambda m: sum(map(sum, m)) > 0)))


@given(matrices(2, 2, 9), st.integers(0, 3), st.sampled_from([0.0, 1.0]))
@settings(max_examples=25, deadline=None)
def test_two_classes_are_counted_as_by_trying_every_matrix(matrix, digits, zero):
    report = parse_report(printed(matrix, digits, zero))
    tried = [np.array(one) for one in every_matrix(report.supports) if prints_so(one, report)]
    found = possible(report)
    assert found.exact and found.count == len(tried) and not found.reading
    assert any(np.array_equal(matrix, one) for one in tried)
    assert np.array_equal(found.low, np.min(tried, axis=0)) and np.array_equal(found.high, np.max(tried, axis=0))
    assert found.right == (min(map(np.trace, tried)), max(map(np.trace, tried)))
    if len(tried) <= possible_matrices.LISTED:
        assert {one.tobytes() for one in found.matrices} == {one.astype(int).tobytes() for one in tried}
    if min(report.supports) > 0:
        assert len(matrices_printing_as(report)) == len(tried)


def in_a_frame(matrix, rounded):
    """As pandas writes a frame with four decimals of which some columns were rounded to two."""
    frame = pd.DataFrame(printed(matrix, output_dict=True)).T
    if "accuracy" in frame.index:
        frame.loc["accuracy", ["precision", "recall"]] = np.nan
    frame["support"] = frame["support"].astype(int).astype(str)
    if "accuracy" in frame.index:
        frame.loc["accuracy", "support"] = ""
    return frame.round(dict.fromkeys(rounded, 2)).to_csv(float_format="%.4f")


FRAMES = [
    partial(in_a_frame, rounded=one) for n in range(4) for one in combinations(("precision", "recall", "f1-score"), n)
]


@pytest.mark.parametrize("form", FRAMES, ids=lambda form: "+".join(form.keywords["rounded"]))
@given(matrix=matrices(2, 3, 40))
@settings(max_examples=8, deadline=None)
def test_a_frame_of_which_some_columns_were_rounded_is_not_accused(form, matrix):
    checked = arithmetic(parse_report(form(matrix)))
    assert checked.contradictions == []


@given(
    st.one_of(matrices(2, 2, 6), matrices(3, 3, 1)),
    st.sampled_from([printed, printed, in_018, in_020, *FRAMES]),
    st.integers(0, 200),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_a_report_with_one_digit_changed_is_accused_when_and_only_when_no_matrix_prints_so(matrix, form, pick, digit):
    report = parse_report(with_a_digit_changed(form(matrix), pick, digit))
    checked = arithmetic(report)
    if any(prints_so(one, report) for one in every_matrix(report.supports)):
        assert checked.contradictions == [] and not checked.possible.reading
    elif is_read_another_way(report):
        assert checked.contradictions == [] and checked.possible.reading
    elif checked.contradictions == []:
        # Such a report may be one of some of the classes, where other films may be called by these names.
        told = ("only some of the classes", "not decided")
        assert form is in_020 and any(words in remark for remark in checked.remarks for words in told)
    else:
        assert checked.contradictions == [f"no confusion matrix with supports {report.supports} prints like this"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_no_sound_report_is_accused_in_any_form(form, data):
    matrix = data.draw(matrices(2, 5, 12))
    report = parse_report(form(matrix, data.draw(st.integers(2, 4))))
    checked = arithmetic(report)
    assert report.supports == tuple(matrix.sum(axis=1)) and checked.contradictions == []
    found = checked.possible
    if found is not None:
        assert not found.reading
        assert (found.low <= matrix).all() and (matrix <= found.high).all()
        assert found.right[0] <= matrix.trace() <= found.right[1]
        assert not found.matrices or any(np.array_equal(matrix, one) for one in found.matrices)


def test_a_class_without_an_image_or_never_named_is_no_crash():
    for zero in (0.0, 1.0, np.nan):
        for matrix in (
            [[45, 5], [0, 0]],
            [[0, 0], [5, 45]],
            [[5, 0], [3, 0]],
            [[0, 5], [0, 3]],
            [[4, 1, 0], [0, 0, 0], [2, 3, 0]],
        ):
            checked = arithmetic(parse_report(printed(np.array(matrix), 2, zero)))
            assert checked.contradictions == [] and any(np.array_equal(matrix, one) for one in checked.matrices)
    with pytest.raises(ValueError, match="not all 0"):
        possible(parse_report("precision recall f1-score support\na 0.00 0.00 0.00 0\nb 0.00 0.00 0.00 0\n"))


def test_a_share_above_one_is_a_contradiction_and_no_crash() -> None:
    text = "x precision recall f1-score support\na 0.50 4.00 0.50 3\nb 0.50 0.50 0.50 2\n"
    assert arithmetic(parse_report(text)).contradictions


def test_an_f1_that_an_author_computed_from_rounded_numbers_is_a_remark_and_no_contradiction() -> None:
    # 37 of 40 and 49 of 61 right: precision 37/49, recall 37/40, F1 74/89 = 0.831. From 0.76 and 0.93 it is 0.836.
    honest = "x precision recall f1-score support\na 0.76 0.93 0.83 40\nb 0.94 0.80 0.87 61\naccuracy 0.85 101\n"
    by_hand = honest.replace("0.83", "0.84").replace("0.87", "0.86")
    checked = arithmetic(parse_report(by_hand))
    assert checked.contradictions == [] and "computed from the rounded numbers" in checked.possible.reading
    assert [one.tolist() for one in checked.matrices] == [[[37, 3], [12, 49]]]
    assert arithmetic(parse_report(honest)).possible.reading == ""
    wrong = arithmetic(parse_report(by_hand.replace("0.84", "0.81")))
    assert wrong.contradictions, "neither a matrix nor the rounded numbers give 0.81"


def test_a_frame_that_was_rounded_before_it_was_printed_with_more_decimals_is_read_as_rounded() -> None:
    # 101 of 110 and 83 of 95 right; pandas prints six decimals in LaTeX, whatever they were rounded to.
    head, *rows = [
        "x,precision,recall,f1,support",
        "a,0.890000,0.920000,0.910000,110",
        "b,0.900000,0.870000,0.890000,95",
    ]
    checked = arithmetic(parse_report("\n".join([head, *rows])))
    assert checked.contradictions == [] and "rounded to 2 decimals" in checked.possible.reading
    assert any(one.tolist() == [[101, 9], [12, 83]] for one in checked.matrices)
    assert arithmetic(parse_report("\n".join([head, rows[0].replace("0.91", "0.97"), rows[1]]))).contradictions
    assert arithmetic(parse_report("\n".join([head, rows[0].replace("0.910000", "0.910001"), rows[1]]))).contradictions
