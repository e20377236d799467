"""What a printed report implies, checked by brute force and by hand."""

import copy
import re

import numpy as np
import pytest
from report_printing import labels, printed
from sklearn.metrics import classification_report

from osteo_utils.papers import claims, printed_report
from osteo_utils.papers.printed_report import arithmetic, parse_report
from osteo_utils.statistics.metrics import wilson


def report(supports: tuple[int, int], wrong: tuple[int, int]) -> printed_report.PrintedReport:
    """What a matrix with these supports and errors prints with two decimals."""
    (n0, n1), (e0, e1) = supports, wrong
    rows = []
    for name, n, hit, false in (("a", n0, n0 - e0, e1), ("b", n1, n1 - e1, e0)):
        precision, recall = hit / (hit + false), hit / n
        f1 = 2 * precision * recall / (precision + recall)
        rows.append((name, *(round(value, 2) for value in (precision, recall, f1)), n))
    return printed_report.PrintedReport(tuple(rows), round(1 - (e0 + e1) / (n0 + n1), 2), {}, n0 + n1, 2)


@pytest.mark.parametrize(("sizes", "wrong"), [((14, 12), (2, 1)), ((9, 20), (0, 3)), ((12, 12), (3, 3))])
def test_the_largest_hold_out_is_that_of_trying_every_size(sizes, wrong):
    one = report((10, 11), wrong)
    tried = [
        n0 + n1
        for n0 in range(1, sizes[0])
        for n1 in range(1, sizes[1])
        if printed_report.matrices_printing_as(one, (n0, n1))
    ]
    found = printed_report.largest_hold_out(one, sizes)
    assert (0 if found is None else found.sum()) == max(tried, default=0)
    if found is not None:
        supports = tuple(int(n) for n in found.sum(axis=1))
        assert any(np.array_equal(found, other) for other in printed_report.matrices_printing_as(one, supports))


def test_the_largest_hold_out_of_the_public_set_that_prints_the_shares_of_figure_5():
    fig5 = printed_report.parse_report(next(claim["report"] for claim in claims.load()["claims"] if "report" in claim))
    found = printed_report.largest_hold_out(fig5, (372, 372))
    n0, n1 = (int(n) for n in found.sum(axis=1))
    assert n0 < 372 and n1 < 372
    assert printed_report.matrices_printing_as(fig5, (n0, n1))
    # No more images of either class, in whatever proportion.
    for extra in (1, 2):
        for more in range(max(1, n0 + n1 + extra - 371), 372):
            assert not printed_report.matrices_printing_as(fig5, (more, n0 + n1 + extra - more))


def test_a_report_that_no_hold_out_prints_is_a_contradiction():
    impossible = report((100, 100), (1, 1))
    assert printed_report.largest_hold_out(impossible, (20, 20)) is None
    assert any(
        "no hold-out of 20 + 20" in text
        for text in printed_report.arithmetic(impossible, None, (20, 20)).contradictions
    )


def test_the_interval_of_a_printed_accuracy_spans_all_counts_that_print_so():
    # Of 149 images 116 (0.7785) and 117 (0.7852, printed as 0.79): only 116 prints as 0.78.
    assert printed_report.interval_of_printed(0.78, 149, 2) == pytest.approx(wilson(116, 149))
    low, high = printed_report.interval_of_printed(0.98, 744, 2)
    assert (low, high) == pytest.approx((wilson(726, 744)[0], wilson(732, 744)[1]))
    # 72 of 74 are 0.973 and 73 of 74 are 0.986.
    assert printed_report.interval_of_printed(0.98, 74, 2) is None


def test_supports_that_add_up_to_another_total_are_a_contradiction():
    text = printed(np.array([[9, 1], [2, 8]]))
    first = text.index("        20")
    checked = printed_report.arithmetic(printed_report.parse_report(f"{text[:first]}        30{text[first + 10 :]}"))
    assert checked.contradictions == ["the supports add up to 20, the report prints 30"]


