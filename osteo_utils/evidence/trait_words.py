"""What families and traits are called in words, and the sentences that say, by rule, which of them sorts the folders."""

from __future__ import annotations

from collections.abc import Mapping

from osteo_utils.evidence import shortcuts
from osteo_utils.statistics.two_labels import GRADES
from osteo_utils.study.results import Estimate

# A corrected p value up to this one names a trait.
LEVEL = 0.05
MEANING = {
    "width": "width of the file in pixels",
    "height": "height of the file in pixels",
    "aspect": "width over height of the file",
    "bytes": "bytes of the file",
    "bytes_per_pixel": "bytes of the file per pixel",
    "format": "format of the file, such as PNG or JPEG",
    "mode": "colour mode of the file, grey or RGB",
    "mean_grey": "mean grey level of the film",
    "contrast": "spread of the film's grey levels (standard deviation)",
    "darkest": "grey level that one pixel in a hundred lies below",
    "brightest": "grey level that one pixel in a hundred lies above",
    "black": "share of the film that is nearly black",
    "white": "share of the film that is nearly white",
    "sharpness": "mean step between neighbouring pixels, over that between pixels four apart",
    "noise": "noise level of the film",
    "edge": "mean grey level along the film's edge",
    "corner": "grey level of the brightest spot in the four corners, where side markers stand",
    "lopsided": "how much the film differs from its mirror image",
    "bone_area": "share of the film that is bone",
    "joint_height": "place of the joint along the film, from the top",
    "joint_side": "place of the joint across the film, from the left",
    "knee_width": "width of the knee as a share of the film's",
    "bone_grey": "median grey level of bone",
    "soft_tissue": "share of the film that is soft tissue",
    "soft_grey": "grey level of soft tissue over that of bone",
    "source_number": "running number in the name of the source film",
    "source_width": "width of the source film in pixels",
    "source_height": "height of the source film in pixels",
    "source_mode": "colour mode of the source film, grey or RGB",
    "source_form": "colour mode and shape of the source film together",
}
FAMILIES = shortcuts.MEANING | {
    "film": "simple measures of the film: grey levels, sharpness, noise, place and size of knee and soft tissue",
    "texture": "texture of the spongy bone and thickness of the cortex",
    "source": "the source film: its number, width, height, colour mode and shape",
}


def words(kind: str, name: str) -> str:
    """What a family or trait is, in words; a measure of texture that has no words of its own keeps its name."""
    known = FAMILIES if kind == "family" else MEANING
    return known.get(name, f"bone texture, {name.replace('_', ' ')}" if kind == "trait" else name)


def what_sorts_the_folders(metrics: Mapping[str, Estimate]) -> list[str]:
    """Say for each class of the reference which trait the folder name goes with, and what stays open; empty without any.

    From `traits/...` of `traits.ask`. A trait or family is named where its p value, corrected for all that were asked, is
    at most `LEVEL`. What it leaves open is read from the whole 95 % intervals.
    """
    said = []
    for grade in GRADES:
        own = {name.split("/")[2]: value for name, value in metrics.items() if name.startswith(f"traits/{grade}/")}
        if asked := own.get("asked"):
            said.append(_of_class(grade, asked, own) if asked.value else _skipped(grade, asked))
    return said


def _skipped(grade: str, asked: Estimate) -> str:
    return f"Among the {asked.n_files} films that are {grade} by the reference label nothing was asked ({asked.note})."


def _of_class(grade: str, asked: Estimate, own: Mapping[str, Estimate]) -> str:
    trait, family = own["trait"], own["family"]
    text = (
        f"Among {asked.n_files} films of {asked.n_groups} persons that all are {grade} by the reference label, "
        f"{asked.value:.0f} families of features and single traits were asked whether the folder name goes with them. "
    )
    text += _named("trait", "single trait", trait, own["trait_p"])
    if own["trait_p"].value <= LEVEL and (others := own["as_good"].value):
        more = "lies one more" if others == 1 else f"lie {others:.0f} more"
        text += f" Within its interval {more}, so which of these it is stays open."
    text += f" {_named('family', 'whole family', family, own['family_p'])}"
    if networks := own.get("networks"):
        text += f" The combined networks reach {networks}{_beyond(own)}."
    return text


def _named(kind: str, called: str, best: Estimate, p_value: Estimate) -> str:
    name = f"{best.note} ({words(kind, best.note)}{f': {p_value.note}' if p_value.note else ''})"
    reached = f"AUROC {best}, p = {p_value.value:.3f} corrected for all that were asked"
    if p_value.value <= LEVEL:
        return f"The {called} that it goes most with is {name}: {reached}."
    return f"No {called} is shown to explain it; the best is {name}: {reached}."


def _beyond(own: Mapping[str, Estimate]) -> str:
    text = ""
    if gap := own.get("networks_minus_family"):
        text += f", {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] beside the best family"
        text += (
            ": what they see beyond it stays open"
            if gap.low > 0
            else ": less than that"
            if gap.high < 0
            else ": not shown to be more"
        )
    if (within := own.get("networks_within")) and own["trait_p"].value <= LEVEL:
        text += f"; among pairs of films alike in the best single trait they reach {within}, so "
        text += "they know more than this trait says" if within.low > 0.5 else "they are not shown to know more than it"
    return text
