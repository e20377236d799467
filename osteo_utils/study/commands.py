"""The commands that have words of their own (`MODULES`): their words, their exit codes, and how they leave.

It needs Python alone, so that `run_all.sh` can explain and check them before it installs anything.
"""

from __future__ import annotations

import argparse
import atexit
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from osteo_utils.study.parameters import CLASSES, nearest

MODULES = {
    "audit": "osteo_utils.audit.command",
    "claims": "osteo_utils.papers.claims",
    "predict": "osteo_utils.interpretation.predict",
    "figures": "osteo_utils.reporting.paper_figures",
    "compare": "osteo_utils.review.compare",
    "student": "osteo_utils.course.student",
}
DEBUG = "--debug"

# Control characters, and those that turn the direction of writing.
UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def parser(command: str, door: bool = False) -> argparse.ArgumentParser:
    """The words of a command; through the `door` they follow `./run_all.sh`, else `python -m` and its module."""
    program = f"./run_all.sh {command}" if door else f"python -m {MODULES[command]}"
    builders = {"audit": _audit, "claims": _claims, "predict": _predict}
    builders |= {"figures": _figures, "compare": _compare, "student": _student}
    build = builders[command]
    layout = argparse.RawDescriptionHelpFormatter
    words = argparse.ArgumentParser(program, allow_abbrev=False, formatter_class=layout)
    build(words, door)
    words.add_argument(DEBUG, action="store_true", help="show where in the program an unexpected error arose")
    return words


def _audit(words: argparse.ArgumentParser, _door: bool) -> None:
    words.description = (
        "Find copies, conflicts and leaks in a folder of films, or between two.\n"
        "Prints what it finds and writes a page with the films side by side, on which you can decide on pairs and films.\n"
        "A decisions.csv in the folder, as the page saves it, is followed."
    )
    words.epilog = (
        "A folder with train/, val/ and test/ (or usual other names) is a split, and so is --against.\n"
        "exit codes: 0 no leak, or a crosswalk; 1 a knee on both sides of a split or in both folders; 2 it cannot be done"
    )
    words.add_argument("folder", type=_named_path, help="folder of films; every subfolder is a class")
    words.add_argument("--against", type=_named_path, metavar="DIR", help="a second folder: which films are in both?")
    words.add_argument(
        "--split", type=Path, metavar="TABLE", help="CSV or .xlsx: image_id, split; knees on both sides?"
    )
    words.add_argument(
        "--classes", nargs="+", default=[], type=class_folder, metavar="CLASS=FOLDER",
        help='after the folder: what other folders are, such as normal="Normal Knee" osteoporosis=OP',
    )  # fmt: skip
    words.add_argument(
        "--crosswalk", type=Path, metavar="CSV", help="with --against: where the table goes of each film and its source"
    )
    words.add_argument("--page", type=Path, default=Path("audit.html"), help="where the page goes (%(default)s)")
    words.add_argument("--table", type=Path, metavar="CSV", help="where the table of groups goes, if wanted")


def _claims(words: argparse.ArgumentParser, _door: bool) -> None:
    words.description = "Check whether the numbers of a printed classification report can belong together."
    words.epilog = (
        "exit codes: 0 no contradiction; 1 the report contradicts itself or the data set; 2 it cannot be read"
    )
    words.add_argument(
        "report",
        help="file with the report as scikit-learn prints it, as a table (CSV, Markdown, LaTeX, HTML) or as an output_dict "
        "(Python, JSON), or - for standard input",
    )
    words.add_argument("--images", type=int, help="size of the data set that the report is a hold-out of")
    words.add_argument("--class-sizes", type=int, nargs="+", metavar="N", help="those of its classes, in order")


def _predict(words: argparse.ArgumentParser, door: bool) -> None:
    words.description = (
        "Read films with the networks of a study: probability, map, bone mask, and what speaks against trusting them.\n"
        "For research and teaching only. Nothing leaves this machine."
    )
    words.epilog = "exit codes: 0 every film was read; 1 a film could not be read; 2 the study cannot be used"
    if door:
        words.add_argument("study", metavar="STUDY", help="a study that was run")
    else:
        words.add_argument("--study", default="knee744", help="a study that was run (%(default)s)")
    words.add_argument("images", nargs="+", type=Path, metavar="FILE", help="a film, such as JPEG, PNG, TIFF or DICOM")
    words.add_argument("--model", default="both", choices=("resnet50", "vgg16", "both"))
    words.add_argument("--out", type=Path, metavar="DIR", help="where the page goes (reports/STUDY/own_films)")


