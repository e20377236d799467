"""What may be said to `run_all.sh`, and the nearest right word to a wrong one.

It needs nothing but Python, so that `run_all.sh` can refuse a mistyped word before it installs anything.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from osteo_utils.study import paths

DEFAULT_STUDY = "phantom"
OPTIONS = {
    "study": ("--data", "--external", "--osteopenia", "--cores", "--force"),
    "own": ("--data", "--name", "--external", "--osteopenia", "--cores", "--force"),
    "kaggle": ("--cores", "--force"),
    "publish": (),
    "test": ("--all", "--cores"),
    "lab": (),
}
TAKES_VALUE = ("--data", "--name", "--external", "--osteopenia", "--cores")
OSTEOPENIA = ("exclude", "normal", "osteoporosis")
# These two hand what they do not know to another program.
OPEN_ENDED = ("test", "lab")


class Unusable(ValueError):
    """A command line that cannot be followed; the text says why and what would be right."""


@dataclass
class Request:
    """One command line, understood. `word` is a key of OPTIONS; `extra` goes to pytest, Jupyter or Snakemake."""

    word: str
    study: str = ""
    data: Path | None = None
    name: str = ""
    external: Path | None = None
    osteopenia: str = ""
    cores: int | None = None
    force: bool = False
    everything: bool = False
    extra: list[str] = field(default_factory=list)


def studies() -> list[str]:
    """Names of the studies of `config/` and of those that `own` made."""
    committed = [path.stem for path in paths.config_dir().glob("*.yaml")]
    own = [path.parent.name for path in paths.StudyPaths("any").interim.parent.glob("*/study.yaml")]
    return sorted({*committed, *own})


def nearest(word: str, known: Iterable[str]) -> str:
    """A half sentence that names the known word closest to `word`, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known)}"


def parse(arguments: list[str]) -> Request:
    """Understand a command line (without the program's name). Raises Unusable."""
    arguments = list(arguments)
    named = bool(arguments) and not arguments[0].startswith("-")
    word = arguments.pop(0) if named else DEFAULT_STUDY
    request = _request(word)
    if request.word == "publish":
        request.study = _published_study(arguments)
    _read_options(request, arguments)
    _check(request)
    return request


def _request(word: str) -> Request:
    if word in OPTIONS and word != "study":
        return Request(word, study="knee744" if word == "kaggle" else "")
    if word in studies():
        return Request("study", study=word)
    known = [known for known in OPTIONS if known != "study"] + studies()
    raise Unusable(f"unknown word '{word}'; {nearest(word, known)}")


def _published_study(arguments: list[str]) -> str:
    if not arguments or arguments[0].startswith("-"):
        raise Unusable(f"publish: say which study; known are: {', '.join(studies())}")
    study = arguments.pop(0)
    if study not in studies():
        raise Unusable(f"publish: unknown study '{study}'; {nearest(study, studies())}")
    return study


def _read_options(request: Request, arguments: list[str]) -> None:
    allowed = OPTIONS[request.word]
    while arguments:
        argument = arguments.pop(0)
        if argument == "--":
            if request.word == "publish":
                raise Unusable("publish: nothing can follow --; it does not run Snakemake")
            request.extra += arguments
            return
        option, equals, value = argument.partition("=")
        if option not in allowed:
            if request.word not in OPEN_ENDED:
                said = request.study if request.word == "study" else request.word
                raise Unusable(f"{said}: unexpected '{argument}'; {nearest(option, (*allowed, '--help'))}")
            request.extra.append(argument)
            continue
        if option not in TAKES_VALUE:
            if equals:
                raise Unusable(f"{option} takes no value, found '{value}'")
            request.force |= option == "--force"
            request.everything |= option == "--all"
            continue
        if not equals:
            if not arguments or arguments[0].startswith("--"):
                raise Unusable(f"{option}: a value must follow it")
            value = arguments.pop(0)
        _set_value(request, option, value)


def _set_value(request: Request, option: str, value: str) -> None:
    if option == "--name":
        request.name = value
    elif option == "--data":
        request.data = _folder(option, value)
    elif option == "--external":
        request.external = _folder(option, value)
    elif option == "--osteopenia":
        if value not in OSTEOPENIA:
            raise Unusable(
                f"--osteopenia '{value}': expected exclude, or the class that its films count as; "
                f"{nearest(value, OSTEOPENIA)}"
            )
        request.osteopenia = value
    elif not value.isdigit() or int(value) < 1:
        raise Unusable(f"--cores '{value}': expected a whole number, 1 or more")
    else:
        request.cores = int(value)


def _folder(option: str, value: str) -> Path:
    folder = Path(value).expanduser()
    if not value or not folder.is_dir():
        found = "is a file" if folder.is_file() else "does not exist"
        raise Unusable(f"{option} '{value}' {found}; expected a folder with normal/ and osteoporosis/ in it")
    return folder.resolve()


def _check(request: Request) -> None:
    if request.word == "own" and (request.data is None or not request.name):
        missing = "--data DIR" if request.data is None else "--name NAME"
        raise Unusable(f"own: {missing} is missing; ./run_all.sh own --data DIR --name NAME")


def main() -> int:
    """Say what is wrong with the command line; 0 when nothing is, 2 otherwise."""
    try:
        parse(sys.argv[1:])
    except Unusable as problem:
        print(f"run_all.sh: {problem}\n  ./run_all.sh --help lists everything.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
