"""Files appear whole, tables keep their contract, a metric has one home, and pages escape what is foreign."""

import sys
from pathlib import Path
from types import SimpleNamespace

import IPython  # noqa: F401, a notebook has it loaded
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from traitlets.config import Config

from osteo_utils.study import config, order, paths, results
from osteo_utils.study.results import Estimate, page

FOLDS = pd.DataFrame(
    {"protocol": "grouped", "seed": 0, "image_id": ["normal/NA", "normal/null"], "view": 0, "fold": [0, 1]}
)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "metrics.json"
    results.write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        results.write_json(target, {"a": float("nan")})
    with pytest.raises(RuntimeError), results.atomic_path(target) as temporary:
        temporary.write_text("half of it")
        raise RuntimeError
    assert results.read_json(target) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    results.write_table(tmp_path / "folds.csv", FOLDS, "folds")
    pd.testing.assert_frame_equal(results.read_table(tmp_path / "folds.csv", "folds"), FOLDS, check_dtype=False)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FOLDS.drop(columns="fold"), "missing ['fold']"),
        (FOLDS.assign(split=1), "unknown ['split']"),
        (FOLDS.assign(image_id="normal/NA"), ": ['grouped', '0', 'normal/NA', '0']"),
        (FOLDS.assign(image_id=["normal/NA", None]), "empty value in row 1"),
    ],
)
def test_a_table_that_breaks_its_contract_is_not_written(tmp_path: Path, frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        results.write_table(tmp_path / "folds.csv", frame, "folds")
    assert said in str(caught.value)
    assert not (tmp_path / "folds.csv").exists()


def test_an_estimate_needs_both_ends_and_a_finite_value() -> None:
    with pytest.raises(ValueError, match="both ends"):
        Estimate(0.5, low=0.4)
    with pytest.raises(ValueError, match="finite"):
        Estimate(float("nan"))
    assert str(Estimate(0.9, 0.85, 0.95)) == "0.900 [0.850, 0.950]"


def open_run(notebook: str = "08_report") -> results.Run:
    namespace = {**config.for_notebook(notebook, config.load("smoke")), "In": []}
    pretend_earlier(notebook, "smoke")
    return results.start(notebook, namespace)


def pretend_earlier(notebook: str, study: str) -> None:
    for name in order.BEFORE[notebook]:
        results.write_json(paths.StudyPaths(study).metrics / f"{name}.json", {})


def test_a_run_keeps_its_metrics_parameters_and_inputs(home: Path, capsys: pytest.CaptureFixture) -> None:
    run = open_run()
    results.write_table(run.paths.folds, FOLDS, "folds")
    run.read(run.paths.folds, "folds")
    run.metric("vgg16/grouped/auroc", Estimate(0.8, 0.7, 0.9, n_files=10, n_groups=8))
    run.finish()
    assert results.load_metrics(run.paths.reports)["vgg16/grouped/auroc"].n_groups == 8
    about = results.read_json(run.paths.metrics / "08_report.json")["_run"]
    assert about["parameters"]["study"] == "smoke"
    assert set(about["inputs"]) == {"folds.csv"}
    assert "1 metrics saved" in capsys.readouterr().out


def at_cell(number: int) -> SimpleNamespace:
    """A shell that runs the cell with this number."""
    return SimpleNamespace(displayhook=SimpleNamespace(prompt_count=number))


def test_a_run_notes_which_cell_saved_what(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run()
    monkeypatch.setattr("IPython.get_ipython", lambda: at_cell(17))
    run.keep({"a": Estimate(1), "b": Estimate(2)})
    run.table("folds", FOLDS, "folds")
    run.figure(Figure(), "empty")
    monkeypatch.setattr("IPython.get_ipython", lambda: at_cell(18))
    run.figure(Figure(), "film", film=True)
    run.metric("b", Estimate(3))
    run.table_or_clear("none", FOLDS.head(0), "folds")
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    run.metric("c", Estimate(3))
    run.finish()
    noted = {"a": 17, "b": 18, "tables/folds.csv": 17, "figures/empty.png": 17, "figures/films/film.png": 18}
    noted["tables/none.csv"] = 18
    assert results.read_json(run.paths.metrics / "08_report.json")["_run"]["cells"] == noted


def test_the_noted_cell_bears_the_number_that_the_shell_gives_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A shell puts its own module in the place of the program's.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    settings = Config({"HistoryManager": {"enabled": False}})
    run, shell = open_run(), InteractiveShell(config=settings)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    shell.push({"run": run})
    ran = [shell.run_cell(f"run.note('{name}')", store_history=True).execution_count for name in ("a", "b", "c")]
    assert ran == [1, 2, 3]
    assert run.cells == {"a": 1, "b": 2, "c": 3}


def test_a_run_says_how_many_parameters_no_cell_sets(home: Path, capsys: pytest.CaptureFixture) -> None:
    settings = config.for_notebook("04_vgg16", config.load("smoke"))
    for study in ("smoke", "scratch"):
        pretend_earlier("04_vgg16", study)
    results.start("04_vgg16", {**settings, "In": []})
    assert "more parameters" not in capsys.readouterr().out
    run = results.start("04_vgg16", {"study": "scratch", "epochs": 7, "In": []})
    assert f"{len(settings) - 2} more parameters as in config/phantom.yaml" in capsys.readouterr().out
    assert (run.p.epochs, run.p.batch_size) == (7, config.load("phantom")["batch_size"])


def test_a_metric_in_two_notebooks_is_refused(home: Path) -> None:
    run = open_run()
    results.write_json(run.paths.metrics / "06_ensemble.json", {"a": {"value": 1}, "_run": {}})
    results.write_json(run.paths.metrics / "08_report.json", {"a": {"value": 2}, "_run": {}})
    with pytest.raises(ValueError, match="'a' is in another"):
        results.load_metrics(run.paths.reports)


def test_the_place_of_a_readers_films_is_not_recorded(home: Path) -> None:
    settings = {**config.load("smoke"), "data_dir": "/somewhere/private"}
    run = results.start("01_data_download", {**config.for_notebook("01_data_download", settings), "In": []})
    run.finish()
    assert "private" not in (run.paths.metrics / "01_data_download.json").read_text()


def test_a_missing_table_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the notebook that writes it first"):
        results.read_table(tmp_path / "folds.csv")


def template(folder: Path, text: str) -> Path:
    (folder / "some.html.j2").write_text(text, "utf-8")
    return folder / "some.html.j2"


def test_text_is_escaped_and_filters_are_used(tmp_path: Path) -> None:
    made = page(
        template(tmp_path, "{{ name }} {{ size|doubled }}"), {"name": "<b>", "size": 2}, {"doubled": lambda n: 2 * n}
    )
    assert made == "&lt;b&gt; 4"


def test_a_name_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        page(template(tmp_path, "{{ name }}"), {})
