"""Every folder of the project; no other room builds a path of the layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MODEL_NOTEBOOKS = {"vgg16": "04_vgg16", "resnet50": "05_resnet50"}


def code_root() -> Path:
    """Folder that holds `config/`, `notebooks/` and `workflow/`: the checkout."""
    return Path(__file__).resolve().parents[2]


def home() -> Path:
    """Folder that holds `data/` and `reports/`: `$OSTEO_HOME`, or the checkout."""
    named = os.environ.get("OSTEO_HOME")
    return Path(named).expanduser().resolve() if named else code_root()


def config_dir() -> Path:
    """Folder of the committed study configurations."""
    return code_root() / "config"


def notebooks_dir() -> Path:
    """Folder of the notebook sources."""
    return code_root() / "notebooks"


def raw(dataset: str) -> Path:
    """Folder of the raw files of one data set; nothing in it is ever edited."""
    return home() / "data" / "raw" / dataset


def weights_dir() -> Path:
    """Folder of the verified ImageNet weights."""
    return home() / "data" / "weights"


def published(study: str) -> Path:
    """Folder of what may be shown of a study; the workflow never reads it."""
    return home() / "reports" / "published" / study


def _in(folder: str, name: str) -> property:
    """The path `name` in the folder that another property of the study gives."""
    return property(lambda study: getattr(study, folder) / name)


@dataclass(frozen=True)
class StudyPaths:
    """The files and folders of one study: what notebooks hand to each other in `interim`, results in `reports`."""

    study: str

    @property
    def interim(self) -> Path:
        return home() / "data" / "interim" / self.study

    @property
    def reports(self) -> Path:
        return home() / "reports" / self.study

    own_config = _in("interim", "study.yaml")  # of a study that `run_all.sh own` made
    params = _in("interim", "params")
    manifest = _in("interim", "manifest.csv")
    images = _in("interim", "images.npy")
    audit = _in("interim", "audit.csv")
    folds = _in("interim", "folds.csv")
    masks = _in("interim", "masks.npy")
    # Bone masks and labels (image_id, true_label) known by construction; only where the data set has them.
    truth_masks = _in("interim", "truth_masks.npy")
    truth_labels = _in("interim", "truth_labels.csv")
    texture = _in("interim", "texture.csv")  # measures of bone texture and cortex, one row a film
    background = _in("interim", "background.npy")  # each film at 32 by 32 pixels with its bone painted over, uint8
    reference = _in("interim", "reference.csv")  # a reference label of the films, where one is known
    decided = _in("interim", "decided.csv")  # what people decided about films, where anything was
    trunk = _in("interim", "trunk")
    fits = _in("interim", "fits")

    predictions = _in("reports", "predictions")
    history = _in("reports", "history")
    metrics = _in("reports", "metrics")
    tables = _in("reports", "tables")
    figures = _in("reports", "figures")
    films = _in("figures", "films")  # figures that show a radiograph; never published for a real set
    printed = _in("figures", "paper")  # the counterparts of the paper's figures, at the sizes of a journal
    own_films = _in("reports", "own_films")  # from a reader's own films; git-ignored and never published
    suspects = _in("reports", "suspects.html")  # a page of films; never published
    notebooks = _in("reports", "notebooks")  # executed copies
    logs = _in("reports", "logs")
    claims = _in("reports", "claims.json")

    def activation_maps(self, model: str) -> Path:
        """A network's class activation maps, out of fold."""
        return self.interim / "maps" / f"{model}.npz"

    def external_predictions(self, model: str) -> Path:
        """A model's predictions of an external set, in a file apart from the out-of-fold predictions."""
        return self.predictions / f"{model}_external.csv"

    def inner_predictions(self, model: str) -> Path:
        """A network's predictions on inner folds, by which recipe and variant are chosen for each outer fold."""
        return self.interim / "inner" / f"{model}.csv"


# The pages that 08 writes for readers.
REPORTS = ("report.html", "report.pdf", "checklists.html", "reviewer.html", "model_card.md", "datasheet.md")


def exchanged(study: StudyPaths, films: bool = True) -> dict[str, tuple[list[Path], list[Path]]]:
    """What each notebook, by its number, reads of the study beside its parameters, and what it writes beside its metrics.

    `films`: whether 08 may show films, so that it writes the page of suspects.
    """
    masks = study.tables / "masks.csv"
    networks = [study.predictions / f"{model}.csv" for model in MODEL_NOTEBOOKS]
    maps = [study.activation_maps(model) for model in MODEL_NOTEBOOKS]
    training = [study.images, study.audit, study.folds, study.masks, masks]
    audited = [study.manifest, study.images, study.audit]
    shortcuts, texture = study.tables / "shortcuts.csv", [study.texture, study.background]
    suspects = [study.tables / "suspect_labels.csv", study.tables / "suspect_films.csv"]
    written = {
        "01": [study.manifest, study.images],
        "02": [study.audit, study.folds, shortcuts],
        "03": [study.masks, masks, *texture, study.predictions / "texture.csv"],
        "04": [networks[0], study.history / "vgg16.csv", maps[0]],
        "05": [networks[1], study.history / "resnet50.csv", maps[1]],
        "06": [study.predictions / "ensemble.csv", *suspects],
        "07": [study.predictions / "leakage.csv"],
        "08": [study.reports / name for name in REPORTS] + [study.claims],
    }
    read = {
        "01": [study.params / "tables"],
        "02": [study.manifest, study.images],
        "03": [*audited, study.folds, shortcuts],
        "04": training,
        "05": training,
        "06": [*audited, study.masks, masks, *texture, *networks, *maps],
        "07": training,
        "08": [file for number, files in written.items() if number != "08" for file in files],
    }
    written["08"] += [study.suspects] if films else []
    return {number: (read[number], written[number]) for number in written}
