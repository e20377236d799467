"""What a study may say: the parameters, their types and limits, and which notebook takes which."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from osteo_utils.study import paths

NOTEBOOKS = (
    "01_data_download",
    "02_eda",
    "03_segmentation",
    "04_vgg16",
    "05_resnet50",
    "06_ensemble",
    "07_leakage_lab",
    "08_report",
)
PROTOCOLS = ("grouped", "grouped_all", "by_file")
RECIPES = ("none", "last_block", "last_stage", "all", "paper")
VIEWS = ("squeeze", "pad", "crop", "knee")
VARIANTS = ("full", "segmented", "background")
MASK_METHODS = ("unet", "classical")
OSTEOPENIA = ("exclude", "normal", "osteoporosis")
OWN_STUDY_MODEL = "knee744"


@dataclass(frozen=True)
class Parameter:
    """One parameter: where it is used, its type, what it means, and a test of its value.

    `limits` is a pair (smallest, largest) for numbers, or the tuple of allowed words.
    A list parameter (`kind=list`) has `item` as the type of its entries; it is not empty unless `may_be_empty`.
    """

    notebooks: str
    kind: type
    meaning: str
    limits: tuple[Any, ...] | None = None
    item: type = str
    may_be_empty: bool = False

    def problem(self, value: Any) -> str:
        """What is wrong with `value`, in words; empty when nothing is."""
        if self.kind is list:
            if not isinstance(value, list) or not (value or self.may_be_empty):
                least = "" if self.may_be_empty else "at least one "
                return f"expected a list of {least}{self.item.__name__}"
            if len(set(map(str, value))) < len(value):
                return "an entry stands twice"
            return next((text for entry in value if (text := self._problem_of_one(entry, self.item))), "")
        return self._problem_of_one(value, self.kind)

    def _problem_of_one(self, value: Any, kind: type) -> str:
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
            return f"expected {kind.__name__}, found {value!r} ({type(value).__name__})"
        if self.limits and kind is str and value not in self.limits:
            return f"expected one of {', '.join(self.limits)}; {_nearest(value, self.limits)}"
        if self.limits and kind in (int, float) and not self.limits[0] <= value <= self.limits[1]:
            return f"expected {self.limits[0]} to {self.limits[1]}, found {value}"
        return ""


ALL = "01 02 03 04 05 06 07 08"
FITTED = "04 05"

PARAMETERS: dict[str, Parameter] = {
    "study": Parameter(ALL, str, "name of the study: where results go"),
    "seed": Parameter(ALL, int, "every random step derives from it", (0, 2**31 - 1)),
    "dataset": Parameter("01", str, "which data set", ("phantom", "knee744", "folder")),
    "data_dir": Parameter(
        "01", str, "folder with normal/ and osteoporosis/; empty = the data set's own place"
    ),
    "external_dir": Parameter(
        "01", str, "folder with normal/ and osteoporosis/ of another source, only ever scored; empty = none"
    ),
    "osteopenia": Parameter(
        "01",
        str,
        "what becomes of films in a folder osteopenia/: left out, or the class they count as",
        OSTEOPENIA,
    ),
    "phantom_knees": Parameter("01", int, "synthetic knees to draw", (10, 100_000)),
    "phantom_size": Parameter("01", int, "pixels along a synthetic film's longer side", (96, 1024)),
    "phantom_copies": Parameter("01", float, "further files per synthetic knee, on average", (0.0, 4.0)),
    "phantom_conflicts": Parameter(
        "01", float, "share of the copied synthetic knees whose copy lies under the other label", (0.0, 1.0)
    ),
    "phantom_signal": Parameter(
        "01", float, "how much a synthetic film's bone knows of the label: 0 nothing, 1 all", (0.0, 1.0)
    ),
    "phantom_shortcut": Parameter(
        "01", float, "how far a lead ball in the corner goes with the label: 0 not, 1 always", (0.0, 1.0)
    ),
    "phantom_label_noise": Parameter(
        "01", float, "share of synthetic knees under the wrong label", (0.0, 1.0)
    ),
    "phantom_site": Parameter(
        "01", str, "the scanner that synthetic films come from", ("flat_panel", "storage_phosphor")
    ),
    "protocols": Parameter("02 03 04 05 06", list, "how files are split", PROTOCOLS),
    "split_seeds": Parameter("02 03 04 05", list, "one split of each protocol per seed", (0, 2**31 - 1), int),
    "trained_seeds": Parameter(
        FITTED,
        int,
        "for how many of the split_seeds networks are trained; probes are fitted for all",
        (1, 1000),
    ),
    "n_folds": Parameter("02", int, "folds of a split", (2, 20)),
    "augment_first_views": Parameter(
        "02 07", int, "views of each image in the protocol augment_first", (2, 16)
    ),
    "mask_method": Parameter("03", str, "how bone is found", MASK_METHODS),
    "mask_trial_knees": Parameter(
        "03", int, "synthetic knees of an unseen scanner on which both methods are judged", (2, 10_000)
    ),
    "mask_min_area": Parameter("03", float, "smallest plausible share of bone in a film", (0.0, 1.0)),
    "mask_max_area": Parameter("03", float, "largest plausible share of bone in a film", (0.0, 1.0)),
    "vgg16_weights": Parameter("04", str, "imagenet, random (tests only) or the path of a weights file"),
    "resnet50_weights": Parameter(
        "05 07", str, "imagenet, random (tests only) or the path of a weights file"
    ),
    "view": Parameter("04 05 07", str, "how a film becomes a square", VIEWS),
    "image_size": Parameter("04 05 07", int, "pixels along the side of the network's input", (64, 512)),
    "recipes": Parameter(FITTED, list, "what is trained", RECIPES),
    "primary_recipe": Parameter("04 05 06", str, "the recipe that headline numbers come from", RECIPES),
    "variants": Parameter("04 05", list, "whole film, bone alone, or all but the bone", VARIANTS),
    "compared_views": Parameter(
        FITTED,
        list,
        "further ways to make a film a square, for the ablation; empty = none",
        VIEWS,
        may_be_empty=True,
    ),
    "augmented_views": Parameter(
        FITTED,
        int,
        "cached views of each training image: itself, its mirror image, then random ones",
        (1, 16),
    ),
    "epochs": Parameter(FITTED, int, "passes over the training folds", (1, 500)),
    "batch_size": Parameter(FITTED, int, "images per training step", (2, 1024)),
    "learning_rate": Parameter(FITTED, float, "highest step size, reached after one epoch", (1e-7, 1.0)),
    "weight_decay": Parameter(FITTED, float, "pull of the weights towards zero (AdamW)", (0.0, 1.0)),
    "dropout": Parameter(FITTED, float, "share of pooled features left out in a training step", (0.0, 0.95)),
    "label_smoothing": Parameter(FITTED, float, "how far targets are moved from 0 and 1", (0.0, 0.5)),
    "class_weight": Parameter(
        FITTED,
        str,
        "what a class counts in the loss: each image alike, or both classes alike",
        ("none", "balanced"),
    ),
    "inner_validation": Parameter(
        FITTED,
        float,
        "share of the training groups that the best epoch is chosen by; 0 = every epoch, the last is kept",
        (0.0, 0.5),
    ),
    "patience": Parameter(
        FITTED, int, "epochs without a smaller inner validation loss before a fit stops", (1, 500)
    ),
    "layer_decay": Parameter(
        FITTED, float, "recipe all: step size of a stage, as a share of the next stage's", (0.05, 1.0)
    ),
    "cache_gb": Parameter("04 05 07", float, "largest size of the trunk cache in GB", (0.001, 10_000.0)),
    "label_permutations": Parameter(
        "02 03", int, "shuffles of the labels that a shortcut is compared with", (10, 100_000)
    ),
    "bootstrap_resamples": Parameter(
        "02 03 04 05 06 07", int, "resamples behind each interval", (100, 100_000)
    ),
    "target_sensitivity": Parameter("06", float, "sensitivity for which a threshold is chosen", (0.5, 0.999)),
    "leakage_seeds": Parameter("02 07", list, "splits of the leakage lab, one per seed", (0, 2**31 - 1), int),
    "leakage_epochs": Parameter("07", int, "passes over the training images in the leakage lab", (1, 1000)),
    "films": Parameter("08", bool, "show radiographs in the report"),
}


def studies() -> list[str]:
    """Names of the committed studies."""
    return sorted(path.stem for path in paths.config_dir().glob("*.yaml"))


def load(study: str) -> dict[str, Any]:
    """All parameters of a study: of `config/<study>.yaml`, or of a study that `run_all.sh own` made.

    Raises ValueError for an unknown study, an unknown or missing parameter and a wrong value.
    """
    own = paths.StudyPaths(study).own_config if _is_name(study) else None
    if study in studies():
        source = paths.config_dir() / f"{study}.yaml"
    elif own is not None and own.is_file():
        source = own
    else:
        known = studies()
        raise ValueError(
            f"there is no study {study!r}; {_nearest(study, known)} Studies: {', '.join(known)}. "
            "For a folder of your own: ./run_all.sh own --data DIR --name NAME"
        )
    settings = _read_yaml(source)
    check(settings, source.name, complete=True)
    if settings["study"] != study:
        raise ValueError(
            f"{source.name}: study is {settings['study']!r}, expected {study!r} as the file is named"
        )
    return settings


def check(settings: Mapping[str, Any], where: str, complete: bool = False) -> None:
    """Raise one ValueError that lists everything wrong with `settings`."""
    problems = [
        f"unknown parameter {name!r}; {_nearest(name, PARAMETERS)}"
        for name in settings
        if name not in PARAMETERS
    ]
    if complete:
        problems += [
            f"missing parameter {name!r} ({entry.meaning})"
            for name, entry in PARAMETERS.items()
            if name not in settings
        ]
    for name, value in settings.items():
        if name in PARAMETERS and (text := PARAMETERS[name].problem(value)):
            problems.append(f"{name}: {text}")
    if "primary_recipe" in settings and settings["primary_recipe"] not in settings.get("recipes", RECIPES):
        problems.append(
            f"primary_recipe: {settings['primary_recipe']!r} is not among recipes {settings['recipes']}"
        )
    if "last_block" not in settings.get("recipes", RECIPES):
        problems.append("recipes: 'last_block' must be among them; curves and activation maps come from it")
    if "full" not in settings.get("variants", ["full"]):
        problems.append("variants: 'full' must be among them; every headline number is about the whole film")
    if "background" in settings.get("variants", []) and "none" not in settings.get("recipes", RECIPES):
        problems.append("variants: 'background' is scored by a probe, so recipes must name 'none' as well")
    if "grouped" not in settings.get("protocols", ["grouped"]):
        problems.append("protocols: 'grouped' must be among them; every headline number is about that split")
    # What follows compares values, so they must be sound.
    seeds = settings.get("split_seeds")
    if not problems and seeds and settings.get("trained_seeds", 1) > len(seeds):
        problems.append(
            f"trained_seeds: expected at most the {len(seeds)} entries of split_seeds, "
            f"found {settings['trained_seeds']}"
        )
    if not problems and settings.get("view") in settings.get("compared_views", []):
        problems.append(f"compared_views: {settings['view']!r} is the study's own view already; leave it out")
    if settings.get("mask_min_area", 0) >= settings.get("mask_max_area", 1):
        problems.append("mask_min_area: expected less than mask_max_area")
    if problems:
        raise ValueError(f"{where}: " + "\n  ".join(problems))


def for_notebook(notebook: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that one notebook takes, in the order of `PARAMETERS`."""
    return {name: settings[name] for name in names_for(notebook)}


