"""One fold at a time: what is fitted, what is kept, and what a fit may not see."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osteo_utils.models import backbones, jobs, probes, tails, training, weights
from osteo_utils.models.inputs import Activations
from osteo_utils.models.jobs import Fold, Recipe

SIZE = 64
N = 24
RECIPE = Recipe("last_block", epochs=4, batch_size=4, learning_rate=1e-3, weight_decay=0.01, dropout=0.2)


@pytest.fixture(scope="module")
def pretrained() -> weights.Weights:
    return weights.random("resnet50", seed=1)


@pytest.fixture(scope="module")
def activations() -> Activations:
    """Activations in which a few channels tell the classes apart."""
    shape = backbones.output_shape("resnet50", "last_block", SIZE)
    rng = np.random.default_rng(0)
    views = []
    for _ in range(2):
        values = rng.random((N, *shape), np.float32)
        values[N // 2 :, ..., :256] += 2.0
        views.append(values.astype(np.float16))
    return Activations("resnet50", "full", SIZE, tuple(views), "planted")


def table(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"image_id": [f"c/{n:02d}.png" for n in range(N)], "label": [0] * (N // 2) + [1] * (N // 2)}
    )
    frame["group"] = np.arange(N)
    frame["fold"] = np.arange(N) % 2
    return frame.assign(**columns)


def job(fold: int = 0, **columns: object) -> Fold:
    return Fold("grouped", 0, fold, table(**columns))


def test_the_history_tells_of_every_training_image_not_of_the_last_batch(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    # With a step size near zero the network does not change, so an epoch's numbers are those of its end.
    still = Recipe("last_block", epochs=2, batch_size=5, learning_rate=1e-12)
    one = job()
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


def test_left_out_images_are_neither_trained_on_nor_scored() -> None:
    folds = np.where(np.arange(N) < 4, -1, np.arange(N) % 2)
    one = Fold("grouped", 0, 1, table(fold=folds))
    assert not set(range(4)) & (set(one.train) | set(one.test))
    assert (set(one.train) | set(one.test)) == set(range(4, N))


def test_a_training_epoch_shows_every_training_image_once_and_no_other(activations: Activations) -> None:
    marked = tuple(
        np.full_like(view, 0) + np.arange(N, dtype=np.float16)[:, None, None, None]
        for view in activations.views
    )
    one = job()
    labels = one.labels.astype(np.float32)[:, None]
    batches = tails.training_batches(marked, labels, one.train, RECIPE, seed=5)
    for _ in range(3):
        seen = [next(batches) for _ in range(3)]
        rows = np.concatenate([batch[:, 0, 0, 0] for batch, _ in seen]).astype(int)
        assert sorted(rows) == sorted(one.train)
        np.testing.assert_array_equal(np.concatenate([truth for _, truth in seen]), labels[rows])


def test_a_trained_tail_has_moved_learnt_and_left_its_batch_statistics(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    (folder,) = training.fit_missing([job()], RECIPE, activations, pretrained, tmp_path)
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


def test_the_same_seed_gives_the_same_bits(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    for name in ("a", "b"):
        training.fit_missing([job()], RECIPE, activations, pretrained, tmp_path / name)
    name = "last_block-full-grouped-s0-f0/predictions.csv"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_probe_finds_the_planted_channels_and_no_signal_in_shuffled_labels(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    wanted = [job(0), job(1)]
    folders = training.fit_missing(wanted, Recipe("none"), activations, pretrained, tmp_path)
    predictions, _ = training.gather(folders)
    assert ((predictions.y_prob >= 0.5) == (predictions.y_true == 1)).all()
    assert predictions.image_id.is_unique and len(predictions) == N


def test_a_finished_fit_is_kept_and_a_changed_recipe_is_fitted_again(
    tmp_path: Path,
    activations: Activations,
    pretrained: weights.Weights,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    wanted = [job(0), job(1)]
    folders = training.fit_missing(wanted, Recipe("none"), activations, pretrained, tmp_path)
    fresh = capsys.readouterr().out
    (tmp_path / "none-full-grouped-s0-f1" / "fit.json").unlink()
    fitted = []
    real = probes.fit_probe
    monkeypatch.setattr(
        probes, "fit_probe", lambda one, *rest: (fitted.append(one.fold), real(one, *rest))[1]
    )
    assert training.fit_missing(wanted, Recipe("none"), activations, pretrained, tmp_path) == folders
    without_seconds = [line.rsplit(",", 1)[0] for line in fresh.splitlines()]
    resumed = [line.rsplit(",", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert len(resumed) == 2 and resumed == without_seconds, "a resumed notebook reads as a fresh one"
    assert fitted == [1], "the complete fit is kept, the one cut short is made again"
    relabelled = [Fold("grouped", 0, 0, table(label=[1] * 12 + [0] * 12))]
    training.fit_missing(relabelled, Recipe("none"), activations, pretrained, tmp_path)
    assert fitted == [1, 0]


def test_a_fit_that_fails_leaves_no_folder(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = (np.full(N // 2, 0.5), pd.DataFrame())
    monkeypatch.setattr(probes, "fit_probe", lambda *_: constant)
    with pytest.raises(RuntimeError, match=r"every image gets 0\.5"):
        training.fit_missing([job()], Recipe("none"), activations, pretrained, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_predictions_that_are_not_finite_stop_the_study() -> None:
    with pytest.raises(RuntimeError, match="not finite; lower learning_rate"):
        training.check_probabilities(np.array([0.1, np.nan]), "fit")


def folds_table(fold: np.ndarray, protocol: str = "grouped") -> pd.DataFrame:
    frame = table()[["image_id"]].assign(protocol=protocol, seed=0, view=0)
    return frame.assign(fold=fold)


def test_a_group_on_both_sides_is_refused_except_where_it_is_the_point() -> None:
    images = table(group=np.arange(N) // 2).drop(columns="fold")
    leaking = np.arange(N) % 2
    with pytest.raises(ValueError, match="group"):
        jobs.fold_list(images, folds_table(leaking), ["grouped"], [0])
    assert len(jobs.fold_list(images, folds_table(leaking, "by_file"), ["by_file"], [0])) == 2


def test_an_image_without_a_fold_is_named() -> None:
    images = table().drop(columns="fold")
    with pytest.raises(ValueError, match=r"no fold for c/00.png"):
        jobs.fold_list(images, folds_table(np.arange(N) % 2).iloc[1:], ["grouped"], [0])


def test_the_learning_rate_warms_up_for_one_epoch_and_ends_near_zero() -> None:
    rates = tails.learning_rates(Recipe("last_block", epochs=5, learning_rate=1e-3), steps=10)
    assert len(rates) == 50
    assert rates[0] == pytest.approx(1e-4)
    assert int(np.argmax(rates)) == 9 and rates[9] == pytest.approx(1e-3)
    assert rates[29] == pytest.approx(5e-4)
    assert rates[49] == pytest.approx(0)


def test_a_fit_does_not_depend_on_the_fits_before_it(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    training.fit_missing([job(0), job(1)], RECIPE, activations, pretrained, tmp_path / "both")
    training.fit_missing([job(1)], RECIPE, activations, pretrained, tmp_path / "alone")
    name = "last_block-full-grouped-s0-f1/predictions.csv"
    assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
