"""What a printed classification report implies: its possible confusion matrices, and its contradictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from osteo_utils.papers import more_classes, possible_matrices
from osteo_utils.papers.possible_matrices import Limits, Possible, TooManyError, matrix
from osteo_utils.papers.report_forms import parse_report
from osteo_utils.papers.report_table import PrintedReport
from osteo_utils.statistics.metrics import wilson

__all__ = [
    "Arithmetic", "Possible", "PrintedReport", "arithmetic", "interval_of_printed", "largest_hold_out", "matrices_printing_as",
    "parse_report", "plural", "possible", "span_of",
]  # fmt: skip


_MOST_TRIED, _PORTION = 50_000_000, 1_000_000
# More accuracies beside a table are a log, and more classes have too many orders.
_MOST_SAID, _MOST_ORDERED = 4, 4


@dataclass(frozen=True)
class Arithmetic:
    """What follows from a printed report alone: possible matrices, contradictions, remarks.

    `possible` is None where they are too many to search, `matrices` is empty where they are too many to list.
    """

    possible: Possible | None
    contradictions: list[str]
    remarks: list[str]

    @property
    def matrices(self) -> tuple[np.ndarray, ...]:
        """The matrices that print like this, where they are few."""
        return self.possible.matrices if self.possible else ()


def possible(report: PrintedReport, supports: Sequence[int] | None = None) -> Possible:
    """Count the confusion matrices with these supports (by default the printed ones) that print as the report.

    Where none does to the nearest, each number is read to its own decimals, then as cut off after its last decimal.
    Raises TooManyError where the search would be too long, ValueError where there is no image.
    """
    sizes = _sizes(report, supports)
    for words, within in possible_matrices.readings(report):
        plain = len(sizes) == 2 and min(sizes) > 0 and not any(np.isnan(low) for low, _ in within.values())
        found = possible_matrices.of_two(within, sizes) if plain else more_classes.of_more(within, sizes)
        if found.count:
            return replace(found, reading=words)
    return Possible(0)


def fits_as_part(report: PrintedReport) -> bool:
    """Whether the report can list only some of the classes: films may then be called by names that it does not list.

    Raises TooManyError where the search would be too long.
    """
    return any(
        len(more_classes.totals(within, _sizes(report), listed=False)[0])
        for _, within in possible_matrices.readings(report)
    )


def matrices_printing_as(report: PrintedReport, supports: Sequence[int] | None = None) -> list[np.ndarray]:
    """List every confusion matrix (int, 2 by 2, rows truth) that prints as this report of two classes.

    Its numbers are taken as rounded to the nearest. Each class needs an image.
    """
    sizes = _sizes(report, supports)
    if len(sizes) != 2 or min(sizes) < 1:
        raise ValueError(f"supports are {sizes}; expected two classes with at least one image of each")
    spans = zip(
        *(part.tolist() for part in possible_matrices.spans(possible_matrices.limits(report), sizes)), strict=True
    )
    return [matrix(sizes, e0, e1) for e0, first, last in spans for e1 in range(first, last + 1)]


def _sizes(report: PrintedReport, supports: Sequence[int] | None = None) -> list[int]:
    sizes = [int(n) for n in (report.supports if supports is None else supports)]
    if len(sizes) != len(report.rows) or min(sizes) < 0 or sum(sizes) < 1:
        raise ValueError(f"supports are {sizes}; expected one for each of {len(report.rows)} classes, not all 0")
    return sizes


def largest_hold_out(report: PrintedReport, class_sizes: Sequence[int]) -> np.ndarray | None:
    """The largest matrix of two classes that prints the report's shares and leaves one image of each to train on.

    The printed supports are ignored: any hold-out of a set with these `class_sizes` is possible. None where no hold-out
    prints so. Raises TooManyError where the search would be too long.
    """
    readings = (_largest(within, class_sizes) for _, within in possible_matrices.readings(report))
    return next((found for found in readings if found is not None), None)


def _largest(within: Limits, class_sizes: Sequence[int]) -> np.ndarray | None:
    most, tried = [size - 1 for size in class_sizes], 0
    recalls = [within.get((i, 1), (0.0, 1.0)) for i in (0, 1)]
    for total in range(sum(most), 1, -1):
        start, stop = max(1, total - most[1]), min(most[0], total - 1) + 1
        # Only so many errors agree with the printed recall.
        widths = [
            int(np.ceil((high - low) * min(size, total))) + 3 for size, (low, high) in zip(most, recalls, strict=True)
        ]
        for first in range(start, stop, step := max(1, _PORTION // (widths[0] * widths[1]))):
            negative = np.arange(first, min(first + step, stop))
            tried += len(negative) * widths[0] * widths[1]
            if tried > _MOST_TRIED:
                raise TooManyError(f"more than {_MOST_TRIED:,} matrices would have to be tried")
            sizes, choices = [negative, total - negative], []
            for size, width, (_, high) in zip(sizes, widths, recalls, strict=True):
                fewest = np.maximum(0, np.floor(size * (1 - high))).astype(int)
                choices.append(np.minimum(fewest[:, None] + np.arange(width), size[:, None]))
            wrong = np.broadcast_arrays(choices[0][:, :, None], choices[1][:, None, :])
            fits = np.argwhere(possible_matrices.prints(within, [size[:, None, None] for size in sizes], wrong))
            if len(fits):
                at = tuple(fits[0])
                return matrix([int(size[at[0]]) for size in sizes], wrong[0][at], wrong[1][at])
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
    classes; where they are None, nothing is checked against them. Raises ValueError where there is no image, or where
    `class_sizes` are not one for each class.
    """
    if class_sizes is not None and len(class_sizes) != len(report.rows):
        raise ValueError(
            f"{len(class_sizes)} class sizes are given; expected one for each of {len(report.rows)} classes"
        )
    total = sum(report.supports)
    against, remarks = [], list(report.remarks)
    for printed in (report.total, *report.totals):
        if printed is not None and printed != total:
            against.append(f"the supports add up to {total}, the report prints {printed}")
    if images is not None and total >= images:
        against.append(
            f"the report scores {total} images and the data set has {images}, so it cannot be a hold-out of it"
            + (f" ({total} > {images})" if total > images else " (none is left to train on)")
        )
    found = None
    try:
        found = possible(report)
        if report.said and not found.count:
            report, found, text, contradicts = _without_odd_accuracies(report)
            (against if contradicts else remarks).extend(text)
        none = f"no confusion matrix with supports {report.supports} prints like this"
        if found.count:
            remarks += _told(report, found)
        elif report.averaged:
            remarks.append(f"{none}; its numbers may be means over several runs, which need not belong to one matrix")
        elif "micro avg" in report.averages and report.accuracy is None and fits_as_part(replace(report, said=())):
            remarks.append(f"{none}, but some do if the report lists only some of the classes, or films of several")
        else:
            against.append(none)
    except TooManyError as error:
        remarks.append(f"not decided whether a confusion matrix prints like this: {error}")
    for text, contradicts in _against_beside(report):
        (against if contradicts and not report.averaged else remarks).append(text)
    if class_sizes is not None:
        for text, contradicts in _against_sizes(report, class_sizes):
            (against if contradicts and not (report.averaged and "prints like" in text) else remarks).append(text)
    return Arithmetic(found, against, remarks)