def test_a_report_that_is_cut_off_instead_of_rounded_is_not_accused_and_said_to_be():
    matrix = np.array([[101, 9], [12, 83]])
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", printed(matrix, 12))
    checked = printed_report.arithmetic(printed_report.parse_report(text))
    assert checked.contradictions == []
    assert any("cut off after the last decimal" in remark for remark in checked.remarks)
    assert any(np.array_equal(matrix, one) for one in checked.matrices)


def test_numbers_of_different_decimals_are_read_to_their_own():
    """F1 with one decimal beside others of three: 0.9 is no 0.900 here."""
    matrix = np.array([[101, 9], [12, 83]])
    lines = ["class,precision,recall,f1,support", "a,0.894,0.918,0.9,110", "b,0.902,0.874,0.9,95"]
    checked = printed_report.arithmetic(printed_report.parse_report("\n".join(lines)))
    assert checked.contradictions == []
    assert any("to its own decimals" in remark for remark in checked.remarks)
    assert any(np.array_equal(matrix, one) for one in checked.matrices)


def test_a_report_of_some_of_the_classes_is_not_accused():
    """With `labels`, scikit-learn prints a row 'micro avg': films are then called by names that the report lacks."""
    matrix = np.array([[40, 6, 4], [5, 38, 7], [10, 2, 38]])
    text = classification_report(*labels(matrix), labels=[0, 1], target_names=["a", "b"])
    assert "micro avg" in text
    checked = printed_report.arithmetic(printed_report.parse_report(text))
    assert checked.contradictions == []
    assert any("lists only some of the classes" in remark for remark in checked.remarks)
    wrong = re.sub(r"(micro avg +)0", r"\g<1>1", text)
    assert wrong != text
    assert printed_report.arithmetic(printed_report.parse_report(wrong)).contradictions


