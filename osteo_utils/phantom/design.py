"""Plan of a synthetic set: one row per file, with every deliberate fault and every deliberate clue."""

import numpy as np
import pandas as pd

from osteo_utils.phantom.acquisition import SITES
from osteo_utils.phantom.drawing import YOUNG_MEAN, YOUNG_SD, is_osteoporosis

CLASSES = ("normal", "osteoporosis")
ALTERATIONS = ("exact", "jpeg", "rescaled", "mirrored", "brightness")
# Share of films with a lead ball when it says nothing about the class.
TAG_RATE = 0.1

_COLUMNS = (
    "image_id knee label class_name true_label density t_score copy_of alteration conflict flipped seed side layout "
    "height width format quality mode strength tagged site signal".split()
)


def plan(
    n_knees: int,
    seed: int,
    size: int = 512,
    *,
    copies: float = 0.25,
    alterations: tuple[str, ...] = ALTERATIONS,
    conflicts: float = 0.1,
    signal: float = 1.0,
    label_noise: float = 0.0,
    shortcut: float = 0.0,
    relabel: float = 0.0,
    site: str = "flat_panel",
    square: bool = False,
) -> pd.DataFrame:
    """Plan a set: one row per file, half of the knees with osteoporosis.

    copies: mean number of further files per knee (0.25: every fourth knee has two files; 1.5: half have two, half
    three). alterations: how copies may differ, another way for each file of a knee. conflicts: share of copied knees
    whose second file has the other label. signal: how strongly cortex and texture depend on density, 0 to 1.
    label_noise: share of knees whose files all have the wrong label. shortcut: association of a lead ball with the
    folder's label, 0 (on one film in ten of either class) to 1 (on every film of osteoporosis, on no other). relabel:
    above 0, half of the knees of either class come from the other scanner, and this share of all knees has the label of
    its scanner, normal for `site` and osteoporosis for the other one. site: the scanner, one of `acquisition.SITES`.
    square: every file is size x size, without rescaled copies, for studies on arrays. Shape, format, side and marker are
    independent of the class.

    Columns: image_id, knee, label (the folder's), class_name, true_label (WHO's definition), density (g/cm²),
    t_score, copy_of (image_id), alteration, conflict (0/1, all files of the knee), flipped (0/1, by label noise),
    seed, side, layout, height, width, format, quality, mode, strength (of the alteration), tagged (0/1), site,
    signal. Raises ValueError for a value outside its range.
    """
    shares = {"conflicts": conflicts, "signal": signal, "label_noise": label_noise, "shortcut": shortcut}
    shares["relabel"] = relabel
    possible = tuple(name for name in alterations if not (square and name == "rescaled"))
    _check(n_knees, copies, shares, alterations, possible, site)
    rng = np.random.default_rng([seed, 0])
    sick = rng.permutation(n_knees) < n_knees // 2
    # Triangular: most knees lie well inside their class, few near the threshold.
    scores = np.where(sick, rng.triangular(-4.5, -3.2, -2.6, n_knees), rng.triangular(-1.0, 0.0, 1.5, n_knees))
    extra = np.full(n_knees, int(copies))
    extra[rng.choice(n_knees, round((copies % 1) * n_knees), replace=False)] += 1
    copied = np.flatnonzero(extra)
    crossed = set(rng.choice(copied, round(conflicts * len(copied)), replace=False).tolist())
    # A stream of its own: the films stay the same at any level of noise.
    noise = np.random.default_rng([seed, 4])
    flipped = set(noise.choice(n_knees, round(label_noise * n_knees), replace=False).tolist())
    # A stream of its own again: without relabelling nothing else changes. Half of either class, so that scanner and
    # density are independent in the set itself and not only on average.
    sorting = np.random.default_rng([seed, 5])
    mixed = sorting.permutation(n_knees)
    elsewhere = np.zeros(n_knees, bool)
    elsewhere[mixed[np.argsort(sick[mixed], kind="stable")][::2]] = relabel > 0
    sorted_by_site = set(sorting.choice(n_knees, round(relabel * n_knees), replace=False).tolist())
    sites = site, next(other for other in SITES if other != site)
    # Round robin from a random start: all alterations are equally frequent.
    turns = np.zeros(n_knees, int)
    turns[copied] = rng.permutation(np.arange(len(copied)) % max(len(possible), 1))
    shuffled = rng.permutation(possible)

    rows: list[dict] = []
    for knee in range(n_knees):
        first = first_file(knee, seed, float(scores[knee]), size, square)
        first |= {"conflict": int(knee in crossed), "flipped": int(knee in flipped)}
        first["site"] = sites[int(elsewhere[knee])]
        if knee in sorted_by_site:
            first["label"] = int(elsewhere[knee])
        if knee in flipped:
            first["label"] = 1 - first["label"]
        rows.append(first)
        for turn in range(extra[knee]):
            kind = str(shuffled[(turns[knee] + turn) % len(possible)])
            rows.append(_copy(first, kind, turn, seed))
    table = pd.DataFrame(rows).assign(signal=float(signal))
    # The ball is part of the film, so a copy shows it as the first file does, whatever its own label.
    firsts = table.drop_duplicates("knee").set_index("knee")["label"]
    chance = TAG_RATE * (1 - shortcut) + shortcut * firsts
    tagged = np.random.default_rng([seed, 3]).random(n_knees) < chance
    table["tagged"] = table["knee"].map(tagged.astype(int))
    return _named(table, rng)


