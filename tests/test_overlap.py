"""What an external set shares with the study: found, named, taken out, and without a trace in the study itself."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.audit import copies, groups, overlap
from osteo_utils.protocols import splits

NOTHING = np.zeros((0, 512, 512), np.uint8)
PAIRS = ("first", "second", "turn", "outline", "similarity")


def films(*rows: tuple) -> pd.DataFrame:
    """A manifest of (image_id, label, sha256, pixel_sha256, patient), the role as the name says."""
    table = pd.DataFrame(rows, columns=["image_id", "label", "sha256", "pixel_sha256", "patient"])
    role = np.where(table.image_id.str.startswith("external/"), "external", "develop")
    return table.assign(role=role, status="ok", row=range(len(table)), width=300, height=500)


OWN = films(("n/1", 0, "a", "A", ""), ("n/2", 0, "b", "B", ""), ("o/1", 1, "c", "C", "anna"), ("o/2", 1, "d", "D", ""))
FOREIGN = films(
    ("external/n/bytes", 0, "a", "A", ""),
    ("external/n/pixels", 1, "a2", "A", ""),
    ("external/n/twin", 0, "x", "X", ""),
    ("external/n/twin2", 1, "x2", "X", ""),
    ("external/o/alike", 1, "e", "E", ""),
    ("external/o/anna", 1, "f", "F", "anna"),
    ("external/o/clean", 1, "g", "G", ""),
    ("external/o/clean2", 1, "h", "H", ""),
    ("external/o/friend", 0, "i", "I", "bert"),
    ("external/o/of bert", 0, "j", "J", "bert"),
)
# Names of the same pixels are compared once, under the first of them: external/n/bytes stands for n/1.
FOUND = [
    ("external/n/bytes", "n/2", 0.5),
    ("external/o/alike", "o/2", 0.93),
    ("external/o/alike", "external/n/bytes", 0.2),
    ("external/o/clean", "external/o/clean2", 0.97),
    ("external/o/friend", "n/2", 0.9),
    ("external/o/clean", "n/2", 0.7),
]


@pytest.fixture(autouse=True)
def known_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(_: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
        there = set(manifest.image_id)
        rows = [(*sorted(pair[:2]), 0, pair[2], pair[2]) for pair in FOUND if {*pair[:2]} <= there]
        return pd.DataFrame(rows, columns=list(PAIRS))

    monkeypatch.setattr(copies, "compare", compare)


def of_both(foreign: pd.DataFrame = FOREIGN) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Manifest of both sets, the study's own audit, and the audit extended, with what is shared as an attribute."""
    both = pd.concat([OWN, foreign], ignore_index=True).assign(row=range(len(OWN) + len(foreign)))
    own = groups.audit(NOTHING, OWN, copies.compare(NOTHING, OWN))
    extended, shared = overlap.extend(NOTHING, both, own)
    extended.attrs["shared"] = shared
    return both, own, extended


def test_every_way_of_sharing_a_knee_is_found_with_the_film_it_is_shared_with() -> None:
    _, own, extended = of_both()
    found = extended.attrs["shared"].set_index("image_id")
    expected = {
        "external/n/bytes": ("n/1", "exact", 0.0, 1),
        "external/n/pixels": ("n/1", "pixel", 0.0, 0),
        "external/o/alike": ("o/2", "perceptual", 0.07, 1),
        "external/o/anna": ("o/1", "patient", None, 1),
        "external/o/friend": ("n/2", "perceptual", 0.1, 1),
        "external/o/of bert": ("n/2", "chained", None, 1),
    }
    assert set(found.index) == set(expected)
    for name, (film, relation, distance, alike) in expected.items():
        row = found.loc[name]
        assert (row.develop_image, row.relation, row.same_label) == (film, relation, alike), name
        assert row.distance == distance if distance is not None else np.isnan(row.distance)
        assert row.group == own.set_index("image_id").group[film]


def test_the_study_is_audited_as_if_there_were_no_external_set() -> None:
    _, own, extended = of_both()
    pd.testing.assert_frame_equal(extended.iloc[: len(own)], own, check_dtype=False)
    assert set(extended.group[len(own) :]) - set(own.group) == {4, 5}
    assert extended.image_id.is_unique


def test_shared_knees_and_contradicting_labels_are_not_scored() -> None:
    both, _, extended = of_both()
    kept = overlap.to_score(both, extended)
    assert kept.image_id.tolist() == ["external/o/clean", "external/o/clean2"]
    assert len(set(kept.group)) == 1, "two films of one knee are one group"
    counted = overlap.counts(both, extended, extended.attrs["shared"])
    assert counted == {
        "files": 10, "groups": 6, "patients": 2, "overlap_files": 6, "overlap_exact": 1, "overlap_pixel": 1,
        "overlap_perceptual": 2, "overlap_patient": 1, "overlap_chained": 1, "overlap_other_label": 1,
        "conflict_files": 2, "scored_files": 2, "scored_groups": 1,
    }  # fmt: skip


def test_without_an_external_set_the_audit_stays_as_it_is() -> None:
    both, own, extended = of_both(FOREIGN.iloc[:0])
    pd.testing.assert_frame_equal(extended, own)
    assert extended.attrs["shared"].empty
    assert overlap.counts(both, extended, extended.attrs["shared"]) == {}
    assert overlap.to_score(both, extended).empty


def test_an_external_film_that_two_knees_of_the_study_resemble_does_not_join_them() -> None:
    bridge = films(("external/n/bridge", 0, "k", "K", ""))
    FOUND.extend([("external/n/bridge", "n/1", 0.9), ("external/n/bridge", "n/2", 0.95)])
    try:
        _, own, extended = of_both(bridge)
    finally:
        del FOUND[-2:]
    assert own.group.tolist() == extended.group.tolist()[:4] == [0, 1, 2, 3]
    assert extended.attrs["shared"].develop_image.tolist() == ["n/2"]


def test_a_film_that_the_audit_does_not_know_is_not_scored_in_silence() -> None:
    both, _, extended = of_both()
    with pytest.raises(ValueError, match=r"no row for external/o/clean2; run 02_eda again"):
        overlap.to_score(both, extended[extended.image_id != "external/o/clean2"])


def test_an_external_film_can_get_no_fold() -> None:
    both, _, extended = of_both()
    dealt = both.merge(extended, on="image_id")
    with pytest.raises(ValueError, match=r"external/n/bytes is of the external set"):
        splits.make_folds(dealt, "by_file", 2, 0)
    folds = splits.make_folds(dealt[dealt.role == "develop"], "by_file", 2, 0)
    assert set(folds.image_id) == set(OWN.image_id)
