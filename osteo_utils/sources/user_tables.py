"""The tables that people bring: whose a film is, on which side of a split it lies, and what class it has.

All of them are read here. A column is found by its usual names, a film by its path however it was written, and a value
that stands for "not known" is not known. What cannot be used is refused with file and row; the rest has a remark.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from osteo_utils.sources import table_files
from osteo_utils.sources.film_names import FilmNames
from osteo_utils.sources.table_files import SHOWN, bare, clean, is_missing, listed, places, row_list

SIDES = {
    "train": "train training trn tr trainset trainingset traindata trainingdata".split(),
    "val": "val valid validation validate dev devel development tune tuning valset validationset validset devset".split(),
    "test": "test testing tst holdout heldout testset testingset testdata".split(),
}
TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xlsm", ".xls", ".ods")
# More films of one patient than this get a remark.
MOST_FILMS = 10


@dataclass(frozen=True)
class Known:
    """What a table says: a value by `image_id`, remarks, the `image_id`s without a value, what holds for all rows."""

    values: dict[str, str]
    remarks: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)


def find(root: Path, stem: str) -> Path | None:
    """The table `stem` (such as patients) in a folder, in any case and format; ValueError where there are several."""
    found = sorted(path for path in root.iterdir() if is_table(path.name, stem) and path.is_file())
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ValueError(f"{root}: {names} are both tables of {stem}; keep one of them")
    return found[0] if found else None


def is_table(name: str, stem: str) -> bool:
    """Whether a file's name is that of the table `stem`."""
    # labels.txt is most often a list of class names.
    suffixes = TABLE_SUFFIXES if stem == "labels" else (*TABLE_SUFFIXES, ".txt")
    return name.lower() in {stem + suffix for suffix in suffixes}


def overlooked(root: Path, column: str) -> list[str]:
    """Names of tables in a folder that have the column `image_id` and `column`, whatever they are called."""
    wanted = ("image_id", column)

    def recognised(row: Sequence[str]) -> int:
        return sum(bool(places(row, name)) for name in wanted)

    found = []
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            # A table that cannot be read may be about anything.
            with suppress(ValueError, OSError):
                rows, _ = table_files.read_rows(path, recognised)
                if recognised(table_files.header(rows, recognised)) == len(wanted):
                    found.append(path.name)
    return found


def side_of(name: str) -> str:
    """One word for a side of a split: `Training` and `train` are `train`; any other word is itself in lower case."""
    return known_side(name) or _alike(clean(name))


def known_side(name: str) -> str:
    """The side that a word stands for (`train`, `val`, `test`, `fold 3`); empty for any other word."""
    word = bare(name)
    if fold := re.fullmatch(r"fold(\d+)", word):
        return f"fold {int(fold.group(1))}"
    return next((side for side, names in SIDES.items() if word in names), "")


def patients(path: Path, files: Sequence[str]) -> Known:
    """The patient of each film, read from `path`; `files` are the `image_id`s that there are.

    A film without a row or with a missing value has no patient. Raises ValueError for a bad table, for a film that is
    not there and for one with two patients. The remarks name rows, never patients.
    """
    table = _Table.read(path, "patient")
    rows, absent = table.by_film(files)
    if absent:
        raise ValueError(
            f"{path}: names {len(absent)} files that are not there, such as {absent[0][1]!r} in row {absent[0][0]}; "
            "expected paths below the folder, such as normal/101.jpg; correct the names or take out the rows"
        )
    values = table.one_value(rows, _patient)
    remarks = table.remarks + _alike_remarks(path, rows, values) + _doubtful(path, rows, values)
    without = [row for name, found in rows.items() if not values[name] for row, _ in found]
    if without:
        remarks.append(f"{path.name}: no patient is known for {len(without)} films, {row_list(without)}")
    return Known({name: value for name, value in values.items() if value}, remarks)


def sides(path: Path, files: Sequence[str]) -> Known:
    """The side of each film of a split; films that are not there are named in a remark.

    Raises ValueError for a bad table, a row without a side, a film on two sides, or where no film is there.
    """
    table = _Table.read(path, "split")
    rows, absent = table.by_film(files)
    for row, name, value in table.rows:
        if is_missing(value):
            raise ValueError(
                f"{path}, row {row}: {name} has the side {value!r}; expected one such as train, val or test; "
                "write the side of every film"
            )
    return Known(table.one_value(rows, side_of), [*table.remarks, *table.about_absent(absent, rows)])


def classes(path: Path, files: Sequence[str], column: str = "class", also: Sequence[str] = ()) -> Known:
    """The class, or the `value`, of each film as it is written; films that are not there are named in a remark.

    Columns named in `also` may be there; each must have one value in all rows, and is in `about`.

    A film with a missing value is in `unknown`. Raises ValueError for a bad table, a film with two of them, or where
    no film is there.
    """
    table = _Table.read(path, column, also)
    rows, absent = table.by_film(files)
    values = table.one_value(rows, lambda value: "" if is_missing(value) else value)
    known = {name: value for name, value in values.items() if value}
    remarks = [*table.remarks, *table.about_absent(absent, rows)]
    about = {name: value for name, value in table.about.items() if value}
    return Known(known, remarks, [name for name in values if name not in known], about)


