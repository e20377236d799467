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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

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


@pytest.fixture(scope="module")
def run_with_a_kill(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Kill]:
    """The one run that all tests look at. It is killed in 05 and goes on; what nbval runs again is not killed.

    That fits are the same to the bit after a kill is tested in `test_determinism`.
    """
    project = Project(tmp_path_factory.mktemp("workflow"))
    project.run("--until", "nb04", "nb07")
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
    project.run("--unlock")
    project.run()
    return project, before


@pytest.fixture(scope="module")
def project(run_with_a_kill: tuple[Project, Kill]) -> Project:
    return run_with_a_kill[0]


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
    assert (project.reports / "notebooks" / "glossary.md").is_file(), "every executed notebook links to it"
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
    restored.edit(
        "osteo_utils/networks/training.py", '"""Fit every fold, save each fit', '"""Fit all folds, save each fit'
    )
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


def test_a_kill_in_05_costs_that_notebook_alone_and_none_of_its_finished_fits(
    run_with_a_kill: tuple[Project, Kill],
) -> None:
    project, before = run_with_a_kill
    assert {path.stem[:2] for path in before.metrics} == {"01", "02", "03", "04", "07"}
    assert stamps(before.metrics) == before.metrics
    fits = project.home / "data" / "interim" / STUDY / "fits" / "resnet50"
    assert before.fits and before.fits.keys() < stamps(fits.glob("[!.]*/fit.json")).keys()
    assert stamps(before.fits) == before.fits


@dataclass
class Again:
    """Executed notebooks run once more by nbval, from nothing: what pytest said, and the tables that they wrote."""

    said: str
    tables: dict[str, str]

    def check(self, notebooks: Iterable[str]) -> None:
        failed = [line for line in self.said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        assert all("planted.ipynb" in line for line in failed), self.said[-6000:]
        for notebook in notebooks:
            assert re.search(rf"^PASSED .*{notebook}\.ipynb", self.said, re.M), self.said[-6000:]


def run_again(project: Project, home: Path, names: Iterable[str]) -> Again:
    """The notebooks of these names by nbval in one process; last the first one up to its first printed words, made wrong."""
    own = home / "reports" / STUDY / "notebooks"
    shutil.copytree(project.reports / "notebooks", own)
    planted = json.loads((own / f"{config.NOTEBOOKS[0]}.ipynb").read_text())
    printed = [any(o["output_type"] == "stream" for o in cell.get("outputs", [])) for cell in planted["cells"]]
    planted["cells"] = planted["cells"][: printed.index(True) + 1]
    for output in planted["cells"][-1]["outputs"]:
        if output["output_type"] == "stream":
            output["text"] = ["something that no run has ever printed\n"]
    (own / "planted.ipynb").write_text(json.dumps(planted))
    # As many threads as Snakemake gives to a notebook: their number changes rounding.
    environment = {**project.environment, "OSTEO_HOME": str(home), "OSTEO_THREADS": "1"}
    sanitise = paths.code_root() / "tests" / "nbval_sanitize.cfg"
    start = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", os.devnull]
    options = ["--nbval", f"--nbval-sanitize-with={sanitise}", "--nbval-cell-timeout=300"]
    files = [str(own / f"{name}.ipynb") for name in (*names, "planted")]
    done = subprocess.run([*start, *options, *files], env=environment, capture_output=True, text=True, cwd=home)
    return Again(done.stdout, final_tables(home / "reports" / STUDY))


@pytest.fixture(scope="module")
def again(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Again:
    return run_again(project, tmp_path_factory.mktemp("again"), QUICK)


def test_executed_notebooks_give_the_same_output_again(again: Again) -> None:
    again.check(QUICK)


def test_their_tables_are_the_same_again(project: Project, again: Again) -> None:
    known = final_tables(project.reports)
    assert again.tables and again.tables == {name: known[name] for name in again.tables}


def test_a_planted_wrong_output_fails(again: Again) -> None:
    assert re.search(r"^FAILED .*planted\.ipynb", again.said, re.M)
    assert "something that no run has ever printed" in again.said


@pytest.mark.long
def test_after_a_kill_every_notebook_has_the_output_and_tables_of_a_run_without_one(
    project: Project, tmp_path: Path
) -> None:
    every = run_again(project, tmp_path, config.NOTEBOOKS)
    every.check(config.NOTEBOOKS)
    assert every.tables == final_tables(project.reports)


@pytest.mark.parametrize("notebook", config.NOTEBOOKS)
def test_at_most_a_fifth_of_the_code_cells_go_unchecked(notebook: str) -> None:
    cells = json.loads((paths.notebooks_dir() / f"{notebook}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    marks = ("nbval-ignore-output", "nbval-skip", "NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP")
    ignored = [c for c in code if any(m in str(c["metadata"]) + "".join(c["source"]) for m in marks)]
    assert len(ignored) <= len(code) / 5
