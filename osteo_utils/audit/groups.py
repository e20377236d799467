"""What an audit of a set of films says: groups of the same knee, conflicts, counts and the flow of files.

Three relations join images, from strict to loose: `exact` (the same bytes), `pixel` (the same pixels in another
file) and `perceptual` (the same radiograph altered, see `copies`); where a table of patients is given, `patient`
joins the films of one person.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from osteo_utils.audit.copies import SAME_KNEE, candidates_of, compare, components, similarities_among
from osteo_utils.images.manifest import OSTEOPENIA
from osteo_utils.sources.registry import LABELS

# A group whose least alike members still reach this is no chain: above it no two different knees were seen.
_CONSISTENT = 0.85
# More files than this in one group are reported for a look by eye, not trusted.
LARGE_GROUP = 6
_LEVELS = ("unique", "exact", "pixel", "perceptual", "patient")
_PATIENT = 4


def audit(images: np.ndarray, manifest: pd.DataFrame, pairs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Groups of images that belong on one side of a split.

    Returns the table `audit.csv`: image_id; group (numbered from 0 in the order of image_id); relation (the
    strongest that joins the image to another one); nearest (image_id of the most similar image, empty where none
    came near); distance (1 − similarity, 0 for the same pixels, empty without a nearest); conflict (1 where copies
    of one film hold both labels; the two knees of a patient may differ). `pairs` from `compare` is computed when
    not given.
    """
    if pairs is None:
        pairs = compare(images, manifest)
    table = candidates_of(manifest)
    place = {name: number for number, name in enumerate(table["image_id"])}
    links: dict[tuple[int, int], tuple[int, float]] = {}
    for level, column in ((1, "sha256"), (2, "pixel_sha256")):
        for members in table.groupby(column).indices.values():
            for other in members[1:]:
                links.setdefault((int(members[0]), int(other)), (level, 0.0))
    for pair in pairs.sort_values("similarity").itertuples():
        ends = place[pair.first], place[pair.second]
        link = 3 if pair.similarity >= SAME_KNEE else 0
        links[ends] = max(link, links.get(ends, (0, 0.0))[0]), 1.0 - pair.similarity
    copied = [ends for ends, (level, _) in links.items() if level]
    knee = components(len(table), copied)
    persons = _of_one_patient(table)
    group = components(len(table), copied + persons)
    relation = np.zeros(len(table), dtype=int)
    relation[[end for ends in persons for end in ends]] = _PATIENT
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
            "relation": [_LEVELS[level] for level in relation],
            "nearest": [names[other] if other >= 0 else "" for other in nearest],
            "distance": np.round(distance, 4),
            "conflict": (labels.transform("nunique") > 1).astype(int).to_numpy(),
        }
    )


def _of_one_patient(table: pd.DataFrame) -> list[tuple[int, int]]:
    """Links between the films of each patient; none where no patient is known."""
    if "patient" not in table:
        return []
    known = table["patient"].fillna("").astype(str)
    films = table[known != ""].groupby(known[known != ""]).indices
    rows = np.flatnonzero(known != "")
    return [(int(rows[members[0]]), int(rows[other])) for members in films.values() for other in members[1:]]


