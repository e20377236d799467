"""The whole study on the smoke configuration: what runs, what runs again, and that a kill costs little.

Everything happens in a copy of the code with its own home, so that files may be edited and processes killed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import test_exercises

import run_lock
from osteo_utils.study import config, paths

STUDY = "smoke"
# Notebooks that train nothing: run again within a minute, all eight take several.
QUICK = ("01_data_download", "02_eda", "03_segmentation")


class Project:
    """A copy of the code, with data and reports in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "code"
        self.home = folder / "home"
        for name in ("config", "notebooks", "osteo_utils", "workflow"):
            ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".snakemake")
            shutil.copytree(paths.code_root() / name, self.code / name, ignore=ignored)
        self.home.mkdir()

    @property
    def reports(self) -> Path:
        return self.home / "reports" / STUDY

    @property
    def environment(self) -> dict[str, str]:
        ipython = self.code / "workflow" / "ipython"
        own = {"OSTEO_HOME": str(self.home), "PYTHONPATH": str(self.code), "IPYTHONDIR": str(ipython)}
        return {**os.environ, **own}

    def command(self, *words: str) -> list[str]:
        start = [sys.executable, "-m", "snakemake", "-s", str(self.code / "workflow" / "Snakefile")]
        fixed = ["--directory", str(self.home), "--cores", "2", "--rerun-triggers", "mtime"]
        return [*start, *fixed, "--rerun-incomplete", *words, "--config", f"study={STUDY}"]

    def run(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True)
        logs = "\n".join(path.read_text()[-3000:] for path in (self.reports / "logs").glob("*.log"))
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{logs}"
        return done.stdout + done.stderr

    def would_run(self) -> set[str]:
        """Numbers of the notebooks that a run would execute now."""
        return set(re.findall(r"^nb(\d\d)\s+\d", self.run("-n", "--quiet", "rules"), re.M))

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.code / name
        text = path.read_text("utf-8")
        assert old in text, f"{name} no longer holds {old!r}; choose another line to edit in this test"
        path.write_text(text.replace(old, new, 1), "utf-8")


def final_tables(reports: Path) -> dict[str, str]:
    """Every table that a run ends with, `seconds` left out."""
    found = {}
    for path in sorted(reports.rglob("*.csv")):
        table = pd.read_csv(path)
        kept = [column for column in table.columns if "seconds" not in column]
        if path.stem not in ("run_time", "runtime"):
            found[path.relative_to(reports).as_posix()] = table[kept].to_csv(index=False)
    return found


@dataclass
class Kill:
    """What stood there when notebook 05 was killed: time stamps of what earlier notebooks said, and of kept fits."""

    metrics: dict[Path, int]
    fits: dict[Path, int]


def stamps(files: Iterable[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in files}


@dataclass
class Again:
    """Notebooks run once more by nbval, from nothing: its process, what it says, and where its results go."""

    process: subprocess.Popen
    said_in: Path
    home: Path
    planted: str

    def said(self) -> str:
        """What pytest said; waits for its end."""
        self.process.wait()
        return self.said_in.read_text("utf-8")

    def tables(self) -> dict[str, str]:
        self.process.wait()
        return final_tables(self.home / "reports" / STUDY)

    def check(self, notebooks: Iterable[str]) -> None:
        """That nothing but the planted cell failed, and that cells of each of these notebooks passed."""
        failed = [line for line in self.said().splitlines() if line.startswith(("FAILED", "ERROR"))]
        assert len(failed) == 1 and re.search(rf"/{re.escape(self.planted)}\b", failed[0]), self.said()[-6000:]
        for notebook in notebooks:
            assert re.search(rf"^PASSED .*{notebook}\.ipynb", self.said(), re.M), self.said()[-6000:]


def plant(notebook: Path) -> str:
    """Repeat the second cell that prints, with other printed words; gives nbval's name of the repeated cell."""
    content = json.loads(notebook.read_text("utf-8"))
    cells = content["cells"]
    printing = [n for n, cell in enumerate(cells) if any("text" in one for one in cell.get("outputs", []))]
    # The first one opens the run, which cannot be done twice.
    place = printing[1] + 1
    planted = json.loads(json.dumps(cells[place - 1])) | {"id": "planted"}
    for output in planted["outputs"]:
        if output["output_type"] == "stream":
            output["text"] = ["something that no run has ever printed\n"]
    cells.insert(place, planted)
    notebook.write_text(json.dumps(content), "utf-8")
    number = sum(cell["cell_type"] == "code" for cell in cells[:place])
    return f"{notebook.name}::Cell {number}"


@contextmanager
def run_again(project: Project, home: Path, names: Iterable[str]) -> Iterator[Again]:
    """The executed notebooks of these names by nbval in one process; in the first, a cell's words are made wrong."""
    own = home / "reports" / STUDY / "notebooks"
    shutil.copytree(project.reports / "notebooks", own)
    files = [own / f"{name}.ipynb" for name in names]
    planted = plant(files[0])
    # As many threads as Snakemake gives to a notebook: their number changes rounding.
    environment = {**project.environment, "OSTEO_HOME": str(home), "OSTEO_THREADS": "1"}
    sanitise = paths.code_root() / "tests" / "nbval_sanitize.cfg"
    start = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", os.devnull]
    options = ["--nbval", f"--nbval-sanitize-with={sanitise}", "--nbval-cell-timeout=300"]
    said = home / "nbval.txt"
    with said.open("wb") as stream:
        command = [*start, *options, *map(str, files)]
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, cwd=home)
    with process:
        yield Again(process, said, home, planted)


