"""What each mistake of the leakage lab gains, with intervals, and which could have produced the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from osteo_utils.protocols.definitions import Protocol
from osteo_utils.statistics.metrics import measure
from osteo_utils.statistics.resampling import draw_groups
from osteo_utils.study.results import Estimate

SCORES = ("accuracy", "auroc")
# What is printed as 98 % is 0.975 or more.
HALF_A_PERCENT = 0.005
_CELLS = 2_000_000


def measure_all(predictions: pd.DataFrame, images: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Accuracy and AUROC of every protocol, and its gain in accuracy over the honest one.

    `images` has image_id, label and group. Names are `leakage/<protocol>/accuracy`, `…/auroc` and `…/above_grouped`;
    the last is the difference to `grouped` (with shuffled labels to `grouped+shuffled`) on the films that both score,
    split by split. Values are means over splits. The 95 % intervals resample groups, the same ones for all protocols;
    a resample that leaves some protocol with a single class is dropped.
    """
    compared = {}
    for name, part in predictions.groupby("protocol", sort=False):
        base = "grouped+shuffled" if Protocol(str(name)).has("shuffled") else "grouped"
        honest = predictions[predictions.protocol == base]
        if honest.empty:
            raise ValueError(f"the predictions hold {name!r} but not {base!r}, which it is compared with")
        compared[name] = (part, _shared(part, honest), _shared(honest, part))
    drawn = _draw([part for parts in compared.values() for part in parts], images, n_resamples, seed)
    found = {}
    for name, (part, ours, theirs) in compared.items():
        for score, values in _by_resample(part, drawn, SCORES).items():
            found[f"leakage/{name}/{score}"] = _estimate(values, part)
        pair = [_by_resample(one, drawn, ["accuracy"])["accuracy"] for one in (ours, theirs)]
        found[f"leakage/{name}/above_grouped"] = _estimate(pair[0] - pair[1], ours)
    return found


