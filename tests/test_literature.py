"""Published results: what is in the list, where its intervals come from, and what is refused."""

import copy

import pandas as pd
import pytest

from osteo_utils.papers import claims, literature, printed_report
from osteo_utils.statistics.metrics import wilson
from osteo_utils.study.results import Estimate

ENTRIES = literature.load()
OURS = {"resnet50/grouped/accuracy": Estimate(0.8, 0.76, 0.84, 684, 321)}


def test_every_source_has_an_address_and_says_what_was_read() -> None:
    assert all(entry["source"].startswith("https://") for entry in ENTRIES)
    assert {entry["read"] for entry in ENTRIES} == {"abstract", "full text"}
    # Only the paper itself was read as a whole.
    assert [entry["key"] for entry in ENTRIES if entry["read"] == "full text"] == ["shawon2024"]


def test_the_paper_stands_in_the_list_as_its_claims_do() -> None:
    paper = next(entry for entry in ENTRIES if entry["key"] == "shawon2024")
    claim = next(one for one in claims.load()["claims"] if one["id"] == "C4")
    assert paper["value"] == claim["paper"] and paper["images"] == claims.load()["images"]
    assert paper["tested"] == sum(printed_report.parse_report(claim["report"]).supports)


@pytest.mark.parametrize("entry", [one for one in ENTRIES if one["tested"]], ids=lambda one: one["key"])
def test_a_printed_accuracy_is_a_count_of_the_images_tested(entry: dict) -> None:
    """Where n is stated, some whole number of right answers must print as the source does."""
    if entry["metric"] == "accuracy":
        digits = len(str(entry["value"]).split(".")[1])
        right = round(entry["value"] * entry["tested"])
        assert abs(right / entry["tested"] - entry["value"]) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize(
    ("change", "expected", "word"),
    [
        ({"tested": 101, "value": 0.812}, wilson(82, 101), "computed"),
        ({"tested": None, "images": 381, "value": 0.911}, wilson(347, 381), "narrowest"),
        ({"tested": None, "images": None}, (None, None), "none"),
        ({"tested": 100, "metric": "auroc"}, (None, None), "none"),
        ({"low": 0.7, "high": 0.9}, (0.7, 0.9), "given"),
    ],
)
def test_where_an_interval_comes_from(change: dict, expected: tuple, word: str) -> None:
    assert literature.interval({**ENTRIES[0], **change}) == (*expected, word)


def test_this_study_stands_first_with_its_own_interval_and_knees_before_hips() -> None:
    table = literature.comparison_table(OURS, list(OURS))
    assert table.kind.tolist()[0] == "ours" and table.low[0] == 0.76 and table.tested[0] == 684
    assert (table.kind == "paper").sum() == 1 and len(table) == len(ENTRIES) + 1
    sites = table.site.tolist()
    assert sites == sorted(sites, key=sites.index) and sites[0] == "knee"
    assert set(table.interval) <= set(literature.INTERVALS)
    with pytest.raises(KeyError, match="vgg16/grouped/accuracy"):
        literature.comparison_table(OURS, ["vgg16/grouped/accuracy"])


def test_a_name_in_the_figure_tells_site_metric_and_n() -> None:
    drawn = literature.as_forest(literature.comparison_table(OURS, list(OURS)))
    assert drawn.name[0] == "this study, ResNet50, knee: accuracy, n = 684"
    assert drawn.name.is_unique or drawn.name.nunique() >= len(drawn) - 1
    assert pd.notna(drawn.colour).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metric": "f1"}, "metric 'f1'"),
        ({"read": "a blog"}, "read 'a blog'"),
        ({"value": 98}, "value 98"),
        ({"low": 0.9}, "both ends"),
        ({"authros": "x"}, "unknown \\['authros'\\]"),
    ],
)
def test_a_wrong_entry_is_named(change: dict, told: str) -> None:
    with pytest.raises(ValueError, match=f"shawon2024.*{told}"):
        literature.check([{**ENTRIES[0], **change}])


def test_a_missing_field_and_a_double_entry_are_named() -> None:
    without = copy.deepcopy(ENTRIES[0])
    del without["protocol"]
    with pytest.raises(ValueError, match="lacks \\['protocol'\\]"):
        literature.check([without])
    with pytest.raises(ValueError, match="shawon2024 is listed twice"):
        literature.check([ENTRIES[0], ENTRIES[0]])
