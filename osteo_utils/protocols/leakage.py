"""One mistake at a time: the same cheap network under every protocol, honest and not.

The network is a small multilayer perceptron on pooled activations of a frozen backbone. Its penalty and its
epochs are frozen on the honest split before any mistake is switched on, and every fit learns from the same
number of films, so a difference between two protocols is due to the protocol alone. **Leakage in this room is
deliberate**; nothing but `increments` may import it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.feature_selection import f_classif
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neural_network import MLPClassifier

from osteo_utils.protocols.definitions import SELECTED, Protocol
from osteo_utils.study import runtime

HIDDEN_UNITS = 64
LEARNING_RATE = 1e-3
BATCH_SIZE = 128
PENALTIES = (0.1, 1.0)
INNER_FOLDS = 4
# For each epoch the views and the positions of what it shows.
Epochs = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """The one network of the lab: settings that no protocol may change."""

    epochs: int
    penalty: float = 1.0
    hidden_units: int = HIDDEN_UNITS
    learning_rate: float = LEARNING_RATE
    batch_size: int = BATCH_SIZE

    def train(self, features: np.ndarray, labels: np.ndarray, epochs: Epochs, seed: int) -> Iterator[MLPClassifier]:
        """The network after each epoch; features (views, n, channels), an epoch the (view, position) it shows."""
        rows = len(epochs[0][1])
        network = MLPClassifier(
            hidden_layer_sizes=(self.hidden_units,),
            alpha=self.penalty,
            learning_rate_init=self.learning_rate,
            batch_size=min(self.batch_size, rows),
            random_state=seed,
        )
        for views, positions in epochs:
            network.partial_fit(features[views, positions], labels[positions], classes=[0, 1])
            yield network


@dataclass(frozen=True)
class Lab:
    """What all protocols share: the network, the films' features (views, n, channels), and how films are dealt.

    `images` (image_id, label, group) is in the order of the features, `folds` is `folds.csv`; `size` is the number
    of films that every fit learns from.
    """

    network: Network
    features: np.ndarray
    images: pd.DataFrame
    folds: pd.DataFrame
    size: int

    def samples(self, split: str, seed: int) -> pd.DataFrame:
        """View, position and fold of what a split deals; raises ValueError where folds.csv lacks it."""
        dealt = self.folds[(self.folds.protocol == split) & (self.folds.seed == seed) & (self.folds.fold >= 0)]
        if dealt.empty:
            raise ValueError(f"folds.csv has no protocol {split!r} with seed {seed}; run 02_eda with it")
        position = pd.Series(np.arange(len(self.images)), index=self.images.image_id)
        table = dealt[["view", "fold"]].assign(position=position.loc[dealt.image_id].to_numpy())
        return table.sort_values(["view", "position"], ignore_index=True)

    def labels(self, shuffled: bool, seed: int) -> np.ndarray:
        """The labels, int (n,); shuffled ones are handed round between groups of one fold of `grouped`."""
        labels = self.images.label.to_numpy(int)
        if not shuffled:
            return labels
        fold = self.samples("grouped", seed).set_index("position").fold
        fold = fold.reindex(range(len(labels)), fill_value=-1).to_numpy()
        units = pd.DataFrame({"group": self.images.group, "fold": fold, "label": labels})
        units = units.drop_duplicates("group").set_index("group")
        generator = np.random.default_rng(runtime.derived_seed("leakage", "shuffled", seed))
        dealt = units.groupby("fold").label.transform(generator.permutation)
        return dealt.loc[self.images.group].to_numpy(int)


def prepare(
    features: np.ndarray, images: pd.DataFrame, folds: pd.DataFrame, seeds: Sequence[int], most_epochs: int
) -> tuple[Lab, pd.DataFrame]:
    """A lab whose network is frozen on the honest split, and the inner accuracy of each recipe tried.

    Tried on inner folds of the training images of `grouped`, first seed. Of all recipes within one standard error of
    the best the one of most epochs (at most `most_epochs`), then of least penalty, is kept: as long as honest accuracy
    does not suffer, nothing would have stopped the training. The training size is the smallest that a fold of
    `grouped` has. Columns of the table: penalty, epoch, accuracy.
    """
    draft = Lab(Network(most_epochs), features, images, folds, 0)
    sizes = [
        (samples.fold != fold).sum()
        for samples in (draft.samples("grouped", seed) for seed in seeds)
        for fold in samples.fold.unique()
    ]
    right = {penalty: _inner_right(draft, penalty, seeds[0]) for penalty in PENALTIES}
    tried = (
        pd.DataFrame(
            {"penalty": penalty, "epoch": np.arange(1, most_epochs + 1), "accuracy": shares.mean(axis=0)}
            for penalty, shares in right.items()
        )
        .explode(["epoch", "accuracy"], ignore_index=True)
        .astype(float)
    )
    best = tried.accuracy.max()
    groups = len(right[PENALTIES[0]])
    good = tried[tried.accuracy >= best - np.sqrt(best * (1 - best) / groups)]
    kept = good.sort_values(["epoch", "penalty"], ascending=[False, True]).iloc[0]
    network = replace(draft.network, epochs=int(kept.epoch), penalty=float(kept.penalty))
    return replace(draft, network=network, size=int(min(sizes))), tried


def _inner_right(lab: Lab, penalty: float, seed: int) -> np.ndarray:
    """Share of each held-out group's films that are called rightly after each epoch: (groups, epochs)."""
    samples, labels = lab.samples("grouped", seed), lab.labels(shuffled=False, seed=seed)
    groups = lab.images.group.to_numpy()
    inner = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=seed)
    shares = []
    for fold in sorted(samples.fold.unique()):
        outer = samples.position[samples.fold != fold].to_numpy()
        learnt, held = next(inner.split(outer, labels[outer], groups[outer]))
        scaled = _scaled(lab.features, outer[learnt])
        generator = np.random.default_rng(runtime.derived_seed("leakage", "inner", seed, fold))
        epochs = _epochs_of(outer[learnt], len(lab.features), lab.network.epochs, generator)
        rows = pd.DataFrame({"view": 0, "position": outer[held]})
        fits = replace(lab.network, penalty=penalty).train(scaled, labels, epochs, seed)
        called = np.array([_scores(fit, scaled, rows) >= 0.5 for fit in fits])
        right = pd.DataFrame((called == (labels[rows.position] == 1)).T)
        shares.append(right.groupby(groups[rows.position]).mean())
    return np.concatenate(shares)


