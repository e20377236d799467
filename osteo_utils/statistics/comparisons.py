"""Two models on the same films, compared by tests that know of groups; what such a test could have found."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.statistics import evaluation, metrics
from osteo_utils.statistics.evaluation import Comparison, align, difference, two_sided
from osteo_utils.statistics.metrics import holm, measure
from osteo_utils.statistics.resampling import resample
from osteo_utils.study.results import Estimate


def placements(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """For each image the share of images of the other class that it stands on the right side of, (n,); ties half.

    The structural components V10 and V01 of DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988).
    """
    y, p = np.asarray(y_true) == 1, np.asarray(y_prob, float)
    if y.all() or not y.any():
        raise ValueError(f"y_true holds {int(y.sum())} of {len(y)} positive; expected both classes")
    ranks, found = stats.rankdata(p), np.zeros(len(p))
    found[y] = (ranks[y] - stats.rankdata(p[y])) / (~y).sum()
    found[~y] = 1 - (ranks[~y] - stats.rankdata(p[~y])) / y.sum()
    return found


def clustered_delong(y_true: np.ndarray, placed: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Test a difference of AUROCs of images in groups; returns the difference, its standard error and the p value.

    `placed` (n,) is the difference of `placements` of both models. Obuchowski, Biometrics 53 (1997), section 2: DeLong's
    components are summed within groups, and groups are what is independent. A group may hold any number of images and
    both labels. With one image a group it is DeLong's test. Raises ValueError with fewer than two groups of a class.
    """
    column, names = pd.factorize(groups)
    sums, counts, with_class = [], [], []
    for member in (y_true == 1, y_true == 0):
        sums.append(np.bincount(column, placed * member, len(names)))
        counts.append(np.bincount(column, member, len(names)))
        with_class.append(int((counts[-1] > 0).sum()))
    if min(with_class) < 2:
        raise ValueError(
            f"clustered DeLong needs two groups of each class; found {with_class[0]} with osteoporosis and "
            f"{with_class[1]} normal"
        )
    total = [count.sum() for count in counts]
    value = sums[0].sum() / total[0]
    off = [each - count * value for each, count in zip(sums, counts, strict=True)]
    variance = sum(
        n / (n - 1) * (part @ part) / whole**2 for n, part, whole in zip(with_class, off, total, strict=True)
    )
    n = len(names)
    variance += 2 * n / (n - 1) * (off[0] @ off[1]) / (total[0] * total[1])
    return _normal(value, variance)


def _normal(value: float, variance: float) -> tuple[float, float, float]:
    error = float(np.sqrt(max(variance, 0.0)))
    p_value = 2 * stats.norm.sf(abs(value) / error) if error > 0 else float(value == 0)
    return float(value), error, float(p_value)


def _paired(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, tuple[float, float, float]]:
    """The table of images, and difference, standard error and p value; seeds are averaged image by image."""
    pair = align({"a": pred_a, "b": pred_b})
    frame = pair["a"]
    scored = np.zeros(len(frame))
    for part in frame.groupby("seed").indices.values():
        for sign, arm in zip((1, -1), pair.values(), strict=True):
            y, p = (arm[name].to_numpy()[part] for name in ("y_true", "y_prob"))
            scored[part] += sign * (placements(y, p) if metric == "auroc" else (p >= 0.5) == (y == 1))
    images = frame.assign(scored=scored).groupby(["image_id", "view"])
    table = images.agg(y_true=("y_true", "first"), group=("group", "first"), scored=("scored", "mean"))
    y, scored, groups = (table[name].to_numpy() for name in ("y_true", "scored", "group"))
    if metric == "auroc":
        return frame, clustered_delong(y, scored, groups)
    column, names = pd.factorize(groups)
    value = scored.mean()
    off = np.bincount(column, scored - value, len(names))
    return frame, _normal(value, len(names) / (len(names) - 1) * (off @ off) / len(y) ** 2)


def by_group(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "auroc", level: float = 0.95) -> Comparison:
    """Compare two arms, a minus b, by a normal test whose independent units are the groups.

    `auroc`: clustered DeLong (Obuchowski, Biometrics 53, 1997). `accuracy` at the threshold 0.5: the
    difference of two proportions of clustered images (Obuchowski, Stat Med 17, 1998). Over several seeds
    each image counts with its mean. Raises ValueError for another metric, and as `align` does.
    """
    names = {"auroc": "clustered DeLong", "accuracy": "clustered proportions"}
    if metric not in names:
        raise ValueError(f"metric is {metric!r}; expected one of {list(names)}")
    frame, (value, error, p_value) = _paired(pred_a, pred_b, metric)
    half = stats.norm.ppf((1 + level) / 2) * error
    note = f"p = {p_value:.3g}, {names[metric]}"
    return Comparison(metric, _sized(value, value - half, value + half, frame, note), p_value, names[metric])