@pytest.mark.parametrize("sizes", [(30_000, 30_000), (400_000, 1_200_000)])
def test_large_supports_are_counted_without_listing_them(sizes):
    """Recall of both 0.90 leaves 1 % of each class; the rest is checked at the corners."""
    wrong = [n // 10 for n in sizes]
    matrix = np.array([[sizes[0] - wrong[0], wrong[0]], [wrong[1], sizes[1] - wrong[1]]])
    checked = printed_report.arithmetic(printed_report.parse_report(large(matrix)))
    found = checked.possible
    assert checked.contradictions == [] and not checked.matrices
    assert (found.low <= matrix).all() and (matrix <= found.high).all()
    if sizes == (30_000, 30_000):
        assert found.count == 301**2 and found.right == (53_700, 54_300)
        assert found.low.tolist() == [[26_850, 2_850], [2_850, 26_850]]


def test_more_than_can_be_searched_is_said_and_not_accused():
    checked = printed_report.arithmetic(printed_report.parse_report(large(np.array([[10**11, 10], [10, 10**11]]))))
    assert checked.possible is None and checked.contradictions == []
    assert any("not decided" in remark for remark in checked.remarks)
    three = large(np.array([[30_000, 3_000, 1], [3_000, 30_000, 2], [1, 2, 30_000]]))
    checked = printed_report.arithmetic(printed_report.parse_report(three), None, (60_000, 60_000, 60_000))
    assert checked.possible is None and checked.contradictions == []


def large(matrix: np.ndarray) -> str:
    """The report of a matrix that is too large to print film by film."""
    lines = ["class precision recall f1-score support"]
    for i, n in enumerate(matrix.sum(axis=1)):
        hit, called = matrix[i, i], matrix[:, i].sum()
        lines.append(f"c{i} {hit / called:.2f} {hit / n:.2f} {2 * hit / (n + called):.2f} {n}")
    return "\n".join([*lines, f"accuracy {matrix.trace() / matrix.sum():.2f} {matrix.sum()}"])


def test_class_sizes_are_one_for_each_class():
    report = printed_report.parse_report(printed(np.array([[9, 1, 0], [2, 8, 0], [0, 0, 5]])))
    with pytest.raises(ValueError, match="2 class sizes are given; expected one for each of 3"):
        printed_report.arithmetic(report, None, (30, 30))
    remarks = printed_report.arithmetic(report, 100, (10, 40, 50)).remarks
    assert "10 normal images are scored and the public set has 10: none is left to train on" in remarks


def test_the_paper_contradicts_itself_where_it_is_known_to():
    told = {row["contradiction"]: row["claims"] for row in claims.contradictions()}
    assert any("846 > 744" in text for text in told)
    assert told["the combination reaches 96%, its own member 98%"] == "C4, C5"
    assert any("share of osteoporosis, 50%; the report has 56%" in text for text in told)
    assert any("yet 846 of 744 are scored" in text for text in told)
    assert len(told) == 4


def test_a_paper_whose_numbers_agree_contradicts_itself_nowhere():
    paper = copy.deepcopy(claims.load())
    paper["images"], paper["class_sizes"] = 5000, [2200, 2800]
    by_id = {claim["id"]: claim for claim in paper["claims"]}
    by_id["C5"]["paper"] = 0.99
    assert claims.contradictions(paper) == []
    by_id["C6"]["paper"] = 0.25
    assert claims.contradictions(paper)[0]["contradiction"] == "98% and 78% are 20 points apart, not 25"
    by_id["C4"]["paper"], by_id["C6"]["paper"] = 0.95, 0.17
    assert claims.contradictions(paper) == [
        {"claims": "C4", "contradiction": "the text says 95%, the report prints 0.98"}
    ]


def test_every_accuracy_that_is_printed_without_an_interval_gets_one_for_each_size():
    rows = claims.intervals_of_printed()
    assert {row["id"] for row in rows} == {"C3", "C4", "C5"} and len(rows) == 12
    known = [row for row in rows if row["low"] is not None]
    assert all(row["low"] < row["accuracy"] < row["high"] for row in known)
    assert [(row["id"], row["tested"]) for row in rows if row not in known] == [("C4", 74)]
    widths = [row["high"] - row["low"] for row in rows if row["id"] == "C3"]
    assert widths == sorted(widths, reverse=True)


REPORT_OF_21_ERRORS = """              precision    recall  f1-score   support

      normal       0.89      0.92      0.91       110
osteoporosis       0.90      0.87      0.89        95

    accuracy                           0.90       205
"""


@pytest.mark.parametrize(
    ("beside", "told", "contradicts"),
    [
        ("[[101   9]\n [ 12  83]]", "prints like this", False),
        ("array([[101, 9],\n       [12, 83]], dtype=int64)", "prints like this", False),
        ("[[101  12]\n [  9  83]]", "prints like this", False),
        ("[[83 12]\n [ 9 101]]", "prints like this", False),
        ("[[100  10]\n [ 12  83]]", "does not print like this", True),
        ("[[400  40]\n [ 12 320]]", "its classes have other sizes", False),
        ("[[1 2 3]\n [4 5 6]\n [7 8 9]]", "it is not one of 2 classes", False),
    ],
)
@pytest.mark.parametrize("below", [False, True])
def test_a_confusion_matrix_printed_beside_the_report_must_agree_with_it(beside, told, contradicts, below):
    # 101 of 110 and 83 of 95 right.
    text = REPORT_OF_21_ERRORS + beside if below else f"Confusion matrix:\n{beside}\n{REPORT_OF_21_ERRORS}"
    checked = arithmetic(parse_report(text))
    assert bool(checked.contradictions) == contradicts
    assert any(told in line for line in checked.contradictions + checked.remarks)


def test_colours_of_a_terminal_are_no_part_of_a_name():
    report = parse_report(REPORT_OF_21_ERRORS.replace("normal", "\x1b[1;32mnormal\x1b[0m"))
    assert [row[0] for row in report.rows] == ["normal", "osteoporosis"]
