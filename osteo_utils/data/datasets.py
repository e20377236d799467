"""The data sets that the project knows, and whether a folder holds one of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from osteo_utils.data import checksums
from osteo_utils.study import paths, runtime

LABELS = {"normal": 0, "osteoporosis": 1}
ULTRASOUND = "Labels come from ultrasound T-scores of unknown chain, not from DXA, the reference method for osteoporosis."
NO_LICENCE = "none found; for local runs only, never pass on an image or a figure that shows one"
NOT_INDEPENDENT = (
    "Not independent of the other sets of knees until an audit says so "
    "(python -m osteo_utils.data.audit DIR --against DIR2)."
)
COMPANIONS = (
    "patients.csv",
    "phantom.json",
    "truth.csv",
    "truth_outlines.json",
    "truth_masks",
    "truth_parts",
    checksums.NAME,
)


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before it is opened.

    `slug` is its address on Kaggle (owner/name), `expected` the files per class, `checksums` the file beside
    this module that lists SHA-256 and name of each file as published, `citation` how to name it in a text,
    `relation` what it shares with other sets. Slugs and counts of the Kaggle sets are inferred from counts and
    hashes; no page of theirs has been read.
    """

    name: str
    title: str
    labels: str
    licence: str
    source: str
    slug: str = ""
    expected: Mapping[str, int] = field(default_factory=dict)
    checksums: str = ""
    citation: str = ""
    relation: str = ""

    @property
    def classes(self) -> dict[str, int | None]:
        """Label of each class; its folder bears its name, in upper or lower case. None is a class without label."""
        return {name: LABELS.get(name) for name in self.expected or LABELS}

    @property
    def page(self) -> str:
        """Address of the page where a person can download the set; empty where there is none."""
        return f"https://www.kaggle.com/datasets/{self.slug}" if self.slug else ""


def _kaggle(
    name: str, title: str, slug: str, relation: str, licence: str = NO_LICENCE, checksums: str = "",
    citation: str = "", **expected: int,
) -> DataSet:  # fmt: skip
    owner, short = slug.split("/")
    entry = DataSet(name, title, ULTRASOUND, licence, f"Kaggle {slug}", slug, expected, checksums)
    plain = f"{owner}: {short}. Data set, Kaggle, {entry.page}; add version and date of your download."
    return replace(entry, citation=f"{citation} {plain}".strip(), relation=relation)


REGISTRY: dict[str, DataSet] = {
    entry.name: entry
    for entry in (
        DataSet(
            "phantom",
            "Synthetic knee radiographs, drawn from a seed",
            "Labels follow from the bone density that each knee was drawn with; they say nothing about patients.",
            "MIT, as the project",
            "osteo_utils.data.phantom",
            citation="This project, as CITATION.cff names it, with the seed and the number of knees.",
            relation="None: it holds no film of a patient.",
        ),
        _kaggle(
            "knee744",
            "Knee radiographs, normal and osteoporosis; the set whose count fits the paper",
            "mrmann007/osteoporosis",
            "By its counts knee372 and knee372_128x256 in one: of each class 186 larger films and 186 of "
            f"128x256 pixels. {NOT_INDEPENDENT}",
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
            citation="Yours to know.",
            relation=NOT_INDEPENDENT,
        ),
        _kaggle(
            "knee372",
            "Knee radiographs, a relative of knee744",
            "stevepython/osteoporosis-knee-xray-dataset",
            f"By its counts the larger films of knee744; in small knee372_128x256. {NOT_INDEPENDENT}",
            normal=186,
            osteoporosis=186,
        ),
        _kaggle(
            "knee372_128x256",
            "The same 372 films scaled to 128x256",
            "sachinkumar413/osteoporosis-knee-dataset-preprocessed128x256",
            f"By its name and counts knee372 scaled, and the small films of knee744. {NOT_INDEPENDENT}",
            normal=186,
            osteoporosis=186,
        ),
        _kaggle(
            "knee1947",
            "Knee radiographs in three classes, osteopenia between the two",
            "mohamedgobara/multi-class-knee-osteoporosis-x-ray-dataset",
            f"Gathered from several sources by the word of third parties, knee239 perhaps among them. {NOT_INDEPENDENT}",
            citation="By the word of third parties the data of: Knee Osteoporosis Diagnosis Based on Deep Learning, "
            "2024, https://doi.org/10.1007/s44196-024-00615-4.",
            normal=780,
            osteopenia=374,
            osteoporosis=793,
        ),
        _kaggle(
            "knee239",
            "Copy of Wani and Arora, Mendeley Data fxjm8fb6mw: 239 knees in three classes",
            "mohamedgobara/osteoporosis-database",
            f"The Mendeley set under another address; knee1947 may hold it. {NOT_INDEPENDENT}",
            "CC BY 4.0 by the word of third parties",
            citation="Wani, Insha Majeed; Arora, Sakshi (2021): Knee X-ray Osteoporosis Database. Mendeley Data, V2, "
            "https://doi.org/10.17632/fxjm8fb6mw.2. Copy:",
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


def check_external(root: Path, external: Path) -> dict[str, Path]:
    """Folder of each class of an external set, by class name, which must lie apart from the study's own folder `root`.

    Raises as `check_folder` does, and ValueError where one of the two folders holds the other.
    """
    ours, theirs = Path(root).resolve(), Path(external).resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ValueError(
            f"{external}: an external set must be films of another source, and this folder and the study's own, "
            f"{root}, hold one another; give a folder outside it"
        )
    return check_folder(theirs)


def find_roots(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a folder for each class; the shallowest come first."""
    found = []
    for place, folders, _ in os.walk(folder):
        if set(LABELS) <= {name.lower() for name in folders}:
            found.append(Path(place))
    return sorted(found, key=lambda path: (len(path.parts), path))


def counts(root: Path) -> dict[str, int]:
    """Files of each folder directly in `root`, by its name in lower case."""
    found = {folder.name.lower(): 0 for folder in Path(root).iterdir() if folder.is_dir()}
    for path in Path(root).glob("*/**/*"):
        if path.is_file():
            found[path.relative_to(root).parts[0].lower()] += 1
    return found


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
    published = checksums.read(Path(__file__).parent / entry.checksums)
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
    entry, lines, found = get(name), [], counts(root)
    for class_name, expected in entry.expected.items():
        number = found.get(class_name, 0)
        verdict = "as expected" if number == expected else f"DIFFERS, expected {expected}"
        lines.append(f"{class_name}: {number} files ({verdict})")
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