def inspect_groups(table: pd.DataFrame, images: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Groups of three or more images, weakest first: does every member resemble every other?

    A chain A-B-C could join knees that A and C do not share. Returns group, files, conflict, weakest_pair
    (the similarity of the two least alike members; all are registered here) and verdict (`consistent`,
    `chained`: some pair is as unlike as two different knees, `large`: more than LARGE_GROUP files, look by eye).
    """
    rows = candidates_of(manifest).set_index("image_id")
    found = []
    for group, members in table.groupby("group"):
        if len(members) < 3:
            continue
        weakest = np.nan
        if len(members) <= LARGE_GROUP:
            weakest = float(similarities_among(images, rows.loc[members["image_id"]]).min())
        verdict = "large" if np.isnan(weakest) else "consistent" if weakest >= _CONSISTENT else "chained"
        found.append((group, len(members), int(members["conflict"].iloc[0]), round(weakest, 3), verdict))
    columns = ["group", "files", "conflict", "weakest_pair", "verdict"]
    return pd.DataFrame(found, columns=columns).sort_values("weakest_pair", na_position="first", ignore_index=True)


def counts(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Files, distinct knees, copies and conflicts, one column per class and one for all.

    A group with both labels counts as a knee of each class and once under `all`.
    """
    joined = table.merge(manifest[["image_id", "class_name"]], on="image_id")
    sizes = joined.groupby("group")["image_id"].transform("size")

    def column(part: pd.DataFrame) -> dict[str, int]:
        conflict = part["conflict"] == 1
        return {
            "files": len(part),
            "groups (distinct knees)": part["group"].nunique(),
            "files with a copy": int((sizes[part.index] > 1).sum()),
            "groups with copies": part.loc[sizes[part.index] > 1, "group"].nunique(),
            **{f"files joined as {level}": int((part["relation"] == level).sum()) for level in _LEVELS[1:]},
            "conflict groups": part.loc[conflict, "group"].nunique(),
            "conflict files": int(conflict.sum()),
            "files in the largest group": int(sizes[part.index].max()) if len(part) else 0,
        }

    parts = {str(name): column(part) for name, part in joined.groupby("class_name")}
    return pd.DataFrame({**parts, "all": column(joined)})


def flow(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """From the files found to the knees analysed: step, files, knees (empty where not counted), main.

    `main` marks what remains after the steps before it; the other rows are what was taken out or is a copy. Where the
    set has films of osteopenia, a row says what the study's rule makes of them.
    """
    joined = table.merge(manifest[["image_id", "sha256"]], on="image_id")
    conflict = joined["conflict"] == 1
    exact = len(joined) - joined["sha256"].nunique()
    knees = joined["group"].nunique()
    excluded = int((manifest["status"] == "excluded").sum())
    steps = [
        ("found", len(manifest), pd.NA, True),
        ("excluded: of another class", excluded, pd.NA, False),
        ("quarantined: cannot be read or used", len(manifest) - excluded - len(joined), pd.NA, False),
        ("readable and labelled", len(joined), knees, True),
        ("of these, further files with the same bytes", exact, pd.NA, False),
        ("of these, further near copies", len(joined) - exact - knees, pd.NA, False),
        ("left out: the same knee under both labels", int(conflict.sum()), joined[conflict]["group"].nunique(), False),
        ("analysed under grouped", int((~conflict).sum()), joined[~conflict]["group"].nunique(), True),
    ]
    steps[2:2] = _osteopenia(manifest[manifest["status"] == "excluded"], "of these, osteopenia by the study's rule")
    kept = manifest[manifest["status"] == "ok"]
    place = next(number for number, step in enumerate(steps) if step[0].startswith("of these, further"))
    steps[place:place] = _osteopenia(kept, "of these, osteopenia, counted as {} by the study's rule")
    return pd.DataFrame(steps, columns=["step", "files", "knees", "main"]).astype({"knees": "Int64"})


def _osteopenia(files: pd.DataFrame, words: str) -> list[tuple]:
    """A step that counts the films of osteopenia among `files`; none where there are none."""
    between = files[files["class_name"] == OSTEOPENIA]
    if between.empty:
        return []
    label = between["label"].iloc[0]
    known = [name for name, number in LABELS.items() if number == label] if pd.notna(label) else []
    return [(words.format(*known), len(between), pd.NA, False)]


def examples(table: pd.DataFrame, seed: int, n_groups: int = 6) -> pd.DataFrame:
    """Two files of each of a few groups, conflicts first, then altered copies, drawn by `seed`.

    Returns rows of the audit table, the two files of a group one after the other; empty without copies.
    """
    copied = table[table["relation"] != "unique"]
    order = {"perceptual": 1, "pixel": 2, "exact": 3}
    rank = copied["relation"].map(order).where(copied["conflict"] == 0, 0)
    shuffled = copied.assign(rank=rank).sample(frac=1, random_state=seed)
    chosen = shuffled.groupby("group")["rank"].min().sort_values(kind="stable").index[:n_groups]
    # Names begin with the class, so the first and the last of a conflict stand under different labels.
    members = copied.sort_values("image_id").groupby("group")
    pairs = pd.concat([members.head(1), members.tail(1)]).sort_values("image_id").set_index("group")
    return pairs.loc[chosen].reset_index() if len(chosen) else copied


def leaks(table: pd.DataFrame, sides: pd.Series) -> pd.DataFrame:
    """Groups that lie on more than one side of a split: group, files, sides, and image_ids, largest first.

    `sides` is indexed by image_id (train, test, a fold's number, a set's name). Raises ValueError where an audited
    image has no side.
    """
    named = table.assign(side=table["image_id"].map(sides.astype(str)))
    if named["side"].isna().any():
        lacking = named.loc[named["side"].isna(), "image_id"]
        raise ValueError(
            f"the split says nothing of {len(lacking)} images, such as {lacking.iloc[0]}; expected one row each"
        )
    groups = named.groupby("group").agg(
        files=("image_id", "size"),
        n_sides=("side", "nunique"),
        sides=("side", lambda side: ", ".join(sorted(set(side)))),
        image_ids=("image_id", " ".join),
    )
    torn = groups[groups["n_sides"] > 1].drop(columns="n_sides")
    return torn.sort_values("files", ascending=False, kind="stable").reset_index()
