"""Combinations with known results, and proofs that no fold has a say in what is done to it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from osteo_utils.evidence import ensemble
from osteo_utils.statistics import comparisons, evaluation
from osteo_utils.study.results import check_table


def frame(y_true, y_prob, folds=None, **arm):
    """Predictions of one arm; image i is alone in group i."""
    n = len(y_true)
    about = {"protocol": "grouped", "recipe": "last_block", "variant": "full", "seed": 0} | arm
    return pd.DataFrame(
        {
            "image_id": [f"i{i:03d}" for i in range(n)], "view": 0, **about,
            "fold": np.arange(n) % 5 if folds is None else folds, "group": np.arange(n),
            "y_true": y_true, "y_prob": y_prob,
        }
    )  # fmt: skip


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.fixture
def two_models():
    """Two models of equal skill that err independently, a third of the time noise."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(400) % 2)
    return [frame(y, sigmoid((2 * y - 1) + 1.3 * rng.normal(size=400))) for _ in range(2)]


def with_fold_changed(table, fold):
    """The same table with the labels and probabilities of one fold turned round."""
    turned = table.copy()
    inside = turned["fold"] == fold
    turned.loc[inside, "y_true"] = 1 - turned.loc[inside, "y_true"]
    turned.loc[inside, "y_prob"] = turned.loc[inside, "y_prob"].to_numpy()[::-1]
    return turned


def test_the_average_is_the_mean_probability_and_keeps_the_contract():
    rows = [frame([0, 1, 1], [0.2, 0.5, 0.9]), frame([0, 1, 1], [0.4, 0.7, 0.3]).sample(frac=1, random_state=1)]
    both = ensemble.average(rows)
    assert both["y_prob"].tolist() == pytest.approx([0.3, 0.6, 0.6])
    assert set(both["recipe"]) == {"average"}
    check_table(both, "predictions")


def test_independent_errors_make_every_combination_better_than_its_members(two_models):
    y = two_models[0]["y_true"]
    best = max(roc_auc_score(y, model["y_prob"]) for model in two_models)
    for combine in (ensemble.average, ensemble.stacked, ensemble.rank_average):
        both = combine(two_models)
        gain = evaluation.difference(both, max(two_models, key=lambda m: roc_auc_score(y, m["y_prob"])), "auroc")
        assert roc_auc_score(both["y_true"], both["y_prob"]) > best
        assert gain.p_value < 0.05


def test_the_stack_ignores_a_model_of_pure_noise_where_the_average_suffers(two_models):
    rng = np.random.default_rng(1)
    noise = two_models[0].assign(y_prob=sigmoid(3 * rng.normal(size=400)))
    y = two_models[0]["y_true"]
    alone, stack, mean = (
        roc_auc_score(y, part["y_prob"])
        for part in (two_models[0], ensemble.stacked([two_models[0], noise]), ensemble.average([two_models[0], noise]))
    )
    assert stack == pytest.approx(alone, abs=0.01)
    assert mean < alone - 0.05


def test_weights_are_chosen_on_the_other_folds_and_leave_noise_out(two_models):
    rng = np.random.default_rng(3)
    noise = two_models[0].assign(y_prob=rng.random(400))
    pair = [two_models[0], noise]
    found = ensemble.weighted(pair)
    y, folds = two_models[0]["y_true"].to_numpy(), two_models[0]["fold"].to_numpy()
    probs = np.stack([part["y_prob"] for part in pair], axis=1)
    # The best share of the first by brute force, on the folds that are not scored.
    shares = np.linspace(0, 1, 2001)
    mixed = np.outer(probs[folds != 2, 0], shares) + np.outer(probs[folds != 2, 1], 1 - shares)
    best = shares[np.argmin(((mixed - y[folds != 2, None]) ** 2).mean(axis=0))]
    assert best > 0.8
    expected = best * probs[folds == 2, 0] + (1 - best) * probs[folds == 2, 1]
    assert found["y_prob"].to_numpy()[folds == 2] == pytest.approx(expected, abs=6e-4)
    same = ensemble.weighted([two_models[0], two_models[0]])
    assert same["y_prob"].to_numpy() == pytest.approx(two_models[0]["y_prob"].to_numpy())


