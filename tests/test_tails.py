"""One fit: what it is shown, what moves, what is kept, and what its history tells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import RECIPE, SIZE, N, fixtures, fold_of

from osteo_utils.images import film_views
from osteo_utils.networks import backbones, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.study import config

pretrained, activations = fixtures("resnet50")


def test_the_history_tells_of_every_training_image_not_of_the_last_batch(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    # With a step size near zero the network does not change, so an epoch's numbers are those of its end.
    still = Recipe("last_block", epochs=2, batch_size=5, learning_rate=1e-12)
    one = fold_of()
    assert len(one.train) % still.batch_size == 2, "the last batch is smaller than the others"
    (folder,) = training.fit_missing([one], still, activations, pretrained, tmp_path)
    tail = tails.fitted_tail(folder, "resnet50", pretrained, SIZE)
    _, history = training.gather([folder])
    truth = one.labels
    seen = [backbones.outputs(tail, view)[:, 0].astype(float) for view in activations.views]
    losses = [np.logaddexp(0, logits) - truth * logits for logits in seen]
    low, high = (ends[one.train].mean() for ends in (np.minimum(*losses), np.maximum(*losses)))
    assert ((history.loss >= low - 1e-3) & (history.loss <= high + 1e-3)).all()
    assert np.allclose(history.accuracy * len(one.train), np.round(history.accuracy * len(one.train)))
    scored = seen[0][one.test]
    expected = np.mean(np.logaddexp(0, scored) - truth[one.test] * scored)
    assert history.val_loss.to_numpy() == pytest.approx(expected, abs=1e-3)


def test_a_training_epoch_shows_every_training_image_once_and_no_other(activations: Activations) -> None:
    marked = tuple(
        np.full_like(view, 0) + np.arange(N, dtype=np.float16)[:, None, None, None] for view in activations.views
    )
    one = fold_of()
    batches = tails.training_batches(replace(activations, views=marked), one.table.image_id, one.train, 4, seed=5)
    for _ in range(3):
        seen = [next(batches) for _ in range(3)]
        rows = np.concatenate([batch[:, 0, 0, 0] for batch, _ in seen]).astype(int)
        assert sorted(rows) == sorted(one.train)
        np.testing.assert_array_equal(np.concatenate([shown for _, shown in seen]), rows)


def test_films_are_augmented_anew_in_every_epoch_and_alike_in_every_run() -> None:
    films = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE), dtype=np.uint8)
    given = Activations("vgg16", "full", SIZE, (films, films[:, :, ::-1]), "films", cut="all")
    one = fold_of()

    def two_epochs() -> list[tuple[np.ndarray, np.ndarray]]:
        batches = tails.ahead(tails.training_batches(given, one.table.image_id, one.train, 5, seed=5))
        return [next(batches) for _ in range(6)]

    seen, again = two_epochs(), two_epochs()
    for (batch, rows), (other, others) in zip(seen, again, strict=True):
        np.testing.assert_array_equal(batch, other)
        np.testing.assert_array_equal(rows, others)
    shown = {}
    for batch, rows in seen:
        for film, row in zip(batch, rows, strict=True):
            shown.setdefault(row, []).append(film)
    assert sorted(shown) == sorted(one.train)
    for row, (first, second) in shown.items():
        itself = backbones.preprocess(films[[row]])[0]
        for left, right in ((first, second), (first, itself), (second, itself)):
            assert np.abs(left - right).mean() > 5, "grey levels"
        expected = film_views.augment(films[row], 2, one.table.image_id[row], seed=5)
        np.testing.assert_array_equal(first, backbones.preprocess(expected[None])[0])


def test_a_trained_tail_has_moved_learnt_and_left_its_batch_statistics(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    (folder,) = training.fit_missing([fold_of()], RECIPE, activations, pretrained, tmp_path)
    trained = tails.fitted_tail(folder, "resnet50", pretrained, SIZE)
    untouched = backbones.tail("resnet50", pretrained, image_size=SIZE)
    moved = {
        new.path: float(np.abs(new.numpy() - old.numpy()).max())
        for new, old in zip(trained.variables, untouched.variables, strict=True)
    }
    kernels = [path for path in moved if path.endswith("kernel")]
    assert kernels and min(moved[path] for path in kernels) > 0
    assert max(value for path, value in moved.items() if "_bn" in path) == 0
    predictions, history = training.gather([folder])
    right = (predictions.y_prob >= 0.5) == (predictions.y_true == 1)
    assert right.mean() == 1.0, "the planted channels tell the classes apart"
    assert list(history.epoch) == [1, 2, 3, 4]
    assert history.loss.iloc[-1] < history.loss.iloc[0]


def test_the_best_inner_epoch_is_kept_and_the_scored_fold_has_no_say(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, epochs=9, inner_validation=0.25, patience=2)
    losses = iter([0.9, 0.4, 0.7, 0.5, 0.1])
    kernels = []
    real = tails.TailFitter._score

    def score(self: tails.TailFitter, one: Fold, chosen: np.ndarray) -> tuple[float, float]:
        if len(chosen) == N // 2:
            return real(self, one, chosen)
        kernels.append(self.tail.get_layer("head").kernel.numpy())
        return next(losses), 0.5

    monkeypatch.setattr(tails.TailFitter, "_score", score)
    (folder,) = training.fit_missing([fold_of()], recipe, activations, pretrained, tmp_path)
    inner = pd.read_csv(folder / "inner_validation.csv")
    assert list(inner.loss) == [0.9, 0.4, 0.7, 0.5], "two epochs without a gain, and it stops"
    kept = tails.fitted_tail(folder, "resnet50", pretrained, SIZE).get_layer("head").kernel.numpy()
    np.testing.assert_array_equal(kept, kernels[1])
    assert np.abs(kept - kernels[-1]).max() > 0
    _, history = training.gather([folder])
    assert list(history.epoch) == [1, 2, 3, 4]


def test_class_weights_reach_the_loss(tmp_path: Path, activations: Activations, pretrained: weights.Weights) -> None:
    # Untrained, with a bias of zero: where one class is three times as frequent, its mean loss counts as the other's.
    labels = [0] * 4 + [1] * (N - 4)
    still = Recipe("last_block", epochs=1, batch_size=64, learning_rate=1e-12, class_weight="balanced")
    one = fold_of(label=labels)
    single = replace(activations, views=activations.views[:1])
    (folder,) = training.fit_missing([one], still, single, pretrained, tmp_path)
    _, history = training.gather([folder])
    tail = tails.fitted_tail(folder, "resnet50", pretrained, SIZE)
    logits = backbones.outputs(tail, single.views[0])[one.train, 0].astype(float)
    truth = one.labels[one.train]
    losses = np.logaddexp(0, logits) - truth * logits
    expected = (losses[truth == 0].mean() + losses[truth == 1].mean()) / 2
    assert abs(expected - losses.mean()) > 0.01
    assert history.loss[0] == pytest.approx(expected, rel=1e-3)


def test_the_whole_network_learns_from_films_and_its_first_layers_least(tmp_path: Path) -> None:
    small, given = 32, weights.random("vgg16", seed=1)
    films = np.random.default_rng(0).integers(0, 60, (N, small, small), dtype=np.uint8)
    films[N // 2 :] += 190
    seen = Activations("vgg16", "full", small, (films, films[:, :, ::-1]), "films", cut="all")
    recipe = Recipe("all", epochs=3, batch_size=4, learning_rate=1e-3, weight_decay=0.01, layer_decay=0.4)
    (folder,) = training.fit_missing([fold_of()], recipe, seen, given, tmp_path)
    predictions, history = training.gather([folder])
    assert ((predictions.y_prob >= 0.5) == (predictions.y_true == 1)).all(), "dark and bright films"
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    trained = tails.fitted_tail(folder, "vgg16", given, small, "all")
    moved = {
        layer.name: float(np.abs(layer.kernel.numpy() - given.tensors[f"{layer.name}/kernel"]).max())
        for layer in trained.layers
        if layer.name.startswith("block") and layer.variables
    }
    assert len(moved) == 13 and min(moved.values()) > 0
    assert moved["block1_conv1"] < 0.2 * moved["block5_conv3"]


def test_the_papers_recipe_freezes_the_network_and_trains_its_dense_layers(
    tmp_path: Path, pretrained: weights.Weights
) -> None:
    shape = backbones.output_shape("resnet50", "head", SIZE)
    values = np.random.default_rng(0).random((N, *shape), np.float32)
    values[N // 2 :, ..., :256] += 2.0
    seen = Activations("resnet50", "full", SIZE, (values.astype(np.float16),), "planted", cut="head", n_scored=1)
    recipe = Recipe.from_parameters("paper", config.load("smoke"))
    (folder,) = training.fit_missing([fold_of()], recipe, seen, pretrained, tmp_path)
    predictions, history = training.gather([folder])
    assert ((predictions.y_prob >= 0.5) == (predictions.y_true == 1)).all()
    assert set(predictions.recipe) == {"paper"} and len(history) == 20
    tail = tails.fitted_tail(folder, "resnet50", pretrained, SIZE, "paper")
    # The state of dropout has a name that depends on what was built before.
    assert {v.path.split("/")[0] for v in tail.trainable_variables} == {"hidden", "head"}
    assert {v.path.split("/")[0] for v in tail.weights} == {"hidden", "head"}
