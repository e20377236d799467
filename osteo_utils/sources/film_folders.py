"""How the films of a folder are sorted: their classes, and the sides of a split that they lie on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osteo_utils.sources import class_names, user_tables
from osteo_utils.sources.folder_tree import Tree, walk
from osteo_utils.sources.registry import LABELS
from osteo_utils.sources.user_tables import known_side

# The ways in which folders can lie in each other.
BY_CLASS, SIDES_OUTSIDE, SIDES_INSIDE, CLASSES_INSIDE = "class", "side/class", "class/side", "any/class"
SHOWN = 10
NEITHER = f"neither {' nor '.join(LABELS)}"


@dataclass(frozen=True)
class Place:
    """Where a file lies: its class (or what its folder is called), its class folder, its side, why it is left out.

    `excluded` is the reason of a file outside the classes, `unusable` that of a folder that was not entered.
    """

    class_name: str
    folder: str = ""
    side: str = ""
    excluded: str = ""
    unusable: str = ""


@dataclass(frozen=True)
class Layout:
    """The files of a folder by `image_id`, sorted; its class folders, by class; and remarks, to be told once."""

    places: dict[str, Place]
    folders: dict[str, list[str]]
    remarks: list[str] = field(default_factory=list)

    @property
    def sides(self) -> dict[str, str]:
        """Side of each file; empty where the folders are no split."""
        return {name: place.side for name, place in self.places.items() if place.side}


def arrange(root: Path, classes: Sequence[str] = (), every_folder: bool = False) -> Layout:
    """Find the files of `root` and sort them into classes.

    Class folders lie at the top, or inside `train/`, `test/` and the like, or have such folders inside; without class
    folders the column class of `labels.csv` counts. `classes` names other folders or labels, as entries `class=folder`.
    `every_folder`: each folder is a class, unless all films lie in class folders inside others, as those of patients or
    sites do. Without it the classes are those of the registry, and ValueError says which
    one is missing, doubled or empty, and how to name it.
    """
    tree = walk(root)
    sorting = _Sorting(root, tree, class_names.parse(classes), every_folder)
    places = {name: sorting.place(name) for name in tree.files}
    for name, reason in tree.not_entered.items():
        near = sorting.place(f"{name}/")
        places[name] = Place(near.class_name if "/" in name and not near.excluded else "", unusable=reason)
    if not every_folder:
        sorting.require_classes(places)
    return Layout({name: places[name] for name in sorted(places)}, dict(sorting.folders), sorting.remarks(places))


class _Sorting:
    """What the folders of a data set stand for."""

    def __init__(self, root: Path, tree: Tree, mapping: dict[str, str], every_folder: bool) -> None:
        self.root, self.mapping, self.every_folder = root, mapping, every_folder
        self.inner: dict[str, set[str]] = defaultdict(set)
        for name in tree.folders:
            above, _, last = name.rpartition("/")
            self.inner[above].add(last)
        self.holds_files = {name.rpartition("/")[0] for name in tree.files}
        self.order, self.around = self._order()
        self.spelling: dict[str, str] = {}
        self.folders: dict[str, list[str]] = defaultdict(list)
        self.others: list[str] = []
        for folder in self._class_folders():
            label = folder.rpartition("/")[2]
            name = self._class_of(label)
            if name or every_folder:
                self.folders[name or self.spelling.setdefault(self._key(label), label)].append(folder)
            else:
                self.others.append(folder)
        self.table = user_tables.find(root, "labels")
        self.labels: user_tables.Known | None = None
        sorted_out = len(self.folders) > 1 if every_folder else any(name in LABELS for name in self.folders)
        if self.table and not sorted_out:
            self.labels = user_tables.classes(self.table, [name for name in tree.files if name != self.table.name])
            self.folders.clear()
            self.others.clear()

    def _order(self) -> tuple[str, str]:
        """How the folders lie in each other, and what lies around a split, with its slash."""
        tops, above = sorted(self.inner[""]), ""
        if self.every_folder or not any(map(self._class_of, tops)):
            while len(self.inner[above]) == 1 and not _sides(self.inner[above]):
                above = "/".join(filter(None, [above, *self.inner[above]]))
            if _sides(self.inner[above]):
                return SIDES_OUTSIDE, above and f"{above}/"
        alone = [top for top in tops if top in self.holds_files or not all(map(known_side, self.inner[top]))]
        if not alone and _sides(name for top in tops for name in self.inner[top]):
            return SIDES_INSIDE, ""
        return (CLASSES_INSIDE if self.every_folder and self._around_classes() else BY_CLASS), ""

    def _around_classes(self) -> list[str]:
        """The folders at the top, such as those of patients, where all films lie in class folders inside them."""
        deep = [self._class_inside(folder) for folder in self.holds_files - {""}]
        return sorted({_first(folder) for folder in deep}) if all("/" in folder for folder in deep) else []

    def _class_inside(self, folder: str) -> str:
        """The outermost part of a path that is called as a class is; empty where none is."""
        parts = folder.split("/")
        ends = (number for number, part in enumerate(parts, 1) if self._class_of(part))
        return "/".join(parts[: next(ends, 0)])

    def _class_folders(self) -> list[str]:
        if self.order == CLASSES_INSIDE:
            return sorted({self._class_inside(folder) for folder in self.holds_files - {""}})
        if self.order != SIDES_OUTSIDE:
            return sorted(self.inner[""])
        sides = [f"{self.around}{name}" for name in self.inner[self.around.rstrip("/")] if known_side(name)]
        return sorted(f"{side}/{name}" for side in sides for name in self.inner[side])

    def _class_of(self, label: str) -> str:
        return class_names.class_of(label, self.mapping)

    def _key(self, label: str) -> str:
        """Two sides of a split may write a class in another case; two folders of one place differ then."""
        return label.casefold() if self.order == SIDES_OUTSIDE else label

    def place(self, name: str) -> Place:
        """Class, class folder and side of the file `name`."""
        first, second = (*name.removeprefix(self.around).split("/")[:-1], "", "")[:2]
        side, folder, label = "", first, first
        if self.order == SIDES_OUTSIDE:
            side, folder, label = known_side(first), f"{self.around}{first}/{second}", second
            if not side:
                return Place(first, excluded="lies outside the folders of the split")
        elif self.order == SIDES_INSIDE:
            side = known_side(second)
        elif self.order == CLASSES_INSIDE:
            folder = self._class_inside(name.rpartition("/")[0])
            label = folder.rpartition("/")[2]
        if self.labels:
            folder, label = "", self.labels.values.get(name, "")
            if not label:
                reason = "the table of classes" if name == self.table.name else f"{self.table.name} gives it no class"
                return Place("", side=side, excluded=reason)
        if class_name := self._class_of(label) or (
            self.spelling.get(self._key(label), label) if self.every_folder else ""
        ):
            return Place(class_name, folder, side)
        if not label and not self.every_folder:
            return Place("", excluded="lies beside the class folders")
        what = f"class {label!r} in {self.table.name}" if self.labels else f"class folder {folder}"
        return Place(label, folder, side, "" if self.every_folder else f"{what} is {NEITHER}")

    def remarks(self, places: dict[str, Place]) -> list[str]:
        """What is told once: a split, where the classes come from, folders and names that are not used."""
        told = []
        if self.labels:
            told = [f"the classes are those of {self.table.name}", *self.labels.remarks]
        if self.order == CLASSES_INSIDE:
            names = sorted({name.rpartition("/")[2] for name in self._class_folders()})
            told += [f"the classes are the folders {_some(names)} inside {_some(self._around_classes())}"]
        elif self.order != BY_CLASS:
            inside = [self.around.rstrip("/")] if self.order == SIDES_OUTSIDE else sorted(self.inner[""])
            names = sorted({name for folder in inside for name in self.inner[folder] if known_side(name)})
            which = ", ".join(f"{name}/" for name in names)
            told += [
                f"the folders {which} are the sides of a split"
                if self.every_folder
                else f"the films of {which} are studied together; the study makes its own splits"
            ]
        for folder in self.others:
            count = sum(name.startswith(f"{folder}/") for name in places)
            told += [f"not used: the folder {folder}/ with {count} files is {NEITHER}"]
        known = {name.rpartition("/")[2] for names in self.folders.values() for name in names}
        known |= set(self.labels.values.values()) if self.labels else set()
        for folder in self.mapping:
            if not any(self._class_of(name) and class_names.same(name, folder) for name in known):
                told += [f"classes: there is no {folder!r}"]
        return told

    def require_classes(self, places: dict[str, Place]) -> None:
        """Raise ValueError where a class is missing, has two folders that nobody joined, or holds no file."""
        used = [(name, place) for name, place in places.items() if not (place.excluded or place.unusable)]
        seen = {place.class_name for name, place in used if not name.rpartition("/")[2].startswith(".")}
        if self.labels and (missing := [name for name in LABELS if name not in seen]):
            found = sorted(set(self.labels.values.values()))
            raise ValueError(
                f"{self.table}: no film is {' or '.join(missing)}; found {', '.join(map(repr, found[:10])) or 'no class'}; "
                f"correct the table, or say which is which: {class_names.option(missing, found)}"
            )
        if self.labels:
            return
        if missing := [name for name in LABELS if name not in self.folders]:
            raise ValueError(f"{self.root}: lacks {' and '.join(missing)}/; {self._found_instead(missing)}")
        for name in LABELS:
            beside = defaultdict(list)
            for folder in self.folders[name]:
                beside[folder.rpartition("/")[0]].append(folder)
            for folders in beside.values():
                labels = [folder.rpartition("/")[2] for folder in folders]
                if len(folders) > 1 and not all(
                    any(class_names.same(label, other) for other in self.mapping) for label in labels
                ):
                    raise ValueError(f"{self.root}: two folders for {name}: {', '.join(folders)}; merge them")
            if name not in seen:
                where = self.root / self.folders[name][0]
                raise ValueError(f"{where}: no file in it; put the {name} radiographs there")

    def _found_instead(self, missing: Sequence[str]) -> str:
        there = sorted(self.others + [name for names in self.folders.values() for name in names])
        names = _some(there) or "no folder"
        hint = "rename or add the class folders"
        if self.holds_files == {""}:
            hint += ", or write the class of each film into labels.csv (image_id, class)"
        elif len(around := self._around_classes()) > 1:
            hint = f"the classes lie inside {_some(around)}; put them outside, as normal/NAME/ and osteoporosis/NAME/"
        elif deeper := find_roots(self.root):
            hint = f"give {deeper[0]} instead, which has both"
        elif self.others:
            others = sorted({name.rpartition("/")[2] for name in self.others})
            hint += f", or say which is which: {class_names.option(missing, others)}"
        return f"found {names}, expected {' and '.join(f'{name}/' for name in LABELS)}; {hint}"


def find_roots(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a folder for each class; the shallowest come first."""
    walked = os.walk(folder)
    found = [Path(place) for place, folders, _ in walked if set(LABELS) <= {name.lower() for name in folders}]
    return sorted(found, key=lambda path: (len(path.parts), path))


def _first(path: str) -> str:
    return path.partition("/")[0]


def _some(folders: Sequence[str]) -> str:
    more = f" and {len(folders) - SHOWN} more" if len(folders) > SHOWN else ""
    return ", ".join(f"{name}/" for name in folders[:SHOWN]) + more


def _sides(names: Iterable[str]) -> bool:
    """Whether folders are the sides of a split: two or more different ones are among them."""
    return len({known_side(name) for name in names} - {""}) > 1
