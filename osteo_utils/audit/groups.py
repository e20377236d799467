"""Audit of a set of films: knees, persons, conflicts, counts and the flow of files.

Three relations join images of a knee, from strict to loose: `exact` (the same bytes), `pixel` (the same pixels in
another file) and `perceptual` (an altered copy, see `copies`). `decision` joins films that people declared the same (see
`decisions`); a pair that they declared different is never joined as copies. Where patients are known, `patient` joins the
knees of one into a group.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from osteo_utils.audit import decisions
from osteo_utils.audit.copies import SAME_KNEE, candidates_of, compare, components, similarities_among
from osteo_utils.images.manifest import DECIDED, OSTEOPENIA
from osteo_utils.sources.registry import LABELS

# Similarity of a group's least alike members from which it is no chain: no two different knees were seen above it.
_CONSISTENT = 0.85
# Groups with more files than this are not trusted, but reported for visual inspection.
LARGE_GROUP = 6
_LEVELS = ("unique", "exact", "pixel", "perceptual", "decision", "patient")


def audit(
    images: np.ndarray, manifest: pd.DataFrame, pairs: pd.DataFrame | None = None, decided: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Groups of images that belong on one side of a split.

    Returns the table `audit.csv`: image_id; group (a person as far as known, else a knee; numbered from 0 in the order of
    image_id); knee (numbered likewise); relation (the strongest that joins the image to another); nearest (image_id of
    the most similar image, empty where none came near); distance (1 − similarity, 0 for the same pixels, empty without a
    nearest); conflict (1 where copies of a film have both labels; the two knees of a patient may differ). `pairs` is the
    result of `compare`, `decided` what people decided (image_id, other, verdict). Raises ValueError as `decisions.joined`
    does.
    """
    if pairs is None:
        pairs = compare(images, manifest)
    table = candidates_of(manifest)
    place = {name: number for number, name in enumerate(table["image_id"])}
    links: dict[tuple[int, int], tuple[int, float]] = {}
    for level, column in ((1, "sha256"), (2, "pixel_sha256")):
        for ends in _links(table[column]):
            links.setdefault(ends, (level, 0.0))
    for pair in pairs.sort_values("similarity").itertuples():
        ends = place[pair.first], place[pair.second]
        link = 3 if pair.similarity >= SAME_KNEE else 0
        links[ends] = max(link, links.get(ends, (0, 0.0))[0]), 1.0 - pair.similarity
    links, same = decisions.joined(table, links, decided)
    copied = [ends for ends, (level, _) in links.items() if level] + same
    knee = components(len(table), copied)
    persons = _links(table["patient"].fillna("").astype(str)) if "patient" in table else []
    group = components(len(table), copied + persons)
    relation = np.zeros(len(table), dtype=int)
    for ends, name in ((persons, "patient"), (same, "decision")):
        relation[[end for pair in ends for end in pair]] = _LEVELS.index(name)
    nearest = np.full(len(table), -1)
    distance = np.full(len(table), np.nan)
    for ends, (level, gap) in sorted(links.items()):
        for here, other in (ends, ends[::-1]):
            if level and (relation[here] == 0 or level < relation[here]):
                relation[here] = level
            if nearest[here] < 0 or gap < distance[here]:
                nearest[here], distance[here] = other, gap
    names = table["image_id"].to_numpy(dtype=object)
    labels = table["label"].astype(int).groupby(knee)
    return pd.DataFrame(
        {
            "image_id": names,
            "group": group,
            "knee": knee,
            "relation": [_LEVELS[level] for level in relation],
            "nearest": [names[other] if other >= 0 else "" for other in nearest],
            "distance": np.round(distance, 4),
            "conflict": (labels.transform("nunique") > 1).astype(int).to_numpy(),
        }
    )


def _links(values: pd.Series) -> list[tuple[int, int]]:
    """Links from the first row of each value to the others; an empty value links nothing."""
    rows = values.groupby(values).indices.items()
    return [(int(members[0]), int(other)) for value, members in rows if value != "" for other in members[1:]]


