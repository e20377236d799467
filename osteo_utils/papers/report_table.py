"""What the rows of a classification report say: its names of rows and columns, its numbers and their units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

MEASURES = ("precision", "recall", "f1-score", "specificity")
COLUMNS = (*MEASURES, "support")
GAPS = r"\s{2,}|\t"
EXPECTED = (
    "expected two classes or more in lines such as 'normal  0.97  0.99  0.98  372' below the heads 'precision  recall  "
    "f1-score  support', or the same as CSV, Markdown, LaTeX, JSON or Python's output_dict"
)
_COLUMNS = {
    "precision": "precision|prec|ppv|positive predictive value",
    "recall": "recall|rec|sensitivity|sens|sen|tpr|true positive rate",
    "f1-score": "f1|f1 score|f1score|f score|fscore|f1 measure|f measure",
    "specificity": "specificity|spec|spe|tnr|true negative rate",
    "support": "support|n|count|images|samples|cases|films|no of images|number of images|number of samples|no",
    "name": "class|classes|class name|label|category|name",
}
_KINDS = {
    "accuracy": "accuracy|acc|overall accuracy|total accuracy|accuracy score",
    "macro avg": "macro avg|macro average|macro|macro mean",
    "weighted avg": "weighted avg|weighted average|weighted|weighted mean|avg total|average total",
    "micro avg": "micro avg|micro average|micro",
    "samples avg": "samples avg|samples average",
    "total": "total|sum|overall|all",
    "average": "average|avg|mean",
}
_COLUMN_OF = {name: column for column, names in _COLUMNS.items() for name in names.split("|")}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split("|")}
_DECIMAL = r"(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:[eE][-+]?\d+)?"
_THOUSANDS = r"[1-9]\d{0,2}(?:[,.'_ ]\d{3})+"
_ABSENT = ("", "-", "--", "\u2013", "\u2014")


@dataclass(frozen=True)
class PrintedReport:
    """A classification report as printed; every share as a fraction, None where the table has none.

    `rows` holds (name, precision, recall, f1, support) of each class; `averages` holds (precision, recall, f1) under
    "macro avg", "weighted avg" and "micro avg"; `specificity` is that of each class or empty. `digits` are the decimals
    of the fractions; `fewer` those of the shares that have fewer, by place as in `shares`. `totals` are totals printed
    beside `total` that differ from it; `remarks` say how the report was read; `beside` are the confusion matrices that
    stand in the same text, `said` the accuracies that stand beside the table, each with its decimals. `averaged`: shares
    have deviations or intervals behind them, so they may be means over several runs.
    """

    rows: tuple[tuple[str, float | None, float | None, float | None, int], ...]
    accuracy: float | None
    averages: dict[str, tuple[float | None, float | None, float | None]]
    total: int | None
    digits: int
    specificity: tuple[float | None, ...] = ()
    fewer: Mapping[tuple[int | str, int], int] = field(default_factory=dict)
    totals: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    beside: tuple[tuple[tuple[float, ...], ...], ...] = ()
    said: tuple[tuple[float, int], ...] = ()
    averaged: bool = False

    @property
    def supports(self) -> tuple[int, ...]:
        """Number of images of each class."""
        return tuple(row[4] for row in self.rows)

    def shares(self) -> dict[tuple[int | str, int], float]:
        """Every printed share by place: class number, average or "accuracy"; then the column of `MEASURES`."""
        found = {(i, j): row[j + 1] for i, row in enumerate(self.rows) for j in range(3)}
        found |= {(i, 3): value for i, value in enumerate(self.specificity)}
        found |= {(name, j): value for name, values in self.averages.items() for j, value in enumerate(values)}
        found["accuracy", 0] = self.accuracy
        return {place: value for place, value in found.items() if value is not None}


@dataclass(frozen=True)
class Row:
    """A row as text: its name, its cells by column, and the line it stands in."""

    name: str
    cells: dict[str, str]
    line: str


def column_of(head: str) -> str:
    """The column that a head names: one of `MEASURES`, "support", "name", or the head itself."""
    plain = re.sub(r"\([^()]*\)|\[[^\[\]]*\]|[%*:]", " ", head.lower().replace("\u2081", "1"))
    plain = " ".join(re.sub(r"[-_.]", " ", plain).split())
    return _COLUMN_OF.get(plain, head.strip())


def heads_of(line: str) -> list[str]:
    """The columns that a line of heads names, in order; words that are no known head stay as they are."""
    by_gaps = [column_of(cell) for cell in re.split(GAPS, line.strip())]
    if sum(column in MEASURES for column in by_gaps) >= 2:
        return by_gaps
    words, found = line.split(), []
    while words:
        size = next((n for n in (4, 3, 2) if column_of(" ".join(words[:n])) in COLUMNS), 1)
        found.append(column_of(" ".join(words[:size])))
        words = words[size:]
    return found


def kind_of(name: str) -> str:
    """What a row of this name holds: "accuracy", an average, "total", "average" (of no said kind) or "class"."""
    return _KIND_OF.get(" ".join(re.sub(r"[-_./:]", " ", name.lower()).split()), "class")


def is_number(text: str, spaced: bool = False) -> bool:
    """Whether a cell is a number as reports print it; `spaced` allows blanks between thousands."""
    if " " in text and not spaced:
        return False
    main, _ = parted(text)
    return bool(re.fullmatch(rf"{_DECIMAL}%?|{_THOUSANDS}|nan", main, re.IGNORECASE))


def parted(cell: str) -> tuple[str, str]:
    """The number of a cell, and what stands behind it without a blank: a deviation, an interval, a per cent, counts."""
    found = re.fullmatch(r"([^±()\[\]]*[\d%])((?:±[\d.,]+%?)?(?:[(\[][^()\[\]]*[)\]])?)", cell.strip())
    if not found:
        return cell.strip(), ""
    main, note = found[1], found[2]
    # 101/110(91.8%) is a share with its counts.
    if re.fullmatch(r"\d+/\d+", main) and (share := re.fullmatch(r"\(([\d.,]+%)\)", note)):
        return share[1], f"({main})"
    return main, note


def _without_notes(rows: Sequence[Row]) -> tuple[list[Row], list[str], bool]:
    """Rows whose cells are numbers alone, a remark on what stood behind these, and whether they may be means."""
    bare_rows, noted, averaged = [], [], False
    for row in rows:
        cells = {}
        for column, cell in row.cells.items():
            main, note = parted(cell)
            if column in MEASURES and main.isdecimal() and (share := re.fullmatch(r"[(\[]([\d.,]+%)[)\]]", note)):
                main, note = share[1], f"({main})"
            if note and column in (*MEASURES, "support"):
                noted.append(cell)
                averaged |= column in MEASURES and not re.fullmatch(r"[(\[]\d+(?:/|of)?\d*[)\]]", note)
            cells[column] = main if column in (*MEASURES, "support") else cell
        bare_rows.append(replace(row, cells=cells))
    return (
        bare_rows,
        [f"what stands behind a number is not checked, such as in {noted[0]!r}"] if noted else [],
        averaged,
    )


def report_of(rows: Sequence[Row], said: Sequence[tuple[str, str]] = ()) -> PrintedReport:
    """Make a report of its rows, and of accuracies (cell, line) beside them.

    Raises ValueError that names the row at fault.
    """
    rows, remarks, averaged = _without_notes(rows)
    kinds = [kind_of(row.name) for row in rows]
    if "samples avg" in kinds:
        raise ValueError("the row 'samples avg' is of films with several labels each; expected one label a film")
    classes = [row for row, kind in zip(rows, kinds, strict=True) if kind == "class"]
    names = [row.name for row in classes]
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise ValueError(
            f"the report holds the classes {names[:12]}, each of which needs a name of its own; {EXPECTED}"
        )
    cells, places, totals, also = {}, {}, [], [_share(cell, line) for cell, line in said]
    known = (*MEASURES, "support", "name", "")
    for head in dict.fromkeys(column for row in rows for column in row.cells if column not in known):
        remarks.append(f"the column {head!r} is not checked")
    comma = any(re.fullmatch(r"0?,\d+%?", cell) for row in rows for cell in row.cells.values())
    for row, kind in zip(rows, kinds, strict=True):
        if kind in ("average", "total") and any(row.cells.get(measure, "") not in _ABSENT for measure in MEASURES):
            remarks.append(f"the row {row.name!r} does not say how it averages, so its shares are not checked")
        shares = {m: row.cells.get(m, "") for m in MEASURES if kind not in ("average", "total")}
        support = row.cells.get("support", "")
        if kind == "accuracy":
            filled = [cell for cell in shares.values() if cell not in _ABSENT]
            if not _one_accuracy([_share(cell, row.line)[0] for cell in filled]):
                raise ValueError(f"{row.line!r}: found the accuracies {sorted(set(filled))}; expected one")
            # A data frame made of an output_dict repeats the accuracy in every column.
            support = "" if len(filled) > 1 else support
            shares = {"precision": max(filled, key=lambda cell: (len(cell.rstrip("0")), len(cell)))}
            if ("accuracy", 0) in places:
                also.append(_share(shares["precision"], row.line))
                continue
        where = classes.index(row) if kind == "class" else kind
        if kind != "class" and any(place == (where, 0) for place in places):
            raise ValueError(f"{row.line!r}: a second row {kind!r}; expected one report in a file")
        for measure, cell in shares.items():
            if cell not in _ABSENT:
                places[where, MEASURES.index(measure)] = row
                cells[where, MEASURES.index(measure)] = _share(cell, row.line)
        if kind == "class":
            cells[where, "support"] = _count(support, row.line, comma)
        elif support not in _ABSENT:
            totals.append(_count(support, row.line, comma))
    if not any(isinstance(where, int) and column != "support" for where, column in cells):
        raise ValueError(f"the classes {names} have no share; {EXPECTED}")
    counts = [cells.pop((i, "support")) for i in range(len(classes))]
    for place in _per_cents(cells):
        value, decimals, _ = cells[place]
        cells[place] = (value / 100, decimals + 2, True)
    if units := {cell[2] for cell in cells.values() if cell[0]} - {None}:
        remarks += ["the numbers are read as per cent"] if len(units) == 1 and True in units else []
    digits = max((decimals for _, decimals, _ in cells.values()))
    values = {place: float(value) for place, (value, _, _) in cells.items()}

    def of(where: int | str) -> tuple[float | None, float | None, float | None]:
        return values.get((where, 0)), values.get((where, 1)), values.get((where, 2))

    total = totals[0] if totals else None
    return PrintedReport(
        rows=tuple((name, *of(i), count) for i, (name, count) in enumerate(zip(names, counts, strict=True))),
        accuracy=values.get(("accuracy", 0)),
        averages={kind: of(kind) for kind in kinds if kind.endswith(" avg")},
        total=total,
        digits=digits,
        specificity=tuple(values.get((i, 3)) for i in range(len(names))) if "specificity" in _columns(rows) else (),
        fewer={place: n for place, (value, n, _) in cells.items() if n < digits and value == value},
        totals=tuple(sorted(set(totals) - {total})),
        remarks=tuple(remarks),
        said=tuple(dict.fromkeys(_fraction(*one) for one in also if one[0] == one[0])),
        averaged=averaged,
    )


def _one_accuracy(values: Sequence[Decimal]) -> bool:
    """Whether values are one, which some columns of a frame may have rounded and filled up with zeros."""
    known = [value.normalize() for value in values if value == value]
    if not known or len(known) < len(values):
        return not known and bool(values)
    longest = min(known, key=lambda value: value.as_tuple().exponent)
    return all(
        abs(value - longest) <= Decimal(5).scaleb(value.as_tuple().exponent - 1) or value == longest for value in known
    )


def _fraction(value: Decimal, decimals: int, sign: bool | None) -> tuple[float, int]:
    """An accuracy beside the table as a fraction with its decimals."""
    return (float(value / 100), decimals + 2) if sign or value > 1 else (float(value), decimals)


def _columns(rows: Sequence[Row]) -> set[str]:
    return {column for row in rows for column in row.cells}


def _share(cell: str, line: str) -> tuple[Decimal, int, bool | None]:
    """A share as value, decimals, and True where it carries the sign of per cent."""
    text = cell.strip()
    if text.lower() == "nan":
        return Decimal("nan"), 0, None
    if not re.fullmatch(rf"{_DECIMAL}%?", text):
        raise ValueError(f"{line!r}: {cell!r} is no share; expected a number such as 0.97, 0,97 or 97 %")
    value = Decimal(text.rstrip("%").replace(",", "."))
    if value > 1000 or (value and value.adjusted() < -30):
        raise ValueError(f"{line!r}: {cell!r} is no share; expected a number from 0 to 1, or to 100 %")
    return value, max(0, -int(value.as_tuple().exponent)), True if text.endswith("%") else None


def _count(cell: str, line: str, comma: bool) -> int:
    """A number of films. `comma`: the report has decimal commas, so that a point parts thousands."""
    text = cell.strip()
    if not (comma and re.fullmatch(_THOUSANDS.replace(",", ""), text)):
        text = re.sub(r"[.,]0+$" if comma else r"\.0+$", "", text)
    if re.fullmatch(_THOUSANDS, text):
        text = re.sub(r"\D", "", text)
    if not re.fullmatch(r"\d{1,12}", text):
        there = "without a support" if cell in _ABSENT else f"the support is {cell!r}"
        raise ValueError(f"{line!r}: {there}; expected the number of films of each class, such as 372 or 1,372")
    return int(text)


def _per_cents(cells: Mapping[tuple[int | str, int], tuple[Decimal, int, bool | None]]) -> list[tuple[int | str, int]]:
    """The places whose numbers are per cents: by their sign, or because their column holds numbers above 1.

    The accuracy is judged alone, as texts often print it in the other unit. A column with numbers on both sides of 1
    goes with most of the table, so that one misprint does not turn the unit of all others.
    """
    signed = [place for place, (_, _, sign) in cells.items() if sign]
    open_ = {place: value for place, (value, _, sign) in cells.items() if sign is None and value == value and value}
    above = sum(value > 1 for value in open_.values())
    found = []
    for column in range(len(MEASURES)):
        values = {p: v for p, v in open_.items() if p[1] == column and p[0] != "accuracy"}
        sides = {value > 1 for value in values.values()}
        if sides == {True} or (len(sides) == 2 and 2 * above >= len(open_)):
            found += values
            # A zero has the unit of its column, and so the decimals of it.
            found += [
                p
                for p, (v, _, sign) in cells.items()
                if p[1] == column and v == 0 and sign is None and p[0] != "accuracy"
            ]
    accuracy = open_.get(("accuracy", 0))
    return signed + found + ([("accuracy", 0)] if accuracy is not None and accuracy > 1 else [])
