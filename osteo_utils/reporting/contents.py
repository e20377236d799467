"""What the report says: a document of sections and blocks in which every number comes from saved results.

The document is plain JSON, so that HTML and PDF print the same. A block has a `kind`: `text`, `note`, `list`,
`table`, `claims`, `figure` or `missing`. For HTML, `origin` names the files that it comes from, and `pieces` are its text
in parts, each with the metric that it prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osteo_utils.evidence import suspects, trait_words
from osteo_utils.plots.style import NAMES
from osteo_utils.reporting import findings, front_page, interactive
from osteo_utils.reporting.provenance import claims_block, figure_block, told, with_origins
from osteo_utils.reporting.tables import (
    MODELS,
    Block,
    Metrics,
    nested_table,
    other_metrics,
    paper_figures,
    protocol_table,
    saved_table,
    subject_of,
    table,
)
from osteo_utils.reporting.text import NOTICE, PROTOCOLS, SECTIONS, Exhibit, Section
from osteo_utils.sources import registry
from osteo_utils.study import config
from osteo_utils.study.paths import StudyPaths

CLAIMS = Section(
    "claims",
    "The paper's claims, judged",
    "",
    figures=(Exhibit("headline*", "Every headline number with its interval; the paper's as a mark."),),
    tables=(
        Exhibit(
            "headline_numbers",
            "The headline numbers as a table.",
            True,
            ("name", "value", "low", "high", "paper", "n_files", "n_groups"),
        ),
        Exhibit("paper_contradictions", "Where the paper's own numbers do not agree.", optional=True),
        Exhibit(
            "paper_intervals",
            "Wilson's intervals of the accuracies that the paper prints without one, for several numbers of images "
            "tested. Without an interval where no count of right images rounds to the paper's number.",
            optional=True,
        ),
    ),
)
REFERENCE = Section(
    "reference",
    "What the labels are worth",
    "",
    figures=(
        Exhibit("reference_scores", "What the scores follow: the folder or the reference label.", optional=True),
        Exhibit(
            "traits_*",
            "{name}: what the folder name goes with among films of this class of the reference.",
            optional=True,
        ),
    ),
    tables=(
        Exhibit(
            "reference_counts",
            "Films, in brackets persons, by folder (rows) and reference label (columns).",
            optional=True,
        ),
        Exhibit(
            "reference_scores",
            "AUROC of each question with its interval over persons, and the range when labels are exchanged between them.",
            True,
            tuple("model question value low high chance chance_low chance_high p_value n_files n_groups".split()),
        ),
        Exhibit(
            "reference_probe",
            "A linear model on each network's features, trained on the reference label, persons kept apart.",
            optional=True,
        ),
        Exhibit(
            "traits_*",
            "{name}: what the folder name goes with among films of this class of the reference. AUROC of each family, of the "
            "best single traits and of the networks; the range of shuffled labels; the p value corrected for all that were "
            "asked; the median or commonest word of a trait in either folder. All traits are in tables/traits.csv.",
            True,
            tuple(
                "kind name value low high shuffled shuffled_low shuffled_high p_corrected normal osteoporosis n_files "
                "n_groups".split()
            ),
        ),
    ),
)
_LABELS, _FILMS = (
    "rank image_id class_name self_confidence spread suspect",
    "rank image_id class_name distance far mask",
)
SUSPECTS = Section(
    "suspects",
    "Films to look at",
    "",
    tables=(
        Exhibit("suspects_reference", "Films by what the reference label says of their folder.", True),
        Exhibit("suspect_labels", "Films whose label the scores contradict most.", True, tuple(_LABELS.split())),
        Exhibit("suspect_films", "Films farthest from those of other groups.", True, tuple(_FILMS.split())),
    ),
)
NESTED = Section(
    "nested",
    "Recipe and variant chosen by inner folds",
    "The headline numbers are of a recipe that was fixed before anything was known. Here recipe and variant are chosen "
    "for each fold by other folds of its training part, so the fold that is reported has no say.",
    tables=(
        Exhibit(
            "*_nested_choices",
            "{name}: mean AUROC of each candidate on inner folds; 1 marks the one that was chosen for the fold.",
            True,
            ("seed", "fold", "candidate", "inner_auroc", "chosen"),
        ),
    ),
)
_ANY = (Exhibit("*", "{name}.", optional=True),)
OTHER = Section("other", "Other figures and tables", "", _ANY, _ANY, _ANY)
# The sections that print tables by protocol, and of which models or topics.
BY_PROTOCOL = {model: (model, f"{model}-segmented") for model in MODELS}
BY_PROTOCOL |= {"shortcuts": ("texture",), "leakage": ("leakage",)}


def exhibits(section: Section, paths: StudyPaths, films: bool, used: set[Path]) -> list[Block]:
    """Tables and figures of a section that are not in `used` yet; an expected one that does not exist is listed."""
    blocks: list[Block] = []
    missing: list[str] = []
    places = [(section.tables, paths.tables, ".csv"), (section.figures, paths.figures, ".png")]
    if films:
        places.append((section.films, paths.films, ".png"))
    for wanted, folder, suffix in places:
        for exhibit in wanted:
            there = sorted(folder.glob(f"{exhibit.pattern}{suffix}"))
            found = [path for path in there if path not in used]
            used.update(found)
            blocks += [_exhibit(path, exhibit) for path in found]
            if not there and not exhibit.optional:
                missing.append(f"{folder.relative_to(paths.reports).as_posix()}/{exhibit.pattern}{suffix}")
    if missing:
        blocks.append({"kind": "missing", "items": missing})
    if section.films and not films:
        blocks.append({"kind": "note", "text": "Figures that show films were left out of this copy."})
    return blocks


def _exhibit(path: Path, exhibit: Exhibit) -> Block:
    caption = exhibit.caption.format(name=path.stem.replace("_", " "))
    caption = caption[:1].upper() + caption[1:]
    if path.suffix == ".csv":
        return saved_table(path, caption, exhibit.columns)
    return figure_block(path, caption)


def methods(runs: findings.Runs) -> list[Block]:
    """Protocols in words, intervals, and every parameter that the notebooks recorded."""
    parameters = {name: value for about in runs.values() for name, value in about["parameters"].items()}
    resamples = parameters.get("bootstrap_resamples")
    rows = [
        [name, ", ".join(map(str, value)) if isinstance(value, list) else str(value), config.PARAMETERS[name].meaning]
        for name, value in parameters.items()
        if name in config.PARAMETERS
    ]
    interval = (
        "Each value is computed on out-of-fold predictions: every image is scored once by a model that was fitted "
        "without it. Its 95 % interval comes from resampling groups with replacement"
    )
    recorded = {"origin": [f"metrics/{notebook}.json" for notebook in runs]}
    interval += f", {resamples:,} times." if resamples else "."
    return [
        table("Protocols.", ["protocol", "what it is"], [[NAMES[key], text] for key, text in PROTOCOLS.items()]),
        {"kind": "text", "text": interval},
        table("Parameters, as the notebooks recorded them.", ["parameter", "value", "meaning"], rows) | recorded,
    ]


def numbers_of(section: Section, metrics: Metrics, parameters: Mapping[str, Any]) -> list[Block]:
    """What a section prints from metrics; `parameters` are those of notebook 01."""
    if section.key == "external":
        return findings.external(metrics)
    if section.key == "segmentation":
        return other_metrics(metrics, "segmentation", "Bone masks in numbers.")
    if section.key == "data":
        known = registry.get(parameters["dataset"])
        return [
            {"kind": "text", "text": f"{known.title}. Source: {known.source}. Licence: {known.licence}."},
            {"kind": "note", "text": known.labels},
            told(lambda read: f"{findings.osteopenia(read, parameters)} {findings.patients(read)}", metrics),
            told(findings.decisions, metrics),
            *other_metrics(metrics, "data", "The data in numbers."),
        ]
    blocks = [block for name in BY_PROTOCOL.get(section.key, ()) for block in protocol_table(metrics, name)]
    if section.key == "ensemble":
        blocks.append(told(findings.whether_combining_helps, metrics))
        blocks += other_metrics(metrics, "comparison", "Differences, first minus second.")
    return blocks


def appendix(metrics: Metrics) -> list[Block]:
    """Every number that no section prints, by topic, so that the report shows all that was saved."""
    blocks = []
    for topic in dict.fromkeys(subject_of(name) for name in metrics):
        if topic not in ("data", "segmentation", "comparison", "external"):
            title = NAMES.get(topic, topic.replace("_", " ").capitalize())
            blocks += other_metrics(metrics, topic, f"{title}: all numbers that no section prints.")
    return [{**block, "folded": True} for block in blocks]


def _section(key: str, title: str, blocks: list[Block]) -> dict[str, Any]:
    return {"key": key, "title": title, "blocks": [block for block in blocks if block.get("text") != ""]}


def document(
    paths: StudyPaths,
    metrics: Metrics,
    runs: findings.Runs,
    claims: list[dict[str, Any]],
    films: bool,
    origins: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The whole report as plain data: title, subtitle, notice, sections of blocks, and what can be moved in HTML."""
    about_data = runs["01_data_download"]["parameters"]
    dataset = about_data["dataset"]
    # The first holds file names of another owner; its counts stand in the section on the external set. The rows of the
    # second are those of known_without_networks. The third lists films one by one. The best of the last are in traits_*.
    listed = ("external_overlap", "shortcuts", "reference_differs", "traits")
    used = {paths.tables / f"{name}.csv" for name in listed}
    front = front_page.sections(paths, metrics, claims, dataset)
    used.add(front_page.figure_of(paths))
    counterparts, same = paper_figures(paths, films)
    used |= same
    labels = exhibits(REFERENCE, paths, films, used)
    sorted_by = [{"kind": "text", "text": text} for text in trait_words.what_sorts_the_folders(metrics)]
    labels = [told(findings.what_the_scores_follow, metrics), *sorted_by, *labels]
    doubted = exhibits(SUSPECTS, paths, films, used)
    if doubted:
        doubted = [told(suspects.in_words, metrics), *doubted]
    chosen = nested_table(metrics)
    if chosen:
        chosen = [{"kind": "text", "text": NESTED.opening}, *chosen, *exhibits(NESTED, paths, films, used)]
    body = [
        _section(
            section.key,
            section.title,
            [
                {"kind": "text", "text": section.opening},
                *numbers_of(section, metrics, about_data),
                *exhibits(section, paths, films, used),
            ],
        )
        for section in SECTIONS
    ]
    published = findings.published() if dataset == "phantom" else []
    limits = findings.limits(metrics, runs, dataset)
    sections = [
        _section("published", "The paper on the real films, as published here", published),
        _section(CLAIMS.key, CLAIMS.title, [claims_block(claims, metrics), *exhibits(CLAIMS, paths, films, used)]),
        _section("paper_figures", "The paper's figures", counterparts),
        _section(REFERENCE.key, REFERENCE.title, labels),
        _section(SUSPECTS.key, SUSPECTS.title, doubted),
        _section(NESTED.key, NESTED.title, chosen),
        *body,
        # After all sections above: it shows whatever they have not taken.
        _section(OTHER.key, OTHER.title, exhibits(OTHER, paths, films, used)),
        _section("methods", "Methods", methods(runs)),
        _section("environment", "Environment and run time", findings.environment(runs)),
        _section("limits", "Limits", [{"kind": "list", "items": limits}]),
        _section("numbers", "Appendix: all other numbers", appendix(metrics)),
    ]
    sections = [section for section in sections if section["blocks"]]
    with_origins([block for section in [*front, *sections] for block in section["blocks"]], origins)
    return {
        "title": "Osteoporosis Prediction Using VGG16 and ResNet50: a reproduction",
        "subtitle": f"Study {paths.study}, data set {dataset}, seed {about_data['seed']}; "
        f"results of {max(about['finished'] for about in runs.values())[:10]}",
        "notice": NOTICE,
        "front": front,
        "sections": sections,
        "origins": origins,
        "thresholds": interactive.thresholds(paths, runs["04_vgg16"]["parameters"]),
        "lab": interactive.lab(metrics),
    }
