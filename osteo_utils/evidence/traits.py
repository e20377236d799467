"""What the folder name goes with among films that are alike by a reference label: which family of features, which trait.

The model is that of `shortcuts`: a linear one, out of fold, persons kept apart, beside shuffled labels. Every number is cut
at its quantiles, so that any shape of dependence counts. Many traits are asked, so each p value is also corrected: it is
the share of shuffles in which the best of all that were asked reaches the value (Westfall and Young 1993, single step).
Traits that go together, as those of one scanner do, cost no power that way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from sklearn.preprocessing import StandardScaler

from osteo_utils.evidence import shortcuts
from osteo_utils.protocols import splits
from osteo_utils.statistics import evaluation
from osteo_utils.statistics.metrics import TAILS, measure
from osteo_utils.statistics.resampling import Statistic, resample
from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study import results
from osteo_utils.study.results import Estimate

# With fewer persons of either folder nothing is asked: folds of one or two persons a class say nothing.
FEWEST_PERSONS = 10
# How many single traits get an interval; the others have their value and p values alone.
SHOWN = 6
UNIT = "families and traits"

Families = Mapping[str, np.ndarray | pd.DataFrame]


class Answers(NamedTuple):
    """`table` has a row for each family, trait and network, as the contract `traits` says; `metrics` by name."""

    table: pd.DataFrame
    metrics: dict[str, Estimate]


def indicators(values: pd.Series) -> np.ndarray:
    """A trait as columns of 0 and 1, (n, k): one for each word or, of a number, for each sixth of the films.

    A number with no more values than that has a column for each; equal numbers stay together; not known is a value too.
    """
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > shortcuts.BINS:
        values = pd.qcut(values.rank(), shortcuts.BINS, labels=False, duplicates="drop")
    codes = pd.factorize(values, sort=True, use_na_sentinel=False)[0]
    return np.eye(codes.max() + 1)[codes]


def ask(
    families: Families,
    traits: pd.DataFrame,
    scores: Mapping[str, pd.DataFrame],
    table: pd.DataFrame,
    n_folds: int,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> Answers:
    """How well families and single traits tell the folder name among films of one class of the reference.

    `table` is that of `reference_label.joined` with the column conflict; families (n, ...) and traits have its rows. Films
    of a knee under both labels are left out, as under `grouped`. `scores` are out-of-fold predictions of networks by what
    they are called, the first of them the one to be explained.

    Rows of the table, best first within a kind: among (class of the reference), kind (family, trait, network), name,
    AUROC value, low, high; shuffled, shuffled_low, shuffled_high, p_value (one-sided), p_corrected (for all families and
    traits asked among these films); normal and osteoporosis (median of a number or commonest word in either folder);
    n_files, n_groups (persons). Metrics: see `leading`; a class that was not asked has `traits/<grade>/asked` of 0 with
    the reason as its note.
    """
    answers, found = [], {}
    for level, grade in enumerate(GRADES):
        rows = np.flatnonzero(((table["level"] == level) & (table["conflict"] == 0)).to_numpy())
        if not len(rows):
            continue
        part = table.iloc[rows].reset_index(drop=True)
        persons = [int(part.loc[part["label"] == label, "group"].nunique()) for label in (0, 1)]
        try:
            if min(persons) < FEWEST_PERSONS:
                raise ValueError(f"fewer than {FEWEST_PERSONS} persons in a folder")
            folds = splits.make_folds(part, "grouped_all", n_folds, seed).set_index("image_id")["fold"]
        except ValueError as error:
            reason = f"{persons[0]} persons under normal, {persons[1]} under osteoporosis: {error}"
            size = {"n_files": len(part), "n_groups": part["group"].nunique()}
            found[f"traits/{grade}/asked"] = Estimate(0, **size, unit=UNIT, note=reason)
            continue
        asked = {("family", name): features.iloc[rows] if isinstance(features, pd.DataFrame) else features[rows]
                 for name, features in families.items()}  # fmt: skip
        asked |= {("trait", name): values.iloc[rows].to_frame() for name, values in traits.items()}
        one = _asked(asked, part, folds.loc[part["image_id"]].to_numpy(), n_permutations, n_resamples, seed)
        networks = _networks(scores, part, n_resamples, seed)
        answers.append(pd.concat([one.table, *(row for row, _ in networks.values())]).assign(among=grade))
        found |= leading(one, grade)
        if (first := next(iter(scores), "")) in networks:
            explained = networks[first][1]
            found |= beside(one, explained, traits.iloc[rows].reset_index(drop=True), grade, n_resamples, seed)
    columns = list(results.CONTRACTS["traits"].columns)
    every = pd.concat(answers, ignore_index=True)[columns] if answers else pd.DataFrame(columns=columns)
    results.check_table(every, "traits", "traits")
    return Answers(every, found)


class _Asked(NamedTuple):
    table: pd.DataFrame
    predictions: dict[tuple[str, str], pd.DataFrame]


def _asked(
    asked: Mapping[tuple[str, str], np.ndarray | pd.DataFrame], part: pd.DataFrame, fold: np.ndarray,
    n_permutations: int, n_resamples: int, seed: int,
) -> _Asked:  # fmt: skip
    """Every set of features with the same shuffles, so that the best of a shuffle is the best of all sets together."""
    shuffled = shortcuts.shuffled_labels(part, fold, n_permutations, seed)
    labels = np.column_stack([part["label"].to_numpy(int), shuffled])
    rows, predictions = [], {}
    for (kind, name), features in asked.items():
        known = isinstance(features, pd.DataFrame)
        if known and (features.nunique(dropna=False) < 2).all():
            continue
        prepared = _of_table(features, fold) if known else shortcuts.prepare(features, fold)
        score = predict(prepared, fold, labels)
        reached = _aurocs(labels, score)
        predictions[kind, name] = part[["image_id", "group"]].assign(
            seed=0, fold=fold, y_true=labels[:, 0], y_prob=expit(4 * score[:, 0])
        )
        rows.append({"kind": kind, "name": name, "value": reached[0], "reached": reached[1:]})
        if kind == "trait":
            rows[-1] |= {
                folder: _typical(features[name][labels[:, 0] == label])
                for label, folder in enumerate(evaluation.CLASSES)
            }
    rows = sorted(rows, key=lambda row: (row["kind"], -row["value"]))
    best = np.max([row["reached"] for row in rows], axis=0)
    place = dict.fromkeys(("family", "trait"), 0)
    for row in rows:
        reached = row.pop("reached")
        row |= dict(zip(("shuffled_low", "shuffled_high"), np.quantile(reached, TAILS), strict=True))
        row |= {
            "shuffled": reached.mean(),
            "p_value": _share(reached, row["value"]),
            "p_corrected": _share(best, row["value"]),
        }
        row |= {"n_files": len(part), "n_groups": part["group"].nunique()}
        place[row["kind"]] += 1
        if row["kind"] == "family" or place["trait"] <= SHOWN:
            row |= _interval(predictions[row["kind"], row["name"]], n_resamples, seed)
    return _Asked(pd.DataFrame(rows), predictions)


def _of_table(features: pd.DataFrame, fold: np.ndarray) -> dict[int, np.ndarray]:
    """For every fold the traits of all films as indicators, scaled as its training films say."""
    columns = np.column_stack([indicators(features[name]) for name in features])
    return {
        int(number): StandardScaler().fit(columns[(fold >= 0) & (fold != number)]).transform(columns)
        for number in sorted(set(fold) - {splits.LEFT_OUT})
    }


def predict(prepared: Mapping[int, np.ndarray], fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What `shortcuts` predicts for each column of labels (n, k), before its logistic curve: (n, k), by fold.

    One solution per fold serves all columns; with hundreds of shuffles and of traits that is what takes the time.
    """
    distance, found = np.zeros(labels.shape), np.full(labels.shape, np.nan)
    for number in prepared:
        distance[fold == number] = labels[fold == number] - labels[fold == number].mean(axis=0)
    for number, columns in prepared.items():
        train, test = (fold >= 0) & (fold != number), fold == number
        middle = columns[train].mean(axis=0)
        known, asked = columns[train] - middle, columns[test] - middle
        weight = np.linalg.solve(known.T @ known + shortcuts.PENALTY * np.eye(known.shape[1]), asked.T).T @ known.T
        mean = distance[train].mean(axis=0)
        found[test] = mean + weight @ (distance[train] - mean)
    return found


