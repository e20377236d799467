"""A tiny study with an external set that holds copies of its training films: what is scored, and by what."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_study import SIZE, Fitted, prepared

from osteo_utils.evidence import ensemble
from osteo_utils.networks import backbones, inputs, probes, scoring, tails
from osteo_utils.phantom import synthetic
from osteo_utils.statistics import scores
from osteo_utils.study import results


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The study's films, and an external set of other knees into which films of the study were copied."""
    place = tmp_path_factory.mktemp("home")
    own, foreign = place / "own", place / "foreign"
    synthetic.write(own, 16, seed=1, size=224, copies=0)
    synthetic.write(foreign, 6, seed=2, size=224, copies=0)
    trained = sorted((own / "normal").iterdir())
    (foreign / "normal" / "same bytes.png").write_bytes(trained[0].read_bytes())
    altered = Image.open(trained[1]).convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (foreign / "normal" / "broken.png").write_bytes(b"no picture")
    altered.save(foreign / "osteoporosis" / "mirrored.jpg", quality=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(place))
        yield {"own": own, "foreign": foreign}


def contents(files: Iterable[Path]) -> dict[Path, tuple[bytes, int]]:
    """What files hold and when they were written: a fit that was made again is told from one that was kept."""
    return {path.resolve(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def with_set(folders: dict[str, Path]) -> Fitted:
    done = Fitted(prepared("with_set", folders["own"], folders["foreign"]))
    done.files = contents(path for folder in done.folders for path in folder.iterdir())
    done.films, done.said = scoring.external_images(done.run)
    # A score may look at the fits of `grouped` on whole films alone; these are of others and have no folder.
    (job, folder), *_ = done.fits["none", "full"]
    decoy = (replace(job, protocol="by_file"), folder.with_name("of another protocol"))
    fits = {arm: [*fitted, decoy] for arm, fitted in done.fits.items()}
    fits["none", "segmented"] = [(job, folder.with_name("of another variant"))]
    done.scored = scoring.score_external(done.run, done.films, fits, done.weights)
    return done


@pytest.fixture(scope="module")
def without(folders: dict[str, Path]) -> results.Run:
    return prepared("without", folders["own"], None)


def test_a_planted_copy_of_a_training_film_is_reported_and_not_scored(
    with_set: Fitted, folders: dict[str, Path]
) -> None:
    shared = results.read_table(with_set.run.paths.tables / "external_overlap.csv").set_index("image_id")
    trained = [f"normal/{path.name}" for path in sorted((folders["own"] / "normal").iterdir())]
    assert shared.develop_image.to_dict() == {
        "external/normal/same bytes.png": trained[0], "external/osteoporosis/mirrored.jpg": trained[1],
    }  # fmt: skip
    assert shared.relation.tolist() == ["exact", "perceptual"]
    assert shared.same_label.tolist() == [1, 0]
    assert len(with_set.films) == 6
    assert not set(shared.index) & set(with_set.films.image_id)
    assert set(with_set.scored.image_id) == set(with_set.films.image_id)
    assert "6 of 8 usable films are left" in with_set.said


def test_an_external_set_changes_nothing_in_the_study_itself(with_set: Fitted, without: results.Run) -> None:
    for name in ("manifest", "audit"):
        own, both = (getattr(run.paths, name).read_text().splitlines() for run in (without, with_set.run))
        assert both[: len(own)] == own
        assert all(line.startswith("external/") for line in both[len(own) :])
    assert with_set.run.paths.folds.read_bytes() == without.paths.folds.read_bytes()
    # A fit is kept where images, folds, activations and code are the same, and made again where they are not.
    without.paths.fits.symlink_to(with_set.run.paths.fits)
    again = Fitted(without)
    pd.testing.assert_frame_equal(again.predictions, with_set.predictions)
    assert contents(with_set.files) == with_set.files


def test_no_external_film_is_trained_on_or_scored_out_of_fold(with_set: Fitted) -> None:
    jobs = [job for fitted in with_set.fits.values() for job, _ in fitted]
    assert len(jobs) == 2 * 2 * 2
    for job in jobs:
        assert not job.table.image_id.str.startswith("external/").any()
    assert not with_set.predictions.image_id.str.startswith("external/").any()


def test_a_score_is_the_mean_logit_of_all_grouped_folds_of_one_seed(with_set: Fitted) -> None:
    scored = with_set.scored
    results.check_table(scored, "predictions")
    assert len(scored) == 2 * 2 * 6
    assert set(scored.protocol) == {"external"}
    assert set(scored.fold) == {-1}
    seen = inputs.trunk_views(with_set.run, with_set.films, "vgg16", "full", with_set.weights, 2)
    pooled = np.mean([probes.pooled_features(seen, with_set.weights, view) for view in (0, 1)], axis=0)
    for (recipe, _), fitted in with_set.fits.items():
        for seed in (0, 1):
            logits = []
            for job, folder in fitted:
                if job.seed != seed:
                    continue
                if recipe == "none":
                    probe = np.load(folder / "probe.npz")
                    logits.append(pooled @ probe["coefficients"] + probe["intercept"])
                else:
                    tail = tails.fitted_tail(folder, "vgg16", with_set.weights, SIZE)
                    logits.append(np.mean([backbones.outputs(tail, view)[:, 0] for view in seen.views], axis=0))
            assert len(logits) == 2
            mine = scored.query("recipe == @recipe and seed == @seed").set_index("image_id")
            expected = 1 / (1 + np.exp(-np.mean(logits, axis=0)))
            np.testing.assert_allclose(mine.y_prob[with_set.films.image_id], expected, rtol=1e-5)
            assert mine.y_true[with_set.films.image_id].tolist() == with_set.films.label.tolist()


def test_scoring_an_external_set_leaves_the_fits_as_they_were(with_set: Fitted) -> None:
    assert contents(with_set.files) == with_set.files


def test_the_same_probe_scores_a_film_of_its_own_fold_as_it_did_when_it_was_fitted(with_set: Fitted) -> None:
    for (recipe, _), fitted in with_set.fits.items():
        job, folder = fitted[0]
        known = results.read_table(folder / "predictions.csv").y_prob
        logits = scoring.scorer(recipe, with_set.activations, with_set.weights)(folder, job.test)
        probability = 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose(probability, known, rtol=1e-4)


def test_the_average_of_two_models_and_their_metrics_bear_the_external_name(with_set: Fitted) -> None:
    probe, tail = (with_set.scored[with_set.scored.recipe == recipe] for recipe in ("none", "last_block"))
    both = ensemble.average([probe, tail])
    expected = (probe.y_prob.to_numpy() + tail.y_prob.to_numpy()) / 2
    order = both.set_index(["image_id", "seed"]).y_prob
    np.testing.assert_allclose(order[list(zip(probe.image_id, probe.seed, strict=True))], expected)
    found = scores.named_estimates(both, "ensemble", "average", 100, 0)
    assert found["ensemble/external/auroc"].n_groups == 6
    assert {"ensemble/external/accuracy", "ensemble/external/group_vote/auroc"} <= set(found)


def test_a_film_in_a_group_of_the_study_is_refused_even_if_it_comes_this_far(with_set: Fitted) -> None:
    planted = with_set.films.assign(group=int(with_set.images.group.iloc[0]))
    with pytest.raises(ValueError, match=r"external/.* is in group 0, which the study was fitted on"):
        scoring.score_external(with_set.run, planted, with_set.fits, with_set.weights)


def test_without_an_external_set_nothing_is_scored_and_an_old_table_goes(without: results.Run) -> None:
    films, said = scoring.external_images(without)
    assert said == "no external set was given"
    scored = scoring.score_external(without, films, {}, None)
    assert scored.empty
    path = without.paths.external_predictions("vgg16")
    results.write_text(path, "of an earlier run")
    results.write_or_clear(path, scored, "predictions")
    assert not path.exists()


def test_one_class_alone_is_not_scored(with_set: Fitted) -> None:
    run = with_set.run
    table = results.read_table(run.paths.audit, "audit")
    sick = table.image_id.str.startswith("external/osteoporosis")
    kept = run.paths.audit.read_bytes()
    try:
        results.write_table(run.paths.audit, table.assign(conflict=table.conflict.mask(sick, 1)), "audit")
        films, said = scoring.external_images(run)
    finally:
        run.paths.audit.write_bytes(kept)
    assert films.empty
    assert "nothing is scored, as that takes films of both classes" in said
