"""A notebook opened out of order says which ones it lacks, and a call runs these with its parameters."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import papermill
import pytest

from osteo_utils.study import config, order, paths, results
from osteo_utils.study.parameters import NOTEBOOKS


def pretend(study: str, *notebooks: str) -> None:
    for name in notebooks:
        results.write_json(paths.StudyPaths(study).metrics / f"{name}.json", {"_run": {}})


def test_the_order_is_that_of_the_workflow(home: Path) -> None:
    """Whatever a rule of the workflow waits for, at once or through others, comes before its notebook here."""
    snakefile = paths.code_root() / "workflow" / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--cores", "1", "--rulegraph", "dot"]
    drawn = subprocess.run([*command, "--config", "study=smoke"], cwd=home, capture_output=True, text=True, check=True)
    names = dict(re.findall(r'(\d+)\[label = "nb(\d\d)"', drawn.stdout))
    waits: dict[str, set[str]] = {number: set() for number in names.values()}
    for first, second in re.findall(r"(\d+) -> (\d+)", drawn.stdout):
        if second in names:
            waits[names[second]].add(names[first])

    def before(number: str) -> set[str]:
        return waits[number].union(*map(before, waits[number]))

    assert len(waits) == len(NOTEBOOKS)
    for notebook in NOTEBOOKS:
        assert before(notebook[:2]) == {name[:2] for name in order.BEFORE[notebook]}, notebook


def test_what_was_not_run_is_named_in_order(home: Path) -> None:
    assert order.missing("06_ensemble", "scratch") == list(NOTEBOOKS[:5])
    pretend("scratch", "01_data_download", "03_segmentation")
    assert order.missing("04_vgg16", "scratch") == ["02_eda"]
    pretend("scratch", "02_eda")
    assert order.missing("04_vgg16", "scratch") == []


def test_a_notebook_out_of_order_stops_in_its_first_cell(home: Path) -> None:
    pretend("scratch", "01_data_download")
    with pytest.raises(FileNotFoundError) as caught:
        results.start("04_vgg16", {"study": "scratch", "In": []})
    said = str(caught.value)
    assert "04_vgg16 reads the results of 02_eda, 03_segmentation, which were not run for the study 'scratch'" in said
    assert "order.run_missing('04_vgg16', globals())" in said
    assert "./run_all.sh" not in said, "scratch is no study of the command line"
    with pytest.raises(FileNotFoundError, match=r"\./run_all\.sh phantom"):
        results.start("02_eda", {"study": "phantom", "In": []})


def test_the_call_runs_what_is_missing_with_the_parameters_at_hand(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, dict[str, Any]]] = []

    def execute(source: Path, target: Path, parameters: dict[str, Any], **_: Any) -> None:
        assert source.is_file()
        assert target.parent.is_dir()
        assert order.READ_BY_A_PERSON not in os.environ, "nobody reads along in the kernels that start here"
        ran.append((source.stem, parameters))
        pretend(parameters["study"], source.stem)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    monkeypatch.setenv(order.READ_BY_A_PERSON, "04_vgg16.ipynb")
    pretend("mine", "01_data_download")
    namespace = {"study": "mine", "seed": 7, "view": "pad", "In": []}
    assert order.run_missing("04_vgg16", namespace) == ["02_eda", "03_segmentation"]
    assert [name for name, _ in ran] == ["02_eda", "03_segmentation"]
    for name, parameters in ran:
        assert parameters.keys() <= set(config.names_for(name))
        assert (parameters["study"], parameters["seed"]) == ("mine", 7)
    assert order.run_missing("04_vgg16", namespace) == []
    assert os.environ[order.READ_BY_A_PERSON] == "04_vgg16.ipynb"


def test_the_overview_says_what_was_run(home: Path) -> None:
    about = {"_run": {"finished": "2026-01-02T03:04:05+00:00", "seconds": 90.0}}
    results.write_json(paths.StudyPaths("scratch").metrics / "02_eda.json", about)
    rows = {row.pop("notebook"): row for row in order.overview("scratch")}
    assert list(rows) == list(NOTEBOOKS)
    assert rows["02_eda"] == {"reads": "01", "run": "2026-01-02T03:04:05+00:00", "minutes": "1.5"}
    assert rows["04_vgg16"] == {"reads": "01, 02, 03", "run": "not yet", "minutes": ""}
    broken = paths.StudyPaths("scratch").metrics / "02_eda.json"
    broken.write_text("[]", "utf-8")
    with pytest.raises(
        ValueError, match=r"02_eda\.json: not the metrics of a notebook; delete it and run 02_eda again"
    ):
        order.overview("scratch")
