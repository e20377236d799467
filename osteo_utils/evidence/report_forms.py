"""Reads a classification report in the forms that people have it in: as printed, as a table, as Python or JSON."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from osteo_utils.evidence.report_table import (
    EXPECTED,
    MEASURES,
    PrintedReport,
    Row,
    column_of,
    is_number,
    kind_of,
    report_of,
)

_LONGEST = 50_000
_DELIMITERS = ("|", "&", "\t", ";", ",")
# As NumPy prints an array of counts.
_MATRIX = r"(?:array\()?\[\s*\[[\d\s,]+\][\s,]*(?:\[[\d\s,]+\][\s,]*)+\](?:, *dtype=\w+)?\)?"
_SKLEARN = ["precision", "recall", "f1-score", "support"]


def parse_report(text: str) -> PrintedReport:
    """Read a classification report of two classes or more.

    Raises ValueError that names the line which cannot be read, and what was expected.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"the text has {len(text):,} characters; expected one report of at most {_LONGEST:,}")
    # Colours of a terminal.
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    # Spaces, minus and apostrophes as PDF, word processors and web pages have them.
    text = re.sub(r"[^\S\n\r\t]", " ", text.lstrip("\ufeff")).replace("\u2019", "'").replace("\r\n", "\n")
    text = re.sub(r"(?<=\d)[ ]+%", "%", re.sub(r"[\u200b\u200c\u2060\u00ad]", "", text).replace("\\%", "%"))
    brace = text.find("{")
    if brace >= 0 and re.fullmatch(r"[\w\s=.:`()\[\]\"']*", text[:brace]) and ":" in text[brace:]:
        return report_of(_rows_of_mapping(text[brace:].rstrip("` \n);")))
    beside = tuple(
        tuple(tuple(map(int, re.findall(r"\d+", row))) for row in re.findall(r"\[([^\[\]]+)\]", found))
        for found in re.findall(_MATRIX, text)
    )
    lines = [line for line in re.sub(_MATRIX, "", text).splitlines() if line.strip()]
    for delimiter in _DELIMITERS:
        grid = [(_split(line, delimiter), line) for line in lines if delimiter in line]
        if rows := _rows_of_grid(grid):
            return replace(report_of(rows + _loose_accuracy(lines, delimiter)), beside=beside)
    return replace(report_of(_rows_of_text(lines)), beside=beside)


def _rows_of_mapping(text: str) -> list[Row]:
    """Rows of an `output_dict`, as Python or JSON; numbers keep the decimals that they are written with."""
    if max((text[:end].count("{") - text[:end].count("}") for end in _ends(text)), default=0) > 2 or "((" in text:
        raise ValueError(f"the braces of the report lie more than two deep; {EXPECTED}")
    try:
        outer = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ValueError(f"line {line} is neither Python nor JSON: {text.splitlines()[line - 1][:80]!r}") from error
    if not isinstance(outer, ast.Dict):
        raise ValueError(f"the text is no mapping; {EXPECTED}")

    def pairs(node: ast.Dict) -> Iterator[tuple[str, ast.expr]]:
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant):
                raise ValueError(f"a key of the mapping is no name: {ast.unparse(node)[:80]!r}; {EXPECTED}")
            yield str(key.value), value

    def number(node: ast.expr) -> str:
        inner = node.args[0] if isinstance(node, ast.Call) and len(node.args) == 1 else node
        source = (ast.get_source_segment(text, inner) or "").strip("'\"")
        return "" if source in ("null", "None") else source

    table = {
        name: {key: number(one) for key, one in pairs(node)} if isinstance(node, ast.Dict) else number(node)
        for name, node in pairs(outer)
    }
    if sum(column_of(name) in _SKLEARN for name in table) >= 2:
        names = dict.fromkeys(name for column in table.values() if isinstance(column, dict) for name in column)
        table = {name: {key: column.get(name, "") for key, column in table.items()} for name in names}
    rows = []
    for name, cells in table.items():
        cells = cells if isinstance(cells, dict) else {"f1-score": cells}
        rows.append(Row(name, {column_of(key): value for key, value in cells.items()}, f"{name}: {cells}"[:120]))
    return rows


