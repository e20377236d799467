"""The nested choice on a tiny study: fits of pairs of folds, kept; choices, predictions and metrics of both networks."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import small_study

from osteo_utils.evidence import ensemble
from osteo_utils.networks import training
from osteo_utils.protocols import splits
from osteo_utils.reporting import nested_section
from osteo_utils.reporting.network_notebook import Network
from osteo_utils.sources import weights
from osteo_utils.study import progress, results

RECIPES = ["none", "last_block"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[results.Run]:
    """Twenty-four synthetic knees in three folds, with a nested choice of probe and last block."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("OSTEO_HOME", str(home))
        small_study.synthetic.write(home / "films", 24, 3, size=96)
        run = small_study.prepared("small", home / "films", None)
        run.parameters |= {"n_folds": 3, "split_seeds": [0], "trained_seeds": 1, "nested_recipes": RECIPES}
        run.parameters |= {"recipes": RECIPES, "primary_recipe": "last_block", "bootstrap_resamples": 100}
        dealt = small_study.inputs.usable_images(run)
        results.write_table(run.paths.folds, splits.make_folds(dealt, "grouped", 3, 0), "folds")
        yield run


@pytest.fixture(scope="module")
def networks(run: results.Run) -> dict[str, Network]:
    found = {name: Network(run, name) for name in ("vgg16", "resnet50")}
    for name, network in found.items():
        network.weights = weights.random(name, 7)
        nested_section.of_network(network)
    return found


def test_choices_predictions_and_metrics_are_saved(run: results.Run, networks: dict[str, Network]) -> None:
    choices = results.read_table(run.paths.tables / "vgg16_nested_choices.csv")
    assert choices.candidate.tolist() == ["none, full", "last_block, full"] * 3
    assert choices.groupby("fold").chosen.sum().tolist() == [1, 1, 1] and set(choices.inner_folds) == {2}
    chosen = results.read_table(run.paths.predictions / "vgg16_nested.csv", "predictions")
    honest = networks["vgg16"].predictions.set_index(["image_id", "recipe"]).y_prob
    named = choices[choices.chosen == 1].set_index("fold").candidate.str.split(",").str[0]
    assert chosen.y_prob.tolist() == [honest[row.image_id, named[row.fold]] for row in chosen.itertuples()]
    assert run.metrics["vgg16/grouped/nested/auroc"].n_files == len(chosen)
    assert "comparison/vgg16-nested-fixed/grouped/auroc" in run.metrics


def test_labels_of_an_outer_fold_do_not_reach_its_choice(run: results.Run, networks: dict[str, Network]) -> None:
    """Refitted with the labels of fold 0 turned, films of other folds get the same scores where fold 0 is left out."""
    network = networks["vgg16"]
    before = results.read_table(run.paths.inner_predictions("vgg16"))
    turned = network.images.assign(conflict=0)
    inside = turned.image_id.isin(network.folds[network.folds.fold == 0].image_id)
    turned["label"] = turned.label.where(~inside, 1 - turned.label)
    run.parameters["nested_recipes"] = ["none"]
    after = training.fit_inner(run, turned, network.folds, network.activations, network.weights)
    run.parameters["nested_recipes"] = RECIPES
    pair = [table[(table.recipe == "none") & (table.outer == 0)] for table in (before, after)]
    assert len(pair[0]) and pair[0].y_prob.tolist() == pytest.approx(pair[1].y_prob.tolist(), abs=1e-12)
    other = [table[(table.recipe == "none") & (table.outer != 0) & (table.fold != 0)] for table in (before, after)]
    assert not np.allclose(other[0].y_prob, other[1].y_prob)


def test_the_combination_is_chosen_among_both_networks_and_their_averages(
    run: results.Run, networks: dict[str, Network]
) -> None:
    models = {name: network.predictions for name, network in networks.items()}
    fixed = ensemble.average(list(ensemble.arms(models, "grouped", "last_block", "full").values()))
    shown = nested_section.of_both(run, models, fixed)
    alone = [f"{model}: {recipe}, full" for model in models for recipe in RECIPES]
    both = [f"both: {recipe}, full" for recipe in RECIPES]
    assert shown.loc[("0", "0")].candidate.tolist() == [*alone, *both, "both: average of all"]
    assert run.metrics["ensemble/grouped/nested/auroc"].n_groups == fixed.group.nunique()


def test_inner_fits_are_planned_and_kept(
    run: results.Run, networks: dict[str, Network], capsys: pytest.CaptureFixture[str]
) -> None:
    network = networks["vgg16"]
    planned = training.planned(run, "vgg16", network.images, network.folds)
    assert {name: kind.planned for name, kind in planned.items() if name != progress.PASSES} == dict.fromkeys(
        RECIPES, 6
    )
    folders = sorted((run.paths.fits / "vgg16").glob("*grouped_inner*"))
    assert len(folders) == 6
    times = {folder: (folder / "fit.json").stat().st_mtime_ns for folder in folders if folder.name.startswith("last")}
    nested_section.of_network(network)
    assert times == {folder: (folder / "fit.json").stat().st_mtime_ns for folder in times}
    assert "vgg16/grouped/nested/auroc" in capsys.readouterr().out


def test_where_a_fit_without_two_folds_is_impossible_the_study_goes_on_and_says_so(
    run: results.Run, networks: dict[str, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(*_: object) -> None:
        raise ValueError("grouped_inner, seed 0, fold 4: the training images hold too few knees of one class")

    monkeypatch.setattr(training, "fit_inner", few)
    said = nested_section.of_network(networks["vgg16"])
    assert said == (
        "no nested choice: grouped_inner, seed 0, fold 4: the training images hold too few knees of one class"
    )
    assert not run.paths.inner_predictions("vgg16").exists()
    models = {name: network.predictions for name, network in networks.items()}
    assert nested_section.of_both(run, models, pd.DataFrame()) == "no nested choice: notebook 04 or 05 made none"

    def broken(*_: object) -> None:
        raise ValueError("another fault")

    monkeypatch.setattr(training, "fit_inner", broken)
    with pytest.raises(ValueError, match="another fault"):
        nested_section.of_network(networks["vgg16"])


def test_without_recipes_nothing_is_chosen_and_nothing_is_left(run: results.Run, networks: dict[str, Network]) -> None:
    run.parameters["nested_recipes"] = []
    assert nested_section.of_network(networks["vgg16"]) == "no nested choice: nested_recipes is empty"
    models = {"vgg16": pd.DataFrame(), "resnet50": pd.DataFrame()}
    assert nested_section.of_both(run, models, pd.DataFrame()).startswith("no nested choice")
    assert not list(run.paths.tables.glob("vgg16_nested*")) + list(run.paths.predictions.glob("ensemble_nested*"))
