"""Reads a classification report in the forms that people have it in: as printed, as a table, as Python or JSON."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from osteo_utils.papers.report_source import (
    above_rows,
    is_prose,
    is_title,
    plain,
    split_cells,
    without_loose_numbers,
    without_matrices,
)
from osteo_utils.papers.report_table import (
    COLUMNS,
    EXPECTED,
    GAPS,
    MEASURES,
    PrintedReport,
    Row,
    column_of,
    heads_of,
    is_number,
    kind_of,
    parted,
    report_of,
)

_LONGEST = 50_000
_DELIMITERS = ("|", "&", "\t", ";", ",")
_SKLEARN = ["precision", "recall", "f1-score", "support"]


def parse_report(text: str) -> PrintedReport:
    """Read a classification report of two classes or more.

    Raises ValueError that names the line which cannot be read, and what was expected.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"the text has {len(text):,} characters; expected one report of at most {_LONGEST:,}")
    text = plain(text)
    brace = text.find("{")
    if brace >= 0 and re.fullmatch(r"[\w\s=.:`()\[\]\"']*", text[:brace]) and ":" in text[brace:]:
        start = brace - 1 if text[:brace].endswith("[") else brace
        return report_of(_rows_of_mapping(text[start:].rstrip("` \n);")))
    text, beside = without_matrices(text)
    lines, said, remarks = without_loose_numbers([line for line in text.splitlines() if line.strip()])

    def finished(rows: list[Row]) -> PrintedReport:
        report = report_of(rows, said)
        return replace(report, beside=beside, remarks=(*report.remarks, *remarks))

    for delimiter in _DELIMITERS:
        # One line of LaTeX may hold several rows.
        parts = [part for line in lines for part in (line.split("\\\\") if delimiter == "&" else [line])]
        if rows := _rows_of_grid([(split_cells(part, delimiter), part) for part in parts if delimiter in part]):
            return finished(rows)
    return finished(_rows_of_text(lines))


def _rows_of_mapping(text: str) -> list[Row]:
    """Rows of an `output_dict`, as Python or JSON; numbers keep the decimals that they are written with.

    The mapping may also be a list of rows that hold their names, or stand in another one.
    """
    depth = max(itertools.accumulate({"{": 1, "}": -1}.get(sign, 0) for sign in text), default=0)
    if depth > 3 or "((" in text or "[[" in text:
        raise ValueError(f"the braces or brackets of the report lie too deep; {EXPECTED}")
    try:
        outer = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ValueError(f"line {line} is neither Python nor JSON: {text.splitlines()[line - 1][:80]!r}") from error

    def pairs(node: ast.Dict) -> Iterator[tuple[str, ast.expr]]:
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant):
                raise ValueError(f"a key of the mapping is no name: {ast.unparse(node)[:80]!r}; {EXPECTED}")
            yield str(key.value), value

    def number(node: ast.expr) -> str:
        inner = node.args[0] if isinstance(node, ast.Call) and len(node.args) == 1 else node
        source = (ast.get_source_segment(text, inner) or "").strip("'\"")
        return "" if source in ("null", "None") else source

    def cells_of(node: ast.expr) -> dict[str, str] | str:
        return {key: number(one) for key, one in pairs(node)} if isinstance(node, ast.Dict) else number(node)

    if isinstance(outer, ast.List) and outer.elts and all(isinstance(one, ast.Dict) for one in outer.elts):
        rows = [{column_of(key): cell for key, cell in cells_of(one).items()} for one in outer.elts]
        return [Row(row.pop("name", row.pop("index", "")), row, str(row)[:120]) for row in rows]
    if not isinstance(outer, ast.Dict):
        raise ValueError(f"the text is no mapping; {EXPECTED}")
    inner = [(name, one) for name, one in pairs(outer) if isinstance(one, ast.Dict) and depth == 3]
    if deep := [one for _, one in inner if any(isinstance(value, ast.Dict) for value in one.values)]:
        if len(deep) > 1:
            raise ValueError(f"the mappings {[name for name, _ in inner][:12]} hold reports; expected one in a file")
        outer = deep[0]
    table = {name: cells_of(node) for name, node in pairs(outer)}
    if sum(column_of(name) in _SKLEARN for name in table) >= 2:
        names = dict.fromkeys(name for column in table.values() if isinstance(column, dict) for name in column)
        table = {name: {key: column.get(name, "") for key, column in table.items()} for name in names}
    rows = []
    for name, cells in table.items():
        cells = cells if isinstance(cells, dict) else {"f1-score": cells}
        rows.append(Row(name, {column_of(key): value for key, value in cells.items()}, f"{name}: {cells}"[:120]))
    return rows


