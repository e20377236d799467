"""What a run can say of itself: facts, each a few sentences filled with saved numbers, and where those stand.

The sentences are data (`guidelines/facts.yaml`); `{a/metric}` becomes its value with interval, `{size a/metric}` its films
and groups, `{04.epochs}` a parameter of notebook 04, `{set.licence}` an entry of the registry, `{rule name}` what a rule
of this room says, and `{@tables/flow.csv}` nothing but a link. A sentence that lacks one of them is not in this run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from osteo_utils.papers import claims
from osteo_utils.plots.style import NAMES
from osteo_utils.reporting import findings, front_page
from osteo_utils.reporting.report import recorded_runs
from osteo_utils.reporting.tables import MODELS, as_text, flow_in_words, lowest_and_highest, needed, worst_perturbations
from osteo_utils.reporting.text import LIMITS
from osteo_utils.sources import registry
from osteo_utils.study import config, results
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate

FOLDER = Path(__file__).parent / "guidelines"
PLACE = re.compile(r"\{([^{}]+)\}")
NOTEBOOKS = {name[:2]: name for name in config.NOTEBOOKS}
# Made by notebook 08 in the same go as the pages that link to them.
REPORT = ("report.html", "report.pdf")
CLAIMED = tuple(claim["tests"][0] for claim in claims.load()["claims"] if claim["unit"] == "accuracy")
TWO_BY_TWO = tuple(f"comparison/two_by_two/grouped/{name}/accuracy" for name in ("segmenting", "combining"))


class NotInRun(Exception):
    """A value that this run did not save; the text says which and why."""


@dataclass(frozen=True)
class Link:
    """A file of the study's folder in which a value stands, and what to look for in it."""

    target: str
    words: str = ""


@dataclass
class Fact:
    """Sentences of a run, links to where their values stand, and why the other sentences could not be said."""

    said: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Study:
    """The saved results of a study."""

    name: str
    metrics: Mapping[str, Estimate]
    homes: Mapping[str, str]
    runs: findings.Runs
    verdicts: list[dict[str, Any]]

    @property
    def reports(self) -> Path:
        """Its folder under reports/."""
        return StudyPaths(self.name).reports

    @property
    def first(self) -> Mapping[str, Any]:
        """The parameters of notebook 01."""
        return self.runs[NOTEBOOKS["01"]]["parameters"]

    @property
    def dataset(self) -> str:
        """The data set, as the registry names it."""
        return self.first["dataset"]

    def file(self, target: str) -> Link:
        """A link to a file that the study has; NotInRun without it."""
        if target.partition("#")[0] not in REPORT and not (self.reports / target).is_file():
            raise NotInRun(f"{target} is not among the results")
        return Link(target)

    def table(self, name: str) -> pd.DataFrame:
        """A saved table; NotInRun without it."""
        return results.read_table(self.reports / self.file(f"tables/{name}.csv").target)


def load(study: str) -> Study:
    """All saved results. FileNotFoundError or ValueError names what is missing or broken."""
    paths = StudyPaths(study)
    runs = recorded_runs(study)
    homes = {name: notebook for notebook in runs for name in results.read_json(paths.metrics / f"{notebook}.json")}
    verdicts = results.read_json(paths.claims) if paths.claims.is_file() else []
    return Study(study, results.load_metrics(paths.reports), homes, runs, verdicts)


@cache
def sentences() -> dict[str, list[str]]:
    """The sentences of each fact."""
    return yaml.safe_load((FOLDER / "facts.yaml").read_text("utf-8"))


def fact(study: Study, name: str) -> Fact:
    """What the run says of one topic; KeyError for a topic without sentences."""
    made = Fact()
    for sentence in sentences()[name]:
        links: list[Link] = []
        try:
            text = PLACE.sub(partial(_filled, study, links), sentence)
        except NotInRun as reason:
            made.missing.append(str(reason))
            continue
        made.said += [said] if (said := " ".join(text.split())) else []
        made.links += [link for link in links if link not in made.links]
    return made