def _draw(parts: Sequence[pd.DataFrame], images: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Count of each group (row) in each resample (column); the first column is all ones."""
    drawn, column = draw_groups(images.group, images.label, n_resamples, seed)
    groups = images.group.to_numpy()[np.unique(column, return_index=True)[1]]
    table = pd.DataFrame(np.column_stack([np.ones(len(groups), drawn.dtype), drawn.T]), index=groups)
    usable = np.ones(table.shape[1], bool)
    for part in parts:
        for _, members in part.groupby(["seed", "y_true"]).group:
            usable &= table.loc[members.unique()].to_numpy().sum(axis=0) > 0
    if usable.mean() < 0.5:
        lacking = f"{(~usable).sum()} of {n_resamples} resamples"
        raise ValueError(f"{lacking} lack a class under some protocol; there are too few knees")
    return table.loc[:, usable]


def _by_resample(part: pd.DataFrame, drawn: pd.DataFrame, scores: Sequence[str]) -> dict[str, np.ndarray]:
    """Each score for every column of `drawn`, averaged over the splits: (1 + resamples,), the point estimate first."""
    totals = dict.fromkeys(scores, 0.0)
    for _, split in part.groupby("seed"):
        counts = drawn.loc[split.group].to_numpy().T
        step = max(1, _CELLS // len(split))
        chunks = [counts[start : start + step] for start in range(0, len(counts), step)]
        found = [measure(split.y_true, split.y_prob, scores, chunk) for chunk in chunks]
        for score in scores:
            totals[score] = totals[score] + np.concatenate([chunk[score] for chunk in found])
    return {score: total / part.seed.nunique() for score, total in totals.items()}


def _estimate(values: np.ndarray, part: pd.DataFrame) -> Estimate:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high), part.image_id.nunique(), part.group.nunique())


def _shared(part: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Rows of `part` whose film is also in `other` on the same split."""
    keys = pd.MultiIndex.from_frame(other[["seed", "image_id"]])
    return part[pd.MultiIndex.from_frame(part[["seed", "image_id"]]).isin(keys)]


def as_table(found: Mapping[str, Estimate], predictions: pd.DataFrame, paper: float) -> pd.DataFrame:
    """One row per protocol: accuracy with interval, AUROC, n, rows scored on one split, gain over `grouped`.

    `share_of_gap`: share of the gap between `grouped` and the paper's accuracy that the gain covers, empty for
    shuffled labels. `reaches`: whether the interval reaches a value that rounds to the paper's.
    """
    rows = []
    gap = paper - found["leakage/grouped/accuracy"].value if "leakage/grouped/accuracy" in found else np.nan
    for name, part in predictions.groupby("protocol", sort=False):
        one, auroc, above = (found[f"leakage/{name}/{kind}"] for kind in ("accuracy", "auroc", "above_grouped"))
        protocol = Protocol(str(name))
        rows.append(
            {
                **{"protocol": name, "value": one.value, "low": one.low, "high": one.high, "auroc": auroc.value},
                **{"n_files": one.n_files, "n_groups": one.n_groups},
                "scored": round(len(part) / part.seed.nunique()),
                **{"above_grouped": above.value, "above_low": above.low, "above_high": above.high},
                "share_of_gap": np.nan if protocol.has("shuffled") or gap <= 0 else above.value / gap,
                "honest": protocol.honest,
                "reaches": bool(one.high >= paper - HALF_A_PERCENT),
                "mistake": protocol.mistake,
            }
        )
    return pd.DataFrame(rows)


def beside_truth(predictions: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each protocol against the label of the folder and against the true label (image_id, true_label).

    `wrong_repeated`: share of wrongly labelled films that get their wrong label. ValueError without a true label.
    """
    known = predictions.merge(truth, on="image_id", how="left")
    if known.true_label.isna().any():
        raise ValueError(f"no true label for {known.image_id[known.true_label.isna()].iloc[0]}; run 01 again")
    called, wrong = (known.y_prob >= 0.5).astype(int), known.y_true != known.true_label
    filed, true = called == known.y_true, called == known.true_label
    columns = {"filed_label": filed, "true_label": true, "wrong_repeated": filed.where(wrong)}
    table = pd.DataFrame(columns).astype(float).groupby(known.protocol, sort=False).mean()
    films = known[wrong].groupby("protocol").image_id.nunique()
    return table.assign(wrong_films=films).fillna({"wrong_films": 0}).reset_index()


def sentences(table: pd.DataFrame, paper: float, scored: int, images: int) -> list[str]:
    """Which protocols can produce the paper's accuracy or its `scored` rows of `images`; `table` without shuffled labels."""
    least = paper - HALF_A_PERCENT
    honest = table.set_index("protocol").value["grouped"]
    can, cannot = table[table.reaches], table[~table.reaches]
    lines = [
        f"Can print {paper:.0%} (interval reaches {least:.3f}): {_listed(can, 'value')}.",
        f"Cannot, with this network (interval ends below {least:.3f}): {_listed(cannot, 'value')}.",
    ]
    more = table[table.scored > table.n_files]
    lines.append(
        f"The paper's Fig. 5 scores {scored} rows and its data set has {images} images, {scored / images:.2f} rows for "
        f"each. Every protocol that scores a film once at most is ruled out by counting alone, whatever its accuracy. "
        f"These score more rows than they have films: {_listed(more, 'scored')}."
    )
    both = more[more.reaches]
    lines.append(f"Both at once, the accuracy and more rows than films: {_listed(both, 'value')}.")
    if paper > honest:
        wrong = table[[not Protocol(name).honest for name in table.protocol]].sort_values("share_of_gap")
        parts = [
            f"{row.protocol} {row.share_of_gap:.0%} ({row.above_low / (paper - honest):.0%} to "
            f"{row.above_high / (paper - honest):.0%})"
            for row in wrong[::-1].itertuples()
        ]
        lines.append(
            f"The paper's number lies {100 * (paper - honest):.1f} points above grouped ({honest:.3f}). Share of this gap that "
            f"each mistake covers, on the films that it scores together with grouped: {'; '.join(parts)}."
        )
    else:
        lines.append(f"grouped reaches {honest:.3f}, so there is no gap to the paper that a mistake would explain.")
    return lines


def _listed(rows: pd.DataFrame, column: str) -> str:
    value, scored = "{0.protocol} ({0.value:.3f})", "{0.protocol} ({0.scored} rows of {0.n_files} films)"
    form = value if column == "value" else scored
    return ", ".join(form.format(row) for row in rows.itertuples()) or "none"
