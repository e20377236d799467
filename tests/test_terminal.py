"""What a person sees: progress, the failure screen, the summary."""

import io
import json
from pathlib import Path

import nbformat
import pytest

import terminal
from osteo_utils.study import paths

SNAKEMAKE_LOG = """Job stats:
job      count
-----  -------
all          1
nb04         1
nb05         1
total        3

[Sun Nov 22 18:37:51 2026]
rule nb04:
    jobid: 4
[Sun Nov 22 18:38:02 2026]
Finished jobid: 4 (Rule: nb04)
rule nb05:
    jobid: 5
"""


def test_progress_tells_what_runs_how_far_and_what_failed(home: Path) -> None:
    study, shown = paths.StudyPaths("smoke"), io.StringIO()
    study.logs.mkdir(parents=True)
    log = study.logs / "snakemake.log"
    progress = terminal.Progress(study, shown)
    progress.update()
    log.write_text(SNAKEMAKE_LOG + "Error in rule nb")
    (study.logs / "05.log").write_text("Executing Cell 11------\nEnding Cell 11---\nExecuting Cell 12------\n")
    progress.update()
    assert (list(progress.finished), progress.running) == (["04_vgg16"], ["05_resnet50"])
    assert progress.cell("05_resnet50") == 12
    assert "1 of 2" in shown.getvalue()
    with log.open("a") as stream:
        stream.write("05:\n    jobid: 5\n")
    progress.update()
    assert (progress.failed, progress.running) == (["05_resnet50"], [])


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")]
)
def test_durations_are_as_people_say_them(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


def executed(path: Path, *cells: nbformat.NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), str(path))


def test_a_failure_is_one_screen_with_cell_error_and_what_to_do(home: Path) -> None:
    study = paths.StudyPaths("smoke")
    error = nbformat.v4.new_output(
        "error",
        ename="ValueError",
        evalue="folds.csv: fold 3 has one class",
        traceback=[f"\x1b[31mframe {number}\x1b[0m" for number in range(40)]
        + ["ValueError: folds.csv: fold 3 has one class"],
    )
    source = "\n".join(f"step_{number}()" for number in range(30))
    executed(
        study.notebooks / "02_eda.ipynb",
        nbformat.v4.new_code_cell("fine()"),
        nbformat.v4.new_code_cell(source, execution_count=7, outputs=[error], id="eda-09"),
    )
    lines = terminal.failure(["02_eda"], study, "./run_all.sh smoke")
    text = "\n".join(lines)
    assert len(lines) <= 40
    assert "\x1b" not in text
    assert "In [7], id eda-09" in text
    assert "step_0()" in text
    assert "frame 39" in text
    assert text.count("ValueError: folds.csv: fold 3 has one class") == 1
    assert str(study.logs / "02.log") in text
    assert lines[-1].endswith("./run_all.sh smoke")


def test_a_kernel_that_died_is_told_by_the_cell_that_was_running(home: Path) -> None:
    study = paths.StudyPaths("smoke")
    cell = nbformat.v4.new_code_cell("fit_all()", metadata={"papermill": {"status": "running"}})
    executed(study.notebooks / "05_resnet50.ipynb", cell)
    study.logs.mkdir(parents=True)
    (study.logs / "05.log").write_text("nbclient.exceptions.DeadKernelError: Kernel died\n")
    text = "\n".join(terminal.failure(["05_resnet50"], study, "again"))
    assert "fit_all()" in text
    assert "want of memory" in text
    assert "DeadKernelError" in text


def claim(number: int) -> dict[str, str]:
    return {
        "id": f"C{number}", "claim": "a long sentence of the paper " * 9, "paper": "98 %",
        "ours": "0.81 [0.77, 0.85]", "verdict": "not reproduced", "why": "x",
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 9, 14])
def test_the_summary_shows_claims_in_ten_lines_and_where_the_report_is(home: Path, count: int) -> None:
    study = paths.StudyPaths("smoke")
    study.metrics.mkdir(parents=True)
    study.claims.write_text(json.dumps([claim(number) for number in range(1, count + 1)]))
    (study.metrics / "04_vgg16.json").write_text(json.dumps({"_run": {"seconds": 83.0}}))
    (study.metrics / "02_eda.json").write_text(json.dumps({"data/groups": {"value": 20 * count}, "_run": {}}))
    (study.reports / "report.html").touch()
    table = terminal.claims_table(json.loads(study.claims.read_text()), width=90)
    assert len(table) <= 10
    assert max(map(len, table)) <= 90
    assert "0.81 [0.77, 0.85]" in table[1]
    assert "not reproduced" in table[1]
    text = "\n".join(terminal.summary(study, 130))
    assert str(study.reports / "report.html") in text
    assert "04 1 min 23 s" in text
    assert "2 min 10 s in all" in text
    assert ("Only 20 persons, or knees of persons unknown: too few" in text) == (count == 1)
