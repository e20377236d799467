"""One fold at a time: what is fitted, what is kept, and what a fit may not see."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from osteo_utils.images import film_views
from osteo_utils.networks import backbones, inputs, probes, recipes, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.study import config, paths, results

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
    frame = pd.DataFrame({"image_id": [f"c/{n:02d}.png" for n in range(N)], "label": [0] * (N // 2) + [1] * (N // 2)})
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
        np.full_like(view, 0) + np.arange(N, dtype=np.float16)[:, None, None, None] for view in activations.views
    )
    one = job()
    batches = tails.training_batches(replace(activations, views=marked), one.table.image_id, one.train, 4, seed=5)
    for _ in range(3):
        seen = [next(batches) for _ in range(3)]
        rows = np.concatenate([batch[:, 0, 0, 0] for batch, _ in seen]).astype(int)
        assert sorted(rows) == sorted(one.train)
        np.testing.assert_array_equal(np.concatenate([shown for _, shown in seen]), rows)


def test_films_are_augmented_anew_in_every_epoch_and_alike_in_every_run() -> None:
    films = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE), dtype=np.uint8)
    given = Activations("vgg16", "full", SIZE, (films, films[:, :, ::-1]), "films", cut="all")
    one = job()

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
    monkeypatch.setattr(probes, "fit_probe", lambda one, *rest: (fitted.append(one.number), real(one, *rest))[1])
    assert training.fit_missing(wanted, Recipe("none"), activations, pretrained, tmp_path) == folders
    without_seconds = [line.rsplit(",", 1)[0] for line in fresh.splitlines()]
    resumed = [line.rsplit(",", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert len(resumed) == 1 and resumed == without_seconds, "a resumed notebook reads as a fresh one"
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


def folds_table(fold: np.ndarray, protocol: str = "grouped") -> pd.DataFrame:
    frame = table()[["image_id"]].assign(protocol=protocol, seed=0, view=0)
    return frame.assign(fold=fold)


def test_a_group_on_both_sides_is_refused_except_where_it_is_the_point() -> None:
    images = table(group=np.arange(N) // 2).drop(columns="fold")
    leaking = np.arange(N) % 2
    with pytest.raises(ValueError, match="group"):
        splits.fold_list(images, folds_table(leaking), ["grouped"], [0])
    assert len(splits.fold_list(images, folds_table(leaking, "by_file"), ["by_file"], [0])) == 2


def test_an_image_without_a_fold_is_named() -> None:
    images = table().drop(columns="fold")
    with pytest.raises(ValueError, match=r"no fold for c/00.png"):
        splits.fold_list(images, folds_table(np.arange(N) % 2).iloc[1:], ["grouped"], [0])


def test_the_learning_rate_warms_up_for_one_epoch_and_ends_near_zero() -> None:
    rates = recipes.learning_rates(Recipe("last_block", epochs=5, learning_rate=1e-3), steps=10)
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


def test_what_is_fitted_for_which_seeds_and_on_which_variant(
    monkeypatch: pytest.MonkeyPatch, activations: Activations, pretrained: weights.Weights
) -> None:
    asked = {}

    def fitted(wanted: list[Fold], recipe: Recipe, seen: Activations, *_: object) -> list[Path]:
        asked[recipe.fine_tune, seen.variant] = [one.seed for one in wanted]
        return [Path()] * len(wanted)

    monkeypatch.setattr(training, "fit_missing", fitted)
    monkeypatch.setattr(training, "gather", lambda folders: (None, None))
    monkeypatch.setattr(training, "activations_for", lambda recipe, run, images, given, weights: given)
    monkeypatch.setattr(training.inputs, "trusted_alone", lambda run, images, folds: folds)
    monkeypatch.setattr(training.guards, "check_out_of_fold", lambda *_: None)
    monkeypatch.setattr(training, "check_trunk", lambda *_: None)
    settings = {**config.load("phantom"), "protocols": ["grouped"], "trained_seeds": 1}
    settings["recipes"] = ["none", "last_block", "paper"]
    run = results.Run("05_resnet50", settings, paths.StudyPaths("none"), 1)
    dealt = [folds_table(np.arange(N) % 2).assign(seed=seed) for seed in settings["split_seeds"]]
    variants = {name: replace(activations, variant=name) for name in ("full", "segmented", "background")}
    training.fit_study(run, table().drop(columns="fold"), pd.concat(dealt), variants, pretrained)
    every, first = [0, 0, 1, 1, 2, 2], [0, 0]
    assert asked == {
        ("none", "full"): every,
        ("last_block", "full"): first,
        ("paper", "full"): first,
        ("none", "segmented"): every,
        ("last_block", "segmented"): first,
        ("none", "background"): every,
    }


def test_a_fit_of_another_backend_is_not_taken_for_one_of_this(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Recipe("none")
    (folder,) = training.fit_missing([job()], probe, activations, pretrained, tmp_path)
    before = results.read_json(folder / "fit.json")
    training.fit_missing([job()], probe, activations, pretrained, tmp_path)
    assert results.read_json(folder / "fit.json") == before
    before_it = keras.config.backend()
    monkeypatch.setattr(keras.config, "backend", lambda: "another")
    training.fit_missing([job()], probe, activations, pretrained, tmp_path)
    after = results.read_json(folder / "fit.json")
    assert (before["backend"], after["backend"]) == (before_it, "another")
    assert after["identity"] != before["identity"]


def test_the_inner_split_holds_out_whole_training_groups_of_both_classes() -> None:
    folds = np.where(np.arange(N) < 4, -1, np.arange(N) // 2 % 3)
    one = Fold("grouped", 0, 1, table(fold=folds, group=np.arange(N) // 2))
    learn, held = one.inner_split(0.25, seed=3)
    assert sorted([*learn, *held]) == sorted(one.train)
    assert not set(one.table.group[learn]) & set(one.table.group[held])
    assert set(one.labels[held]) == {0, 1}
    assert len(held) == pytest.approx(len(one.train) / 4, abs=1)
    everything, nothing = one.inner_split(0.0, seed=3)
    assert list(everything) == list(one.train) and not len(nothing)


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
    (folder,) = training.fit_missing([job()], recipe, activations, pretrained, tmp_path)
    inner = pd.read_csv(folder / "inner_validation.csv")
    assert list(inner.loss) == [0.9, 0.4, 0.7, 0.5], "two epochs without a gain, and it stops"
    kept = tails.fitted_tail(folder, "resnet50", pretrained, SIZE).get_layer("head").kernel.numpy()
    np.testing.assert_array_equal(kept, kernels[1])
    assert np.abs(kept - kernels[-1]).max() > 0
    _, history = training.gather([folder])
    assert list(history.epoch) == [1, 2, 3, 4]


def test_balanced_classes_weigh_alike_and_one_on_average() -> None:
    labels = np.array([0] * 9 + [1] * 3 + [1] * 50)
    weight = recipes.class_weights(labels, np.arange(12), "balanced")
    assert weight[:9].sum() == pytest.approx(weight[9:12].sum())
    assert weight[:12].mean() == pytest.approx(1)
    assert recipes.class_weights(labels, np.arange(12), "none") is None


def test_class_weights_reach_the_loss(tmp_path: Path, activations: Activations, pretrained: weights.Weights) -> None:
    # Untrained, with a bias of zero: where one class is three times as frequent, its mean loss counts as the other's.
    labels = [0] * 4 + [1] * (N - 4)
    still = Recipe("last_block", epochs=1, batch_size=64, learning_rate=1e-12, class_weight="balanced")
    one = job(label=labels)
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


def test_one_step_of_the_optimiser_is_that_of_adamw_and_smaller_towards_the_input() -> None:
    start = np.array([1.0, -2.0, 0.5], np.float32)
    gradient = np.array([0.3, -0.1, 2.0], np.float32)

    def stepped(made: keras.optimizers.Optimizer) -> np.ndarray:
        variable = keras.Variable(start, name="x")
        made.build([variable])
        for _ in range(3):
            made.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        return keras.ops.convert_to_numpy(variable)

    reference = stepped(keras.optimizers.AdamW(0.01, weight_decay=0.1))
    np.testing.assert_allclose(stepped(recipes.StagewiseAdam(0.01, 0.1, [1.0])), reference, rtol=1e-6)
    slow = stepped(keras.optimizers.AdamW(0.005, weight_decay=0.1))
    np.testing.assert_allclose(stepped(recipes.StagewiseAdam(0.01, 0.1, [0.5])), slow, rtol=1e-6)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_step_sizes_fall_from_the_head_to_the_first_stage(backbone: str) -> None:
    tail = backbones.tail(backbone, weights.random(backbone, 0), image_size=32, cut="all")
    variables = tail.trainable_variables
    shares = dict(zip([v.path for v in variables], recipes.stage_shares(variables, 0.5), strict=True))
    first, last = {
        "vgg16": ("block1_conv1", "block5_conv3"),
        "resnet50": ("conv1_conv", "conv5_block3_3_conv"),
    }[backbone]
    assert shares["head/kernel"] == 1
    assert shares[f"{last}/kernel"] == 0.5
    assert shares[f"{first}/kernel"] == 0.5**5
    assert sorted(set(shares.values())) == [0.5**n for n in range(5, -1, -1)]
    assert not [path for path in shares if "_bn" in path], "BatchNorm stays as ImageNet left it"


def test_the_whole_network_learns_from_films_and_its_first_layers_least(tmp_path: Path) -> None:
    small, given = 32, weights.random("vgg16", seed=1)
    films = np.random.default_rng(0).integers(0, 60, (N, small, small), dtype=np.uint8)
    films[N // 2 :] += 190
    seen = Activations("vgg16", "full", small, (films, films[:, :, ::-1]), "films", cut="all")
    recipe = Recipe("all", epochs=3, batch_size=4, learning_rate=1e-3, weight_decay=0.01, layer_decay=0.4)
    (folder,) = training.fit_missing([job()], recipe, seen, given, tmp_path)
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
    (folder,) = training.fit_missing([job()], recipe, seen, pretrained, tmp_path)
    predictions, history = training.gather([folder])
    assert ((predictions.y_prob >= 0.5) == (predictions.y_true == 1)).all()
    assert set(predictions.recipe) == {"paper"} and len(history) == 20
    tail = tails.fitted_tail(folder, "resnet50", pretrained, SIZE, "paper")
    # The state of dropout has a name that depends on what was built before.
    assert {v.path.split("/")[0] for v in tail.trainable_variables} == {"hidden", "head"}
    assert {v.path.split("/")[0] for v in tail.weights} == {"hidden", "head"}


def test_recipes_take_the_parameters_that_are_meant_for_them() -> None:
    parameters = {**config.load("smoke"), "view": "crop", "layer_decay": 0.3, "epochs": 7}
    found = {name: Recipe.from_parameters(name, parameters) for name in config.RECIPES}
    assert {name: recipe.cut for name, recipe in found.items()} == {
        "none": "last_block", "last_block": "last_block", "last_stage": "last_stage", "all": "all",
        "paper": "head",
    }  # fmt: skip
    assert found["all"].layer_decay == 0.3 and found["last_stage"].layer_decay == 1
    assert found["last_stage"].epochs == found["all"].epochs == 7
    assert found["paper"].view == "squeeze" and not found["paper"].mirrored and found["all"].view == ""


def test_each_recipe_learns_from_its_own_cut_and_view_of_the_same_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, given = 32, weights.random("vgg16", seed=1)
    random = np.random.default_rng(0)
    squares = {view: random.integers(0, 256, (N, small, small), dtype=np.uint8) for view in ("crop", "squeeze")}
    monkeypatch.setattr(inputs, "square_films", lambda run, images, variant, view, size: squares[view])
    parameters = {
        **config.load("smoke"), "view": "crop", "image_size": small, "split_seeds": [0],
        "recipes": ["none", "last_stage", "paper"], "protocols": ["grouped"], "epochs": 1, "batch_size": 6,
    }  # fmt: skip
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path))
    run = results.Run("04_vgg16", parameters, paths.StudyPaths("smoke"), 1)
    images = table().drop(columns="fold")
    seen = inputs.trunk_views(run, images, "vgg16", "full", given, 2)
    fits = training.fit_study(run, images, folds_table(np.arange(N) % 2), {"full": seen}, given)
    assert list(fits) == [("none", "full"), ("last_stage", "full"), ("paper", "full")]
    cached = sorted(path.name.rsplit("-", 1)[0] for path in run.paths.trunk.glob("*.npy"))
    assert cached == ["vgg16-head"] * 2 + ["vgg16-last_block"] * 2 + ["vgg16-last_stage"] * 2
    predictions, _ = training.gather([folder for fitted in fits.values() for _, folder in fitted])
    assert (predictions.groupby("recipe").image_id.nunique() == N).all()
    # The paper's fit saw the squeezed film alone, not its mirror image.
    one, folder = fits["paper", "full"][0]
    middle = backbones.outputs(backbones.trunk("vgg16", given, small, "head"), squares["squeeze"][one.test])
    logits = backbones.outputs(tails.fitted_tail(folder, "vgg16", given, small, "paper"), middle)[:, 0]
    found = pd.read_csv(folder / "predictions.csv").y_prob
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=2e-3)
    films = training.activations_for(Recipe("all"), run, images, seen, given)
    assert len(films.test_views) == 2
    np.testing.assert_array_equal(films.views[0], squares["crop"])
    np.testing.assert_array_equal(films.views[1], squares["crop"][:, :, ::-1])