def run(lab: Lab, names: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Predictions of the named protocols on the splits of these seeds, as a `predictions` table.

    Protocols that differ only in what is looked at share their fits. The labels of shuffled ones are the shuffled.
    """
    protocols = [Protocol(name) for name in dict.fromkeys(names)]
    parts = []
    for fit in dict.fromkeys(one.fit for one in protocols):
        sharing = [one for one in protocols if one.fit == fit]
        for seed in seeds:
            parts += _run_fit(lab, sharing, seed)
    table = pd.concat(parts, ignore_index=True).assign(recipe="pooled_mlp", variant="full")
    return pd.concat([table[table.protocol == one.name] for one in protocols], ignore_index=True)


def _run_fit(lab: Lab, sharing: Sequence[Protocol], seed: int) -> list[pd.DataFrame]:
    first = sharing[0]
    samples, labels = lab.samples(first.split, seed), lab.labels(first.has("shuffled"), seed)
    generator = np.random.default_rng(runtime.derived_seed("leakage", first.split, seed))
    if first.split == "augment_first":
        # A smaller study to begin with: all views of as many films as the other fits learn from.
        chosen = generator.choice(np.unique(samples.position), lab.size, replace=False)
        samples = samples[samples.position.isin(chosen)].reset_index(drop=True)
    numbers = sorted(samples.fold.unique())
    parts = []
    for place, fold in enumerate(numbers):
        held, seen = samples[samples.fold == fold], samples[samples.fold == numbers[place - 1]]
        shown, epochs = _training(lab, first, samples, fold, seen, generator)
        inputs = _inputs(lab, first, labels, shown, np.unique(samples.position))
        by_epoch = []
        for network in lab.network.train(inputs, labels, epochs, runtime.derived_seed("leakage", seed, fold)):
            if len(by_epoch) == lab.network.epochs - 1 or any(one.has("tuned_on_test") for one in sharing):
                by_epoch.append(_scores(network, inputs, held))
            else:
                by_epoch.append(None)
        for one in sharing:
            rows, probability = held, by_epoch[-1]
            if one.has("tuned_on_test"):
                probability = tuned_on_test(np.array(by_epoch), labels[held.position])
            elif one.has("resubstitution"):
                rows = seen[seen.position.isin(shown)]
                probability = _scores(network, inputs, rows)
            elif one.has("train_in_test"):
                if place > 0:
                    continue
                rows = pd.concat([held, samples[samples.position.isin(shown)]])
                probability = _scores(network, inputs, rows)
            table = lab.images.iloc[rows.position][["image_id", "group"]].reset_index(drop=True)
            about = {"protocol": one.name, "seed": seed, "fold": fold, "view": rows.view.to_numpy()}
            parts.append(table.assign(**about, y_true=labels[rows.position], y_prob=probability.astype(float)))
    return parts


def _training(
    lab: Lab, protocol: Protocol, samples: pd.DataFrame, fold: int, seen: pd.DataFrame, generator: np.random.Generator
) -> tuple[np.ndarray, Epochs]:
    """The films that a fit learns from, and the (view, position) that each of its epochs shows: `lab.size` of each."""
    rest = samples[samples.fold != fold]
    if protocol.split == "augment_first":
        drawn = [generator.choice(len(rest), lab.size, replace=False) for _ in range(lab.network.epochs)]
        return np.unique(rest.position), [(rest.view.to_numpy()[d], rest.position.to_numpy()[d]) for d in drawn]
    # The films of `seen` come first, so that resubstitution has them to score.
    known = generator.permutation(seen.position)[: lab.size]
    others = rest.position[~rest.position.isin(seen.position)]
    films = np.sort(np.r_[known, generator.choice(others, lab.size - len(known), replace=False)])
    return films, _epochs_of(films, len(lab.features), lab.network.epochs, generator)


def _epochs_of(films: np.ndarray, views: int, epochs: int, generator: np.random.Generator) -> Epochs:
    """Each epoch shows every film once, in a view drawn for that epoch."""
    return [(generator.integers(views, size=len(films)), films) for _ in range(epochs)]


def _inputs(lab: Lab, protocol: Protocol, labels: np.ndarray, shown: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """Features as the network gets them, float32 (views, n, channels): chosen and scaled, on whichever films."""
    features = lab.features
    if protocol.has("selected_inside") or protocol.has("selected_first"):
        looked_at = everything if protocol.has("selected_first") else shown
        varies = np.flatnonzero(np.ptp(features[0, looked_at], axis=0) > 0)
        strength, _ = f_classif(features[0][np.ix_(looked_at, varies)], labels[looked_at])
        features = features[:, :, varies[np.argsort(-strength, kind="stable")[:SELECTED]]]
    return _scaled(features, everything if protocol.has("scaled_first") else shown)


def _scaled(features: np.ndarray, looked_at: np.ndarray) -> np.ndarray:
    known = features[:, looked_at]
    middle, spread = known.mean(axis=(0, 1)), known.std(axis=(0, 1))
    # In place, as with many films each copy of their features in all views counts.
    del known
    scaled = features - middle
    scaled /= np.where(spread > 0, spread, 1)
    return scaled.astype(np.float32, copy=False)


def _scores(network: MLPClassifier, inputs: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    return network.predict_proba(inputs[rows.view, rows.position])[:, 1]


def tuned_on_test(by_epoch: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probabilities of the epoch, and moved to the threshold, that score best on these very labels.

    by_epoch (epochs, n). The logits are shifted so that 0.5 is the chosen threshold; their order stays. Of several
    best ones the first epoch counts, and in it the lowest threshold.
    """
    best = (-1.0, 0, 0.5)
    for epoch, probability in enumerate(by_epoch):
        order = np.argsort(probability)
        levels, truth = probability[order].astype(np.float64), labels[order]
        # Right when the first k are called normal: the normal ones among them and the others after them.
        right = np.r_[0, np.cumsum(truth == 0)] + np.r_[np.cumsum((truth == 1)[::-1])[::-1], 0]
        edges = np.r_[0.0, levels, 1.0]
        possible = np.flatnonzero(np.diff(edges) > 0)
        cut = possible[np.argmax(right[possible])]
        if right[cut] > best[0]:
            best = (right[cut], epoch, (edges[cut] + edges[cut + 1]) / 2)
    _, epoch, threshold = best
    # In single precision 1 − 1e-9 is 1, whose logit is infinite.
    probability = np.clip(by_epoch[epoch].astype(np.float64), 1e-9, 1 - 1e-9)
    return expit(logit(probability) - logit(threshold))