def _ends(text: str) -> list[int]:
    return [match.end() for match in re.finditer(r"\{", text)][:1000]


def _split(line: str, delimiter: str) -> list[str]:
    """The cells of a line of a table, without the marks of Markdown and LaTeX."""
    if delimiter == "&":
        line = re.sub(r"\\(hline|toprule|midrule|bottomrule|cline\{[^{}]*\})", "", line)
        line = re.sub(r"\\multicolumn\{(\d)\}\{[^{}]*\}\{([^{}]*)\}", lambda m: m[2] + " &" * (int(m[1]) - 1), line)
        line = re.sub(r"\\\\.*$", "", line)
        line = re.sub(r"\\[a-zA-Z]+\{([^{}]*)\}", r"\1", line).replace("\\_", "_").replace("\\,", " ")
        line = re.sub(r"[${}]|\\[a-zA-Z]+ ?", "", line)
        cells = line.split("&")
    elif delimiter == "|":
        cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    else:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [re.sub(r"\*\*|__|`", "", cell).strip() for cell in cells]


def _rows_of_grid(grid: Sequence[tuple[list[str], str]]) -> list[Row]:
    """Rows of a table with delimiters, in either orientation; empty where no line of it holds the heads."""
    grid = [(cells, line) for cells, line in grid if not all(re.fullmatch(r"[:=+\-\s]*", cell) for cell in cells)]
    heads = [i for i, (cells, _) in enumerate(grid) if sum(column_of(cell) in MEASURES for cell in cells) >= 2]
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
        if len(cells) != len(columns):
            raise ValueError(
                f"{line.strip()[:120]!r} has {len(cells)} cells, the heads have {len(columns)}; {EXPECTED}"
            )
        named = {column: cell for i, (column, cell) in enumerate(zip(columns, cells, strict=True)) if i != at}
        rows.append(Row(cells[at], named, line.strip()[:120]))
    return rows


def _loose_accuracy(lines: Sequence[str], delimiter: str) -> list[Row]:
    """A line 'accuracy: 0.90' outside of a table with delimiters."""
    return [row for line in lines if delimiter not in line and (row := _accuracy(line))]


def _accuracy(line: str) -> Row | None:
    found = re.fullmatch(r"\s*((?:[A-Za-z]+ )?accuracy)\s*[:=]\s*(\S+?)[.;]?\s*", line, re.IGNORECASE)
    return Row("accuracy", {"f1-score": found[2]}, line.strip()[:120]) if found and is_number(found[2]) else None


def _rows_of_text(lines: Sequence[str]) -> list[Row]:
    """Rows of a table of blanks: a line each, or, where a line is no row, cells put together across lines."""
    heads = [i for i, line in enumerate(lines) if sum(c in MEASURES for c in _heads(line)) >= 2]
    if len(heads) > 1:
        raise ValueError(
            f"heads stand twice, again in {lines[heads[1]].strip()[:120]!r}; expected one report in a file"
        )
    if not heads:
        cells = [(re.split(r"\s{2,}|\t", line.strip()), line) for line in lines]
        if rows := _rows_of_grid(cells):
            return rows
    columns = _heads(lines[heads[0]]) if heads else _SKLEARN
    body = lines[heads[0] + 1 :] if heads else lines
    columns = columns[1:] if columns[0] == "name" or column_of(columns[0]) == columns[0] == "" else columns
    rows, words, fault = [], [], ""
    for line in body:
        row = _accuracy(line) or _row_of_line(line, columns)
        if row:
            fault = fault or (f"{words[0]!r} stands between the rows" if words and heads else "")
            rows.append(row)
        elif any(map(str.isdigit, line)) and heads:
            fault = fault or f"{line.strip()[:120]!r} is no row of {len(columns)} numbers below {columns}"
        elif not re.fullmatch(r"[\s\-=+_]*", line):
            words.append(line.strip()[:120])
    if rows and not fault:
        return [row for line in lines[: heads[0] if heads else 0] if (row := _accuracy(line))] + rows
    try:
        return _rows_of_cells(lines)
    except ValueError as error:
        raise ValueError(f"{fault}; {EXPECTED}" if fault else str(error)) from error


