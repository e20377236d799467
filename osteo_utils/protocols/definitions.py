"""The protocols of the leakage lab: the terms that make them up, and which terms exclude each other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from osteo_utils.protocols import splits

SELECTED = 64

SPLITS = ("grouped", "grouped_all", "grouped_knees", "by_file", "augment_first", "resubstitution", "train_in_test")
HONEST = ("grouped", "grouped_all", "selected_inside", "shuffled")
TERMS = {
    "grouped": "none: groups stay together, knees with both labels are left out",
    "grouped_all": "none: groups stay together, knees with both labels are kept",
    "grouped_knees": "the other knee of a person can be on the other side of the split",
    "by_file": "the same knee can be on both sides of the split",
    "augment_first": "augmented views of one image lie in both training and test folds",
    "resubstitution": "scored on the images that it was trained on",
    "train_in_test": "trained on four fifths by file, scored on these and the held-out fifth together",
    "tuned_on_test": "epoch and threshold chosen on the test fold",
    "scaled_first": "mean and spread of each feature taken from test images too",
    "selected_inside": f"none: the {SELECTED} features that go most with the label are chosen on training images",
    "selected_first": f"the {SELECTED} features that go most with the label are chosen on test images too",
    "shuffled": "labels shuffled between knees, so that there is nothing to learn",
}
PROTOCOLS = tuple(
    "grouped grouped_all grouped_knees scaled_first selected_inside selected_first tuned_on_test by_file by_file+tuned_on_test "
    "by_file+scaled_first+selected_first+tuned_on_test augment_first augment_first+tuned_on_test train_in_test "
    "resubstitution".split()
)
# Without several knees of a person it is the same as `grouped`.
OF_PERSONS = "grouped_knees"
SHUFFLED = tuple(
    "grouped+shuffled selected_inside+shuffled selected_first+shuffled tuned_on_test+shuffled by_file+shuffled "
    "augment_first+shuffled train_in_test+shuffled resubstitution+shuffled".split()
)


def asked(images: pd.DataFrame) -> list[str]:
    """The protocols of the lab that differ on these images (group, knee)."""
    several = images.knee.nunique() > images.group.nunique()
    return [name for name in PROTOCOLS if several or name != OF_PERSONS]


def dealt(protocols: Iterable[str], split_seeds: Iterable[int], leakage_seeds: Iterable[int]) -> list[tuple[str, int]]:
    """The splits that a study needs, as protocol and seed, in order.

    Networks need `protocols` for `split_seeds`, and their probes OF_PERSONS, where a person has several knees. The
    lab needs all for `leakage_seeds`.
    """
    wanted = {(protocol, seed) for protocol in [*protocols, OF_PERSONS] for seed in split_seeds}
    return sorted(wanted | {(protocol, seed) for protocol in splits.PROTOCOLS for seed in leakage_seeds})


@dataclass(frozen=True)
class Protocol:
    """A split and the mistakes made on it: keys of `TERMS`, joined by a plus sign."""

    name: str

    def __post_init__(self) -> None:
        for term in self.terms:
            if term not in TERMS:
                near = difflib.get_close_matches(term, TERMS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(TERMS)}"
                raise ValueError(f"unknown protocol {term!r}; {hint}")
        exclusive = [SPLITS, ("selected_inside", "selected_first")]
        exclusive += [("tuned_on_test", name) for name in ("resubstitution", "train_in_test")]
        for group in exclusive:
            if len(both := [term for term in self.terms if term in group]) > 1:
                raise ValueError(f"{self.name!r}: {' and '.join(both)} cannot be combined; choose one")

    @property
    def terms(self) -> list[str]:
        return self.name.split("+")

    def has(self, term: str) -> bool:
        return term in self.terms

    @property
    def honest(self) -> bool:
        return set(self.terms) <= set(HONEST)

    @property
    def mistake(self) -> str:
        """What the protocol does wrong, for tables and figures."""
        return "; ".join(TERMS[term] for term in self.terms)

    @property
    def split(self) -> str:
        """The protocol of `folds.csv` that splits the images."""
        chosen = next((term for term in SPLITS if self.has(term)), "grouped")
        return "by_file" if chosen in ("resubstitution", "train_in_test") else chosen

    @property
    def fit(self) -> str:
        """Key of the fits: protocols that share it differ only in which predictions they score."""
        shared = [term for term in ("scaled_first", "selected_inside", "selected_first", "shuffled") if self.has(term)]
        return "+".join([self.split, *shared])
