"""Inner folds of a split: what is chosen for an outer fold is tried out on other folds, by fits that saw neither.

The inner folds of outer fold i are other folds j of the same split, so groups stay apart. The fit that leaves out both i
and j is wanted twice, for i with the films of j and for j with those of i. It is made once, which halves the work.
Source of nested choice: Cawley and Talbot, J Mach Learn Res 11 (2010), section 5.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from osteo_utils.protocols.splits import Fold

# The protocol under which these fits are kept. Each fold has a number of its own, after those of the outer folds.
PROTOCOL = "grouped_inner"
OUTER = "outer"


def pairs(n_folds: int, inner: int) -> list[tuple[int, int]]:
    """The pairs of folds that are left out together, so that each fold has at least `inner` others.

    The folds lie on a ring and each is paired with its nearest; from n_folds - 1 on these are all pairs. Raises
    ValueError with fewer than three folds, because leaving out two of two leaves none to train on.
    """
    if n_folds < 3:
        raise ValueError(
            f"n_folds is {n_folds}; a nested choice leaves out two folds at once and needs 3 or more, so set n_folds: 3, "
            "or nested_recipes: [] for no nested choice"
        )
    near = (inner + 1) // 2
    return [(i, j) for i, j in itertools.combinations(range(n_folds), 2) if min(j - i, n_folds - j + i) <= near]


def inner_folds(outer: list[Fold], inner: int) -> list[Fold]:
    """A fold for each of `pairs`, which scores the films of both; `outer` are all folds of one protocol and seed."""
    arms = {(fold.protocol, fold.seed) for fold in outer}
    if len(arms) != 1:
        raise ValueError(f"the outer folds are of {sorted(arms)}; expected one protocol and seed")
    table, first = outer[0].table, 1 + max(fold.number for fold in outer)
    found = []
    for place, (i, j) in enumerate(pairs(len(outer), inner)):
        both = table.fold.isin([outer[i].number, outer[j].number])
        number = first + place
        found.append(Fold(PROTOCOL, outer[0].seed, number, table.assign(fold=table.fold.where(~both, number))))
    return found


def by_outer(predictions: pd.DataFrame, outer: list[Fold]) -> pd.DataFrame:
    """Predictions of `inner_folds` with the column `outer`, the fold that they help to choose for.

    `fold` becomes the fold that a film itself lies in. A film of fold j that a fit without i and j scored is one of
    outer fold i. The protocol becomes that of the outer folds.
    """
    own = outer[0].table.set_index("image_id").fold.loc[predictions.image_id].to_numpy()
    table = predictions.assign(own=own, protocol=outer[0].protocol)
    scored = table.groupby("fold").own.unique()
    if wrong := [number for number, found in scored.items() if len(found) != 2]:
        raise ValueError(
            f"the inner fit {wrong[0]} scored films of folds {scored[wrong[0]].tolist()}; expected two folds"
        )
    # Of two folds, the one that a film does not lie in.
    other = table.fold.map(scored.map(np.sum)).to_numpy() - own
    return table.assign(fold=own, **{OUTER: other}).drop(columns="own").reset_index(drop=True)
