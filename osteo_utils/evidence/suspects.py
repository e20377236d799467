"""Suspects: films whose label the out-of-fold scores contradict, and films that do not belong to the study.

Both are lists to look at. No split, fit or score reads them, so nothing is removed by them. A suspect is not a wrong
label: where the scores have learnt something other than the disease, the films that do not follow it are the suspects.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from osteo_utils.protocols import splits
from osteo_utils.statistics import evaluation, novelty, scores
from osteo_utils.statistics.metrics import Undefined, measure
from osteo_utils.study.results import CONTRACTS, Estimate

# Robust standard deviations beyond which a value counts as an outlier (Iglewicz and Hoaglin 1993).
FAR = 3.5
# Share of the study that a film's distance reaches.
NEAR = 0.1
FIRST = 50
# How a reference label relates to the folder of a film.
SAYS = ("the same class", "osteopenia", "the other class")


def scores_of(models: Mapping[str, pd.DataFrame], primary_recipe: str) -> pd.DataFrame:
    """The predictions that label suspects are ranked by, of all models, with the column model.

    Those of the probes (recipe `none`), fitted for every split seed, else of the primary recipe; of the protocol that
    keeps conflicts, `grouped_all`, else of `grouped`; on whole films. `by_file` is never used, because there a copy in
    the training folds vouches for its label.
    """
    parts = []
    for name, table in models.items():
        full = table[table["variant"] == "full"]
        for column, first, other in (("recipe", "none", primary_recipe), ("protocol", "grouped_all", "grouped")):
            full = full[full[column] == (first if first in set(full[column]) else other)]
        parts.append(full.assign(model=name))
    return pd.concat(parts, ignore_index=True)


def labels(predictions: pd.DataFrame, images: pd.DataFrame, knee: str = "group") -> pd.DataFrame:
    """Films by how far the scores contradict their label, the strongest contradiction first: contract `suspect_labels`.

    `predictions` are those of `scores_of`, `images` has image_id, class_name, label (0, 1), group and the column `knee`
    that says which films show the same knee. `osteoporosis` is the probability, averaged over models, seeds and the
    films of a knee; `spread` its standard deviation over models and seeds (empty for one of each). `self_confidence` is
    the probability of the film's own label, `margin` the same minus its mean over the films of that label. `threshold`
    is the mean probability of the other label among the films that carry it; a suspect (1) reaches it, and does not
    reach that of its own label or falls below the other's probability. `rank` goes by the margin, which puts suspects of
    both classes first, and counts films of one knee and label once, as they share their fate.
    Source: Northcutt, Jiang and Chuang 2021, "Confident learning", J Artif Intell Res 70, section 3.1. As there, the
    thresholds stand for a calibration; one by a line from logit to label does not rank better (benchmarks/suspects.py).
    Raises ValueError where a group lies in two folds, or a film has no row in `images`.
    """
    rows = images.assign(knee=images[knee]).set_index("image_id")
    if missing := sorted(set(predictions["image_id"]) - set(rows.index)):
        raise ValueError(f"suspects: {missing[0]} is scored and not among the {len(rows)} films; run 02_eda again")
    for _, arm in predictions.groupby(["model", "seed"]):
        splits.check_no_leak(arm.set_index("image_id")["fold"], arm.set_index("image_id")["group"])
    scored = predictions.assign(knee=predictions["image_id"].map(rows["knee"]))
    arms = scored.groupby(["knee", "model", "seed"])["y_prob"].mean().groupby("knee")
    table = rows.loc[rows.index.isin(scored["image_id"]), ["class_name", "group", "label", "knee"]].reset_index()
    table = table.assign(osteoporosis=table["knee"].map(arms.mean()), spread=table["knee"].map(arms.std()))
    label, probability = table["label"].to_numpy(int), table["osteoporosis"].to_numpy()
    both = np.column_stack([1 - probability, probability])
    means = np.array([both[label == one, one].mean() for one in (0, 1)])
    every = np.arange(len(table))
    own, other = both[every, label], both[every, 1 - label]
    contradicted = (other >= means[1 - label]) & ((own < means[label]) | (other > own))
    table = table.assign(self_confidence=own, margin=own - means[label], threshold=means[1 - label])
    table = table.assign(suspect=contradicted.astype(int))
    table = table.sort_values(["margin", "knee", "image_id"], ignore_index=True)
    new = ~table.duplicated(["knee", "label"])
    return table.assign(rank=new.cumsum())[list(CONTRACTS["suspect_labels"].columns)]


def films(features: Mapping[str, np.ndarray], images: pd.DataFrame, masks: pd.DataFrame) -> pd.DataFrame:
    """Films by how far they lie from the films of other groups, the farthest first: contract `suspect_films`.

    `features` holds for each network the features (n, c) of `images` (image_id, class_name, group), in their order. A
    film's distance is that to a tenth of the study (`NEAR`, at least five films), so strangers that are fewer cannot
    vouch for one another. Its own group does not count. `distance` is in robust standard deviations from the study's
    median, averaged over networks; `far` (1) is beyond `FAR`. `masks` has image_id, plausible and reason; `mask` is the
    reason why the bone mask is not plausible, empty where it is. Raises ValueError where fewer than five films lie
    outside the largest group.
    """
    groups = images["group"].to_numpy()
    others = len(groups) - int(images["group"].value_counts().max())
    if others < novelty.NEIGHBOURS:
        raise ValueError(
            f"suspects: {others} of {len(groups)} films lie outside the largest group; expected at least "
            f"{novelty.NEIGHBOURS} to compare with, so add films of other knees"
        )
    near = min(max(novelty.NEIGHBOURS, round(NEAR * len(groups))), others)
    away = [_robust(novelty.distances_to_others(one, groups, near)) for one in features.values()]
    distance = np.mean(away, axis=0)
    measured = masks.set_index("image_id").loc[images["image_id"]]
    reason = measured["reason"].fillna("").where(measured["plausible"] == 0, "").to_numpy()
    table = images[["image_id", "class_name", "group"]].assign(
        distance=distance, far=(distance > FAR).astype(int), mask=reason
    )
    table = table.sort_values(["distance", "image_id"], ascending=[False, True], ignore_index=True)
    return table.assign(rank=table.index + 1)[list(CONTRACTS["suspect_films"].columns)]


def _robust(values: np.ndarray) -> np.ndarray:
    spread = stats.median_abs_deviation(values, scale="normal")
    return (values - np.median(values)) / spread if spread else np.zeros(len(values))


def judged(
    table: pd.DataFrame, wrong: pd.Series, n_permutations: int, n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """How well the ranking of `labels` puts wrong labels first; empty where none or all of them are wrong.

    `wrong` (bool, by image_id) names the films to judge it on, by a truth or a reference label. `average_precision` and
    `auroc` have intervals over groups. `chance` is the average precision, with its 95 % range, of probabilities that are
    exchanged between the groups; with few wrong labels it lies above their share, `share`.
    """
    known = table[table["image_id"].isin(wrong.index)].reset_index(drop=True)
    truth = known["image_id"].map(wrong).to_numpy(bool)
    if truth.all() or not truth.any():
        return {}
    frame = known.assign(y_true=truth.astype(int), y_prob=(1 - known["margin"]) / 2, seed=0)
    try:
        found = evaluation.summarise(frame, ["auprc", "auroc"], n_resamples, seed)
    except Undefined:
        return {}
    size = {"n_files": len(known), "n_groups": known["group"].nunique()}
    of_group, names = pd.factorize(known["group"])
    mean, sick = known["osteoporosis"].groupby(of_group).mean().to_numpy(), known["label"].to_numpy() == 1
    usual = (known["self_confidence"] - known["margin"]).to_numpy()
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(n_permutations):
        probability = mean[rng.permutation(len(names))][of_group]
        margin = np.where(sick, probability, 1 - probability) - usual
        drawn.append(measure(truth, (1 - margin) / 2, ["auprc"])["auprc"][0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "average_precision": found["auprc"],
        "auroc": found["auroc"],
        "chance": Estimate(float(np.mean(drawn)), float(low), float(high), **size, note="exchanged between groups"),
        "share": Estimate(float(truth.mean()), **size, note=f"{int(truth.sum())} of {len(known)} films"),
    }


def beside_reference(table: pd.DataFrame, known: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The films of a table of `labels` with a reference label, and whether that names the other class.

    `known` is the table of `reference_label.joined`. The first result has the person as group, and `says`, how the
    reference relates to the folder, one of SAYS. The second, for `judged`, has the films whose reference is normal or
    osteoporosis, by image_id.
    """
    joined = table.drop(columns="group").merge(known[["image_id", "level", "group"]], on="image_id")
    extreme, other = joined["level"] != 1, joined["level"] != 2 * joined["label"]
    joined["says"] = np.where(~extreme, SAYS[1], np.where(other, SAYS[2], SAYS[0]))
    return joined, other[extreme].set_axis(joined.loc[extreme, "image_id"])


