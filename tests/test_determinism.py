"""Two runs of the same study agree to the last bit, also where one of them was killed and went on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from osteo_utils.study import paths

FOLDS = [f"full-grouped-s0-f{fold}" for fold in range(2)]
PROGRAM = Path(__file__).parent / "fit_small_study.py"


def run(folder: Path, *how: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), *how],
        env={**os.environ, "PYTHONPATH": str(paths.code_root())},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    assert run(folder, "kill").returncode == -signal.SIGKILL
    return folder


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*/fit.json") for path in [path.parent]}


def arrays(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(folder.glob("[!.]*/tail.weights.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, path=path: (
                    found.update({f"{path.parent.name}/{name}": np.array(item)})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
    return found


def test_killed_in_the_second_fold_and_gone_on_equals_a_run_without_a_break(fresh: Path, killed: Path) -> None:
    kept = [f"last_block-{name}" for name in FOLDS[:1]]
    before = written(killed)
    assert sorted(before) == kept, "whole or absent: the second fold was trained, not kept"
    for name in kept:
        both = [(folder / name / "predictions.csv").read_bytes() for folder in (fresh, killed)]
        assert both[0] == both[1], "two processes, the same bits"
    done = run(killed)
    assert done.returncode == 0, done.stderr
    after = written(killed)
    assert {name: after[name] for name in kept} == before, "what was whole is not fitted again"
    assert sorted(after) == sorted(f"{recipe}-{name}" for recipe in ("last_block", "none", "all") for name in FOLDS)
    assert [path for path in killed.iterdir() if path.name.startswith(".")] == []
    for name in after:
        both = [(folder / name / "predictions.csv").read_bytes() for folder in (fresh, killed)]
        assert both[0] == both[1], name
    ours, theirs = arrays(fresh), arrays(killed)
    assert len(ours) == 2 * (4 + 28) and ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_what_is_compared_is_random_at_all(fresh: Path) -> None:
    heads = [
        value
        for name, value in arrays(fresh).items()
        if name.startswith("last_block") and "/layers/" in name and value.shape == (512, 1)
    ]
    assert len(heads) == 2
    assert np.abs(heads[0] - heads[1]).max() > 0.01, "no two folds' heads start alike"
