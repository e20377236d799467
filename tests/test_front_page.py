"""The first two pages: which sentence is printed follows from the saved intervals, and it all fits on two pages."""

import json
from pathlib import Path

import pytest
import typst

from osteo_utils.papers import claims
from osteo_utils.plots import figures
from osteo_utils.reporting import front_page, report
from osteo_utils.study import paths, results
from osteo_utils.study.results import Estimate

PUBLISHED = paths.code_root() / "reports" / "published"


@pytest.fixture
def metrics() -> dict[str, Estimate]:
    """Those of a real set on which everything was measured."""
    ends = {
        "vgg16/grouped/accuracy": (0.74, 0.82),
        "resnet50/grouped/accuracy": (0.76, 0.84),
        "ensemble-segmented/grouped/accuracy": (0.77, 0.85),
        **{f"{model}/grouped/auroc": (0.8, 0.9) for model in ("vgg16", "resnet50", "ensemble")},
        "leakage/grouped/accuracy": (0.76, 0.84),
        "leakage/by_file/accuracy": (0.78, 0.86),
        "leakage/resubstitution/accuracy": (0.96, 0.98),
        "leakage/resubstitution+shuffled/accuracy": (0.98, 1.0),
        "reference/kappa": (0.02, 0.2),
        "reference/ensemble/folder_all/auroc": (0.8, 0.9),
        "reference/ensemble/folder_extremes/auroc": (0.7, 0.8),
        "reference/ensemble/reference_extremes/auroc": (0.45, 0.7),
        "reference/ensemble/folder_minus_reference/auroc": (0.06, 0.3),
        "reference/ensemble/folder_osteopenia/auroc": (0.9, 0.96),
        "comparison/two_by_two/grouped/segmenting/accuracy": (-0.02, 0.02),
        "comparison/two_by_two/grouped/combining/accuracy": (-0.01, 0.03),
        "shortcut/size/auroc": (0.6, 0.7),
        "shortcut/background/auroc": (0.7, 0.8),
        "shortcut/background/shuffled_auroc": (0.4, 0.95),
    }
    counts = {"usable": 744, "knees": 335, "groups": 225, "copied_files": 744, "conflicts": 14}
    return {
        **{f"data/{name}": Estimate(float(number)) for name, number in counts.items()},
        **{name: Estimate((low + high) / 2, low, high, 600, 200, note="x") for name, (low, high) in ends.items()},
    }


def leads(metrics: dict[str, Estimate], dataset: str = "knee744") -> list[str]:
    return [item["lead"] for item in front_page.found(metrics, dataset)]


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 600, 200, note="x")


def test_the_findings_of_a_set_like_the_real_one(metrics: dict[str, Estimate]) -> None:
    assert leads(metrics) == [
        "The files are not independent.",
        "With no known person on both sides of a split, ResNet50 and both on bone alone stay below the paper; VGG16 agrees with it.",
        "Mistakes can print the paper's best number.",
        "The networks follow the names of the folders and are not shown to follow the reference label.",
        "Neither segmenting nor combining is shown to help.",
        "The label can be guessed without looking at bone.",
    ]
    text = " ".join(item["text"] for item in front_page.found(metrics, "knee744"))
    for said in (
        "744 of 744 films of 335 knees of at most 225 persons have a copy, altered or not, among the others. 14 knees lie under both labels",
        "VGG16 0.780 (0.740–0.820), paper 0.78",
        "0.800 (0.760–0.840) on the honest split and 0.970 (0.960–0.980) under “scored on training images”",
        "where nothing can be learnt, it reaches 0.990 (0.980–1.000) that way",
        "scores 846 images of a set of 744",
        "at the folder and 0.575 (0.450–0.700) at the reference",
        "segmenting +0.000 (-0.020 to +0.020)",
        "reaches AUROC 0.750 (0.700–0.800) from “bone painted over” alone",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("changed", "lead"),
    [
        ({"data/copied_files": Estimate(0.0)}, "No film is there twice."),
        ({"resnet50/grouped/accuracy": between(0.95, 0.99), "ensemble-segmented/grouped/accuracy": between(0.95, 0.99)},
         "With no known person on both sides of a split, no accuracy lies clearly below the paper's."),
        ({"leakage/resubstitution/accuracy": between(0.9, 0.96)}, "No mistake tried here prints the paper's best number."),
        ({"reference/ensemble/folder_minus_reference/auroc": between(-0.1, 0.1)},
         "The labels are in doubt; networks are not shown to follow one more than the other."),
        ({"reference/ensemble/folder_minus_reference/auroc": between(-0.1, 0.1), "reference/kappa": between(0.9, 1.0)},
         "The labels agree with the reference label; networks are not shown to follow one more than the other."),
        ({"data/groups": Estimate(335.0)},
         "With no knee on both sides of a split, ResNet50 and both on bone alone stay below the paper; VGG16 agrees with it."),
        ({"reference/ensemble/reference_extremes/auroc": between(0.6, 0.7)},
         "The networks follow the names of the folders more than the reference label."),
        ({"reference/ensemble/folder_minus_reference/auroc": between(-0.3, -0.1)},
         "The networks follow the reference label more than the names of the folders."),
        ({"reference/ensemble/folder_minus_reference/auroc": between(-0.1, 0.1), "reference/kappa": between(0.2, 0.6)},
         "The labels are not shown to agree with the reference label; networks are not shown to follow one more than the "
         "other."),
        ({"comparison/two_by_two/grouped/segmenting/accuracy": between(0.01, 0.05)},
         "Segmenting helps; combining is not shown to help."),
        ({"comparison/two_by_two/grouped/combining/accuracy": between(-0.05, -0.01)},
         "Segmenting is not shown to help; combining harms."),
        ({"shortcut/size/auroc": between(0.4, 0.6), "shortcut/background/auroc": between(0.4, 0.65)},
         "Nothing but bone is shown to give the label away."),
    ],
)  # fmt: skip
def test_each_lead_turns_with_its_interval(metrics: dict[str, Estimate], changed: dict, lead: str) -> None:
    before = leads(metrics)
    after = leads(metrics | changed)
    assert lead not in before and lead in after and len(set(before) - set(after)) == 1


