"""What a reader moves: at 0.5 the numbers are those of the metrics, and predictive values follow Bayes' rule."""

import ipywidgets
import numpy as np
import pandas as pd
import pytest

from osteo_utils.reporting import interactive
from osteo_utils.statistics import evaluation
from osteo_utils.statistics.metrics import measure
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate, write_table

NAMES = ("accuracy", "sensitivity", "specificity")


def arm(seeds: int = 1) -> pd.DataFrame:
    """60 films of 40 knees that a model tells apart not quite."""
    rng = np.random.default_rng(1)
    group = np.arange(60) % 40
    y_true = group % 2
    parts = [
        pd.DataFrame(
            {"image_id": np.arange(60), "group": group, "seed": seed, "y_true": y_true}
            | {"y_prob": np.clip(rng.normal(0.35 + 0.3 * y_true, 0.25), 0, 1)}
        )
        for seed in range(seeds)
    ]
    return pd.concat(parts, ignore_index=True)


def even_odds(share: float, prevalence: float) -> float:
    """Bayes' rule as the page has it."""
    return share * prevalence / (share * prevalence + (1 - share) * (1 - prevalence))


@pytest.mark.parametrize("seeds", [1, 3])
def test_at_one_half_values_and_intervals_are_those_of_the_metrics(seeds: int) -> None:
    row = interactive.at_thresholds(arm(seeds), 300, 5).set_index("threshold").loc[0.5]
    for name, found in evaluation.summarise(arm(seeds), NAMES, 300, 5).items():
        ends = row[name], row[f"{name}_low"], row[f"{name}_high"]
        assert ends == pytest.approx((found.value, found.low, found.high), abs=1e-12)


def test_at_another_threshold_values_and_intervals_are_those_of_the_metrics_at_it() -> None:
    row = interactive.at_thresholds(arm(), 300, 5).iloc[30]
    for name, found in evaluation.summarise(arm(), NAMES, 300, 5, threshold=0.3).items():
        assert (row[name], row[f"{name}_low"]) == pytest.approx((found.value, found.low), abs=1e-12)


def test_a_film_is_called_from_the_threshold_on() -> None:
    """As a number, 35 hundredths of a range from 0 to 1 may lie above 0.35."""
    film = arm().assign(y_prob=[0.35, *[0.0] * 59], y_true=[1, *[0] * 30, *[1] * 29]).assign(group=range(60))
    rows = interactive.at_thresholds(film, 50, 5).set_index("threshold")
    assert (rows.loc[0.35, "tp"], rows.loc[0.36, "tp"]) == (1, 0)


def test_what_the_page_gets_prints_as_the_metrics_do_at_any_prevalence(home: object) -> None:
    paths = StudyPaths("smoke")
    saved = arm().assign(protocol="grouped", recipe="average", variant="full", view=0, fold=arm()["group"] % 5)
    write_table(paths.predictions / "ensemble.csv", saved, "predictions")
    page = interactive.thresholds(paths, {"primary_recipe": "none", "bootstrap_resamples": 300, "seed": 5})["ensemble"]
    for prevalence in (0.01, 0.05, 0.1, 0.2):
        wanted = measure(saved["y_true"], saved["y_prob"], [f"ppv@{prevalence}"])[f"ppv@{prevalence}"].item()
        assert f"{even_odds(page['ppv'][50], prevalence):.3f}" == f"{wanted:.3f}"


@pytest.mark.parametrize("prevalence", [0.05, 0.1, 0.5])
def test_predictive_values_and_their_ends_follow_from_even_odds_at_any_prevalence(prevalence: float) -> None:
    row = interactive.at_thresholds(arm(), 300, 5).iloc[50]
    names = [f"ppv@{prevalence}", f"npv@{prevalence}"]
    for found, name, prior in zip(
        evaluation.summarise(arm(), names, 300, 5).values(), ("ppv", "npv"), (prevalence, 1 - prevalence), strict=True
    ):
        assert even_odds(row[name], prior) == pytest.approx(found.value, abs=1e-12)
        assert even_odds(row[f"{name}_low"], prior) == pytest.approx(found.low, abs=2e-3)
        assert even_odds(row[f"{name}_high"], prior) == pytest.approx(found.high, abs=2e-3)


def test_a_test_that_is_right_nine_times_in_ten_is_right_half_the_time_in_one_of_ten() -> None:
    y = np.repeat([0, 1], 10)
    films = pd.DataFrame({"image_id": np.arange(20), "group": np.arange(20), "seed": 0, "y_true": y})
    films["y_prob"] = [0.1] * 9 + [0.9] + [0.1] + [0.9] * 9
    row = interactive.at_thresholds(films, 50, 0).iloc[50]
    assert row[["tp", "fn", "fp", "tn"]].tolist() == [9, 1, 1, 9]
    assert (row["ppv"], row["npv"]) == pytest.approx((0.9, 0.9))
    assert even_odds(row["ppv"], 0.1) == pytest.approx(0.5)
    assert even_odds(row["npv"], 0.9) == pytest.approx(81 / 82)