@dataclass
class Whole:
    """The one run that all tests look at, what stood there when it was killed, and nbval beside it."""

    project: Project
    before: Kill
    again: Again


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A run that is killed in 05 and goes on; nbval's is not killed, and works beside it to save time.

    That fits are the same to the bit after a kill is tested in `test_determinism`.
    """
    project = Project(tmp_path_factory.mktemp("workflow"))
    project.run("--until", "nb04", "nb07")
    with run_again(project, tmp_path_factory.mktemp("again"), QUICK) as again:
        running = subprocess.Popen(
            project.command(), env=project.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        fits = project.home / "data" / "interim" / STUDY / "fits" / "resnet50"
        deadline = time.monotonic() + 300
        while len(list(fits.glob("none-*"))) < 2:
            assert running.poll() is None and time.monotonic() < deadline, "05 never got as far as its second fold"
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        before = Kill(stamps((project.reports / "metrics").glob("*.json")), stamps(fits.glob("[!.]*/fit.json")))
        with run_lock.hold(project.home, "the test that killed it"):
            assert run_lock.clear_stale_locks(project.home)
        project.run()
        yield Whole(project, before, again)


@pytest.fixture(scope="module")
def project(whole: Whole) -> Project:
    return whole.project


@pytest.fixture
def restored(project: Project):
    """The project, with its code put back afterwards, and the parameters and hashes that go with it."""
    changed = [project.code, project.home / "data" / "interim" / STUDY / "params"]
    for folder in changed:
        shutil.copytree(folder, folder.with_name(f"kept {folder.name}"))
    yield project
    for folder in changed:
        shutil.rmtree(folder)
        folder.with_name(f"kept {folder.name}").rename(folder)


def test_every_notebook_ends_with_its_files(project: Project) -> None:
    for notebook in config.NOTEBOOKS:
        assert (project.reports / "notebooks" / f"{notebook}.ipynb").is_file()
        metrics = json.loads((project.reports / "metrics" / f"{notebook}.json").read_text())
        assert metrics["_run"]["parameters"]["study"] == STUDY
        page = (project.reports / "notebooks" / f"{notebook}.html").read_text("utf-8")
        saved = metrics["_run"]["cells"]
        assert set(metrics) - {"_run"} <= set(saved), "every metric knows its cell"
        assert all(f'id="cell-id=in-{cell}"' in page for cell in saved.values())
    assert (project.reports / "notebooks" / "glossary.md").is_file(), "every executed notebook links to it"
    assert (project.reports / "report.html").stat().st_size > 10_000
    assert (project.reports / "report.pdf").read_bytes()[:5] == b"%PDF-"
    assert 'href="checklists.html"' in (project.reports / "report.html").read_text("utf-8")
    assert "Not in this run: " in (project.reports / "checklists.html").read_text("utf-8"), "smoke measures not all"
    assert {claim["id"] for claim in json.loads((project.reports / "claims.json").read_text())} >= {"C1", "C6"}


def test_every_figure_is_there_as_png_and_svg(project: Project) -> None:
    pngs = {path.with_suffix("") for path in project.reports.rglob("figures/**/*.png")}
    svgs = {path.with_suffix("") for path in project.reports.rglob("figures/**/*.svg")}
    assert pngs == svgs
    assert len(pngs) >= 15


def test_exercises_are_solved_on_the_results_of_this_run(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("OSTEO_HOME", str(project.home))
    assert (project.reports / "notebooks" / "00_toy_leak.ipynb").is_file(), "the executed first notebook links to it"
    for name in test_exercises.COMPANIONS:
        assert (project.reports / "notebooks" / name).is_file(), "an executed notebook links to it"
        test_exercises.run(test_exercises.code(name, STUDY))
        said = capsys.readouterr().out
        assert f"study {STUDY}, as it was run here" in said
        assert re.findall(r"^solution (\S+): right$", said, re.M) == test_exercises.numbers_of(name)


def test_a_second_run_has_nothing_to_do_even_after_edits_of_prose_comments_and_docstrings(restored: Project) -> None:
    restored.edit(
        "osteo_utils/networks/training.py", '"""Fit every fold, save each fit', '"""Fit all folds, save each fit'
    )
    restored.edit("osteo_utils/networks/recipes.py", "\nclass Recipe:", "\nclass Recipe:  # how to learn")
    restored.edit("notebooks/04_vgg16.ipynb", "**Takeaways**", "**What to keep in mind**")
    assert "Nothing to be done" in restored.run()


def test_another_number_of_epochs_redoes_the_networks_and_what_follows(restored: Project) -> None:
    restored.edit(f"config/{STUDY}.yaml", "\nepochs: 2", "\nepochs: 3")
    assert restored.would_run() == {"04", "05", "06", "08"}


def test_changed_training_code_redoes_what_trains_and_what_follows(restored: Project) -> None:
    restored.edit("osteo_utils/networks/probes.py", "INNER_FOLDS = 4", "INNER_FOLDS = 3")
    assert restored.would_run() == {"04", "05", "06", "07", "08"}


def test_what_the_author_says_redoes_the_report_alone(restored: Project) -> None:
    restored.edit("config/about/phantom.yaml", "\ncontact:\n", "\ncontact: somebody@example.org\n")
    assert restored.would_run() == {"08"}


def test_a_table_beside_the_films_that_changes_redoes_everything(restored: Project) -> None:
    (drawn,) = (restored.home / "data" / "raw" / "phantom").iterdir()
    (drawn / "decisions.csv").write_text("image_id,verdict,who,when\n", "utf-8")
    assert restored.would_run() == {number[:2] for number in config.NOTEBOOKS}
    (drawn / "decisions.csv").unlink()


def test_an_unknown_parameter_stops_before_anything_runs(restored: Project) -> None:
    restored.edit(f"config/{STUDY}.yaml", "\nepochs: 2", "\nepohcs: 2")
    done = subprocess.run(restored.command(), env=restored.environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "did you mean 'epochs'" in done.stdout + done.stderr


def test_a_kill_in_05_costs_that_notebook_alone_and_none_of_its_finished_fits(whole: Whole) -> None:
    project, before = whole.project, whole.before
    assert {path.stem[:2] for path in before.metrics} == {"01", "02", "03", "04", "07"}
    assert stamps(before.metrics) == before.metrics
    fits = project.home / "data" / "interim" / STUDY / "fits" / "resnet50"
    assert before.fits and before.fits.keys() < stamps(fits.glob("[!.]*/fit.json")).keys()
    assert stamps(before.fits) == before.fits


def test_executed_notebooks_give_the_same_output_again(whole: Whole) -> None:
    whole.again.check(QUICK)


def test_their_tables_are_the_same_again(whole: Whole) -> None:
    known, found = final_tables(whole.project.reports), whole.again.tables()
    assert found and found == {name: known[name] for name in found}


def test_a_planted_wrong_output_fails(whole: Whole) -> None:
    said = whole.again.said()
    assert re.search(rf"^FAILED .*/{re.escape(whole.again.planted)}\b", said, re.M), said[-6000:]
    assert "something that no run has ever printed" in said


@pytest.mark.long
def test_after_a_kill_every_notebook_has_the_output_and_tables_of_a_run_without_one(
    project: Project, tmp_path: Path
) -> None:
    with run_again(project, tmp_path, config.NOTEBOOKS) as every:
        every.check(config.NOTEBOOKS)
        assert every.tables() == final_tables(project.reports)


@pytest.mark.parametrize("notebook", config.NOTEBOOKS)
def test_at_most_a_fifth_of_the_code_cells_go_unchecked(notebook: str) -> None:
    cells = json.loads((paths.notebooks_dir() / f"{notebook}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    marks = ("nbval-ignore-output", "nbval-skip", "NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP")
    ignored = [c for c in code if any(m in str(c["metadata"]) + "".join(c["source"]) for m in marks)]
    assert len(ignored) <= len(code) / 5
