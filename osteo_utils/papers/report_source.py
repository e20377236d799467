"""From a text to plain lines: web pages, marks behind numbers, confusion matrices, loose numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from html.parser import HTMLParser

from osteo_utils.papers.report_table import COLUMNS, EXPECTED, GAPS, MEASURES, column_of, heads_of, is_number, kind_of

Matrix = tuple[tuple[float, ...], ...]
# As NumPy prints an array.
_ARRAY = r"(?:array\()?\[\s*\[[\d\s,.e+-]+\][\s,]*(?:\[[\d\s,.e+-]+\][\s,]*)+\](?:, *dtype=\w+)?\)?"
_COUNT = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_CELLS = ("tn|true negatives?", "fp|false positives?", "fn|false negatives?", "tp|true positives?")
_RULE = r"[\s|:+=-]*"
_FOUR = r"\W?".join([r"\btn\W{1,3}fp\W{1,3}fn\W{1,3}tp\W{1,9}", *[r"(\d{1,9})\W{1,3}"] * 3, r"(\d{1,9})\)?"])
_NUMBER = r"\d*[.,]?\d+(?:e[-+]?\d+)?%?(?:±[\d.,]+%?)?(?:[(\[][^()\[\]]*[)\]])?"
_PAIR = rf"[A-Za-z_)\]'\"]\s*[:=]+\s*{_NUMBER}(?![\w.])"
_OTHER_MEASURES = "auc|auroc|kappa|mcc|loss|brier|error"
# Words beside "accuracy" that leave it the one of the films of the report.
_OF_THE_REPORT = set(
    "accuracy acc score the a our test testing tested overall total final model models model's network classifier of on "
    "for over with set data dataset images films classification prediction predictions hold out holdout heldout is was".split()
)  # fmt: skip
# Invisible signs, and the frames that terminals and polars draw around tables.
_SIGNS = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u2060\u00ad")) | dict.fromkeys(range(0x2500, 0x2580), "-")
_SIGNS |= dict.fromkeys(map(ord, "│┃┆┇┊┋║"), "|") | {ord("\u2019"): "'", ord("\u2011"): "-", ord("\r"): "\n"}
_OTHER_TOOLS = {
    "Confusion Matrix and Statistics": "confusionMatrix of R's caret",
    "=== Detailed Accuracy By Class ===": "Weka",
}


def plain(text: str) -> str:
    """The text without what only dresses it; marks behind a number stand without a blank, as in 0.89±0.02.

    Raises ValueError for what another tool prints without all that a report needs.
    """
    # Colours of a terminal.
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    if re.search(r"<(table|tr|td|pre)\b[^<>]*>", text, re.IGNORECASE):
        page = _Page()
        try:
            page.feed(text)
            page.close()
        except AssertionError as error:
            raise ValueError(f"the page cannot be read as HTML ({error}); {EXPECTED}") from error
        text = "".join(page.parts)
    if all(line.startswith(">") for line in text.splitlines() if line.strip()):
        text = re.sub(r"(?m)^(?:> ?)+", "", text)
    # Spaces, minus and apostrophes as PDF, word processors and web pages have them.
    text = re.sub(r"[^\S\n\r\t]", " ", text.replace("\r\n", "\n").translate(_SIGNS)).replace("\\%", "%")
    text = re.sub(r"(?<=\d) +%", "%", text)
    for mark, tool in _OTHER_TOOLS.items():
        if mark in text:
            raise ValueError(
                f"{mark!r} is printed by {tool}, which gives no supports: these are the sums of its confusion matrix "
                f"over the true class. Copy them with its numbers; {EXPECTED}"
            )
    text = re.sub(
        r"(?<=[\d%]) {0,4}[_^]?\{?\$? ?([(\[]?)\$? ?(?:\\pm|±|\+/[-\u2212\u2013])\$? {0,2}(?=[\d.])", r"\1±", text
    )
    text = re.sub(r"(?<=[\d%])[*†‡§]+|\*+(?=[\d.,%]+\*)", "", text)
    return re.sub(
        r"(?<=[\d%]) {0,4}([(\[](?=[^()\[\]]*\d)(?:[\d.,;%/ ±:=\u2013\u2014-]|to|of|CI|SD|n){1,60}[)\]])",
        lambda found: re.sub(r", +|; *", "\u2013", found[1]).replace(" ", ""),
        text,
    )


class _Page(HTMLParser):
    """The text of a web page: a line a row with tabs between its cells; what stands outside of tables stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.cell: list[str] | None = None
        self.span, self.hidden = 1, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th"):
            self._end_cell()
            wide = dict(attrs).get("colspan") or "1"
            self.cell, self.span = [], min(int(wide), 20) if wide.isdecimal() else 1
        elif tag == "br" and self.cell is not None:
            self.cell.append(" ")
        elif tag in ("tr", "br", "p", "div", "li", "pre", "table"):
            self._end_cell()
            self.parts.append("\n")
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()
        if tag in ("tr", "table", "p", "div", "pre", "li", "title", "caption") or re.fullmatch(r"h\d", tag):
            self.parts.append("\n")
        self.hidden = max(0, self.hidden - (tag in ("script", "style")))

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        if self.cell is not None:
            self.cell.append(data)
        elif data.strip() or not "".join(self.parts[-1:]).endswith("\t"):
            self.parts.append(data)

    def _end_cell(self) -> None:
        if self.cell is not None:
            self.parts.append(" ".join("".join(self.cell).split()) + "\t" * self.span)
            self.cell = None