def _figures(words: argparse.ArgumentParser, _door: bool) -> None:
    words.description = (
        "Draw the counterparts of the paper's figures anew from the saved results of a study: PNG, SVG and PDF.\n"
        "Nothing is trained and no notebook runs. The figure of films stays in figures/films, which is never published."
    )
    words.epilog = "exit codes: 0 the figures are drawn; 1 the results are a mixture of runs; 2 the study was not run"
    words.add_argument("study", metavar="STUDY", help="a study that was run")


def _compare(words: argparse.ArgumentParser, _door: bool) -> None:
    words.description = (
        "What differs between two runs: parameters, data, code, versions and results.\n"
        "Differences of headline numbers come with their interval where both runs score the same films, and beside how far\n"
        "a number moves with the seed alone. Prints the short answer and writes a page."
    )
    words.epilog = (
        "exit codes: 0 all numbers that both have are the same, to the bit; 1 some differ; 2 it cannot be done"
    )
    for name, which in (
        ("first", "a study that was run, or a folder such as reports/published/phantom"),
        ("second", "the other"),
    ):
        words.add_argument(name, metavar=name.upper(), type=_run_or_folder, help=which)
    words.add_argument("--page", type=Path, default=Path("compare.html"), help="where the page goes (%(default)s)")


def _run_or_folder(value: str) -> str:
    if not value:
        raise argparse.ArgumentTypeError("'' is no study and no folder; expected one, such as reports/phantom")
    return value


def _student(words: argparse.ArgumentParser, _door: bool) -> None:
    words.description = "Write the notebooks and their exercises without solutions into a folder for students."
    words.epilog = (
        "exit codes: 0 the copies were written; 1 the folder holds something already, so nothing was written; "
        "2 it cannot be written"
    )
    words.add_argument("folder", type=_new_folder, metavar="DIR", help="a new or empty folder")


def _new_folder(value: str) -> Path:
    # An empty path would be the folder that the user stands in.
    if not value:
        raise argparse.ArgumentTypeError("'' names no folder; expected a new or empty one")
    return Path(value)


def class_folder(value: str) -> str:
    """An entry `class=folder` of `--classes`, as argparse checks it."""
    name, _, folder = value.partition("=")
    if name not in CLASSES or not folder:
        hint = "name the folder" if name in CLASSES else nearest(name, CLASSES)
        raise argparse.ArgumentTypeError(f"{value!r}: expected CLASS=FOLDER, such as normal='Normal Knee'; {hint}")
    return value


def _named_path(value: str) -> Path:
    # An empty path would be the folder that the user stands in, as where a variable of the shell is not set.
    if not value:
        raise argparse.ArgumentTypeError("'' names no folder; expected a folder of films, or . for this one")
    return Path(value)


def run(main: Callable[[Sequence[str], bool], int], arguments: Sequence[str], door: bool = False) -> int:
    """Run the `main` of a command with a terminal and a home that cannot stop it; returns its exit code.

    An error that `main` does not expect is told in one line, with `--debug` by its traceback; the code is 2.
    """
    os.environ["HOME"] = home_for_caches()
    for stream in (sys.stdout, sys.stderr):
        # The name of a file may hold what the terminal cannot print.
        stream.reconfigure(errors="backslashreplace")
    with told_in_a_line(DEBUG in arguments):
        return main(arguments, door)


@contextmanager
def told_in_a_line(debug: bool) -> Iterator[None]:
    """End the program with code 2 and one line for any error; with `debug` the error and its traceback pass."""
    try:
        yield
    except Exception as error:
        if debug:
            raise
        first = next(iter(str(error).splitlines()), "without a message")
        print(
            f"unexpected error, a fault of this program: {type(error).__name__}: {first[:500]}\n"
            f"{DEBUG} shows where it arose; please report it with that text.",
            file=sys.stderr,
        )
        sys.exit(2)


def show(lines: Iterable[str]) -> None:
    """Print lines; in silence where nobody reads any more, as after `| head`, so that the exit code stays the verdict."""
    try:
        for line in lines:
            print(printable(line))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(line: str) -> str:
    """The line with signs that steer a terminal written out, as names of files may hold them."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), line)


def home_for_caches() -> str:
    """The user's home folder, or a temporary one where nothing can be written there: libraries keep caches in it."""
    home = os.path.expanduser("~")  # noqa: PTH111, Path fails for a user without a home
    if os.access(home, os.W_OK | os.X_OK):
        return home
    folder = tempfile.mkdtemp(prefix="osteo-home-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
