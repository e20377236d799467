"""Combining two models without peeking: whatever is chosen for a fold is chosen on the other folds.

Every function takes tables of predictions (the contract `predictions`) of the same images and returns one
in the same columns, under a recipe name of its own. Arms (protocol, variant, seed) never mix.

What stays of peeking. The out-of-fold predictions of fold B come from base models that were trained on
fold A's images. So a combiner fitted on B and scored on A has met A's labels, through the weights of
those base models, though it never sees a prediction or a label of A itself. Two weights and an intercept
can carry next to nothing of that, but "next to nothing" is an argument and not a measurement: the clean
way refits every base model inside every fold (five times the training). `average` fits nothing and is
free of it, so it is the primary combination.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from osteo_utils.statistics.calibration import logit
from osteo_utils.statistics.metrics import measure

ARM = ["protocol", "variant", "seed"]
KEY = ["image_id", "view", *ARM]
COLUMNS = ["image_id", "view", "protocol", "recipe", "variant", "seed", "fold", "group", "y_true", "y_prob"]


def average(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the models' probabilities, image by image; recipe `average`."""
    frame, probs = _aligned(frames)
    return _named(frame, probs.mean(axis=1), "average")


def rank_average(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the models' percentiles, image by image; recipe `rank_average`.

    A probability becomes the share of the other folds' predictions of that model that lie below it (ties
    count half), so 0.5 is that model's median and no image of the scored fold has a say.
    """
    frame, probs = _aligned(frames)

    def percentiles(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        ranks = []
        for known, asked in zip(np.sort(probs[train], axis=0).T, probs[test].T, strict=True):
            below, not_above = np.searchsorted(known, asked), np.searchsorted(known, asked, side="right")
            ranks.append((below + not_above) / 2 / len(known))
        return np.mean(ranks, axis=0)

    return _named(frame, _fold_by_fold(frame, percentiles), "rank_average")


def weighted(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the models' probabilities by weights that suit the other folds best; recipe `weighted`.

    The weights are non-negative, add up to 1 and have the least Brier score on the other folds. What `stacked`
    owes is owed here too.
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

    See the head of this file for what such a stack still owes. Raises ValueError where there is one fold.
    """
    frame, probs = _aligned(frames)
    logits, y = logit(probs), frame["y_true"].to_numpy()

    def fit_and_predict(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return LogisticRegression().fit(logits[train], y[train]).predict_proba(logits[test])[:, 1]

    return _named(frame, _fold_by_fold(frame, fit_and_predict), "stacked")


def single_best(frames: Mapping[str, pd.DataFrame], metric: str = "auroc") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take, for each fold, the model that scores best on the other folds; recipe `single_best`.

    Returns the predictions and a table (protocol, variant, seed, fold, chosen). Naming the best model
    after all scores are known would flatter it.
    """
    frame, probs = _aligned(list(frames.values()))
    y, names, choices = frame["y_true"].to_numpy(), list(frames), []

    def choose(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        scores = [float(measure(y[train], column, [metric])[metric][0]) for column in probs[train].T]
        best = int(np.argmin(scores) if metric == "brier" else np.argmax(scores))
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

    Score it with `evaluation.summarise(..., threshold="threshold")`. What it reaches on the scored fold is
    measured, not promised. Raises ValueError where there is one fold, or sensitivity is outside (0, 1].
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity is {sensitivity}; expected a share above 0 and at most 1")
    frame, probs = _aligned([predictions])
    y = frame["y_true"].to_numpy()

    def cut(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        found = np.sort(probs[train, 0][y[train] == 1])[::-1]
        # Rounding first keeps 0.9 x 10 at nine images instead of ten.
        needed = int(np.ceil(np.round(sensitivity * len(found), 9)))
        return np.full(len(test), found[needed - 1])

    return frame.assign(threshold=_fold_by_fold(frame, cut))


def diversity(pred_a: pd.DataFrame, pred_b: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """Describe how differently two models err, one row per protocol, variant and seed.

    Counts of images both_right, only_a_right, only_b_right, both_wrong; error_overlap (share of the images
    that either misses that both miss), kappa (Cohen's, of the two verdicts; NaN where both say the same of every
    image), correlation (Spearman's, of the probabilities) and either_right, the accuracy that a perfect referee
    between the two would reach.
    """
    frame, probs = _aligned([pred_a, pred_b])
    called = probs >= threshold
    right = called == (frame["y_true"].to_numpy() == 1)[:, None]
    rows = []
    for arm, part in frame.groupby(ARM).indices.items():
        a, b = right[part].T
        missed = int((~a | ~b).sum())
        rows.append(
            {
                **dict(zip(ARM, arm, strict=True)),
                "both_right": int((a & b).sum()),
                "only_a_right": int((a & ~b).sum()),
                "only_b_right": int((~a & b).sum()),
                "both_wrong": int((~a & ~b).sum()),
                "error_overlap": float((~a & ~b).sum() / missed) if missed else 0.0,
                "kappa": float(cohen_kappa_score(*called[part].T)) if len(np.unique(called[part])) == 2 else np.nan,
                "correlation": float(pd.Series(probs[part, 0]).corr(pd.Series(probs[part, 1]), "spearman")),
                "either_right": float((a | b).mean()),
            }
        )
    return pd.DataFrame(rows)


def inventory(models: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """List what there is to combine: one row per protocol, recipe and variant, predictions per model.

    The column `complete` says whether every model has it, on equally many predictions.
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
    """Name the recipe in which every model has both variants, the primary one if it can be; else ""."""
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


def _fold_by_fold(frame: pd.DataFrame, predict: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
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
            result[test] = predict(train, test)
    return result


def _named(frame: pd.DataFrame, prob: np.ndarray, recipe: str) -> pd.DataFrame:
    return frame.assign(y_prob=prob, recipe=recipe)[COLUMNS]