def inspect_groups(table: pd.DataFrame, images: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Knees of three or more images, weakest first: does every member resemble every other?

    A chain A-B-C may join different knees A and C. Returns knee, files, conflict, weakest_pair (similarity of the
    two least alike members; all pairs are registered here) and verdict (`consistent`; `chained`: some pair is as
    unlike as two different knees; `large`: more than LARGE_GROUP files, to be inspected by eye).
    """
    rows = candidates_of(manifest).set_index("image_id")
    found = []
    for knee, members in table.groupby("knee"):
        if len(members) < 3:
            continue
        weakest = np.nan
        if len(members) <= LARGE_GROUP:
            weakest = float(similarities_among(images, rows.loc[members["image_id"]]).min())
        verdict = "large" if np.isnan(weakest) else "consistent" if weakest >= _CONSISTENT else "chained"
        found.append((knee, len(members), int(members["conflict"].iloc[0]), round(weakest, 3), verdict))
    columns = ["knee", "files", "conflict", "weakest_pair", "verdict"]
    return pd.DataFrame(found, columns=columns).sort_values("weakest_pair", na_position="first", ignore_index=True)


def counts(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Files, persons, knees, copies and conflicts by class and in all; a knee of both labels counts in each class."""
    joined = table.merge(manifest[["image_id", "class_name"]], on="image_id")
    sizes = joined.groupby("knee")["image_id"].transform("size")
    levels = [level for level in _LEVELS[1:] if level != "decision" or level in set(table["relation"])]

    def column(part: pd.DataFrame) -> dict[str, int]:
        conflict = part["conflict"] == 1
        return {
            "files": len(part),
            "groups (persons as far as known)": part["group"].nunique(),
            "knees": part["knee"].nunique(),
            "files with a copy": int((sizes[part.index] > 1).sum()),
            "knees with copies": part.loc[sizes[part.index] > 1, "knee"].nunique(),
            **{f"files joined as {level}": int((part["relation"] == level).sum()) for level in levels},
            "knees under both labels": part.loc[conflict, "knee"].nunique(),
            "files of knees under both labels": int(conflict.sum()),
            "files of the largest knee": int(sizes[part.index].max()) if len(part) else 0,
        }

    parts = {str(name): column(part) for name, part in joined.groupby("class_name")}
    return pd.DataFrame({**parts, "all": column(joined)})


def flow(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """From the files found to the knees analysed: step, files, knees and groups (empty where not counted), main.

    `main` marks what remains; the other rows count what was removed or is a copy. For a set with films of osteopenia
    one row gives the study's rule for them.
    """
    joined = table.merge(manifest[["image_id", "sha256"]], on="image_id")
    conflict = joined["conflict"] == 1
    exact = len(joined) - joined["sha256"].nunique()
    knees = joined["knee"].nunique()
    by_people = manifest["reason"].fillna("").str.startswith(DECIDED)
    other, usable = manifest[(manifest["status"] == "excluded") & ~by_people], manifest[manifest["status"] == "ok"]
    decided, refused = int(by_people.sum()), len(manifest) - len(other) - len(joined)

    def counted(part: pd.DataFrame) -> tuple[int, int, int]:
        return len(part), part["knee"].nunique(), part["group"].nunique()

    none = (pd.NA, pd.NA)
    steps = [
        ("found", len(manifest), *none, True),
        ("excluded: of another class", len(other), *none, False),
        *_osteopenia(other, "of these, osteopenia by the study's rule"),
        *([("excluded by a decision", decided, *none, False)] if decided else []),
        ("quarantined: cannot be read or used", refused - decided, *none, False),
        ("readable and labelled", *counted(joined), True),
        *_osteopenia(usable, "of these, osteopenia, counted as {} by the study's rule"),
        ("of these, further files with the same bytes", exact, *none, False),
        ("of these, further near copies", len(joined) - exact - knees, *none, False),
        ("left out: the same knee under both labels", *counted(joined[conflict]), False),
        ("analysed under grouped", *counted(joined[~conflict]), True),
    ]
    table = pd.DataFrame(steps, columns=["step", "files", "knees", "groups", "main"])
    return table.astype({"knees": "Int64", "groups": "Int64"})


def _osteopenia(files: pd.DataFrame, text: str) -> list[tuple]:
    """A step that counts the films of osteopenia among `files`; none where there are none."""
    films = files[files["class_name"] == OSTEOPENIA]
    if films.empty:
        return []
    label = films["label"].iloc[0]
    alike = set(files.loc[files["label"] == label, "class_name"]) if pd.notna(label) else set()
    counted_as = sorted(alike & set(LABELS))
    # In an audit where each folder is a class of its own there is no rule to tell of.
    return [(text.format(*counted_as), len(films), pd.NA, pd.NA, False)] if counted_as or pd.isna(label) else []


def examples(table: pd.DataFrame, seed: int, n_knees: int = 6) -> pd.DataFrame:
    """Rows of the audit table: two files of each of a few random knees, conflicts first, then altered copies."""
    copied = table[table.duplicated("knee", keep=False)]
    order = {"decision": 1, "perceptual": 1, "pixel": 2, "exact": 3}
    rank = copied["relation"].map(order).where(copied["conflict"] == 0, 0)
    shuffled = copied.assign(rank=rank).sample(frac=1, random_state=seed)
    chosen = shuffled.groupby("knee")["rank"].min().sort_values(kind="stable").index[:n_knees]
    # Names begin with the class, so the first and the last film of a conflict differ in label.
    members = copied.sort_values("image_id").groupby("knee")
    pairs = pd.concat([members.head(1), members.tail(1)]).sort_values("image_id").set_index("knee")
    return pairs.loc[chosen].reset_index() if len(chosen) else copied


def leaks(table: pd.DataFrame, sides: pd.Series) -> pd.DataFrame:
    """Groups on more than one side of a split: group, files, sides, and image_ids, largest first.

    `sides` (such as train and test) is indexed by image_id. Raises ValueError where an audited image has no side.
    """
    named = table.assign(side=table["image_id"].map(sides.astype(str)))
    lacking = named.loc[named["side"].isna(), "image_id"]
    if len(lacking):
        raise ValueError(f"the split lacks {len(lacking)} images, such as {lacking.iloc[0]}; expected one row each")
    groups = named.groupby("group").agg(
        files=("image_id", "size"),
        n_sides=("side", "nunique"),
        sides=("side", lambda side: ", ".join(sorted(set(side)))),
        image_ids=("image_id", " ".join),
    )
    leaking = groups[groups["n_sides"] > 1].drop(columns="n_sides")
    return leaking.sort_values("files", ascending=False, kind="stable").reset_index()
