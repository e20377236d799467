"""A table as people keep it, read as rows of text: CSV of any usual kind, or an Excel workbook."""

from __future__ import annotations

import csv
import datetime
import io
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl

MAX_BYTES = 100_000_000
MAX_UNPACKED = 1_000_000_000
# Columns of a workbook that are looked at; stray cells can lie 16,000 columns away.
MAX_COLUMNS = 256
# Rows that are looked at for the names of the columns.
MOST_TITLES = 10
# Names and rows that a message lists before it counts the rest.
SHOWN = 5
DELIMITERS = (",", ";", "\t", "|")
# Byte order marks, the longer ones first because one of them begins with another.
MARKS = (
    (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)  # fmt: skip
# A formula whose value no program has worked out yet, as scripts write it.
VALUELESS = re.compile(rb"</f>\s*(<v\s*/>|<v></v>|</c>)")
OLD_OFFICE = b"\xd0\xcf\x11\xe0"
SAVE_AS = "save it as .xlsx or as CSV UTF-8"
INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\u00ad"
# Usual names of a column, without case, blanks and signs; the first is the one that error messages name.
COLUMNS = {
    "image_id": (
        "imageid image imagename imagefile imagefilename imagepath filename file filepath files path relativepath img "
        "imgid imgname imgpath film filmid radiograph radiographid"
    ).split(),
    "patient": (
        "patient patientid patientno patientnumber patientcode patients subject subjectid subjectno person personid "
        "participant participantid pseudonym mrn pid"
    ).split(),
    "split": "split side subset set fold partition phase datasplit splitname".split(),
    "class": "class classname label labels diagnosis category target groundtruth".split(),
    "value": "value reference referencevalue referenceclass tscore tscores t grade".split(),
    "other": "other otherimage otherfilm otherfile second secondimage secondfilm image2 film2 file2 imageid2".split(),
    "verdict": ("verdict", "decision", "decided"), "who": ("who", "by", "reviewer", "reader", "decidedby", "reviewedby"),
    "when": ("when", "date", "day", "decidedon", "reviewedon"), "why": ("why", "reason", "comment", "note"),
}  # fmt: skip
MISSING = set(
    "na n/a n.a. n.a nan null (null) nil none missing unknown unk undefined empty blank anonymous anonymised anonymized "
    "<na> #n/a #na nat tbd".split()
) | {"not known", "not available", "not applicable", "not recorded", "not provided", "no id", "n / a"}  # fmt: skip

Rows = list[list[str]]
# Number of a row, as a spreadsheet counts, and its values by column.
Record = tuple[int, dict[str, str]]


def clean(text: str) -> str:
    """Text without blanks or invisible characters at its ends, in the composed Unicode form, with plain blanks."""
    text = re.sub(r"[\u00a0\u202f\u2007]", " ", unicodedata.normalize("NFC", text))
    return text.strip(INVISIBLE + " \t\r\n\v\f\x1a\x1c\x1d\x1e\x1f\x85\u2028\u2029")


def is_missing(value: str) -> bool:
    """Whether a value stands for "not known": empty, `NA`, `unknown`, `-` and the like."""
    # The second kind are errors of a spreadsheet, such as #VALUE! and #DIV/0!.
    return (
        value.lower() in MISSING or re.fullmatch(r"[-\u2010-\u2015\u2212?._*/\\~\s]*|#[A-Z/0_]+[!?]", value) is not None
    )


def bare(name: str) -> str:
    """A word without case, blanks and signs."""
    return re.sub(r"[\W_]+", "", clean(name).lower())


def places(head: Sequence[str], column: str) -> list[int]:
    """Where in a header a column stands, by its usual names; its own name comes first."""
    words = [bare(name) for name in head]
    if column.replace("_", "") in words:
        return [number for number, word in enumerate(words) if word == column.replace("_", "")]
    # A T-score is often named with its site, such as T-score (femur).
    usual = [word in COLUMNS.get(column, ()) or (column == "value" and word.startswith("tscore")) for word in words]
    return [number for number, named in enumerate(usual) if named]


def records(
    path: Path, wanted: Sequence[str], optional: Sequence[str] = (), least: int = 1
) -> tuple[list[Record], list[str]]:
    """The rows of a table by the names of `wanted`, the first of which names the film, and remarks on its reading.

    A column of `optional` may be absent; its values are empty then. Raises ValueError, which names file and row.
    """
    columns = (*wanted, *optional)
    expected = f"{', '.join(wanted[:-1])} and {wanted[-1]}"

    def recognised(row: Sequence[str]) -> int:
        return sum(bool(places(row, name)) for name in columns)

    rows, remarks = read_rows(path, recognised)
    if not (head := header(rows, recognised)):
        raise ValueError(f"{path}: is empty; expected {expected}")
    first = rows.index(head)
    if above := [number for number, row in enumerate(rows[:first], 1) if row]:
        remarks = [*remarks, f"{path.name}: the header is row {first + 1}; not used: {row_list(above)}"]
    place = {name: _place(path, head, name, expected) for name in columns if name in wanted or places(head, name)}
    if others := [
        name or f"(column {number})" for number, name in enumerate(head, 1) if number - 1 not in place.values()
    ]:
        remarks = [*remarks, f"{path.name}: not used: {listed(others, 'column')}"]
    found = []
    for number, row in enumerate(rows[first + 1 :], first + 2):
        if not row:
            continue
        if len(row) > len(head):
            raise ValueError(
                f"{path}, row {number}: {len(row)} values, {row[-1]!r} the last; expected {len(head)} as in the "
                "header; put a value that holds the delimiter in quotation marks, or name the column"
            )
        row = row + [""] * (len(head) - len(row))
        values = {name: row[place[name]] if name in place else "" for name in columns}
        if not values[wanted[0]]:
            raise ValueError(f"{path}, row {number}: no film is named; expected image_id, such as normal/101.jpg")
        found.append((number, values))
    if len(found) < least:
        raise ValueError(f"{path}: has a header and no rows; expected one row for each film")
    return found, remarks


def _place(path: Path, head: Sequence[str], column: str, expected: str) -> int:
    found = places(head, column)
    if len(found) == 1:
        return found[0]
    several = " and ".join(repr(head[number]) for number in found)
    problem = f"{several} could both be {column}" if found else f"no {column}"
    raise ValueError(
        f"{path}: {problem} in the header {listed(head, 'column')}; expected {expected}; name one column so"
    )


def row_list(rows: Sequence[int]) -> str:
    """Numbers of rows for a message, the first few of them."""
    shown = ", ".join(map(str, rows[:SHOWN]))
    return f"row{'s' if len(rows) > 1 else ''} {shown}" + (" and others" if len(rows) > SHOWN else "")


def listed(names: Sequence[str], kind: str) -> str:
    """Names for a message, the first few of them; `kind` is what the others are called."""
    shown = ", ".join(map(repr, names[:SHOWN]))
    more = f" and {len(names) - SHOWN} more {kind}s" if len(names) > SHOWN else ""
    return shown + more


def read_rows(path: Path, recognised: Callable[[Sequence[str]], int]) -> tuple[Rows, list[str]]:
    """The cleaned rows of a table, the first of which is row 1 of a spreadsheet, and remarks on how it was read.

    `recognised` counts the known column names in a row; by it the delimiter of a text and the sheet of a workbook are
    chosen. Blank rows are empty lists. Raises ValueError, which names the file, for anything that is no such table.
    """
    if not path.is_file():
        raise ValueError(f"{path}: is not a file; expected a table, CSV or .xlsx")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes; expected a table of at most {MAX_BYTES}")
    data = path.read_bytes()
    if data.startswith(OLD_OFFICE):
        raise ValueError(f"{path}: an old or a protected Excel file; {SAVE_AS}, without a password")
    if data.startswith(b"PK\x03\x04"):
        return _of_workbook(path, data, recognised)
    try:
        text, encoding = decoded(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {SAVE_AS}") from None
    remarks = [f"{path.name} is not UTF-8; it was read as Windows-1252"] if encoding == "cp1252" else []
    return _of_text(path, text, recognised), remarks


def decoded(data: bytes) -> tuple[str, str]:
    """Text of a file and the encoding it was read in: UTF-8, UTF-16 or UTF-32, or else Windows-1252.

    Raises ValueError for bytes that are no text.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:2000]:
        # Text of a western language in UTF-16 has a zero in every other byte.
        low, high = data[:2000:2].count(0), data[1:2000:2].count(0)
        if max(low, high) > 0.4 * min(len(data), 2000) / 2:
            encoding = "utf-16-be" if low > high else "utf-16-le"
    for tried in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            text = data.decode(tried)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, tried
        break
    raise ValueError(f"not text in {encoding or 'UTF-8 or Windows-1252'}")


def _of_text(path: Path, text: str, recognised: Callable[[Sequence[str]], int]) -> Rows:
    # The first line may name the delimiter for Excel, which does not count that line.
    named = re.match(r'"?sep=(.)"?\r?\n?', text, re.IGNORECASE)
    if named:
        text = text[named.end() :]
    best: Rows = []
    for delimiter in [named.group(1)] if named else DELIMITERS:
        head = header(_parsed(path, text, delimiter, strict=False), recognised)
        if not best or (recognised(head), len(head)) > (recognised(best[0]), len(best[0])):
            best, chosen = [head], delimiter
    return list(_parsed(path, text, chosen, strict=True)) if best[0] else []


def header(rows: Iterable[list[str]], recognised: Callable[[Sequence[str]], int]) -> list[str]:
    """The row that names the columns: of the first rows the one with most known names, as titles may stand above it."""
    return max(islice((row for row in rows if any(row)), MOST_TITLES), key=recognised, default=[])


def _parsed(path: Path, text: str, delimiter: str, strict: bool) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    number = 1
    try:
        for row in reader:
            yield _trimmed([_unwrapped(clean(value)) for value in row])
            number += 1
    except csv.Error as error:
        raise ValueError(f"{path}, row {number}: {error}; expected each quotation mark to be closed") from None


def _unwrapped(value: str) -> str:
    """The value inside `="005"`, which keeps Excel from reading it as a number."""
    inner = re.fullmatch(r'="([^"]*)"', value)
    return clean(inner.group(1)) if inner else value


def _trimmed(row: list[str]) -> list[str]:
    while row and not row[-1]:
        row.pop()
    return row


def _of_workbook(path: Path, data: bytes, recognised: Callable[[Sequence[str]], int]) -> tuple[Rows, list[str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_UNPACKED:
                raise ValueError(f"{unpacked} bytes unpacked, expected at most {MAX_UNPACKED}")
            sheets = [name for name in archive.namelist() if "worksheets/" in name]
            merged = any(b"<mergeCell " in archive.read(name) for name in sheets)
            empty = any(VALUELESS.search(archive.read(name)) for name in sheets)
        with warnings.catch_warnings():
            # They are about styles and menus, which are not read.
            warnings.simplefilter("ignore")
            # Merged cells are known only where a sheet is read whole, which takes more time and memory.
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=not merged, data_only=True)
            sheets = {sheet.title: _of_sheet(sheet) for sheet in book.worksheets}
    # A damaged workbook makes the reader fail in many ways; each is a reason, not a crash.
    except Exception as error:
        raise ValueError(
            f"{path}: not a workbook that can be read ({error or type(error).__name__}); {SAVE_AS}"
        ) from None
    filled = {name: rows for name, rows in sheets.items() if any(rows)}
    if not filled:
        return [], []
    score = {name: recognised(header(rows, recognised)) for name, rows in filled.items()}
    best = [name for name in filled if score[name] == max(score.values())]
    if len(best) > 1:
        raise ValueError(f"{path}: the sheets {', '.join(map(repr, best))} look alike; keep one of them in the file")
    remarks = []
    if others := ", ".join(repr(name) for name in filled if name != best[0]):
        remarks.append(f"{path.name}: the sheet {best[0]!r} is used, not {others}")
    if empty:
        remarks.append(f"{path.name}: formulas without a stored value count as empty; open it in Excel and save it")
    return filled[best[0]], remarks


def _of_sheet(sheet: Any) -> Rows:
    if hasattr(sheet, "reset_dimensions"):
        # Some programs write a wrong size, and only so many cells would be read.
        sheet.reset_dimensions()
    rows = [[_as_text(value) for value in row] for row in sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True)]
    for cells in getattr(sheet, "merged_cells", ()):
        # What stands in a cell that was merged downwards counts for each of its rows.
        if cells.min_col <= MAX_COLUMNS:
            for row in rows[cells.min_row : cells.max_row]:
                row[cells.min_col - 1] = rows[cells.min_row - 1][cells.min_col - 1]
    return [_trimmed(row) for row in rows]


def _as_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    return "" if value is None else clean(str(value))