def _aurocs(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC of each column of scores (n, k) at its own column of labels, by mean ranks (Mann and Whitney 1947)."""
    positive = labels.sum(axis=0)
    ranks = (stats.rankdata(scores, axis=0) * labels).sum(axis=0)
    return (ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


def _share(reached: np.ndarray, value: float) -> float:
    # Rounding must not part equal values.
    return (1 + int((reached >= value - 1e-12).sum())) / (len(reached) + 1)


def _interval(predictions: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, float]:
    found = evaluation.summarise(predictions, ["auroc"], n_resamples, seed)["auroc"]
    return {"low": found.low, "high": found.high}


def _typical(values: pd.Series) -> str:
    if values.isna().all():
        return "not known"
    if not pd.api.types.is_numeric_dtype(values):
        return str(values.mode().iloc[0])
    middle = values.median()
    return f"{middle:.3g}" if abs(middle) < 1000 else f"{middle:,.0f}"


def _networks(
    scores: Mapping[str, pd.DataFrame], part: pd.DataFrame, n_resamples: int, seed: int
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """For each set of predictions that has both folders among the films: its row of the answers, and the films' scores."""
    found = {}
    for name, predictions in scores.items():
        own = predictions.drop(columns="group").merge(part[["image_id", "group"]], on="image_id")
        if own.groupby("y_true")["group"].nunique().reindex([0, 1], fill_value=0).min() < FEWEST_PERSONS:
            continue
        value = evaluation.summarise(own, ["auroc"], n_resamples, seed)["auroc"]
        row = {"kind": "network", "name": name, "value": value.value, "low": value.low, "high": value.high}
        found[name] = pd.DataFrame([row | {"n_files": value.n_files, "n_groups": value.n_groups}]), own
    return found


def leading(asked: _Asked, grade: str) -> dict[str, Estimate]:
    """The best trait and family of a class; the notes name them.

    `traits/<grade>/trait` and `.../family` are AUROCs, `.../trait_p` and `.../family_p` corrected p values (the note gives
    the trait's median or commonest word in either folder). `.../asked` counts the families and traits asked, `.../as_good`
    the further traits whose value lies within the interval of the best.
    """
    size = {"n_files": int(asked.table["n_files"].iloc[0]), "n_groups": int(asked.table["n_groups"].iloc[0])}
    found = {"asked": Estimate(len(asked.table), **size, unit=UNIT)}
    for kind, rows in asked.table.groupby("kind"):
        best = rows.iloc[0]
        found[kind] = Estimate(best["value"], best["low"], best["high"], **size, note=best["name"])
        typical = f"{best['normal']} under normal, {best['osteoporosis']} under osteoporosis" if kind == "trait" else ""
        found[f"{kind}_p"] = Estimate(best["p_corrected"], **size, note=typical)
    single = asked.table[asked.table["kind"] == "trait"]
    as_good = int((single["value"].iloc[1:] >= single["low"].iloc[0]).sum())
    found["as_good"] = Estimate(as_good, **size, unit="traits")
    return {f"traits/{grade}/{name}": estimate for name, estimate in found.items()}


def beside(
    asked: _Asked, networks: pd.DataFrame, traits: pd.DataFrame, grade: str, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """What networks reach beside the best family and trait, on the same films, persons resampled.

    `traits/<grade>/networks` is their AUROC, `.../networks_minus_family` the difference, and `.../networks_within` their
    AUROC over pairs of films that lie in the same part of the best trait; left out where parts with both folders hold
    fewer than `FEWEST_PERSONS` persons of either.
    """
    best = asked.table.drop_duplicates("kind").set_index("kind")["name"]
    family = asked.predictions["family", best["family"]]
    part = pd.Series(indicators(traits[best["trait"]]).argmax(axis=1), family["image_id"], name="part")
    both = networks.merge(family[["image_id", "y_prob"]].rename(columns={"y_prob": "family"}), on="image_id")
    both = both.merge(part, left_on="image_id", right_index=True)
    found = {"networks": evaluation.summarise(networks, ["auroc"], n_resamples, seed)["auroc"]}
    point, drawn = resample(both, _gap_and_within(both), n_resamples, seed)
    size = {"n_files": both["image_id"].nunique(), "n_groups": both["group"].nunique()}
    notes = f"minus the family {best['family']}, paired", f"pairs of films alike in {best['trait']}"
    # Where the trait parts nearly all films, the few pairs that it leaves say nothing.
    mixed = both[both.groupby("part")["y_true"].transform("nunique") == 2]
    left = mixed.groupby("y_true")["group"].nunique().reindex([0, 1], fill_value=0).min()
    for k, name in enumerate(("networks_minus_family", "networks_within")):
        if k == 0 or left >= FEWEST_PERSONS:
            low, high = np.nanquantile(drawn[:, k], TAILS)
            found[name] = Estimate(float(point[k]), float(low), float(high), **size, note=notes[k])
    return {f"traits/{grade}/{name}": estimate for name, estimate in found.items()}


def _gap_and_within(both: pd.DataFrame) -> Statistic:
    label, score, family, part = (both[name].to_numpy() for name in ("y_true", "y_prob", "family", "part"))

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        every = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        first, second = (measure(label[rows], p[rows], ["auroc"], every)["auroc"] for p in (score, family))
        right, pairs = np.zeros(len(every)), np.zeros(len(every))
        for number in np.unique(part):
            own, held = rows[part[rows] == number], every[:, part[rows] == number]
            here = (held @ label[own]) * (held @ (1 - label[own]))
            # A resample may leave a part with one folder alone; it then adds no pair.
            if (drawn := here > 0).any():
                right[drawn] += measure(label[own], score[own], ["auroc"], held[drawn])["auroc"] * here[drawn]
                pairs += here
        within = np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
        return np.column_stack([first - second, within])

    return statistic
