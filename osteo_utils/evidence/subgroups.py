"""How well a model does on some of the films: one kind, those that two models agree on, the most certain ones.

Nothing is fitted, and a subgroup is not an experiment: films of one kind may differ in other ways, label included.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from osteo_utils.images import image_store
from osteo_utils.statistics import evaluation
from osteo_utils.statistics.evaluation import align, check
from osteo_utils.statistics.metrics import TAILS
from osteo_utils.statistics.resampling import resample

FEWEST_GROUPS = 10


def agreement(pred_a: pd.DataFrame, pred_b: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Compare the films on which two models agree with those on which they differ.

    Rows "both say the same" and "they differ" (there the mean probability decides). Columns films, coverage (their share
    of all), coverage_low, coverage_high, accuracy, low, high. Threshold 0.5; intervals from a bootstrap over groups. NaN
    where a row has no film, or has none in some resample.
    """
    pair = align({"a": pred_a, "b": pred_b})
    frame = pair["a"]
    probs = np.stack([arm["y_prob"].to_numpy() for arm in pair.values()])
    same = (probs >= 0.5).all(axis=0) | (probs < 0.5).all(axis=0)
    right = (probs.mean(axis=0) >= 0.5) == (frame["y_true"].to_numpy() == 1)
    kept = np.stack([same, ~same], axis=1)
    found = _kept(frame, kept, right, n_resamples, seed)
    found.insert(0, "films", kept.sum(axis=0) // frame["seed"].nunique())
    found.insert(0, "name", ["both say the same", "they differ"])
    return found


def most_certain(
    predictions: pd.DataFrame, coverages: np.ndarray | None = None, n_resamples: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Trace accuracy by the share of films that a model decides; the least certain are left to a human.

    Certainty is the distance of the probability from 0.5. A film is decided above the cut-off that the wanted share of
    the other folds' films passes, so no film influences its own cut-off. Columns wanted (the share aimed at), then as in
    `agreement`, with coverage the share reached. `coverages` (k,) in (0, 1]. Raises ValueError where a seed has only one
    fold.
    """
    frame = check(predictions)
    wanted = np.linspace(0.1, 1, 19) if coverages is None else np.asarray(coverages, float)
    if not ((wanted > 0) & (wanted <= 1)).all():
        raise ValueError(f"coverages are {wanted.tolist()}; expected shares above 0 and at most 1")
    certainty = (frame["y_prob"] - 0.5).abs().to_numpy()
    kept = np.zeros((len(frame), len(wanted)), dtype=bool)
    for _, rows in frame.groupby("seed").indices.items():
        folds = frame["fold"].to_numpy()[rows]
        if len(np.unique(folds)) < 2:
            raise ValueError("the predictions have only one fold; the cut-off is chosen on the other folds")
        for fold in np.unique(folds):
            cut_off = np.quantile(certainty[rows[folds != fold]], 1 - wanted, method="higher")
            cut_off[wanted == 1] = 0
            here = rows[folds == fold]
            kept[here] = certainty[here, None] >= cut_off
    right = (frame["y_prob"] >= 0.5).to_numpy() == (frame["y_true"].to_numpy() == 1)
    found = _kept(frame, kept, right, n_resamples, seed)
    found.insert(0, "wanted", wanted)
    return found


def _kept(frame: pd.DataFrame, kept: np.ndarray, right: np.ndarray, n_resamples: int, seed: int) -> pd.DataFrame:
    """Coverage and accuracy, with intervals, of each column of kept (n, k)."""

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        w = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        count = w @ kept[rows]
        hits = w @ (kept[rows] & right[rows, None])
        accuracy = np.divide(hits, count, out=np.full(count.shape, np.nan), where=count > 0)
        return np.concatenate([count / w.sum(axis=1, keepdims=True), accuracy], axis=1)

    values, resampled = resample(frame, statistic, n_resamples, seed)
    low, high = np.quantile(resampled, TAILS, axis=0)
    names = ["coverage", "accuracy", "coverage_low", "low", "coverage_high", "high"]
    table = pd.DataFrame(dict(zip(names, np.concatenate([values, low, high]).reshape(6, -1), strict=True)))
    return table[["coverage", "coverage_low", "coverage_high", "accuracy", "low", "high"]]


def of_files(images: pd.DataFrame, stored: np.ndarray) -> dict[str, pd.Series]:
    """The subgroup of each film under each heading, indexed by image_id.

    `images` are manifest rows with their knee; `stored` is the image store. Resolution and brightness are split at the
    median. No file records whether a film shows one knee or two, so there is no such heading.
    """
    table = images.set_index("image_id")
    longest = table[["width", "height"]].max(axis=1)
    light = pd.Series([float(image_store.film(stored, row).mean()) for row in images.itertuples()], index=table.index)
    ratio = table.height / table.width
    shape = np.where(ratio > 1.5, "tall (over 3:2)", np.where(ratio < 1, "lying", "nearly square"))
    return {
        "resolution": _halves(longest, "longer side up to {:.0f} pixels", "longer side above {:.0f} pixels"),
        "shape": pd.Series(shape, table.index),
        "file type": table.format.astype(str),
        "brightness": _halves(light, "mean grey up to {:.0f}", "mean grey above {:.0f}"),
        "films of the knee": table.groupby("knee").knee.transform("size").gt(1).map({False: "one", True: "several"}),
    }


def _halves(values: pd.Series, lower: str, upper: str) -> pd.Series:
    middle = values.median()
    return pd.Series(np.where(values <= middle, lower.format(middle), upper.format(middle)), values.index)


def summarise(
    predictions: pd.DataFrame, headings: Mapping[str, pd.Series], n_resamples: int, seed: int
) -> pd.DataFrame:
    """Accuracy and AUROC of one arm in every subgroup, with group-bootstrap intervals; one row each.

    Columns heading, subgroup, n_files, n_groups, osteoporosis (share), accuracy, accuracy_low, accuracy_high, auroc,
    auroc_low, auroc_high. With fewer than `FEWEST_GROUPS` groups of either class the scores stay empty. Raises
    ValueError for a film without a subgroup.
    """
    rows = []
    for heading, subgroups in headings.items():
        subgroup = predictions.image_id.map(subgroups)
        if subgroup.isna().any():
            lost = predictions.image_id[subgroup.isna()].iloc[0]
            raise ValueError(f"{heading}: no subgroup for {lost}; `headings` must cover every film")
        for name, part in predictions.groupby(subgroup):
            row = {"heading": heading, "subgroup": name, "n_files": part.image_id.nunique()}
            row |= {"n_groups": part.group.nunique(), "osteoporosis": part.y_true.mean()}
            if part.groupby("y_true").group.nunique().reindex([0, 1], fill_value=0).min() >= FEWEST_GROUPS:
                found = evaluation.summarise(part, ("accuracy", "auroc"), n_resamples, seed)
                for score, one in found.items():
                    row |= {score: one.value, f"{score}_low": one.low, f"{score}_high": one.high}
            rows.append(row)
    columns = ["heading", "subgroup", "n_files", "n_groups", "osteoporosis"]
    columns += [f"{score}{end}" for score in ("accuracy", "auroc") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows).reindex(columns=columns)
