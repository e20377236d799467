"""Two runs compared: what was changed is named, with its sign, and nothing else is."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import saved_study

from osteo_utils.review import compare
from osteo_utils.review.compare import compared, opened
from osteo_utils.statistics import scores
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths

HEADLINE = ["VGG16: accuracy", "ResNet50: accuracy", "Ensemble: accuracy", "VGG16: AUROC", "ResNet50: AUROC", "Ensemble: AUROC"]  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(tmp_path_factory.mktemp("home")))
        return saved_study.saved("phantom").reports


@pytest.fixture
def first(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """The study in a home of its own."""
    shutil.copytree(template.parents[1], tmp_path / "home")
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path / "home"))
    return StudyPaths("phantom")


@pytest.fixture
def copy(first: StudyPaths, tmp_path: Path) -> Path:
    """Its results in another folder, which a test may change."""
    return shutil.copytree(first.reports, tmp_path / "copy")


def change(path: Path, *keys: str, to: object) -> None:
    content = json.loads(path.read_text("utf-8"))
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(content), "utf-8")


def scored_anew(folder: Path, films: list[str], y_prob: float, model: str = "vgg16") -> None:
    """Give films other scores by the recipe of the headline numbers, and save the numbers that follow."""
    path, notebook = folder / "predictions" / f"{model}.csv", folder / "metrics" / "04_vgg16.json"
    table = results.read_table(path, "predictions")
    changed = table["image_id"].isin(films) & (table["recipe"] == "last_block")
    assert changed.sum() == len(films)
    table.loc[changed, "y_prob"] = y_prob
    results.write_table(path, table, "predictions")
    seed = json.loads(notebook.read_text("utf-8"))["_run"]["parameters"]["seed"]
    found = scores.named_estimates(table, model, "last_block", saved_study.RESAMPLES, seed)
    content = json.loads(notebook.read_text("utf-8")) | {name: vars(one) for name, one in found.items()}
    results.write_json(notebook, content)


def row(found: dict, name: str) -> dict[str, str]:
    return next(dict(zip(compare.HEADS, one, strict=True)) for one in found["headline"] if one[0] == name)


def run(*words: object, page: Path) -> int:
    return compare.main([*map(str, words), "--page", str(page)])


def test_an_unchanged_copy_is_the_same_whatever_time_it_took(
    first: StudyPaths, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    change(copy / "metrics" / "04_vgg16.json", "_run", "seconds", to=900.0)
    table = pd.read_csv(copy / "history" / "vgg16.csv")
    table.assign(seconds=3.5).to_csv(copy / "history" / "vgg16.csv", index=False, lineterminator="\n")
    assert run("phantom", copy, page=tmp_path / "page.html") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "the same: every number in the 14 files of results that both have, to the bit", f"page: {tmp_path / 'page.html'}"
    ]  # fmt: skip
    found = compared(opened("phantom"), opened(str(copy)))
    assert not any(found["parts"].values()) and not found["films"] and not found["numbers"]
    assert [one[0] for one in found["headline"]] == HEADLINE


def test_exactly_what_was_changed_is_named_with_sign_interval_and_seed_floor(
    first: StudyPaths, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    # Three more films of osteoporosis are called rightly: accuracy rises by three of 24.
    scored_anew(copy, ["osteoporosis/19.png", "osteoporosis/21.png", "osteoporosis/23.png"], 0.9)
    change(copy / "metrics" / "04_vgg16.json", "_run", "parameters", "epochs", to=6)
    change(copy / "metrics" / "04_vgg16.json", "_run", "code_sha256", to="f" * 64)
    change(copy / "metrics" / "05_resnet50.json", "_run", "versions", "keras", to="3.16.0")
    found = compared(opened("phantom"), opened(str(copy)))
    parts = {title: [name for name, *_ in rows] for title, rows in found["parts"].items() if rows}
    assert parts == {
        "Parameters": ["epochs"], "Code of the notebooks (hash)": ["04_vgg16"], "Versions": ["keras"]
    }  # fmt: skip
    assert set(found["files"]) == {"predictions/vgg16.csv", "metrics/04_vgg16.json"}
    assert found["files"]["predictions/vgg16.csv"].startswith("3 of ")
    assert "y_prob, row 21: 0.319, 0.9" in found["files"]["predictions/vgg16.csv"]
    assert {name.rsplit("/", 1)[0] for name, *_ in found["numbers"]} <= {"vgg16/grouped", "vgg16/grouped/group_vote"}
    moved = row(found, "VGG16: accuracy")
    assert (moved["first"], moved["second"], moved["difference"]) == ("0.750", "0.875", "+0.125")
    low, high = (float(end) for end in moved["95 % interval"].split(" to "))
    assert 0 <= low < 0.125 < high
    # The probe's accuracies are 18, 16 and 14 of 24: a standard deviation of 2/24; 4.303 (Student, three
    # seeds) times the root of 2 of it.
    assert moved["seed floor"] == "0.507, probe of vgg16" and moved["beyond the seed"] == "no"
    for name in ("ResNet50: accuracy", "Ensemble: AUROC"):
        still = row(found, name)
        assert (still["difference"], still["95 % interval"]) == ("+0.000", "+0.000 to +0.000")
    assert run("phantom", copy, page=tmp_path / "page.html") == 1
    said = capsys.readouterr().out
    assert said.startswith("not the same: 2 of the 14 files of results that both have differ\n")
    assert "Parameters: epochs 4, 6 / 4" in said
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "0.507, probe of vgg16" in page and "vgg16/grouped/accuracy" in page
    # The other way round the sign turns.
    assert row(compared(opened(str(copy)), opened("phantom")), "VGG16: accuracy")["difference"] == "-0.125"


def test_a_difference_beyond_the_seed_is_said_so(first: StudyPaths, copy: Path) -> None:
    for first_number, (name, wrong) in enumerate({"normal": 0.8, "osteoporosis": 0.1}.items()):
        scored_anew(copy, [f"{name}/{number:02d}.png" for number in range(first_number, 24, 2)], wrong)
    moved = row(compared(opened("phantom"), opened(str(copy))), "VGG16: accuracy")
    assert (moved["difference"], moved["beyond the seed"]) == ("-0.750", "yes")


def test_films_that_joined_left_or_changed_are_counted_and_there_is_no_paired_interval(
    first: StudyPaths, copy: Path, tmp_path: Path
) -> None:
    for path in (copy / "predictions").glob("*.csv"):
        text = path.read_text("utf-8").replace("normal/00.png", "normal/new.png")
        path.write_text(text.replace("osteoporosis/01.png,", "osteoporosis/other.png,"), "utf-8")
    found = compared(opened("phantom"), opened(str(copy)))
    assert found["films"] == [
        ("joined", ["normal/new.png", "osteoporosis/other.png"]), ("left", ["normal/00.png", "osteoporosis/01.png"])
    ]  # fmt: skip
    assert row(found, "VGG16: accuracy")["95 % interval"] == ""
    assert "4 predictions are in one run alone" in row(found, "VGG16: accuracy")["why no interval"]
    assert row(found, "VGG16: accuracy")["beyond the seed"] == "not comparable"
    # Two studies of this home have manifests, which also know the bytes of a film.
    shutil.copytree(first.reports, StudyPaths("second").reports)
    shutil.copytree(first.interim, StudyPaths("second").interim)
    table = results.read_table(StudyPaths("second").manifest, "manifest")
    table.loc[3, "sha256"] = "e" * 64
    results.write_table(StudyPaths("second").manifest, table, "manifest")
    assert compared(opened("phantom"), opened("second"))["films"] == [("have other bytes", ["osteoporosis/03.png"])]


def test_an_older_folder_with_files_missing_or_broken_is_compared_as_far_as_it_goes(
    first: StudyPaths, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(copy / "predictions")
    (copy / "metrics" / "06_ensemble.json").unlink()
    (copy / "metrics" / "05_resnet50.json").write_text("{broken", "utf-8")
    content = json.loads((copy / "metrics" / "04_vgg16.json").read_text("utf-8"))
    del content["_run"], content["vgg16/grouped/auroc"]["n_groups"]
    results.write_json(copy / "metrics" / "04_vgg16.json", content | {"odd": 7})
    assert run("phantom", copy, page=tmp_path / "page.html") == 1
    said = capsys.readouterr().out
    assert "only in phantom: 4 files, such as metrics/06_ensemble.json" in said
    assert "05_resnet50.json: cannot be used" in said
    assert "04_vgg16.json: says nothing of the run that made it" in said
    found = compared(opened("phantom"), opened(str(copy)))
    assert row(found, "Ensemble: accuracy")["second"] == "absent"
    # Without its predictions the other run's seeds still tell how far a number moves.
    assert row(found, "VGG16: accuracy")["beyond the seed"] == "no"
    assert row(found, "VGG16: accuracy")["why no interval"] == "its predictions are not in both runs"


def test_a_file_that_is_broken_alike_in_both_is_the_same(first: StudyPaths, copy: Path) -> None:
    for folder in (first.reports, copy):
        (folder / "metrics" / "05_resnet50.json").write_text("{broken", "utf-8")
    found = compared(opened("phantom"), opened(str(copy)))
    assert not found["files"] and any("05_resnet50.json: cannot be used" in remark for remark in found["remarks"])


def test_no_film_left_a_run_whose_predictions_are_not_there(first: StudyPaths, copy: Path) -> None:
    assert not compared(opened("phantom"), opened(str(copy)))["films"]
    shutil.rmtree(copy / "predictions")
    assert not compared(opened("phantom"), opened(str(copy)))["films"]


def test_numbers_that_are_none_are_said_and_left_out(first: StudyPaths, copy: Path) -> None:
    change(copy / "metrics" / "05_resnet50.json", "resnet50/grouped/accuracy", "low", to="high")
    table = pd.read_csv(copy / "predictions" / "vgg16.csv")
    table.assign(y_prob=7.0).to_csv(copy / "predictions" / "vgg16.csv", index=False)
    found = compared(opened("phantom"), opened(str(copy)))
    assert row(found, "ResNet50: accuracy")["second"] == "absent"
    assert "y_prob" in row(found, "VGG16: accuracy")["why no interval"]
    said = {Path(remark.split(": cannot be used")[0]).name for remark in found["remarks"]}
    assert said == {"accuracy", "predictions"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [("nothing", "no study that was run, and no folder"), ("empty", "no results there"), ("else", "no file of results is in both")],
)  # fmt: skip
def test_what_cannot_be_compared_is_said_with_code_2(
    first: StudyPaths, tmp_path: Path, word: str, reason: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    results.write_text(tmp_path / "else" / "tables" / "other.csv", "a\n1\n")
    assert run("phantom", word, page=tmp_path / "page.html") == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
    assert run("phantom", "phantom", page=tmp_path / "empty") == 2
    assert "is a folder" in capsys.readouterr().err
