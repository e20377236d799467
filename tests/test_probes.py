"""The probe: a plain ridge-penalised logistic regression, its penalty chosen on the training images alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from osteo_utils.networks import probes
from osteo_utils.networks.inputs import Activations
from osteo_utils.protocols.splits import Fold
from osteo_utils.study import resources


def planted(n: int = 120, channels: int = 300) -> tuple[Fold, np.ndarray]:
    random = np.random.default_rng(0)
    label = np.arange(n) % 2
    pooled = random.normal(size=(n, channels)).astype(np.float32)
    pooled[:, :5] += label[:, None]
    table = pd.DataFrame({"image_id": range(n), "label": label, "group": np.arange(n) // 2})
    return Fold("grouped", 0, 1, table.assign(fold=np.arange(n) // 2 % 5)), pooled


@pytest.mark.parametrize("channels", [300, 40], ids=["rotated", "more films than channels"])
def test_what_is_kept_is_the_regression_that_scikit_learn_fits_without_the_rotation(
    channels: int, tmp_path: Path
) -> None:
    one, pooled = planted(channels=channels)
    probability, _ = probes.fit_probe(one, pooled, tmp_path)
    with np.load(tmp_path / "probe.npz") as kept:
        strength, coefficients, intercept = kept["strength"], kept["coefficients"], kept["intercept"]
    assert float(strength) in probes.PROBE_STRENGTHS
    # In single precision scikit-learn would search in single precision too.
    scaled = StandardScaler().fit(pooled[one.train]).transform(pooled).astype(np.float64)
    plain = LogisticRegression(C=float(strength), max_iter=10_000, tol=1e-8)
    plain.fit(scaled[one.train], one.labels[one.train])
    np.testing.assert_allclose(probability, plain.predict_proba(scaled[one.test])[:, 1], atol=1e-4)
    logits = pooled[one.test] @ coefficients + intercept
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), probability, atol=1e-6)


def test_scikit_learn_chooses_the_same_penalty_and_gives_the_same_probabilities(tmp_path: Path) -> None:
    one, pooled = planted()
    probability, history = probes.fit_probe(one, pooled, tmp_path)
    train, labels = one.train, one.labels
    scaled = StandardScaler().fit(pooled[train]).transform(pooled).astype(np.float64)
    inner = StratifiedGroupKFold(probes.INNER_FOLDS, shuffle=True, random_state=one.seed)
    splits = list(inner.split(train, labels[train], one.inner_groups[train]))
    ways = {"Cs": probes.PROBE_STRENGTHS, "l1_ratios": (0,), "cv": splits, "scoring": "neg_log_loss"}
    theirs = LogisticRegressionCV(**ways, max_iter=2000, use_legacy_attributes=False)
    theirs.fit(scaled[train], labels[train])
    with np.load(tmp_path / "probe.npz") as kept:
        assert float(kept["strength"]) == theirs.C_
    assert history.loss[0] == pytest.approx(-theirs.scores_.mean(axis=0).max(), abs=1e-3)
    np.testing.assert_allclose(probability, theirs.predict_proba(scaled[one.test])[:, 1], atol=2e-3)


def test_many_films_are_fitted_from_disk_to_the_same_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, pooled = planted()
    before, history = probes.fit_probe(one, pooled)
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path))
    for room, name, value in ((probes, "MOST_ROTATED", 0), (probes, "BLOCK", 17), (resources, "IN_MEMORY", 0)):
        monkeypatch.setattr(room, name, value)
    after, again = probes.fit_probe(one, pooled)
    np.testing.assert_allclose(after, before, atol=1e-4)
    pd.testing.assert_frame_equal(again, history, atol=1e-4)


def test_the_scored_images_decide_nothing() -> None:
    one, pooled = planted()
    before, history = probes.fit_probe(one, pooled)
    elsewhere = pooled.copy()
    elsewhere[one.test] = elsewhere[one.test][::-1]
    after, again = probes.fit_probe(one, elsewhere)
    np.testing.assert_allclose(after, before[::-1], atol=1e-9)
    assert history.loss[0] == again.loss[0]


def test_strong_features_get_a_weak_penalty_and_noise_a_strong_one(tmp_path: Path) -> None:
    one, pooled = planted()
    noise = pooled.copy()
    noise[:, :5] = noise[:, 5:10]
    strengths = []
    for features in (noise, pooled * 1.0 + 5 * one.labels[:, None].astype(np.float32)):
        probes.fit_probe(one, features, tmp_path)
        with np.load(tmp_path / "probe.npz") as kept:
            strengths.append(float(kept["strength"]))
    assert strengths[0] < strengths[1]


def test_depths_say_which_columns_come_from_where() -> None:
    maps = np.zeros((3, 2, 2, 7), np.float16)
    seen = Activations("vgg16", "full", 64, (maps, maps), "planted", earlier=(np.zeros((3, 4)),) * 2)
    assert probes.depths(seen) == {"earlier": slice(0, 4), "cut": slice(4, 11), "end": slice(11, None)}
    assert probes.depths(Activations("vgg16", "full", 64, (maps,), "planted"))["earlier"] == slice(0, 0)


def test_classes_too_few_for_the_inner_folds_are_refused() -> None:
    one, pooled = planted()
    lone = one.table.assign(label=(one.table.group == 40).astype(int))
    with pytest.raises(ValueError, match="class"):
        probes.fit_probe(Fold("grouped", 0, 1, lone), pooled)
