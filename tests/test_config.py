"""Parameters: wrong ones are refused with the nearest right one, and notebooks and files agree."""

import ast
import json
from pathlib import Path

import pytest
import yaml

from osteo_utils.study import config, paths, results

PHANTOM = config.load("phantom")


@pytest.mark.parametrize("study", config.studies())
def test_every_committed_study_is_complete(study: str) -> None:
    assert set(config.load(study)) == set(config.PARAMETERS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epohcs", 3, "did you mean 'epochs'"),
        ("epochs", "three", "expected int, found 'three'"),
        ("epochs", True, "expected int, found True"),
        ("epochs", 0, "expected 1 to 500, found 0"),
        ("view", "croop", "did you mean 'crop'"),
        ("protocols", [], "expected a list of at least one"),
        ("protocols", ["grouped", "by_fold"], "did you mean 'by_file'"),
        ("protocols", ["by_file"], "'grouped' must be among them"),
        ("split_seeds", [1, 1], "an entry is listed twice"),
        ("variants", ["segmented"], "'full' must be among them"),
        ("osteopenia", "normel", "did you mean 'normal'"),
        ("trained_seeds", 9, "expected at most the 3 entries of split_seeds, found 9"),
        ("compared_views", ["knee"], "'knee' is the study's own view already"),
        ("compared_views", "squeeze", "expected a list of str"),
        ("split_seeds", 3, "expected a list of at least one int"),
        ("trained_seeds", "one", "expected int, found 'one'"),
        ("mask_min_area", 0.95, "expected less than mask_max_area"),
    ],
)
def test_a_wrong_parameter_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"test\.yaml") as caught:
        config.check({**PHANTOM, name: value}, "test.yaml")
    assert said in str(caught.value)


def test_a_missing_parameter_is_named() -> None:
    incomplete = {name: value for name, value in PHANTOM.items() if name != "n_folds"}
    with pytest.raises(ValueError, match="missing parameter 'n_folds'"):
        config.check(incomplete, "test.yaml", complete=True)


def test_an_unknown_study_gets_the_nearest_name(home: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'phantom'"):
        config.load("fantom")


@pytest.mark.parametrize("notebook", config.NOTEBOOKS)
def test_notebook_defaults_are_those_of_the_phantom_study(notebook: str) -> None:
    cells = json.loads((paths.notebooks_dir() / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse("".join(tagged[0]["source"])).body}
    assert values.pop("study") == "scratch", "by hand a notebook writes to its own study"
    expected = config.for_notebook(notebook, PHANTOM)
    shown = {"seed"} if notebook in paths.MODEL_NOTEBOOKS.values() else expected.keys() - {"study"}
    assert values == {name: expected[name] for name in values} and shown <= values.keys()


def test_a_parameter_that_no_cell_sets_has_the_default_studys_value() -> None:
    expected = config.for_notebook("04_vgg16", PHANTOM)
    set_by_hand = {"study": "scratch", "epochs": 7}
    assert config.from_namespace("04_vgg16", set_by_hand) == {**expected, **set_by_hand}
    with pytest.raises(ValueError, match="run the cell of parameters first"):
        config.from_namespace("04_vgg16", {"epochs": 7})


def test_an_unknown_name_in_an_injected_cell_is_refused() -> None:
    namespace = dict(config.for_notebook("08_report", PHANTOM))
    namespace["In"] = ["", "study = 'phantom'\nseed = 1\nfilms = True", "flims = False"]
    with pytest.raises(ValueError, match="unknown parameter 'flims'; did you mean 'films'"):
        config.from_namespace("08_report", namespace)


def test_other_cells_of_a_notebook_are_not_taken_for_parameters() -> None:
    namespace = dict(config.for_notebook("08_report", PHANTOM))
    namespace["In"] = ["", "import os\nbest = 3", "half = len(rows) / 2", "%matplotlib inline"]
    assert config.from_namespace("08_report", namespace)["films"] is True


def test_a_study_name_cannot_leave_its_folder() -> None:
    namespace = {**config.for_notebook("08_report", PHANTOM), "study": "../elsewhere"}
    with pytest.raises(ValueError, match="cannot name a folder"):
        config.from_namespace("08_report", namespace)


def test_params_files_keep_their_time_stamp_when_nothing_changed(home: Path) -> None:
    settings = config.load("smoke")
    config.write_params(settings, results.write_text)
    folder = paths.StudyPaths("smoke").params
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    config.write_params({**settings, "epochs": settings["epochs"] + 1}, results.write_text)
    changed = {path.name for path in folder.iterdir() if path.stat().st_mtime_ns != before[path.name]}
    assert changed == {"04.yaml", "05.yaml"}
    assert yaml.safe_load((folder / "04.yaml").read_text())["epochs"] == settings["epochs"] + 1


def test_an_own_study_points_at_the_folder_and_touches_no_other(home: Path) -> None:
    folder = home / "films of mine"
    config.create_own(config.own_settings("clinic", folder), results.write_text)
    settings = config.load("clinic")
    assert (settings["dataset"], settings["data_dir"]) == ("folder", str(folder))
    assert [path.name for path in (home / "data" / "interim").iterdir()] == ["clinic"]
    with pytest.raises(ValueError, match="already used for the folder"):
        config.create_own(config.own_settings("clinic", home / "other"), results.write_text)


def test_an_own_study_keeps_its_external_set_and_its_rule_and_says_when_they_change(home: Path) -> None:
    config.create_own(config.own_settings("clinic", home / "films", home / "others", "normal"), results.write_text)
    kept = config.load("clinic")
    assert (kept["external_dir"], kept["osteopenia"]) == (str(home / "others"), "normal")
    folder = paths.StudyPaths("clinic").params
    config.write_params(kept, results.write_text)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    config.create_own(config.own_settings("clinic", home / "films"), results.write_text)
    changed = config.load("clinic")
    assert (changed["external_dir"], changed["osteopenia"]) == ("", "exclude")
    config.write_params(changed, results.write_text)
    # Notebook 01 runs again; what reads its manifest follows by the manifest's own time stamp.
    assert {name for name, at in before.items() if (folder / name).stat().st_mtime_ns != at} == {"01.yaml"}


def test_a_study_made_before_a_parameter_was_added_can_still_be_read(home: Path) -> None:
    config.create_own(config.own_settings("clinic", home / "films"), results.write_text)
    kept = paths.StudyPaths("clinic").own_config
    older = {name: value for name, value in yaml.safe_load(kept.read_text("utf-8")).items() if name != "classes"}
    kept.write_text(yaml.safe_dump(older), "utf-8")
    assert config.load("clinic") == {**older, "classes": []}


@pytest.mark.parametrize("name", ["phantom", "published", "../up", "", "1st"])
def test_an_own_study_cannot_take_a_name_that_would_do_harm(home: Path, name: str) -> None:
    with pytest.raises(ValueError, match="--name"):
        config.create_own(config.own_settings(name, home), results.write_text)
