"""The data sets that the project knows, and whether a folder holds one of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from osteo_utils.study import paths, runtime

LABELS = {"normal": 0, "osteoporosis": 1}
ULTRASOUND = "Labels come from ultrasound T-scores of unknown chain, not from DXA, the reference method for osteoporosis."
NO_LICENCE = "none found; for local runs only, never pass on an image or a figure that shows one"
COMPANIONS = ("patients.csv", "phantom.json", "truth.csv", "truth_masks", "truth_parts")


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before it is opened.

    `slug` is its address on Kaggle (owner/name), `expected` the files per class, `checksums` the file beside
    this module that lists SHA-256 and name of each file as published. Slugs and counts of the Kaggle sets are
    inferred from counts and hashes; no page of theirs has been read.
    """

    name: str
    title: str
    labels: str
    licence: str
    source: str
    slug: str = ""
    expected: Mapping[str, int] = field(default_factory=dict)
    checksums: str = ""

    @property
    def page(self) -> str:
        """Address of the page where a person can download the set; empty where there is none."""
        return f"https://www.kaggle.com/datasets/{self.slug}" if self.slug else ""


def _kaggle(
    name: str, title: str, slug: str, licence: str = NO_LICENCE, checksums: str = "", **expected: int
) -> DataSet:
    return DataSet(name, title, ULTRASOUND, licence, f"Kaggle {slug}", slug, expected, checksums)


REGISTRY: dict[str, DataSet] = {
    entry.name: entry
    for entry in (
        DataSet(
            "phantom",
            "Synthetic knee radiographs, drawn from a seed",
            "Labels follow from the bone density that each knee was drawn with; they say nothing about patients.",
            "MIT, as the project",
            "osteo_utils.data.phantom",
        ),
        _kaggle(
            "knee744",
            "Knee radiographs, normal and osteoporosis; the set whose count fits the paper",
            "mrmann007/osteoporosis",
            checksums="knee744.sha256",
            normal=372,
            osteoporosis=372,
        ),
        DataSet(
            "folder",
            "Radiographs of your own",
            "Labels are the names of the folders; write down how they were obtained (DXA site, T-score, date).",
            "yours to know",
            "a folder with normal/ and osteoporosis/",
        ),
        _kaggle(
            "knee372",
            "Knee radiographs, a relative of knee744",
            "stevepython/osteoporosis-knee-xray-dataset",
            normal=186,
            osteoporosis=186,
        ),
        _kaggle(
            "knee372_128x256",
            "The same 372 films scaled to 128x256",
            "sachinkumar413/osteoporosis-knee-dataset-preprocessed128x256",
            normal=186,
            osteoporosis=186,
        ),
        _kaggle(
            "knee1947",
            "Knee radiographs in three classes, osteopenia between the two",
            "mohamedgobara/multi-class-knee-osteoporosis-x-ray-dataset",
            normal=780,
            osteopenia=374,
            osteoporosis=793,
        ),
        _kaggle(
            "knee239",
            "Copy of Wani and Arora, Mendeley Data fxjm8fb6mw: 239 knees in three classes",
            "mohamedgobara/osteoporosis-database",
            "CC BY 4.0 by the word of third parties",
            normal=36,
            osteopenia=154,
            osteoporosis=49,
        ),
    )
}


def get(name: str) -> DataSet:
    """The registry's entry; raises ValueError that lists the known names."""
    if name not in REGISTRY:
        raise ValueError(f"data set {name!r} is unknown; expected one of {', '.join(REGISTRY)}")
    return REGISTRY[name]


def locate(dataset: str, data_dir: str = "") -> Path:
    """Folder of a data set that is on this machine, checked; a relative `data_dir` starts at the project's folder.

    Raises FileNotFoundError, NotADirectoryError or ValueError as `check_folder` does; where a Kaggle set is
    missing, the text lists the steps to get it.
    """
    entry = get(dataset)
    if not data_dir and dataset == "folder":
        raise ValueError(
            "data_dir is empty: name the folder that holds normal/ and osteoporosis/ (--data DIR)"
        )
    root = paths.home() / Path(data_dir).expanduser() if data_dir else paths.raw(dataset)
    if entry.slug and not data_dir and not root.exists():
        raise FileNotFoundError(f"{root}: not there.\n{manual_steps(dataset)}")
    check_folder(root)
    return root


