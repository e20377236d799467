"""One fit for each pair of folds: neither fold is trained on, and each film is tried by fits without its own fold."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.protocols import inner_folds, splits


@pytest.fixture(scope="module")
def outer() -> list[splits.Fold]:
    """Five folds of sixty films, two of a group; a conflict is left out."""
    group = np.arange(60) // 2
    images = pd.DataFrame({"image_id": [f"i{n:02d}" for n in range(60)], "label": group % 2, "group": group})
    images["conflict"] = (group == 7).astype(int)
    return splits.fold_list(images, splits.make_folds(images, "grouped", 5, 0), ["grouped"], [0])


def test_a_ring_gives_each_fold_two_others_and_more_gives_all() -> None:
    assert inner_folds.pairs(5, 2) == [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]
    assert len(inner_folds.pairs(5, 4)) == len(inner_folds.pairs(5, 9)) == 10
    assert inner_folds.pairs(4, 3) == inner_folds.pairs(4, 9)
    with pytest.raises(ValueError, match="n_folds is 2"):
        inner_folds.pairs(2, 2)


def test_a_fit_of_a_pair_trains_on_neither_fold_and_scores_both(outer: list[splits.Fold]) -> None:
    own = outer[0].table.fold.to_numpy()
    for fold, (i, j) in zip(inner_folds.inner_folds(outer, 4), inner_folds.pairs(5, 4), strict=True):
        assert set(own[fold.train]) == set(range(5)) - {i, j}
        assert set(own[fold.test]) == {i, j}
        assert not set(fold.table.group[fold.train]) & set(fold.table.group[fold.test])


def test_each_film_is_tried_once_for_every_other_fold(outer: list[splits.Fold]) -> None:
    made = inner_folds.inner_folds(outer, 4)
    scored = pd.concat(
        splits.predictions(
            fold.table.iloc[fold.test], np.full(len(fold.test), fold.number / 20), fold.arm("none", "full")
        )
        for fold in made
    )
    tried = inner_folds.by_outer(scored, outer)
    assert len(tried) == 58 * 4 and set(tried.protocol) == {"grouped"}
    assert (tried.fold != tried.outer).all()
    assert not tried.duplicated(["image_id", "outer"]).any()
    # The probability names the fit: that of the pair of a film's own fold and the outer one.
    numbers = {pair: fold.number / 20 for fold, pair in zip(made, inner_folds.pairs(5, 4), strict=True)}
    expected = [numbers[min(a, b), max(a, b)] for a, b in zip(tried.fold, tried.outer, strict=True)]
    assert tried.y_prob.tolist() == expected


def test_folds_of_two_splits_and_a_fit_of_three_folds_are_refused(outer: list[splits.Fold]) -> None:
    other = splits.Fold("by_file", 0, 0, outer[0].table)
    with pytest.raises(ValueError, match="expected one protocol and seed"):
        inner_folds.inner_folds([*outer, other], 2)
    table = outer[0].table.query("fold < 3 and fold >= 0").assign(fold=5)
    with pytest.raises(ValueError, match="the inner fit 5 scored films of folds"):
        inner_folds.by_outer(table, outer)