def _without_odd_accuracies(report: PrintedReport) -> tuple[PrintedReport, Possible, list[str], bool]:
    """The report with an accuracy beside its table that agrees with it, or none; its matrices; what to say of the others.

    A text may also name the accuracy of other films, such as those of training, so one that agrees is enough.
    """
    bare = replace(report, said=())
    found = possible(bare)
    if not found.count:
        return bare, found, [], False
    tried = [replace(report, said=(one,)) for one in report.said[:_MOST_SAID]] if len(report.said) > 1 else []
    kept = next((one for one in tried if possible(one).count), bare)
    others = " or ".join(f"{value:.{digits}f}" for value, digits in report.said if (value, digits) not in kept.said)
    text = f"no confusion matrix that prints like the table has the accuracy {others} beside it"
    return kept, possible(kept), [text], not kept.said and len(report.said) <= _MOST_SAID


def _told(report: PrintedReport, found: Possible) -> list[str]:
    """How many matrices print like the report, and how its numbers had to be read."""
    told = plural(found.count, "confusion matrix prints", "confusion matrices print") + " like this"
    if not found.exact:
        told = f"at least {told}"
    if found.matrices and len(report.rows) == 2:
        errors = ", ".join(f"{one[0, 1]}/{one[1, 0]}" for one in found.matrices)
        told += f" (errors {'/'.join(row[0] for row in report.rows)}: {errors})"
    else:
        told += f" (right answers: {span_of(*found.right)} of {sum(report.supports):,})"
    return [told, *([f"so only if {found.reading}"] if found.reading else [])]


