"""Every form of a classification report says the same; what is no report is refused with the line at fault."""

import numpy as np
import pytest
import report_printing
from report_printing import FORMS, NAMES, printed

from osteo_utils.papers.report_forms import parse_report
from osteo_utils.papers.report_table import is_number
from osteo_utils.sources.table_files import decoded

MATRIX = np.array([[101, 9], [12, 83]])
THREE = np.array([[101, 9, 0], [12, 83, 0], [8, 16, 16]])
FEW_DECIMALS = {"precision": (0.8938, 0.9022), "recall": (0.9182, 0.8737), "f1": (0.9058, 0.8877)}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("matrix", [MATRIX, THREE], ids=["two", "three"])
def test_every_form_gives_the_names_the_shares_and_the_supports(form, matrix):
    report = parse_report(form(matrix, 4))
    assert [row[0] for row in report.rows] == list(NAMES[: len(matrix)])
    assert report.supports == tuple(matrix.sum(axis=1))
    hits, called, n = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    close = {"abs": 0.5001 * 10.0 ** -min(report.digits, 12)}
    assert [row[1] for row in report.rows] == pytest.approx(list(hits / called), **close)
    assert [row[2] for row in report.rows] == pytest.approx(list(hits / n), **close)
    assert [row[3] for row in report.rows] == pytest.approx(list(2 * hits / (called + n)), **close)
    accuracy = report.averages["micro avg"][1] if "micro avg" in report.averages else report.accuracy
    if form is report_printing.as_another_table:
        accuracy = report.said[0][0]
    if form is not report_printing.in_018:
        assert accuracy == pytest.approx(matrix.trace() / matrix.sum(), **close)
    if form is not report_printing.as_another_table:
        assert report.averages["weighted avg"][1] == pytest.approx(matrix.trace() / matrix.sum(), **close)
        assert report.total == matrix.sum()


def test_two_decimals_are_four_of_a_per_cent_and_no_other():
    assert parse_report(report_printing.as_per_cent(MATRIX, 2)).digits == 2
    assert parse_report(report_printing.as_plain_per_cent(MATRIX, 4)).digits == 4
    assert parse_report(report_printing.as_decimal_comma(MATRIX, 3)).digits == 3
    assert parse_report(printed(MATRIX, 0)).digits == 0
    remark = "the numbers are read as per cent"
    assert remark in parse_report(report_printing.as_plain_per_cent(MATRIX, 4)).remarks
    assert remark not in parse_report(printed(MATRIX, 2)).remarks


@pytest.mark.parametrize("number", ["1,372", "1 372", "1'372", "1.372", "1\u202f372", "1\u2019372", "1372", "1372.0"])
@pytest.mark.parametrize("separator", ["   ", ";", " & ", " | "])
def test_thousands_of_supports_may_be_parted(number, separator):
    heads = separator.join(["class", "precision", "recall", "f1-score", "support"])
    rows = [
        separator.join(["normal", "0.97", "0.99", "0.98", number]),
        separator.join(["b", "0.9", "0.8", "0.85", "95"]),
    ]
    assert parse_report("\n".join([heads, *rows])).supports == (1372, 95)


def test_thousands_parted_by_one_blank_are_told_from_a_name_that_ends_in_a_number():
    heads = "precision recall f1-score support\n"
    parted = parse_report(f"{heads}class 1 0.97 0.99 0.98 1 372\nclass 2 0.90 0.80 0.85 95\naccuracy 0.98 1 467\n")
    assert parted.rows[0] == ("class 1", 0.97, 0.99, 0.98, 1372) and parted.total == 1467
    plain = parse_report(f"{heads}class 1 0.97 0.99 0.98 372\n2 0.90 0.80 0.85 95\naccuracy 0.98 467\n")
    assert [row[0] for row in plain.rows] == ["class 1", "2"]
    wide = parse_report(f"{heads}class 1  94 92 93    167\nclass 4  92 93 92    128\n")
    assert wide.rows[1] == ("class 4", 0.92, 0.93, 0.92, 128)


def test_classes_may_be_called_by_numbers_even_one_cell_a_line():
    text = (
        "precision\nrecall\nf1-score\nsupport\n0\n0.89\n0.92\n0.91\n110\n1\n0.90\n0.87\n0.89\n95\naccuracy\n0.90\n205"
    )
    assert parse_report(text).rows == (("0", 0.89, 0.92, 0.91, 110), ("1", 0.90, 0.87, 0.89, 95))


def test_an_accuracy_in_the_other_unit_is_read_by_itself():
    text = printed(MATRIX, 2).replace("0.90       205", "89.8       205", 1)
    report = parse_report(text)
    assert report.accuracy == pytest.approx(0.898) and report.rows[0][1] == pytest.approx(0.89)
    assert parse_report(f"Test accuracy: 89.8 %\n{report_printing.in_018(MATRIX)}").said == ((pytest.approx(0.898), 3),)


