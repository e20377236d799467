"""The ablation: one thing changed at a time, nothing chosen, nobody scored by a fit that knows them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import small_study

from osteo_utils.networks import ablation, probes
from osteo_utils.statistics import metrics


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[small_study.Fitted]:
    with small_study.on_phantoms(tmp_path_factory) as small:
        yield small


def predicted(fitted: small_study.Fitted) -> dict[str, pd.DataFrame]:
    folds = fitted.run.read(fitted.run.paths.folds, "folds")
    return ablation.predict(fitted.run, fitted.images, folds, fitted.activations, fitted.weights)["grouped"]


def test_the_arm_with_the_mirror_image_is_the_probe_of_the_study(fitted: small_study.Fitted) -> None:
    keys = ["seed", "image_id"]
    arm = predicted(fitted)["crop-mirrored"].set_index(keys).y_prob.sort_index()
    own = fitted.predictions[fitted.predictions.recipe == "none"].set_index(keys).y_prob.sort_index()
    pd.testing.assert_series_equal(arm, own)


def test_every_arm_scores_the_same_films_under_the_same_seeds(fitted: small_study.Fitted) -> None:
    arms = predicted(fitted)
    assert list(arms) == ["crop", "crop-earlier", "crop-cut", "crop-end", "crop-mirrored", "squeeze", "averaged"]
    keys = ["seed", "fold", "image_id", "y_true"]
    for arm in arms.values():
        pd.testing.assert_frame_equal(arm[keys], arms["crop"][keys])
        assert set(arm.seed) == {0, 1}
    mean = (arms["crop"].y_prob + arms["squeeze"].y_prob) / 2
    pd.testing.assert_series_equal(arms["averaged"].y_prob, mean)


def test_the_arm_of_a_depth_sees_that_depth_alone(fitted: small_study.Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    real, labels = probes.pooled_features, fitted.images.label.to_numpy(np.float32)
    end = probes.depths(fitted.activations)["end"].start

    def planted(*given) -> np.ndarray:
        pooled = np.random.default_rng(0).random(real(*given).shape, dtype=np.float32)
        pooled[:, end:] += 9 * labels[:, None]
        return pooled

    monkeypatch.setattr(probes, "pooled_features", planted)
    arms = predicted(fitted)
    auroc = {name: metrics.measure(arm.y_true, arm.y_prob, ["auroc"])["auroc"][0] for name, arm in arms.items()}
    assert auroc["crop-end"] > 0.95
    assert max(auroc["crop-cut"], auroc["crop-earlier"]) < 0.9
