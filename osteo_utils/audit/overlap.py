"""Which films of an external set show a knee of the study, so that they are reported and never scored.

The study's own films are audited separately, so an external set cannot change the study's groups, folds or fits.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from osteo_utils.audit import copies, groups
from osteo_utils.images.manifest import develop, usable

# How an external film shows a knee of the study, surest first; `chained` means through other external films.
RELATIONS = ("exact", "pixel", "perceptual", "patient", "chained")
COLUMNS = ("image_id", "group", "develop_image", "relation", "distance", "same_label")


def extend(images: np.ndarray, manifest: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The audit of the study with its external films added, and the external films that show a knee of the study.

    `images` is the store, uint8 (n, 512, 512), `manifest` has both roles, `table` is the audit of the develop films,
    whose rows come first and unchanged. An external film has the study's group and knee, or numbers above all of the
    study's. The second table has a row per overlapping film: image_id, group, develop_image (the matching film of
    the study), relation (one of RELATIONS), distance (1 − similarity, empty where it was not measured) and same_label
    (1 where both sets agree). It is empty without external films.
    """
    if usable(manifest, "external").empty:
        return table, pd.DataFrame(columns=list(COLUMNS))
    pairs = copies.compare(images, manifest)
    both = groups.audit(images, manifest, pairs)
    films = copies.candidates_of(manifest).merge(both[["image_id", "group"]], on="image_id")
    own = films[films["role"] == "develop"]
    theirs = films[(films["role"] == "external") & films["group"].isin(own["group"])]
    shared = _matched(theirs, own, pairs, films.set_index("image_id")["pixel_sha256"])
    shared["group"] = shared["develop_image"].map(table.set_index("image_id")["group"]).astype(int)
    added = both[both["image_id"].isin(films.loc[films["role"] == "external", "image_id"])]
    group = added["image_id"].map(shared.set_index("image_id")["group"])
    alone = group.isna()
    group[alone] = table["group"].max() + 1 + pd.factorize(added.loc[alone, "group"])[0]
    # A knee of the study keeps the number that it has there.
    of_study = both.assign(known=both["image_id"].map(table.set_index("image_id")["knee"])).dropna(subset="known")
    knee = added["knee"].map(of_study.drop_duplicates("knee").set_index("knee")["known"])
    new = knee.isna()
    knee[new] = table["knee"].max() + 1 + pd.factorize(added.loc[new, "knee"])[0]
    added = added.assign(group=group.astype(int), knee=knee.astype(int))
    return pd.concat([table, added], ignore_index=True), shared[list(COLUMNS)]


def to_score(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The external films that may be scored, in the order of the store: columns of the manifest, group, conflict.

    Leaves out the study's groups and, as `grouped` does, knees with both labels. `table` is the extended audit.
    """
    audited = table[["image_id", "group", "conflict"]]
    films = usable(manifest, "external").merge(audited, on="image_id", how="left", validate="one_to_one")
    if (unknown := films["group"].isna()).any():
        raise ValueError(f"audit.csv has no row for {films.loc[unknown, 'image_id'].iloc[0]}; run 02_eda again")
    films = films.astype({"group": int, "conflict": int})
    own = table.loc[table["image_id"].isin(develop(manifest)["image_id"]), "group"]
    return films[~films["group"].isin(own) & (films["conflict"] == 0)].reset_index(drop=True)


def counts(manifest: pd.DataFrame, table: pd.DataFrame, shared: pd.DataFrame) -> dict[str, int]:
    """How much of the external set can be scored, and why not the rest; empty without an external set.

    `table` and `shared` as `extend` returns them. Counts files, groups and patients (0 where none is known) of the
    usable films, overlapping files in all, by relation and with another label, conflicts, and what can be scored.
    """
    films = usable(manifest, "external").merge(table[["image_id", "group", "conflict"]], on="image_id")
    if films.empty:
        return {}
    kept = to_score(manifest, table)
    people = films.loc[films["patient"].notna() & (films["patient"] != ""), "patient"]
    by_relation = shared["relation"].value_counts()
    return {
        "files": len(films),
        "groups": films["group"].nunique(),
        "patients": people.nunique(),
        "overlap_files": len(shared),
        **{f"overlap_{name}": int(by_relation[name]) for name in RELATIONS if name in by_relation},
        "overlap_other_label": int((shared["same_label"] == 0).sum()),
        "conflict_files": len(films) - len(shared) - len(kept),
        "scored_files": len(kept),
        "scored_groups": kept["group"].nunique(),
    }


def _matched(theirs: pd.DataFrame, own: pd.DataFrame, pairs: pd.DataFrame, pixels: pd.Series) -> pd.DataFrame:
    """For each external film its best match in the study: the columns of the overlap except group."""
    # Films with the same pixels were compared once, under one of their names.
    ends = zip(pairs["first"].map(pixels), pairs["second"].map(pixels), strict=True)
    similarity: dict[frozenset[str], float] = {}
    for end, value in zip(map(frozenset, ends), pairs["similarity"], strict=True):
        similarity[end] = max(value, similarity.get(end, -1.0))
    rows = []
    for film in theirs.itertuples():
        found = [
            (*_link(film, other, similarity), other.image_id, int(other.label == film.label))
            for other in own[own["group"] == film.group].itertuples()
        ]
        level, gap, name, alike = min(found, key=lambda link: (link[0], np.nan_to_num(link[1]), link[2]))
        rows.append((film.image_id, name, RELATIONS[level], round(gap, 4), alike))
    return pd.DataFrame(rows, columns=["image_id", "develop_image", "relation", "distance", "same_label"])


def _link(film: object, other: object, similarity: dict[frozenset[str], float]) -> tuple[int, float]:
    """Place in RELATIONS and distance of two films of one group."""
    if film.sha256 == other.sha256:
        return 0, 0.0
    if film.pixel_sha256 == other.pixel_sha256:
        return 1, 0.0
    alike = similarity.get(frozenset((film.pixel_sha256, other.pixel_sha256)), -1.0)
    if alike >= copies.SAME_KNEE:
        return 2, 1.0 - alike
    same = isinstance(film.patient, str) and film.patient != "" and film.patient == other.patient
    return (3 if same else 4), np.nan
