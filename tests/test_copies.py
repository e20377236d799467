"""Planted copies of every kind and strength: how many are found, and that no two knees are joined."""

import pytest
import samples


@pytest.fixture(scope="module")
def benchmark():
    return samples.benchmark("copies_recall")


def test_planted_copies_are_found_and_different_knees_kept_apart(benchmark) -> None:
    images, manifest = benchmark.planted(n_knees=36, each=1, seed=3, size=384)
    by_kind, joined = benchmark.recall(images, manifest)
    assert len(by_kind) == 36
    assert joined == 0
    assert by_kind.recall.mean() >= 0.97
    # Of the 36 only the strongest turn (4 degrees) is missed.
    assert by_kind.recall[by_kind.kind != "turned a little"].mean() == 1