def _check(n_knees: int, copies: float, shares: dict, alterations: tuple, possible: tuple, site: str) -> None:
    if n_knees < 4:
        raise ValueError(f"n_knees is {n_knees}; expected at least 4, two of each class")
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; expected a share from 0 to 1")
    if unknown := sorted(set(alterations) - set(ALTERATIONS)):
        raise ValueError(f"alterations {unknown} are not known; expected some of {ALTERATIONS}")
    if not 0 <= copies <= len(possible):
        raise ValueError(f"copies is {copies}; expected 0 to {len(possible)} per knee, one for each of {possible}")
    if site not in SITES:
        raise ValueError(f"site is {site!r}; expected one of {SITES}")


def _named(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    table["class_name"] = [CLASSES[label] for label in table["label"]]
    # Random numbers: neither the order nor the number of a file gives away its copy.
    numbers = rng.permutation(len(table)) + 1
    names = zip(table["class_name"], numbers, table["format"], strict=True)
    table["image_id"] = [f"{name}/P{number:04d}.{ending}" for name, number, ending in names]
    firsts = table.drop_duplicates("knee").set_index("knee")["image_id"]
    table["copy_of"] = table["knee"].map(firsts).where(table.duplicated("knee"), "")
    return table[_COLUMNS].sort_values("image_id", ignore_index=True)


def first_file(knee: int, seed: int, score: float, size: int, square: bool) -> dict:
    """Row of a knee's first file; only label and density depend on `score`, the T-score."""
    rng = np.random.default_rng([seed, 1, knee])
    # Shapes of the public set: portrait, some of whole legs, and one in nine landscape.
    shapes = [(0.5, "open"), (0.42, "open"), (0.5, "collimated"), (0.62, "collimated"), (1.22, "open")]
    shapes += [(0.5, "long"), (0.4, "long")]
    aspect, layout = shapes[rng.choice(len(shapes), p=[0.34, 0.15, 0.15, 0.1, 0.11, 0.1, 0.05])]
    edge = round(size * rng.choice([1.0, 0.9, 0.8]))
    height, width = (edge, round(edge * aspect)) if aspect <= 1 else (round(edge / aspect), edge)
    if square:
        height, width = size, size
    density = YOUNG_MEAN + YOUNG_SD * score
    label = int(is_osteoporosis(density))
    return {
        **{"knee": knee, "label": label, "true_label": label, "density": density, "t_score": score},
        **{"alteration": "", "conflict": 0, "seed": int(rng.integers(2**31)), "layout": layout},
        **{"side": str(rng.choice(["L", "R"])), "height": height, "width": width, "strength": 0.0},
        **{"format": str(rng.choice(["jpg", "png"], p=[0.7, 0.3])), "quality": int(rng.integers(80, 96))},
        "mode": str(rng.choice(["L", "RGB"])),
    }


def _copy(first: dict, alteration: str, turn: int, seed: int) -> dict:
    rng = np.random.default_rng([seed, 2, first["knee"], turn])
    row = {**first, "alteration": alteration}
    if first["conflict"] and turn == 0:
        row["label"] = 1 - first["label"]
    if alteration == "jpeg":
        row.update(format="jpg", quality=int(rng.integers(45, 70)))
    if alteration == "rescaled":
        scale = float(rng.uniform(0.55, 0.85))
        row.update(height=round(first["height"] * scale), width=round(first["width"] * scale), strength=scale)
    if alteration == "brightness":
        row["strength"] = float(rng.choice([-1, 1]) * rng.uniform(0.12, 0.3))
    return row
