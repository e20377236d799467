"""The paper's claims as data, and a verdict on each by rule.

`./run_all.sh claims report.txt` checks any printed classification report.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from osteo_utils.papers.printed_report import (
    Possible,
    PrintedReport,
    arithmetic,
    interval_of_printed,
    parse_report,
    plural,
    span_of,
)
from osteo_utils.sources import table_files
from osteo_utils.statistics.metrics import wilson
from osteo_utils.study import commands
from osteo_utils.study.results import Estimate

REPRODUCED, WITHIN, NOT_REPRODUCED = "reproduced", "within interval", "not reproduced"
IMPOSSIBLE, UNDECIDABLE = "arithmetically impossible as described", "undecidable"
SYNTHETIC, OTHER_FILMS = "not applicable: synthetic", "not applicable: other films"
# From here on Landis and Koch (Biometrics 33, 1977) call agreement moderate.
MODERATE = 0.41
VERDICTS = (REPRODUCED, WITHIN, NOT_REPRODUCED, IMPOSSIBLE, UNDECIDABLE, SYNTHETIC, OTHER_FILMS)


def load() -> dict[str, Any]:
    """Read the paper's claims (`claims.yaml` of this package)."""
    return yaml.safe_load(resources.files(__package__).joinpath("claims.yaml").read_text("utf-8"))


def printed_accuracies() -> dict[str, float]:
    """The accuracies that the paper gives, each by the metric that stands for it here."""
    return {claim["tests"][0]: claim["paper"] for claim in load()["claims"] if claim["unit"] == "accuracy"}


def verdicts(
    metrics: Mapping[str, Estimate], facts: Mapping[str, Any], claims: Mapping[str, Any] | None = None
) -> list[dict[str, str]]:
    """Judge every claim by its rule: one dict of id, where, claim, paper, ours, verdict, why.

    `facts` holds dataset (name) and synthetic (bool). On a synthetic set only arithmetic is judged, and a claim on the
    paper's own films on no other set. Raises KeyError for an unknown rule, ValueError for missing facts.
    """
    if missing := [name for name in ("dataset", "synthetic") if name not in facts]:
        raise ValueError(f"facts lack {missing}; expected at least the data set's name and whether it is synthetic")
    paper = load() if claims is None else claims
    return [_judge(claim, metrics, facts, paper) for claim in paper["claims"]]


