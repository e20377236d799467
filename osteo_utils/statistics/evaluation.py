"""Every metric with its interval, every comparison with its test, from tables of predictions.

The unit of resampling is the group (images of one knee), because copies of a film bring no new evidence.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report, confusion_matrix
from statsmodels.stats.contingency_tables import mcnemar

from osteo_utils.statistics.metrics import METRICS, TAILS, Undefined, measure, wilson
from osteo_utils.statistics.predictions import KEYS, NO_WIDTH, check
from osteo_utils.statistics.resampling import Statistic, bca_tails, jackknife, resample, spread_of_difference, strata
from osteo_utils.study.results import Estimate

CLASSES = ("normal", "osteoporosis")


class Comparison(NamedTuple):
    """The difference of two sets of predictions, first minus second, and its two-sided p value."""

    estimate: Estimate
    p_value: float


class McNemar(NamedTuple):
    """Groups that only one of two models classifies correctly, and the exact two-sided p value."""

    only_a_right: int
    only_b_right: int
    n_groups: int
    p_value: float


def summarise(
    predictions: pd.DataFrame,
    metrics: Sequence[str] = METRICS,
    n_resamples: int = 2000,
    seed: int = 0,
    threshold: float | str = 0.5,
    method: str = "percentile",
) -> dict[str, Estimate]:
    """Estimate metrics of one arm with 95 % intervals from a bootstrap over groups.

    The value over several seeds is the mean of each seed's; in a resample all seeds share the drawn groups.
    `threshold` is a number or a column's name. `method` is "percentile" or "bca" (Efron, JASA 82, 1987; acceleration by
    a jackknife over groups, stratified as the draws are). Both cover 93 to 97 % in `benchmarks/coverage.py`; BCa comes
    up to 0.7 points nearer to 95 % at up to three times the cost, and suits metrics that are biased under resampling,
    such as the calibration error. Raises Undefined where a metric or an end of its interval is not finite or no class
    has two groups, ValueError as `check` and `measure` do.
    """
    if method not in ("percentile", "bca"):
        raise ValueError(f"method is {method!r}; expected 'percentile' or 'bca'")
    frame = check(predictions, [threshold] if isinstance(threshold, str) else [])
    statistic = statistic_of(frame, metrics, threshold)
    values, resampled = resample(frame, statistic, n_resamples, seed)
    tails = np.tile(TAILS, (len(metrics), 1))
    if method == "bca":
        tails = bca_tails(values, resampled, tails, jackknife(frame, statistic))
    dropped = predictions.attrs.get("conflict_groups", 0)
    note = f"{dropped} groups with both labels left out" if dropped else ""
    return {name: _estimate(name, values[k], resampled[:, k], tails[k], frame, note) for k, name in enumerate(metrics)}


def statistic_of(frame: pd.DataFrame, metrics: Sequence[str], threshold: float | str = 0.5) -> Statistic:
    """Make the metrics of a checked table, one a column, a statistic that `resampling` can resample."""
    cut = frame[threshold].to_numpy() if isinstance(threshold, str) else np.full(len(frame), threshold)
    y, p = frame["y_true"].to_numpy(), frame["y_prob"].to_numpy()

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        found = measure(y[rows], p[rows], metrics, weights, cut[rows])
        return np.stack([found[name] for name in metrics], axis=1)

    return statistic


def _estimate(
    name: str, value: float, resampled: np.ndarray, tails: Sequence[float], frame: pd.DataFrame, note: str
) -> Estimate:
    check_spread(frame, f"the interval of {name}")
    # An infinite resample at or beside an end of the interval makes the end infinite or NaN; both are refused below.
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(resampled, tails)
    if not np.isfinite([value, low, high]).all():
        raise Undefined(
            f"{name} has no finite value or interval on these {len(frame)} predictions (value {value}): the "
            "classes are separated or all probabilities alike, here or in some resamples; report another metric"
        )
    if low == high:
        note = "; ".join(filter(None, (note, NO_WIDTH)))
    once = frame.drop_duplicates("image_id")
    n_files = int(once["files"].sum()) if "files" in once else len(once)
    return Estimate(float(value), float(low), float(high), n_files, frame["group"].nunique(), "", note)


def check_spread(frame: pd.DataFrame, what: str) -> None:
    """Raises Undefined where every resample of a checked table is the same, so that an interval would have no width."""
    sizes = [len(members) for members in strata(frame["group"], frame["y_true"])[1]]
    if max(sizes) < 2:
        raise Undefined(
            f"{what} is not estimable: column 'group' holds {sizes[0]} normal groups, {sizes[1]} with "
            f"osteoporosis and {sizes[2]} with both labels in {len(frame)} rows, which are the same in every resample; "
            "expected two groups or more of one kind, so add films of other knees or persons"
        )


def group_vote(predictions: pd.DataFrame) -> pd.DataFrame:
    """Give each group one vote: the mean probability of its images, per seed.

    Returns the columns of predictions with the group's name as image_id, and `files`, the number of
    images behind a vote. Groups with both labels are left out; `attrs["conflict_groups"]` counts them. Raises Undefined
    where no group or only groups of one class can vote.
    """
    frame = check(predictions)
    labels = frame.groupby("group")["y_true"].nunique()
    kept = frame[frame["group"].map(labels) == 1]
    if kept["y_true"].nunique() < 2:
        mixed = labels.index[labels > 1]
        raise Undefined(
            f"one vote per group is not estimable: of {len(labels)} groups {len(mixed)} carry both labels"
            + (f" (column 'group', the first is {mixed[0]})" if len(mixed) else "")
            + f", and those that can vote hold the labels {sorted(kept['y_true'].unique().tolist())}; expected both 0 and 1"
        )
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
    pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "accuracy", n_resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two arms on the same images: a minus b, resampling the groups of both together.

    The p value is two-sided, from the share of resamples on the far side of zero (at least
    2 / (n_resamples + 1)), so it agrees with the interval. Raises ValueError as `align` does.
    """
    pair = align({"a": pred_a, "b": pred_b})
    (value_a, resampled_a), (value_b, resampled_b) = (
        resample(frame, statistic_of(frame, [metric]), n_resamples, seed) for frame in pair.values()
    )
    resampled = (resampled_a - resampled_b)[:, 0]
    remark = spread_of_difference(pair["a"], pair["b"], metric)
    return two_sided(metric, float((value_a - value_b)[0]), resampled, pair["a"], remark)