def test_the_stack_of_a_fold_is_the_logistic_regression_of_the_others(two_models):
    logits = np.stack([np.log(m["y_prob"] / (1 - m["y_prob"])) for m in two_models], axis=1)
    inside = (two_models[0]["fold"] == 2).to_numpy()
    y = two_models[0]["y_true"].to_numpy()
    expected = LogisticRegression().fit(logits[~inside], y[~inside]).predict_proba(logits[inside])[:, 1]
    assert ensemble.stacked(two_models)["y_prob"].to_numpy()[inside] == pytest.approx(expected)


@pytest.mark.parametrize("fold", [0, 3])
def test_no_label_and_no_other_film_of_a_fold_reaches_its_own_result(two_models, fold):
    """Turn round the labels of a fold and all its probabilities but the first film's: that film stays."""
    changed = [with_fold_changed(model, fold) for model in two_models]
    first = two_models[0].index[two_models[0]["fold"] == fold][0]
    for before, after in zip(two_models, changed, strict=True):
        after.loc[first, "y_prob"] = before.loc[first, "y_prob"]
    for combine in (ensemble.stacked, ensemble.weighted, ensemble.rank_average):
        assert combine(changed)["y_prob"][first] == combine(two_models)["y_prob"][first]
        others = two_models[0]["fold"] != fold
        assert not np.allclose(combine(changed)["y_prob"][others], combine(two_models)["y_prob"][others])
    thresholds = [ensemble.threshold_inside(part[0])["threshold"][first] for part in (two_models, changed)]
    assert thresholds[0] == thresholds[1]


def test_the_rank_average_knows_only_order():
    rng = np.random.default_rng(2)
    y = np.arange(50) % 2
    model = frame(y, rng.random(50))
    squeezed = model.assign(y_prob=0.4 + model["y_prob"] ** 3 / 100)
    assert ensemble.rank_average([model])["y_prob"].equals(ensemble.rank_average([squeezed])["y_prob"])
    # Fold 0 of two: 0.25 lies above one and below one of the other fold's predictions.
    small = frame([0, 1, 0, 1], [0.25, 0.9, 0.2, 0.3], folds=[0, 0, 1, 1])
    assert ensemble.rank_average([small])["y_prob"].tolist() == [0.5, 1.0, 0.0, 0.5]


def test_the_single_best_is_chosen_on_the_other_folds():
    # Model a is right on folds 1-4 and wrong on fold 0; b is the reverse. A choice that saw the scored fold
    # would take b for fold 0 and be right everywhere.
    y = np.arange(100) % 2
    folds = np.arange(100) // 20
    good, bad = np.where(y == 1, 0.9, 0.1), np.where(y == 1, 0.1, 0.9)
    a = frame(y, np.where(folds == 0, bad, good), folds)
    b = frame(y, np.where(folds == 0, good, bad), folds)
    best, choices = ensemble.single_best({"a": a, "b": b})
    assert choices.set_index("fold")["chosen"].to_dict() == dict.fromkeys(range(5), "a")
    assert evaluation.summarise(best, ["accuracy"], 50)["accuracy"].value == pytest.approx(0.8)


def test_a_threshold_is_the_highest_that_reaches_the_sensitivity_on_the_other_folds():
    # The other fold holds ten positives with 0.05, 0.15, ... 0.95: nine of ten lie at or above 0.15.
    y = np.r_[np.ones(10, int), np.zeros(10, int), [1, 0]]
    p = np.r_[np.arange(10) / 10 + 0.05, np.zeros(10), [0.5, 0.5]]
    found = ensemble.threshold_inside(frame(y, p, folds=[1] * 20 + [0] * 2), 0.9)
    assert found.loc[found["fold"] == 0, "threshold"].tolist() == pytest.approx([0.15, 0.15])
    assert (p[:10] >= 0.15).sum() == 9
    with pytest.raises(ValueError, match="sensitivity is 90"):
        ensemble.threshold_inside(frame(y, p), 90)