def check_folder(root: Path) -> dict[str, Path]:
    """Folder of each class, by class name; upper and lower case are the same.

    Raises FileNotFoundError, NotADirectoryError, or ValueError where a class is missing, empty or there twice.
    """
    root = Path(root)
    wanted = " and ".join(f"{name}/" for name in LABELS)
    if not root.exists():
        raise FileNotFoundError(f"{root}: does not exist; expected a folder with {wanted} in it")
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: is a file; expected a folder with {wanted} in it")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    matches = {name: [path for path in folders if path.name.lower() == name] for name in LABELS}
    if missing := [name for name, found in matches.items() if not found]:
        names = ", ".join(f"{path.name}/" for path in folders[:10]) or "no folder"
        deeper = [path for path in find_roots(root) if path != root]
        hint = (
            f"; give {deeper[0]} instead, which has both" if deeper else "; rename or add the class folders"
        )
        raise ValueError(f"{root}: lacks {' and '.join(missing)}/; found {names}, expected {wanted}{hint}")
    for name, found in matches.items():
        if len(found) > 1:
            raise ValueError(
                f"{root}: two folders for {name}: {', '.join(path.name for path in found)}; merge them"
            )
        if not any(path.is_file() and not path.name.startswith(".") for path in found[0].rglob("*")):
            raise ValueError(f"{found[0]}: no file in it; put the {name} radiographs there")
    return {name: found[0] for name, found in matches.items()}


def find_roots(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a folder for each class; the shallowest come first."""
    found = []
    for place, folders, _ in os.walk(folder):
        if set(LABELS) <= {name.lower() for name in folders}:
            found.append(Path(place))
    return sorted(found, key=lambda path: (len(path.parts), path))


def manual_steps(name: str) -> str:
    """Numbered steps by which a person gets a Kaggle set without this program."""
    entry = get(name)
    return "\n".join(
        (
            "To get it by hand:",
            f"  1. Open {entry.page} in a browser and log in.",
            "  2. Press Download and keep the zip file.",
            f"  3. Unzip it so that {paths.raw(name) / 'normal'} and {paths.raw(name) / 'osteoporosis'} hold the films,",
            "     or anywhere else and pass that folder with --data DIR.",
            "  4. Run again.",
        )
    )


def verify(root: Path, name: str) -> pd.DataFrame:
    """Compare the files of a folder with the published checksums: image_id, state.

    `state` is `identical`, `differs` (same name, other bytes), `missing` (published, not found) or `not listed`.
    An empty frame where the registry has no checksums.
    """
    entry = get(name)
    frame = pd.DataFrame({"image_id": pd.Series(dtype=str), "state": pd.Series(dtype=str)})
    if not entry.checksums:
        return frame
    text = (Path(__file__).parent / entry.checksums).read_text("utf-8")
    published = {line[66:]: line[:64] for line in text.splitlines() if line}
    states = dict.fromkeys(published, "missing")
    for class_name, folder in check_folder(root).items():
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{class_name}/{path.relative_to(folder).as_posix()}"
                same = key in published and runtime.sha256_file(path) == published[key]
                states[key] = "identical" if same else "differs" if key in published else "not listed"
    return pd.DataFrame(sorted(states.items()), columns=["image_id", "state"])


def account(root: Path, name: str) -> list[str]:
    """What differs between a folder and the registry, one sentence a line; found against expected."""
    entry, lines = get(name), []
    for class_name, folder in check_folder(root).items():
        found, expected = sum(path.is_file() for path in folder.rglob("*")), entry.expected.get(class_name)
        if expected is not None:
            verdict = "as expected" if found == expected else f"DIFFERS, expected {expected}"
            lines.append(f"{class_name}: {found} files ({verdict})")
    checked = verify(root, name)
    if not entry.checksums:
        lines.append(f"{name}: no published checksums, so there is nothing to compare the files with")
    for state, meaning in (
        ("identical", "byte for byte as published"),
        ("differs", "bear a published name with other content: a copy that was scaled, re-saved or changed"),
        ("missing", "are published but not here"),
        ("not listed", "are here but not published"),
    ):
        chosen = checked.loc[checked["state"] == state, "image_id"].tolist()
        if chosen or (state == "identical" and len(checked)):
            some = f", such as {chosen[0]}" if chosen and state != "identical" else ""
            lines.append(f"{len(chosen)} of {len(checked)} files {meaning}{some}")
    return lines
