"""What Fig. 5 allows, and each verdict reached and left by changing one number."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report

from osteo_utils.papers import claims, printed_report
from osteo_utils.study.results import Estimate

FIG5 = """Classification Report:
        precision  recall  f1-score  support
normal        0.97    0.99    0.98    372
osteoporosis  0.99    0.98    0.98    474
accuracy                      0.98    846
macro avg     0.98    0.98    0.98    846
weighted avg  0.98    0.98    0.98    846
"""
REAL = {"dataset": "knee744", "synthetic": False}


def estimate(value, low=None, high=None):
    return Estimate(value, low, high, 700, 600)


def as_measured():
    """Metrics of a real study that reproduces nothing but VGG16."""
    return {
        "data/files": estimate(744),
        "data/knees": estimate(610),
        "data/conflicts": estimate(20),
        "vgg16/grouped/accuracy": estimate(0.77, 0.74, 0.80),
        "resnet50/grouped/accuracy": estimate(0.82, 0.79, 0.85),
        "resnet50/by_file/accuracy": estimate(0.86, 0.83, 0.89),
        "ensemble-segmented/grouped/accuracy": estimate(0.81, 0.78, 0.84),
        "comparison/resnet50-vgg16/grouped/accuracy": estimate(0.05, 0.02, 0.08),
        "leakage/by_file/above_grouped": estimate(0.12, 0.08, 0.16),
    }


def judged(metrics=None, facts=REAL, paper=None):
    found = claims.verdicts(as_measured() if metrics is None else metrics, facts, paper)
    return {row["id"]: row for row in found}


def errors(matrices):
    return [(int(matrix[0, 1]), int(matrix[1, 0])) for matrix in matrices]


def test_exactly_three_matrices_print_as_figure_5():
    report = printed_report.parse_report(FIG5)
    assert report.supports == (372, 474)
    assert errors(printed_report.matrices_printing_as(report)) == [(4, 11), (5, 10), (5, 11)]


def test_no_matrix_of_372_and_372_images_prints_as_figure_5():
    assert printed_report.matrices_printing_as(printed_report.parse_report(FIG5), (372, 372)) == []


def test_scikit_learn_prints_all_three_matrices_as_figure_5_and_a_neighbour_differently():
    def printed(wrong_normal, wrong_osteoporosis):
        y = np.r_[np.zeros(372, int), np.ones(474, int)]
        called = y.copy()
        called[:wrong_normal], called[372 : 372 + wrong_osteoporosis] = 1, 0
        text = classification_report(y, called, target_names=["normal", "osteoporosis"])
        return printed_report.parse_report(text)

    assert all(printed(*pair) == printed_report.parse_report(FIG5) for pair in [(4, 11), (5, 10), (5, 11)])
    assert not any(printed(*pair) == printed_report.parse_report(FIG5) for pair in [(4, 10), (4, 12), (6, 11), (5, 12)])


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_matrix_is_always_among_those_that_print_as_its_own_report(data, n0, n1, digits):
    e0, e1 = data.draw(st.integers(0, n0)), data.draw(st.integers(0, n1))
    y = np.r_[np.zeros(n0, int), np.ones(n1, int)]
    called = np.r_[np.arange(n0) < e0, np.arange(n1) >= e1].astype(int)
    text = classification_report(y, called, labels=[0, 1], target_names=["a", "b"], zero_division=0, digits=digits)
    assert (e0, e1) in errors(printed_report.matrices_printing_as(printed_report.parse_report(text)))


def test_figure_5_cannot_be_a_hold_out_of_744_images():
    checked = printed_report.arithmetic(printed_report.parse_report(FIG5), 744, (372, 372))
    assert len(checked.contradictions) == 1
    assert "846 > 744" in checked.contradictions[0]
    assert any("with 372 + 372 images none prints" in remark for remark in checked.remarks)
    assert any("372 normal" in remark and "none is left" in remark for remark in checked.remarks)
    assert printed_report.arithmetic(printed_report.parse_report(FIG5), 5000).contradictions == []


def test_a_report_that_contradicts_itself_is_found():
    wrong_total = FIG5.replace("846", "845")
    assert "add up to 846" in printed_report.arithmetic(printed_report.parse_report(wrong_total)).contradictions[0]
    wrong_recall = FIG5.replace("0.97    0.99    0.98", "0.97    0.90    0.98")
    assert (
        "no confusion matrix" in printed_report.arithmetic(printed_report.parse_report(wrong_recall)).contradictions[0]
    )


def test_a_text_without_two_classes_is_refused():
    with pytest.raises(ValueError, match="expected two classes"):
        printed_report.parse_report("accuracy 98 %")
    with pytest.raises(ValueError, match="expected two classes"):
        printed_report.parse_report(FIG5.replace("osteoporosis", "#").split("#")[0])


def test_the_six_claims_are_there_with_the_papers_values():
    paper = claims.load()
    assert {c["id"]: c["paper"] for c in paper["claims"]} == {
        "C1": 744, "C2": None, "C3": 0.78, "C4": 0.98, "C5": 0.96, "C6": 0.20,
    }  # fmt: skip
    assert printed_report.parse_report(paper["claims"][3]["report"]) == printed_report.parse_report(FIG5)
    assert all(len(c["quote"].split()) <= 12 for c in paper["claims"])


def test_the_verdicts_of_a_real_study():
    found = judged()
    assert {name: row["verdict"] for name, row in found.items()} == {
        "C1": "reproduced",
        "C2": "not reproduced",
        "C3": "within interval",
        "C4": "arithmetically impossible as described",
        "C5": "not reproduced",
        "C6": "not reproduced",
    }
    assert list(found["C1"]) == ["id", "where", "claim", "paper", "ours", "verdict", "why"]
    assert found["C3"]["ours"] == "77.0 % (74.0 % to 80.0 %)"
    assert found["C6"]["ours"] == "+5.0 points (+2.0 points to +8.0 points)"
    assert found["C2"]["ours"] == "744 files, 610 knees, 20 conflicts"
    assert "20 knees carry both labels" in found["C1"]["why"]
    assert "Split by file instead: 86.0 %" in found["C4"]["why"]
    assert "846 > 744" in found["C4"]["why"]
    assert "79.0 % to 85.0 % lies below the paper's 98.0 %, our value 16.0 points below it" in found["C4"]["why"]
    assert "96% lies below the 98% of its own member (C4)" in found["C5"]["why"]
    assert "lies above zero" in found["C6"]["why"]


def test_what_the_papers_own_recipe_gives_is_told_beside_and_turns_no_verdict():
    recipe = {
        "vgg16/grouped/paper/accuracy": estimate(0.71, 0.67, 0.75),
        "vgg16/by_file/paper/accuracy": estimate(0.79, 0.75, 0.83),
    }
    before, after = judged(), judged(as_measured() | recipe)
    told = "With the paper's recipe, as far as its text goes: 71.0 % (67.0 % to 75.0 %), split by file 79.0 %."
    assert after["C3"]["why"] == f"{before['C3']['why']} {told}"
    assert {name: one["verdict"] for name, one in after.items()} == {
        name: one["verdict"] for name, one in before.items()
    }
    assert after["C4"] == before["C4"]


@pytest.mark.parametrize(("high", "verdict"), [(0.40, "not reproduced"), (0.42, "reproduced")])
def test_labels_that_a_reference_label_contradicts_turn_the_first_claim(high, verdict):
    kappa = {"reference/kappa": estimate(0.3, 0.2, high)}
    before, after = judged(), judged(as_measured() | kappa)
    assert after["C1"]["verdict"] == verdict
    doubted = "by Cohen's kappa 0.30 (0.20 to 0.40)"
    for name, told in {"C1": "less than moderate", "C3": "the name of a folder", "C4": "the name of a folder"}.items():
        assert (doubted in after[name]["why"] and told in after[name]["why"]) == (high < 0.41)
    for other in before.keys() - {"C1"}:
        assert after[other]["verdict"] == before[other]["verdict"]


@pytest.mark.parametrize(
    ("claim", "metric", "value", "verdict"),
    [
        ("C1", "data/files", estimate(740), "not reproduced"),
        ("C2", "data/knees", estimate(744), "reproduced"),
        ("C2", "leakage/by_file/above_grouped", estimate(0.02, -0.01, 0.05), "undecidable"),
        ("C3", "vgg16/grouped/accuracy", estimate(0.85, 0.82, 0.88), "reproduced"),
        ("C3", "vgg16/grouped/accuracy", estimate(0.70, 0.67, 0.73), "not reproduced"),
        ("C3", "vgg16/grouped/accuracy", estimate(0.75, 0.72, 0.78), "within interval"),
        ("C4", "resnet50/grouped/accuracy", estimate(0.99, 0.985, 0.995), "arithmetically impossible as described"),
        ("C5", "ensemble-segmented/grouped/accuracy", estimate(0.95, 0.93, 0.97), "within interval"),
        ("C5", "ensemble-segmented/grouped/accuracy", estimate(0.98, 0.97, 0.99), "reproduced"),
        ("C6", "comparison/resnet50-vgg16/grouped/accuracy", estimate(0.18, 0.12, 0.24), "within interval"),
        ("C6", "comparison/resnet50-vgg16/grouped/accuracy", estimate(0.30, 0.25, 0.35), "reproduced"),
    ],
)
def test_one_number_turns_one_verdict(claim, metric, value, verdict):
    before, after = judged(), judged(as_measured() | {metric: value})
    assert after[claim]["verdict"] == verdict
    for other in before.keys() - {claim}:
        assert after[other]["verdict"] == before[other]["verdict"]


@pytest.mark.parametrize(
    ("claim", "metric"),
    [
        ("C1", "data/files"), ("C2", "data/knees"), ("C2", "leakage/by_file/above_grouped"),
        ("C3", "vgg16/grouped/accuracy"), ("C5", "ensemble-segmented/grouped/accuracy"),
        ("C6", "comparison/resnet50-vgg16/grouped/accuracy"),
    ],
)  # fmt: skip
def test_a_missing_metric_is_undecidable_and_named(claim, metric):
    metrics = as_measured()
    del metrics[metric]
    row = judged(metrics)[claim]
    assert row["verdict"] == "undecidable"
    assert metric in row["why"]


def test_arithmetic_alone_turns_the_verdict_on_resnet50():
    paper = copy.deepcopy(claims.load())
    paper["images"] = 5000
    assert judged(paper=paper)["C4"]["verdict"] == "not reproduced"
    good = as_measured() | {"resnet50/grouped/accuracy": estimate(0.975, 0.965, 0.985)}
    assert judged(good, paper=paper)["C4"]["verdict"] == "within interval"


def test_on_a_synthetic_set_only_arithmetic_has_a_verdict_and_our_number_is_still_shown():
    found = judged(facts={"dataset": "phantom", "synthetic": True})
    assert found["C4"]["verdict"] == "arithmetically impossible as described"
    assert {found[name]["verdict"] for name in ("C1", "C2", "C3", "C5", "C6")} == {"not applicable: synthetic"}
    assert found["C3"]["ours"] == "77.0 % (74.0 % to 80.0 %)"
    assert "lies below the paper" not in found["C4"]["why"]


def test_the_facts_must_tell_whether_the_set_is_synthetic():
    with pytest.raises(ValueError, match="synthetic"):
        claims.verdicts({}, {"dataset": "knee744"})


def test_every_verdict_that_a_rule_gives_is_a_known_one_even_without_any_metric():
    assert {row["verdict"] for row in claims.verdicts({}, REAL)} <= set(claims.VERDICTS)


def test_the_command_line_prints_the_matrices_the_intervals_and_the_contradiction(tmp_path, capsys):
    path = tmp_path / "report.txt"
    path.write_text(FIG5)
    assert claims.main([str(path), "--images", "744", "--class-sizes", "372", "372"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("confusion matrices print like this (rows") == 1
    for matrix in ("[[368, 4], [11, 463]]", "[[367, 5], [10, 464]]", "[[367, 5], [11, 463]]"):
        assert matrix in shown
    # Wilson's interval of 831 of 846.
    assert "831/846 = 0.9823, 95 % 0.9710 to 0.9892" in shown
    assert "846 > 744" in shown


def test_the_module_runs_as_a_command():
    command = [sys.executable, "-m", "osteo_utils.papers.claims", "-"]
    done = subprocess.run(command, input=FIG5, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Contradictions: none" in done.stdout
    assert "give --images N" in done.stdout


def test_the_command_line_gives_the_range_of_each_cell_where_there_are_too_many_to_list(tmp_path, capsys):
    path = tmp_path / "report.txt"
    path.write_text(
        "x precision recall f1 support\na 0.90 0.90 0.90 30000\nb 0.90 0.90 0.90 30000\nAccuracy 0.90 60000"
    )
    assert claims.main([str(path)]) == 0
    shown = capsys.readouterr().out
    assert "90,601 confusion matrices print like this" in shown and len(shown.splitlines()) < 10
    assert "accuracy 0.8950 to 0.9050 (53,700 to 54,300 of 60,000)" in shown
    assert "  a: 26,850 to 27,150 | 2,850 to 3,150" in shown
    path.write_text(path.read_text().replace("Accuracy 0.90", "Accuracy 0.99"))
    assert claims.main([str(path)]) == 1
    assert "no confusion matrix with supports (30000, 30000) prints like this" in capsys.readouterr().out


def test_the_command_line_refuses_what_it_cannot_read(tmp_path, capsys):
    path = tmp_path / "report.txt"
    path.write_text("98 %")
    assert claims.main([str(path)]) == 2
    assert "expected two classes" in capsys.readouterr().err
    assert claims.main([str(tmp_path / "none.txt")]) == 2
    assert "none.txt" in capsys.readouterr().err


def test_the_verdict_on_resnet50_turns_when_the_supports_of_its_printed_report_fit_into_the_set():
    """Of 73 and 76 images, a fifth of 744, a report of the same shares is no longer impossible."""
    paper = copy.deepcopy(claims.load())
    y = np.r_[np.zeros(73, int), np.ones(76, int)]
    called = y.copy()
    called[0], called[73:75] = 1, 0
    paper["claims"][3]["report"] = classification_report(y, called, target_names=["normal", "osteoporosis"])
    assert judged(paper=paper)["C4"]["verdict"] == "not reproduced"
    assert "846" not in judged(paper=paper)["C4"]["why"]


def test_what_the_paper_says_of_its_own_films_is_not_judged_on_others() -> None:
    theirs = {row["id"]: row["verdict"] for row in claims.verdicts(as_measured(), REAL)}
    others = {row["id"]: row for row in claims.verdicts(as_measured(), {**REAL, "dataset": "folder"})}
    for name in ("C1", "C2"):
        assert theirs[name] != claims.OTHER_FILMS
        assert others[name]["verdict"] == claims.OTHER_FILMS
        assert "about the paper's own films; here they are of the set 'folder'" in others[name]["why"]
    assert all(others[name]["verdict"] == theirs[name] for name in ("C3", "C4", "C5", "C6"))
