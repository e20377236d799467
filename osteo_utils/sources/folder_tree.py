"""Every file below a folder: linked folders are entered, those of programs are not, and none is lost in silence."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from osteo_utils.sources import user_tables
from osteo_utils.study import about

CHECKSUMS = "SHA256SUMS"
# Tables of the user, and what else may lie beside the class folders of a data set without being a film.
TABLES = ("patients", "reference", "decisions")
COMPANIONS = (
    *"patients.csv phantom.json truth.csv truth_outlines.json truth_masks truth_parts".split(), CHECKSUMS, about.NAME,
)  # fmt: skip
# Folders that programs make; those with a dot or an @ before their name need no list.
SYSTEM_FOLDERS = ("__macosx", "__pycache__", "$recycle.bin", "#recycle", "system volume information", "lost+found")


@dataclass(frozen=True)
class Tree:
    """Paths below a folder: its files, the folders that were entered, and those that were not, each with the reason."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    not_entered: dict[str, str] = field(default_factory=dict)


def walk(root: Path) -> Tree:
    """List what lies below `root`, sorted, without the companions of a data set.

    A linked folder is entered after all that are no link, unless it lies around the link: links make no loop. A folder
    that is listed already is listed again under the link's name, because its films then lie on two sides or in two
    classes; in such a repetition no further link to a listed folder is entered. Raises OSError for a folder that cannot
    be read, ValueError for a name that is not UTF-8.
    """
    tree = Tree()
    seen: set[str] = set()
    home = os.path.realpath(root)
    waiting, links = [("", False)], []
    while waiting or links:
        is_link = not waiting
        inside, repeated = links.pop(0) if is_link else waiting.pop()
        place = os.path.realpath(root / inside)
        if is_link:
            if any(_lies_in(start, place) for start in (home, os.path.realpath((root / inside).parent))):
                tree.not_entered[inside] = "a link to a folder that it lies in"
                continue
            if repeated and place in seen:
                tree.not_entered[inside] = "a link to a folder that is listed already"
                continue
            repeated = repeated or place in seen
        seen.add(place)
        tree.folders.append(inside)
        with os.scandir(root / inside) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            name = f"{inside}/{entry.name}" if inside else entry.name
            _require_utf8(name)
            beside = entry.name in COMPANIONS or any(user_tables.is_table(entry.name, stem) for stem in TABLES)
            if beside and not inside:
                continue
            # Not `entry.is_dir`: a link that leads to itself is an error for it, and no folder here.
            if not os.path.isdir(entry.path):  # noqa: PTH112
                tree.files.append(name)
            elif is_system_folder(entry.name):
                count = sum(len(found) for _, _, found in os.walk(entry.path))
                tree.not_entered[name] = f"folder of a program, its {count} files are not used"
            else:
                (links if entry.is_symlink() else waiting).append((name, repeated))
        links.sort()
    tree.folders.remove("")
    tree.files.sort()
    tree.folders.sort()
    return tree


def tables(root: Path) -> list[Path]:
    """The user's tables beside the class folders, labels among them, sorted; none where the folder is not there."""
    beside = root.iterdir() if root.is_dir() else ()
    stems = (*TABLES, "labels")
    return sorted(
        path for path in beside if path.is_file() and any(user_tables.is_table(path.name, stem) for stem in stems)
    )


def _lies_in(place: str, folder: str) -> bool:
    return f"{place}{os.sep}".startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def is_system_folder(name: str) -> bool:
    """Whether a folder's name is one that programs and systems give, such as `@eaDir` or `.ipynb_checkpoints`."""
    return name.startswith((".", "@")) or name.lower() in SYSTEM_FOLDERS


def _require_utf8(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r}: this file name is not UTF-8 text; rename the file") from None
