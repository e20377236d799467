"""The protocols of the leakage lab: which splits and which mistakes there are, and which of them go together."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

SELECTED = 64

SPLITS = ("grouped", "grouped_all", "by_file", "augment_first", "resubstitution", "train_in_test")
HONEST = ("grouped", "grouped_all", "selected_inside", "shuffled")
MISTAKES = {
    "grouped": "none: groups stay together, groups with both labels are left out",
    "grouped_all": "none: groups stay together, groups with both labels are kept",
    "by_file": "the same knee can be on both sides of the split",
    "augment_first": "augmented views of one image are dealt to training and test",
    "resubstitution": "scored on the images that it was trained on",
    "train_in_test": "trained on four fifths by file, scored on these and the held-out fifth together",
    "tuned_on_test": "epoch and threshold chosen on the test fold",
    "scaled_first": "mean and spread of each feature taken from test images too",
    "selected_inside": f"none: the {SELECTED} features that go most with the label are chosen on training images",
    "selected_first": f"the {SELECTED} features that go most with the label are chosen on test images too",
    "shuffled": "labels handed round between knees, so that there is nothing to learn",
}
PROTOCOLS = (
    "grouped",
    "grouped_all",
    "scaled_first",
    "selected_inside",
    "selected_first",
    "tuned_on_test",
    "by_file",
    "by_file+tuned_on_test",
    "by_file+scaled_first+selected_first+tuned_on_test",
    "augment_first",
    "augment_first+tuned_on_test",
    "train_in_test",
    "resubstitution",
)
SHUFFLED = tuple(
    f"{name}+shuffled"
    for name in (
        "grouped",
        "selected_inside",
        "selected_first",
        "tuned_on_test",
        "by_file",
        "augment_first",
        "train_in_test",
        "resubstitution",
    )
)


@dataclass(frozen=True)
class Protocol:
    """A split and the mistakes that are made on it, out of words of `MISTAKES` joined by a plus."""

    name: str

    def __post_init__(self) -> None:
        words = self.name.split("+")
        for word in words:
            if word not in MISTAKES:
                near = difflib.get_close_matches(word, MISTAKES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(MISTAKES)}"
                raise ValueError(f"unknown protocol {word!r}; {hint}")
        clashes = [SPLITS, ("selected_inside", "selected_first")]
        clashes += [("tuned_on_test", name) for name in ("resubstitution", "train_in_test")]
        for clash in clashes:
            if len(both := [word for word in words if word in clash]) > 1:
                raise ValueError(f"{self.name!r}: {' and '.join(both)} cannot be had together; choose one")

    def has(self, word: str) -> bool:
        return word in self.name.split("+")

    @property
    def honest(self) -> bool:
        return all(word in HONEST for word in self.name.split("+"))

    @property
    def mistake(self) -> str:
        """What is done, in words; a combination names its parts."""
        return "; ".join(MISTAKES[word] for word in self.name.split("+"))

    @property
    def split(self) -> str:
        """The protocol of `folds.csv` that deals the images."""
        chosen = next((word for word in SPLITS if self.has(word)), "grouped")
        return "by_file" if chosen in ("resubstitution", "train_in_test") else chosen

    @property
    def fit(self) -> str:
        """Protocols of one fit differ only in which predictions of the same networks are looked at."""
        kept = [word for word in ("scaled_first", "selected_inside", "selected_first", "shuffled") if self.has(word)]
        return "+".join([self.split, *kept])
