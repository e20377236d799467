"""The protocols of the leakage lab: which are honest, which mistakes go together, what each is called."""

import pytest

from osteo_utils.protocols import splits
from osteo_utils.protocols.definitions import PROTOCOLS, SHUFFLED, TERMS, Protocol, dealt

HONEST = [name for name in (*PROTOCOLS, *SHUFFLED) if Protocol(name).honest]


def test_what_counts_as_honest() -> None:
    assert set(HONEST) == {
        "grouped", "grouped_all", "selected_inside", "grouped+shuffled", "selected_inside+shuffled",
    }  # fmt: skip


def test_persons_are_parted_for_every_seed_of_the_networks_whatever_the_seeds_of_the_lab() -> None:
    lab = {(name, 5) for name in splits.PROTOCOLS}
    mine = {("by_file", 0), ("grouped", 0), ("grouped_knees", 0), ("by_file", 1), ("grouped", 1), ("grouped_knees", 1)}
    found = dealt(["grouped", "by_file"], [0, 1], [5])
    assert found == sorted(mine | lab)
    assert dealt(["grouped"], [5], [5]) == sorted(lab), "each split once"


def test_protocols_that_differ_in_what_is_looked_at_share_their_fits() -> None:
    assert Protocol("by_file+tuned_on_test").fit == Protocol("resubstitution").fit == "by_file"
    assert Protocol("tuned_on_test").fit == "grouped" != Protocol("scaled_first").fit


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("by_luck", "unknown protocol 'by_luck'"),
        ("by_fil", "did you mean 'by_file'"),
        ("by_file+resubstitution", "cannot be combined"),
        ("resubstitution+tuned_on_test", "cannot be combined"),
        ("selected_first+selected_inside", "cannot be combined"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Protocol(name)


def test_each_word_has_its_meaning() -> None:
    assert all(TERMS[word] for name in (*PROTOCOLS, *SHUFFLED) for word in name.split("+"))
