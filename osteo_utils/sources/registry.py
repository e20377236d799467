"""The data sets that the project knows: address, labels, licence, counts, citation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from osteo_utils.study import paths

LABELS = {"normal": 0, "osteoporosis": 1}
KAGGLE = "https://www.kaggle.com/datasets/"
ULTRASOUND = (
    "Labels come from ultrasound T-scores of unknown chain, not from DXA, the reference method for osteoporosis."
)
NO_LICENCE = "none found; for local runs only, never pass on an image or a figure that shows one"
NOT_INDEPENDENT = (
    "Not independent of the other sets of knees until an audit says so (./run_all.sh audit DIR --against DIR2)."
)
WANI = (
    "Wani, Insha Majeed; Arora, Sakshi (2021): Knee X-ray Osteoporosis Database. Mendeley Data, V2, "
    "https://doi.org/10.17632/fxjm8fb6mw.2."
)


@dataclass(frozen=True)
class DataSet:
    """What is known about a data set before it is opened.

    `slug` is its address on Kaggle (owner/name), `expected` the files per class, `checksums` the file in this folder
    that lists SHA-256 and name of each published file, `citation` how to cite it, `relation` what it shares with
    other sets, `crosswalk` the file in this folder that names the film of another set which each film shows
    (`audit.crosswalk`; its SHA-256 are the published ones) and `crosswalk_to` that set, `films` the file in this folder
    that lists the set's films with width, height and mode, known from a copy scaled to 40 %. Slugs and counts of the Kaggle sets are inferred from counts and hashes, not read on their pages.
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
    crosswalk: str = ""
    crosswalk_to: str = ""
    films: str = ""

    @property
    def page(self) -> str:
        """Download page; empty for a set that is not on Kaggle."""
        return KAGGLE + self.slug if self.slug else ""


def _kaggle(
    name: str, title: str, slug: str, relation: str, expected: dict[str, int], licence: str = NO_LICENCE,
    checksums: str = "", citation: str = "", crosswalk: str = "", crosswalk_to: str = "",
) -> DataSet:  # fmt: skip
    own = f"{slug.replace('/', ': ')}. Data set, Kaggle, {KAGGLE}{slug}; add version and date of your download."
    citation = f"{citation} {own}".strip()
    return DataSet(
        name, title, ULTRASOUND, licence, f"Kaggle {slug}", slug, expected, checksums, citation, relation, crosswalk,
        crosswalk_to,
    )  # fmt: skip


REGISTRY: dict[str, DataSet] = {
    entry.name: entry
    for entry in (
        DataSet(
            "phantom",
            "Synthetic knee radiographs, drawn from a seed",
            "Labels follow from the bone density that each knee was drawn with; they say nothing about patients.",
            "MIT, as the project",
            "osteo_utils.phantom.synthetic",
            citation="This project, as CITATION.cff names it, with the seed and the number of knees.",
            relation="None: it holds no film of a patient.",
        ),
        _kaggle(
            "knee744",
            "Knee radiographs, normal and osteoporosis; the set whose count fits the paper",
            "mrmann007/osteoporosis",
            "By its counts knee372 and knee372_128x256 in one: of each class 186 larger films and 186 of "
            f"128x256 pixels. Most of its films were cut from those of wani239. {NOT_INDEPENDENT}",
            {"normal": 372, "osteoporosis": 372},
            checksums="knee744.sha256",
            crosswalk="knee744_crosswalk.csv",
            crosswalk_to="wani239",
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
        DataSet(
            "wani239",
            "Knee X-ray Osteoporosis Database of Wani and Arora: 239 films in three classes",
            "Classes by T-score: normal, osteopenia, osteoporosis; by the word of third parties measured with quantitative "
            "ultrasound. Where it was measured, and at which cut-offs, could not be read.",
            "CC BY 4.0 by the word of third parties; for local runs only until you have read it on its page",
            "Mendeley Data fxjm8fb6mw",
            expected={"normal": 36, "osteopenia": 154, "osteoporosis": 49},
            citation=WANI,
            relation="Most films of knee744, under other classes, were cut from its films; knee239 is a copy.",
            films="wani239_films.csv",
        ),
        _kaggle(
            "knee372",
            "Knee radiographs, a relative of knee744",
            "stevepython/osteoporosis-knee-xray-dataset",
            f"By its counts the larger films of knee744; in small knee372_128x256. {NOT_INDEPENDENT}",
            {"normal": 186, "osteoporosis": 186},
        ),
        _kaggle(
            "knee372_128x256",
            "The same 372 films scaled to 128x256",
            "sachinkumar413/osteoporosis-knee-dataset-preprocessed128x256",
            f"By its name and counts knee372 scaled, and the small films of knee744. {NOT_INDEPENDENT}",
            {"normal": 186, "osteoporosis": 186},
        ),
        _kaggle(
            "knee1947",
            "Knee radiographs in three classes, osteopenia between the two",
            "mohamedgobara/multi-class-knee-osteoporosis-x-ray-dataset",
            f"Gathered from several sources by the word of third parties, knee239 perhaps among them. {NOT_INDEPENDENT}",
            {"normal": 780, "osteopenia": 374, "osteoporosis": 793},
            citation="By the word of third parties the data of: Knee Osteoporosis Diagnosis Based on Deep Learning, "
            "2024, https://doi.org/10.1007/s44196-024-00615-4.",
        ),
        _kaggle(
            "knee239",
            "Copy of Wani and Arora, Mendeley Data fxjm8fb6mw: 239 knees in three classes",
            "mohamedgobara/osteoporosis-database",
            f"wani239 under another address; knee1947 may hold it. {NOT_INDEPENDENT}",
            {"normal": 36, "osteopenia": 154, "osteoporosis": 49},
            "CC BY 4.0 by the word of third parties",
            citation=f"{WANI} Copy:",
        ),
    )
}


def get(name: str) -> DataSet:
    """Entry of a data set; raises ValueError with the known names for another name."""
    if name not in REGISTRY:
        raise ValueError(f"data set {name!r} is unknown; expected one of {', '.join(REGISTRY)}")
    return REGISTRY[name]


def manual_steps(name: str) -> str:
    """How to get a Kaggle set by hand, in numbered steps."""
    root = paths.raw(name)
    return (
        "To get it by hand:\n"
        f"  1. Open {get(name).page} in a browser and log in.\n"
        "  2. Press Download and keep the zip file.\n"
        f"  3. Unzip it so that {root / 'normal'} and {root / 'osteoporosis'} hold the films,\n"
        "     or anywhere else and pass that folder with --data DIR.\n"
        "  4. Run again."
    )
