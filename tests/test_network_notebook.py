"""What notebooks 04 and 05 do alike: the steps that 04 writes out, the sections of both, and what a section saves."""

import ast
import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import small_study

from osteo_utils.reporting.network_notebook import Network
from osteo_utils.study import paths, results

STEPS = {"images", "folds", "squares", "weights", "activations", "fits", "predictions", "history", "estimates", "maps"}


def code(backbone: str) -> list[ast.stmt]:
    """The statements of a model notebook, its cell of parameters left out."""
    path = paths.notebooks_dir() / f"{paths.MODEL_NOTEBOOKS[backbone]}.ipynb"
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
    return [statement for source in sources for statement in ast.parse(source).body]


def imports_and_steps(backbone: str) -> list[ast.stmt]:
    """Imports and assignments, but for those that open the run and the network."""
    opened = ("run", backbone)
    kinds = (ast.ImportFrom, ast.Assign)
    found = [statement for statement in code(backbone) if isinstance(statement, kinds)]
    return [one for one in found if isinstance(one, ast.ImportFrom) or ast.unparse(one.targets[0]) not in opened]


def sections(backbone: str) -> list[str]:
    """The methods of `Network` that a notebook calls, in order."""
    calls = (node for statement in code(backbone) for node in ast.walk(statement) if isinstance(node, ast.Call))
    return [node.func.attr for node in calls if ast.unparse(node.func).startswith(f"{backbone}.")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[results.Run]:
    """The tiny study, fitted; to its masks, all of every film is bone."""
    with small_study.on_phantoms(tmp_path_factory) as study:
        stored = np.load(study.run.paths.images, mmap_mode="r")
        np.save(study.run.paths.masks, np.ones(stored.shape, np.uint8))
        study.run.table("masks", pd.DataFrame({"image_id": study.images.image_id, "plausible": 1}))
        yield study.run


@pytest.fixture
def network(run: results.Run) -> Network:
    run.metrics.clear()
    return Network(run, "vgg16")


def test_both_notebooks_show_the_same_sections_and_no_section_is_left_out() -> None:
    assert sections("vgg16") == sections("resnet50")
    methods = {name for name, value in vars(Network).items() if callable(value) and not name.startswith("_")}
    assert set(sections("vgg16")) == methods - {"primary"}


def test_the_steps_of_04_are_those_that_05_leaves_to_the_network(run: results.Run) -> None:
    by_hand, by_itself = Network(run, "vgg16"), Network(run, "vgg16")
    known = {**run.parameters, "run": run, "vgg16": by_hand}
    exec(compile(ast.Module(imports_and_steps("vgg16"), []), "04_vgg16", "exec"), known)
    assert set(vars(by_hand)) == {"run", "backbone", *STEPS}
    for name in ("images", "folds", "predictions", "history"):
        pd.testing.assert_frame_equal(getattr(by_hand, name), getattr(by_itself, name))
    np.testing.assert_array_equal(by_hand.squares, by_itself.squares)
    np.testing.assert_array_equal(by_hand.maps.cells, by_itself.maps.cells)
    assert by_hand.weights.sha256 == by_itself.weights.sha256
    keys = [{variant: one.key for variant, one in each.activations.items()} for each in (by_hand, by_itself)]
    assert keys[0] == keys[1]
    assert by_hand.folders == by_itself.folders
    assert by_hand.estimates == by_itself.estimates


def test_a_fit_that_is_kept_is_not_fitted_again(network: Network) -> None:
    kept = sorted((network.run.paths.fits / "vgg16").glob("*/fit.json"))
    before = [path.stat().st_mtime_ns for path in kept]
    counted = network.show_fits()
    assert kept and [path.stat().st_mtime_ns for path in kept] == before
    # `grouped` leaves out files whose group holds both labels.
    scored = int((network.images.conflict == 0).sum())
    assert counted.images.tolist() == [scored] * 2 and counted.folds.tolist() == [2, 2]
    saved = results.read_table(network.run.paths.predictions / "vgg16.csv", "predictions")
    pd.testing.assert_frame_equal(saved, network.predictions)


def test_the_headline_is_the_mean_accuracy_of_the_split_seeds(network: Network) -> None:
    table = network.overview().set_index("what")
    honest = network.primary("grouped")
    assert set(honest.recipe) == {"last_block"} and set(honest.variant) == {"full"}
    right = (honest.y_prob >= 0.5) == (honest.y_true == 1)
    expected = right.groupby(honest.seed).mean().mean()
    assert network.run.metrics["vgg16/grouped/accuracy"].value == pytest.approx(expected)
    assert table.loc["vgg16/grouped", "accuracy"].startswith(f"{expected:.3f} [")


def test_the_supports_of_the_report_add_up_to_the_predictions(network: Network) -> None:
    honest, report = network.primary("grouped"), network.classification_report()
    assert report.loc[["normal", "osteoporosis"], "support"].tolist() == honest.y_true.value_counts()[[0, 1]].tolist()


def test_where_all_is_bone_all_evidence_lies_on_bone(network: Network) -> None:
    network.evidence_on_bone()
    found = {name.rsplit("/", 1)[1]: estimate.value for name, estimate in network.run.metrics.items()}
    every = dict.fromkeys(("share_inside_bone", "bone_area", "share_swapped"), 1.0)
    assert found == pytest.approx({**every, "share_above_area": 0.0, "share_above_swapped": 0.0}, abs=1e-6)


def test_the_papers_accuracy_is_drawn_where_it_is_given(network: Network) -> None:
    def texts(**given: float) -> str:
        return " ".join(text.get_text() for text in network.training_curves(**given).axes[0].texts)

    assert "paper: 78%" in texts(paper=0.78)
    assert "paper" not in texts()


def test_a_figure_that_shows_a_film_lies_with_the_films(network: Network) -> None:
    network.show_views()
    network.confusion()
    assert (network.run.paths.films / "vgg16_views.png").is_file()
    assert not (network.run.paths.figures / "vgg16_views.png").exists()
    assert (network.run.paths.figures / "vgg16_confusion.svg").is_file()


def test_without_an_external_set_nothing_is_scored_and_old_scores_go(
    network: Network, capsys: pytest.CaptureFixture
) -> None:
    left = network.run.paths.external_predictions("vgg16")
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("from an earlier run")
    assert network.external() == "no external film to score"
    assert "no external set was given" in capsys.readouterr().out
    assert not left.exists() and not network.run.metrics
