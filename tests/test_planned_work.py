"""What notebooks 04 and 05 plan is what they then do."""

import json
from pathlib import Path

import keras
import pytest
import samples
import small_study

from osteo_utils.networks import backbones, training
from osteo_utils.networks.recipes import Recipe
from osteo_utils.study import progress, results


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """The plan of the tiny study beside what its fits and passes report."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("OSTEO_HOME", str(home))
        small_study.synthetic.write(home / "films", 16, 3, size=96)
        run = small_study.prepared("small", home / "films", None)
        images = small_study.inputs.usable_images(run)
        folds = results.read_table(run.paths.folds, "folds")
        file = progress.path_of(run.paths, run.notebook)
        progress.plan(file, training.planned(run, "vgg16", images, folds), results.write_text)
        small_study.Fitted(run)
        (meter,) = progress._WORK.handlers
        meter._write("")
        return {"images": len(images), **json.loads(Path(file).read_text())["work"]}


def test_every_planned_fit_was_reported_and_no_other(counted: dict) -> None:
    # Two folds: probes for both seeds, the last block for both trained seeds.
    assert {
        name: (kind["planned"], kind["done"]) for name, kind in counted.items() if name in ("none", "last_block")
    } == {"none": (4, 4), "last_block": (4, 4)}
    assert counted["last_block"]["measured"] == 4 and counted["last_block"]["seconds"] > 0


def test_passes_are_those_of_views_and_of_the_ablation(counted: dict) -> None:
    n_images, passes = counted["images"], counted[progress.PASSES]
    # Two views of whole films and one compared square, which the ablation has not made here.
    assert passes["planned"] == 3 * n_images
    assert passes["done"] == 2 * n_images


@pytest.mark.parametrize("backbone", ["vgg16", "resnet50"])
def test_the_shares_of_the_tails_are_those_of_the_networks(backbone: str) -> None:
    counted = samples.benchmark("training_speed").multiply_adds
    trunk, *_ = parts_of(backbone, "last_block")
    for recipe, share in training.TAIL_SHARES[backbone].items():
        tail = parts_of(backbone, Recipe.named(recipe).cut)[1]
        assert counted(tail) / counted(trunk) == pytest.approx(share, abs=6e-4), recipe


def parts_of(backbone: str, cut: str) -> list[keras.Model]:
    return [keras.models.model_from_json(text) for text in backbones._parts(backbone, cut, 224)[:2]]
