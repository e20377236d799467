"""Which class a folder or a label means: by its own name, or by a user's mapping such as `normal=Normal Knee`."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Sequence

from osteo_utils.sources.folder_tree import is_system_folder
from osteo_utils.sources.registry import LABELS
from osteo_utils.sources.table_files import clean
from osteo_utils.study.parameters import CLASSES

OSTEOPENIA = "osteopenia"
# Parts of names that people give to the two classes, for a proposal alone: nothing is ever taken for a class by them.
DISEASED = "abnormal osteopor positiv disease patholog affected sick ill".split()
HEALTHY = "normal norm healthy control negativ".split()
DISEASED_WORDS = "op osteo pos 1 class1 o p".split()
HEALTHY_WORDS = "neg 0 class0 n hc".split()


def parse(entries: Sequence[str]) -> dict[str, str]:
    """Class by folder from entries `class=folder`.

    Raises ValueError for another form, a folder under two classes, or one that is never looked into.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, sign, folder = entry.partition("=")
        # A shell that completes the name of a folder puts a slash after it.
        folder = folder.rstrip("/")
        if not sign or not folder or name not in CLASSES:
            raise ValueError(f"classes: found {entry!r}; expected CLASS=FOLDER, where CLASS is {' or '.join(CLASSES)}")
        if is_system_folder(folder):
            raise ValueError(
                f"classes: {folder!r} is called as folders are that programs make; rename it, without . or @"
            )
        if found.setdefault(folder, name) != name:
            raise ValueError(f"classes: {folder!r} is given as {found[folder]} and as {name}; expected one class")
    return found


def class_of(name: str, mapping: dict[str, str]) -> str:
    """Class that a folder or label names, in any case; empty where it names none."""
    if name in mapping:
        return mapping[name]
    named = next((class_name for folder, class_name in mapping.items() if same(folder, name)), "")
    return named or (name.lower() if name.lower() in CLASSES else "")


def same(first: str, second: str) -> bool:
    """Whether two names differ by case, blanks at the ends and Unicode form at most."""
    return clean(first).casefold() == clean(second).casefold()


def guess(name: str) -> str:
    """The class that a name probably means, to be proposed to the user; empty where nothing suggests one."""
    word = re.sub(r"[\W_]+", "", clean(name).casefold())
    if "osteopen" in word:
        return ""
    # Class folders are often numbered: `0Normal`, `1_Osteoporosis`.
    bare = word.strip("0123456789") or word
    healthy = any(part in bare for part in HEALTHY) or bare in HEALTHY_WORDS
    if bare in DISEASED_WORDS or any(part in bare for part in DISEASED):
        return "normal" if re.match(r"(non|no|not|un|without)(?!rm)", bare) else "osteoporosis"
    if healthy:
        return "normal"
    return next(iter(difflib.get_close_matches(bare, LABELS, n=1, cutoff=0.75)), "")


def option(missing: Collection[str], names: Sequence[str]) -> str:
    """The option `--classes` that maps the `missing` classes to folders among `names`, as one would type it."""
    words = []
    # Where there is a 2, 1 may as well be osteopenia.
    numbered = {name: re.sub(r"\D", "", name) for name in names if not guess(re.sub(r"\d", "", name))}
    unclear = [name for name in numbered if "2" in numbered.values()]
    for class_name in missing:
        meant = [name for name in names if name not in unclear and guess(name) == class_name] or ["FOLDER"]
        words += [f"{class_name}={shlex.quote(name)}" for name in meant]
    return f"--classes {' '.join(words)}"
