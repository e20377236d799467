"""How well a model does on some of the films: those of one kind, those that two models agree on, the most certain ones.

Nothing is fitted. A subgroup is no experiment: films of one kind may differ in much else, label included.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from osteo_utils.images import image_store
from osteo_utils.statistics import evaluation
from osteo_utils.statistics.evaluation import align, check
from osteo_utils.statistics.resampling import resample

FEWEST_GROUPS = 10


def agreement(
    pred_a: pd.DataFrame, pred_b: pd.DataFrame, n_resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Compare the films on which two models say the same with those on which they do not.

    Rows "both say the same" and "they differ" (there the verdict is that of the mean probability). Columns films,
    coverage (their share of all), coverage_low, coverage_high, accuracy, low, high. Threshold 0.5; intervals from
    a bootstrap over groups. NaN where no film, or in some resample none, is of that row.
    """
    pair = align({"a": pred_a, "b": pred_b})
    frame = pair["a"]
    probs = np.stack([arm["y_prob"].to_numpy() for arm in pair.values()])
    same = (probs >= 0.5).all(axis=0) | (probs < 0.5).all(axis=0)
    right = (probs.mean(axis=0) >= 0.5) == (frame["y_true"].to_numpy() == 1)
    kept = np.stack([same, ~same], axis=1)
    found = _kept(frame, kept, right, n_resamples, seed, level)
    found.insert(0, "films", kept.sum(axis=0) // frame["seed"].nunique())
    found.insert(0, "name", ["both say the same", "they differ"])
    return found


def most_certain(
    predictions: pd.DataFrame,
    coverages: np.ndarray | None = None,
    n_resamples: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Trace accuracy by the share of films that a model decides, the least certain being left to a human.

    Certainty is the distance of the probability from 0.5. The bar that a film has to pass to be decided is that
    which the wanted share of the other folds' films pass, so no film has a say in its own case. Columns wanted
    (the share asked for), then as in `agreement`, coverage being what was reached. `coverages` (k,) in (0, 1].
    Raises ValueError where a seed has one fold alone.
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
            raise ValueError("the predictions have one fold alone; the bar is chosen on the other folds")
        for fold in np.unique(folds):
            bar = np.quantile(certainty[rows[folds != fold]], 1 - wanted, method="higher")
            bar[wanted == 1] = 0
            here = rows[folds == fold]
            kept[here] = certainty[here, None] >= bar
    right = (frame["y_prob"] >= 0.5).to_numpy() == (frame["y_true"].to_numpy() == 1)
    found = _kept(frame, kept, right, n_resamples, seed, level)
    found.insert(0, "wanted", wanted)
    return found


def _kept(
    frame: pd.DataFrame, kept: np.ndarray, right: np.ndarray, n_resamples: int, seed: int, level: float
) -> pd.DataFrame:
    """Coverage and accuracy, with intervals, of each column of kept (n, k)."""

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        w = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        count = w @ kept[rows]
        hits = w @ (kept[rows] & right[rows, None])
        accuracy = np.divide(hits, count, out=np.full(count.shape, np.nan), where=count > 0)
        return np.concatenate([count / w.sum(axis=1, keepdims=True), accuracy], axis=1)

    values, drawn = resample(frame, statistic, n_resamples, seed)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    k = kept.shape[1]
    return pd.DataFrame(
        {
            "coverage": values[:k], "coverage_low": low[:k], "coverage_high": high[:k],
            "accuracy": values[k:], "low": low[k:], "high": high[k:],
        }
    )  # fmt: skip


def of_files(images: pd.DataFrame, stored: np.ndarray) -> dict[str, pd.Series]:
    """A word for each film under each heading, indexed by image_id.

    `images` are manifest rows with their group; `stored` the image store. Resolution and brightness are cut at the
    median film. Whether a film shows one knee or two is written in no file and is not guessed.
    """
    table = images.set_index("image_id")
    longest = table[["width", "height"]].max(axis=1)
    light = pd.Series([float(image_store.film(stored, row).mean()) for row in images.itertuples()], index=table.index)
    shape = table.height / table.width
    return {
        "resolution": _halves(longest, "longer side up to {:.0f} pixels", "longer side above {:.0f} pixels"),
        "shape": pd.Series(
            np.where(shape > 1.5, "tall (over 3:2)", np.where(shape < 1, "lying", "nearly square")),
            table.index,
        ),
        "file type": table.format.astype(str),
        "brightness": _halves(light, "mean grey up to {:.0f}", "mean grey above {:.0f}"),
        "films of the knee": table.groupby("group").group.transform("size").gt(1).map({False: "one", True: "several"}),
    }


def _halves(values: pd.Series, lower: str, upper: str) -> pd.Series:
    middle = values.median()
    return pd.Series(np.where(values <= middle, lower.format(middle), upper.format(middle)), values.index)


def judge(predictions: pd.DataFrame, headings: Mapping[str, pd.Series], n_resamples: int, seed: int) -> pd.DataFrame:
    """Accuracy and AUROC of one arm in every subgroup, with group-bootstrap intervals; one row each.

    Columns heading, subgroup, n_files, n_groups, osteoporosis (share), accuracy, accuracy_low, accuracy_high, auroc,
    auroc_low, auroc_high. With fewer than `FEWEST_GROUPS` groups of either class the scores stay empty. Raises
    ValueError for a film without a word.
    """
    rows = []
    for heading, words in headings.items():
        word = predictions.image_id.map(words)
        if word.isna().any():
            raise ValueError(f"{heading}: no word for {predictions.image_id[word.isna()].iloc[0]}; pass all its films")
        for name, part in predictions.groupby(word):
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
