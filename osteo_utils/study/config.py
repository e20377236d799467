"""The configuration of a study: read, checked, and split by notebook; and a study of a reader's own films."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from osteo_utils.study import paths
from osteo_utils.study.parameters import NOTEBOOKS, PARAMETERS, RECIPES, nearest

OWN_STUDY_MODEL = "knee744"
DEFAULT_STUDY = "phantom"
# With fewer knees, the 95 % interval of an accuracy of 0.80 is wider than 0.22.
FEWEST_KNEES = 50


def studies() -> list[str]:
    """Names of the committed studies."""
    return sorted(path.stem for path in paths.config_dir().glob("*.yaml"))


def load(study: str) -> dict[str, Any]:
    """All parameters of a study, from `config/<study>.yaml` or from the study that `run_all.sh own` made.

    Raises ValueError for an unknown study, an unknown or missing parameter, or a wrong value.
    """
    known = studies()
    if study in known:
        source = paths.config_dir() / f"{study}.yaml"
    elif not _is_name(study) or not (source := paths.StudyPaths(study).own_config).is_file():
        raise ValueError(
            f"there is no study {study!r}; {nearest(study, known)} Studies: {', '.join(known)}. "
            "For a folder of your own: ./run_all.sh own --data DIR --name NAME"
        )
    settings = _read_yaml(source)
    if study not in known:
        # A study made before a parameter was added has the value of its model for it.
        settings = {**load(OWN_STUDY_MODEL), **settings}
    check(settings, source.name, complete=True)
    if settings["study"] != study:
        raise ValueError(f"{source.name}: study is {settings['study']!r}, expected {study!r} as the file is named")
    return settings


def too_few(groups: float) -> str:
    """A warning that a study of so many groups shows nothing but that every step works; empty from FEWEST_KNEES on."""
    if groups >= FEWEST_KNEES:
        return ""
    return f"Only {groups:.0f} persons, or knees of persons unknown: too few for these numbers to mean anything. They show that every step works."


def check(settings: Mapping[str, Any], where: str, complete: bool = False) -> None:
    """Raise one ValueError that lists everything wrong with `settings`."""
    problems = [
        f"unknown parameter {name!r}; {nearest(name, PARAMETERS)}" for name in settings if name not in PARAMETERS
    ]
    for name, entry in PARAMETERS.items():
        if name in settings and (text := entry.problem(settings[name])):
            problems.append(f"{name}: {text}")
        elif complete and name not in settings:
            problems.append(f"missing parameter {name!r} ({entry.meaning})")
    recipes, variants = settings.get("recipes", RECIPES), settings.get("variants", ["full"])
    if settings.get("primary_recipe") not in [None, *recipes]:
        problems.append(f"primary_recipe: {settings['primary_recipe']!r} is not among the recipes")
    if "last_block" not in recipes:
        problems.append("recipes: 'last_block' must be among them; curves and activation maps come from it")
    if "full" not in variants:
        problems.append("variants: 'full' must be among them; every headline number is about the whole film")
    if "background" in variants and "none" not in recipes:
        problems.append("variants: 'background' is scored by a probe, so recipes must name 'none' as well")
    if "grouped" not in settings.get("protocols", ["grouped"]):
        problems.append("protocols: 'grouped' must be among them; every headline number is about that split")
    # The rules below compare values, so the values must be valid.
    seeds = settings.get("split_seeds")
    if not problems and seeds and (trained := settings.get("trained_seeds", 1)) > len(seeds):
        problems.append(f"trained_seeds: expected at most the {len(seeds)} entries of split_seeds, found {trained}")
    nested = settings.get("nested_recipes", [])
    if not problems and (unfitted := [name for name in nested if name not in recipes]):
        problems.append(f"nested_recipes: {unfitted[0]!r} is not among the recipes")
    if not problems and nested and (folds := settings.get("n_folds", 3)) < 3:
        problems.append(
            f"nested_recipes: expected n_folds of 3 or more, found {folds}; without a nested choice write []"
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
        raise ValueError(f"there is no notebook {notebook!r}; {nearest(notebook, NOTEBOOKS)}")
    return [name for name, entry in PARAMETERS.items() if notebook[:2] in entry.notebooks.split()]


def from_namespace(notebook: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The checked parameters of a running notebook, taken from its `globals()`.

    A parameter that no cell sets has the value of `config/phantom.yaml`. Names that the notebook does not take are
    refused. papermill only warns of them, and of every parameter that the notebook does not show, so the cells run so
    far are read: a cell that holds nothing but assignments of plain values is a cell of parameters.
    """
    wanted = names_for(notebook)
    if "study" not in namespace:
        raise ValueError(f"{notebook}: run the cell of parameters first; study is not set")
    settings = {name: namespace.get(name, value) for name, value in load(DEFAULT_STUDY).items() if name in wanted}
    for name in _assigned_parameters(namespace.get("In", [])):
        if name not in wanted:
            raise ValueError(f"{notebook}: unknown parameter {name!r}; {nearest(name, wanted)}")
    check(settings, notebook)
    if not _is_name(settings["study"]):
        raise ValueError(f"{notebook}: study {settings['study']!r} cannot name a folder; use letters, digits, _ and -")
    return settings


