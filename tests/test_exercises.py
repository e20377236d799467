"""Exercises run: solutions are right, student copies answer nothing, and what a course needs is on every page."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import papermill
import pytest

from osteo_utils.course import checks, student
from osteo_utils.course.exercises import EXERCISES, Results
from osteo_utils.study import parameters, paths

ROOT = paths.notebooks_dir()
NOTEBOOKS = [*(f"{name}.ipynb" for name in parameters.NOTEBOOKS), "00_toy_leak.ipynb"]
COMPANIONS = [f"exercises/{name[:2]}_exercises.ipynb" for name in parameters.NOTEBOOKS]
WITH_EXERCISES = [*COMPANIONS, "00_toy_leak.ipynb"]


def cells(name: str) -> list[dict]:
    return json.loads((ROOT / name).read_text("utf-8"))["cells"]


def text(name: str, kind: str = "markdown") -> str:
    return "\n\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == kind)


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def code(name: str, study: str) -> list[str]:
    """The code cells of a file of exercises about a study."""
    listed = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    sources = [(tags(cell), "".join(cell["source"])) for cell in listed]
    asked = [("parameters" in tagged and source.startswith("study ="), source) for tagged, source in sources]
    return [f"study = {study!r}" if about_a_study else source for about_a_study, source in asked]


def numbers_of(name: str) -> list[str]:
    """The exercises of a file."""
    return [number for number in EXERCISES if f"{number[:2]}_" in name]


def run(sources: list[str]) -> None:
    """Run code cells one after the other, as a kernel would."""
    names = {}
    for number, source in enumerate(sources):
        exec(compile(source, f"cell {number}", "exec"), names)
    plt.close("all")


@pytest.mark.parametrize("study", ["phantom", "knee744"])
@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_solutions_run_and_pass_their_checks(name: str, study: str, capsys: pytest.CaptureFixture) -> None:
    if not paths.published(study).is_dir():
        pytest.skip(f"{study} is not published")
    run(code(name, study))
    said = capsys.readouterr().out
    own = numbers_of(name)
    assert re.findall(r"^solution (\S+): right$", said, re.M) == own
    assert re.findall(r"^(\S+): not answered yet$", said, re.M) == own, "a student's cell before each solution"
    assert "not right" not in said


def test_the_answer_comes_from_the_study_at_hand() -> None:
    small, large = (
        Results(study, paths.code_root() / "reports" / "published" / study) for study in ("phantom", "knee744")
    )
    if not large.folder.is_dir():
        pytest.skip("knee744 is not published")
    assert EXERCISES["02.1"](small)[0] != EXERCISES["02.1"](large)[0]
    assert not checks.judge("02.1", EXERCISES["02.1"](small)[0], large).right


# Exercises in which a usual mistake leads to the right answer, because of what a study is like.
COINCIDENCES = {"phantom": [], "knee744": ["01.1", "01.2", "02.1", "05.2", "05.3", "08.1"]}


@pytest.mark.parametrize("study", COINCIDENCES)
def test_no_usual_mistake_passes_as_right(study: str) -> None:
    saved = Results(study, paths.code_root() / "reports" / "published" / study)
    if not saved.folder.is_dir():
        pytest.skip(f"{study} is not published")
    passed = []
    for number, values in EXERCISES.items():
        _, *mistakes = values(saved)
        if any(checks.judge(number, mistake, saved).right for mistake in mistakes):
            passed.append(number)
    assert passed == COINCIDENCES[study]


def test_the_instructor_is_told_where_a_mistake_passes() -> None:
    page = (ROOT / "instructor.md").read_text("utf-8")
    told = re.search(r"On `knee744` one does in (.+?):", page)[1]
    assert re.findall(r"\d\d\.\d", told) == COINCIDENCES["knee744"]
    assert "On the synthetic set none" in page


def test_the_start_page_does_not_miscount_its_notebooks() -> None:
    said = text("start_here.ipynb")
    assert len(re.findall(r"^\| \[\d\d ", said, re.M)) == len(NOTEBOOKS)
    assert not re.search(r"\b(eight|nine) notebooks", said)


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_solutions_are_folded_and_announced(name: str) -> None:
    listed = cells(name)
    solved = [cell for cell in listed if student.SOLUTION in tags(cell)]
    for cell in solved:
        if cell["cell_type"] == "code":
            assert cell["metadata"]["jupyter"] == {"source_hidden": True}
            assert "".join(cell["source"]).startswith("# Solution"), "this line is what a folded cell shows"
        else:
            assert re.search(r"folded cell|<details><summary>Solution", "".join(cell["source"]))
    # Every exercise has one, the longer ones as well.
    unsolved = ""
    for cell in listed:
        head = re.search(r"^### (.+)", "".join(cell["source"]), re.M) if cell["cell_type"] == "markdown" else None
        assert not (head and unsolved), unsolved
        unsolved = head[1] if head else "" if cell in solved else unsolved
    assert not unsolved


def test_there_are_more_exercises_than_checked_ones() -> None:
    headed = sum(len(re.findall(r"^### ", text(name), re.M)) for name in WITH_EXERCISES)
    assert headed >= len(EXERCISES) + 25, "the longer exercises of the eight notebooks are kept"


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_a_cell_is_short_and_its_outputs_are_not_kept(name: str) -> None:
    for cell in cells(name):
        if cell["cell_type"] == "code":
            assert len(cell["source"]) <= 12 and not cell["outputs"]


@pytest.mark.parametrize("name", [*NOTEBOOKS, *COMPANIONS])
def test_objectives_time_and_glossary_stand_at_the_top(name: str) -> None:
    listed = cells(name)
    first_code = next(number for number, cell in enumerate(listed) if cell["cell_type"] == "code")
    top = "\n\n".join("".join(cell["source"]) for cell in listed[:first_code])
    assert len(re.findall(r"^- ", top.split("**You will ")[1], re.M)) >= 3
    assert re.search(r"\*\*Expected time\*\* \d+ minutes", top) and "two cores" in text(name)
    assert "glossary.md)" in top


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_ends_with_questions_a_sceptic_and_its_words(name: str) -> None:
    said = text(name)
    sceptic = said.split("What a sceptic would ask")[1].split("Words used here")[0]
    assert 2 <= len(re.findall(r"^- \*.+\?\* .+\.", sceptic, re.M)) <= 3
    assert "glossary.md#" in said.split("Words used here")[1]
    if name != "00_toy_leak.ipynb":
        asked = said.split("Check yourself")[1].split("Write your answers")[0]
        assert 1 <= len(numbers := re.findall(r"^\d\. .+\? \((\d\d\.\d)\)$", asked, re.M)) <= 2
        companion = text(f"exercises/{name[:2]}_exercises.ipynb")
        questions = companion.split("## Questions")[1].split("\n## Exercises")[0]
        assert re.findall(r"^### (\d\d\.\d) ", questions, re.M) == numbers
        assert f"(exercises/{name[:2]}_exercises.ipynb)" in said


@pytest.mark.parametrize("name", [*NOTEBOOKS, *COMPANIONS, "instructor.md"])
def test_links_lead_to_a_file_and_to_a_section_that_has_the_words(name: str) -> None:
    said = (ROOT / name).read_text("utf-8") if name.endswith(".md") else text(name)
    glossary = (ROOT / "glossary.md").read_text("utf-8")
    sections = {part.splitlines()[0].lower().replace(" ", "-"): part.lower() for part in glossary.split("\n## ")[1:]}
    links = re.findall(r"\[([^\]]+)\]\(([^)#:]+)(?:#([^)]*))?\)", said)
    assert links
    for words, target, section in links:
        assert ((ROOT / name).parent / target).exists(), target
        for word in words.split(", ") if section and target.endswith("glossary.md") else ():
            assert re.search(rf"\*\*[^*]*{re.escape(word.lower())}", sections[section]), (word, section)


def minutes(plan: str) -> list[int]:
    return [int(row) for row in re.findall(r"^\| \d+:\d\d \| (\d+) \|", plan, re.M)]


def test_the_instructors_times_add_up() -> None:
    page = (ROOT / "instructor.md").read_text("utf-8")
    plans = re.findall(r"^## (.+?), (\d+) minutes$(.+?)(?=^## )", page, re.M | re.S)
    assert [int(total) for _, total, _ in plans] == [90, 450]
    for name, total, plan in plans:
        assert sum(minutes(plan)) == int(total), name
        began = [60 * int(hour) + int(minute) for hour, minute in re.findall(r"^\| (\d+):(\d\d) \| \d+ \|", plan, re.M)]
        lasts = minutes(plan)
        assert began == [began[0] + sum(lasts[:number]) for number in range(len(lasts))], name


def test_the_instructors_page_has_the_usual_mistakes_of_every_exercise() -> None:
    page = (ROOT / "instructor.md").read_text("utf-8")
    listed = re.findall(r"^\| (\d\d\.\d) \|", page, re.M)
    assert listed == list(EXERCISES)


def test_a_companion_runs_under_papermill_and_takes_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(paths.code_root()))
    made = tmp_path / "08.ipynb"
    source = ROOT / "exercises" / "08_exercises.ipynb"
    papermill.execute_notebook(source, made, {"study": "phantom"}, kernel_name="python3", progress_bar=False)
    assert "solution 08.4: right" in made.read_text("utf-8")
