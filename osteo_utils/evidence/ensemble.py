"""Combining two models without leakage: whatever is chosen for a fold is chosen on the other folds.

Every function takes tables of predictions (the contract `predictions`) of the same images and returns one in the same
columns, under a recipe name of its own. Arms (protocol, variant, seed) never mix.

One leak remains. The base models that predict fold B out of fold were trained on fold A. A combiner that is fitted on B
and scored on A has therefore met A's labels through the weights of those models, though it never sees a prediction or a
label of A. Two weights and an intercept can carry very little of that, but this is an argument and not a measurement:
the clean way refits every base model inside every fold, at five times the cost. `average` fits nothing and is free of
it, so it is the primary combination.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from osteo_utils.statistics.calibration import logit
from osteo_utils.statistics.metrics import measure
from osteo_utils.study.results import CONTRACTS

ARM = ["protocol", "variant", "seed"]
KEY = ["image_id", "view", *ARM]
COLUMNS = list(CONTRACTS["predictions"].columns)


def average(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the models' probabilities, image by image; recipe `average`."""
    frame, probs = _aligned(frames)
    return _named(frame, probs.mean(axis=1), "average")


def rank_average(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the models' percentiles, image by image; recipe `rank_average`.

    A probability becomes the share of that model's predictions on the other folds that lie below it (ties count half),
    so 0.5 is the model's median and no image of the scored fold has any influence.
    """
    frame, probs = _aligned(frames)

    def percentiles(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        ranks = []
        for known, new in zip(np.sort(probs[train], axis=0).T, probs[test].T, strict=True):
            below, not_above = np.searchsorted(known, new), np.searchsorted(known, new, side="right")
            ranks.append((below + not_above) / 2 / len(known))
        return np.mean(ranks, axis=0)

    return _named(frame, _fold_by_fold(frame, percentiles, by_label=False), "rank_average")


def weighted(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the models' probabilities with weights fitted on the other folds; recipe `weighted`.

    The weights are non-negative, add up to 1 and minimise the Brier score on the other folds. The leak described at
    the head of this file applies.
    """
    frame, probs = _aligned(frames)
    y, n_models = frame["y_true"].to_numpy(float), probs.shape[1]

    def fit_and_predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        found = minimize(
            lambda weights: np.mean((probs[train] @ weights - y[train]) ** 2),
            np.full(n_models, 1 / n_models),
            jac=lambda weights: 2 * probs[train].T @ (probs[train] @ weights - y[train]) / len(train),
            bounds=[(0, 1)] * n_models,
            constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        if not found.success:
            raise ValueError(f"no weights were found for {n_models} models: {found.message}")
        return np.clip(probs[test] @ found.x, 0, 1)

    return _named(frame, _fold_by_fold(frame, fit_and_predict), "weighted")


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Combine the models' logits by a logistic regression fitted on the other folds; recipe `stacked`.

    The leak described at the head of this file applies. Raises ValueError where there is only one fold.
    """
    frame, probs = _aligned(frames)
    logits, y = logit(probs), frame["y_true"].to_numpy()

    def fit_and_predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return LogisticRegression().fit(logits[train], y[train]).predict_proba(logits[test])[:, 1]

    return _named(frame, _fold_by_fold(frame, fit_and_predict), "stacked")


def single_best(frames: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take, for each fold, the model with the highest AUROC on the other folds; recipe `single_best`.

    Returns the predictions and a table (protocol, variant, seed, fold, chosen). Choosing the best
    model after all scores are known would bias its score upwards.
    """
    frame, probs = _aligned(list(frames.values()))
    y, names, choices = frame["y_true"].to_numpy(), list(frames), []

    def choose(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        best = int(np.argmax([measure(y[train], column, ["auroc"])["auroc"][0] for column in probs[train].T]))
        choices.append({**frame.loc[test[0], [*ARM, "fold"]], "chosen": names[best]})
        return probs[test, best]

    return _named(frame, _fold_by_fold(frame, choose), "single_best"), pd.DataFrame(choices)


def combine(
    models: Mapping[str, pd.DataFrame], protocol: str, recipe: str, variant: str = "full"
) -> dict[str, pd.DataFrame]:
    """Return each model's arm and every combination of them, by name.

    Names: the models', then single_best, average, weighted, rank_average, stacked. Raises ValueError when a model has
    no predictions of this protocol, recipe and variant.
    """
    chosen = arms(models, protocol, recipe, variant)
    frames = list(chosen.values())
    return {
        **chosen,
        "single_best": single_best(chosen)[0],
        "average": average(frames),
        "weighted": weighted(frames),
        "rank_average": rank_average(frames),
        "stacked": stacked(frames),
    }


def two_by_two(models: Mapping[str, pd.DataFrame], protocol: str, recipe: str) -> dict[str, pd.DataFrame]:
    """Return single best model and both together, on full and, where every model has them, segmented films.

    Names: "single best, full", "both, full", "single best, segmented", "both, segmented"; both = average.
    """
    have = inventory(models).query("complete and protocol == @protocol and recipe == @recipe")["variant"]
    found = {}
    for variant in sorted(set(have)):
        chosen = arms(models, protocol, recipe, variant)
        found[f"single best, {variant}"] = single_best(chosen)[0]
        found[f"both, {variant}"] = average(list(chosen.values()))
    return found


def threshold_inside(predictions: pd.DataFrame, sensitivity: float = 0.9) -> pd.DataFrame:
    """Add a column `threshold`: the highest that reaches `sensitivity` on the other folds.

    Score it with `evaluation.summarise(..., threshold="threshold")`; the sensitivity on the scored fold may differ.
    Raises ValueError where there is only one fold, or sensitivity is outside (0, 1].
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity is {sensitivity}; expected a share above 0 and at most 1")
    frame, probs = _aligned([predictions])
    y = frame["y_true"].to_numpy()

    def cut(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        found = np.sort(probs[train, 0][y[train] == 1])[::-1]
        # Without rounding, 0.9 x 10 may need ten images instead of nine.
        needed = int(np.ceil(np.round(sensitivity * len(found), 9)))
        return np.full(len(test), found[needed - 1])

    return frame.assign(threshold=_fold_by_fold(frame, cut))


def diversity(pred_a: pd.DataFrame, pred_b: pd.DataFrame) -> pd.DataFrame:
    """Describe how differently two models err, one row per protocol, variant and seed.

    Counts of images both_right, only_a_right, only_b_right, both_wrong at the threshold 0.5; error_overlap (of the
    images that either gets wrong, the share that both do), kappa (Cohen's; NaN where both call every image the same),
    correlation (Spearman's, of the probabilities) and either_right, the accuracy of a perfect choice between the two.
    """
    frame, probs = _aligned([pred_a, pred_b])
    called = probs >= 0.5
    right = called == (frame["y_true"].to_numpy() == 1)[:, None]
    rows = []
    for arm, part in frame.groupby(ARM).indices.items():
        (neither, only_b), (only_a, both) = confusion_matrix(*right[part].T, labels=[False, True]).tolist()
        missed = len(part) - both
        counts = {"both_right": both, "only_a_right": only_a, "only_b_right": only_b, "both_wrong": neither}
        rows.append(
            {
                **dict(zip(ARM, arm, strict=True)),
                **counts,
                "error_overlap": neither / missed if missed else 0.0,
                "kappa": float(cohen_kappa_score(*called[part].T)) if len(np.unique(called[part])) == 2 else np.nan,
                "correlation": float(pd.Series(probs[part, 0]).corr(pd.Series(probs[part, 1]), "spearman")),
                "either_right": (len(part) - neither) / len(part),
            }
        )
    return pd.DataFrame(rows)


def inventory(models: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count each model's predictions: one row per protocol, recipe and variant.

    The column `complete` is true where every model has the same number of predictions, above 0.
    """
    counts = pd.DataFrame(
        {name: frame.groupby(["protocol", "recipe", "variant"]).size() for name, frame in models.items()}
    )
    table = counts.fillna(0).astype(int)
    table["complete"] = (table.min(axis=1) > 0) & (table.min(axis=1) == table.max(axis=1))
    return table.reset_index()


def arms(models: Mapping[str, pd.DataFrame], protocol: str, recipe: str, variant: str) -> dict[str, pd.DataFrame]:
    """Select one arm of every model. Raises ValueError naming the model that does not have it."""
    wanted = {"protocol": protocol, "recipe": recipe, "variant": variant}
    chosen = {name: frame[(frame[list(wanted)] == pd.Series(wanted)).all(axis=1)] for name, frame in models.items()}
    if lacking := [name for name, frame in chosen.items() if frame.empty]:
        raise ValueError(
            f"no predictions of {wanted} by {', '.join(lacking)}; run its notebook with this protocol, recipe "
            "and variant first"
        )
    return chosen


def segmented_recipe(models: Mapping[str, pd.DataFrame], protocol: str, primary_recipe: str) -> str:
    """The recipe in which every model has both variants, preferably the primary one; "" where there is none."""
    table = inventory(models).query("complete and protocol == @protocol")
    kinds = table.groupby("recipe")["variant"].agg(set)
    both = [recipe for recipe, found in kinds.items() if {"full", "segmented"} <= found]
    return primary_recipe if primary_recipe in both else next(iter(both), "")


def _aligned(frames: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """One table of what the frames share, and their probabilities side by side, (n, models)."""
    if not frames or any(frame.empty for frame in frames):
        raise ValueError("nothing to combine: a table of predictions is empty; check protocol and variant")
    ordered = [frame.sort_values(KEY, ignore_index=True) for frame in frames]
    first = ordered[0]
    for number, frame in enumerate(ordered, start=1):
        if missing := sorted(set(COLUMNS) - set(frame.columns)):
            raise ValueError(f"predictions number {number} lack the columns {missing}")
        if frame.duplicated(KEY).any():
            raise ValueError(f"predictions number {number} hold an image twice; choose one recipe first")
        shared = [*KEY, "fold", "group", "y_true"]
        if len(frame) != len(first) or not np.array_equal(frame[shared].to_numpy(), first[shared].to_numpy()):
            raise ValueError(
                f"predictions number 1 ({len(first)} rows) and {number} ({len(frame)} rows) are not of the same "
                f"images, folds and labels; expected equal {shared}, so select one protocol, recipe and variant"
            )
    return first[COLUMNS], np.stack([frame["y_prob"].to_numpy(float) for frame in ordered], axis=1)


def _fold_by_fold(
    frame: pd.DataFrame, predict: Callable[[np.ndarray, np.ndarray], np.ndarray], by_label: bool = True
) -> np.ndarray:
    """What `predict` makes of the positions of all other folds for those of each; `by_label`: it needs both labels."""
    labels = frame["y_true"].to_numpy()
    result = np.full(len(frame), np.nan)
    folds = frame["fold"].to_numpy()
    for arm, part in frame.groupby(ARM).indices.items():
        found = np.unique(folds[part])
        if len(found) < 2:
            raise ValueError(
                f"{dict(zip(ARM, arm, strict=True))} has the fold {found.tolist()} alone; expected two or more, "
                "because what is chosen for one fold is chosen on the others"
            )
        for fold in found:
            test, train = part[folds[part] == fold], part[folds[part] != fold]
            if by_label and len(set(labels[train])) < 2:
                raise ValueError(
                    f"{dict(zip(ARM, arm, strict=True))}: outside of fold {fold} column y_true holds the label "
                    f"{labels[train[0]]} alone ({len(train)} rows, the first is {frame.image_id.iloc[train[0]]}), so nothing "
                    "can be chosen for that fold; make folds of both classes, with fewer folds or more films"
                )
            result[test] = predict(train, test)
    return result


def _named(frame: pd.DataFrame, prob: np.ndarray, recipe: str) -> pd.DataFrame:
    return frame.assign(y_prob=prob, recipe=recipe)[COLUMNS]
