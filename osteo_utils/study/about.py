"""What only a person knows of a study (setting, dates, ethics, funding, ...), from a file `about.yaml`.

For the sets that the project knows it is `config/about/<data set>.yaml`; for films of your own it lies beside the class
folders. What is unknown is left empty, or begins with the word `unknown`; checklists and cards print it as such.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from osteo_utils.study import commands, config, paths
from osteo_utils.study.parameters import nearest

NAME = "about.yaml"
UNKNOWN = "unknown"
LARGEST = 100_000
# Field, and what belongs into it. `authors` is a list, `design` one of DESIGNS, everything else a text.
FIELDS = {
    "title": "title of the study",
    "authors": "who is responsible for it, one name an entry",
    "contact": "whom to ask: an address that may be public",
    "aim": "the question, why it is asked, and what was expected",
    "intended_use": "what a model may be used for, by whom, with which training, and what it must not be used for",
    "population": "whose films: ages, sexes, other diagnoses, and whom they stand for",
    "setting": "hospitals or other sources; consecutive, random or convenience; devices and protocol of imaging",
    "dates": "when the films were taken",
    "design": "prospective, retrospective, synthetic or unknown",
    "eligibility": "which persons and films were eligible, and how they were found",
    "reference_standard": "how the label was made: method, site, cut-offs, and why this one",
    "readers": "who made the label, their training, how often two agreed",
    "blinding": "what those who made the label knew of the film, and the other way round",
    "interval": "time and treatment between film and reference standard",
    "ethics": "approval, with number, and consent; or why none was needed",
    "funding": "who paid, and what they had a say in",
    "conflicts_of_interest": "interests of the authors, commercial ones included; or none",
    "registration": "registration and protocol, with address; or none",
    "availability": "where data, code and models can be had, and on which terms",
}
DESIGNS = ("prospective", "retrospective", "synthetic", UNKNOWN)
_SCALARS = "null bool int float timestamp binary str"


def template() -> str:
    """A commented `about.yaml` in which every field is empty."""
    lines = [
        f"# What only you know of the study. Fill in what you know and put the file beside the class folders as {NAME}.",
        f"# An empty field is printed as not said; a text that begins with '{UNKNOWN}' as unknown.",
    ]
    for name, meaning in FIELDS.items():
        lines += [f"# {meaning}", f"{name}: []" if name == "authors" else f"{name}:"]
    return "\n".join(lines) + "\n"


def parse(text: str, where: str) -> dict[str, str | list[str]]:
    """The fields that `text` fills in; empty ones are left out. `where` names the file in errors.

    Raises ValueError, which names file, line and field, for bad YAML and for unknown, repeated or wrong fields.
    """
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(
            f"{where}, line {line}: not valid YAML ({error.problem}); expected lines of 'field: text'; put a text with "
            "a colon or quotes between quotes, or on lines of its own after '|'"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{where}: not valid YAML ({error}); expected lines of 'field: text'") from None
    if tree is None:
        return {}
    if not isinstance(tree, yaml.MappingNode):
        raise ValueError(f"{where}, line {tree.start_mark.line + 1}: expected lines of 'field: text'")
    found: dict[str, str | list[str]] = {}
    seen: set[str] = set()
    for key, value in tree.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else "..."
        if name not in FIELDS:
            raise ValueError(
                f"{where}, line {line}: unknown field {name!r}; {nearest(name, FIELDS)} Fields are {', '.join(FIELDS)}"
            )
        if name in seen:
            raise ValueError(f"{where}, line {line}: the field {name!r} is there twice; keep one of them")
        seen.add(name)
        if said := _value(name, value, f"{where}, line {line}: {name}"):
            found[name] = said
    return found


def _value(name: str, node: yaml.Node, where: str) -> str | list[str]:
    if name == "authors":
        if isinstance(node, yaml.ScalarNode) and _kind(node) == "null":
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise ValueError(f"{where}: expected a list, such as [A. Author, B. Author], found {_found(node)}")
        return [one for entry in node.value if (one := _text(entry, where))]
    text = _text(node, where)
    if name == "design" and text and text.lower() not in DESIGNS:
        raise ValueError(f"{where}: {text!r}; expected one of {', '.join(DESIGNS)}; {nearest(text, DESIGNS)}")
    return text


def _text(node: yaml.Node, where: str) -> str:
    kind = _kind(node)
    if kind == "null":
        return ""
    if kind not in ("str", "timestamp"):
        raise ValueError(f"{where}: expected a text, found {_found(node)}; put it between quotes if it is one")
    # Signs that turn the direction of writing would reach the pages.
    return commands.UNPRINTABLE.sub("", " ".join(node.value.split()))


def _kind(node: yaml.Node) -> str:
    return node.tag.rpartition(":")[2] if isinstance(node, yaml.ScalarNode) else ""


def _found(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        kind = _kind(node)
        return f"{node.value!r} ({kind if kind in _SCALARS.split() else node.tag})"
    return "a list" if isinstance(node, yaml.SequenceNode) else "fields within the field"


def read(path: Path) -> dict[str, str | list[str]]:
    """The fields of a file. Raises ValueError as `parse` does, for other encodings than UTF-8 and for large files."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes; expected a page of text, {LARGEST:,} at most")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return parse(text, str(path))


def source(settings: dict[str, Any]) -> Path | None:
    """The file of a study with these settings: beside its films, else the project's for the set; None without one.

    Raises ValueError for a file whose name is nearly right.
    """
    if settings["data_dir"]:
        folder = paths.home() / Path(settings["data_dir"]).expanduser()
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.lower() in (NAME, "about.yml"):
                if not path.is_file():
                    raise ValueError(f"{path}: expected a file that can be read; make it one, or take it away")
                if path.name != NAME:
                    raise ValueError(f"{path}: expected the name {NAME}; rename it, or it is not read")
                return path
    ours = paths.config_dir() / "about" / f"{settings['dataset']}.yaml"
    return ours if ours.is_file() else None


def store(settings: dict[str, Any], write: Any) -> Path:
    """Keep what was said as `params/about.yaml` of the study, rewritten only where it changes; returns that path.

    Notebook 08 and `publish` read it there, as they do not know the folder of the films. Raises ValueError as `read`.
    """
    path = source(settings)
    said = read(path) if path else {}
    kept = paths.StudyPaths(settings["study"]).params / NAME
    config.write_if_changed(kept, yaml.safe_dump(said, sort_keys=False, allow_unicode=False), write)
    return kept


def of_study(study: str, dataset: str) -> dict[str, str | list[str]]:
    """What was said of a study that the workflow ran; of one run by hand, what the project says of its set."""
    kept = paths.StudyPaths(study).params / NAME
    ours = paths.config_dir() / "about" / f"{dataset}.yaml"
    path = next((one for one in (kept, ours) if one.is_file()), None)
    return read(path) if path else {}


def is_unknown(said: str | list[str]) -> bool:
    """Whether a field says that it is not known."""
    return isinstance(said, str) and said.lower().startswith(UNKNOWN)