def counted(joined: pd.DataFrame) -> pd.DataFrame:
    """Films by what the reference says of them, of the first result of `beside_reference`.

    Rows: the suspects, the first `FIRST` of these films, all others, all. `osteopenia` counts for neither class.
    """
    first = np.arange(len(joined)) < FIRST
    suspect = (joined["suspect"] == 1).to_numpy()
    parts = {"suspects": suspect, f"the first {first.sum()}": first, "not suspects": ~suspect, "all": suspect | True}
    counts = pd.DataFrame({name: joined.loc[part, "says"].value_counts() for name, part in parts.items()}).T
    return counts.reindex(columns=list(SAYS)).fillna(0).astype(int).rename_axis("films").reset_index()


def shares(joined: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Share of films whose reference names the same and the other class, of the suspects and of all others.

    `joined` is the first result of `beside_reference`; intervals resample persons. Empty where one of both has no film.
    """
    parts = {"suspects": joined[joined["suspect"] == 1], "others": joined[joined["suspect"] == 0]}
    if any(part.empty for part in parts.values()):
        return {}
    return {
        f"{short}_of_{name}": scores.mean_estimate(
            (part["says"] == says).astype(float), part["group"], n_resamples, seed
        )
        for name, part in parts.items()
        for short, says in (("same", SAYS[0]), ("other", SAYS[2]))
    }


def in_words(metrics: Mapping[str, Estimate]) -> str:
    """Say how many films are suspects and whether these are wrong more often than other films; "" where none were ranked.

    From `suspects/...`. They are wrong more often where the whole interval of their share lies above that of other films;
    the scores contradict right labels where the reference confirms the folder of suspects more often, by the same rule.
    """
    if "suspects/labels" not in metrics:
        return ""
    count = metrics["suspects/labels"]
    text = (
        f"The out-of-fold scores contradict the label of {count.value:.0f} of {count.n_files} films, the suspects; "
        f"{metrics['suspects/far_films'].value:.0f} films lie far from all others. Nothing was removed."
    )
    for against, known in (("truth", "the true label"), ("reference", "a reference of normal or osteoporosis")):
        if (name := f"suspects/{against}/average_precision") in metrics:
            chance, share = metrics[f"suspects/{against}/chance"], metrics[f"suspects/{against}/share"]
            text += (
                f" Against {known} the list has an average precision of {metrics[name]} for wrong labels, of "
                f"which there are {share.note}; chance gives {chance}."
            )
    names = [f"suspects/reference/{says}_of_{films}" for says in ("other", "same") for films in ("suspects", "others")]
    if names[0] not in metrics:
        return text
    other, other_rest, same, same_rest = (metrics[name] for name in names)
    text += (
        f" The reference names the other class for {other.value:.0%} of the suspects and {other_rest.value:.0%} of other "
        f"films, and the folder's own class for {same.value:.0%} and {same_rest.value:.0%}"
    )
    if None in (other.low, same.low, other_rest.low, same_rest.low):
        return f"{text}, of too few persons to compare."
    if other.low > other_rest.high:
        return f"{text}, so the suspects are wrong more often."
    if same.low > same_rest.high:
        text += (
            ". So the reference confirms the folder of suspects more often than that of other films; to remove them would "
            "remove labels that it confirms"
        )
        return f"{text}."
    return f"{text}, so the suspects are not shown to be wrong more often."