def _heads(line: str) -> list[str]:
    """The columns that a line of heads names, in order; words that are no known head stay as they are."""
    by_gaps = [column_of(cell) for cell in re.split(r"\s{2,}|\t", line.strip())]
    if sum(column in MEASURES for column in by_gaps) >= 2:
        return by_gaps
    words, found = line.split(), []
    while words:
        size = next((n for n in (4, 3, 2) if column_of(" ".join(words[:n])) in (*_SKLEARN, "specificity")), 1)
        found.append(column_of(" ".join(words[:size])))
        words = words[size:]
    return found


def _row_of_line(line: str, columns: Sequence[str]) -> Row | None:
    cells = re.split(r"\s{2,}|\t", line.strip())
    if len(cells) == len(columns) + 1 and all(is_number(cell, spaced=True) for cell in cells[1:]):
        return Row(cells[0], dict(zip(columns, cells[1:], strict=True)), line.strip()[:120])
    words = line.split()
    start = len(words)
    while start > 0 and is_number(words[start - 1]):
        start -= 1
    # Thousands are parted by one blank, columns by more where they can be.
    parted = bool(re.search(r"\d \d+\s*$", line))
    return _row(words[:start], words[start:], columns, line.strip()[:120], parted)


def _row(
    words: Sequence[str], numbers: Sequence[str], columns: Sequence[str], line: str, parted: bool = True
) -> Row | None:
    """A row of name and numbers; None where they do not fill the columns in exactly one way."""
    kind = kind_of(" ".join(words))
    if kind == "total" and len(numbers) == 1:
        return Row(" ".join(words), {"support": numbers[0]}, line)
    lengths = {len(columns), *((1, 2) if kind == "accuracy" else ())}
    # In 'class 1 0.83 0.92 0.87 372' the first number is a name's, in 'normal 0.83 0.92 0.87 1 372' the last are one.
    ways = [(words, list(numbers))]
    if numbers and numbers[0].isdigit() and kind == "class":
        ways.append(([*words, numbers[0]], list(numbers[1:])))
    if parted and columns[-1] == "support" and re.fullmatch(r"[1-9]\d{0,2} \d{3}", " ".join(numbers[-2:])):
        ways += [(name, [*cells[:-2], cells[-2] + cells[-1]]) for name, cells in ways if len(cells) > 2]
    ways = [(name, cells) for name, cells in ways if name and len(cells) in lengths]
    alike = [way for way in ways if len({len(cell.partition(".")[2]) for cell in way[1][:-1]}) < 2]
    ways = alike if len(alike) == 1 else ways
    if len(ways) != 1:
        return None
    name, cells = ways[0]
    under = columns if len(cells) == len(columns) else ("f1-score", "support")
    return Row(" ".join(name), dict(zip(under, cells, strict=False)), line)


def _rows_of_cells(lines: Sequence[str]) -> list[Row]:
    """Rows from the stream of cells, however the lines are broken: names, then as many numbers as there are heads."""
    words, columns = " ".join(lines).split(), []
    while words and not columns:
        for size in (3, 2, 1):
            if (column := column_of(" ".join(words[:size]))) in MEASURES:
                columns, words = [column], words[size:]
                break
        else:
            words = words[1:]
    while words and (
        size := next((n for n in (3, 2, 1) if column_of(" ".join(words[:n])) in (*_SKLEARN, "specificity")), 0)
    ):
        columns.append(column_of(" ".join(words[:size])))
        words = words[size:]
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise ValueError(f"the text has no line with the heads of a report; {EXPECTED}")
    rows = []
    while words:
        stop = next((i for i, word in enumerate(words) if is_number(word)), len(words))
        end = next((i for i in range(stop, len(words)) if not is_number(words[i])), len(words))
        name, numbers, words = words[:stop], words[stop:end], words[end:]
        line = " ".join([*name, *numbers])[:120]
        if not numbers:
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
