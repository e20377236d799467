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
from pathlib import Path

import pandas as pd
import pytest

from osteo_utils.study import config, paths

STUDY = "smoke"


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

    def final_tables(self) -> dict[str, str]:
        """Every table that a run ends with, `seconds` left out."""
        found = {}
        for path in sorted(self.reports.rglob("*.csv")):
            table = pd.read_csv(path)
            kept = [column for column in table.columns if "seconds" not in column]
            if path.stem not in ("run_time", "runtime"):
                found[path.relative_to(self.reports).as_posix()] = table[kept].to_csv(index=False)
        return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    done = Project(tmp_path_factory.mktemp("workflow"))
    done.run()
    return done


@pytest.fixture
def restored(project: Project):
    """The project, with its code put back afterwards."""
    kept = project.code.with_name("kept")
    shutil.copytree(project.code, kept)
    yield project
    shutil.rmtree(project.code)
    kept.rename(project.code)
    # Back to the parameters and hashes of the unedited code, which the results belong to.
    project.run("--touch")


def test_every_notebook_ends_with_its_files(project: Project) -> None:
    for notebook in config.NOTEBOOKS:
        assert (project.reports / "notebooks" / f"{notebook}.ipynb").is_file()
        metrics = json.loads((project.reports / "metrics" / f"{notebook}.json").read_text())
        assert metrics["_run"]["parameters"]["study"] == STUDY
    assert (project.reports / "report.html").stat().st_size > 10_000
    assert (project.reports / "report.pdf").read_bytes()[:5] == b"%PDF-"
    assert {claim["id"] for claim in json.loads((project.reports / "claims.json").read_text())} >= {"C1", "C6"}


def test_every_figure_is_there_as_png_and_svg(project: Project) -> None:
    pngs = {path.with_suffix("") for path in project.reports.rglob("figures/**/*.png")}
    svgs = {path.with_suffix("") for path in project.reports.rglob("figures/**/*.svg")}
    assert pngs == svgs
    assert len(pngs) >= 15


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    assert "Nothing to be done" in project.run()


def test_prose_comments_and_docstrings_redo_nothing(restored: Project) -> None:
    restored.edit("osteo_utils/networks/training.py", '"""Fit one fold, keep it', '"""Fit a fold, keep it')
    restored.edit("osteo_utils/networks/recipes.py", "\nclass Recipe:", "\nclass Recipe:  # how to learn")
    restored.edit("notebooks/04_vgg16.ipynb", "**Takeaways**", "**What to keep in mind**")
    assert restored.would_run() == set()


def test_another_number_of_epochs_redoes_the_networks_and_what_follows(restored: Project) -> None:
    restored.edit(f"config/{STUDY}.yaml", "\nepochs: 2", "\nepochs: 3")
    assert restored.would_run() == {"04", "05", "06", "08"}


def test_changed_training_code_redoes_what_trains_and_what_follows(restored: Project) -> None:
    restored.edit("osteo_utils/networks/probes.py", "INNER_FOLDS = 4", "INNER_FOLDS = 3")
    assert restored.would_run() == {"04", "05", "06", "07", "08"}


def test_an_unknown_parameter_stops_before_anything_runs(restored: Project) -> None:
    restored.edit(f"config/{STUDY}.yaml", "\nepochs: 2", "\nepohcs: 2")
    done = subprocess.run(restored.command(), env=restored.environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "did you mean 'epochs'" in done.stdout + done.stderr


def test_a_kill_in_05_costs_that_notebook_and_changes_no_result(project: Project) -> None:
    before = project.final_tables()
    stamps = {n: (project.reports / "metrics" / f"{n}.json").stat().st_mtime_ns for n in config.NOTEBOOKS[:4]}
    fits = project.home / "data" / "interim" / STUDY / "fits" / "resnet50"
    shutil.rmtree(fits)
    running = subprocess.Popen(
        project.command("--forcerun", "nb05"), env=project.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list(fits.glob("none-*"))) < 2:
        assert running.poll() is None and time.monotonic() < deadline, "05 never got as far as its second fold"
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = {path.name for path in fits.glob("[!.]*")}
    project.run("--unlock")
    project.run()
    assert {n: (project.reports / "metrics" / f"{n}.json").stat().st_mtime_ns for n in stamps} == stamps
    assert kept and kept < {path.name for path in fits.iterdir()}
    assert project.final_tables() == before


def nbval(project: Project, home: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {**project.environment, "OSTEO_HOME": str(home)}
    sanitise = paths.code_root() / "tests" / "nbval_sanitize.cfg"
    start = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", os.devnull]
    options = ["--nbval", f"--nbval-sanitize-with={sanitise}", "--nbval-cell-timeout=300"]
    return subprocess.run([*start, *options, *words], env=environment, capture_output=True, text=True, cwd=home)


@pytest.fixture
def executed(project: Project, tmp_path: Path) -> Path:
    """A home with the executed copies and their results, but nothing from which a cell could resume."""
    home = tmp_path / "home"
    shutil.copytree(project.home / "reports", home / "reports")
    return home


def test_executed_notebooks_give_the_same_output_again(project: Project, executed: Path) -> None:
    notebooks = [str(path) for path in sorted((executed / "reports" / STUDY / "notebooks").glob("*.ipynb"))]
    assert len(notebooks) == len(config.NOTEBOOKS)
    done = nbval(project, executed, *notebooks)
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\d+ passed", done.stdout)


def test_a_planted_wrong_output_fails(project: Project, executed: Path) -> None:
    path = executed / "reports" / STUDY / "notebooks" / "01_data_download.ipynb"
    notebook = json.loads(path.read_text())
    streams = [o for c in notebook["cells"] for o in c.get("outputs", []) if o["output_type"] == "stream"]
    streams[0]["text"] = ["something that no run has ever printed\n"]
    path.write_text(json.dumps(notebook))
    done = nbval(project, executed, str(path))
    assert done.returncode == 1
    assert "something that no run has ever printed" in done.stdout


@pytest.mark.parametrize("notebook", config.NOTEBOOKS)
def test_at_most_a_fifth_of_the_code_cells_go_unchecked(notebook: str) -> None:
    cells = json.loads((paths.notebooks_dir() / f"{notebook}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    marks = ("nbval-ignore-output", "nbval-skip", "NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP")
    ignored = [c for c in code if any(m in str(c["metadata"]) + "".join(c["source"]) for m in marks)]
    assert len(ignored) <= len(code) / 5
