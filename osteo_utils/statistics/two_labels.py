"""Two labels of the same films, that of the folder and a reference: whether they agree, and which a score follows.

The tables are those of `evidence.reference_label.joined`; the unit of resampling is the person.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from osteo_utils.statistics import evaluation
from osteo_utils.statistics.metrics import Undefined, measure
from osteo_utils.statistics.resampling import resample, strata
from osteo_utils.study.results import Estimate

GRADES = ("normal", "osteopenia", "osteoporosis")
ASKED = (
    "question", "follows", "among", "value", "low", "high", "chance", "chance_low", "chance_high", "p_value", "n_files",
    "n_groups",
)  # fmt: skip
# With fewer films of either class no question is asked.
FEWEST = 10


def agreement(table: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """How far folder and reference agree, each with an interval from resampled persons; the note is the reference's name.

    `kappa` is Cohen's kappa of osteoporosis against the rest, `kappa_extremes` that among films whose reference is
    normal or osteoporosis, `kappa_weighted` has linear weights over three levels, with normal and osteoporosis of the
    folders at the ends. A kappa is left out where folder or reference is always the same, all
    where no kind of group has two. `same` is the share of films that count as the class that the reference names, where it is
    normal or osteoporosis, and `osteopenia` the share of all films where it is neither.
    """
    level, folder = table["level"].to_numpy(), 2 * table["label"].to_numpy(int)
    extreme = level != 1

    def kappa(a: np.ndarray, b: np.ndarray, weights: np.ndarray, labels: list[int], kind: str | None = None) -> float:
        # Where one of the two is always the same, kappa is 0 or has no value, whatever the other says.
        if min(len(set(a)), len(set(b))) < 2:
            return np.nan
        return cohen_kappa_score(a, b, labels=labels, weights=kind, sample_weight=weights)

    def values(rows: np.ndarray, weight: np.ndarray) -> list[float]:
        a, b, far = folder[rows], level[rows], extreme[rows]
        return [
            kappa(a == 2, b == 2, weight, [False, True]),
            kappa(a[far], b[far], weight[far], [0, 2]),
            kappa(a, b, weight, [0, 1, 2], "linear"),
            float(np.average((a == b)[far], weights=weight[far])) if weight[far].any() else np.nan,
            float(np.average(~far, weights=weight)),
        ]

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        every = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        return np.array([values(rows, one) for one in every])

    # All groups are one stratum: kept apart by label, those whose films carry both would be in every resample, and with
    # them the same disagreement.
    frame = table.assign(y_true=0, seed=0)
    if max(map(len, strata(table["group"], table["label"])[1])) < 2:
        return {}
    point, drawn = resample(frame, statistic, n_resamples, seed)
    size = {"n_files": len(table), "n_groups": table["group"].nunique(), "note": table["name"].iloc[0]}
    names = ("kappa", "kappa_extremes", "kappa_weighted", "same", "osteopenia")
    return {
        name: Estimate(float(point[k]), *np.nanquantile(drawn[:, k], [0.025, 0.975]).tolist(), **size)
        for k, name in enumerate(names)
        if np.isfinite(point[k])
    }


def followed(
    models: Mapping[str, pd.DataFrame], table: pd.DataFrame, n_permutations: int, n_resamples: int, seed: int
) -> tuple[pd.DataFrame, dict[str, Estimate]]:
    """`questions`, `difference` and `trend` of every model: the questions with the column model, and all by name.

    Names are those of metrics, `<model>/<follows>_<among>/auroc`, `<model>/folder_minus_reference/auroc` and
    `<model>/trend`.
    """
    asked, found = [], {}
    for model, predictions in models.items():
        rows = questions(predictions, table, n_permutations, n_resamples, seed)
        asked.append(rows.assign(model=model))
        for row in rows.itertuples():
            size = {"n_files": row.n_files, "n_groups": row.n_groups, "note": "persons resampled"}
            found[f"{model}/{row.follows}_{row.among}/auroc"] = Estimate(row.value, row.low, row.high, **size)
        found[f"{model}/folder_minus_reference/auroc"] = difference(predictions, table, n_resamples, seed)
        found[f"{model}/trend"] = trend(predictions, table, n_resamples, seed)
    known = {name: estimate for name, estimate in found.items() if estimate is not None}
    return pd.concat(asked, ignore_index=True), known


def questions(
    predictions: pd.DataFrame, table: pd.DataFrame, n_permutations: int, n_resamples: int, seed: int
) -> pd.DataFrame:
    """What the scores of one model follow: the folder, the reference, or one of the two among films of one class of the other.

    `predictions` are out of fold, one recipe and variant, `table` is that of `joined`. One row per question that can be
    asked: question, follows (folder or reference), among (which films), AUROC value, low, high; chance, chance_low and
    chance_high (mean and 95 % range with labels exchanged between persons), p_value (one-sided: share of exchanges that reach the value),
    n_files, n_groups (persons). Intervals resample persons.
    """
    merged = _with_level(predictions, table)
    extremes = merged[merged["level"] != 1]
    graded = extremes.assign(y_true=(extremes["level"] == 2).astype(int))
    asked = {
        "folder, all films with a reference": ("folder", "all", merged),
        "folder, reference normal or osteoporosis": ("folder", "extremes", extremes),
        "reference, normal against osteoporosis": ("reference", "extremes", graded),
        **{
            f"folder, among films of reference {name}": ("folder", name, merged[merged["level"] == level])
            for level, name in enumerate(GRADES)
        },
        **{
            f"reference, among films of the folder {GRADES[2 * label]}": (
                "reference", f"folder_{GRADES[2 * label]}", graded[extremes["y_true"] == label],
            )
            for label in (0, 1)
        },
    }  # fmt: skip
    rows = []
    for question, (follows, among, part) in asked.items():
        if part.drop_duplicates("image_id")["y_true"].value_counts().reindex([0, 1], fill_value=0).min() < FEWEST:
            continue
        try:
            found = evaluation.summarise(part, ["auroc"], n_resamples, seed)["auroc"]
        except Undefined:
            continue
        chance, p_value = _chance(part, found.value, n_permutations, seed)
        size = found.n_files, found.n_groups
        rows.append((question, follows, among, found.value, found.low, found.high, *chance, p_value, *size))
    return pd.DataFrame(rows, columns=list(ASKED))


def difference(predictions: pd.DataFrame, table: pd.DataFrame, n_resamples: int, seed: int) -> Estimate | None:
    """AUROC on the folder minus AUROC on the reference, normal against osteoporosis, on the same films.

    Persons are resampled. None where a label has fewer than `FEWEST` films of a class.
    """
    merged = _with_level(predictions, table)
    frame = merged[merged["level"] != 1].reset_index(drop=True)
    folder, reference = frame["y_true"].to_numpy(), (frame["level"] == 2).to_numpy(int)
    once = ~frame["image_id"].duplicated().to_numpy()
    if min(np.bincount(labels[once], minlength=2).min() for labels in (folder, reference)) < FEWEST:
        return None
    score = frame["y_prob"].to_numpy()

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        first, second = (
            measure(labels[rows], score[rows], ["auroc"], weights)["auroc"] for labels in (folder, reference)
        )
        return (first - second)[:, None]

    point, drawn = resample(frame, statistic, n_resamples, seed)
    low, high = np.nanquantile(drawn[:, 0], [0.025, 0.975])
    n_files, n_groups = frame["image_id"].nunique(), frame["group"].nunique()
    return Estimate(float(point[0]), float(low), float(high), n_files, n_groups, note="paired, persons resampled")


def _with_level(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Predictions of the films with a reference, with its level."""
    return predictions.merge(table[["image_id", "level"]], on="image_id")


