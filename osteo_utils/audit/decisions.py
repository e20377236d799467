"""What people decided about films: two of them show one knee or two, one of them is left out or stays.

The decisions stand in a table `decisions.csv` beside the class folders, written by hand or by the page of the audit,
and every run follows them. No decision changes a label: that would change what the study is about without anybody
seeing it. A film whose label cannot be right is left out, with the reason.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from osteo_utils.audit.copies import SAME_KNEE, candidates_of, components
from osteo_utils.images.manifest import DECIDED, EXTERNAL
from osteo_utils.sources import data_folders, table_files, user_tables
from osteo_utils.sources.film_names import FilmNames
from osteo_utils.study import paths, results, runtime

STEM = "decisions"
COLUMNS = ("image_id", "other", "verdict", "who", "when", "why")
# Verdicts on a pair of films, and those on one film.
SAME, DIFFERENT, EXCLUDE, KEEP = "same", "different", "exclude", "keep"
PAIR, FILM = (SAME, DIFFERENT), (EXCLUDE, KEEP)
# What a spreadsheet would run; the page of the audit writes an apostrophe before it.
RISKY = re.compile(r"^'(?=[=+@-])")

Ends = tuple[int, int]
# For each pair of rows the level of the relation that joins them (0: none does) and the distance, as in `groups`.
Links = dict[Ends, tuple[int, float]]


@dataclass(frozen=True)
class Decisions:
    """Decisions (COLUMNS, one row each, films by their `image_id`), remarks, and SHA-256 by table."""

    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS), dtype=str))
    remarks: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def excluded(self) -> dict[str, str]:
        """Who left out a film, when and why, by `image_id`, as `build_manifest` takes it."""
        chosen = self.table[self.table["verdict"] == EXCLUDE]
        said: dict[str, list[str]] = defaultdict(list)
        for row in chosen.to_dict("records"):
            said[row["image_id"]].append(f"{row['who']} on {row['when']}: {row['why']}")
        return {name: "; ".join(texts) for name, texts in said.items()}

    def counts(self, but: str = "") -> dict[str, int]:
        """How many pairs and films have each verdict, `but` those whose name begins so; empty without a table."""
        rows = self.table[~self.table["image_id"].str.startswith(but)] if but else self.table
        keys = [_key(row.image_id, row.other) for row in rows.itertuples()]
        once = rows["verdict"][~pd.Series(keys, dtype=object).duplicated().to_numpy()]
        return {name: int((once == name).sum()) for name in (*PAIR, *FILM)} if self.hashes else {}

    def below(self, prefix: str) -> Decisions:
        """The same with `prefix` before each film and table."""
        films = self.table[list(COLUMNS[:2])]
        names = films.where(films == "", prefix + films)
        hashes = {prefix + name: value for name, value in self.hashes.items()}
        return Decisions(self.table.assign(**names), [prefix + remark for remark in self.remarks], hashes)


def together(parts: Sequence[Decisions]) -> Decisions:
    """Decisions of several folders as one."""
    hashes = {name: value for part in parts for name, value in part.hashes.items()}
    remarks = [remark for part in parts for remark in part.remarks]
    return Decisions(pd.concat([part.table for part in parts], ignore_index=True), remarks, hashes)


def read(root: Path, files: Sequence[str]) -> Decisions:
    """The decisions in the folder `root`, whose films are `files` (image_ids); none where it has no such table.

    Raises ValueError, which names file and row, for anything that is no decision (a film that is not there, a verdict or a
    date that is none, a row without who, when or, for `exclude`, why), for two verdicts that contradict each other, and
    for a pair declared different whose files have the same bytes, or which are `same` by other rows.
    """
    if not (path := user_tables.find(root, STEM)):
        return Decisions()
    # A table may have no row: the page writes it so where every decision was taken back.
    rows, remarks = table_files.records(path, ("image_id", "verdict", "who", "when"), ("other", "why"), least=0)
    known = FilmNames(files)
    numbers: dict[tuple[str, ...], tuple[int, str]] = {}
    found = []
    for number, values in rows:
        where = f"{path}, row {number}"
        row = {name: "" if table_files.is_missing(text) else _plain(text) for name, text in values.items()}
        row |= {name: _film(where, known, values[name]) for name in COLUMNS[:2]}
        row["verdict"], row["when"] = _verdict(where, row), _date(where, row["when"])
        needed = ("who", "why") if row["verdict"] == EXCLUDE else ("who",)
        if missing := [name for name in needed if not row[name]]:
            raise ValueError(f"{where}: {row['verdict']!r} has no {' and no '.join(missing)}; write it into the row")
        key = _key(row["image_id"], row["other"])
        before, verdict = numbers.setdefault(key, (number, row["verdict"]))
        if verdict != row["verdict"]:
            raise ValueError(
                f"{where}: {' and '.join(key)} {_is(row['verdict'])}, but {_is(verdict)} in row {before}; expected one "
                "verdict; take out the row that no longer holds"
            )
        found.append(row)
    table = pd.DataFrame(found, columns=list(COLUMNS))
    _require_possible(root, path, table)
    return Decisions(table, remarks, {path.name: runtime.sha256_file(path)})


def of_study(root: Path, external: Path | None = None, classes: Sequence[str] = ()) -> Decisions:
    """The decisions on the films of a study and of its external set, whose pairs do not count and have a remark.

    Raises ValueError as `read` and `data_folders.check_folder` do.
    """
    parts = [read(root, list(data_folders.check_folder(root, classes).places))]
    if external is not None:
        theirs = read(external, list(data_folders.check_folder(external, classes).places))
        pairs = theirs.table["verdict"].isin(PAIR)
        remarks = list(theirs.remarks)
        if pairs.any():
            remarks.append(
                f"{STEM}: {pairs.sum()} pairs are not used, as an external set is only scored; its films are"
            )
        parts.append(replace(theirs, table=theirs.table[~pairs], remarks=remarks).below(EXTERNAL))
    return together(parts)


def store(decided: Decisions, study: paths.StudyPaths) -> None:
    """Write films and verdicts for the later notebooks; without decisions, delete those of an earlier run."""
    if decided.table.empty:
        study.decided.unlink(missing_ok=True)
    else:
        results.write_table(study.decided, decided.table[["image_id", "other", "verdict"]].fillna(""))


def joined(table: pd.DataFrame, links: Links, decided: pd.DataFrame | None) -> tuple[Links, list[Ends]]:
    """Links of the audit without those that join a pair declared different, and the pairs declared the same.

    `table` has the films in the rows of `links`, with image_id and pixel_sha256; `decided` has image_id, other,
    verdict. Files with the same pixels are one film: what holds for one of them holds for all. Two films declared the
    same as a third stay joined where the third is not in the table, as a film left out is. ValueError: a pair
    declared different has the same pixels or is joined through other films; it names the links.
    """
    if decided is None:
        return links, []
    pixels = pd.factorize(table["pixel_sha256"])[0]
    same, different = (_ends(table, decided, verdict) for verdict in PAIR)
    row = {name: number for number, name in enumerate(table["image_id"])}
    for name, films in _declared(decided).items():
        if name not in row:
            same += pairwise(sorted(row[film] for film in films if film in row))
    for first, second in different:
        if pixels[first] == pixels[second]:
            names = " and ".join(table["image_id"].iloc[[first, second]])
            raise ValueError(f"{STEM}: {names} {_is(DIFFERENT)}, but have the same pixels; {_TAKE_BACK}")
    apart = {frozenset((pixels[first], pixels[second])) for first, second in different}
    kept = {ends: (0 if frozenset(pixels[list(ends)]) in apart else level, gap) for ends, (level, gap) in links.items()}
    found = ((ends, gap) for ends, (level, gap) in kept.items() if level)
    how = {ends: f"similarity {1 - gap:.2f}" if gap else "the same pixels" for ends, gap in found}
    how |= dict.fromkeys(same, "declared the same")
    names = table["image_id"].tolist()
    _require_apart(STEM, names, different, how)
    return kept, same


def without_effect(decided: pd.DataFrame | None, manifest: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    """Remarks on decisions that change nothing: the audit finds the same without them, or their films are not used.

    `decided` as in `joined`; `pairs` is the result of `compare`.
    """
    if decided is None:
        return []
    pixels = candidates_of(manifest).set_index("image_id")["pixel_sha256"]
    alike = pairs[pairs["similarity"] >= SAME_KNEE]
    measured = set(map(frozenset, zip(alike["first"].map(pixels), alike["second"].map(pixels), strict=True)))
    declared = _declared(decided)
    left_out = set(manifest.loc[manifest["reason"].fillna("").str.startswith(DECIDED), "image_id"])
    idle: dict[str, list[str]] = defaultdict(list)
    for image_id, other, verdict in decided[["image_id", "other", "verdict"]].fillna("").itertuples(index=False):
        films = [name for name in (image_id, other) if name]
        text = f"{' and '.join(films)} ({verdict})"
        if verdict == EXCLUDE:
            if image_id not in left_out:
                idle["the film is not used anyway"].append(text)
        elif any(name not in pixels for name in films):
            # A film that is not used still joins two others that are.
            if verdict != SAME or sum(name in pixels for name in declared[image_id]) < 2:
                idle["a film of theirs is not used"].append(text)
        elif verdict in PAIR:
            ends = frozenset(pixels[films])
            if (len(ends) == 1 or ends in measured) == (verdict == SAME):
                idle["the audit finds the same without them"].append(text)
    return [
        f"{STEM}: {len(texts)} of {len(decided)} change nothing, as {why}, such as {texts[0]}"
        for why, texts in idle.items()
    ]


_TAKE_BACK = "take this decision back, or exclude one of the films"


def _plain(text: str) -> str:
    return " ".join(RISKY.sub("", text, count=1).split())


def _film(where: str, known: FilmNames, written: str) -> str:
    meant = known.meant(written) if written else []
    if written.startswith(EXTERNAL) and not any(name.startswith(EXTERNAL) for name in meant):
        raise ValueError(f"{where}: {written!r} is in the external set; a {STEM}.csv beside its folders decides on it")
    if not meant and table_files.is_missing(written):
        return ""
    if not meant:
        expected = "expected a path below the folder, such as normal/101.jpg; correct it, or take out the row"
        raise ValueError(f"{where}: there is no film {written!r}; {expected}")
    if len(meant) > 1:
        raise ValueError(f"{where}: {written!r} could be {user_tables.listed(meant, 'file')}; write the whole path")
    return meant[0]


def _verdict(where: str, row: Mapping[str, str]) -> str:
    verdict, other = row["verdict"].lower(), row["other"]
    if verdict not in (*PAIR, *FILM):
        hint = "no decision changes a class: exclude the film, or move its file into the other folder"
        expected = f"{SAME} or {DIFFERENT} for a pair, {EXCLUDE} or {KEEP} for a film"
        raise ValueError(f"{where}: the verdict is {row['verdict']!r}; expected {expected}; {hint}")
    if verdict in PAIR and not other:
        raise ValueError(f"{where}: {verdict!r} is about two films; write the second one into the column other")
    if verdict in FILM and other:
        raise ValueError(f"{where}: {verdict!r} is about one film; leave other empty, and write a row for {other!r}")
    if row["image_id"] == other:
        raise ValueError(f"{where}: {other} is compared with itself; expected another film in the column other")
    return verdict


def _date(where: str, written: str) -> str:
    try:
        return datetime.fromisoformat(written).date().isoformat()
    except ValueError:
        raise ValueError(f"{where}: the date is {written!r}; expected year-month-day, such as 2026-11-28") from None


def _is(verdict: str) -> str:
    said = {SAME: "are declared the same", DIFFERENT: "are declared different"}
    return said.get(verdict, f"has the verdict {verdict}")


def _key(image_id: str, other: str) -> tuple[str, ...]:
    return tuple(sorted(filter(None, (image_id, other))))


def _ends(table: pd.DataFrame, decided: pd.DataFrame, verdict: str) -> list[Ends]:
    """Rows of the pairs with a verdict, of which both films are in the table."""
    place = {name: number for number, name in enumerate(table["image_id"])}
    chosen = decided[decided["verdict"] == verdict]
    both = ((place.get(row.image_id), place.get(row.other)) for row in chosen.itertuples())
    return sorted({(min(ends), max(ends)) for ends in both if None not in ends})


def _declared(decided: pd.DataFrame) -> dict[str, set[str]]:
    """For each film with a decision all films that pairs declared the same join with it, itself among them."""
    films = pd.DataFrame({"image_id": sorted({*decided["image_id"], *decided["other"].fillna("")} - {""})})
    knees = films["image_id"].groupby(components(len(films), _ends(films, decided, SAME))).agg(set)
    return {name: knee for knee in knees for name in knee}


def _require_possible(root: Path, path: Path, table: pd.DataFrame) -> None:
    """Raise ValueError where a pair declared different has the same bytes, or is one by pairs declared the same."""
    different = table[table["verdict"] == DIFFERENT]
    for pair in different[["image_id", "other"]].itertuples(index=False):
        files = [root / name for name in pair]
        if all(file.is_file() for file in files) and len({runtime.sha256_file(file) for file in files}) == 1:
            raise ValueError(f"{path}: {' and '.join(pair)} {_is(DIFFERENT)}, but have the same bytes; {_TAKE_BACK}")
    names = sorted({*table["image_id"], *table["other"]} - {""})
    films = pd.DataFrame({"image_id": names})
    how = dict.fromkeys(_ends(films, table, SAME), "declared the same")
    _require_apart(str(path), names, _ends(films, table, DIFFERENT), how)


def _require_apart(where: str, names: Sequence[str], different: Iterable[Ends], how: Mapping[Ends, str]) -> None:
    """Raise ValueError where a pair of rows is joined by links, whose keys are rows and values how they join."""
    ends = np.array(list(how), dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), ends.T), shape=(len(names), len(names))).tocsr()
    for start, goal in different:
        came = breadth_first_order(graph, start, directed=False)[1]
        if came[goal] >= 0:
            chain = [goal]
            while chain[-1] != start:
                chain.append(int(came[chain[-1]]))
            chain.reverse()
            steps = [f"{names[a]} and {names[b]} ({how.get((a, b)) or how[b, a]})" for a, b in pairwise(chain)]
            raise ValueError(
                f"{where}: {names[start]} and {names[goal]} {_is(DIFFERENT)}, but other links join them: "
                f"{'; '.join(steps)}; declare one of these pairs different too, or exclude a film between"
            )