def _filled(study: Study, links: list[Link], found: re.Match[str]) -> str:
    """The text for one place of a sentence; its links are added to `links`."""
    place = found[1]
    word, _, rest = place.partition(" ")
    if place.startswith("@"):
        links.append(study.file(place[1:]))
        return ""
    if word == "rule":
        return RULES[rest](study, links)
    if word == "set":
        return _registered(study, rest)
    if re.fullmatch(r"\d\d\.\w+", place):
        return _parameter(study, place, links)
    one = metric(study, rest if word == "size" else place, links)
    if word == "size" and None in (one.n_files, one.n_groups):
        raise NotInRun(f"the number of films and groups behind {rest} was not saved")
    return f"{one.n_files:,} films of {one.n_groups:,} groups" if word == "size" else as_text(one)


def metric(study: Study, name: str, links: list[Link]) -> Estimate:
    """A saved metric, with its place added to `links`; NotInRun without it."""
    if name not in study.metrics:
        raise NotInRun(f"the metric {name} was not saved")
    links.append(Link(f"metrics/{study.homes[name]}.json", name))
    return study.metrics[name]


def _parameter(study: Study, place: str, links: list[Link]) -> str:
    number, _, name = place.partition(".")
    notebook = NOTEBOOKS[number]
    if name not in study.runs[notebook]["parameters"]:
        raise NotInRun(f"the parameter {name} was not recorded by {notebook}")
    value = study.runs[notebook]["parameters"][name]
    value = Path(value).name if name.endswith("_weights") else value  # a file of this machine
    links.append(Link(f"metrics/{notebook}.json", f"_run, parameter {name}"))
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _registered(study: Study, name: str) -> str:
    if not (text := getattr(registry.get(study.dataset), name)):
        raise NotInRun(f"the registry of data sets has no {name} for {study.dataset}")
    return text.rstrip(".")


def _of_metrics(words: Callable[[Study], str], *names: str) -> Callable[[Study, list[Link]], str]:
    """A rule of another room as one of this, with links to the metrics it prints.

    `names` are names or beginnings of names. What the rule misses is not in this run; nor is it where the rule finds
    nothing to say.
    """

    def rule(study: Study, links: list[Link]) -> str:
        try:
            text = words(study)
        except ValueError as problem:
            raise NotInRun(str(problem).removeprefix("metrics: ")) from None
        if not text:
            raise NotInRun(f"nothing was saved under {', '.join(names)}")
        for start in names:
            begun = {name: one for name, one in study.metrics.items() if name.startswith(start)}
            printed = [name for name, one in begun.items() if one.low is not None and as_text(one) in text]
            for name in [start] if start in begun else printed or list(begun)[:1]:
                metric(study, name, links)
        return text

    return rule


def _finding(topic: str, *needs: str) -> Callable[[Study], str]:
    def words(study: Study) -> str:
        for name in needs:
            needed(study.metrics, name)
        found = front_page.by_topic(study.metrics, study.dataset, topic)
        return f"{found['lead']} {found['text']}" if found else ""

    return words


def _labels(study: Study) -> str:
    text = _finding("labels")(study)
    if "reference/kappa" not in study.metrics:
        raise ValueError(text.rstrip("."))
    return text


def _claimed(study: Study, links: list[Link]) -> str:
    """Nothing where every accuracy that the paper claims was measured."""
    for name in CLAIMED:
        metric(study, name, links)
    return ""


def _external(study: Study) -> str:
    if "external/files" not in study.metrics:
        raise ValueError("no external set was given")
    names = {model: f"{model}/external/auroc" for model in MODELS}
    scores = [f"{NAMES[one]} {as_text(study.metrics[name])}" for one, name in names.items() if name in study.metrics]
    return f"{findings.external(study.metrics)[0]['text']} AUROC there: {'; '.join(scores) or 'nothing was scored'}."