def write_params(settings: Mapping[str, Any], write: Callable[[Path, str], None]) -> None:
    """Write `params/NN.yaml` for each notebook, but only where its content changes.

    The workflow then sees from the time stamp when a parameter last changed.
    """
    folder = paths.StudyPaths(settings["study"]).params
    for notebook in NOTEBOOKS:
        write_if_changed(folder / f"{notebook[:2]}.yaml", _as_yaml(for_notebook(notebook, settings)), write)


def write_if_changed(path: Path, text: str, write: Callable[[Path, str], None]) -> None:
    """Write `text` unless the file holds it already."""
    if not path.is_file() or path.read_text("utf-8") != text:
        write(path, text)


def own_settings(
    name: str, data_dir: Path, external_dir: Path | None = None, osteopenia: str = "", classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Settings for a reader's own folder of films: those of `knee744` with the data set replaced.

    An empty `osteopenia` keeps that study's rule; without `classes` a study that exists keeps its own. Raises ValueError
    for a name that cannot name a folder, belongs to a committed study, or is used for another folder.
    """
    if not _is_name(name):
        raise ValueError(f"--name {name!r}: use letters, digits, _ and -, starting with a letter, 40 at most")
    if name in studies() or name in ("published", "scratch", "benchmarks"):
        raise ValueError(f"--name {name!r} is taken; choose another so that no other study's results are touched")
    target = paths.StudyPaths(name).own_config
    earlier = _read_yaml(target) if target.is_file() else {}
    folder = str(Path(data_dir).expanduser().resolve())
    if earlier and earlier.get("data_dir") != folder:
        raise ValueError(
            f"--name {name!r} is already used for the folder {earlier.get('data_dir')}; "
            "choose another name, or delete that study's folders under data/interim and reports"
        )
    settings = {**load(OWN_STUDY_MODEL), "study": name, "dataset": "folder", "data_dir": folder}
    settings["classes"] = list(classes) or earlier.get("classes", [])
    if external_dir:
        settings["external_dir"] = str(Path(external_dir).expanduser().resolve())
    if osteopenia:
        settings["osteopenia"] = osteopenia
    check(settings, f"--name {name}", complete=True)
    return settings


def create_own(settings: Mapping[str, Any], write: Callable[[Path, str], None]) -> None:
    """Keep `own_settings` as `data/interim/<name>/study.yaml`.

    Another external set, rule or list of classes changes the study, and what depends on it runs again.
    """
    write_if_changed(paths.StudyPaths(settings["study"]).own_config, _as_yaml(settings), write)


def _as_yaml(settings: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    # Signs that YAML takes for the end of a line would come back as a blank; escaped they stay.
    return text if yaml.safe_load(text) == settings else yaml.safe_dump(settings, sort_keys=False)


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
    """The name to which a statement assigns a plain value; empty for any other statement."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            with suppress(ValueError):
                ast.literal_eval(value)
                return name
    return ""
