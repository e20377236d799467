"""The README's numbers are those of the published study, and its links lead somewhere."""

import re

import pandas as pd
import pytest

from osteo_utils.study import config, paths, results

ROOT = paths.code_root()
README = (ROOT / "README.md").read_text("utf-8")
ROWS = {
    "Files / knees / persons, at most / knees under both labels": (
        "data/files",
        "data/knees",
        "data/groups",
        "data/conflicts",
    ),
    "VGG16, accuracy (paper: 0.78)": ("vgg16/grouped/accuracy",),
    "VGG16, AUROC": ("vgg16/grouped/auroc",),
    "ResNet50, accuracy (paper: 0.98)": ("resnet50/grouped/accuracy",),
    "ResNet50, AUROC": ("resnet50/grouped/auroc",),
    "ResNet50 / both networks, AUROC, recipe and variant chosen by inner folds": (
        "resnet50/grouped/nested/auroc",
        "ensemble/grouped/nested/auroc",
    ),
    "ResNet50, AUROC, contradicting labels kept": ("resnet50/grouped_all/auroc",),
    "ResNet50 (probe), gain in AUROC where only knees and not persons are kept apart": (
        "resnet50/grouped_knees/none/auroc_above_grouped",
    ),
    "The paper's recipe, VGG16, accuracy by person / by file": (
        "vgg16/grouped/paper/accuracy",
        "vgg16/by_file/paper/accuracy",
    ),
    "The paper's recipe, ResNet50, accuracy by person / by file": (
        "resnet50/grouped/paper/accuracy",
        "resnet50/by_file/paper/accuracy",
    ),
    "Both with segmentation, accuracy (paper: 0.96)": ("ensemble-segmented/grouped/accuracy",),
    "ResNet50 minus VGG16, accuracy (paper: 0.20)": ("comparison/resnet50-vgg16/grouped/accuracy",),
    "ResNet50 on films without their bone (probe), AUROC": ("resnet50-background/grouped/none/auroc",),
    "U-Net's bone masks, Dice on synthetic knees of an unseen scanner": ("segmentation/dice",),
    "Folders against the class of the source film, Cohen's kappa for osteoporosis, 672 films": ("reference/kappa",),
    "Both networks, AUROC at the folder / at the source's class, 204 films of normal or osteoporosis": (
        "reference/ensemble/folder_extremes/auroc",
        "reference/ensemble/reference_extremes/auroc",
    ),
    "Both networks, AUROC at the folder, 436 films that all are osteopenia in their source": (
        "reference/ensemble/folder_osteopenia/auroc",
    ),
    "No network, simple measures of the film, AUROC at the folder, the same 436 films": ("traits/osteopenia/family",),
    "Films that the networks contradict most, AUROC at finding labels that the source contradicts, 228 films": (
        "suspects/reference/auroc",
    ),
    "No network, file metadata alone, AUROC": ("shortcut/metadata/auroc",),
    "No network, film with its bone painted over, AUROC": ("shortcut/background/auroc",),
    "No network, bone texture measured by hand, AUROC": ("texture/grouped/auroc",),
    "Leakage lab: honest split, accuracy": ("leakage/grouped/accuracy",),
    "Leakage lab: augmented before splitting, accuracy": ("leakage/augment_first/accuracy",),
    "Leakage lab: scored on training films, accuracy": ("leakage/resubstitution/accuracy",),
    "The same three, labels shuffled between knees": (
        "leakage/grouped+shuffled/accuracy",
        "leakage/augment_first+shuffled/accuracy",
        "leakage/resubstitution+shuffled/accuracy",
    ),
}


PUBLISHED = ROOT / "reports" / "published" / "knee744"


def numbers() -> str:
    """The README's table, made from the published metrics."""
    metrics = results.load_metrics(PUBLISHED)
    lines = ["| what | value [95 % interval] |", "|---|---|"]
    for text, names in ROWS.items():
        lines.append(f"| {text} | {' / '.join(str(metrics[name]) for name in names)} |")
    return "\n".join(lines)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no run on the real set is published yet")
def test_the_numbers_are_those_of_the_published_study() -> None:
    assert numbers() in README, f"put this into the README:\n{numbers()}"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no run on the real set is published yet")
def test_what_the_text_says_of_the_source_is_in_the_published_tables() -> None:
    counts = results.read_table(PUBLISHED / "tables" / "reference_counts.csv").set_index("class_name")
    normal = counts.loc["normal"].str.split().str[0].astype(int)
    walked = pd.read_csv(ROOT / "osteo_utils" / "sources" / "knee744_crosswalk.csv", keep_default_na=False)
    cut = walked[walked.source != ""].image_id.nunique()
    assert f"{cut} of the {walked.image_id.nunique()} films were cut from a published database" in README
    assert (
        f"{normal['osteopenia']} of {normal.sum()} are osteopenia there and {normal['osteoporosis']} osteoporosis"
        in README
    )


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no run on the real set is published yet")
def test_what_the_text_says_of_labels_and_choices_is_in_the_published_metrics() -> None:
    found = results.load_metrics(PUBLISHED)
    trait, family, networks, gap = (
        found[f"traits/osteopenia/{name}"] for name in ("trait", "family", "networks", "networks_minus_family")
    )
    assert (trait.note, family.note) == ("source_form", "film") and gap.low < 0 < gap.high
    same, others, against = (
        found[f"suspects/reference/{name}"] for name in ("same_of_suspects", "same_of_others", "other_of_suspects")
    )
    gain, best = (
        found["comparison/ensemble-nested-fixed/grouped/auroc"],
        found["ensemble/grouped/nested/best_afterwards"],
    )
    for said in (
        f"the form of the source film (AUROC {trait}), simple measures of the whole film reach {family.value:.3f}",
        f"the networks' {networks.value:.3f} is not shown to be more",
        f"of {same.n_files} such films with a known source, the source confirms the folder of {same.value * 100:.0f} % "
        f"(of all other films {others.value * 100:.0f} %) and contradicts it for {against.value * 100:.0f} %",
        f"gains {gain} over the fixed recipe and reaches {found['ensemble/grouped/nested/auroc'].value:.3f}",
        f"not even the best one as seen afterwards ({best.value:.3f})",
        "it reaches " + " and ".join(re.findall(r"(0\.\d{3}) with seed", found["ensemble/grouped/nested/auroc"].note)),
    ):
        assert said in README, said
    assert best.value < 0.89


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()


def test_every_word_of_run_all_that_the_readme_uses_exists() -> None:
    known = set(re.findall(r"^#\s+\./run_all\.sh\s+(\w+)", (ROOT / "run_all.sh").read_text("utf-8"), re.M))
    used = set(re.findall(r"\./run_all\.sh (\w+)", README)) - {"STUDY"}
    assert used - set(config.studies()) <= known
