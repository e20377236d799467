"""The reported fold has no say in the choice: the best planted candidate is found, and noise stays noise."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from osteo_utils.statistics import nested_choice
from osteo_utils.study.results import Estimate, check_table

N, FOLDS = 200, 5


def tables(skills: dict[str, float], seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inner and outer predictions of candidates whose scores are label times skill, and noise anew for each fit."""
    rng = np.random.default_rng(seed)
    film = np.arange(N)
    base = pd.DataFrame({"image_id": [f"i{n:03d}" for n in film], "view": 0, "protocol": "grouped", "seed": 0})
    base = base.assign(fold=film % FOLDS, group=film, y_true=rng.permutation(film % 2))

    def scored(table: pd.DataFrame, name: str) -> pd.DataFrame:
        signal = skills[name] * (table.y_true - 0.5) + rng.normal(size=len(table))
        return table.assign(recipe=name, variant="full", candidate=name, y_prob=1 / (1 + np.exp(-signal)))

    tried = pd.concat([base[base.fold != outer].assign(outer=outer) for outer in range(FOLDS)], ignore_index=True)
    return tuple(pd.concat([scored(table, name) for name in skills], ignore_index=True) for table in (tried, base))


def auroc(table: pd.DataFrame) -> float:
    return roc_auc_score(table.y_true, table.y_prob)


def test_the_best_planted_candidate_is_chosen_in_every_fold() -> None:
    inner, outer = tables({"weak": 0.5, "strong": 3.0, "useless": 0.0})
    chosen, choices = nested_choice.choose(inner, outer)
    assert choices[choices.chosen == 1].candidate.tolist() == ["strong"] * FOLDS
    check_table(chosen, "predictions")
    assert set(chosen.recipe) == {"nested"}
    strong = outer[outer.candidate == "strong"].set_index("image_id").y_prob
    assert chosen.set_index("image_id").y_prob.sort_index().equals(strong.sort_index())


@pytest.mark.parametrize("fold", range(FOLDS))
def test_turned_labels_of_the_outer_fold_change_no_choice_for_it(fold: int) -> None:
    inner, outer = tables({f"c{n}": 0.3 for n in range(6)})
    before = nested_choice.choose(inner, outer)[1].query("fold == @fold")
    for table in (inner, outer):
        inside = table.fold == fold
        table.loc[inside, "y_true"] = 1 - table.loc[inside, "y_true"]
    changed = nested_choice.choose(inner, outer)[1]
    pd.testing.assert_frame_equal(changed.query("fold == @fold"), before)
    # The labels do count for the other folds, for which this fold has a say.
    assert not changed.query("fold != @fold").inner_auroc.equals(
        nested_choice.choose(*tables({f"c{n}": 0.3 for n in range(6)}))[1].query("fold != @fold").inner_auroc
    )


def test_on_noise_the_nested_choice_is_at_chance_and_a_choice_by_the_reported_folds_is_not() -> None:
    nested, flattered = [], []
    for seed in range(10):
        inner, outer = tables({f"c{n}": 0.0 for n in range(20)}, seed)
        nested.append(auroc(nested_choice.choose(inner, outer)[0]))
        flattered.append(max(auroc(part) for _, part in outer.groupby("candidate")))
    assert np.mean(nested) == pytest.approx(0.5, abs=0.03)
    assert np.mean(flattered) > 0.55


def test_of_equal_candidates_the_first_is_taken() -> None:
    inner, outer = tables({"b": 1.0})
    twins = [pd.concat([table, table.assign(candidate="a", recipe="a")]) for table in (inner, outer)]
    assert set(nested_choice.choose(*twins)[1].query("chosen == 1").candidate) == {"b"}


def test_an_average_is_the_mean_of_its_members_for_each_film_and_outer_fold() -> None:
    inner, outer = tables({"a": 1.0, "b": 1.0, "c": 1.0})
    for table, key in ((inner, ["image_id", "outer"]), (outer, ["image_id"])):
        found = nested_choice.averaged(table, ["a", "b"], "both").set_index(key).y_prob
        first, second = (table[table.candidate == name].set_index(key).y_prob for name in "ab")
        assert found.sort_index().to_numpy() == pytest.approx(((first + second) / 2).sort_index().to_numpy())
    with pytest.raises(ValueError, match="'both' needs the same films"):
        nested_choice.averaged(outer.iloc[1:], ["a", "b"], "both")


def test_the_names_of_the_estimates_and_the_gain_over_the_fixed_arm() -> None:
    inner, outer = tables({"fixed": 0.5, "strong": 3.0})
    chosen, _ = nested_choice.choose(inner, outer)
    fixed = outer[outer.candidate == "fixed"].drop(columns="candidate")
    found = nested_choice.estimates(chosen, fixed, "vgg16", 200, 1)
    gain = found["comparison/vgg16-nested-fixed/grouped/auroc"]
    assert found["vgg16/grouped/nested/auroc"].value == pytest.approx(auroc(chosen))
    assert gain.value == pytest.approx(auroc(chosen) - auroc(fixed)) and gain.low > 0


def test_films_of_the_outer_fold_other_folds_and_missing_films_are_refused() -> None:
    inner, outer = tables({"a": 1.0, "b": 1.0})
    with pytest.raises(ValueError, match="would help to choose for the fold that it lies in"):
        nested_choice.choose(inner.assign(outer=inner.fold), outer)
    with pytest.raises(ValueError, match="lies in another fold"):
        nested_choice.choose(inner, outer.assign(fold=(outer.fold + 1) % FOLDS))
    with pytest.raises(ValueError, match="were not tried on the same films"):
        nested_choice.choose(inner.iloc[:-1], outer)
    with pytest.raises(ValueError, match="expected one of each film"):
        nested_choice.choose(inner, outer.iloc[:-3].iloc[3:])


def test_the_best_seen_afterwards_is_the_highest_auroc_of_a_candidate_on_the_reported_folds() -> None:
    _, outer = tables({"weak": 0.5, "strong": 3.0, "useless": 0.0})
    bound = nested_choice.best_afterwards(outer)
    assert bound.value == pytest.approx(auroc(outer[outer.candidate == "strong"]))
    assert bound.note.startswith("strong, chosen after seeing") and bound.low is None


def test_the_mean_over_seeds_is_of_one_set_of_candidates_and_the_other_seeds_are_told_of() -> None:
    """One candidate more on the first seed: the others chose among fewer, so they are named and not averaged."""
    full, fewer = (
        pd.concat([tables({"a": 0.5, "b": 3.0}, seed)[1].assign(seed=seed) for seed in seeds]) for seeds in ([0], [1])
    )
    outer = pd.concat([full, fewer[fewer.candidate == "b"]], ignore_index=True)
    assert nested_choice.complete_seeds(outer) == [0] and nested_choice.complete_seeds(full) == [0]
    chosen = outer[outer.candidate == "b"]
    value = auroc(chosen[chosen.seed == 0])
    found = nested_choice.with_other_seeds(Estimate(value), chosen, [0])
    other = auroc(chosen[chosen.seed == 1])
    assert (found.value, found.note) == (value, f"split seed 0; among fewer candidates {other:.3f} with seed 1")
    assert nested_choice.with_other_seeds(Estimate(value), chosen[chosen.seed == 0], [0]).note == ""
    gain = nested_choice.estimates(chosen[chosen.seed == 0], outer[outer.candidate == "a"], "vgg16", 100, 1)
    assert gain["comparison/vgg16-nested-fixed/grouped/auroc"].value > 0
