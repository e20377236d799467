"""Which images show the same knee: exact, pixel and perceptual copies, and the groups they form.

Three relations, from strict to loose: `exact` (the same bytes), `pixel` (the same pixels in another file), and
`perceptual` (the same radiograph rescaled, squeezed, cropped, padded, mirrored, re-exposed or recompressed).
Candidates for the last come from a coarse local-contrast fingerprint (a perceptual hash kept in real numbers
instead of bits, compared for each image and its mirror); each is then verified by registration.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from osteo_utils.data import registration
from osteo_utils.data.manifest import film

# Similarity from which two films count as one. Among the 744 real films every pair near it was looked at: different
# knees end at 0.84 (the other knee of the same person) and copies begin at 0.88.
SAME_KNEE = 0.86
# A group whose least alike members still reach this is no chain: above it no two different knees were seen.
_CONSISTENT = 0.85
# Below this agreement in outline, detail is not looked at: no copy is so unlike its source.
_OUTLINE = 0.7
# From here on, films that match only when one is mirrored look like two knees of one person.
_OTHER_SIDE = 0.84
# More files than this in one group are reported for a look by eye, not trusted.
LARGE_GROUP = 6
_LEVELS = ("unique", "exact", "pixel", "perceptual")
_PAIR_COLUMNS = ["first", "second", "mirrored", "outline", "similarity"]
# Which box of one film is held against which of the other (0 frame, 1 leg, 2 core), and how many neighbours each
# comparison may put forward. The second round compares one film per group that the first one found.
_ROUNDS = ({(1, 1): 3, (0, 0): 2}, {(1, 1): 6, (0, 0): 2, (2, 1): 4, (1, 2): 4})
# Fourier peak below which a candidate is dropped. True copies among the real films have 0.86 or more, and ones
# that were cropped, turned and recompressed on purpose mostly 0.77.
_PEAK = 0.77


def candidates_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows that the audit looks at, sorted by image_id: status ok, and a label."""
    kept = manifest[(manifest["status"] == "ok") & manifest["label"].notna() & (manifest["label"] != "")]
    return kept.sort_values("image_id", ignore_index=True)


