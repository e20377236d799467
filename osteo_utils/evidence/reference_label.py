"""A reference label beside the folders, such as a T-score: whether both agree, and which of them a score follows.

It comes from a table `reference.csv` beside the class folders, from the registry's crosswalk to another set, or from
the density that a synthetic knee was drawn with. Films of one source film or one group are those of one person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from osteo_utils.audit import copies, crosswalk
from osteo_utils.evidence import shortcuts
from osteo_utils.images.manifest import usable
from osteo_utils.protocols import splits
from osteo_utils.sources import registry, user_tables
from osteo_utils.statistics import evaluation
from osteo_utils.statistics.metrics import Undefined, measure
from osteo_utils.statistics.resampling import resample, strata
from osteo_utils.study import results
from osteo_utils.study.results import Estimate

GRADES = ("normal", "osteopenia", "osteoporosis")
# T-scores (WHO Technical Report Series 843, 1994): osteoporosis up to the first, normal from the second.
CUTS = (-2.5, -1.0)
# A T-score beyond these is a wrong column or unit.
POSSIBLE = (-10.0, 10.0)
STEM = "reference"
COLUMNS = ("image_id", "value", "t_score", "source", "name")
ASKED = (
    "question", "follows", "among", "value", "low", "high", "chance", "chance_low", "chance_high", "p_value", "n_files",
    "n_groups",
)  # fmt: skip
# With fewer films of either class no question is asked.
FEWEST = 10


def store(root: Path, dataset: str, manifest: pd.DataFrame, path: Path, say: Callable[[str], None] = print) -> int:
    """Write the reference of each usable film to `path`; returns how many films have one.

    Columns: image_id; value (one of GRADES, empty where the source has several); t_score (empty where only the class is
    known); source (film of another set that it was cut from, or empty); name (what the reference is). Without a
    reference the file is removed, as that of an earlier data set must not pass for it. `say` is told of remarks.
    Raises ValueError for a bad table.
    """
    files = usable(manifest)[["image_id", "sha256"]]
    if table := user_tables.find(root, STEM):
        found = _of_table(table, manifest["image_id"].tolist(), say).merge(files["image_id"])
    elif registry.get(dataset).crosswalk:
        found = _of_crosswalk(registry.get(dataset), files, say)
    elif (root / "phantom.json").is_file():
        truth = results.read_table(root / "truth.csv")[["image_id", "t_score"]]
        found = truth[truth["image_id"].isin(files["image_id"])].assign(name="T-score of the drawn density")
        found["value"] = found["t_score"].map(grade)
    else:
        found = pd.DataFrame()
    if found.empty or not found["value"].isin(GRADES).any():
        path.unlink(missing_ok=True)
        return 0
    found = found.reindex(columns=list(COLUMNS)).astype({"value": object, "source": object})
    found[["value", "source"]] = found[["value", "source"]].fillna("")
    results.write_table(path, found.sort_values("image_id", ignore_index=True))
    return int((found["value"] != "").sum())


def grade(t_score: float) -> str:
    """The WHO's class of a T-score."""
    return GRADES[2] if t_score <= CUTS[0] else GRADES[1] if t_score < CUTS[1] else GRADES[0]


def _of_table(path: Path, files: list[str], say: Callable[[str], None]) -> pd.DataFrame:
    known = user_tables.classes(path, files, "value")
    for remark in known.remarks:
        say(remark)
    rows = []
    for name, written in known.values.items():
        word, number = written.strip().lower(), _number(written)
        if word not in GRADES and (number is None or not POSSIBLE[0] <= number <= POSSIBLE[1]):
            raise ValueError(
                f"{path}: {name} has the value {written!r}; expected {', '.join(GRADES)}, or a T-score between "
                f"{POSSIBLE[0]:g} and {POSSIBLE[1]:g}; leave it empty where it is not known"
            )
        rows.append((name, word if number is None else grade(number), number))
    numbers = [number for *_, number in rows if number is not None]
    if len(numbers) == len(rows) and min(numbers, default=-1) >= 0:
        raise ValueError(
            f"{path}: none of its {len(rows)} numbers is below 0, so they may be codes of classes or a density; expected "
            f"T-scores, or {', '.join(GRADES)}; write these words, also where all T-scores are 0 or more"
        )
    return pd.DataFrame(rows, columns=["image_id", "value", "t_score"]).assign(name=f"value in {path.name}")


def _number(written: str) -> float | None:
    try:
        # Python would read 1_0 as ten.
        return None if "_" in written else float(written.replace(",", ".").replace("\u2212", "-"))
    except ValueError:
        return None


