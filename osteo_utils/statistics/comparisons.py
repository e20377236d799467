"""Tests that compare two models on the same films and respect groups; and what such a test could have found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.statistics.evaluation import (
    Comparison,
    align,
    difference,
    group_vote,
    mcnemar_by_group,
    summarise,
    two_sided,
)
from osteo_utils.statistics.metrics import TAILS, Undefined, delong, holm, measure, normal_test, placements
from osteo_utils.statistics.predictions import check
from osteo_utils.statistics.resampling import resample
from osteo_utils.study.results import Estimate

NO_SPREAD = "; the two arms differ alike everywhere, so the interval has no width"


def clustered_delong(y_true: np.ndarray, placed: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Test a difference of AUROCs of images in groups; returns the difference, its standard error and the p value.

    `placed` (n,) is the difference of `placements` of both models. Obuchowski, Biometrics 53 (1997), section 2: DeLong's
    components are summed within groups, and the groups are independent. A group may hold any number of images and both
    labels. With one image a group it is DeLong's test. Raises Undefined with fewer than two groups of a class.
    """
    column, names = pd.factorize(groups)
    members = y_true == 1, y_true == 0
    counts = [np.bincount(column, member, len(names)) for member in members]
    with_class = [int((count > 0).sum()) for count in counts]
    if min(with_class) < 2:
        raise Undefined(
            f"clustered DeLong needs two groups of each class; found {with_class[0]} with osteoporosis and "
            f"{with_class[1]} normal"
        )
    sums = [np.bincount(column, placed * member, len(names)) for member in members]
    total = [count.sum() for count in counts]
    value = sums[0].sum() / total[0]
    off = [each - count * value for each, count in zip(sums, counts, strict=True)]
    variance = sum(
        n / (n - 1) * (part @ part) / whole**2 for n, part, whole in zip(with_class, off, total, strict=True)
    )
    n = len(names)
    variance += 2 * n / (n - 1) * (off[0] @ off[1]) / (total[0] * total[1])
    return normal_test(value, variance)


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
    if len(names) < 2:
        raise Undefined(f"all {len(y)} images are of one group (column 'group'); expected two or more")
    value = scored.mean()
    off = np.bincount(column, scored - value, len(names))
    return frame, normal_test(value, len(names) / (len(names) - 1) * (off @ off) / len(y) ** 2)


def by_group(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "auroc") -> Comparison:
    """Compare two arms, a minus b, by a normal test whose independent units are the groups.

    `auroc`: clustered DeLong (Obuchowski, Biometrics 53, 1997). `accuracy` at the threshold 0.5: the
    difference of two proportions of clustered images (Obuchowski, Stat Med 17, 1998). Over several seeds
    each image counts with its mean. Raises ValueError for another metric, and as `align` does.
    """
    names = {"auroc": "clustered DeLong", "accuracy": "clustered proportions"}
    if metric not in names:
        raise ValueError(f"metric is {metric!r}; expected one of {list(names)}")
    frame, (value, error, p_value) = _paired(pred_a, pred_b, metric)
    half = stats.norm.ppf(TAILS[1]) * error
    note = f"p = {p_value:.3g}, {names[metric]}" + ("" if error else NO_SPREAD)
    return Comparison(Estimate(value, float(value - half), float(value + half), *_sizes(frame), note=note), p_value)


def _sizes(frame: pd.DataFrame) -> tuple[int, int]:
    return frame["image_id"].nunique(), frame["group"].nunique()


