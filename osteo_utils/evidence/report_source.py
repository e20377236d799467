"""From the bytes of a file to plain lines: encodings, web pages, marks behind numbers, confusion matrices, loose numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from html.parser import HTMLParser

from osteo_utils.evidence.report_table import COLUMNS, EXPECTED, MEASURES, column_of, is_number, kind_of

Matrix = tuple[tuple[float, ...], ...]
# As NumPy prints an array.
_ARRAY = r"(?:array\()?\[\s*\[[\d\s,.e+-]+\][\s,]*(?:\[[\d\s,.e+-]+\][\s,]*)+\](?:, *dtype=\w+)?\)?"
_COUNT = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_CELLS = {
    "tn": "tn|true negatives?",
    "fp": "fp|false positives?",
    "fn": "fn|false negatives?",
    "tp": "tp|true positives?",
}
_FOUR = r"\W?".join([r"\btn\W{1,3}fp\W{1,3}fn\W{1,3}tp\W{1,9}", *[r"(\d{1,9})\W{1,3}"] * 3, r"(\d{1,9})\)?"])
_TWO = (r"(\d{1,9})",) * 2
_NUMBER = r"\d*[.,]?\d+(?:e[-+]?\d+)?%?(?:±[\d.,]+%?)?(?:[(\[][^()\[\]]*[)\]])?"
_PAIR = rf"[A-Za-z_)\]'\"]\s*[:=]+\s*{_NUMBER}(?![\w.])"
# Words beside "accuracy" that leave it the one of the films of the report.
_OF_THE_REPORT = set(
    "accuracy acc score the a our test testing tested overall total final model models model's network classifier of on "
    "for over with set data dataset images films classification prediction predictions hold out holdout heldout is was".split()
)  # fmt: skip
_OTHER_TOOLS = {
    r"Confusion Matrix and Statistics": "confusionMatrix of R's caret",
    r"=== Detailed Accuracy By Class ===": "Weka",
}


def decoded(source: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 with its mark, or Latin-1. Raises ValueError where it is no text."""
    if source.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return source.decode("utf-16")
        except UnicodeDecodeError as error:
            raise ValueError(f"the file starts as UTF-16 and is not ({error.reason}); {EXPECTED}") from error
    if b"\0" in source:
        raise ValueError(f"the file holds bytes of no text; {EXPECTED}")
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        return source.decode("cp1252", errors="replace")


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
    text = re.sub(r"[^\S\n\r\t]", " ", text.lstrip("\ufeff")).replace("\u2019", "'").replace("\r\n", "\n")
    text = (
        re.sub(r"[\u200b\u200c\u2060\u00ad]", "", text).replace("\\%", "%").replace("\r", "\n").replace("\u2011", "-")
    )
    text = re.sub(r"(?<=\d) +%", "%", text)
    for mark, tool in _OTHER_TOOLS.items():
        if found := re.search(mark, text):
            raise ValueError(
                f"{found[0]!r} is printed by {tool}, which gives no support of each class; expected lines such as 'normal "
                "0.97 0.99 0.98 372' below the heads 'precision recall f1-score support': the supports are the sums of its "
                "confusion matrix over the true class"
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
    """The text of a web page: a line a row with tabs between its cells; what is set as typed stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.cell: list[str] | None = None
        self.span, self.typed, self.hidden = 1, 0, 0

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
        self.typed += tag == "pre"
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()
        if tag in ("tr", "table", "p", "div", "pre", "li", "title", "caption") or re.fullmatch(r"h\d", tag):
            self.parts.append("\n")
        self.typed = max(0, self.typed - (tag == "pre"))
        self.hidden = max(0, self.hidden - (tag in ("script", "style")))

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        if self.cell is not None:
            self.cell.append(data)
        else:
            self.parts.append(data if self.typed else re.sub(r"\s+", " ", data))

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
    cells = {
        key: re.findall(rf"\b(?:{words})\b\s*[:=]\s*(\d+)\b", text, re.IGNORECASE) for key, words in _CELLS.items()
    }
    if all(len(one) == 1 for one in cells.values()):
        tn, fp, fn, tp = (float(cells[key][0]) for key in ("tn", "fp", "fn", "tp"))
        found.append(((tn, fp), (fn, tp)))
        text = re.sub(rf"\b(?:{'|'.join(_CELLS.values())})\b\s*[:=]\s*\d+\b[ ,;]*", "", text, flags=re.IGNORECASE)
    one_line = rf"\s*[\[(]*{'[ ,]+'.join(_TWO)}[)\]]*\s*[/;]\s*[\[(]*{'[ ,]+'.join(_TWO)}[)\]]*;?\s*"
    lines = []
    for line in filter(str.strip, text.splitlines()):
        if row := re.fullmatch(one_line, line):
            a, b, c, d = map(float, row.groups())
            found.append(((a, b), (c, d)))
        else:
            lines.append(line)
    kept, start = [], 0
    while start < len(lines):
        stop, matrix = _block(lines, start)
        if matrix and not (kept and _is_of_a_report(kept[-1])):
            found.append(matrix)
            # The names of its columns, which may be numbers, and a rule or a name of the rows below these.
            for above in (1, 2, 3):
                if len(kept) >= above and _names_columns(kept[-above], len(matrix)):
                    del kept[-above:]
                    break
                if len(kept) < above or re.search(r"(?<!\w)\d", kept[-above]) or _is_of_a_report(kept[-above]):
                    break
        else:
            kept += lines[start:stop]
        start = stop
    return "\n".join(kept), tuple(found)


def _is_of_a_report(line: str) -> bool:
    words = re.split(r"[\s|,;&]+", line.strip())
    return sum(column_of(word) in MEASURES for word in words) >= 2 or bool(re.search(r"\d[.,]\d", line))


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
    end = start + 1
    for named_from in (0, 1, None):
        rows, stop = [], start
        while stop < len(lines):
            if rows and re.fullmatch(r"[\s|:+=-]*", lines[stop]):
                stop += 1
                continue
            counts = _counts(lines[stop], None if named_from is None else str(named_from + len(rows)))
            if len(counts) < 2 or (rows and len(counts) != len(rows[0])):
                break
            rows.append(counts)
            stop += 1
        if matrix := _square(rows):
            return stop, matrix
        end = max(end, stop)
    return end, None


def _counts(line: str, number: str | None) -> list[int]:
    """The whole numbers behind the name of a row, which may be this number; empty where the line is no such row."""
    line = line.strip(" \t|\\")
    commas = re.fullmatch(r"[^\d,][^,]*(?:,\d{1,9}){2,},*", line)
    words = [word for word in re.split("," if commas else r",\s|[\s|;&]+", line) if word]
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
    if len(inner) < 2 or len(inner) != len(inner[0]):
        return None
    return tuple(tuple(map(float, row)) for row in inner)


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
        elif re.search(_PAIR, bare) and (
            not re.search(r"\d", re.sub(_PAIR, "", bare)) or re.search(r"\b(loss|epoch|step)\b", bare)
        ):
            others.append(bare[:120])
        else:
            kept.append(line)
    shown = ", ".join(repr(one) for one in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return kept, said, [f"not checked: {shown}"] if others else []


def split_cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line of a table, without the marks of Markdown and LaTeX."""
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


def is_prose(line: str) -> bool:
    """Whether a line with digits is a footnote, or a sentence: three words or more, few numbers, not two at its end."""
    if line.lstrip().startswith(("*", "†", "‡", "§")):
        return True
    words = line.split()
    named = [word for word in words if re.search(r"[A-Za-z]{2}", word)]
    numbers = [word for word in words if re.search(r"\d", word) and not re.search(r"[A-Za-z]", word)]
    bare_end = all(not re.search(r"[A-Za-z]", word) for word in words[-2:])
    return len(named) >= 3 and 2 * len(numbers) <= len(named) and not bare_end