def _against_beside(report: PrintedReport) -> Iterator[tuple[str, bool]]:
    """What confusion matrices in the same text say of the report, and whether they contradict it.

    A matrix may have its rows and columns exchanged and its classes in another order. One of other films, such as those
    that a network learns from, contradicts nothing, and where one agrees, others of the same sizes are of other models.
    """
    told = []
    for rows in report.beside:
        name = (
            f"the confusion matrix {[[int(n) if n.is_integer() else n for n in row] for row in rows]} beside the report"
        )
        sizes = report.supports
        if any(len(row) != len(sizes) for row in (*rows, rows)):
            told.append((f"{name} is not checked: it is not one of {len(sizes)} classes", None))
        elif not all(n.is_integer() and n < 1e12 for row in rows for n in row):
            told.append((f"{name} is not checked: its numbers are no counts", None))
        else:
            one = np.array(rows).astype(int)
            orders = [tuple(range(len(sizes))), tuple(range(len(sizes)))[::-1]]
            if few := len(sizes) <= _MOST_ORDERED:
                orders = list(permutations(range(len(sizes))))
            ways = [way[np.ix_(order, order)] for way in (one, one.T) for order in orders]
            alike = [way for way in ways if tuple(way.sum(axis=1)) == sizes]
            readings = [within for _, within in possible_matrices.readings(report)] if alike else []
            if not alike:
                told.append((f"{name} is not checked: its classes have other sizes", None))
            elif any(more_classes.prints_as(within, way) for within in readings for way in alike):
                told.append((f"{name} prints like this", False))
            else:
                told.append((f"{name} does not print like this", few))
    agrees = any(contradicts is False for _, contradicts in told)
    for text, contradicts in told:
        yield text, bool(contradicts) and not agrees


def _against_sizes(report: PrintedReport, class_sizes: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """What a data set with classes of these sizes says of the report, and whether it contradicts it."""
    whole = " + ".join(map(str, class_sizes))
    if tuple(class_sizes) != report.supports:
        try:
            count = possible(report, class_sizes).count
            found = plural(count, "confusion matrix prints", "confusion matrices print") if count else "none prints"
            yield f"with {whole} images {found} like this", False
        except TooManyError as error:
            yield f"with {whole} images it is not decided how many print like this: {error}", False
    if len(report.rows) == 2 and min(report.supports) > 0:
        try:
            largest = largest_hold_out(report, class_sizes)
            if largest is None:
                yield f"no hold-out of {whole} images prints like this", True
            else:
                n0, n1 = largest.sum(axis=1)
                told = f"the largest hold-out of {whole} images that prints these shares has {n0 + n1} ({n0} + {n1})"
                yield told, False
        except TooManyError as error:
            yield f"the largest hold-out of {whole} images that prints these shares is not known: {error}", False
    for row, size in zip(report.rows, class_sizes, strict=True):
        if row[4] >= size:
            left = "none is left to train on" if row[4] == size else f"{row[4] - size} more than there are"
            yield f"{row[4]} {row[0]} images are scored and the public set has {size}: {left}", False


def span_of(low: int, high: int) -> str:
    """A range of counts, such as "12" or "12 to 1,400"."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def plural(count: int, one: str, many: str) -> str:
    """Count with the right form of its noun, such as "1 group" and "2 groups"."""
    return f"{count:,} {one if count == 1 else many}"
