"""Every file below a folder, once: linked folders are entered, those of programs are not, and none is lost in silence."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from osteo_utils.sources import user_tables

CHECKSUMS = "SHA256SUMS"
# What may lie beside the class folders of a data set without being a film.
COMPANIONS = (*"patients.csv phantom.json truth.csv truth_outlines.json truth_masks truth_parts".split(), CHECKSUMS)
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

    A linked folder is entered after all that are no link, and no folder twice, so that links make no loop. Raises
    OSError for a folder that cannot be read, ValueError for a name that is not UTF-8.
    """
    tree = Tree()
    seen: set[str] = set()
    home = os.path.realpath(root) + os.sep
    waiting, links = [""], []
    while waiting or links:
        inside = waiting.pop() if waiting else links.pop(0)
        place = os.path.realpath(root / inside)
        if inside and (place in seen or home.startswith(place.rstrip(os.sep) + os.sep)):
            tree.not_entered[inside] = "a link to a folder that is listed already"
            continue
        seen.add(place)
        tree.folders.append(inside)
        with os.scandir(root / inside) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            name = f"{inside}/{entry.name}" if inside else entry.name
            _require_utf8(name)
            if not inside and (entry.name in COMPANIONS or user_tables.is_table(entry.name, "patients")):
                continue
            # Not `entry.is_dir`: a link that leads to itself is an error for it, and no folder here.
            if not os.path.isdir(entry.path):  # noqa: PTH112
                tree.files.append(name)
            elif is_system_folder(entry.name):
                count = sum(len(found) for _, _, found in os.walk(entry.path))
                tree.not_entered[name] = f"folder of a program, its {count} files are not used"
            else:
                (links if entry.is_symlink() else waiting).append(name)
        links.sort()
    tree.folders.remove("")
    tree.files.sort()
    tree.folders.sort()
    return tree


def is_system_folder(name: str) -> bool:
    """Whether a folder's name is one that programs and systems give, such as `@eaDir` or `.ipynb_checkpoints`."""
    return name.startswith((".", "@")) or name.lower() in SYSTEM_FOLDERS


def _require_utf8(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r}: this file name is not UTF-8 text; rename the file") from None
