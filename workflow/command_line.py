"""The command line of `run_all.sh`. It needs Python alone: `run_all.sh` checks every word before it installs anything."""

import argparse
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from osteo_utils.study import commands, parameters, paths

DEFAULT_STUDY = "phantom"
COMMANDS = {
    "study": ("--data", "--external", "--osteopenia", "--cores", "--force", commands.DEBUG),
    "own": ("--data", "--name", "--classes", "--external", "--osteopenia", "--cores", "--force", commands.DEBUG),
    "kaggle": ("--cores", "--force", commands.DEBUG),
    # These have words of their own.
    **dict.fromkeys(commands.MODULES, ()),
    "publish": (commands.DEBUG,),
    "site": ("--source", commands.DEBUG),
    "test": ("--all", "--cores"),
    "lab": (),
}
# `study` is never typed: the name of a study stands for it.
TYPED = [command for command in COMMANDS if command != "study"]


@dataclass
class Request:
    """One command line. `extra` goes to Snakemake, pytest, Jupyter or the command; the command `resume` goes on after a stop."""

    command: str
    study: str = ""
    data: Path | None = None
    name: str = ""
    classes: list[str] = field(default_factory=list)
    external: Path | None = None
    osteopenia: str = ""
    source: str = ""
    cores: int | None = None
    force: bool = False
    all: bool = False
    debug: bool = False
    extra: list[str] = field(default_factory=list)
    resume: str = ""


class Parser(argparse.ArgumentParser):
    """argparse with messages that say what is wrong, what is expected and where to read more."""

    def error(self, message: str) -> NoReturn:
        """End the program with code 2."""
        message = message.removeprefix("argument ")
        self.exit(2, f"run_all.sh: {message}\n{self.format_usage()}./run_all.sh --help explains everything.\n")


def studies() -> list[str]:
    """Names of the studies of `config/` and of those that `own` made."""
    committed = [path.stem for path in paths.config_dir().glob("*.yaml")]
    own = [path.parent.name for path in paths.StudyPaths("any").interim.parent.glob("*/study.yaml")]
    return sorted({*committed, *own})


def parse(arguments: Sequence[str]) -> Request:
    """Read a command line (without the program's name); a wrong one ends the program with code 2."""
    if arguments and arguments[0] in commands.MODULES:
        return _own_words(arguments[0], list(arguments[1:]))
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words, extra = list(arguments[:end]), list(arguments[end + 1 :])
    resume = ["./run_all.sh", *(word for word in words if word != "--force"), *(["--", *extra] if extra else [])]
    if not words or words[0].startswith("-"):
        words.insert(0, DEFAULT_STUDY)
    command = words.pop(0) if words[0] in TYPED else "study"
    request = Request(command, study="knee744" if command == "kaggle" else "", resume=shlex.join(resume))
    parser = _parser(command)
    _, unknown = parser.parse_known_args(words, request)
    request.extra = unknown + extra
    if wrong := {"test": [], "lab": [], "publish": request.extra, "site": request.extra}.get(command, unknown):
        hint = parameters.nearest(wrong[0].partition("=")[0], COMMANDS[command])
        parser.error(f"unexpected {wrong[0]!r}; {hint}")
    if command == "own" and not (request.data and request.name):
        parser.error("own needs a folder and a name: --data DIR --name NAME")
    return request


def _own_words(command: str, words: list[str]) -> Request:
    """A command that reads its own words; they are checked here, before anything is installed."""
    parser = commands.parser(command, door=True)
    asked = parser.parse_args(words)
    known = studies()
    named = {"predict": ("study",), "figures": ("study",), "compare": ("first", "second")}.get(command, ())
    for name in (getattr(asked, word) for word in named):
        if name not in known and not (command == "compare" and Path(name).is_dir()):
            kind = "no study and no folder" if command == "compare" else "no study"
            parser.error(f"{name!r} is {kind}; {parameters.nearest(name, known)} Studies: {', '.join(known)}")
    return Request(command, extra=words, debug=asked.debug)


def _parser(command: str) -> Parser:
    program = "./run_all.sh" if command == "study" else f"./run_all.sh {command}"
    parser = Parser(prog=program, add_help=False, allow_abbrev=False)
    if command in ("study", "publish", "site"):
        known = studies() + (TYPED if command == "study" else [])
        parser.add_argument("study", metavar="STUDY", type=partial(_one_of, known))
    details = {
        "--data": {"type": _folder, "metavar": "DIR"},
        "--name": {"metavar": "NAME"},
        "--classes": {"type": commands.class_folder, "metavar": "CLASS=FOLDER", "nargs": "+"},
        "--external": {"type": _folder, "metavar": "DIR"},
        "--osteopenia": {"type": partial(_one_of, parameters.OSTEOPENIA), "metavar": "RULE"},
        "--source": {"type": _address, "metavar": "URL"},
        "--cores": {"type": _positive, "metavar": "N"},
    }
    for option in COMMANDS[command]:
        parser.add_argument(option, **details.get(option, {"action": "store_true"}))
    return parser


def _one_of(known: Collection[str], value: str) -> str:
    if value not in known:
        hint = parameters.nearest(value, known)
        raise argparse.ArgumentTypeError(f"{value!r} is unknown; {hint} Known are: {', '.join(known)}")
    return value


def _folder(value: str) -> Path:
    folder = Path(value).expanduser()
    if not value or not folder.is_dir():
        found = "is a file" if folder.is_file() else "does not exist"
        raise argparse.ArgumentTypeError(f"{value!r} {found}; expected a folder with normal/ and osteoporosis/ in it")
    return folder.resolve()


def _address(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise argparse.ArgumentTypeError(
            f"{value!r}: expected an address, such as https://github.com/OWNER/NAME/blob/main"
        )
    return value


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r}: expected a whole number, 1 or more")
    return int(value)


if __name__ == "__main__":
    parse(sys.argv[1:])
