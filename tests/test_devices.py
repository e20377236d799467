"""Fits on GPUs, tried without one: mixed precision, and fits shared out among processes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osteo_utils.networks import backbones, recipes, tails, training, trunk_cache
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.study import results

SIZE, N = 32, 12
# Random networks give large activations, on which larger steps would run away.
WHOLE = Recipe("all", epochs=1, batch_size=4, learning_rate=1e-5)


@pytest.fixture(scope="module")
def pretrained() -> weights.Weights:
    return weights.random("vgg16", seed=1)


@pytest.fixture
def films() -> Activations:
    drawn = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE)).astype(np.uint8)
    drawn[N // 2 :, :, : SIZE // 2] //= 2
    # Not `full`, as a random network need not learn a few films by heart.
    return Activations("vgg16", "drawn", SIZE, (drawn, drawn[:, :, ::-1]), "films", cut="all")


def folds(count: int = 2) -> list[Fold]:
    table = pd.DataFrame({"image_id": [str(n) for n in range(N)], "label": np.arange(N) // (N // 2)})
    return [Fold("grouped", 0, n, table.assign(group=range(N), fold=np.arange(N) % count)) for n in range(count)]


def test_a_whole_network_on_a_gpu_is_trained_in_mixed_precision_and_kept_in_single(
    films: Activations, pretrained: weights.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not recipes.on_gpu()
    (one, _) = folds()
    (plain,) = training.fit_missing([one], WHOLE, films, pretrained, tmp_path / "cpu")
    monkeypatch.setattr(recipes, "on_gpu", lambda: True)
    (mixed,) = training.fit_missing([one], WHOLE, films, pretrained, tmp_path / "gpu")
    about = [results.read_json(folder / "fit.json") for folder in (plain, mixed)]
    assert [fit["precision"] for fit in about] == [recipes.SINGLE, recipes.MIXED]
    assert about[0]["identity"] != about[1]["identity"]
    tail = tails.fitted_tail(mixed, "vgg16", pretrained, SIZE, "all")
    assert {variable.dtype for variable in tail.variables if "seed" not in variable.path} == {"float32"}
    logits = np.mean([backbones.outputs(tail, view, chosen=one.test)[:, 0] for view in films.views], axis=0)
    said = training.gather([mixed])[0].y_prob.to_numpy()
    np.testing.assert_allclose(np.log(said / (1 - said)), logits, atol=0.1 * np.abs(logits).max())


def test_fits_shared_out_among_gpus_are_those_of_a_single_one(
    pretrained: weights.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(1).integers(0, 256, (N, SIZE, SIZE)).astype(np.uint8)
    views = [
        trunk_cache.activations(view, "vgg16", pretrained, tmp_path / "trunk") for view in (drawn, drawn[:, :, ::-1])
    ]
    seen = Activations("vgg16", "drawn", SIZE, tuple(views), "films")
    recipe = Recipe("last_block", epochs=1, batch_size=4, learning_rate=1e-5)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    alone = training.gather(training.fit_missing(folds(3), recipe, seen, pretrained, tmp_path / "alone"))[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    fitted_here: list[object] = []
    monkeypatch.setattr(training, "_fit_one", lambda *given: fitted_here.append(given))
    shared = training.gather(training.fit_missing(folds(3), recipe, seen, pretrained, tmp_path / "shared"))[0]
    assert not fitted_here, "what the other processes fitted was not taken for what was wanted"
    pd.testing.assert_frame_equal(shared, alone, atol=1e-5, rtol=0)