def without_matrices(text: str) -> tuple[str, tuple[Matrix, ...]]:
    """The text without its confusion matrices, and these: as NumPy and pandas print them, plain, or as TN, FP, FN, TP."""
    found = [
        tuple(tuple(map(float, re.findall(_COUNT, row))) for row in re.findall(r"\[([^\[\]]+)\]", one))
        for one in re.findall(_ARRAY, text)
    ]
    text = re.sub(_ARRAY, "", text)
    text = re.sub(_FOUR, r"TN=\1 FP=\2 FN=\3 TP=\4", text, flags=re.IGNORECASE)
    cells = [re.findall(rf"\b(?:{words})\b\s*[:=]\s*(\d{{1,12}})\b", text, re.IGNORECASE) for words in _CELLS]
    if all(len(one) == 1 for one in cells):
        tn, fp, fn, tp = (float(one[0]) for one in cells)
        found.append(((tn, fp), (fn, tp)))
        text = re.sub(rf"\b(?:{'|'.join(_CELLS)})\b\s*[:=]\s*\d+\b[ ,;]*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"(?m)^ *\[?(\d{1,9}[ ,]+\d{1,9}) *[/;] *(\d{1,9}[ ,]+\d{1,9})\]?;? *$", r"\1\n\2", text)
    lines = [line for line in text.splitlines() if line.strip()]
    kept, start = [], 0
    while start < len(lines):
        stop, matrix = _block(lines, start)
        above = next((line for line in reversed(kept) if not re.fullmatch(_RULE, line)), "")
        if matrix and not _goes_on(above, len(matrix)):
            found.append(matrix)
            # The names of its columns, which may be numbers, and a rule or a name of the rows below these.
            for at, line in enumerate(kept[:-4:-1], 1):
                if _names_columns(line, len(matrix)):
                    del kept[-at:]
                if re.search(r"(?<!\w)\d", line) or _is_of_a_report(line) or _names_columns(line, len(matrix)):
                    break
        else:
            kept += lines[start:stop]
        start = stop
    return "\n".join(kept), tuple(found)


def _is_of_a_report(line: str) -> bool:
    words = re.split(r"[\s|,;&]+", line.strip())
    return sum(column_of(word) in MEASURES for word in words) >= 2 or bool(re.search(r"\d[.,]\d", line))


def _goes_on(line: str, size: int) -> bool:
    """Whether whole numbers below a line may be rows of a report: below its heads, or a class with as many numbers."""
    words = [word for word in re.split(r"[\s|;&]+|,\s", line.strip()) if word]
    shares = [word for word in words if is_number(word)]
    is_class = kind_of(" ".join(word for word in words if not is_number(word))) == "class"
    return _is_of_a_report(line) and (not shares or (is_class and len(shares) in (size, size + 1)))


def _names_columns(line: str, size: int) -> bool:
    """Whether a line above a matrix holds names of its columns alone, some of them numbers or all in a table's cells."""
    words = re.findall(r"\w+", line)
    numbers = {int(word) for word in words if word.isdecimal() and len(word) < 3}
    plain_words = not _is_of_a_report(line) and kind_of(" ".join(w for w in words if not w.isdecimal())) == "class"
    cells = len(re.findall(r"[|,;&\t]", line)) >= size
    return plain_words and bool(words) and (bool(numbers) or cells) and numbers <= set(range(size + 1))


def _block(lines: Sequence[str], start: int) -> tuple[int, Matrix | None]:
    """The end of the lines from `start` that are names with as many whole numbers, and their matrix if it is square.

    The names may be numbers that count up from 0 or 1.
    """
    end, best = start + 1, None
    for named_from in (0, 1, None):
        rows, stop = [], start
        while stop < len(lines):
            if rows and re.fullmatch(_RULE, lines[stop]):
                stop += 1
                continue
            counts = _counts(lines[stop], None if named_from is None else str(named_from + len(rows)))
            if len(counts) < 2 or (rows and len(counts) != len(rows[0])):
                break
            rows.append(counts)
            stop += 1
        matrix = _square(rows)
        if matrix and (best is None or stop > end):
            end, best = stop, matrix
        elif best is None:
            end = max(end, stop)
    return end, best


def _counts(line: str, number: str | None) -> list[int]:
    """The whole numbers behind the name of a row, which may be this number; empty where the line is no such row."""
    line = line.strip(" \t|\\")
    # A name may end in a number where cells are told apart by more than one blank.
    ways = (r"[|;&\t,]|\s{2,}", r",\s|[\s|;&]+")
    split = [[word.strip() for word in re.split(way, line) if word.strip()] for way in ways]
    words = next((one for one in split if len(one) > 2 and all(map(str.isdecimal, one[1:]))), split[1])
    first = next((i for i in range(len(words), 0, -1) if not words[i - 1].isdecimal()), 0)
    name = " ".join(words[:first])
    if column_of(name) in COLUMNS or kind_of(name) not in ("class", "total"):
        return []
    if number is not None and not name:
        first = 1 if words and words[0] == number else len(words)
    return [int(word) for word in words[first:]] if all(len(word) < 12 for word in words[first:]) else []


def _square(rows: Sequence[Sequence[int]]) -> Matrix | None:
    """Rows as a square matrix, without the margins that they may have; None where they are none."""
    height, width = len(rows), len(rows[0]) if rows else 0
    across = width > 2 and all(sum(row[:-1]) == row[-1] for row in rows)
    down = height > 2 and all(sum(column[:-1]) == column[-1] for column in zip(*rows, strict=True))
    inner = [row[: width - across] for row in rows[: height - down]]
    square = len(inner) > 1 and len(inner) == len(inner[0])
    return tuple(tuple(map(float, row)) for row in inner) if square else None


def without_loose_numbers(lines: Sequence[str]) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """The lines without those of single named numbers, such as 'Loss: 0.31'; accuracies among these; remarks on the others.

    An accuracy (cell, line) counts where its name says nothing of other films or of another measure.
    """
    kept, said, others = [], [], []
    for line in lines:
        bare = re.sub(r"[*#>`]", "", line).strip()
        if len(bare) > 500:
            kept.append(line)
            continue
        name = re.fullmatch(rf"([^:=]*?)(?:\s*[:=]+|\s+(?:is|was))\s*({_NUMBER})[.;,]?", bare)
        if (
            name
            and re.search(r"[A-Za-z]", name[1])
            and is_number(name[2])
            and kind_of(name[1]) in ("class", "accuracy")
        ):
            words = re.findall(r"[a-z']+", name[1].lower())
            if {"accuracy", "acc"} & set(words) and set(words) <= _OF_THE_REPORT and not re.search("[±(]", name[2]):
                said.append((name[2], bare[:120]))
            else:
                others.append(bare[:120])
        elif (
            re.fullmatch(rf"[^\d|,;&]*\b({_OTHER_MEASURES})\b[^\d|,;&]*\s{_NUMBER}", bare, re.IGNORECASE)
            or (re.search(_PAIR, bare) and not re.search(r"\d", re.sub(_PAIR, "", bare)))
            or (re.search(_PAIR, bare) and re.search(r"\b(loss|epoch|step)\b", bare))
        ):
            others.append(bare[:120])
        else:
            kept.append(line)
    shown = ", ".join(repr(one) for one in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return kept, said, [f"not checked: {shown}"] if others else []


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line of a table, without the marks of Markdown and LaTeX; one blank parts a head from numbers."""
    if delimiter == "  ":
        return re.split(GAPS, line.strip())
    if delimiter == " ":
        words = line.split()
        end = next((i for i, word in enumerate(words) if is_number(word)), 0)
        return [" ".join(words[:end]), *words[end:]] if end else words
    if delimiter == "&":
        line = re.sub(r"\\(hline|(top|mid|bottom)rule|(cline|row\w*|cell\w*|begin)(\{[^{}]*\})+|cmidrule\S*)", "", line)
        line = re.sub(r"\\multirow\{[^{}]*\}\{[^{}]*\}", "", line)
        line = re.sub(r"\\multicolumn\{(\d)\}\{[^{}]*\}\{([^{}]*)\}", lambda m: m[2] + " &" * (int(m[1]) - 1), line)
        line = re.sub(r"^\[[\d.\w]*\]", "", line.strip())
        line = re.sub(r"\\[a-zA-Z]+\{([^{}]*)\}", r"\1", line).replace("\\_", "_").replace("\\,", " ")
        line = re.sub(r"[${}]|\\[a-zA-Z]+ ?", "", line)
        cells = line.split("&")
    elif delimiter == "|":
        cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    else:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [re.sub(r"\*\*|__|`", "", cell).strip() for cell in cells]


def above_rows(heads: Sequence[int], numbers: Sequence[bool]) -> list[int]:
    """The lines of heads with a line of numbers before the next ones: a title may name the measures, too."""
    ends = [*heads[1:], len(numbers)]
    return [i for i, end in zip(heads, ends, strict=False) if any(numbers[i + 1 : end])] or list(heads)


def is_title(line: str) -> bool:
    """Whether a line that names measures is a title such as 'Precision and recall of the test set', and no heads."""
    words = set(map(str.lower, heads_of(line)))
    return bool(words & set(MEASURES) and words & {"and", "of", "the", "for", "on", "in", "with"})


def is_prose(line: str) -> bool:
    """Whether a line with digits is a footnote, or a sentence: three words or more, few numbers, not two at its end."""
    if re.match(r"\s*([*†‡§]|\d{4}-\d\d-\d\d|\d\d?:\d\d)", line):
        return True
    words = line.split()
    named = [word for word in words if re.search(r"[A-Za-z]{2}", word)]
    numbers = [word for word in words if re.search(r"\d", word) and not re.search(r"[A-Za-z]", word)]
    bare_end = all(not re.search(r"[A-Za-z]", word) for word in words[-2:])
    return len(named) >= 3 and 2 * len(numbers) <= len(named) and not bare_end
