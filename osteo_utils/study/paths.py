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


@dataclass(frozen=True)
class StudyPaths:
    """The files and folders of one study."""

    study: str

    @property
    def interim(self) -> Path:
        return home() / "data" / "interim" / self.study

    @property
    def reports(self) -> Path:
        return home() / "reports" / self.study

    @property
    def own_config(self) -> Path:
        """Configuration of a study that `run_all.sh own` made."""
        return self.interim / "study.yaml"

    @property
    def params(self) -> Path:
        return self.interim / "params"

    @property
    def manifest(self) -> Path:
        return self.interim / "manifest.csv"

    @property
    def images(self) -> Path:
        return self.interim / "images.npy"

    @property
    def audit(self) -> Path:
        return self.interim / "audit.csv"

    @property
    def folds(self) -> Path:
        return self.interim / "folds.csv"

    @property
    def masks(self) -> Path:
        return self.interim / "masks.npy"

    @property
    def truth_masks(self) -> Path:
        """Bone masks known by construction; only where the data set has them."""
        return self.interim / "truth_masks.npy"

    @property
    def truth_labels(self) -> Path:
        """Labels known by construction (image_id, true_label); only where the data set has them."""
        return self.interim / "truth_labels.csv"

    @property
    def trunk(self) -> Path:
        return self.interim / "trunk"

    @property
    def fits(self) -> Path:
        return self.interim / "fits"

    def activation_maps(self, model: str) -> Path:
        """A network's class activation maps, out of fold."""
        return self.interim / "maps" / f"{model}.npz"

    @property
    def predictions(self) -> Path:
        return self.reports / "predictions"

    def external_predictions(self, model: str) -> Path:
        """A model's predictions of an external set: apart, so that no reader of out-of-fold predictions meets them."""
        return self.predictions / f"{model}_external.csv"

    @property
    def history(self) -> Path:
        return self.reports / "history"

    @property
    def metrics(self) -> Path:
        return self.reports / "metrics"

    @property
    def tables(self) -> Path:
        return self.reports / "tables"

    @property
    def figures(self) -> Path:
        return self.reports / "figures"

    @property
    def films(self) -> Path:
        """Figures that show a radiograph; never published for a real set."""
        return self.figures / "films"

    @property
    def own_films(self) -> Path:
        """What was made of a reader's own films; git-ignored and never published."""
        return self.reports / "own_films"

    @property
    def notebooks(self) -> Path:
        """Executed copies of the notebooks."""
        return self.reports / "notebooks"

    @property
    def logs(self) -> Path:
        return self.reports / "logs"

    @property
    def claims(self) -> Path:
        return self.reports / "claims.json"