def contradictions(claims: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
    """Where the paper's own numbers contradict each other: one dict of claims (ids) and contradiction each."""
    paper = load() if claims is None else claims
    by_id = {claim["id"]: claim for claim in paper["claims"]}
    found = []
    for claim in paper["claims"]:
        if "report" in claim:
            report = parse_report(claim["report"])
            checked = arithmetic(report, paper["images"], paper["class_sizes"])
            found += [(f"C1, {claim['id']}", text) for text in checked.contradictions]
            total, share = sum(report.supports), report.supports[1] / sum(report.supports)
            if total >= paper["images"]:
                text = f"the images tested are said to be new to the model, yet {total} of {paper['images']} are scored"
                found.append((f"C2, {claim['id']}", text))
            whole = paper["class_sizes"][1] / sum(paper["class_sizes"])
            if abs(share - whole) > 0.01:
                text = f"a stratified test set keeps the share of osteoporosis, {whole:.0%}; the report has {share:.0%}"
                found.append((f"C2, {claim['id']}", text))
            if report.accuracy is not None and round(claim["paper"], report.digits) != report.accuracy:
                text = f"the text says {claim['paper']:.0%}, the report prints {report.accuracy:.{report.digits}f}"
                found.append((claim["id"], text))
        for member in claim.get("better_than", []):
            if claim["paper"] < by_id[member]["paper"]:
                text = f"the combination reaches {claim['paper']:.0%}, its own member {by_id[member]['paper']:.0%}"
                found.append((f"{member}, {claim['id']}", text))
        if "difference_of" in claim:
            first, second = (by_id[name]["paper"] for name in claim["difference_of"])
            if abs(first - second - claim["paper"]) > 1e-9:
                text = f"{first:.0%} and {second:.0%} are {100 * (first - second):.0f} points apart, not {100 * claim['paper']:.0f}"
                found.append((f"{', '.join(claim['difference_of'])}, {claim['id']}", text))
    return [{"claims": ids, "contradiction": text} for ids, text in found]


def intervals_of_printed() -> list[dict[str, Any]]:
    """Binomial intervals for each accuracy that the paper prints without one, for test sets of several sizes.

    The paper does not say how large its test set was. Images count as independent, which copies are not, so the true
    intervals are wider. Keys id, tested, accuracy, low, high; the last two are None where no count of that many images
    prints so.
    """
    paper, rows = load(), []
    for claim in paper["claims"]:
        if claim["unit"] == "accuracy":
            for share in (0.1, 0.2, 0.3, 1.0):
                n = round(share * paper["images"])
                low, high = interval_of_printed(claim["paper"], n, digits=2) or (None, None)
                rows.append({"id": claim["id"], "tested": n, "accuracy": claim["paper"], "low": low, "high": high})
    return rows


def _judge(
    claim: Mapping[str, Any], metrics: Mapping[str, Estimate], facts: Mapping[str, Any], paper: Mapping[str, Any]
) -> dict[str, str]:
    remarks, impossible = [], False
    if claim["rule"] == "arithmetic_then_measured":
        checked = arithmetic(parse_report(claim["report"]), paper["images"], paper["class_sizes"])
        impossible = bool(checked.contradictions)
        remarks = checked.contradictions + checked.remarks
    values = {other["id"]: other["paper"] for other in paper["claims"]}
    for member in claim.get("better_than", []):
        if claim["paper"] < (value := values[member]):
            remarks.append(
                f"the combination's {claim['paper']:.0%} lies below the {value:.0%} of its own member ({member})"
            )
    verdict, why = RULES[claim["rule"]](claim, metrics)
    if facts["synthetic"]:
        verdict = SYNTHETIC
        why = f"the set {facts['dataset']!r} is drawn by a computer and says nothing about patients"
    elif facts["dataset"] != paper["dataset"] and claim.get("of_its_films"):
        verdict, why = (
            OTHER_FILMS,
            f"the claim is about the paper's own films; here they are of the set {facts['dataset']!r}",
        )
    if impossible:
        verdict = IMPOSSIBLE
    return {
        "id": claim["id"],
        "where": claim["where"],
        "claim": claim["claim"],
        "paper": "" if claim["paper"] is None else _number(claim["paper"], claim["unit"]),
        "ours": _ours(claim, metrics),
        "verdict": verdict,
        "why": " ".join(f"{text[0].upper()}{text[1:]}." for text in [*remarks, why]),
    }


def _measured(claim: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> tuple[str, str]:
    name, paper, unit = claim["tests"][0], claim["paper"], claim["unit"]
    ours = metrics.get(name)
    if ours is None or ours.low is None or ours.high is None:
        return UNDECIDABLE, f"the metric {name} with its interval is missing; run its notebook for this study"
    between = f"our interval {_number(ours.low, unit)} to {_number(ours.high, unit)}"
    basis = f"({name}; {ours.n_files} files of {ours.n_groups} groups)"
    if ours.low <= paper <= ours.high:
        verdict, why = WITHIN, f"the paper's {_number(paper, unit)} lies inside {between} {basis}"
    elif ours.value >= paper:
        verdict, why = REPRODUCED, f"{between} lies above the paper's {_number(paper, unit)} {basis}"
    else:
        gap = _number(paper - ours.value, "points").removeprefix("+")
        verdict = NOT_REPRODUCED
        why = f"{between} lies below the paper's {_number(paper, unit)}, our value {gap} below it {basis}"
    if unit != "points" and (doubt := _doubt(metrics)):
        why += f". {doubt}, so this is accuracy at the name of a folder"
    if unit == "points":
        clear = "above zero" if ours.low > 0 else "below zero" if ours.high < 0 else "on both sides of zero"
        why += f". The interval of the difference lies {clear}"
    leaky = metrics.get(name.replace("/grouped/", "/by_file/"))
    if leaky is not None and "/grouped/" in name:
        why += f". Split by file instead: {_number(leaky.value, unit)}"
    grouped, by_file = (metrics.get(name.replace("/grouped/", f"/{p}/paper/")) for p in ("grouped", "by_file"))
    if grouped is not None and by_file is not None:
        why += f". With the paper's recipe, as far as its text goes: {_with_interval(grouped, unit)}"
        why += f", split by file {_number(by_file.value, unit)}"
    return verdict, why


def _count(claim: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> tuple[str, str]:
    files, conflicts = metrics.get("data/files"), metrics.get("data/conflicts")
    if files is None:
        return UNDECIDABLE, "the metric data/files is missing; run notebook 01 for this study"
    why = (
        f"the set holds {files.value:,.0f} images, the paper {claim['paper']:,}. Who labelled them is not in the files"
    )
    if conflicts is not None and conflicts.value:
        found = plural(int(conflicts.value), "knee carries", "knees carry")
        why += f", and {found} both labels, so at least as many labels are wrong"
    if doubt := _doubt(metrics):
        why += f". {doubt}, which is less than moderate (Landis and Koch 1977)"
    return (REPRODUCED if files.value == claim["paper"] and not doubt else NOT_REPRODUCED), why


def _doubt(metrics: Mapping[str, Estimate]) -> str:
    """How little the labels agree with a reference label; empty where they may agree moderately or none is known."""
    kappa = metrics.get("reference/kappa")
    if kappa is None or kappa.high >= MODERATE:
        return ""
    between = f"{kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
    return f"The labels of {kappa.n_files} films agree with a reference label ({kappa.note}) by Cohen's kappa {between}"


def _different_images(claim: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> tuple[str, str]:
    files, knees = metrics.get("data/files"), metrics.get("data/knees")
    if files is None or knees is None:
        return UNDECIDABLE, "the metrics data/files and data/knees are missing; run notebooks 01 and 02"
    if knees.value >= files.value:
        return REPRODUCED, f"the audit finds no copies among {files.value:,.0f} files, so any split keeps knees apart"
    copies = (
        f"{files.value:,.0f} files show {knees.value:,.0f} knees, so a split by file puts copies of one knee on "
        "both sides; the paper does not say how it split"
    )
    # Paired, film by film: two separate intervals may overlap although the difference is clear.
    name = "leakage/by_file/above_grouped"
    gain = metrics.get(name)
    if gain is None or gain.low is None:
        return UNDECIDABLE, f"{copies}. What that is worth was not measured ({name}, notebook 07)"
    why = (
        f"{copies}. On the same films the same network gains {_with_interval(gain, 'points')} by such a split over one "
        f"that keeps knees apart ({name}; {gain.n_files} files of {gain.n_groups} groups)"
    )
    return (NOT_REPRODUCED if gain.low > 0 else UNDECIDABLE), why


RULES = {
    "measured": _measured,
    "arithmetic_then_measured": _measured,
    "count": _count,
    "different_images": _different_images,
}


def _ours(claim: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> str:
    if claim["rule"] == "different_images":
        shown = [(name.removeprefix("data/"), metrics.get(name)) for name in claim["tests"][:3]]
        return ", ".join(f"{found.value:,.0f} {label}" for label, found in shown if found is not None)
    found = metrics.get(claim["tests"][0])
    return "" if found is None else _with_interval(found, claim["unit"])


def _with_interval(found: Estimate, unit: str) -> str:
    if found.low is None:
        return _number(found.value, unit)
    return f"{_number(found.value, unit)} ({_number(found.low, unit)} to {_number(found.high, unit)})"


def _number(value: float, unit: str) -> str:
    if unit == "images":
        return f"{value:,.0f} images"
    return f"{100 * value:.1f} %" if unit == "accuracy" else f"{100 * value:+.1f} points"


def main(arguments: Sequence[str] | None = None, door: bool = False) -> int:
    """Check a printed classification report and print the result; `commands.parser` has the words.

    Returns 1 where the report contradicts itself or the data set, 2 for one that cannot be read, else 0.
    """
    options = commands.parser("claims", door).parse_args(arguments)
    try:
        source = sys.stdin.buffer.read() if options.report == "-" else Path(options.report).read_bytes()
        report = parse_report(table_files.decoded(source)[0])
        checked = arithmetic(report, options.images, options.class_sizes)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        print(f"{options.report}: {reason}", file=sys.stderr)
        return 2
    said = [*_found(report, checked.possible)]
    for title, lines in (("Remarks", checked.remarks), ("Contradictions", checked.contradictions)):
        said += [f"{title}:" + ("" if lines else " none"), *(f"  - {line}" for line in lines)]
    if options.images is None:
        said.append("Not checked: whether it fits the data set's size; give --images N.")
    commands.show(said)
    return int(bool(checked.contradictions))


def _found(report: PrintedReport, found: Possible | None) -> Iterator[str]:
    """Lines that list the matrices which print as the report, or say how many they are and their range."""
    total = sum(report.supports)
    if found is None:
        yield "The confusion matrices that print like this are too many to search."
        return
    one = found.count == 1
    least = "" if found.exact else "At least "
    told = f"{found.count:,} confusion {'matrix prints' if one else 'matrices print'} like this"
    yield f"{least}{told} (rows truth, columns prediction){':' if found.count else '.'}"
    if not found.count:
        return
    for matrix in found.matrices:
        right = int(np.trace(matrix))
        low, high = wilson(right, total)
        yield f"  {matrix.tolist()}  accuracy {right}/{total} = {right / total:.4f}, 95 % {low:.4f} to {high:.4f}"
    if not found.matrices:
        few, many = found.right
        low, high = wilson(few, total)[0], wilson(many, total)[1]
        yield f"  accuracy {few / total:.4f} to {many / total:.4f} ({span_of(few, many)} of {total:,}), 95 % {low:.4f} to {high:.4f}"
        for row, lows, highs in zip(report.rows, found.low, found.high, strict=True):
            cells = (span_of(int(few), int(many)) for few, many in zip(lows, highs, strict=True))
            yield f"  {row[0]}: {' | '.join(cells)}"


if __name__ == "__main__":
    raise SystemExit(commands.run(main, sys.argv[1:]))