def detectable(standard_error: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that a two-sided normal test finds with this power.

    (z of 1 - alpha/2 plus z of power) times the standard error: Bloom, Evaluation Review 19 (1995).
    """
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"power is {power} and alpha {alpha}; expected shares between 0 and 1")
    return float((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) * standard_error)


def minimal_detectable(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "auroc") -> Estimate:
    """The smallest true difference of two arms that a study of these films finds with a power of 0.8; no interval.

    By `detectable` with the standard error of `by_group`. It depends on the spread of the difference, not on its
    size: it says what the study could have seen. The standard error is that at the scores the two arms have; where one
    of them is lower, it is larger.
    """
    frame, (_, error, _) = _paired(pred_a, pred_b, metric)
    note = "power 0.8, two-sided alpha 0.05; Bloom 1995, standard error by group" + ("" if error else NO_SPREAD)
    return Estimate(detectable(error), None, None, *_sizes(frame), note=note)


def corrected_t(differences: np.ndarray, test_share: float) -> tuple[float, float, float, float]:
    """Mean difference of resampled test sets, both ends of its 95 % interval, and the two-sided p value.

    differences (rounds,), one for each test set; test_share = images tested / images trained on. The variance
    is (1 / rounds + test_share) times that of the rounds, as training sets overlap: Nadeau and Bengio, Machine
    Learning 52 (2003), section 3; for repeated cross-validation Bouckaert and Frank (2004).
    """
    gaps = np.asarray(differences, float)
    if len(gaps) < 2:
        raise ValueError(f"the corrected t test needs two test sets or more; found {len(gaps)}")
    spread = stats.t(len(gaps) - 1)
    error = float(np.sqrt((1 / len(gaps) + test_share) * gaps.var(ddof=1)))
    half = spread.ppf(TAILS[1]) * error
    mean = float(gaps.mean())
    p_value = 2 * spread.sf(abs(mean) / error) if error > 0 else float(mean == 0)
    return mean, float(mean - half), float(mean + half), float(p_value)


def over_folds(pred_a: pd.DataFrame, pred_b: pd.DataFrame, metric: str = "auroc") -> Comparison:
    """Compare two arms, a minus b, by the corrected resampled t test over the folds of all seeds.

    The difference is the mean over folds, which is not that of all predictions together. Raises Undefined
    where a fold lacks a class or is the only one, ValueError as `align` does.
    """
    pair = align({"a": pred_a, "b": pred_b})
    frame = check(pair["a"], ["fold"])
    gaps, shares = [], []
    for (seed, fold), part in frame.groupby(["seed", "fold"]).indices.items():
        labels = frame["y_true"].to_numpy()[part]
        if len(set(labels)) < 2 or len(part) == (frame["seed"] == seed).sum():
            raise Undefined(
                f"fold {fold} of seed {seed} (the row of {frame['image_id'].iloc[part[0]]} and {len(part) - 1} more) holds "
                f"the labels {sorted(set(labels.tolist()))} in column y_true and {len(part)} of the seed's films; expected "
                "both labels in each of two folds or more, so choose fewer folds"
            )
        first, second = (
            measure(arm["y_true"].to_numpy()[part], arm["y_prob"].to_numpy()[part], [metric])[metric][0]
            for arm in pair.values()
        )
        gaps.append(first - second)
        shares.append(len(part) / ((frame["seed"] == seed).sum() - len(part)))
    *value_and_ends, p_value = corrected_t(np.array(gaps), float(np.mean(shares)))
    note = f"p = {p_value:.3g}, corrected t over {len(gaps)} folds" + ("" if np.ptp(gaps) else NO_SPREAD)
    return Comparison(Estimate(*value_and_ends, *_sizes(frame), note=note), p_value)


def side_by_side(
    pred_a: pd.DataFrame,
    pred_b: pd.DataFrame,
    metrics: Sequence[str] = ("auroc", "accuracy"),
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Compare two arms, a minus b, by tests with different assumptions.

    By name: `<metric>` (bootstrap over groups), `<metric>/by_group` (the normal test of `by_group`),
    `<metric>/corrected_t` (`over_folds`) and `<metric>/detectable` (`minimal_detectable`). One that is not estimable on
    these films is missing, and the note of `<metric>` says why.
    """
    found = {}
    others = {
        "by_group": lambda metric: by_group(pred_a, pred_b, metric).estimate,
        "corrected_t": lambda metric: over_folds(pred_a, pred_b, metric).estimate,
        "detectable": lambda metric: minimal_detectable(pred_a, pred_b, metric),
    }
    for metric in metrics:
        found[metric] = difference(pred_a, pred_b, metric, n_resamples, seed).estimate
        for name, test in others.items():
            try:
                found[f"{metric}/{name}"] = test(metric)
            except Undefined as error:
                found[metric] = replace(found[metric], note=f"{found[metric].note}; {name} not estimable: {error}")
    return found


def by_vote(pred_a: pd.DataFrame, pred_b: pd.DataFrame, name_a: str, name_b: str) -> list[str]:
    """Sentences on two tests of one vote per group: DeLong on the first seed, and McNemar; or why there is none."""
    told = []
    try:
        votes = [group_vote(frame) for frame in (pred_a, pred_b)]
        first, second = (frame[frame["seed"] == frame["seed"].min()].sort_values("group") for frame in votes)
        exact = mcnemar_by_group(pred_a, pred_b)
        told.append(
            f"McNemar: only {name_a} right {exact.only_a_right}, only {name_b} right {exact.only_b_right} "
            f"of {exact.n_groups} groups, p = {exact.p_value:.3g}"
        )
        gap, error, p_value = delong(first["y_true"], first["y_prob"], second["y_prob"])
        one_vote = f"AUROC differs by {gap:+.3f} (standard error {error:.3f}), p = {p_value:.3g}"
    except Undefined as error:
        one_vote = f"not estimable: {error}"
    return [f"DeLong, one vote per group: {one_vote}", *told]


def contrast(
    frames: Mapping[str, pd.DataFrame],
    weights: Mapping[str, float],
    metric: str = "accuracy",
    n_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Test a weighted sum of the metric of several arms on the same images, such as an interaction.

    `weights` by name of the arm; other arms do not count. Interval and p value as in `evaluation.difference`, which is
    the contrast of weights 1 and -1. Raises ValueError as `align` does.
    """
    if not weights or (missing := [name for name in weights if name not in frames]):
        raise ValueError(f"there are no arms {missing if weights else '(no weights)'}; expected some of {list(frames)}")
    arms = align({name: frames[name] for name in weights})

    def statistic(rows: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        total = 0.0
        for name, arm in arms.items():
            y, p = arm["y_true"].to_numpy()[rows], arm["y_prob"].to_numpy()[rows]
            total = total + weights[name] * measure(y, p, [metric], counts)[metric]
        return total[:, None]

    frame = next(iter(arms.values()))
    values, resampled = resample(frame, statistic, n_resamples, seed)
    return two_sided(metric, float(values[0]), resampled[:, 0], frame)


def two_by_two_effects(
    cells: Mapping[str, pd.DataFrame], metric: str = "accuracy", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Separate the two changes of claim C5: the main effect of each, and their interaction.

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
    table = pd.DataFrame([asdict(test.estimate) for test in tests.values()]).drop(columns=["unit", "note"])
    table = table.rename(columns={"value": "difference"}).assign(p=[test.p_value for test in tests.values()])
    table.insert(0, "name", list(tests))
    return table.assign(p_holm=table["name"].map(holm({name: test.p_value for name, test in tests.items()})))


def compared(
    frames: Mapping[str, pd.DataFrame], reference: str, metric: str = "accuracy", n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Tabulate a metric of each arm and its paired difference from the arm `reference`.

    Columns name, value, low, high, n_files, n_groups, difference, difference_low, difference_high, p (paired
    bootstrap over groups), p_holm (over the rows), p_mcnemar (exact, one vote per group; empty where groups cannot vote).
    """
    if reference not in frames:
        raise ValueError(f"there is no arm {reference!r}; expected one of {list(frames)}")
    tests = {
        name: difference(frame, frames[reference], metric, n_resamples, seed)
        for name, frame in frames.items()
        if name != reference
    }
    adjusted = holm({name: test.p_value for name, test in tests.items()})
    rows = []
    for name, frame in frames.items():
        row = {"name": name} | asdict(summarise(frame, [metric], n_resamples, seed)[metric])
        if name in tests:
            gap = tests[name].estimate
            row |= {"difference": gap.value, "difference_low": gap.low, "difference_high": gap.high}
            row |= {"p": tests[name].p_value, "p_holm": adjusted[name]}
            try:
                row["p_mcnemar"] = mcnemar_by_group(frame, frames[reference]).p_value
            except Undefined:
                row["p_mcnemar"] = np.nan
        rows.append(row)
    return pd.DataFrame(rows).drop(columns=["unit", "note"])