def test_diversity_counts_what_each_misses():
    y = [1, 1, 1, 1, 0, 0, 0, 0]
    a = frame(y, [0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.9])
    b = frame(y, [0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    row = ensemble.diversity(a, b).iloc[0]
    names = ["both_right", "only_a_right", "only_b_right", "both_wrong"]
    assert row[names].tolist() == [5, 1, 1, 1]
    assert row["error_overlap"] == pytest.approx(1 / 3)
    assert row["either_right"] == 7 / 8
    # Agreement 6/8; by chance (4/8 x 2/8) + (4/8 x 6/8) = 1/2.
    assert row["kappa"] == pytest.approx((6 / 8 - 1 / 2) / (1 - 1 / 2))
    assert ensemble.diversity(a, a).iloc[0][["error_overlap", "kappa"]].tolist() == [1, 1]


@pytest.mark.filterwarnings("error")
def test_kappa_of_one_verdict_throughout_is_undefined_and_says_so_quietly():
    always = frame([0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6])
    assert np.isnan(ensemble.diversity(always, always).kappa.iloc[0])


def test_other_films_folds_or_labels_and_a_lone_fold_are_refused():
    a = frame([0, 1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4, 0.5])
    for other in (a.iloc[:4], a.assign(fold=0), a.assign(y_true=1 - a["y_true"]), a.assign(seed=1)):
        with pytest.raises(ValueError, match="not of the same images"):
            ensemble.average([a, other])
    with pytest.raises(ValueError, match="hold an image twice"):
        ensemble.average([pd.concat([a, a.assign(recipe="none")])])
    with pytest.raises(ValueError, match="expected two or more"):
        ensemble.stacked([a.assign(fold=0)])
    with pytest.raises(ValueError, match="empty"):
        ensemble.average([a, a.iloc[:0]])


def arms_of(*present):
    y = np.arange(20) % 2
    return pd.concat([frame(y, np.linspace(0.1, 0.9, 20), protocol=p, recipe=r, variant=v) for p, r, v in present])


def test_segmented_films_are_compared_in_a_recipe_that_has_both_variants():
    full = [("grouped", "none", "full"), ("grouped", "last_block", "full")]
    probe_only = {m: arms_of(*full, ("grouped", "none", "segmented")) for m in ("vgg16", "resnet50")}
    assert ensemble.segmented_recipe(probe_only, "grouped", "last_block") == "none"
    assert list(ensemble.two_by_two(probe_only, "grouped", "none")) == [
        "single best, full", "both, full", "single best, segmented", "both, segmented",
    ]  # fmt: skip
    both = {m: arms_of(*full, *[("grouped", r, "segmented") for r in ("none", "last_block")]) for m in probe_only}
    assert ensemble.segmented_recipe(both, "grouped", "last_block") == "last_block"
    one_model = probe_only | {"resnet50": arms_of(*full)}
    assert ensemble.segmented_recipe(one_model, "grouped", "last_block") == ""
    assert list(ensemble.two_by_two(one_model, "grouped", "last_block")) == ["single best, full", "both, full"]
    listed = ensemble.inventory(one_model).set_index(["recipe", "variant"])
    assert listed.loc[("none", "segmented"), ["vgg16", "resnet50", "complete"]].tolist() == [20, 0, False]
    with pytest.raises(ValueError, match="by resnet50; run its notebook"):
        ensemble.combine(one_model, "grouped", "none", "segmented")


def test_the_comparison_table_holds_the_metric_the_difference_and_the_corrected_p_value(two_models):
    frames = {"a": two_models[0], "b": two_models[1], "both": ensemble.average(two_models)}
    found = comparisons.compared(frames, "a", "auroc", 400).set_index("name")
    assert found.loc["a", ["difference", "p_holm"]].isna().all()
    y = two_models[0]["y_true"]
    assert found.loc["both", "value"] == pytest.approx(roc_auc_score(y, frames["both"]["y_prob"]))
    gaps = found["value"] - found.loc["a", "value"]
    assert found.loc[["b", "both"], "difference"].tolist() == pytest.approx(gaps[["b", "both"]].tolist())
    assert found.loc["both", "p_holm"] == pytest.approx(2 * found.loc["both", "p"])
    with pytest.raises(ValueError, match="no arm 'c'"):
        comparisons.compared(frames, "c")


def test_what_is_chosen_on_folds_of_one_class_is_refused_with_the_fold():
    two = [frame([0, 1, 0, 1, 1, 1], [0.2, 0.7, 0.4, 0.6, 0.8, 0.9], folds=[0, 0, 0, 0, 1, 1]) for _ in range(2)]
    for combine in (ensemble.stacked, ensemble.weighted):
        with pytest.raises(ValueError, match="outside of fold 0 column y_true holds the label 1 alone"):
            combine(two)
    assert len(ensemble.rank_average(two)) == len(ensemble.average(two)) == 6