def test_an_accuracy_that_a_data_frame_repeats_may_have_other_zeros_in_each_column():
    text = "   precision recall f1-score support\na 0.250000 0.50 0.333333 2.0\nb 0.5 0.25 0.333333 4.0\n"
    report = parse_report(f"{text}accuracy 0.240000 0.24 0.240000 0.24\n")
    assert report.accuracy == 0.24 and report.total is None
    with pytest.raises(ValueError, match="found the accuracies"):
        parse_report(f"{text}accuracy 0.240000 0.25 0.240000 0.24\n")


def test_one_misprint_above_one_does_not_turn_the_unit_of_the_others():
    report = parse_report(printed(MATRIX, 2).replace("0.92", "5.92"))
    assert report.rows[0][1:3] == (0.89, 5.92) and report.digits == 2


def test_undefined_shares_are_read_as_they_are_printed():
    report = parse_report(printed(np.array([[5, 0], [3, 0]]), 2, np.nan))
    assert np.isnan(report.rows[1][1]) and report.rows[1][2] == 0


def test_columns_that_no_rule_knows_are_named():
    report = parse_report(report_printing.as_another_table(MATRIX))
    assert "the column 'AUC' is not checked" in report.remarks
    assert report.specificity == pytest.approx((0.87, 0.92))
    text = "class,precision,recall,f1,support\na,0.9,0.8,0.85,10\nb,0.9,0.8,0.85,10\naverage,0.9,0.8,0.85,20\n"
    assert any("'average' does not say how it averages" in remark for remark in parse_report(text).remarks)


TABLE = "precision recall f1-score support\nnormal 0.89 0.92 0.91 110\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("98 %", "expected two classes"),
        ("", "expected two classes"),
        (TABLE, "classes ['normal']"),
        (TABLE + "normal 0.90 0.87 0.89 95", "needs a name of its own"),
        (TABLE + "osteoporosis 0.90 0.87 95", "'osteoporosis 0.90 0.87 95'"),
        (TABLE + "osteoporosis 0.90 0.87 0.89 95 7 8", "'osteoporosis 0.90 0.87 0.89 95 7 8'"),
        (TABLE + "osteoporosis 0.90 (low) 0.87 0.89 95", "(low)"),
        (TABLE + "osteoporosis 0.90 0.87 0.89 95.5", "the support is '95.5'"),
        (TABLE + "osteoporosis 0.90 -0.87 0.89 95", "-0.87"),
        (TABLE + TABLE, "heads stand twice"),
        (TABLE + "b 0.9 0.9 0.9 9\nsamples avg 0.9 0.9 0.9 119", "expected one label a film"),
        (TABLE + "b 0.9 0.9 0.9 9\nmacro avg 0.9 0.9 0.9 9\nmacro avg 0.9 0.9 0.9 9", "a second row 'macro avg'"),
        ("class,precision,recall,f1\na,0.9,0.8,0.85\nb,0.9,0.8,0.85\n", "'a,0.9,0.8,0.85': without a support"),
        ("class,precision,recall,f1,support\na,0.9,0.8,0.85\nb,0.9,0.8,0.85,9\n", "'a,0.9,0.8,0.85' has 4 cells"),
        ("class,precision,recall,f1,support\na,0.9±x,0.8,0.85,9\nb,0.9,0.8,0.85,9\n", "'0.9±x' is no share"),
        ("{'a': {'precision': 0.9, 'recall'", "line 1 is neither Python nor JSON"),
        ("{'a': " * 2000, "lie too deep"),
        ("{'a': {'b': {'c': {}}}}", "lie too deep"),
        ("{f(): 1}", "is no name"),
        ("x" * 300_000, "expected one report of at most"),
        ("precision recall f1-score support\n" + "9 " * 20_001, "is no row of 4 numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_line_and_what_was_expected(text, told):
    with pytest.raises(ValueError) as refused:
        parse_report(text)
    assert told in str(refused.value) and len(str(refused.value)) < 1000


def test_files_of_other_encodings_are_read_and_others_refused():
    text = report_printing.with_hard_spaces(MATRIX)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        assert parse_report(decoded(text.encode(encoding))[0]) == parse_report(text)
    with pytest.raises(ValueError, match="not text"):
        decoded(b"\x89PNG\r\n\x1a\n\0\0")


def test_a_number_is_told_from_a_word():
    assert all(is_number(text) for text in ("0.97", ".97", "97%", "0,97", "1,372", "12'345", "nan", "5e-05", "1"))
    assert not any(is_number(text) for text in ("", "-", "f1-score", "0.9-1.0", "1 372", "v2", "0.9.7"))
    assert is_number("1 372", spaced=True)
