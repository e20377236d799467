"""What a printed classification report implies: its possible confusion matrices, and its contradictions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from osteo_utils.statistics.metrics import wilson


@dataclass(frozen=True)
class PrintedReport:
    """A classification report of two classes, as printed.

    `rows` holds (name, precision, recall, f1, support) of the negative, then the positive class; `averages`
    holds (precision, recall, f1) under "macro avg" and "weighted avg"; `digits` are the decimals printed.
    """

    rows: tuple[tuple[str, float, float, float, int], tuple[str, float, float, float, int]]
    accuracy: float | None
    averages: dict[str, tuple[float, float, float]]
    total: int | None
    digits: int

    @property
    def supports(self) -> tuple[int, int]:
        """Number of images of each class."""
        return self.rows[0][4], self.rows[1][4]


@dataclass(frozen=True)
class Arithmetic:
    """What follows from a printed report alone: possible matrices, contradictions, remarks."""

    matrices: list[np.ndarray]
    contradictions: list[str]
    remarks: list[str]


def parse_report(text: str) -> PrintedReport:
    """Read a report as scikit-learn prints it. Raises ValueError unless it holds two classes."""
    rows, averages, accuracy, totals, decimals = [], {}, None, set(), set()
    for line in text.splitlines():
        # scikit-learn prints supports such as 1.0 when every other number of the report is 0.
        match = re.match(r"\s*(\S.*?)\s+((?:\d*\.\d+\s+)+)(\d+)(?:\.0+)?\s*$", line)
        if not match:
            continue
        name, numbers, support = match[1], match[2].split(), int(match[3])
        decimals |= {len(number.split(".")[1]) for number in numbers}
        values = tuple(map(float, numbers))
        if name == "accuracy" and len(values) == 1:
            accuracy = values[0]
            totals.add(support)
        elif name in ("macro avg", "weighted avg") and len(values) == 3:
            averages[name] = values
            totals.add(support)
        elif len(values) == 3:
            rows.append((name, *values, support))
    if len(rows) != 2 or len(decimals) != 1 or len(totals) > 1:
        raise ValueError(
            f"the report holds the classes {[row[0] for row in rows]}, totals {sorted(totals)} and numbers of "
            f"{sorted(decimals)} decimals; expected two classes, one total and one number of decimals, in lines "
            "such as 'normal  0.97  0.99  0.98  372'"
        )
    return PrintedReport((rows[0], rows[1]), accuracy, averages, next(iter(totals), None), decimals.pop())


def matrices_printing_as(report: PrintedReport, supports: tuple[int, int] | None = None) -> list[np.ndarray]:
    """List every confusion matrix (int, 2 by 2, rows truth) that prints as this report.

    All (n0 + 1)(n1 + 1) matrices with these supports (by default the printed ones) are tried. A value that
    lies exactly between two printed ones counts for both, so nothing possible is left out.
    """
    sizes = np.array(supports or report.supports)
    if min(sizes) < 1:
        raise ValueError(f"supports are {sizes.tolist()}; expected at least one image of each class")
    wrong = np.meshgrid(np.arange(sizes[0] + 1), np.arange(sizes[1] + 1), indexing="ij")
    fits = _prints(report, sizes, wrong)
    return [np.array([[sizes[0] - e0, e0], [e1, sizes[1] - e1]]) for e0, e1 in np.argwhere(fits)]


def _prints(report: PrintedReport, sizes: Sequence[np.ndarray], wrong: Sequence[np.ndarray]) -> np.ndarray:
    """Whether matrices print as the report; sizes and wrong are (negative, positive), shapes that broadcast."""
    half = 0.5 * 10.0**-report.digits + 1e-12
    scores = []
    for own in (0, 1):
        missed, false = wrong[own], wrong[1 - own]
        hit = sizes[own] - missed
        called = hit + false
        precision = np.divide(hit, called, out=np.zeros(called.shape), where=called > 0)
        scores.append((precision, hit / sizes[own], 2 * hit / (2 * hit + missed + false)))
    fits = np.ones(np.broadcast(*wrong).shape, dtype=bool)
    for row, score in zip(report.rows, scores, strict=True):
        for printed, value in zip(row[1:4], score, strict=True):
            fits &= np.abs(value - printed) <= half
    total = sizes[0] + sizes[1]
    shares = {"macro avg": (0.5, 0.5), "weighted avg": (sizes[0] / total, sizes[1] / total)}
    for name, printed_values in report.averages.items():
        for printed, first, second in zip(printed_values, *scores, strict=True):
            fits &= np.abs(shares[name][0] * first + shares[name][1] * second - printed) <= half
    if report.accuracy is not None:
        fits &= np.abs(1 - (wrong[0] + wrong[1]) / total - report.accuracy) <= half
    return fits


def largest_hold_out(report: PrintedReport, class_sizes: Sequence[int]) -> np.ndarray | None:
    """The largest matrix that prints the report's shares and leaves one image of each class to train on.

    The printed supports are ignored: any hold-out of a set with these `class_sizes` is possible. None where no hold-out
    prints so.
    """
    most = [size - 1 for size in class_sizes]
    half = 0.5 * 10.0**-report.digits
    for total in range(sum(most), 1, -1):
        negative = np.arange(max(1, total - most[1]), min(most[0], total - 1) + 1)
        if not len(negative):
            continue
        sizes, choices = [negative, total - negative], []
        for size, row in zip(sizes, report.rows, strict=True):
            # Only so many errors agree with the printed recall.
            fewest = np.maximum(0, np.floor(size * (1 - row[2] - half))).astype(int)
            width = int(np.ceil(2 * half * size.max())) + 3
            choices.append(np.minimum(fewest[:, None] + np.arange(width), size[:, None]))
        wrong = np.broadcast_arrays(choices[0][:, :, None], choices[1][:, None, :])
        fits = np.argwhere(_prints(report, [size[:, None, None] for size in sizes], wrong))
        if len(fits):
            at = tuple(fits[0])
            n0, n1, e0, e1 = sizes[0][at[0]], sizes[1][at[0]], wrong[0][at], wrong[1][at]
            return np.array([[n0 - e0, e0], [e1, n1 - e1]])
    return None


def interval_of_printed(share: float, n: int, digits: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval for a share of n images that is printed with so many decimals.

    From the lower end for the fewest hits that print so to the upper end for the most; None where no number of hits
    prints so.
    """
    half = 0.5 * 10.0**-digits + 1e-12
    fewest, most = max(int(np.ceil(n * (share - half))), 0), min(int(np.floor(n * (share + half))), n)
    return (wilson(fewest, n)[0], wilson(most, n)[1]) if fewest <= most else None


