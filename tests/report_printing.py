"""Prints confusion matrices as classification reports, in every form that people have them in."""

import json
import re

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

NAMES = ("normal", "osteoporosis", "osteopenia", "class 4", "other knee")


def labels(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of a confusion matrix, one element a film."""
    rows, columns = np.indices(matrix.shape)
    return np.repeat(rows.ravel(), matrix.ravel()), np.repeat(columns.ravel(), matrix.ravel())


def printed(matrix: np.ndarray, digits: int = 2, zero: float = 0.0, **options) -> str | dict:
    """The report of the installed scikit-learn."""
    n = list(range(len(matrix)))
    return classification_report(
        *labels(matrix), labels=n, target_names=NAMES[: len(n)], digits=digits, zero_division=zero, **options
    )


def _without(text: str, *names: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.strip().startswith(names)]


def in_018(matrix: np.ndarray, digits: int = 2) -> str:
    """As releases 0.18 and 0.19 print: one average, weighted, under the name 'avg / total'."""
    text = printed(matrix, digits)
    last = text.splitlines()[-1].replace("weighted avg", " avg / total")
    return "\n".join([*_without(text, "accuracy", "macro", "weighted"), "", last, ""])


def in_020(matrix: np.ndarray, digits: int = 2) -> str:
    """As release 0.20 prints: the accuracy stands three times in a row 'micro avg'."""
    text, total = printed(matrix, digits), int(matrix.sum())
    share = f"{matrix.trace() / total:>9.{digits}f}"
    micro = f"{'micro avg':>12} " + "".join(f" {share}" for _ in range(3)) + f" {total:>9}"
    kept = _without(text, "accuracy", "macro", "weighted")
    return "\n".join([*kept, "", micro, *text.splitlines()[-2:], ""])


def _grid(matrix: np.ndarray, digits: int, heads: tuple[str, ...] = ("precision", "recall", "f1-score", "support")):
    """Heads and rows of text cells; the accuracy stands in the third column."""
    rows = [["", *heads]]
    for name, cells in printed(matrix, output_dict=True).items():
        if name == "accuracy":
            rows.append([name, "", "", f"{cells:.{digits}f}", str(int(matrix.sum()))])
        else:
            shares = [f"{cells[key]:.{digits}f}" for key in ("precision", "recall", "f1-score")]
            rows.append([name, *shares, str(int(cells["support"]))])
    return rows


def as_csv(matrix, digits=2, delimiter=","):
    return "\n".join(delimiter.join(row) for row in _grid(matrix, digits)) + "\n"


def as_frame_csv(matrix, digits=4):
    """What pandas writes of an output_dict: the accuracy fills its row, trailing zeros are gone."""
    return pd.DataFrame(printed(matrix, output_dict=True)).transpose().round(digits).to_csv()


def as_turned_csv(matrix, digits=4):
    return pd.DataFrame(printed(matrix, output_dict=True)).round(digits).to_csv()


def as_frame_text(matrix, digits=2):
    return str(pd.DataFrame(printed(matrix, output_dict=True)).transpose())


def as_turned_text(matrix, digits=2):
    with pd.option_context("display.width", 250, "display.max_columns", 30):
        return str(pd.DataFrame(printed(matrix, output_dict=True)))


def as_markdown(matrix, digits=2):
    head, *rows = _grid(matrix, digits)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * 4], *rows)]
    return "Table 2\n\n" + "\n".join(lines).replace("accuracy", "**Accuracy**") + "\n"


def as_latex(matrix, digits=2):
    head, *rows = _grid(matrix, digits)
    body = " \\\\\n".join(" & ".join(row) for row in rows).replace("%", "\\%")
    return (
        "\\begin{tabular}{lrrrr}\n\\toprule\n" + " & ".join(head) + " \\\\\n\\midrule\n" + body
        + " \\\\\n\\bottomrule\n\\end{tabular}\n"
    )  # fmt: skip


def as_python(matrix, digits=2):
    return f"{printed(matrix, output_dict=True)}"


def as_numpy_python(matrix, digits=2):
    """As output_dict is shown where its numbers are numpy's."""
    return re.sub(r"(\d+\.\d+)", r"np.float64(\1)", as_python(matrix))


def as_json(matrix, digits=2):
    return json.dumps(printed(matrix, output_dict=True), indent=2)


def as_frame_json(matrix, digits=2):
    return pd.DataFrame(printed(matrix, output_dict=True)).transpose().to_json(double_precision=15)


def as_per_cent(matrix, digits=4, sign="%"):
    """Shares times 100, with two decimals less."""

    def turned(found):
        return f"{100 * float(found[0]):.{digits - 2}f}{sign}"

    return re.sub(rf"\d\.\d{{{digits + 8}}}", turned, printed(matrix, digits + 8))


def as_plain_per_cent(matrix, digits=4):
    return as_per_cent(matrix, digits, "")


def as_decimal_comma(matrix, digits=2):
    return printed(matrix, digits).replace(".", ",")


def as_semicolons(matrix, digits=2):
    return as_csv(matrix, digits, ";").replace(".", ",")


def as_tabs(matrix, digits=2):
    return as_csv(matrix, digits, "\t")


def with_hard_spaces(matrix, digits=2):
    return printed(matrix, digits).replace(" ", "\u00a0")


def in_capitals(matrix, digits=2):
    return re.sub(
        r"accuracy|macro avg|weighted avg|precision|recall|support", lambda m: m[0].title(), printed(matrix, digits)
    )


def one_cell_a_line(matrix, digits=2):
    return "\n".join(printed(matrix, digits).split())


def with_wrapped_rows(matrix, digits=2):
    return re.sub(r"(\d\.\d+ +\d\.\d+) +(?=\d\.)", r"\1\n", printed(matrix, digits))


def as_another_table(matrix, digits=2):
    """Other names in another order, with the specificity of each class and a column that no rule knows."""
    n, hits, called = matrix.sum(axis=1), matrix.diagonal(), matrix.sum(axis=0)
    total = int(matrix.sum())
    lines = [f"{'Class':<14}{'n':>8}{'Sensitivity':>14}{'Specificity':>14}{'PPV':>9}{'F1 score':>10}{'AUC':>7}"]
    for i, name in enumerate(NAMES[: len(n)]):
        specificity = (total - n[i] - called[i] + hits[i]) / (total - n[i]) if total > n[i] else 0
        cells = [hits[i] / n[i] if n[i] else 0, specificity, hits[i] / called[i] if called[i] else 0]
        cells.append(2 * hits[i] / (n[i] + called[i]) if n[i] + called[i] else 0)
        lines.append(
            f"{name:<14}{n[i]:>8}"
            + "".join(f"{c:>{w}.{digits}f}" for c, w in zip(cells, (14, 14, 9, 10), strict=True))
            + f"{0.9:>7.{digits}f}"
        )
    return "\n".join(lines) + f"\nAccuracy: {hits.sum() / total:.{digits}f}\n"


FORMS = (
    printed, in_018, in_020, as_csv, as_frame_csv, as_turned_csv, as_frame_text, as_turned_text, as_markdown, as_latex, as_python,
    as_numpy_python, as_json, as_frame_json, as_per_cent, as_plain_per_cent, as_decimal_comma, as_semicolons, as_tabs,
    with_hard_spaces, in_capitals, one_cell_a_line, with_wrapped_rows, as_another_table,
)  # fmt: skip