def test_at_the_ends_everybody_and_nobody_is_called() -> None:
    films = arm().assign(y_prob=lambda frame: frame.y_prob.clip(0.01, 0.99))
    rows = interactive.at_thresholds(films, 50, 0)
    first, last = rows.iloc[0], rows.iloc[-1]
    assert (first["sensitivity"], first["specificity"], first["tn"], first["fn"]) == (1, 0, 0, 0)
    assert (last["sensitivity"], last["specificity"], last["tp"], last["fp"]) == (0, 1, 0, 0)
    assert first["npv"] == 0 == last["ppv"], "as `measure`, which has nothing to divide by"
    assert measure(films.y_true, films.y_prob, ["precision"], threshold=1.0)["precision"][0] == 0


def test_the_arm_is_the_honest_one_on_whole_films(home: object) -> None:
    paths = StudyPaths("made_up")
    columns = {"view": 0, "fold": 0, "protocol": "grouped", "variant": "full"}
    right = arm().assign(**columns, recipe="last_block")
    wrong = [
        right.assign(protocol="by_file", y_prob=1.0),
        right.assign(variant="segmented", y_prob=1.0),
        right.assign(recipe="none", y_prob=1.0),
    ]
    write_table(paths.predictions / "vgg16.csv", pd.concat([right, *wrong]), "predictions")
    one_class = right.assign(y_true=0)
    write_table(paths.predictions / "resnet50.csv", one_class, "predictions")
    found = interactive.thresholds(paths, {"primary_recipe": "last_block", "bootstrap_resamples": 50, "seed": 3})
    assert list(found) == ["vgg16"], "one class has no curve, and the ensemble no predictions"
    assert (found["vgg16"]["files"], found["vgg16"]["groups"], found["vgg16"]["seeds"]) == (60, 40, 1)
    expected = evaluation.summarise(arm(), ["accuracy"], 50, 3)["accuracy"]
    assert found["vgg16"]["accuracy"][50] == round(expected.value, 4)
    assert all(len(found["vgg16"][name]) == 101 for name in ("tp", "ppv_low", "npv_high"))


def test_the_lab_has_every_run_by_its_mistakes_and_labels() -> None:
    saved = {
        "leakage/grouped/accuracy": Estimate(0.7, 0.6, 0.8),
        "leakage/tuned_on_test+by_file/accuracy": Estimate(0.9, 0.8, 1.0),
        "leakage/by_file+shuffled/accuracy": Estimate(0.6, 0.5, 0.7),
        "leakage/grouped+shuffled/accuracy": Estimate(0.5, 0.4, 0.6),
        "leakage/by_file/auroc": Estimate(0.99, 0.9, 1.0),
        "leakage/by_file/above_grouped": Estimate(0.2, 0.1, 0.3),
        "vgg16/grouped/accuracy": Estimate(0.7, 0.6, 0.8),
    }
    lab = interactive.lab(saved)
    assert lab["runs"] == {
        "": [0.7, 0.6, 0.8],
        "by_file+tuned_on_test": [0.9, 0.8, 1.0],
        "by_file+shuffled": [0.6, 0.5, 0.7],
        "shuffled": [0.5, 0.4, 0.6],
    }
    assert [term for term, _, _ in lab["terms"]] == ["by_file", "tuned_on_test"] and lab["paper"] == 0.98
    assert interactive.lab({"leakage/by_file/accuracy": Estimate(0.9, 0.8, 1.0)}) == {}, "nothing to compare with"


def test_a_notebook_shows_the_same_numbers_at_a_threshold_and_a_prevalence() -> None:
    rows = interactive.at_thresholds(arm(), 300, 5)
    shown = interactive.at(rows, 0.3, 0.05)
    wanted = evaluation.summarise(arm(), [*NAMES, "ppv@0.05", "npv@0.05"], 300, 5, threshold=0.3)
    for name, found in wanted.items():
        assert shown.loc[name.partition("@")[0], "value"] == pytest.approx(found.value, abs=1e-12)
        assert shown.loc[name.partition("@")[0], "low"] == pytest.approx(found.low, abs=2e-3)


@pytest.mark.parametrize(
    ("threshold", "prevalence", "said"), [(0.301, 0.1, "threshold 0.301"), (0.3, 0, "prevalence 0")]
)
def test_a_value_that_was_not_reckoned_is_refused(threshold: float, prevalence: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        interactive.at(interactive.at_thresholds(arm(), 100, 5), threshold, prevalence)


def test_without_a_reader_the_first_choice_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    interactive.choose(lambda a, b: f"shown {a} {b}", a=["x", "y"], b=[0.5, 0.1])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "a: x, b: 0.5 (in JupyterLab these can be chosen)"
    assert printed[1].strip("'") == "shown x 0.5"


def test_a_reader_gets_a_control_for_each_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "06_ensemble.ipynb")
    made = {}
    for name in ("interact", "interact_manual"):
        monkeypatch.setattr(ipywidgets, name, lambda show, name=name, **controls: made.update({name: controls}))
    interactive.choose(str, a=["x", "y"], b=[0.5, 0.1])
    assert (made["interact"]["a"].options, made["interact"]["b"].value) == (("x", "y"), 0.5)
    assert made["interact"]["b"].options == (0.1, 0.5)
    interactive.choose(str, slow=True, a=["x"])
    assert "interact_manual" in made
