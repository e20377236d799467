"""How well a model does on the kinds of film that the files tell apart.

Nothing is fitted. A subgroup is no experiment: films of one kind may differ in much else, label included.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from osteo_utils.data import radiographs
from osteo_utils.evidence import evaluation

FEWEST_GROUPS = 10


def of_files(images: pd.DataFrame, stored: np.ndarray) -> dict[str, pd.Series]:
    """A word for each film under each heading, indexed by image_id.

    `images` are manifest rows with their group; `stored` the image store. Resolution and brightness are cut at the
    median film. Whether a film shows one knee or two is written in no file and is not guessed.
    """
    table = images.set_index("image_id")
    longest = table[["width", "height"]].max(axis=1)
    light = pd.Series([_brightness(stored, row) for row in images.itertuples()], index=table.index)
    shape = table.height / table.width
    return {
        "resolution": _halves(longest, "longer side up to {:.0f} pixels", "longer side above {:.0f} pixels"),
        "shape": pd.Series(
            np.where(shape > 1.5, "tall (over 3:2)", np.where(shape < 1, "lying", "nearly square")),
            table.index,
        ),
        "file type": table.format.astype(str),
        "brightness": _halves(light, "mean grey up to {:.0f}", "mean grey above {:.0f}"),
        "films of the knee": table.groupby("group")
        .group.transform("size")
        .gt(1)
        .map({False: "one", True: "several"}),
    }


def _brightness(stored: np.ndarray, row: tuple) -> float:
    box = radiographs.content_box(row.width, row.height)
    film = stored[row.row][box.top : box.top + box.height, box.left : box.left + box.width]
    return float(film.mean())


def _halves(values: pd.Series, lower: str, upper: str) -> pd.Series:
    middle = values.median()
    return pd.Series(np.where(values <= middle, lower.format(middle), upper.format(middle)), values.index)


def judge(
    predictions: pd.DataFrame, headings: Mapping[str, pd.Series], n_resamples: int, seed: int
) -> pd.DataFrame:
    """Accuracy and AUROC of one arm in every subgroup, with group-bootstrap intervals; one row each.

    Columns heading, subgroup, n_files, n_groups, osteoporosis (share), accuracy, accuracy_low, accuracy_high, auroc,
    auroc_low, auroc_high. With fewer than `FEWEST_GROUPS` groups of either class the scores stay empty. Raises
    ValueError for a film without a word.
    """
    rows = []
    for heading, words in headings.items():
        word = predictions.image_id.map(words)
        if word.isna().any():
            raise ValueError(
                f"{heading}: no word for {predictions.image_id[word.isna()].iloc[0]}; pass all its films"
            )
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