def difference_of_runs(
    first: pd.DataFrame, second: pd.DataFrame, metric: str = "accuracy", n_resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare one arm in two runs: second minus first, as `difference` does, under the groups of the first.

    Groups may have other names in the second run. Raises ValueError where the runs do not score the same films under the
    same labels, in the same groups and with the same seeds.
    """
    if first.empty or second.empty:
        raise ValueError("its predictions are not in both runs")
    joined = first.merge(second, "outer", KEYS, suffixes=("", "_second"), indicator="in_runs")
    if other := int((joined["in_runs"] != "both").sum()):
        raise ValueError(f"not the same films and seeds: {other} predictions are in one run alone")
    if other := int((joined["y_true"] != joined["y_true_second"]).sum()):
        raise ValueError(f"not the same labels: {other} predictions")
    names = joined[["group", "group_second"]].drop_duplicates()
    if names["group"].duplicated().any() or names["group_second"].duplicated().any():
        raise ValueError("not the same groups of films")
    arms = [name for name in ("protocol", "recipe", "variant") if name in joined]
    renamed = joined[[*KEYS, *arms, "group", "y_true"]].assign(y_prob=joined["y_prob_second"])
    return difference(renamed, first, metric, n_resamples, seed)


def two_sided(metric: str, value: float, resampled: np.ndarray, frame: pd.DataFrame, remark: str = "") -> Comparison:
    """Interval and p value of a difference from its resamples, as `difference` describes; `remark` joins the note."""
    beyond = min(np.sum(resampled <= 0), np.sum(resampled >= 0))
    p_value = min(1.0, 2 * (beyond + 1) / (len(resampled) + 1))
    note = "; ".join(filter(None, (f"p = {p_value:.3g}, paired bootstrap over groups", remark)))
    return Comparison(_estimate(metric, value, resampled, TAILS, frame, note), float(p_value))


def mcnemar_by_group(pred_a: pd.DataFrame, pred_b: pd.DataFrame) -> McNemar:
    """Test whether two models err on different groups: exact McNemar, one vote per group.

    With several seeds a group's vote is the mean over them. Groups with both labels do not vote.
    """
    pair = align({"a": pred_a, "b": pred_b})
    right = []
    for frame in pair.values():
        vote = group_vote(frame).groupby("group")[["y_true", "y_prob"]].mean()
        right.append((vote["y_prob"] >= 0.5) == (vote["y_true"] == 1))
    table = confusion_matrix(*right, labels=[True, False])
    only_a, only_b = int(table[0, 1]), int(table[1, 0])
    p_value = float(mcnemar(table, exact=True).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, len(right[0]), p_value)


def confusion(predictions: pd.DataFrame, threshold: float = 0.5) -> np.ndarray:
    """Count images by truth (rows) and prediction (columns), normal first; int (2, 2).

    With several seeds the counts are those of all seeds together.
    """
    frame = check(predictions)
    return confusion_matrix(frame["y_true"], frame["y_prob"] >= threshold, labels=[0, 1])


def classification_report_frame(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall, f1-score and support at the threshold 0.5, laid out as the paper's Fig. 5.

    Rows normal, osteoporosis, accuracy, macro avg, weighted avg; not rounded. The row `accuracy` has only f1-score
    (the accuracy) and support, as scikit-learn prints it.
    """
    frame = check(predictions)
    called = (frame["y_prob"] >= 0.5).astype(int)
    options = {"labels": [0, 1], "target_names": CLASSES, "output_dict": True, "zero_division": 0}
    report = classification_report(frame["y_true"], called, **options)
    report["accuracy"] = {"f1-score": report["accuracy"], "support": len(frame)}
    table = pd.DataFrame(report).T[["precision", "recall", "f1-score", "support"]]
    return table.astype({"support": int})


def calibration_table(predictions: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Compare predicted probability with the observed share of osteoporosis in equal-width bins.

    Columns bin, predicted, observed, low, high, count, groups. The interval is Wilson's with the number
    of groups as n, because copies add no evidence. Bins without a prediction have no row.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected 1 or more")
    frame = check(predictions)
    number = np.minimum((frame["y_prob"] * bins).astype(int), bins - 1)
    bins_of = frame.groupby(number.rename("bin"))
    table = bins_of.agg(predicted=("y_prob", "mean"), observed=("y_true", "mean"), count=("y_true", "size"))
    table = table.assign(groups=bins_of["group"].nunique()).reset_index()
    ends = [wilson(row.observed * row.groups, row.groups) for row in table.itertuples()]
    table["low"], table["high"] = np.array(ends).T
    return table[["bin", "predicted", "observed", "low", "high", "count", "groups"]]
