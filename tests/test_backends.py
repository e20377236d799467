"""TensorFlow, JAX and PyTorch say the same for the same weights, and each of them learns."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from osteo_utils.study import paths

SCRIPT = Path(__file__).with_name("backend_fit.py")
PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backends")


def ran(backend: str, place: Path) -> dict:
    """What `backend_fit.py` found on a backend; the weights that all predict with come from TensorFlow's run."""
    if importlib.util.find_spec(PACKAGES[backend]) is None:
        pytest.skip(f"{backend} is not installed; install it beside the environment to run this test")
    result = place / f"{backend}.json"
    if not result.is_file():
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(paths.code_root())}
        # JAX would take most of a GPU's memory beforehand, and another backend may have some of it.
        environment |= {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TF_NUM_INTRAOP_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, str(SCRIPT), str(place)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(result.read_text())
    assert found["backend"] == backend
    return found


@pytest.mark.parametrize("backend", PACKAGES)
def test_a_backend_learns_and_its_fit_is_what_is_kept(place: Path, backend: str) -> None:
    ran("tensorflow", place)
    fit = ran(backend, place)["fit"]
    assert fit["loss"][-1] < fit["loss"][0]
    assert np.ptp(fit["kept"]) > 1e-4
    np.testing.assert_allclose(fit["again"], fit["kept"], atol=1e-5)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_weights_predict_the_same_on_every_backend(place: Path, backend: str) -> None:
    first, other = ran("tensorflow", place), ran(backend, place)
    for name in ("vgg16", "resnet50"):
        # Random networks are sure of themselves; their logits say more than probabilities near 0.
        assert np.ptp(first[name]["external"]) > 0.1
        np.testing.assert_allclose(other[name]["probability"], first[name]["probability"], atol=1e-4)
        np.testing.assert_allclose(other[name]["external"], first[name]["external"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(other[name]["trunk"], first[name]["trunk"], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(other[name]["map"], first[name]["map"], rtol=1e-2, atol=1e-3)
