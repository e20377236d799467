"""Tables as the report prints them: a value and its interval in one cell."""

from pathlib import Path

import numpy as np
import pandas as pd

from osteo_utils.reporting import tables
from osteo_utils.study import results


def test_a_value_and_the_ends_of_its_interval_become_one_cell(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"name": ["a", "b"], "value": [0.5, 0.25], "low": [0.4, np.nan], "high": [0.6, np.nan], "n": [3, 4]}
    )
    path = tmp_path / "some.csv"
    results.write_table(path, frame)
    block = tables.saved_table(path, "Some.")
    assert block["columns"] == ["name", "value", "n"]
    assert block["rows"] == [["a", "0.500 (0.400–0.600)", "3"], ["b", "0.250", "4"]]


def test_an_interval_below_zero_is_not_read_as_a_dash_and_zero_has_no_sign(tmp_path: Path) -> None:
    frame = pd.DataFrame({"difference": [-0.0001], "difference_low": [-0.2], "difference_high": [-0.0]})
    results.write_table(tmp_path / "some.csv", frame)
    block = tables.saved_table(tmp_path / "some.csv", "Some.")
    assert block["rows"] == [["0.000 (-0.200 to 0.000)"]]
    assert tables.as_text(results.Estimate(-0.1, -0.2, 0.05)) == "-0.100 (-0.200 to 0.050)"


def test_columns_that_are_not_printed_are_told(tmp_path: Path) -> None:
    results.write_table(tmp_path / "wide.csv", pd.DataFrame({"a": [1], "b": [2], "c": [3]}))
    block = tables.saved_table(tmp_path / "wide.csv", "Wide.", ("c", "a"))
    assert block["columns"] == ["c", "a"] and block["rows"] == [["3", "1"]]
    assert block["caption"] == "Wide. All 3 columns are in tables/wide.csv."


def test_a_table_of_a_notebook_keeps_its_index_and_reads_as_in_the_report() -> None:
    frame = pd.DataFrame({"p_holm": [0.25, np.nan], "n_files": pd.array([1200, None], "Int64")}, index=["a", "b"])
    shown = tables.readable(frame)
    assert shown.to_dict("index") == {"a": {"p holm": "0.250", "n files": "1,200"}, "b": {"p holm": "", "n files": ""}}


def test_no_more_digits_than_the_interval_supports() -> None:
    assert tables.as_text(results.Estimate(22.0512, 19.5761, 24.6672)) == "22.1 (19.6–24.7)"
    assert tables.as_text(results.Estimate(0.98312, 0.97991, 0.98604)) == "0.983 (0.980–0.986)"