def arithmetic(
    report: PrintedReport, images: int | None = None, class_sizes: Sequence[int] | None = None
) -> Arithmetic:
    """What a printed report implies and contradicts.

    `images` and `class_sizes` are the size of the data set that the report claims to be a hold-out of and those of its
    two classes; where they are None, nothing is checked against them.
    """
    matrices = matrices_printing_as(report)
    total = sum(report.supports)
    against, remarks = [], []
    if report.total is not None and report.total != total:
        against.append(f"the supports add up to {total}, the report prints {report.total}")
    if images is not None and total >= images:
        against.append(
            f"the report scores {total} images and the data set has {images}, so it cannot be a hold-out of it"
            + (f" ({total} > {images})" if total > images else " (none is left to train on)")
        )
    print_so = ("confusion matrix prints", "confusion matrices print")
    if matrices:
        errors = ", ".join(f"{matrix[0, 1]}/{matrix[1, 0]}" for matrix in matrices)
        names = "/".join(row[0] for row in report.rows)
        remarks.append(f"{plural(len(matrices), *print_so)} like this (errors {names}: {errors})")
    else:
        against.append(f"no confusion matrix with supports {report.supports} prints like this")
    if class_sizes is not None and tuple(class_sizes) != report.supports:
        count = len(matrices_printing_as(report, (class_sizes[0], class_sizes[1])))
        found = plural(count, *print_so) if count else "none prints"
        remarks.append(f"with {class_sizes[0]} + {class_sizes[1]} images {found} like this")
    if class_sizes is not None:
        largest = largest_hold_out(report, class_sizes)
        if largest is None:
            against.append(f"no hold-out of {class_sizes[0]} + {class_sizes[1]} images prints like this")
        else:
            n0, n1 = largest.sum(axis=1)
            remarks.append(
                f"the largest hold-out of {class_sizes[0]} + {class_sizes[1]} images that prints these shares has "
                f"{n0 + n1} ({n0} + {n1})"
            )
    for row, size in zip(report.rows, class_sizes or (), strict=False):
        if row[4] >= size:
            left = "none is left to train on" if row[4] == size else f"{row[4] - size} more than there are"
            remarks.append(f"{row[4]} {row[0]} images are scored and the public set has {size}: {left}")
    return Arithmetic(matrices, against, remarks)


def plural(count: int, one: str, many: str) -> str:
    """Count with the right form of its noun, such as "1 group" and "2 groups"."""
    return f"{count} {one if count == 1 else many}"
