"""What notebook 08 and the report both show: the films, the headline numbers, the paper's numbers, run times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from osteo_utils.papers import claims, printed_report
from osteo_utils.plots.style import NAMES
from osteo_utils.reporting.tables import MODELS, Block, Metrics, as_text, needed, other_metrics, printed, table
from osteo_utils.reporting.text import LIMITS, METRICS, ONE_SET, PROTOCOLS
from osteo_utils.sources import registry
from osteo_utils.study import paths, results

# The study of the real films whose results the repository holds.
PUBLISHED = "knee744"
Runs = Mapping[str, Mapping[str, Any]]
SCORES = ("auroc", "accuracy", "sensitivity", "specificity")
# What follows a model in a metric's name, and in print, for each variant.
_VARIANTS = {
    "/grouped": "",
    "-segmented/grouped": ", bone alone",
    "-background/grouped/none": ", bone taken out (probe)",
}


def osteopenia(metrics: Metrics, parameters: Mapping[str, Any]) -> str:
    """The rule for films of osteopenia and how many there are; `parameters` are those of notebook 01."""
    count, rule = needed(metrics, "data/osteopenia"), parameters["osteopenia"]
    if not count.value:
        return "The set has no films of osteopenia, the class between the two."
    made = "are left out" if rule == "exclude" else f"count as {rule}"
    return f"By the study's rule, the {as_text(count)} films of osteopenia, the class between the two, {made}."


def patients(metrics: Metrics) -> str:
    """Whether films of one person were kept together."""
    count = needed(metrics, "data/patients")
    if not count.value:
        return (
            "Persons are not known, as no patients.csv was given, so films were joined by what they show alone, and "
            "patient-level leakage is unknown: two films of one person that are no copies may lie on both sides of a split."
        )
    usable = int(needed(metrics, "data/usable").value)
    text = f"For {count.n_files} of {usable} films the person is known, {as_text(count)} in all; films of one person stay together"
    rest = usable - (count.n_files or 0)
    return f"{text}." if not rest else f"{text}. For the other {rest}, patient-level leakage is unknown."


def decisions(metrics: Metrics) -> str:
    """What people decided about films, by verdict; empty where there was no table of decisions."""
    if "data/decided_same" not in metrics:
        return ""
    same, different, out, kept = (
        as_text(needed(metrics, f"data/decided_{name}")) for name in ("same", "different", "exclude", "keep")
    )
    return (
        f"People decided, and every step follows: pairs of one knee {same}, pairs of two knees {different}, films left "
        f"out {out}, films looked at and kept {kept}."
    )


def external(metrics: Metrics) -> list[Block]:
    """How much of the external set overlaps with the study, and the scores on the rest; or that there was none."""
    if "external/files" not in metrics:
        return [{"kind": "text", "text": "No external set was given."}]
    files, overlap, kept = (needed(metrics, f"external/{name}") for name in ("files", "overlap_files", "scored_files"))
    people = needed(metrics, "external/patients").value and needed(metrics, "data/patients").value
    text = (
        f"Of {as_text(files)} usable films of the external set, {as_text(overlap)} show a knee or a patient of the study and "
        f"were left out; {as_text(kept)} could be scored. "
    )
    text += (
        "Both sets name patients, so these were compared as well."
        if people
        else "Not both sets name patients, so whether they share patients by other films is unknown."
    )
    counts = other_metrics(metrics, "external", "The external set in numbers.")
    return [{"kind": "text", "text": text}, *counts, _external_scores(metrics)]


def _external_scores(metrics: Metrics) -> Block:
    """Each model on the external films beside its AUROC on the study's own."""
    rows = []
    for model in MODELS:
        cells = [metrics.get(f"{model}/external/{name}") for name in SCORES]
        if cells[0] is not None:
            own = printed(metrics, f"{model}/grouped/auroc")
            about = [NAMES[model], f"{cells[0].n_files:,}", f"{cells[0].n_groups:,}"]
            rows.append([*about, *(printed(metrics, f"{model}/external/{name}") for name in SCORES), own])
    if not rows:
        return {"kind": "text", "text": "Nothing was scored, as films of both classes must be left."}
    heads = ["model", "files", "groups", *(METRICS[name] for name in SCORES), "AUROC on the study's own films"]
    return table("Scores on the external films: value and 95 % interval.", heads, rows)


def facts(metrics: Metrics, runs: Runs) -> dict[str, Any]:
    """What `claims.verdicts` and notebook 08 need of the data: name, whether synthetic, counts."""
    dataset = runs["01_data_download"]["parameters"]["dataset"]
    counts = {f"n_{name}": int(metrics[f"data/{name}"].value) for name in ("files", "groups", "conflicts")}
    return {"dataset": dataset, "synthetic": dataset == "phantom", **counts}