def _chance(part: pd.DataFrame, reached: float, n_permutations: int, seed: int) -> tuple[tuple[float, ...], float]:
    """Mean and 95 % range of the AUROC when labels are exchanged between persons, and the share that reaches the true one.

    Where films of a person differ in label, each label of the person is a unit of its own.
    """
    units = part[["group", "y_true"]].drop_duplicates(ignore_index=True)
    place = pd.MultiIndex.from_frame(units).get_indexer(pd.MultiIndex.from_frame(part[["group", "y_true"]]))
    rng, labels = np.random.default_rng(seed), units["y_true"].to_numpy()
    score, of_seed = part["y_prob"].to_numpy(), list(part.groupby("seed").indices.values())
    found = []
    for _ in range(n_permutations):
        drawn = rng.permutation(labels)[place]
        found.append(np.mean([measure(drawn[rows], score[rows], ["auroc"])["auroc"][0] for rows in of_seed]))
    low, high = np.quantile(found, [0.025, 0.975])
    chance = float(np.mean(found)), float(low), float(high)
    return chance, (1 + int((np.array(found) >= reached).sum())) / (n_permutations + 1)


def trend(predictions: pd.DataFrame, table: pd.DataFrame, n_resamples: int, seed: int) -> Estimate | None:
    """Spearman's rank correlation of the scores with the reference (its number, or its class), persons resampled.

    None where the reference or the score has one level, or all resamples are the same.
    """
    severity = table["level"] if table["severity"].isna().any() else table["severity"]
    merged = predictions.merge(table.assign(severity=severity)[["image_id", "severity"]], on="image_id")
    if merged["severity"].nunique() < 2 or (merged.groupby("seed")["y_prob"].nunique() < 2).any():
        return None
    if max(map(len, strata(merged["group"], merged["y_true"])[1])) < 2:
        return None
    score, order = merged["y_prob"].to_numpy(), merged["severity"].to_numpy(float)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        every = [np.ones(len(rows), int)] if weights is None else weights
        drawn = (np.repeat(rows, count) for count in every)
        return np.array([[stats.spearmanr(score[chosen], order[chosen]).statistic] for chosen in drawn])

    point, drawn = resample(merged, statistic, n_resamples, seed)
    low, high = np.nanquantile(drawn[:, 0], [0.025, 0.975])
    n_files, n_groups = merged["image_id"].nunique(), merged["group"].nunique()
    return Estimate(float(point[0]), float(low), float(high), n_files, n_groups, note="persons resampled")