def _of_tables(words: Callable[..., str], *names: str) -> Callable[[Study, list[Link]], str]:
    """What `words` makes of saved tables; NotInRun without them, or where they hold nothing to say."""

    def rule(study: Study, links: list[Link]) -> str:
        text = words(*(study.table(name) for name in names))
        if not text:
            raise NotInRun(f"no row of {', '.join(names)} says it")
        links += [study.file(f"tables/{name}.csv") for name in names]
        return text

    return rule


def _calibrated(study: Study, links: list[Link]) -> str:
    said = []
    for model in MODELS:
        slope = metric(study, f"{model}/grouped/calibration_slope", links)
        verdict = "too extreme" if slope.high < 1 else "too cautious" if slope.low > 1 else "not shown to be off"
        said.append(f"{NAMES[model]} {as_text(slope)}, probabilities {verdict}")
    return "; ".join(said)


def _versions(study: Study, links: list[Link]) -> str:
    every = pd.DataFrame([run["versions"] for run in study.runs.values()])
    links.append(Link(f"metrics/{NOTEBOOKS['05']}.json", "_run, versions"))
    return ", ".join(f"{name} {' / '.join(every[name].dropna().unique())}" for name in every)


def _took(study: Study, _: list[Link]) -> str:
    seconds = sum(run["seconds"] for run in study.runs.values())
    memory = max(run["peak_memory_gib"] for run in study.runs.values())
    return f"{seconds / 60:.1f} minutes in the last run, at most {memory:.2f} GiB of memory"


def _command(study: Study, _: list[Link]) -> str:
    if study.name not in config.studies() and not StudyPaths(study.name).own_config.is_file():
        raise NotInRun(f"{study.name} is no study of the command line, so no command makes it again")
    return f"./run_all.sh {study.name}"


def _hashes(study: Study, _: list[Link]) -> str:
    keys = ("code_sha256", "parameters_sha256")
    return ", ".join(f"{name[:2]} {'/'.join(run[key][:12] for key in keys)}" for name, run in study.runs.items())


def _verdicts(study: Study, _: list[Link]) -> str:
    if not study.verdicts:
        raise NotInRun("claims.json is not among the results; run 08_report")
    return "; ".join(f"{row['id']} ({row['claim']}): {row['verdict']}" for row in study.verdicts)


RULES: dict[str, Callable[[Study, list[Link]], str]] = {
    "question": _of_metrics(lambda study: front_page.question(study.metrics, study.dataset), "data/usable", "data/knees"),
    "copies": _of_metrics(_finding("copies"), "data/copied_files", "data/conflicts"),
    "honest": _of_metrics(_finding("honest", CLAIMED[0]), *(name.removesuffix("accuracy") for name in CLAIMED), "ensemble/grouped/"),
    "claimed": _claimed,
    "leaks": _of_metrics(_finding("leaks"), "leakage/"),
    "labels": _of_metrics(_labels, "reference/kappa", "reference/ensemble/"),
    "combining": _of_metrics(_finding("combining", *TWO_BY_TWO), *TWO_BY_TWO),
    "without_bone": _of_metrics(_finding("without_bone"), "shortcut/", "resnet50/grouped/auroc"),
    "persons": _of_metrics(lambda study: findings.patients(study.metrics), "data/patients"),
    "osteopenia": _of_metrics(lambda study: findings.osteopenia(study.metrics, study.first), "data/osteopenia"),
    "external": _of_metrics(_external, "external/files", "vgg16/external/auroc", "resnet50/external/auroc"),
    "limits": lambda study, links: " ".join(front_page.limits(study.metrics, study.dataset)),
    "training_luck": lambda study, links: LIMITS[1],
    "flow": _of_tables(flow_in_words, "flow"),
    "subgroups": _of_tables(lowest_and_highest, "ensemble_subgroups"),
    "perturbed": _of_tables(worst_perturbations, "vgg16_perturbed", "resnet50_perturbed"),
    "calibrated": _calibrated,
    "versions": _versions, "took": _took, "hashes": _hashes, "verdicts": _verdicts, "command": _command,
}  # fmt: skip
