"""What several test files share."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
# As `runtime.prepare` does for a notebook, and before NumPy is loaded: threads of small matrix products wait for each
# other several times longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Files that take longest, by processor time. They start first, so that no process is left alone with one at the end.
HEAVY = [
    "workflow", "determinism", "own_films", "devices", "backends", "phantom_instrument", "training", "tails", "scoring",
    "perturbations", "network_notebook", "backbones", "leakage", "guards", "unet_training",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"test_{name}": number for number, name in enumerate(HEAVY)}
    items.sort(key=lambda item: place.get(item.path.stem, len(HEAVY)))


@pytest.fixture(scope="module", autouse=True)
def networks_are_let_go() -> Iterator[None]:
    """Keras keeps what was built until it is told otherwise; a process that runs many files would hold gigabytes."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
        gc.collect()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that stands in for the project's data/ and reports/."""
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path))
    return tmp_path
