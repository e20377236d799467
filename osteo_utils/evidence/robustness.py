"""How far a model's scores fall when its films are perturbed, and how many of its calls change."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from osteo_utils.data.perturbations import PERTURBATIONS
from osteo_utils.evidence import ensemble, evaluation


def judge(arms: Mapping[str, pd.DataFrame], unchanged: str, n_resamples: int, seed: int) -> pd.DataFrame:
    """AUROC of each arm and its paired difference from the arm `unchanged`, one row each.

    Arms are named `<kind>/<strength>`. Columns kind, strength (0 where unchanged), unit, those of `ensemble.compared`, and flipped
    with flipped_low and flipped_high: the share of films that are called otherwise at 0.5, with Wilson's interval, as each
    film shows another knee. Raises ValueError where a knee has two films.
    """
    before = arms[unchanged].set_index("image_id").y_prob >= 0.5
    if arms[unchanged].group.duplicated().any():
        twice = arms[unchanged].group[arms[unchanged].group.duplicated()].iloc[0]
        raise ValueError(f"group {twice} has two films; expected one, as a share of films is taken")
    table = ensemble.compared(arms, unchanged, "auroc", n_resamples, seed)
    names = table.name.str.partition("/")
    units = names[0].map({kind: one.unit for kind, one in PERTURBATIONS.items()}).fillna("")
    table = table.assign(kind=names[0], strength=pd.to_numeric(names[2]).fillna(0.0), unit=units)
    for row, name in zip(table.index, table.name, strict=True):
        after = arms[name].set_index("image_id").y_prob.loc[before.index] >= 0.5
        changed = int((after != before).sum())
        table.loc[row, ["flipped", "flipped_low", "flipped_high"]] = (
            changed / len(before),
            *evaluation.wilson(changed, len(before)),
        )
    return table
