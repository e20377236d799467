"""The counterparts of the paper's figures: what they say is what was saved, at the size of a page, twice the same."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import saved_study
from matplotlib.text import Text
from PIL import Image

from osteo_utils.plots import style
from osteo_utils.reporting import paper_figures, tables
from osteo_utils.reporting.paper_figures import Counterpart, files_of, layered, redraw
from osteo_utils.study import paths
from osteo_utils.study.paths import StudyPaths

Made = tuple[StudyPaths, list[Counterpart]]
WIDE, NARROW = style.TWO_COLUMNS, style.ONE_COLUMN
COLUMNS = {1: WIDE, 2: WIDE, 3: WIDE, 4: NARROW, 5: WIDE}


# As the command of a study whose configuration forbids films.
WITHOUT_FILMS = """
from osteo_utils.reporting import paper_figures
settings = paper_figures.config.load("phantom") | {"films": False}
paper_figures.config.load = lambda study: settings
raise SystemExit(paper_figures.main(["phantom"]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The study, and its figures drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(tmp_path_factory.mktemp("home")))
        study = saved_study.saved("phantom")
        yield study, redraw(study)


def texts(figure: object, name: str = "") -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and name in (text.get_gid() or "")]


def test_each_figure_has_the_width_of_a_page_letters_of_six_points_and_no_date(made: Made) -> None:
    study, drawn = made
    assert [one.number for one in drawn] == [1, 2, 3, 4, 5]
    for one in drawn:
        png, svg, pdf = files_of(study, one.number)
        assert study.reports / one.file == png
        with Image.open(png) as picture:
            assert picture.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
            assert picture.width / 300 * 25.4 == pytest.approx(COLUMNS[one.number], abs=0.1)
        width = float(re.search(r'<svg [^>]*?width="([0-9.]+)pt"', svg.read_text("utf-8"))[1])
        assert width / 72 * 25.4 == pytest.approx(COLUMNS[one.number], abs=0.01)
        assert b"/FontFile2" in pdf.read_bytes() and b"CreationDate" not in pdf.read_bytes()
        shown = [text for text in one.figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(text.get_fontsize() for text in shown) >= style.SMALLEST
        # Nothing is cut off at the edge of the page.
        edge = one.figure.get_tightbbox()
        assert edge.x0 > -0.02 and edge.x1 < COLUMNS[one.number] / 25.4 + 0.02
        (where,) = texts(one.figure, "where")
        assert where.startswith("n = ") and "phantom" in where
    films = {path.name for path in study.films.iterdir()}
    assert films == {f"fig2_samples.{suffix}" for suffix in ("png", "svg", "pdf")}


def test_drawn_twice_in_two_processes_they_are_the_same_to_the_bit(made: Made, tmp_path: Path) -> None:
    study, _ = made
    # The figure of films is not drawn where the study's configuration does not allow films.
    first = {path.name: path.read_bytes() for path in study.printed.iterdir()}
    shutil.copytree(paths.home(), tmp_path / "again", ignore=shutil.ignore_patterns("figures"))
    again = {**os.environ, "OSTEO_HOME": str(tmp_path / "again")}
    command = [sys.executable, "-c", WITHOUT_FILMS]
    done = subprocess.run(command, env=again, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    drawn = tmp_path / "again" / study.figures.relative_to(paths.home())
    assert str(drawn / "paper" / "fig5_report.pdf") in done.stdout
    assert len(first) == 12 and {path.name: path.read_bytes() for path in drawn.glob("*/*")} == first


def test_the_steps_are_those_of_the_workflow_with_the_counts_of_the_study(made: Made) -> None:
    first = made[1][0]
    assert texts(first.figure, "step")[0] == "01 · The data"
    assert len(texts(first.figure, "step")) == 8
    counts = texts(first.figure, "counts")
    assert counts[0] == "found: 26 films\nquarantined: cannot be read or used: 1 film"
    assert "analysed under grouped: 24 films of 24 knees" in counts[1]
    assert counts[3].startswith("24 films of 24 knees\nsquares of 224 pixels")
    assert counts[7] == "2 claims of the paper judged"
    assert "Of 26 files found, 24 films of 24 knees" in first.here


def test_steps_stand_below_what_they_come_from_and_implied_arrows_are_left_out() -> None:
    parents = {"a": [], "b": ["a"], "c": ["a"], "d": ["a"], "e": ["b", "c", "a"], "f": ["e", "d", "a"]}
    steps, arrows = layered(parents)
    assert arrows == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "e"), ("c", "e"), ("e", "f"), ("d", "f")]
    assert steps.set_index("step").layer.to_dict() == {"a": 0, "b": 1, "c": 1, "d": 1, "e": 2, "f": 3}
    spans = dict(zip(steps.step, zip(steps.left, steps.right, strict=True), strict=True))
    assert spans == {"a": (0, 2), "b": (0, 0), "c": (1, 1), "d": (2, 2), "e": (0, 1), "f": (0, 2)}