def test_an_honest_split_is_never_called_a_mistake(metrics: dict[str, Estimate]) -> None:
    text = front_page.found(metrics | {"leakage/grouped_all/accuracy": between(0.99, 1.0)}, "knee744")[2]["text"]
    assert "0.970 (0.960–0.980) under “scored on training images”" in text


def test_what_was_not_measured_is_left_out_or_said_to_be_open(metrics: dict[str, Estimate]) -> None:
    fewer = {
        name: one for name, one in metrics.items() if not name.startswith(("reference/", "comparison/", "shortcut/"))
    }
    assert leads(fewer)[3:] == ["The labels could not be checked."]
    assert set(front_page.message(fewer)["part"]) == {"accuracy"}
    with pytest.raises(ValueError, match="no 'leakage/grouped/accuracy'; run 07_leakage_lab again"):
        front_page.found({name: one for name, one in fewer.items() if "leakage" not in name}, "knee744")


def labels(metrics: dict[str, Estimate]) -> tuple[str, str]:
    found = front_page.found(metrics, "knee744")
    return next((item["lead"], item["text"]) for item in found if "labels" in item["lead"])


def test_a_reference_label_of_few_films_is_not_said_to_be_unknown(metrics: dict[str, Estimate]) -> None:
    few = {name: one for name, one in metrics.items() if "extremes" not in name}
    lead, text = labels(few)
    assert lead == "The labels are in doubt; which of the two the networks follow could not be asked."
    assert text.startswith("Folder and reference label (x) of 600 films agree by Cohen's kappa 0.110")
    # Without a kappa one of the two labels never changes.
    few = {name: one for name, one in few.items() if name != "reference/kappa"}
    lead, text = labels(few | {"reference/osteopenia": between(0.1, 0.2)})
    assert lead == "The labels could not be checked." and text.startswith("Of 600 films a reference label is known (x)")


def test_a_trait_and_a_nested_choice_are_said_where_they_are_shown(metrics: dict[str, Estimate]) -> None:
    more = metrics | {
        "traits/osteopenia/trait": Estimate(0.86, 0.8, 0.9, note="joint_height"),
        "traits/osteopenia/trait_p": Estimate(0.001),
        "resnet50/grouped/nested/auroc": between(0.86, 0.9),
    }
    said = " ".join(item["text"] for item in front_page.found(more, "knee744"))
    assert (
        "goes most with one trait, place of the joint along the film, from the top, which alone reaches 0.860" in said
    )
    assert "chosen by inner folds, AUROC: ResNet50 0.880 (0.860–0.900)." in said
    unshown = front_page.found(more | {"traits/osteopenia/trait_p": Estimate(0.2)}, "knee744")
    assert "goes most with" not in " ".join(item["text"] for item in unshown)


def test_the_figure_marks_the_papers_values_and_what_is_not_honest(metrics: dict[str, Estimate]) -> None:
    table = front_page.message(metrics)
    assert table["paper"].dropna().tolist() == [0.78, 0.98, 0.96]
    assert table.set_index("name")["honest"].drop_duplicates().tolist() == [True, False]
    figure = figures.message(table, "here", "Title")
    first, second = figure.axes
    (marks,) = [line for line in first.lines if line.get_gid() == "paper"]
    assert list(marks.get_xdata())[:3] == [0.78, 0.98, 0.96]
    values = [line for axes in (first, second) for line in axes.lines if line.get_gid() == "value"]
    assert [line.get_xdata()[0] for line in values] == table["value"].tolist()
    hollow = [line.get_markerfacecolor() == "white" for line in values]
    assert hollow == [not honest for honest in table["honest"]]


@pytest.mark.parametrize("dataset", ["knee744", "phantom"])
def test_findings_take_two_pages_at_most(metrics: dict[str, Estimate], tmp_path: Path, dataset: str) -> None:
    facts = {"dataset": dataset, "synthetic": dataset == "phantom"}
    study = paths.StudyPaths("fits")
    drawn = figures.message(front_page.message(metrics), "where", "Title")
    drawn.savefig(tmp_path / "message.png", dpi=report.FIGURE_DPI)
    judged = claims.verdicts(results.load_metrics(PUBLISHED / "knee744"), facts)
    front = front_page.sections(study, metrics, judged, dataset)
    front[0]["blocks"].append(
        {"kind": "figure", "path": str(tmp_path / "message.png"), "caption": "c" * 200, "film": False}
    )
    content = {"title": "t" * 70, "subtitle": "s", "notice": "n" * 100, "front": front, "sections": []}
    report.as_pdf(content, tmp_path / "report.pdf")
    # The same once more, to ask the typesetter where the first pages end.
    asked = json.loads(_query(content, tmp_path))
    assert asked <= 2


def _query(content: dict, folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        found: list[str] = []

        def query(source: Path, **options: object) -> None:
            found.append(typst.query(source, "<last-of-front>", field="value", one=True, root=options["root"]))

        patch.setattr(report.typst, "compile", query)
        report.as_pdf(content, folder / "again.pdf")
    return found[0]