def _of_crosswalk(entry: registry.DataSet, files: pd.DataFrame, say: Callable[[str], None]) -> pd.DataFrame:
    """The class of each film's source; films are known by their bytes, or by their name in a scaled copy of the set."""
    walked = pd.read_csv(Path(registry.__file__).with_name(entry.crosswalk), keep_default_na=False)
    one = crosswalk.sources_of(walked)
    names = files["sha256"].map(one.drop_duplicates("sha256").set_index("sha256")["image_id"])
    by_bytes = names.notna()
    if set(files["image_id"]) <= set(one["image_id"]):
        names = names.where(by_bytes, files["image_id"])
    if renamed := int((~by_bytes).sum()):
        how = "known by their name" if names.notna().all() else "without a reference"
        say(f"{renamed} of {len(files)} films have other bytes than published; they are {how}")
    found = files.assign(known=names).merge(one.rename(columns={"image_id": "known"}), on="known", suffixes=("", "_"))
    found = found[found["source"] != ""].assign(name=f"class in {entry.crosswalk_to}")
    return found.rename(columns={"source_class": "value"})


def joined(reference: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The films with a reference: image_id, label (0, 1), class_name, value, level (0 to 2), t_score, source, person.

    `images` has image_id, label, class_name and group. A person is whoever shares a group or a source film; persons are
    numbered over all images.
    """
    table = images[["image_id", "label", "class_name", "group"]].merge(reference, on="image_id", how="left")
    first = {}
    links = []
    for column in ("group", "source"):
        for row, value in enumerate(table[column]):
            if pd.notna(value) and value != "":
                links.append((first.setdefault((column, value), row), row))
    table["person"] = copies.components(len(table), links)
    known = table[table["value"].isin(GRADES)]
    return known.assign(level=known["value"].map(GRADES.index)).reset_index(drop=True)


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """Files, and in brackets persons, by folder (rows) and reference (columns)."""

    cells = {
        value: {
            name: f"{len(part)} ({part['person'].nunique()})"
            for name, part in table[table["value"] == value].groupby("class_name")
        }
        for value in GRADES
    }
    return pd.DataFrame(cells).fillna("0 (0)").sort_index().rename_axis("class_name")


def agreement(table: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """How far folder and reference agree, each with an interval from resampled persons; the note is the reference's name.

    `kappa` is Cohen's kappa of osteoporosis against the rest, `kappa_extremes` that among films whose reference is
    normal or osteoporosis, `kappa_weighted` has linear weights over three levels, with normal and osteoporosis of the
    folders at the ends. A kappa is left out where folder or reference is always the same, all
    where every resample is the same. `same` is the share of films that count as the class that the reference names, where it is
    normal or osteoporosis, and `osteopenia` the share of all films where it is neither.
    """
    level, folder = table["level"].to_numpy(), 2 * table["label"].to_numpy(int)
    extreme = level != 1

    def kappa(a: np.ndarray, b: np.ndarray, weights: np.ndarray, labels: list[int], kind: str | None = None) -> float:
        # Where one of the two is always the same, kappa is 0 or has no value, whatever the other says.
        if min(len(set(a)), len(set(b))) < 2:
            return np.nan
        return cohen_kappa_score(a, b, labels=labels, weights=kind, sample_weight=weights)

    def values(rows: np.ndarray, weight: np.ndarray) -> list[float]:
        a, b, far = folder[rows], level[rows], extreme[rows]
        return [
            kappa(a == 2, b == 2, weight, [False, True]),
            kappa(a[far], b[far], weight[far], [0, 2]),
            kappa(a, b, weight, [0, 1, 2], "linear"),
            float(np.average((a == b)[far], weights=weight[far])) if weight[far].any() else np.nan,
            float(np.average(~far, weights=weight)),
        ]

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        every = np.ones((1, len(rows))) if weights is None else weights.astype(float)
        return np.array([values(rows, one) for one in every])

    frame = table.assign(group=table["person"], y_true=table["label"], seed=0)
    if max(map(len, strata(table["person"], table["label"])[1])) < 2:
        return {}
    point, drawn = resample(frame, statistic, n_resamples, seed)
    size = {"n_files": len(table), "n_groups": table["person"].nunique(), "note": table["name"].iloc[0]}
    names = ("kappa", "kappa_extremes", "kappa_weighted", "same", "osteopenia")
    return {
        name: Estimate(float(point[k]), *np.nanquantile(drawn[:, k], [0.025, 0.975]).tolist(), **size)
        for k, name in enumerate(names)
        if np.isfinite(point[k])
    }


def questions(
    predictions: pd.DataFrame, table: pd.DataFrame, n_permutations: int, n_resamples: int, seed: int
) -> pd.DataFrame:
    """What the scores of one model follow: the folder, the reference, or the folder among films of one reference class.

    `predictions` are out of fold, one recipe and variant, `table` is that of `joined`. One row per question that can be
    asked: question, follows (folder or reference), among (which films), AUROC value, low, high; chance, chance_low and
    chance_high (mean and 95 % range with labels exchanged between persons), p_value (share of exchanges that reach the value),
    n_files, n_groups (persons). Intervals resample persons.
    """
    merged = predictions.merge(table[["image_id", "level", "person"]], on="image_id").drop(columns="group")
    merged = merged.rename(columns={"person": "group"})
    extremes = merged[merged["level"] != 1]
    asked = {
        "folder, all films with a reference": ("folder", "all", merged),
        "folder, reference normal or osteoporosis": ("folder", "extremes", extremes),
        "reference, normal against osteoporosis": (
            "reference", "extremes", extremes.assign(y_true=(extremes["level"] == 2).astype(int)),
        ),
        **{
            f"folder, among films of reference {name}": ("folder", name, merged[merged["level"] == level])
            for level, name in enumerate(GRADES)
        },
    }  # fmt: skip
    rows = []
    for question, (follows, among, part) in asked.items():
        if part.drop_duplicates("image_id")["y_true"].value_counts().reindex([0, 1], fill_value=0).min() < FEWEST:
            continue
        try:
            found = evaluation.summarise(part, ["auroc"], n_resamples, seed)["auroc"]
        except Undefined:
            continue
        chance, p_value = _chance(part, found.value, n_permutations, seed)
        size = found.n_files, found.n_groups
        rows.append((question, follows, among, found.value, found.low, found.high, *chance, p_value, *size))
    return pd.DataFrame(rows, columns=list(ASKED))


def _chance(part: pd.DataFrame, reached: float, n_permutations: int, seed: int) -> tuple[tuple[float, ...], float]:
    """Mean and 95 % range of the AUROC when labels are exchanged between persons, and the share that reaches the true one.

    Where films of a person differ in label, each label of the person is a unit of its own.
    """
    units = part[["group", "y_true"]].drop_duplicates(ignore_index=True)
    place = pd.MultiIndex.from_frame(units).get_indexer(pd.MultiIndex.from_frame(part[["group", "y_true"]]))
    rng, labels = np.random.default_rng(seed), units["y_true"].to_numpy()
    score, of_seed = part["y_prob"].to_numpy(), list(part.groupby("seed").indices.values())
    found = []
    for _ in range(n_permutations):
        drawn = rng.permutation(labels)[place]
        found.append(np.mean([measure(drawn[rows], score[rows], ["auroc"])["auroc"][0] for rows in of_seed]))
    low, high = np.quantile(found, [0.025, 0.975])
    chance = float(np.mean(found)), float(low), float(high)
    return chance, (1 + int((np.array(found) >= reached).sum())) / (n_permutations + 1)


def trend(predictions: pd.DataFrame, table: pd.DataFrame, n_resamples: int, seed: int) -> Estimate | None:
    """Spearman's rank correlation of the scores with the reference (T-score reversed, or class), persons resampled.

    None where the reference or the score has one level, or all resamples are the same.
    """
    severity = table["level"] if table["t_score"].isna().any() else -table["t_score"]
    merged = predictions.merge(table.assign(severity=severity)[["image_id", "severity", "person"]], on="image_id")
    if merged["severity"].nunique() < 2 or (merged.groupby("seed")["y_prob"].nunique() < 2).any():
        return None
    frame = merged.drop(columns="group").rename(columns={"person": "group"})
    if max(map(len, strata(frame["group"], frame["y_true"])[1])) < 2:
        return None
    score, order = frame["y_prob"].to_numpy(), frame["severity"].to_numpy(float)

    def statistic(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        every = [np.ones(len(rows), int)] if weights is None else weights
        drawn = (np.repeat(rows, count) for count in every)
        return np.array([[stats.spearmanr(score[chosen], order[chosen]).statistic] for chosen in drawn])

    point, drawn = resample(frame, statistic, n_resamples, seed)
    low, high = np.nanquantile(drawn[:, 0], [0.025, 0.975])
    n_files, n_groups = frame["image_id"].nunique(), frame["group"].nunique()
    return Estimate(float(point[0]), float(low), float(high), n_files, n_groups, note="persons resampled")


def probe(
    features: Mapping[str, np.ndarray],
    table: pd.DataFrame,
    n_folds: int,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> dict[str, shortcuts.Finding]:
    """What a linear model learns that is trained on the reference, normal against osteoporosis, persons kept apart.

    `features` has for each network the rows of `table`, (n, c). Empty where the persons are too few for folds that all
    have both classes.
    """
    extreme = (table["level"] != 1).to_numpy()
    chosen = table[extreme].reset_index(drop=True)
    chosen = chosen.assign(label=(chosen["level"] == 2).astype(int), group=chosen["person"], conflict=0)
    try:
        folds = splits.make_folds(chosen, "grouped_all", n_folds, seed).set_index("image_id")["fold"]
    except ValueError:
        return {}
    sets = {name: rows[extreme] for name, rows in features.items()}
    return shortcuts.compare_all(sets, chosen, folds, n_permutations, n_resamples, seed)