def test_accuracy_and_report_are_those_of_the_predictions_beside_the_papers(made: Made) -> None:
    *_, accuracy, report = made[1]
    # 9 of 12 films of either class are called rightly by VGG16, 10 of 12 by ResNet50.
    assert "VGG16 0.750" in accuracy.here and "the paper's 0.78 lies inside the interval" in accuracy.here
    assert "ResNet50 0.833" in accuracy.here
    assert "ResNet50 calls 20 of 24 films right: accuracy 0.833" in report.here
    assert "recall of normal 0.833" in report.here and "counts 846 images and prints 0.98" in report.here
    matrix, dots = report.figure.axes
    assert [text.get_text() for text in matrix.texts][::2] == ["10", "2", "2", "10"]
    marks = next(line for line in dots.lines if line.get_gid() == "paper")
    assert list(marks.get_xdata()) == [0.97, 0.99, 0.98, 0.99, 0.98, 0.98, 0.98]
    values = [line.get_xdata()[0] for line in dots.lines if line.get_gid() == "value"]
    assert values == pytest.approx([10 / 12] * 7)


def test_the_curves_are_of_the_headline_recipe_and_end_where_its_history_ends(made: Made) -> None:
    training = made[1][2]
    said = "VGG16 ends at 80% on the films it learns from and at 70% on those it is watched on (2 fits, 70% to 70%)"
    assert said in training.here
    assert max(training.figure.axes[0].lines[0].get_xdata()) == 2


def test_the_report_shows_each_beside_the_papers_and_not_the_same_figure_again(made: Made, tmp_path: Path) -> None:
    study, _ = made
    blocks, same = tables.paper_figures(study, films=True)
    assert [block["kind"] for block in blocks] == ["figure"] * 5
    assert blocks[3]["caption"].startswith("The paper's Fig. 4: The accuracy of VGG16")
    assert "Here: VGG16 0.750" in blocks[3]["caption"]
    assert [block["film"] for block in blocks] == [False, True, False, False, False]
    assert {study.figures / "flow.png", study.films / "samples.png", study.figures / "resnet50_confusion.png"} < same
    left, same = tables.paper_figures(study, films=False)
    assert left[1]["kind"] == "note" and study.films / "samples.png" not in same
    moved = files_of(study, 4)[0].rename(tmp_path / "away.png")
    missing = tables.paper_figures(study, films=True)[0][3]
    moved.rename(files_of(study, 4)[0])
    assert missing == {"kind": "missing", "items": ["figures/paper/fig4_accuracy.png"]}


def test_without_results_the_command_says_what_to_run_and_a_mixture_is_refused(
    home: Path, capsys: pytest.CaptureFixture
) -> None:
    assert tables.paper_figures(StudyPaths("phantom"), films=True)[0] == []
    assert paper_figures.main(["phantom"]) == 2
    assert "./run_all.sh phantom runs all that is missing" in capsys.readouterr().err
    study = saved_study.saved("phantom")
    table = study.manifest.read_text("utf-8")
    study.manifest.write_text(table.replace("PNG", "BMP"), "utf-8")
    assert paper_figures.main(["phantom"]) == 1
    assert "the results are a mixture" in capsys.readouterr().err
    assert not study.printed.exists()