def _rows_of_grid(grid: Sequence[tuple[list[str], str]]) -> list[Row]:
    """Rows of a table with delimiters, in either orientation; empty where no line of it holds the heads."""
    grid = [
        (cells, line)
        for cells, line in grid
        if not all(re.fullmatch(r"[:=+\-\s]*|str|[fiu]\d\d?", cell) for cell in cells)
    ]
    heads = above_rows(
        [i for i, (cells, _) in enumerate(grid) if sum(column_of(cell) in MEASURES for cell in cells) >= 2],
        [any(map(is_number, cells[1:])) for cells, _ in grid],
    )
    turned = [i for i, (cells, _) in enumerate(grid) if len(cells) > 2 and column_of(cells[0]) in MEASURES]
    if not heads and len(turned) >= 2:
        first = turned[0]
        body = grid[max(first - 1, 0) :]
        width = max(len(cells) for cells, _ in body)
        padded = [[""] * (width - len(cells)) + cells if i == 0 else cells + [""] * (width - len(cells))
                  for i, (cells, _) in enumerate(body)]  # fmt: skip
        grid = [(list(cells), " ".join(cells)) for cells in zip(*padded, strict=True)]
        heads = [0]
    if not heads:
        return []
    if len(heads) > 1:
        raise ValueError(
            f"heads stand twice, again in {grid[heads[1]][1].strip()[:120]!r}; expected one report in a file"
        )
    columns = [column_of(cell) for cell in grid[heads[0]][0]]
    at = columns.index("name") if "name" in columns else 0
    rows = []
    for cells, line in grid[heads[0] + 1 :]:
        if not any(cells):
            continue
        if len(cells) == len(columns) - 1 and not columns[at] and at == 0:
            cells = ["", *cells]
        while len(cells) > len(columns) and not cells[-1]:
            cells = cells[:-1]
        if kind_of(cells[0]) == "accuracy" and 1 <= len(filled := [c for c in cells[1:] if c]) <= 2 and at == 0:
            rows.append(Row(cells[0], dict(zip(("f1-score", "support"), filled, strict=False)), line.strip()[:120]))
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"{line.strip()[:120]!r} has {len(cells)} cells, the heads have {len(columns)}; {EXPECTED}"
            )
        named = {column: cell for i, (column, cell) in enumerate(zip(columns, cells, strict=True)) if i != at}
        rows.append(Row(cells[at], named, line.strip()[:120]))
    return rows


def _rows_of_text(lines: Sequence[str]) -> list[Row]:
    """Rows of a table of blanks: a line each, or, where a line is no row, cells put together across lines."""
    lines = [line for line in lines if not is_title(line)]
    heads = above_rows(
        [i for i, line in enumerate(lines) if sum(c in MEASURES for c in heads_of(line)) >= 2],
        [sum(map(is_number, line.split())) >= 2 for line in lines],
    )
    if len(heads) > 1:
        raise ValueError(
            f"heads stand twice, again in {lines[heads[1]].strip()[:120]!r}; expected one report in a file"
        )
    if not heads:
        for gap in ("  ", " "):
            if rows := _rows_of_grid([(split_cells(line, gap), line) for line in lines]):
                return rows
    columns = heads_of(lines[heads[0]]) if heads else _SKLEARN
    body = lines[heads[0] + 1 :] if heads else lines
    columns = columns[1:] if columns[0] == "name" or column_of(columns[0]) == columns[0] == "" else columns
    rows, words, fault = [], [], ""
    for line in body:
        row = _row_of_line(line, columns)
        if row:
            fault = fault or (f"{words[0]!r} stands between the rows" if words and heads else "")
            rows.append(row)
        elif re.search(r"(?<!\w)\d", line) and heads and not is_prose(line):
            fault = fault or f"{line.strip()[:120]!r} is no row of {len(columns)} numbers below {columns}"
        elif not re.fullmatch(r"[\s\-=+_]*", line):
            words.append(line.strip()[:120])
    if rows and not fault:
        return rows
    try:
        return _rows_of_columns(lines) or _rows_of_cells(lines)
    except ValueError as error:
        raise ValueError(f"{fault}; {EXPECTED}" if fault else str(error)) from error


def _row_of_line(line: str, columns: Sequence[str]) -> Row | None:
    cells = re.split(GAPS, line.strip())
    if len(cells) == len(columns) + 1 and all(is_number(cell, spaced=True) for cell in cells[1:]):
        return Row(cells[0], dict(zip(columns, cells[1:], strict=True)), line.strip()[:120])
    words = line.split()
    start = len(words)
    while start > 0 and is_number(words[start - 1]):
        start -= 1
    # Thousands are parted by one blank, columns by more where they can be.
    blank = bool(re.search(r"\d \d+\s*$", line))
    return _row(words[:start], words[start:], columns, line.strip()[:120], blank)