def names_for(notebook: str) -> list[str]:
    """Names of the parameters of a notebook (its file's stem, such as `04_vgg16`)."""
    if notebook not in NOTEBOOKS:
        raise ValueError(f"there is no notebook {notebook!r}; {_nearest(notebook, NOTEBOOKS)}")
    return [name for name, entry in PARAMETERS.items() if notebook[:2] in entry.notebooks.split()]


def from_namespace(notebook: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The checked parameters of a running notebook, taken from its `globals()`.

    papermill only warns of a name that the notebook does not know, so the cells run so far are read: a
    cell that holds nothing but assignments of plain values is a cell of parameters.
    """
    wanted = names_for(notebook)
    settings = {name: namespace[name] for name in wanted if name in namespace}
    missing = [name for name in wanted if name not in namespace]
    if missing:
        raise ValueError(f"{notebook}: run the cell of parameters first; not set: {', '.join(missing)}")
    for name in _assigned_parameters(namespace.get("In", [])):
        if name not in wanted:
            raise ValueError(f"{notebook}: unknown parameter {name!r}; {_nearest(name, wanted)}")
    check(settings, notebook)
    if not _is_name(settings["study"]):
        raise ValueError(
            f"{notebook}: study {settings['study']!r} cannot name a folder; use letters, digits, _ and -"
        )
    return settings


def write_params(settings: Mapping[str, Any], write: Callable[[Path, str], None]) -> None:
    """Write `params/NN.yaml` for each notebook, leaving a file alone whose content would be the same.

    Their time stamps then say when a parameter last changed, which is what the workflow goes by.
    """
    folder = paths.StudyPaths(settings["study"]).params
    for notebook in NOTEBOOKS:
        text = yaml.safe_dump(for_notebook(notebook, settings), sort_keys=False, allow_unicode=True)
        write_if_changed(folder / f"{notebook[:2]}.yaml", text, write)


def write_if_changed(path: Path, text: str, write: Callable[[Path, str], None]) -> None:
    """Write `text` unless the file holds it already."""
    if not path.is_file() or path.read_text("utf-8") != text:
        write(path, text)


def create_own(
    name: str,
    data_dir: Path,
    write: Callable[[Path, str], None],
    external_dir: Path | None = None,
    osteopenia: str = "",
) -> dict[str, Any]:
    """Settings for a stranger's folder, kept as `data/interim/<name>/study.yaml`.

    They are those of the study `knee744`, with the data set replaced; `osteopenia` left empty is that study's rule.
    Raises ValueError for a name that is taken by a committed study or cannot name a folder, or that is already used
    for another folder. Another `external_dir` or rule changes the study, and what depends on it runs again.
    """
    if not _is_name(name):
        raise ValueError(f"--name {name!r}: use letters, digits, _ and -, starting with a letter, 40 at most")
    if name in studies() or name in ("published", "scratch", "benchmarks"):
        raise ValueError(
            f"--name {name!r} is taken; choose another so that no other study's results are touched"
        )
    target = paths.StudyPaths(name).own_config
    folder = str(Path(data_dir).expanduser().resolve())
    if target.is_file() and (earlier := _read_yaml(target)).get("data_dir") != folder:
        raise ValueError(
            f"--name {name!r} already stands for the folder {earlier.get('data_dir')}; "
            "choose another name, or delete that study's folders under data/interim and reports"
        )
    settings = {**load(OWN_STUDY_MODEL), "study": name, "dataset": "folder", "data_dir": folder}
    if external_dir:
        settings["external_dir"] = str(Path(external_dir).expanduser().resolve())
    if osteopenia:
        settings["osteopenia"] = osteopenia
    check(settings, f"--name {name}", complete=True)
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_if_changed(target, text, write)
    return settings


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name}: expected lines of 'name: value', found {type(content).__name__}")
    return content


def _is_name(text: str) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,39}", text) is not None


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "nothing known is like it."


def _assigned_parameters(cells: list[str]) -> list[str]:
    names = []
    for source in cells:
        try:
            body = ast.parse(source).body
        except SyntaxError:
            continue
        targets = [_literal_assignment(node) for node in body]
        if body and all(targets):
            names += targets
    return names


def _literal_assignment(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return ""
        return node.targets[0].id
    return ""