def _sized(value: float, low: float | None, high: float | None, frame: pd.DataFrame, note: str) -> Estimate:
    n_files, n_groups = frame["image_id"].nunique(), frame["group"].nunique()
    ends = (None, None) if low is None else (float(low), float(high))
    return Estimate(value, *ends, n_files, n_groups, note=note)


def detectable(standard_error: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided normal test finds with this power.

    (z of 1 - alpha/2 plus z of power) times the standard error: Bloom, Evaluation Review 19 (1995).
    """
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"power is {power} and alpha {alpha}; expected shares between 0 and 1")
    return float((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) * standard_error)


def minimal_detectable(
    pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "auroc", power: float = 0.8, alpha: float = 0.05
) -> Estimate:
    """The smallest true difference of two such arms that films as many as these show with this power.

    By `detectable` with the standard error of `by_group`; it has no interval. It says what the study could
    see, not what it saw: computed from the spread of the difference, not from its size. The standard error
    is that at the scores the two arms have; where one of them is lower, it is larger.
    """
    frame, (_, error, _) = _paired(pred_a, pred_b, metric)
    note = f"power {power:g}, two-sided alpha {alpha:g}; Bloom 1995, standard error by group"
    return _sized(detectable(error, power, alpha), None, None, frame, note)


def corrected_t(differences: np.ndarray, test_share: float, level: float = 0.95) -> tuple[float, float, float, float]:
    """Mean difference of resampled test sets, both ends of its interval, and the two-sided p value.

    differences (rounds,), one for each test set; test_share = images tested / images trained on. The variance
    is (1 / rounds + test_share) times that of the rounds, as training sets overlap: Nadeau and Bengio, Machine
    Learning 52 (2003), section 3; for repeated cross-validation Bouckaert and Frank (2004).
    """
    gaps = np.asarray(differences, float)
    if len(gaps) < 2:
        raise ValueError(f"the corrected t test needs two test sets or more; found {len(gaps)}")
    spread = stats.t(len(gaps) - 1)
    error = float(np.sqrt((1 / len(gaps) + test_share) * gaps.var(ddof=1)))
    half = spread.ppf((1 + level) / 2) * error
    mean = float(gaps.mean())
    p_value = 2 * spread.sf(abs(mean) / error) if error > 0 else float(mean == 0)
    return mean, mean - half, mean + half, float(p_value)


def over_folds(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "auroc", level: float = 0.95) -> Comparison:
    """Compare two arms, a minus b, by the corrected resampled t test over the folds of all seeds.

    The difference is the mean over folds, which is not that of all predictions together. Raises ValueError
    where a fold lacks a class, and as `align` does.
    """
    pair = align({"a": pred_a, "b": pred_b})
    frame = pair["a"]
    gaps, shares = [], []
    for (seed, _), part in frame.groupby(["seed", "fold"]).indices.items():
        scores = [
            measure(arm["y_true"].to_numpy()[part], arm["y_prob"].to_numpy()[part], [metric])[metric][0]
            for arm in pair.values()
        ]
        gaps.append(scores[0] - scores[1])
        shares.append(len(part) / ((frame["seed"] == seed).sum() - len(part)))
    value, low, high, p_value = corrected_t(np.array(gaps), float(np.mean(shares)), level)
    test = f"corrected t over {len(gaps)} folds"
    return Comparison(metric, _sized(value, low, high, frame, f"p = {p_value:.3g}, {test}"), p_value, test)


def side_by_side(
    pred_a: pd.DataFrame,
    pred_b: pd.DataFrame,
    metrics: Sequence[str] = ("auroc", "accuracy"),
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Ask one question, a minus b, of tests with different assumptions.

    By name: `<metric>` (bootstrap over groups), `<metric>/by_group` (the normal test of `by_group`),
    `<metric>/corrected_t` (`over_folds`) and `<metric>/detectable` (`minimal_detectable`).
    """
    found = {}
    for metric in metrics:
        found[metric] = difference(pred_a, pred_b, metric, n_resamples, seed).estimate
        found[f"{metric}/by_group"] = by_group(pred_a, pred_b, metric).estimate
        found[f"{metric}/corrected_t"] = over_folds(pred_a, pred_b, metric).estimate
        found[f"{metric}/detectable"] = minimal_detectable(pred_a, pred_b, metric)
    return found


def contrast(
    frames: Mapping[str, pd.DataFrame],
    weights: Mapping[str, float],
    metric: str = "accuracy",
    n_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Test a weighted sum of the metric of several arms on the same images, such as an interaction.

    `weights` by name of the arm; arms that it does not name do not count. Interval and p value as in
    `evaluation.difference`, which is the contrast of weights 1 and -1. Raises ValueError as `align` does.
    """
    arms = align({name: frames[name] for name in weights})
    frame = next(iter(arms.values()))

    def statistic(rows: np.ndarray, drawn: np.ndarray | None) -> np.ndarray:
        total = 0.0
        for name, arm in arms.items():
            y, p = arm["y_true"].to_numpy()[rows], arm["y_prob"].to_numpy()[rows]
            total = total + weights[name] * measure(y, p, [metric], drawn)[metric]
        return total[:, None]

    values, drawn = resample(frame, statistic, n_resamples, seed)
    return two_sided(metric, float(values[0]), drawn[:, 0], frame)


def two_by_two_effects(
    cells: Mapping[str, pd.DataFrame], metric: str = "accuracy", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Take the two changes of claim C5 apart: what each brings on average, and whether together they bring more.

    `cells` as `ensemble.two_by_two` gives them, all four (ValueError otherwise). Rows "combining" and "segmenting" (each
    averaged over the other), "interaction" (what combining brings on segmented films less what it brings on full
    ones) and "both at once". Columns name, difference, low, high, n_files, n_groups, p (paired bootstrap over
    groups), p_holm (over the four rows).
    """
    names = [f"{who}, {films}" for films in ("full", "segmented") for who in ("single best", "both")]
    if missing := [name for name in names if name not in cells]:
        raise ValueError(f"the two by two table lacks {missing}; segmented films of both models are needed")
    effects = {
        "combining": (-0.5, 0.5, -0.5, 0.5),
        "segmenting": (-0.5, -0.5, 0.5, 0.5),
        "interaction": (1, -1, -1, 1),
        "both at once": (-1, 0, 0, 1),
    }
    tests = {
        name: contrast(cells, dict(zip(names, weights, strict=True)), metric, n_resamples, seed)
        for name, weights in effects.items()
    }
    adjusted = holm({name: test.p_value for name, test in tests.items()})
    rows = []
    for name, test in tests.items():
        own = test.estimate
        row = {"name": name, "difference": own.value, "low": own.low, "high": own.high}
        row |= {"n_files": own.n_files, "n_groups": own.n_groups}
        rows.append(row | {"p": test.p_value, "p_holm": adjusted[name]})
    return pd.DataFrame(rows)


def compared(
    frames: Mapping[str, pd.DataFrame], reference: str, metric: str = "accuracy", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Tabulate a metric of each arm and its paired difference from the arm `reference`.

    Columns name, value, low, high, n_files, n_groups, difference, difference_low, difference_high, p (paired
    bootstrap over groups), p_holm (over the rows), p_mcnemar (exact, one vote per group).
    """
    if reference not in frames:
        raise ValueError(f"there is no arm {reference!r}; expected one of {list(frames)}")
    tests = {
        name: evaluation.difference(frame, frames[reference], metric, n_resamples, seed)
        for name, frame in frames.items()
        if name != reference
    }
    adjusted = metrics.holm({name: test.p_value for name, test in tests.items()})
    rows = []
    for name, frame in frames.items():
        own = evaluation.summarise(frame, [metric], n_resamples, seed)[metric]
        row = {"name": name, "value": own.value, "low": own.low, "high": own.high}
        row |= {"n_files": own.n_files, "n_groups": own.n_groups}
        if name in tests:
            gap = tests[name].estimate
            row |= {"difference": gap.value, "difference_low": gap.low, "difference_high": gap.high}
            row |= {"p": tests[name].p_value, "p_holm": adjusted[name]}
            row["p_mcnemar"] = evaluation.mcnemar_by_group(frame, frames[reference]).p_value
        rows.append(row)
    return pd.DataFrame(rows)
