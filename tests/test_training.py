"""Every fold of every recipe: what is fitted, what is kept, and what a fit may not see."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from planted import RECIPE, N, fixtures, fold_of, table

from osteo_utils.networks import backbones, inputs, probes, tails, training
from osteo_utils.networks.inputs import Activations
from osteo_utils.networks.recipes import Recipe
from osteo_utils.protocols.splits import Fold
from osteo_utils.sources import weights
from osteo_utils.study import config, paths, results

pretrained, activations = fixtures("vgg16")


def test_the_same_seed_gives_the_same_bits(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    for name in ("a", "b"):
        training.fit_missing([fold_of()], RECIPE, activations, pretrained, tmp_path / name)
    name = "last_block-full-grouped-s0-f0/predictions.csv"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_probe_finds_the_planted_channels_and_no_signal_in_shuffled_labels(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    wanted = [fold_of(0), fold_of(1)]
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
    wanted = [fold_of(0), fold_of(1)]
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
        training.fit_missing([fold_of()], Recipe("none"), activations, pretrained, tmp_path)
    assert list(tmp_path.iterdir()) == []


def folds_table(fold: np.ndarray, protocol: str = "grouped") -> pd.DataFrame:
    frame = table()[["image_id"]].assign(protocol=protocol, seed=0, view=0)
    return frame.assign(fold=fold)


def test_a_fit_does_not_depend_on_the_fits_before_it(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights
) -> None:
    training.fit_missing([fold_of(0), fold_of(1)], RECIPE, activations, pretrained, tmp_path / "both")
    training.fit_missing([fold_of(1)], RECIPE, activations, pretrained, tmp_path / "alone")
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
    # Two knees of each person: probes of whole films also show what it costs to part them.
    persons = table().drop(columns="fold").assign(group=np.arange(N) // 2)
    apart = [folds_table(np.arange(N) // 2 % 2).assign(seed=seed) for seed in settings["split_seeds"]]
    knees = [one.assign(protocol="grouped_knees", fold=np.arange(N) % 2) for one in apart]
    training.fit_study(run, persons, pd.concat([*apart, *knees]), variants, pretrained)
    assert asked["none", "full"] == every * 2 and asked["none", "segmented"] == every
    assert asked["last_block", "full"] == first


def test_a_fit_of_another_backend_is_not_taken_for_one_of_this(
    tmp_path: Path, activations: Activations, pretrained: weights.Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Recipe("none")
    (folder,) = training.fit_missing([fold_of()], probe, activations, pretrained, tmp_path)
    before = results.read_json(folder / "fit.json")
    training.fit_missing([fold_of()], probe, activations, pretrained, tmp_path)
    assert results.read_json(folder / "fit.json") == before
    before_it = keras.config.backend()
    monkeypatch.setattr(keras.config, "backend", lambda: "another")
    training.fit_missing([fold_of()], probe, activations, pretrained, tmp_path)
    after = results.read_json(folder / "fit.json")
    assert (before["backend"], after["backend"]) == (before_it, "another")
    assert after["identity"] != before["identity"]


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