def _patient(value: str) -> str:
    # Negative numbers are codes, as pandas gives one to what is missing.
    return "" if is_missing(value) or re.fullmatch(r"-\d+(\.0+)?", value) else value


@dataclass(frozen=True)
class _Table:
    """Rows (number as a spreadsheet counts, name of a film, value) of a table, and remarks on its reading."""

    path: Path
    column: str
    rows: list[tuple[int, str, str]]
    remarks: list[str]
    about: dict[str, str]

    @classmethod
    def read(cls, path: Path, column: str, also: Sequence[str] = ()) -> _Table:
        """Read the columns image_id and `column`; raises ValueError, which names file and row."""
        found, remarks = table_files.records(path, ("image_id", column), also)
        rows = [(number, values["image_id"], values[column]) for number, values in found]
        return cls(path, column, rows, remarks, {name: _constant(path, name, found) for name in also})

    def by_film(self, files: Sequence[str]) -> tuple[dict[str, list[tuple[int, str]]], list[tuple[int, str]]]:
        """Rows (number, value) of each film of `files`, and the rows (number, name) of films that are not there."""
        known, absent = FilmNames(files), []
        found: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for number, name, value in self.rows:
            meant = known.meant(name)
            if len(meant) > 1:
                raise ValueError(
                    f"{self.path}, row {number}: {name!r} could be {listed(meant, 'file')}; "
                    "write the path below the folder"
                )
            if meant:
                found[meant[0]].append((number, value))
            else:
                absent.append((number, name))
        return dict(found), absent

    def one_value(self, rows: Mapping[str, list[tuple[int, str]]], read: Callable[[str], str]) -> dict[str, str]:
        """The value of each film, as `read` understands it; ValueError where two rows differ."""
        values = {}
        for name, found in rows.items():
            (first, value), *more = found
            values[name] = read(value)
            for row, other in more:
                if read(other) != values[name]:
                    raise ValueError(
                        f"{self.path}: {name} has the {self.column} {value!r} in row {first} and {other!r} in row "
                        f"{row}; expected each image once; take out one of the rows"
                    )
        return values

    def about_absent(self, absent: Sequence[tuple[int, str]], rows: Mapping[str, object]) -> list[str]:
        """A remark on films that are not there; ValueError where none of the table's films is."""
        named = ", ".join(f"{name} (row {row})" for row, name in absent[:SHOWN])
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        if not rows:
            raise ValueError(
                f"{self.path}: none of its {len(absent)} files is there: {named}{more}; "
                "expected paths below the folder, such as normal/101.jpg"
            )
        return [f"{self.path.name}: {len(absent)} files are not there: {named}{more}"] if absent else []


def _constant(path: Path, name: str, found: Sequence[table_files.Record]) -> str:
    """The one value of a column, empty where it has none; ValueError where it has two."""
    first: dict[str, int] = {}
    for number, values in found:
        if values[name]:
            first.setdefault(values[name], number)
    if len(first) > 1:
        (one, row), (other, second) = list(first.items())[:2]
        raise ValueError(
            f"{path}: {name} is {one!r} in row {row} and {other!r} in row {second}; expected one value for all rows, "
            "as it tells about the whole table; give a column of another meaning another name"
        )
    return next(iter(first), "")


def _alike(value: str) -> str:
    """What two ways to write one identifier share: without case, leading zeros, a `.0` at the end, signs before digits."""
    value = " ".join(unicodedata.normalize("NFKC", value).lower().split())
    value = re.sub(r"(?<=[^\W\d_])[\s_-]+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", value))
    return re.sub(r"(?<!\d)0+(?=\d)", "", value)


def _alike_remarks(
    path: Path, rows: Mapping[str, list[tuple[int, str]]], values: Mapping[str, str]
) -> list[str]:  # fmt: skip
    written: dict[str, dict[str, int]] = defaultdict(dict)
    for name, value in values.items():
        if value:
            written[_alike(value)].setdefault(value, rows[name][0][0])
    odd = [sorted(forms.values()) for forms in written.values() if len(forms) > 1]
    return [
        f"{path.name}: patients of rows {', '.join(map(str, found))} differ only by case, blanks, signs, leading zeros or .0; "
        "they count as different; write them alike if they are one"
        for found in odd[:SHOWN]
    ] + ([f"{path.name}: {len(odd) - SHOWN} more such patients"] if len(odd) > SHOWN else [])


def _doubtful(path: Path, rows: Mapping[str, list[tuple[int, str]]], values: Mapping[str, str]) -> list[str]:
    """Remarks on values that may be no patient: one for many films, and numbers that a spreadsheet shortened."""
    places: dict[str, list[int]] = defaultdict(list)
    for name, value in values.items():
        if value:
            places[value].append(rows[name][0][0])
    remarks = [
        f"{path.name}: one patient has {len(found)} films, {row_list(sorted(found))}; "
        "leave the cells empty if their value stands for no known patient"
        for found in places.values()
        if len(found) > MOST_FILMS
    ]
    short = [row for value, found in places.items() if re.fullmatch(r"\d([.,]\d+)?[eE]\+\d+", value) for row in found]
    if short:
        remarks.append(
            f"{path.name}: a spreadsheet shortened the patients of {row_list(sorted(short))} to numbers with an exponent; "
            "different patients may have become one; write them in full, as text"
        )
    return remarks
