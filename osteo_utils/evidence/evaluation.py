"""Every metric with its interval, every comparison with its test, from tables of predictions.

The unit of resampling is the group (images of one knee), because copies of a film bring no new evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report, confusion_matrix
from statsmodels.stats.contingency_tables import mcnemar

from osteo_utils.evidence import seeds
from osteo_utils.evidence.measures import METRICS, delong, draw_groups, holm, measure, wilson
from osteo_utils.study.results import Estimate

__all__ = [
    "CLASSES", "METRICS", "Comparison", "McNemar", "align", "calibration_table", "check",
    "classification_report_frame", "confusion", "delong", "difference", "expected_calibration_error",
    "group_vote", "holm", "mcnemar_by_group", "measure", "roc_points", "summarise", "wilson",
]  # fmt: skip

CLASSES = ("normal", "osteoporosis")
KEYS = ["image_id", "view", "seed"]
_CELLS = 2_000_000


@dataclass(frozen=True)
class Comparison:
    """The difference of two sets of predictions (first minus second) and how surprising it is."""

    metric: str
    estimate: Estimate
    p_value: float
    test: str


@dataclass(frozen=True)
class McNemar:
    """Groups that only one of two models judges rightly, and the exact two-sided p value."""

    only_a_right: int
    only_b_right: int
    n_groups: int
    p_value: float


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of one study arm in the order of their keys, or say why they are not one.

    Expects image_id, group, seed, y_true, y_prob, and one protocol, recipe and variant at most.
    A missing `view` is 0. Raises ValueError for missing columns, a mixture or double keys.
    """
    if missing := sorted({"image_id", "group", "seed", "y_true", "y_prob"} - set(predictions.columns)):
        raise ValueError(f"the predictions lack the columns {missing}; expected the contract 'predictions'")
    if predictions.empty:
        raise ValueError("the predictions are empty; check protocol, recipe, variant and seed of the filter")
    for column in {"protocol", "recipe", "variant"} & set(predictions.columns):
        if len(found := sorted(predictions[column].unique())) > 1:
            raise ValueError(f"the predictions mix {column} {found}; expected one, so filter them first")
    frame = predictions if "view" in predictions.columns else predictions.assign(view=0)
    if twice := int(frame.duplicated(KEYS).sum()):
        raise ValueError(f"{twice} predictions are there twice; expected one for each of {KEYS}")
    # One order of the rows, so that sums round alike however a table was put together.
    return frame.sort_values(KEYS, ignore_index=True)


def summarise(
    predictions: pd.DataFrame,
    metrics: Sequence[str] = METRICS,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    threshold: float | str = 0.5,
) -> dict[str, Estimate]:
    """Estimate metrics of one study arm with percentile intervals from a bootstrap over groups.

    The value over several seeds is the mean of the values of each seed; in a resample the drawn
    groups are the same for all seeds. `threshold` is a number or a column's name. `level` is the
    coverage of the interval. Raises ValueError as `check` and `measure` do.
    """
    frame = check(predictions)
    values, resampled = _bootstrap(frame, metrics, n_resamples, seed, threshold)
    note = _note(predictions)
    return {name: _estimate(values[name], resampled[name], level, frame, note) for name in metrics}


