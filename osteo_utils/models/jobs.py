"""What is to be fitted: how the trainable part learns, and on which images of which fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from osteo_utils.data import splits
from osteo_utils.study import config


@dataclass(frozen=True)
class Recipe:
    """How the trainable part learns; see `config.PARAMETERS` for the meaning of most fields.

    `cut` says where the trunk ends (`backbones.CUTS`), `hidden_units` how wide a dense layer before the head is
    (0: none), `view` how a film becomes a square (empty: as the study says), `mirrored` whether a prediction is the
    mean over a film and its mirror image, `decay` whether the step size warms up and falls or stays as it is.
    """

    fine_tune: str
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    class_weight: str = "none"
    inner_validation: float = 0.0
    patience: int = 1
    layer_decay: float = 1.0
    hidden_units: int = 0
    view: str = ""
    mirrored: bool = True
    decay: bool = True

    @property
    def cut(self) -> str:
        """Where the trunk ends; a probe reads what the last block would be trained on."""
        return {"none": "last_block", "paper": "head"}.get(self.fine_tune, self.fine_tune)

    @classmethod
    def from_parameters(cls, fine_tune: str, parameters: dict) -> Recipe:
        """The recipe that a notebook's parameters describe; a probe and the paper's have settings of their own."""
        if fine_tune == "none":
            return cls("none")
        if fine_tune == "paper":
            return as_in_paper()
        shared = [name for name in cls.__dataclass_fields__ if name in config.PARAMETERS and name != "view"]
        settings = {name: parameters[name] for name in shared}
        # The parts of a cached tail all learn at one pace.
        return cls(fine_tune, **settings | ({} if fine_tune == "all" else {"layer_decay": 1.0}))


def as_in_paper() -> Recipe:
    """The paper's way, as far as its text goes (Methodology, and Data Set for the augmentation).

    It says: both networks pretrained, films resized to 224×224 (the whole film, so its aspect is lost: `squeeze`),
    values normalised, files stratified and augmented, training shown by epoch.
    It leaves unsaid, and we chose: what is frozen (the whole network), the layers behind it (global average, 256
    dense units with ReLU, dropout 0.5, one unit), what normalised means (the preprocessing the weights were learnt
    with), the augmentation (the study's views), the loss (cross-entropy), Adam at 0.001 throughout, batches of 32
    and 20 epochs; a film is scored as it is, without its mirror image. The side of the square is the study's
    `image_size`, 224 but for tests.
    """
    return Recipe(
        "paper",
        epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        dropout=0.5,
        hidden_units=256,
        view="squeeze",
        mirrored=False,
        decay=False,
    )


@dataclass(frozen=True)
class Fold:
    """One fold to be fitted: where each image stands and which fold is scored."""

    protocol: str
    seed: int
    fold: int
    table: pd.DataFrame  # image_id, label, group, fold, in the order of the activations

    @property
    def train(self) -> np.ndarray:
        """Positions of the training images."""
        return np.flatnonzero((self.table.fold >= 0) & (self.table.fold != self.fold))

    @property
    def test(self) -> np.ndarray:
        """Positions of the images that are scored."""
        return np.flatnonzero(self.table.fold == self.fold)

    @property
    def labels(self) -> np.ndarray:
        return self.table.label.to_numpy(int)

    @property
    def inner_groups(self) -> np.ndarray:
        """What an inner split keeps together; under `by_file` the mistake is made inside as well."""
        return np.arange(len(self.table)) if self.protocol == "by_file" else self.table.group.to_numpy()

    def arm(self, recipe: str, variant: str) -> dict[str, object]:
        """The columns that tell this fold's rows from those of other fits."""
        return {
            "protocol": self.protocol, "recipe": recipe, "variant": variant, "seed": self.seed, "fold": self.fold
        }  # fmt: skip

    def scored(self, probability: np.ndarray) -> pd.DataFrame:
        """The scored images with the probability of each, in the order of `test`, as far as a `predictions` table."""
        rows = self.table.iloc[self.test]
        columns = {"image_id": rows.image_id, "view": 0, "group": rows.group, "y_true": rows.label}
        return pd.DataFrame(columns).assign(y_prob=probability.astype(float)).reset_index(drop=True)

    def inner_split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Training images as (those to learn from, those to choose the epoch by), about `share` of them the latter.

        Whole groups, stratified by label; the scored fold is in neither. With `share` 0 all are learnt from.
        """
        train = self.train
        if share == 0:
            return train, train[:0]
        splitter = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
        learn, held = next(splitter.split(train, self.labels[train], self.inner_groups[train]))
        return train[learn], train[held]


def fold_list(
    images: pd.DataFrame, folds: pd.DataFrame, protocols: list[str], seeds: list[int]
) -> list[Fold]:
    """Every fold of the named protocols and seeds.

    `images` has image_id, label and group, in the order of the activations; `folds` is `folds.csv`.
    Raises ValueError where a protocol is not in `folds`, misses an image, or has a group on both sides.
    """
    jobs = []
    for protocol in protocols:
        for seed in seeds:
            chosen = folds[(folds.protocol == protocol) & (folds.seed == seed) & (folds.view == 0)]
            if chosen.empty:
                raise ValueError(
                    f"folds.csv has no protocol {protocol!r} with seed {seed}; run 02_eda with it"
                )
            table = images.merge(
                chosen[["image_id", "fold"]], on="image_id", how="left", validate="one_to_one"
            )
            if table.fold.isna().any():
                raise ValueError(
                    f"folds.csv, {protocol}: no fold for {table.image_id[table.fold.isna()].iloc[0]}"
                )
            table["fold"] = table.fold.astype(int)
            if protocol != "by_file":
                splits.check_no_leak(table.set_index("image_id").fold, table.set_index("image_id").group)
            jobs += [Fold(protocol, seed, fold, table) for fold in sorted(set(table.fold) - {-1})]
    return jobs
