"""A student's copy holds every exercise and no solution, runs with nothing answered, and overwrites nothing."""

import json
import os
import re
from pathlib import Path

import pytest
from test_exercises import WITH_EXERCISES, run

from osteo_utils.course import student
from osteo_utils.course.exercises import EXERCISES
from osteo_utils.study import parameters, paths


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "for students"
    student.write(folder)
    return folder


def test_everything_a_student_needs_is_there_and_the_instructors_page_is_not(copy: Path) -> None:
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert names >= {"glossary.md", *(f"{name}.ipynb" for name in parameters.NOTEBOOKS), *WITH_EXERCISES}
    assert {Path(name).suffix for name in names - {"glossary.md"}} == {".ipynb"}


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_no_solution_is_left_and_every_exercise_is(name: str, copy: Path) -> None:
    kept = json.loads((copy / name).read_text("utf-8"))["cells"]
    source = json.loads((paths.notebooks_dir() / name).read_text("utf-8"))["cells"]
    said = "\n".join("".join(cell["source"]) for cell in kept)
    assert not re.search(r"\bsolution|<details>", said, re.I)
    solved = [cell for cell in source if student.SOLUTION in cell["metadata"].get("tags", [])]
    assert solved and len(kept) == len(source) - len(solved)
    for cell in solved:
        for line in "".join(cell["source"]).splitlines():
            # The first lines load what the exercise gives as well.
            if line.startswith("answer = "):
                assert line not in said
    asked = re.findall(r'^answer = \.\.\.  # your answer here\ncheck\("(\S+)", answer\)$', said, re.M)
    assert asked == [number for number in EXERCISES if f"{number[:2]}_" in name]


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_a_copy_runs_to_its_end_with_nothing_answered(name: str, copy: Path, capsys: pytest.CaptureFixture) -> None:
    code = [cell for cell in json.loads((copy / name).read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    run(["".join(cell["source"]) for cell in code])
    said = capsys.readouterr().out
    assert len(re.findall("not answered yet", said)) == sum(f"{number[:2]}_" in name for number in EXERCISES)
    assert "right" not in said


def test_the_eight_notebooks_are_copied_as_they_are(copy: Path) -> None:
    for name in parameters.NOTEBOOKS:
        made, source = (
            json.loads((root / f"{name}.ipynb").read_text("utf-8")) for root in (copy, paths.notebooks_dir())
        )
        assert made == source and not re.search(r"\bsolution", str(made)), "a copy must not promise one"


def test_a_folder_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answered = tmp_path / "02_exercises.ipynb"
    answered.write_text("my answers")
    assert student.main([str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [answered.name] and answered.read_text() == "my answers"
    assert student.main([str(answered)]) == 1
    assert "is a file; name a new folder" in capsys.readouterr().err


def test_an_empty_folder_is_filled_and_the_way_on_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "new").mkdir()
    assert student.main([str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert (
        f"{len(student.sources()) - 1} notebooks without solutions, 8 of them exercises" in said
        and f'./run_all.sh lab "{tmp_path / "new"}"' in said
    )
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new" / "00_toy_leak.ipynb").stat().st_mode & 0o444 == 0o444


def test_the_folder_that_a_shell_stands_in_is_filled_and_not_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "course").mkdir()
    monkeypatch.chdir(tmp_path / "course")
    assert student.main(["."]) == 0
    assert Path("00_toy_leak.ipynb").is_file() and not list(Path().glob(".student-*"))
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert student.main([str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "exercises" / "02_exercises.ipynb").is_file()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert student.main([os.fspath(tmp_path / "file" / "copies")]) == 2
    assert "cannot be written" in capsys.readouterr().err
