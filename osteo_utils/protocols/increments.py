"""What each mistake of the leakage lab is worth, with intervals, and which could have printed the paper's numbers."""

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
    """Accuracy and AUROC of every protocol, and how far its accuracy stands above the honest one.

    `images` has image_id, label and group. Names are `leakage/<protocol>/accuracy`, `…/auroc` and
    `…/above_grouped`; the last is the difference to `grouped` (under shuffled labels to `grouped+shuffled`) on the
    films that both score, split by split. Values are means over the splits; the 95 % intervals resample groups,
    the same ones for all protocols. A resample that leaves a protocol without one class is left out.
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
    """How often each group was drawn: one row a group, one column a resample; the first column holds ones."""
    drawn, column = draw_groups(images.group, images.label, n_resamples, seed)
    groups = images.group.to_numpy()[np.unique(column, return_index=True)[1]]
    table = pd.DataFrame(np.column_stack([np.ones(len(groups), drawn.dtype), drawn.T]), index=groups)
    usable = np.ones(table.shape[1], bool)
    for part in parts:
        for _, members in part.groupby(["seed", "y_true"]).group:
            usable &= table.loc[members.unique()].to_numpy().sum(axis=0) > 0
    if usable.mean() < 0.5:
        raise ValueError(
            f"{(~usable).sum()} of {n_resamples} resamples lack a class under some protocol; there are too few knees"
        )
    return table.loc[:, usable]


def _by_resample(part: pd.DataFrame, drawn: pd.DataFrame, scores: list[str] | tuple[str, ...]) -> dict[str, np.ndarray]:
    """Each score for every column of `drawn`, averaged over the splits: (1 + resamples,), the true value first."""
    totals = dict.fromkeys(scores, 0.0)
    for _, split in part.groupby("seed"):
        times = drawn.loc[split.group].to_numpy().T
        step = max(1, _CELLS // len(split))
        portions = [
            measure(split.y_true, split.y_prob, scores, times[start : start + step])
            for start in range(0, len(times), step)
        ]
        for score in scores:
            totals[score] = totals[score] + np.concatenate([portion[score] for portion in portions])
    return {score: total / part.seed.nunique() for score, total in totals.items()}


def _estimate(values: np.ndarray, part: pd.DataFrame) -> Estimate:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high), part.image_id.nunique(), part.group.nunique())


def _shared(part: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `part` whose film `other` scores on the same split."""
    keys = pd.MultiIndex.from_frame(other[["seed", "image_id"]])
    return part[pd.MultiIndex.from_frame(part[["seed", "image_id"]]).isin(keys)]


def as_table(found: Mapping[str, Estimate], predictions: pd.DataFrame, paper: float) -> pd.DataFrame:
    """One row a protocol: accuracy with interval, AUROC, n, rows scored on one split, what stands above `grouped`.

    `share_of_gap` is the part of the way from `grouped` to the paper's accuracy that the increment covers (not for
    shuffled labels, where it is empty); `reaches` says whether the interval reaches what prints as the paper does.
    """
    rows = []
    gap = paper - found["leakage/grouped/accuracy"].value if "leakage/grouped/accuracy" in found else np.nan
    for name, part in predictions.groupby("protocol", sort=False):
        one, above = found[f"leakage/{name}/accuracy"], found[f"leakage/{name}/above_grouped"]
        shuffled = Protocol(str(name)).has("shuffled")
        rows.append(
            {
                "protocol": name,
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "auroc": found[f"leakage/{name}/auroc"].value,
                "n_files": one.n_files,
                "n_groups": one.n_groups,
                "scored": round(len(part) / part.seed.nunique()),
                "above_grouped": above.value,
                "above_low": above.low,
                "above_high": above.high,
                "share_of_gap": np.nan if shuffled or gap <= 0 else above.value / gap,
                "honest": Protocol(str(name)).honest,
                "reaches": bool(one.high >= paper - HALF_A_PERCENT),
                "mistake": Protocol(str(name)).mistake,
            }
        )
    return pd.DataFrame(rows)


def beside_truth(predictions: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Each protocol against the label that a film is filed under and against the true one (image_id, true_label).

    `wrong_repeated` is the share of wrongly filed films that get their wrong label back, empty where none is scored.
    Raises ValueError for a film without a true label.
    """
    known = predictions.merge(truth, on="image_id", how="left")
    if known.true_label.isna().any():
        raise ValueError(f"no true label for {known.image_id[known.true_label.isna()].iloc[0]}; run 01 again")
    called = (known.y_prob >= 0.5).astype(int)
    wrong = known.y_true != known.true_label
    columns = {
        "filed_label": called == known.y_true,
        "true_label": called == known.true_label,
        "wrong_repeated": (called == known.y_true).where(wrong),
    }
    table = pd.DataFrame(columns).astype(float).groupby(known.protocol, sort=False).mean()
    return (
        table.assign(wrong_films=known[wrong].groupby("protocol").image_id.nunique())
        .fillna({"wrong_films": 0})
        .reset_index()
    )


def sentences(table: pd.DataFrame, paper: float, scored: int, images: int) -> list[str]:
    """Which protocols can print the paper's accuracy, which its total of `scored` of `images`, and what each explains.

    `table` is that of `as_table` without shuffled labels.
    """
    least = paper - HALF_A_PERCENT
    honest = table.set_index("protocol").value["grouped"]
    can, cannot = table[table.reaches], table[~table.reaches]
    told = [
        f"Can print {paper:.0%} (interval reaches {least:.3f}): {_listed(can, 'value')}.",
        f"Cannot, with this network (interval ends below {least:.3f}): {_listed(cannot, 'value')}.",
    ]
    more = table[table.scored > table.n_files]
    told.append(
        f"The paper's Fig. 5 scores {scored} rows and its data set has {images} images, {scored / images:.2f} rows for "
        f"each. Every protocol that scores a film once at most is ruled out by counting alone, whatever its accuracy. "
        f"More rows than films have: {_listed(more, 'scored')}."
    )
    both = more[more.reaches]
    told.append(f"Both at once, the accuracy and more rows than films: {_listed(both, 'value')}.")
    if paper > honest:
        wrong = table[[not Protocol(name).honest for name in table.protocol]].sort_values("share_of_gap")
        parts = [
            f"{row.protocol} {row.share_of_gap:.0%} ({row.above_low / (paper - honest):.0%} to "
            f"{row.above_high / (paper - honest):.0%})"
            for row in wrong[::-1].itertuples()
        ]
        told.append(
            f"From grouped ({honest:.3f}) to the paper are {100 * (paper - honest):.1f} points. Share of them that each "
            f"mistake covers on the films that both score: {'; '.join(parts)}."
        )
    else:
        told.append(f"grouped reaches {honest:.3f}, so there is no gap to the paper that a mistake would explain.")
    return told


def _listed(rows: pd.DataFrame, column: str) -> str:
    shown = [
        f"{row.protocol} ({getattr(row, column):.3f})"
        if column == "value"
        else f"{row.protocol} ({row.scored} of {row.n_files})"
        for row in rows.itertuples()
    ]
    return ", ".join(shown) or "none"