def _bootstrap(
    frame: pd.DataFrame, metrics: Sequence[str], n_resamples: int, seed: int, threshold: float | str
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    rows = [np.asarray(part) for part in frame.groupby("seed").indices.values()]
    cut = frame[threshold].to_numpy() if isinstance(threshold, str) else np.full(len(frame), threshold)
    y, p = frame["y_true"].to_numpy(), frame["y_prob"].to_numpy()

    def averaged(weights: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
        each = [
            measure(y[part], p[part], metrics, w, cut[part]) for part, w in zip(rows, weights, strict=True)
        ]
        return {name: np.mean([one[name] for one in each], axis=0) for name in metrics}

    values = {name: float(value[0]) for name, value in averaged([None] * len(rows)).items()}
    drawn, column = draw_groups(frame["group"], y, n_resamples, seed)
    size = max(1, _CELLS // max(len(part) for part in rows))
    portions = [
        averaged([drawn[start : start + size][:, column[part]] for part in rows])
        for start in range(0, n_resamples, size)
    ]
    return values, {name: np.concatenate([part[name] for part in portions]) for name in metrics}


def _estimate(
    value: float, resampled: np.ndarray, level: float, frame: pd.DataFrame, note: str = ""
) -> Estimate:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    once = frame.drop_duplicates("image_id")
    n_files = int(once["files"].sum()) if "files" in once else len(once)
    return Estimate(float(value), float(low), float(high), n_files, frame["group"].nunique(), "", note)


def _note(predictions: pd.DataFrame) -> str:
    dropped = predictions.attrs.get("conflict_groups", 0)
    return f"{dropped} groups with both labels left out" if dropped else ""


def group_vote(predictions: pd.DataFrame) -> pd.DataFrame:
    """Give each group one vote: the mean probability of its images, per seed.

    Returns the columns of predictions with the group's name as image_id, and `files`, the number of
    images behind a vote. Groups with both labels are left out; `attrs["conflict_groups"]` counts them.
    """
    frame = check(predictions)
    labels = frame.groupby("group")["y_true"].nunique()
    kept = frame[frame["group"].map(labels) == 1]
    if kept.empty:
        raise ValueError("every group carries both labels; no group can vote, check the column 'group'")
    first = {name: (name, "first") for name in ("protocol", "recipe", "variant", "fold") if name in kept}
    votes = kept.groupby(["seed", "group"], as_index=False).agg(
        **first, y_true=("y_true", "first"), y_prob=("y_prob", "mean"), files=("image_id", "nunique")
    )
    votes = votes.assign(image_id=votes["group"], view=0)
    votes.attrs["conflict_groups"] = int((labels > 1).sum())
    return votes


def align(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Bring several arms into one order of image_id, view and seed.

    Raises ValueError when they do not hold the same images, labels, groups and seeds.
    """
    ordered = {name: check(frame) for name, frame in frames.items()}
    first, *others = ordered
    for name in others:
        for columns in (KEYS, ["y_true", "group"]):
            ours, theirs = ordered[first][columns], ordered[name][columns]
            if len(ours) != len(theirs) or not np.array_equal(ours.to_numpy(), theirs.to_numpy()):
                raise ValueError(
                    f"{first!r} ({len(ours)} predictions) and {name!r} ({len(theirs)}) differ in {columns}; "
                    "a paired comparison needs the same images, so choose one protocol and the same seeds"
                )
    return ordered


def difference(
    pred_a: pd.DataFrame,
    pred_b: pd.DataFrame,
    metric: str = "accuracy",
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two arms on the same images: a minus b, resampling the groups of both together.

    The p value is two-sided, from the share of resamples on the far side of zero (at least
    2 / (n_resamples + 1)), so it agrees with the interval. Raises ValueError as `align` does.
    """
    pair = align({"a": pred_a, "b": pred_b})
    (value_a, drawn_a), (value_b, drawn_b) = (
        _bootstrap(frame, [metric], n_resamples, seed, 0.5) for frame in pair.values()
    )
    drawn = drawn_a[metric] - drawn_b[metric]
    beyond = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    p_value = min(1.0, 2 * (beyond + 1) / (n_resamples + 1))
    beside = seeds.beside_difference(pair["a"], pair["b"], metric)
    note = f"p = {p_value:.3g}, paired bootstrap over groups; {beside}"
    estimate = _estimate(value_a[metric] - value_b[metric], drawn, level, pair["a"], note)
    return Comparison(metric, estimate, float(p_value), "paired bootstrap over groups")


def mcnemar_by_group(pred_a: pd.DataFrame, pred_b: pd.DataFrame, threshold: float = 0.5) -> McNemar:
    """Test whether two models err on different groups: exact McNemar, one vote per group.

    With several seeds a group's vote is the mean over them. Groups with both labels do not vote.
    """
    pair = align({"a": pred_a, "b": pred_b})
    right = []
    for frame in pair.values():
        vote = group_vote(frame).groupby("group")[["y_true", "y_prob"]].mean()
        right.append((vote["y_prob"] >= threshold) == (vote["y_true"] == 1))
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    table = [[int((right[0] & right[1]).sum()), only_a], [only_b, int((~right[0] & ~right[1]).sum())]]
    p_value = float(mcnemar(table, exact=True).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, len(right[0]), p_value)


def confusion(predictions: pd.DataFrame, threshold: float = 0.5) -> np.ndarray:
    """Count images by truth (rows) and prediction (columns), normal first; int (2, 2).

    With several seeds the counts are those of all seeds together.
    """
    frame = check(predictions)
    return confusion_matrix(frame["y_true"], frame["y_prob"] >= threshold, labels=[0, 1])


def classification_report_frame(predictions: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """Lay out precision, recall, f1-score and support as the paper's Fig. 5 does.

    Rows normal, osteoporosis, accuracy, macro avg, weighted avg; not rounded. The row `accuracy`
    holds only f1-score (the accuracy) and support, as scikit-learn prints it.
    """
    frame = check(predictions)
    called = frame["y_prob"] >= threshold
    report = classification_report(
        frame["y_true"], called.astype(int), labels=[0, 1], target_names=CLASSES, output_dict=True,
        zero_division=0,
    )  # fmt: skip
    report["accuracy"] = {"f1-score": report["accuracy"], "support": len(frame)}
    table = pd.DataFrame(report).T[["precision", "recall", "f1-score", "support"]]
    return table.astype({"support": int})


def roc_points(
    predictions: pd.DataFrame, n_resamples: int = 500, seed: int = 0, level: float = 0.95, points: int = 101
) -> pd.DataFrame:
    """Trace the ROC curve with a pointwise band from a bootstrap over groups.

    Columns fpr (an even grid), tpr, low, high, all in [0, 1]; the curve is the mean over seeds, each a
    staircase read at the highest sensitivity it reaches by that false positive rate.
    """
    frame = check(predictions)
    grid = np.linspace(0, 1, points)
    drawn, column = draw_groups(frame["group"], frame["y_true"], n_resamples, seed)
    weights = np.vstack([np.ones(len(drawn[0]), dtype=drawn.dtype), drawn])
    curves = np.zeros((n_resamples + 1, points))
    rows = list(frame.groupby("seed").indices.values())
    for part in rows:
        order = part[np.argsort(-frame["y_prob"].to_numpy()[part], kind="stable")]
        p, y = frame["y_prob"].to_numpy()[order], frame["y_true"].to_numpy()[order]
        last = np.flatnonzero(np.r_[np.diff(p) != 0, True])
        for index, counts in enumerate(weights):
            w = counts[column[order]]
            true, false = np.cumsum(w * y)[last], np.cumsum(w * (1 - y))[last]
            reached = np.searchsorted(false / false[-1], grid + 1e-12, side="right")
            curves[index] += np.r_[0.0, true / true[-1]][reached] / len(rows)
    low, high = np.quantile(curves[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame({"fpr": grid, "tpr": curves[0], "low": low, "high": high})


def calibration_table(predictions: pd.DataFrame, bins: int = 10, level: float = 0.95) -> pd.DataFrame:
    """Compare predicted probability with the observed share of osteoporosis in equal-width bins.

    Columns bin, predicted, observed, low, high, count, groups. The interval is Wilson's with the number
    of groups as n, because copies add no evidence. Bins without a prediction have no row.
    """
    frame = check(predictions)
    number = np.minimum((frame["y_prob"] * bins).astype(int), bins - 1)
    table = (
        frame.groupby(number.rename("bin"))
        .agg(
            predicted=("y_prob", "mean"),
            observed=("y_true", "mean"),
            count=("y_true", "size"),
            groups=("group", "nunique"),
        )
        .reset_index()
    )
    ends = [wilson(row.observed * row.groups, row.groups, level) for row in table.itertuples()]
    table["low"], table["high"] = (np.array(ends).T) if len(ends) else ([], [])
    return table[["bin", "predicted", "observed", "low", "high", "count", "groups"]]


def expected_calibration_error(predictions: pd.DataFrame, bins: int = 10) -> float:
    """Average gap between predicted and observed, weighted by the bins' size (Guo et al., 2017); 0 is best."""
    table = calibration_table(predictions, bins)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["count"]))
