"""The plan of the package: which room may import which, and that the written plan is the real one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from osteo_utils.study import paths

PACKAGE = paths.code_root() / "osteo_utils"
WINGS = [
    "study", "statistics", "phantom", "sources", "images", "audit", "protocols", "networks", "bone", "interpretation",
    "evidence", "papers", "plots", "reporting", "review", "course",
]  # fmt: skip
MOST_ROOMS, MOST_LINES, FEWEST_LINES = 12, 300, 60
# Rooms that are tested through another: they have no other door, or one fixture serves both.
TESTED_IN = {
    "paths": "config", "parameters": "config", "commands": "front_door",  # every parameter and folder is met by reading a study
    "shapes": "drawing",  # curves and shells show in drawn bones alone
    "table_files": "user_tables", "film_names": "user_tables",  # the bytes and the names of one table
    "folder_tree": "film_folders", "class_names": "film_folders",  # the files and the names that it sorts
    "dicom_file": "dicom",  # what a file holds shows in the film that is read
    "kaggle_command": "download", "weight_files": "weights",  # one stand-in for the network serves both
    "predict": "own_films", "fitted_networks": "own_films",  # page and networks need the same fitted study
    "report_table": "report_forms",  # what a report says is met by reading it
    "style": "figures", "intervals": "figures", "paper": "paper_figures",  # drawn through `figures`, each on the same tables
    "text": "report", "contents": "report",  # printed by the report
    "trait_words": "traits",  # the sentence is read from the answers
}  # fmt: skip
ROOMS = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@cache
def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@cache
def rooms_imported(path: Path) -> set[Path]:
    return {PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py") for name in imported(path)} & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_a_wing_imports_only_wings_above_it(room: Path) -> None:
    wing = WINGS.index(room.parent.name)
    below = {other.parent.name for other in rooms_imported(room) if WINGS.index(other.parent.name) > wing}
    assert not below, f"{room.name} imports from {below}"


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_has_few_rooms_and_says_what_it_holds(wing: str) -> None:
    assert sum(room.parent.name == wing for room in ROOMS) <= MOST_ROOMS
    said = ast.get_docstring(ast.parse((PACKAGE / wing / "__init__.py").read_text("utf-8"))).splitlines()
    assert len(said) == 4 and said[2].startswith("In: ") and said[3].startswith("Out: ")


def test_no_wing_is_left_out() -> None:
    assert {room.parent.name for room in ROOMS} == set(WINGS)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_a_room_is_read_in_one_sitting(room: Path) -> None:
    assert FEWEST_LINES <= len(room.read_text("utf-8").splitlines()) <= MOST_LINES


def test_inside_a_wing_arrows_run_one_way() -> None:
    def reaches(start: Path, goal: Path, seen: set[Path]) -> bool:
        if start in seen:
            return False
        seen.add(start)
        return any(other == goal or reaches(other, goal, seen) for other in rooms_imported(start))

    circles = [room.name for room in ROOMS if reaches(room, room, set())]
    assert not circles


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_no_room_imports_a_backend(room: Path) -> None:
    roots = {name.split(".")[0] for name in imported(room)}
    assert not roots & {"tensorflow", "torch", "jax"}


def test_the_written_plan_names_every_room_and_no_other() -> None:
    plan = (PACKAGE / "README.md").read_text("utf-8")
    named = set()
    wing = ""
    for line in plan.splitlines():
        if line.startswith("|") and line.count("|") == 4:
            first, second, _ = (cell.strip() for cell in line.strip("|").split("|"))
            wing = first.strip("`") or wing
            named.update((wing, room) for room in re.findall(r"`(\w+)`", second))
    assert {entry for entry in named if entry[0] in WINGS} == {(room.parent.name, room.stem) for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_a_room_has_tests_of_its_name(room: Path) -> None:
    assert (Path(__file__).parent / f"test_{TESTED_IN.get(room.stem, room.stem)}.py").is_file()


def test_only_rooms_without_tests_of_their_own_are_tested_in_another() -> None:
    assert set(TESTED_IN) <= {room.stem for room in ROOMS}
    assert not [name for name in TESTED_IN if (Path(__file__).parent / f"test_{name}.py").is_file()]