def headline(metrics: Metrics) -> pd.DataFrame:
    """Accuracy and AUROC of each model under `grouped` on each variant, and the paper's number where it has one.

    Columns name, metric, value, low, high, paper, n_files, n_groups; a row for each metric that was saved.
    """
    printed = claims.printed_accuracies()
    rows = []
    for score in ("accuracy", "auroc"):
        for model in MODELS:
            for variant, words in _VARIANTS.items():
                name = f"{model}{variant}/{score}"
                if name in metrics:
                    about = {"name": f"{NAMES[model]}{words}: {METRICS[score]}", "metric": name}
                    rows.append(about | asdict(metrics[name]) | {"paper": printed.get(name)})
    columns = ["name", "metric", "value", "low", "high", "paper", "n_files", "n_groups"]
    return pd.DataFrame(rows)[columns].astype({"paper": float})


def published_claims() -> list[dict[str, Any]]:
    """The verdicts on the real films that the repository holds; empty where it holds none."""
    path = paths.code_root() / "reports" / "published" / PUBLISHED / "claims.json"
    return results.read_json(path) if path.is_file() else []


def published() -> list[Block]:
    """Verdicts and headline numbers of the real films, as this repository publishes them; empty where it does not.

    For the report of a synthetic study, which says nothing about the paper's result itself.
    """
    folder = paths.code_root() / "reports" / "published" / PUBLISHED
    if not (judged := published_claims()):
        return []
    metrics = results.load_metrics(folder)
    finished = max(results.read_json(path)["_run"]["finished"] for path in (folder / "metrics").glob("*.json"))
    numbers = headline(metrics)
    rows = [
        [row.name, as_text(metrics[row.metric]), "" if pd.isna(row.paper) else f"{row.paper:.2f}"]
        for row in numbers.itertuples(index=False)
    ]
    note = (
        f"Not computed by this run. These results come with the repository: study {PUBLISHED}, the "
        f"{as_text(needed(metrics, 'data/files'))} real films, finished {finished[:10]}."
    )
    return [
        {"kind": "note", "text": note},
        {"kind": "text", "text": what_the_scores_follow(metrics)},
        {"kind": "claims", "rows": judged, "short": False, "beside": {}, "origin": []},
        table("Published headline numbers: value and 95 % interval.", ["name", "published", "paper"], rows),
    ]


def paper_report() -> pd.DataFrame:
    """The classification report of the paper's Fig. 5, as printed."""
    return pd.DataFrame(_fig5().rows, columns=["class", "precision", "recall", "f1-score", "support"])


def fig5_matrices() -> pd.DataFrame:
    """Every confusion matrix of whole images that prints as Fig. 5: counts and accuracy."""
    columns = ["normal, right", "normal, wrong", "osteoporosis, wrong", "osteoporosis, right"]
    found = printed_report.matrices_printing_as(_fig5())
    table = pd.DataFrame([matrix.ravel() for matrix in found], columns=columns)
    return table.assign(images=table.sum(axis=1), accuracy=[matrix.trace() / matrix.sum() for matrix in found])


def _fig5() -> printed_report.PrintedReport:
    text = next(claim["report"] for claim in claims.load()["claims"] if "report" in claim)
    return printed_report.parse_report(text)


def whether_combining_helps(metrics: Metrics) -> str:
    """Say in one sentence for each metric whether averaging both models beats the better one; "" when not compared.

    From `comparison/ensemble-single_best/grouped/<metric>` and its `/detectable`: it helps where the whole 95 %
    interval is above zero, harms where it is below, and is otherwise not shown to help.
    """
    sentences = []
    for score in ("auroc", "accuracy"):
        name = f"comparison/ensemble-single_best/grouped/{score}"
        if name not in metrics:
            continue
        gap = metrics[name]
        verdict = "helps" if gap.low > 0 else "harms" if gap.high < 0 else "is not shown to help"
        sentence = (
            f"By {METRICS[score]}, averaging both models {verdict}: it differs from the single best, chosen on the "
            f"other folds, by {gap.value:+.3f} (95 % interval {gap.low:+.3f} to {gap.high:+.3f})"
        )
        if f"{name}/detectable" in metrics:
            least = metrics[f"{name}/detectable"].value
            sentence += f"; with these films a true difference of {least:.3f} is found four times in five"
        sentences.append(f"{sentence}.")
    return " ".join(sentences)


