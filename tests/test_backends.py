"""TensorFlow, JAX and PyTorch say the same for the same weights, and each of them learns."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import backend_fit
import keras
import numpy as np
import pandas as pd
import pytest

from osteo_utils.networks import training
from osteo_utils.study import paths

SCRIPT = Path(backend_fit.__file__)
PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backends")


def started(script: Path, folder: Path, backend: str, **more: str) -> None:
    """Run a script of this folder on a backend, in a process of its own."""
    if importlib.util.find_spec(PACKAGES[backend]) is None:
        pytest.skip(f"{backend} is not installed; install it beside the environment to run this test")
    found = [str(paths.code_root()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    # JAX would take most of a GPU's memory beforehand, and another backend may have some of it.
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(filter(None, found)),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_NUM_INTRAOP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **more,
    }
    done = subprocess.run([sys.executable, str(script), str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def ran(backend: str, place: Path) -> dict:
    """What `backend_fit.py` found on a backend; the weights that all predict with come from TensorFlow's run."""
    result = place / f"{backend}.json"
    if not result.is_file() and backend == keras.backend.backend():
        backend_fit.main(place)
    elif not result.is_file():
        started(SCRIPT, place, backend)
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


def test_a_fit_spread_over_two_devices_is_that_of_one(place: Path) -> None:
    fits = {}
    for parts, word in ((1, "fits"), (2, "batches")):
        folder, flags = place / word, f"--xla_force_host_platform_device_count={parts}"
        script = SCRIPT.with_name("spread_fit.py")
        started(script, folder, "jax", OSTEO_SHARE=word, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
        (kept,) = folder.glob("*-f0")
        assert json.loads((kept / "fit.json").read_text())["parts"] == parts
        fits[parts] = training.gather([kept])
    for alone, spread in zip(*fits.values(), strict=True):
        pd.testing.assert_frame_equal(
            *(one.drop(columns="seconds", errors="ignore") for one in (spread, alone)), rtol=1e-3, atol=1e-4
        )