def _row(
    words: Sequence[str], numbers: Sequence[str], columns: Sequence[str], line: str, blank: bool = True
) -> Row | None:
    """A row of name and numbers; None where they do not fill the columns in exactly one way."""
    kind = kind_of(" ".join(words))
    if kind == "total" and len(numbers) == 1:
        return Row(" ".join(words), {"support": numbers[0]}, line)
    lengths = {len(columns), *((1, 2) if kind == "accuracy" else ())}
    if columns[-1] == "support" and kind.endswith(("avg", "average")):
        lengths.add(len(columns) - 1)
    # In 'class 1 0.83 0.92 0.87 372' the first number is a name's, in 'normal 0.83 0.92 0.87 1 372' the last are one.
    ways = [(words, list(numbers))]
    if numbers and numbers[0].isdigit() and kind == "class":
        ways.append(([*words, numbers[0]], list(numbers[1:])))
    if blank and columns[-1] == "support" and re.fullmatch(r"[1-9]\d{0,2} \d{3}", " ".join(numbers[-2:])):
        ways += [(name, [*cells[:-2], cells[-2] + cells[-1]]) for name, cells in ways if len(cells) > 2]
    ways = [(name, cells) for name, cells in ways if name and len(cells) in lengths]
    alike = [way for way in ways if len({len(parted(cell)[0].partition(".")[2]) for cell in way[1][:-1]}) < 2]
    ways = alike if len(alike) == 1 else ways
    if len(ways) != 1:
        return None
    name, cells = ways[0]
    under = ("f1-score", "support") if len(cells) < len(columns) and kind == "accuracy" else columns
    return Row(" ".join(name), dict(zip(under, cells, strict=False)), line)


def _rows_of_columns(lines: Sequence[str]) -> list[Row]:
    """Rows of cells that stand one a line, column by column, as copied out of a PDF; empty where they are no such."""
    cells = [line.strip() for line in lines]
    heads = [i for i, cell in enumerate(cells) if column_of(cell) in COLUMNS]
    if len(heads) < 3:
        return []
    columns, above = {}, cells[: heads[0]]
    for start, stop in zip(heads, [*heads[1:], len(cells)], strict=True):
        numbers = list(itertools.takewhile(is_number, cells[start + 1 : stop]))
        if not numbers or any(re.search(r"\d", cell) for cell in cells[start + 1 + len(numbers) : stop]):
            return []
        columns[column_of(cells[start])] = numbers
    named = [i for i, cell in enumerate(above) if column_of(cell) == "name"]
    names = above[named[-1] + 1 :] if named else above[-max(map(len, columns.values())) :]
    short = [i for i, name in enumerate(names) if kind_of(name) == "accuracy"]
    for numbers in columns.values():
        # The accuracy has no precision and no recall.
        if len(short) == 1 and len(numbers) == len(names) - 1:
            numbers.insert(short[0], "")
    if any(len(numbers) != len(names) for numbers in columns.values()):
        return []
    return [
        Row(name, dict(zip(columns, row, strict=True)), " ".join([name, *row])[:120])
        for name, row in zip(names, zip(*columns.values(), strict=True), strict=True)
    ]


def _rows_of_cells(lines: Sequence[str]) -> list[Row]:
    """Rows from the stream of cells, however the lines are broken: names, then as many numbers as there are heads."""
    words, columns = " ".join(lines).split(), []
    # A title may name some of the measures; the heads are the most that stand side by side.
    start = 0
    while start < len(words):
        found, end = [], start
        while size := next((n for n in (3, 2, 1) if column_of(" ".join(words[end : end + n])) in COLUMNS), 0):
            found.append(column_of(" ".join(words[end : end + size])))
            end += size
        if len(found) > len(columns) and found[0] in MEASURES:
            columns, after = found, end
        start = max(end, start + 1)
    words = words[after:] if columns else []
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise ValueError(f"the text has no line with the heads of a report; {EXPECTED}")
    rows = []
    while words:
        stop = next((i for i, word in enumerate(words) if is_number(word)), len(words))
        end = next((i for i in range(stop, len(words)) if not is_number(words[i])), len(words))
        name, numbers, words = words[:stop], words[stop:end], words[end:]
        line = " ".join([*name, *numbers])[:120]
        if not numbers and not re.search(r"\d", line):
            break
        step = len(columns) + 1
        if not name and len(numbers) % step == 0:
            # Classes that are called by a number.
            rows += [
                _row(numbers[i : i + 1], numbers[i + 1 : i + step], columns, line) for i in range(0, len(numbers), step)
            ]
        else:
            rows.append(_row(name, numbers, columns, line))
        if rows[-1] is None:
            raise ValueError(f"{line!r} does not fill the heads {columns} in exactly one way; {EXPECTED}")
    return rows