def compare(images: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Likely pairs of images and how alike they are after registration.

    `images` is the store, uint8 (n, 512, 512); `manifest` as in its contract. Returns one row per pair that was
    looked at: first, second (image_ids, first < second), mirrored (bool), outline (correlation, −1 to 1, of the
    registered legs) and similarity (the lower of outline and detail; where the outline is below 0.7 it stands
    alone). Images with the same pixels are compared once, under the first of their names.
    """
    table = candidates_of(manifest).drop_duplicates("pixel_sha256", ignore_index=True)
    if len(table) < 2:
        return pd.DataFrame(columns=_PAIR_COLUMNS)
    portraits = _portraits(images, table)
    vectors = _unit(portraits.coarse), _unit(portraits.coarse[..., ::-1])
    seen: dict[tuple[int, int, bool], tuple[float, float]] = {}
    labels = np.arange(len(table))
    # Below a hundred films, starting processes costs more than it saves.
    parts = cpu_count() if len(table) > 100 else 1
    for plan in _ROUNDS:
        members = np.unique(labels, return_index=True)[1]
        todo = {
            first: new
            for first, others in _neighbours(vectors, members, plan).items()
            if (new := [other for other in others if (first, *other) not in seen])
        }
        shares = [list(todo.items())[start::parts] for start in range(parts)]
        for found in Parallel(n_jobs=parts)(delayed(_similarities_of)(portraits, share) for share in shares):
            seen.update(found)
        joined = [(a, b) for (a, b, _), (_, similarity) in seen.items() if similarity >= SAME_KNEE]
        labels = _components(len(table), joined)
    names = table["image_id"].tolist()
    rows = [
        (names[a], names[b], mirrored, *np.round(seen[a, b, mirrored], 4)) for a, b, mirrored in sorted(seen)
    ]
    return pd.DataFrame(rows, columns=_PAIR_COLUMNS)


def other_side(pairs: pd.DataFrame) -> pd.DataFrame:
    """Mirrored pairs alike in outline but not in detail: probably the left and the right knee of one person.

    They are not joined, because a group is one knee and no gap separates such pairs from strangers. Returns the
    rows of `pairs` that are mirrored, with an outline of at least 0.84, below SAME_KNEE, most alike first.
    """
    near = (
        pairs["mirrored"].astype(bool) & (pairs["outline"] >= _OTHER_SIDE) & (pairs["similarity"] < SAME_KNEE)
    )
    return pairs[near].sort_values("outline", ascending=False, ignore_index=True)


def audit(images: np.ndarray, manifest: pd.DataFrame, pairs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Groups of images that show the same knee.

    Returns the table `audit.csv`: image_id; group (numbered from 0 in the order of image_id); relation (the
    strongest that joins the image to another one); nearest (image_id of the most similar image, empty where none
    came near); distance (1 − similarity, 0 for the same pixels, empty without a nearest); conflict (1 where the
    group holds both labels). `pairs` from `compare` is computed when not given.
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
    joined = [ends for ends, (level, _) in links.items() if level]
    group = _components(len(table), joined)
    relation = np.zeros(len(table), dtype=int)
    nearest = np.full(len(table), -1)
    distance = np.full(len(table), np.nan)
    for ends, (level, gap) in sorted(links.items()):
        for here, other in (ends, ends[::-1]):
            if level and (relation[here] == 0 or level < relation[here]):
                relation[here] = level
            if nearest[here] < 0 or gap < distance[here]:
                nearest[here], distance[here] = other, gap
    names = table["image_id"].to_numpy(dtype=object)
    labels = table["label"].astype(int).groupby(group)
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
            portraits = _portraits(images, rows.loc[members["image_id"]])
            ends = itertools.combinations(range(len(members)), 2)
            weakest = min(_best_way(portraits, a, b) for a, b in ends)
        verdict = "large" if np.isnan(weakest) else "consistent" if weakest >= _CONSISTENT else "chained"
        found.append((group, len(members), int(members["conflict"].iloc[0]), round(weakest, 3), verdict))
    columns = ["group", "files", "conflict", "weakest_pair", "verdict"]
    return pd.DataFrame(found, columns=columns).sort_values(
        "weakest_pair", na_position="first", ignore_index=True
    )


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
    """From the files found to the knees analysed, as a table step, files, knees (empty before the audit)."""
    joined = table.merge(manifest[["image_id", "sha256"]], on="image_id")
    conflict = joined["conflict"] == 1
    exact = len(joined) - joined["sha256"].nunique()
    knees = joined["group"].nunique()
    clean = joined[~conflict]
    steps = [
        ("found", len(manifest), pd.NA),
        ("unreadable or excluded, or without a label", len(manifest) - len(joined), pd.NA),
        ("readable and labelled", len(joined), knees),
        ("of these: further files with the same bytes", exact, pd.NA),
        ("of these: further near copies", len(joined) - exact - knees, pd.NA),
        (
            "left out: the same knee under both labels",
            int(conflict.sum()),
            joined[conflict]["group"].nunique(),
        ),
        ("analysed under grouped", len(clean), clean["group"].nunique()),
    ]
    return pd.DataFrame(steps, columns=["step", "files", "knees"]).astype({"knees": "Int64"})


def _portraits(images: np.ndarray, table: pd.DataFrame) -> registration.Portraits:
    films = [film(images, row) for row in table.itertuples()]
    return registration.portraits(films, list(zip(table["height"], table["width"], strict=True)))


def _unit(coarse: np.ndarray) -> np.ndarray:
    """Vectors of length one and mean zero, (boxes, n, pixels)."""
    flat = coarse.reshape(*coarse.shape[:2], -1).transpose(1, 0, 2)
    flat = flat - flat.mean(axis=2, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1e-9)


def _neighbours(
    vectors: tuple[np.ndarray, np.ndarray],
    members: np.ndarray,
    plan: dict[tuple[int, int], int],
    block: int = 2048,
) -> dict[int, list[tuple[int, bool]]]:
    """Nearest by fingerprint, as first -> (second, mirrored); in blocks, so that memory grows only with n."""
    found = set()
    for (query_box, box), count in plan.items():
        count = min(count, len(members) - 1)
        for mirrored in (False, True) if count else ():
            queries, gallery = vectors[mirrored][query_box][members], vectors[0][box][members]
            for start in range(0, len(members), block):
                alike = queries[start : start + block] @ gallery.T
                rows = np.arange(len(alike))
                alike[rows, start + rows] = -np.inf
                for row, top in enumerate(np.argpartition(-alike, count - 1, axis=1)[:, :count]):
                    ends = ((int(members[start + row]), int(members[column])) for column in top)
                    found.update((min(pair), max(pair), mirrored) for pair in ends)
    neighbours: dict[int, list[tuple[int, bool]]] = {}
    for first, second, mirrored in sorted(found):
        neighbours.setdefault(first, []).append((second, mirrored))
    return neighbours


def _similarities_of(
    portraits: registration.Portraits, share: list[tuple[int, list[tuple[int, bool]]]]
) -> dict[tuple[int, int, bool], tuple[float, float]]:
    return {
        (first, *other): values
        for first, others in share
        for other, values in zip(others, _similarities(portraits, first, others), strict=True)
    }


def _similarities(
    portraits: registration.Portraits, first: int, others: list[tuple[int, bool]], peak: float = _PEAK
) -> list[tuple[float, float]]:
    """Outline and similarity with each of `others` (second, mirrored); below `peak` nothing is registered."""
    if not others:
        return []
    flips = [slice(None, None, -1 if mirrored else 1) for _, mirrored in others]
    coarse = np.stack(
        [portraits.coarse[other, 1][:, flip] for (other, _), flip in zip(others, flips, strict=True)]
    )
    warps, peaks = registration.search(portraits.coarse[first, 1], coarse)
    found = []
    for (other, mirrored), flip, warp, height in zip(others, flips, warps, peaks, strict=True):
        leg, grey = (np.ascontiguousarray(kind[other][:, flip]) for kind in (portraits.leg, portraits.grey))
        box = portraits.boxes[other].copy()
        if mirrored:
            box[[0, 2]] = 1 - box[[2, 0]]
        same_field = registration.frame_start(portraits.boxes[first], box)
        starts = [warp, np.eye(2, 3), same_field] if height >= peak else []
        warp, outline = registration.register(portraits.leg[first], leg, starts)
        fine = outline
        if outline >= _OUTLINE:
            pixels = portraits.pixels[first], portraits.pixels[other]
            fine = registration.detail(portraits.grey[first], grey, warp, *pixels)
        found.append((outline, min(outline, fine)))
    return found


def _best_way(portraits: registration.Portraits, first: int, second: int) -> float:
    ways = [(second, mirrored) for mirrored in (False, True)]
    return max(similarity for _, similarity in _similarities(portraits, first, ways, peak=-1.0))


def _components(size: int, links: list[tuple[int, int]]) -> np.ndarray:
    """Connected components, numbered in the order of their first member."""
    ends = np.array(links, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    return pd.factorize(labels)[0]


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