def what_the_scores_follow(metrics: Metrics) -> str:
    """Say how far a reference label agrees with the folders, and which of the two the combined scores follow; "" without one.

    From `reference/...`. The scores follow a label more where the whole interval of the difference of their AUROCs, paired
    by film, lies on its side of 0. What sorts the folders is not the reference's class where the scores tell them apart,
    whole interval above 0.5, among films of osteopenia.
    """
    if "reference/osteopenia" not in metrics:
        return ""
    middle = metrics["reference/osteopenia"]
    text = f"A reference label ({middle.note}) is known for {middle.n_files} films of {middle.n_groups} persons. "
    if middle.value:
        text += f"{middle.value:.0%} of them ({middle.low:.0%} to {middle.high:.0%}) are osteopenia by it, a class that the networks do not have"
    else:
        text += "None of them is osteopenia by it"
    if same := metrics.get("reference/same"):
        text += f"; of the others {same.value:.0%} ({same.low:.0%} to {same.high:.0%}) count as the class that it names"
    if kappa := metrics.get("reference/kappa"):
        text += f". Cohen's kappa for osteoporosis or not is {kappa}"
    scores = {name: metrics.get(f"reference/ensemble/{name}/auroc") for name in (
        "folder_extremes", "reference_extremes", "folder_osteopenia",
    )}  # fmt: skip
    folder, reference, between = scores.values()
    gap = metrics.get("reference/ensemble/folder_minus_reference/auroc")
    if folder and reference:
        text += (
            f". Among films that it calls normal or osteoporosis the combined networks reach AUROC {folder} at the folder "
            f"and {reference} at the reference label: "
        )
        if gap is None or gap.low <= 0 <= gap.high:
            text += "neither is shown to be followed more"
        else:
            text += f"they follow the {'folder' if gap.low > 0 else 'reference label'} more"
        if gap:
            text += f" (difference on the same films {gap.value:+.3f}, {gap.low:+.3f} to {gap.high:+.3f})"
        if reference.low <= 0.5 <= reference.high:
            text += ", and chance, 0.5, lies within the interval at the reference label"
    if between and between.low > 0.5:
        text += (
            f". They also tell the folders apart, AUROC {between}, among films that all are osteopenia by the "
            "reference label, so something other than that class sorts them"
        )
    return f"{text}."


def by_split(metrics: Metrics) -> pd.DataFrame:
    """The accuracy of each model under each split, as text with its interval: one row a model, one column a split."""
    cells = {
        NAMES[model]: {
            NAMES[protocol]: str(metrics[name])
            for protocol in PROTOCOLS
            if (name := f"{model}/{protocol}/accuracy") in metrics
        }
        for model in MODELS
    }
    return pd.DataFrame(cells).T.fillna("not saved")


def run_times(runs: Runs) -> pd.DataFrame:
    """Seconds, peak memory and hashes of code and parameters, one row a notebook."""
    columns = {
        "seconds": "seconds",
        "peak_memory_gib": "peak memory (GiB)",
        "code_sha256": "code",
        "parameters_sha256": "parameters",
    }
    table = pd.DataFrame(runs).T[list(columns)].rename(columns=columns)
    return table.assign(code=table["code"].str[:12], parameters=table["parameters"].str[:12])


def environment(runs: Runs) -> list[Block]:
    """Run time, memory, hashes and versions, from what each notebook recorded of itself."""
    times = run_times(runs)
    times.insert(2, "finished (UTC)", [about["finished"] for about in runs.values()])
    shown = times.assign(
        seconds=times["seconds"].map("{:,.0f}".format),
        **{"peak memory (GiB)": times["peak memory (GiB)"].map("{:.2f}".format)},
    )
    every = pd.DataFrame([about["versions"] for about in runs.values()])
    versions = [[name, " / ".join(every[name].dropna().unique())] for name in sorted(every)]
    recorded = {"origin": [f"metrics/{notebook}.json" for notebook in runs]}
    caption = "Run time, memory, and the first twelve digits of the hashes of code and parameters."
    return [
        {"kind": "text", "text": f"The notebooks took {times['seconds'].sum() / 60:.1f} minutes together."},
        table(caption, ["notebook", *shown.columns], list(map(list, shown.itertuples(name=None)))) | recorded,
        table("Versions.", ["package", "version"], versions) | recorded,
    ]


def limits(metrics: Metrics, runs: Runs, dataset: str) -> list[str]:
    """What the numbers cannot show, given this study's settings."""
    settings = runs["04_vgg16"]["parameters"]
    seeds = settings.get("split_seeds", [])
    if settings.get("primary_recipe") != "none":
        seeds = seeds[: settings.get("trained_seeds", len(seeds))]
    found = [registry.get(dataset).labels, *([] if "external/files" in metrics else [ONE_SET]), *LIMITS]
    if len(seeds) == 1:
        found.append(
            f"Headline numbers come from one split seed only ({seeds[0]}): another split would move every number."
        )
    return found
