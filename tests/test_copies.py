"""Planted copies of every kind and strength: how many are found, and that no two knees are joined."""

import importlib.util

import pytest

from osteo_utils.study import paths


@pytest.fixture(scope="module")
def benchmark():
    place = paths.code_root() / "benchmarks" / "copies_recall.py"
    spec = importlib.util.spec_from_file_location("copies_recall", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_planted_copies_are_found_and_different_knees_kept_apart(benchmark) -> None:
    images, manifest = benchmark.planted(n_knees=36, each=1, seed=3, size=384)
    by_kind, joined = benchmark.recall(images, manifest)
    assert len(by_kind) == 36
    assert joined == 0
    assert by_kind.recall.mean() >= 0.97
    # Of the 36 only the strongest turn (4 degrees) is missed.
    assert by_kind.recall[by_kind.kind != "turned a little"].mean() == 1
