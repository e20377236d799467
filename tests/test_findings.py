"""What notebook 08 and the report show side by side."""

from osteo_utils.reporting import findings
from osteo_utils.study.results import Estimate


def test_three_matrices_print_as_the_papers_fig_5() -> None:
    table = findings.fig5_matrices()
    errors = table[["normal, wrong", "osteoporosis, wrong"]].to_numpy().tolist()
    assert errors == [[4, 11], [5, 10], [5, 11]]
    assert set(table.images) == {846}


def test_that_the_headline_has_one_seed_is_told_though_the_probes_have_more() -> None:
    def told(**changed: object) -> bool:
        asked = {"split_seeds": [4, 5, 6], "primary_recipe": "last_block", "trained_seeds": 1, **changed}
        found = findings.limits({}, {"04_vgg16": {"parameters": asked}}, "phantom")
        return any("one split seed only (4)" in limit for limit in found)

    assert told()
    assert not told(trained_seeds=3)
    assert not told(primary_recipe="none")


def test_decisions_are_counted_by_kind_and_nothing_is_said_without_a_table() -> None:
    assert findings.decisions({}) == ""
    counts = {"same": 1, "different": 2, "exclude": 3, "keep": 0}
    said = findings.decisions({f"data/decided_{name}": Estimate(number) for name, number in counts.items()})
    assert said.endswith("pairs of one knee 1, pairs of two knees 2, films left out 3, films looked at and kept 0.")
