"""What people paste around and into a report: titles, accuracies, deviations, pages of the web, confusion matrices."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from report_printing import NAMES, as_csv, as_markdown, labels, one_cell_a_line, printed

from osteo_utils.papers.printed_report import arithmetic, parse_report
from osteo_utils.papers.report_source import without_matrices

# 101 of 110 normal and 83 of 95 right: accuracy 184 / 205 = 0.89756.
MATRIX = np.array([[101, 9], [12, 83]])
REPORT = printed(MATRIX)
THREE = np.array([[101, 9, 0], [12, 83, 0], [8, 16, 16]])
DICT = printed(MATRIX, output_dict=True)
FRAME = pd.DataFrame(DICT).T
ROWS = [("normal", 0.89, 0.92, 0.91, 110), ("osteoporosis", 0.90, 0.87, 0.89, 95)]


@pytest.mark.parametrize(
    "line",
    [
        "Accuracy: 0.8976", "Accuracy: 0.8975609756097561", "Test accuracy: 89.76%", "Test Accuracy: 89.7 %",
        "accuracy_score: 0.897", "The accuracy is 0.8976.", "**Accuracy:** 0.90", "Overall accuracy = 0.9", "Accuracy Score : 0.89756",
    ],
)  # fmt: skip
@pytest.mark.parametrize("below", [False, True])
def test_an_accuracy_beside_the_table_agrees_however_it_is_rounded_or_cut_off(line, below):
    report = parse_report(f"{REPORT}\n{line}\n" if below else f"{line}\n{REPORT}")
    assert len(report.said) == 1 and report.accuracy == 0.90
    assert arithmetic(report).contradictions == []


@pytest.mark.parametrize("line", ["Accuracy: 0.9512", "Accuracy: 0.8985", "Test accuracy: 89.9%", "accuracy = 0.8977"])
def test_an_accuracy_that_no_rounding_makes_agree_is_a_contradiction(line):
    checked = arithmetic(parse_report(f"{line}\n{REPORT}"))
    assert len(checked.contradictions) == 1 and "has the accuracy" in checked.contradictions[0]
    assert checked.possible.count, "the table itself is sound"


@pytest.mark.parametrize(
    "line",
    [
        "Training accuracy: 0.9912", "Validation accuracy: 0.95", "Balanced accuracy: 0.8959", "VGG16 accuracy: 0.78", "Loss: 0.31, Accuracy: 0.99",
        "ROC AUC: 0.951", "Cohen Kappa  0.79", "7/7 [====] - 2s 210ms/step - loss: 0.3124 - accuracy: 0.9976", "Accuracy: 0.99 ± 0.01",
    ],
)  # fmt: skip
@pytest.mark.parametrize("below", [False, True])
def test_numbers_of_other_films_or_measures_are_named_and_not_compared(line, below):
    checked = arithmetic(parse_report(f"{REPORT}\n{line}\n" if below else f"{line}\n{REPORT}"))
    assert checked.contradictions == [] and any("not checked" in remark for remark in checked.remarks)


def test_of_several_accuracies_one_that_agrees_is_enough():
    checked = arithmetic(parse_report(f"Accuracy: 0.9912\nAccuracy: 0.8976\n{REPORT}"))
    assert checked.contradictions == [] and any("0.9912 beside it" in remark for remark in checked.remarks)
    assert arithmetic(parse_report(f"Accuracy: 0.9912\nAccuracy: 0.9512\n{REPORT}")).contradictions


@pytest.mark.parametrize(
    "text",
    [
        f"Precision, recall and F1 of the test set\n{REPORT}",
        f"Table 3. Precision, recall and F1-score of ResNet50 (n = 205)\n\n{REPORT}",
        f"{REPORT}\nFigure 5: Precision, recall and F1-score of 205 knees.\n",
        f"Precision, recall, F1 and support of the test set\n{as_csv(MATRIX)}",
        f"Precision, recall and F1 of the test set\n{one_cell_a_line(MATRIX)}",
        f"{REPORT}\n* p < 0.05 against VGG16\n",
        f"{REPORT}\n2024-03-01 12:00:05 finished\n",
        "\n".join(f"> {line}" for line in REPORT.splitlines()),
        f"In [12]: print(classification_report(y_test, y_pred, digits=2))\n{REPORT}",
        REPORT.replace("\n", "\r\n"),
        f"<html><head><title>Run 3</title></head><body><pre>{REPORT}</pre></body></html>",
        FRAME.round(2).to_html(),
        pd.DataFrame(DICT).round(2).to_html(),
        f"<style>td {{a: 1}}</style>\n{FRAME.round(2).to_html(border=0)}\n<p>Accuracy: 0.8976</p>",
        "Class\nnormal\nosteoporosis\nPrecision\n0.89\n0.90\nRecall\n0.92\n0.87\nF1-score\n0.91\n0.89\nSupport\n110\n95\n",
        "Table 2\nnormal\nosteoporosis\naccuracy\nprecision\n0.89\n0.90\nrecall\n0.92\n0.87\nf1-score\n0.91\n0.89\n0.90\nsupport\n110\n95\n205",
        "Class normal osteoporosis\nPrecision 0.89 0.90\nRecall 0.92 0.87\nF1-score 0.91 0.89\nSupport 110 95\n",
        "Class;Precision;Recall;F1;Support\nnormal;0,89;0,92;0,91;110;\nosteoporosis;0,90;0,87;0,89;95;\nAccuracy;0,90\n",
        "│ Class │ Precision │ Recall │ F1 │ Support │\n├───┼───┼───┼───┼───┤\n│ normal ┆ 0.89 ┆ 0.92 ┆ 0.91 ┆ 110 │\n│ osteoporosis │ 0.90 │ 0.87 │ 0.89 │ 95 │\n",
        "Class & Precision & Recall & F1 & Support \\\\ \\hline normal & 0.89 & 0.92 & 0.91 & 110 \\\\ osteoporosis & 0.90 & 0.87 & 0.89 & 95 \\\\",
        "Class & Precision & Recall & F1 & Support \\\\\n\\rowcolor{gray} normal & 0.89 & 0.92 & 0.91 & 110 \\\\[2pt]\nosteoporosis & 0.90 & 0.87 & 0.89 & 95 \\\\",
        "Class  Precision  Recall  F1  Support\nnormal  0.89*  0.92†  **0.91**  110\nosteoporosis  0.90  0.87  0.89  95\nmacro avg  0.90  0.90  0.90\n",
        json.dumps([{"class": row[0]} | dict(zip(("precision", "recall", "f1-score", "support"), row[1:], strict=True)) for row in ROWS]),
        json.dumps({"classification_report": FRAME.round(2).T.to_dict()}),
    ],
    ids=range(24),
)  # fmt: skip
def test_what_stands_around_a_report_and_how_it_is_laid_out_changes_nothing(text):
    report = parse_report(text)
    assert list(report.rows) == ROWS
    assert arithmetic(report).contradictions == []


PLAIN = "Class Precision Recall F1-score Support\nnormal 0.89 0.92 0.91 110\nosteoporosis 0.90 0.87 0.89 95\n"


@pytest.mark.parametrize(
    "mark",
    [" ± 0.02", "±0.02", " (±0.02)", " +/- 0.02", " (0.02)", " (0.85-0.93)", " [0.85, 0.93]", " (95% CI: 0.85–0.93)"],
)
def test_deviations_and_intervals_are_left_out_and_said_to_be(mark):  # fmt: skip
    report = parse_report(PLAIN.replace("0.89", f"0.89{mark}").replace("0.92", f"0.92{mark}"))
    assert list(report.rows) == ROWS and report.averaged
    assert any("behind a number is not checked" in remark for remark in report.remarks)


def test_means_over_several_runs_need_not_belong_to_one_matrix():
    text = PLAIN.replace("0.91", "0.95")
    assert arithmetic(parse_report(text)).contradictions
    checked = arithmetic(parse_report(text.replace("0.95", "0.95 ± 0.01")))
    assert checked.contradictions == [] and any("means over several runs" in remark for remark in checked.remarks)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("110", "110 (53.7%)"), ("110", "110 (53.7 %)"), ("0.92", "91.8% (101/110)"), ("0.92", "101/110 (91.8%)"),
        ("0.92", "101 (91.8%)"),
    ],
)  # fmt: skip
def test_counts_with_their_per_cent_are_told_from_shares_with_their_counts(before, after):
    report = parse_report(PLAIN.replace(before, after))
    assert report.supports == (110, 95) and report.rows[0][2] == pytest.approx(0.92, abs=0.003)
    assert not report.averaged and arithmetic(report).contradictions == []


def frames(matrix):
    """A confusion matrix in the ways that people print it."""
    names = list(NAMES[: len(matrix)])
    truth, called = labels(matrix)
    named = [pd.Series([names[i] for i in one], name=name) for one, name in ((truth, "Actual"), (called, "Predicted"))]
    return {
        "array": str(matrix), "repr": repr(matrix), "list": str(matrix.tolist()), "frame": str(pd.DataFrame(matrix, names, names)),
        "numbered frame": str(pd.DataFrame(matrix)), "plain": "\n".join(" ".join(map(str, row)) for row in matrix),
        "crosstab": str(pd.crosstab(*named)), "crosstab with sums": str(pd.crosstab(*named, margins=True)),
        "numbered crosstab": str(pd.crosstab(truth, called)), "numbered with sums": str(pd.crosstab(truth, called, margins=True)),
        "Markdown": "\n".join(f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(names, matrix, strict=True)),
        "CSV": pd.DataFrame(matrix, names, names).to_csv(),
    }  # fmt: skip


@pytest.mark.parametrize("way", frames(MATRIX))
@pytest.mark.parametrize("matrix", [MATRIX, THREE], ids=["two", "three"])
@pytest.mark.parametrize("below", [False, True])
def test_a_matrix_beside_the_report_is_found_in_any_dress_and_compared(way, matrix, below):
    wrong = matrix.copy()
    wrong[0, :2] += [-5, 5]
    for one, told in ((matrix, "prints like this"), (wrong, "does not print like this")):
        parts = [printed(matrix), f"Confusion matrix:\n{frames(one)[way]}"]
        checked = arithmetic(parse_report("\n\n".join(parts if below else parts[::-1])))
        assert any(told in line for line in checked.remarks + checked.contradictions)
        assert bool(checked.contradictions) == (one is wrong)


@pytest.mark.parametrize(
    "text", ["TN=101 FP=9 FN=12 TP=83", "True Negatives: 101\nFalse Positives: 9\nFalse Negatives: 12\nTrue Positives: 83",
             "(tn, fp, fn, tp) = (101, 9, 12, 83)", "101 9 / 12 83", "[101 9; 12 83]"],
)  # fmt: skip
def test_four_counts_are_a_matrix(text):
    assert without_matrices(text)[1] == (((101, 9), (12, 83)),)
    assert any("prints like this" in remark for remark in arithmetic(parse_report(f"{REPORT}\n{text}\n")).remarks[1:])


def test_counts_that_look_like_the_numbers_of_rows_are_counts():
    assert without_matrices("1 0 0\n2 0 1\n1 0 0")[1] == (((1, 0, 0), (2, 0, 1), (1, 0, 0)),)


def test_rows_of_a_report_in_whole_numbers_are_no_matrix():
    perfect = np.diag([50, 50, 50, 50])
    for matrix in (MATRIX, THREE, perfect):
        for text in (printed(matrix, 0), as_markdown(matrix, 0)):
            assert without_matrices(text)[1] == () and parse_report(text).supports == tuple(matrix.sum(axis=1))


def test_one_matrix_that_agrees_leaves_others_to_other_models_and_shares_are_no_counts():
    checked = arithmetic(parse_report(f"{REPORT}\n{MATRIX}\nVGG16:\n[[90 20]\n [15 80]]\n"))
    assert checked.contradictions == [] and any(
        "[15, 80]] beside the report does not" in one for one in checked.remarks
    )
    checked = arithmetic(parse_report(f"{REPORT}\n[[0.92 0.08]\n [0.13 0.87]]\n"))
    assert checked.contradictions == [] and any("its numbers are no counts" in one for one in checked.remarks)


def test_undefined_shares_agree_with_their_matrix_however_f1_was_computed():
    one = np.array([[5, 0], [3, 0]])
    text = printed(one, 2, np.nan)
    assert arithmetic(parse_report(f"{text}\n{one}")).contradictions == []
    by_hand = "x precision recall f1 support\na 0.62 1.00 0.77 5\nb nan 0.00 nan 3\n"
    assert arithmetic(parse_report(by_hand)).contradictions == []
    assert arithmetic(parse_report(by_hand.replace("0.77", "0.71"))).contradictions


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Confusion Matrix and Statistics\n\n          Reference\nPrediction  No Yes\n       No  101  12\n", "R's caret"),
        ("=== Detailed Accuracy By Class ===\n  TP Rate  FP Rate  Precision\n", "Weka"),
        (f"{REPORT}\n101 9 12\n", "'101 9 12' is no row"),
        (FRAME.to_html() * 2, "heads stand twice"),
        ("<table><tr><td><![foo[", "expected"),
        ('{"a": {"precision": 0.9}, "columns": [[1, 2]]}', "lie too deep"),
        (json.dumps({"vgg16": DICT, "resnet50": DICT}), "hold reports; expected one"),
    ],
)  # fmt: skip
def test_what_another_tool_prints_is_refused_by_its_name_and_what_to_do(text, told):
    with pytest.raises(ValueError) as refused:
        parse_report(text)
    assert told in str(refused.value) and "expected" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["1" + " " * 49_000 + "x", "1 (" + "1" * 49_000, "[[1]" * 12_000, "a=" + "1" * 49_000 + "x", "a" + ":" * 49_000, "<td>" * 12_000,
     "1" * 49_000, ">" * 49_000, "| " * 24_000, "0 1\n" * 12_000, "TN=1 " * 9_000, "accuracy " * 5_000, "{" * 49_000],
    ids=range(13),
)  # fmt: skip
def test_no_text_takes_long_to_refuse(text):
    start = time.process_time()
    with pytest.raises(ValueError):
        parse_report(text)
    assert time.process_time() - start < 5
