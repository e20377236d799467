"""A model chosen for each outer fold by inner folds of its training part, and what it then reaches on that fold.

Choosing the best of several models by the scores that are reported flatters it; here the reported fold has no say. The
score is the mean over inner folds of the AUROC, the measure of the headline. Each fold is ranked within itself, because
fits of different folds differ in scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from osteo_utils.statistics import comparisons, scores
from osteo_utils.statistics.metrics import measure
from osteo_utils.study.results import CONTRACTS, Estimate

CANDIDATE, OUTER, RECIPE = "candidate", "outer", "nested"
_COLUMNS = list(CONTRACTS["predictions"].columns)
_KEY = ["image_id", "view", "seed"]


def named(predictions: pd.DataFrame, prefix: str = "") -> pd.DataFrame:
    """Predictions with a column `candidate`, made of recipe and variant."""
    return predictions.assign(**{CANDIDATE: prefix + predictions.recipe + ", " + predictions.variant})


def averaged(predictions: pd.DataFrame, members: Sequence[str], name: str) -> pd.DataFrame:
    """The candidate `name`: the mean probability of the candidates `members`, film by film.

    Raises ValueError where a member lacks a film that another has.
    """
    chosen = predictions[predictions[CANDIDATE].isin(members)]
    key = [*_KEY, *({OUTER} & set(chosen.columns))]
    films = chosen.groupby(key)[CANDIDATE].nunique()
    if chosen.empty or (films != len(members)).any():
        raise ValueError(f"the average {name!r} needs the same films of each of {list(members)}; some are missing")
    once = chosen[chosen[CANDIDATE] == members[0]].drop(columns="y_prob")
    means = chosen.groupby(key, as_index=False).y_prob.mean()
    return once.merge(means, on=key, validate="one_to_one").assign(**{CANDIDATE: name})


def choose(inner: pd.DataFrame, outer: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The outer predictions of the candidate that is best on inner folds, fold by fold; and how it was chosen.

    Both tables have the columns of `predictions` of one protocol and seed, and `candidate`; `inner` also has `outer`,
    the fold that its rows choose for. Of equal candidates the first in `outer` is taken, so list simple ones first.
    Returns predictions (recipe `nested`, variant `full`) and a table seed, fold, candidate, inner_auroc, inner_folds, chosen.
    Raises ValueError where a film of the outer fold is among those that choose for it, or a candidate lacks films.
    """
    if leaked := inner.image_id[inner.fold == inner[OUTER]].tolist():
        raise ValueError(
            f"{leaked[0]} would help to choose for the fold that it lies in; expected films of other folds"
        )
    own = outer.drop_duplicates("image_id").set_index("image_id").fold
    if wrong := inner.image_id[inner.image_id.map(own) != inner.fold].tolist():
        raise ValueError(
            f"{wrong[0]} lies in another fold of the inner predictions than of the outer ones; fit them again"
        )
    candidates = list(dict.fromkeys(outer[CANDIDATE]))
    parts, rows = [], []
    for fold in sorted(outer.fold.unique()):
        reached, counted = {}, {}
        for name in candidates:
            tried = inner[(inner[OUTER] == fold) & (inner[CANDIDATE] == name)]
            counted[name] = tried.groupby("fold").size().to_dict()
            reached[name] = np.mean([_auroc(part) for _, part in tried.groupby("fold")]) if len(tried) else np.nan
        if len({tuple(count.items()) for count in counted.values()}) > 1 or np.isnan(list(reached.values())).any():
            raise ValueError(
                f"the candidates for fold {fold} were not tried on the same films: {counted}; fit them again"
            )
        best = max(candidates, key=reached.get)
        rows += [
            {
                "seed": outer.seed.iloc[0],
                "fold": fold,
                CANDIDATE: name,
                "inner_auroc": score,
                "inner_folds": len(counted[name]),
                "chosen": int(name == best),
            }
            for name, score in reached.items()
        ]
        parts.append(outer[(outer.fold == fold) & (outer[CANDIDATE] == best)])
    chosen = pd.concat(parts, ignore_index=True).assign(recipe=RECIPE, variant="full")
    if len(chosen) != outer.image_id.nunique():
        raise ValueError(f"{len(chosen)} predictions of {outer.image_id.nunique()} films; expected one of each film")
    return chosen[_COLUMNS], pd.DataFrame(rows)


def estimates(
    chosen: pd.DataFrame, fixed: pd.DataFrame, model: str, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """The metrics of the chosen candidates, and their AUROC less that of the arm `fixed` on the same seeds, by full name."""
    found = scores.named_estimates(chosen, model, "", n_resamples, seed)
    same = fixed[fixed.seed.isin(chosen.seed)]
    tests = comparisons.side_by_side(chosen[chosen.seed.isin(same.seed)], same, ["auroc"], n_resamples, seed)
    return found | {f"comparison/{model}-nested-fixed/grouped/auroc": tests["auroc"]}


def complete_seeds(outer: pd.DataFrame) -> list[int]:
    """The seeds on which every candidate was fitted: a mean over others would mix choices among different candidates."""
    counts = outer.groupby("seed")[CANDIDATE].nunique()
    return counts.index[counts == outer[CANDIDATE].nunique()].tolist()


def with_other_seeds(found: Estimate, chosen: pd.DataFrame, seeds: Sequence[int]) -> Estimate:
    """The AUROC of `seeds` with a note on what was reached on the other seeds of `chosen`, among fewer candidates."""
    others = {seed: _auroc(part) for seed, part in chosen.groupby("seed") if seed not in seeds}
    if not others:
        return found
    said = ", ".join(f"{value:.3f} with seed {seed}" for seed, value in others.items())
    return scores.noted(found, f"split seed {', '.join(map(str, seeds))}; among fewer candidates {said}")


def best_afterwards(outer: pd.DataFrame) -> Estimate:
    """The AUROC, mean over seeds, of the candidate that is best on the reported folds themselves.

    It flatters, so it has no interval and is no result. A choice made fold by fold can still exceed it. `outer` as in
    `choose`, of seeds on which every candidate was fitted.
    """
    reached = {
        name: float(np.mean([_auroc(of_seed) for _, of_seed in part.groupby("seed")]))
        for name, part in outer.groupby(CANDIDATE, sort=False)
    }
    best = max(reached, key=reached.get)
    note = f"{best}, chosen after seeing the scores: it flatters"
    return Estimate(reached[best], n_files=outer.image_id.nunique(), n_groups=outer.group.nunique(), note=note)


def _auroc(part: pd.DataFrame) -> float:
    return float(measure(part.y_true.to_numpy(), part.y_prob.to_numpy(), ["auroc"])["auroc"][0])
