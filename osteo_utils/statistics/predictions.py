"""What every metric and test asks of its input: tables of predictions, labels, probabilities, groups.

Each error names the column, the row with its image_id, the value, and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

KEYS = ["image_id", "view", "seed"]
NO_WIDTH = "the same in every resample, so the interval has no width"
_NEEDED = ("image_id", "group", "seed", "y_true", "y_prob")
LABEL, PROBABILITY, SCORE = "0 (normal) or 1 (osteoporosis)", "a probability from 0 to 1", "a finite number"


def check(predictions: pd.DataFrame, also: Sequence[str] = ()) -> pd.DataFrame:
    """The predictions of one arm in the order of their keys.

    Expects image_id, group, seed, y_true (0 and 1, or False and True), y_prob in [0, 1], the columns named in `also`,
    and at most one protocol, recipe and variant. A missing `view` is 0. Raises ValueError for anything else, for
    missing values and for double keys.
    """
    if not isinstance(predictions, pd.DataFrame):
        raise ValueError(f"the predictions are a {type(predictions).__name__}; expected a table (pandas.DataFrame)")
    if missing := sorted({*_NEEDED, *also} - set(predictions.columns)):
        raise ValueError(f"the predictions lack the columns {missing}; expected the contract 'predictions'")
    if twice := sorted({str(name) for name in predictions.columns[predictions.columns.duplicated()]}):
        raise ValueError(f"the predictions hold the columns {twice} twice; expected one of each name")
    if predictions.empty:
        raise ValueError("the predictions are empty; check protocol, recipe, variant and seed of the filter")
    for column in dict.fromkeys((*_NEEDED, *also)):
        _refuse(column, predictions[column].isna().to_numpy(), predictions[column], predictions["image_id"], "a value")
    values = {name: _numbers(name, predictions[name], predictions["image_id"]) for name in ("y_true", "y_prob")}
    for column in {"protocol", "recipe", "variant"} & set(predictions.columns):
        if len(found := sorted(map(str, predictions[column].unique()))) > 1:
            raise ValueError(f"the predictions mix {column} {found}; expected one, so filter them first")
    frame = predictions if "view" in predictions.columns else predictions.assign(view=0)
    # Numbers that a table holds as objects, and labels that it holds as True and False.
    odd = {name: found for name, found in values.items() if frame[name].dtype.kind not in "iuf"}
    frame = frame.assign(**{name: found.astype(int) if name == "y_true" else found for name, found in odd.items()})
    if (double := frame.duplicated(KEYS).to_numpy()).any():
        first = frame[KEYS].iloc[int(np.flatnonzero(double)[0])].to_dict()
        raise ValueError(
            f"{int(double.sum())} predictions are there twice; expected one for each of {KEYS}, the first of them is row "
            f"{int(np.flatnonzero(double)[0])} ({first})"
        )
    # In one order, sums round alike however the table was put together.
    try:
        return frame.sort_values(KEYS, ignore_index=True)
    except TypeError as error:
        raise ValueError(f"a column of {KEYS} mixes text and numbers ({error}); expected one kind in each") from error


def check_arms(predictions: pd.DataFrame) -> None:
    """Raises ValueError where a table of several arms lacks a column or value that tells them apart."""
    arms = ["protocol", "recipe", "variant"]
    if missing := [name for name in arms if name not in predictions.columns]:
        raise ValueError(f"the predictions lack the columns {missing}; expected the contract 'predictions'")
    if predictions.empty:
        raise ValueError("the predictions are empty; expected one arm or more")
    for name in arms:
        names = predictions["image_id"] if "image_id" in predictions.columns else None
        _refuse(name, predictions[name].isna().to_numpy(), predictions[name], names, "a value")


def check_values(y_true: Any, *y_probs: Any, expected: str = PROBABILITY) -> tuple[np.ndarray, ...]:
    """Labels and probabilities, or scores where such are `expected`, (n,) each, as floats; both labels must be there.

    Raises ValueError for other values, other lengths or a single class.
    """
    y = _numbers("y_true", y_true)
    found = [_numbers("y_prob", one, expected=expected) for one in y_probs]
    if any(len(one) != len(y) for one in found):
        raise ValueError(f"y_true has {len(y)} rows and y_prob {[len(one) for one in found]}; expected as many")
    if set(np.unique(y)) != {0.0, 1.0}:
        raise ValueError(
            f"y_true holds the labels {np.unique(y).tolist()}; expected both 0 and 1, so films of both classes"
        )
    return (y, *found)


def check_both_classes(frame: pd.DataFrame, what: str) -> None:
    """Raises ValueError where a checked table holds films of one class alone."""
    for seed, labels in frame.groupby("seed")["y_true"]:
        if labels.nunique() < 2:
            raise ValueError(
                f"{what} needs films of both classes; column y_true holds {labels.unique().tolist()} in all {len(labels)} "
                f"rows of seed {seed}"
            )


def check_groups(groups: Any) -> None:
    """Raises ValueError for a row without a group."""
    if (empty := pd.isna(np.asarray(groups))).any():
        raise ValueError(
            f"column 'group' is empty in row {int(np.flatnonzero(empty)[0])}; expected a group in each row"
        )


def check_draws(n_resamples: int) -> None:
    """Raises ValueError where there is nothing to take an interval from."""
    if isinstance(n_resamples, bool) or not isinstance(n_resamples, (int, np.integer)) or n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples!r}; expected a whole number of 1 or more, such as 2000")


def _numbers(column: str, values: Any, names: Any = None, expected: str = PROBABILITY) -> np.ndarray:
    """A column of labels, probabilities or scores as floats; refuses the first value that is none."""
    expected = LABEL if column == "y_true" else expected
    given = np.asarray(values) if hasattr(values, "dtype") else np.array(values, object)
    if given.ndim != 1:
        raise ValueError(f"{column} has the shape {given.shape}; expected one value a row")
    if given.dtype.kind not in "biuf":
        kinds = (bool, int, float, np.bool_, np.integer, np.floating)
        _refuse(column, np.array([not isinstance(value, kinds) for value in given], bool), given, names, expected)
    numbers = given.astype(float)
    fits = {
        LABEL: lambda: np.isin(numbers, (0, 1)),
        PROBABILITY: lambda: (numbers >= 0) & (numbers <= 1),
        SCORE: lambda: np.isfinite(numbers),
    }[expected]()
    _refuse(column, ~fits, given, names, expected)
    return numbers


def _refuse(column: str, wrong: np.ndarray, values: Any, names: Any, expected: str) -> None:
    if not wrong.any():
        return
    first = int(np.flatnonzero(wrong)[0])
    value = np.asarray(values, object)[first]
    told = "is empty" if pd.api.types.is_scalar(value) and pd.isna(value) else f"holds {str(value)[:60]!r}"
    if isinstance(value, (bool, int, float, np.generic)) and told.startswith("holds"):
        told = f"holds {value}"
    name = "" if names is None else f" ({np.asarray(names, object)[first]})"
    raise ValueError(
        f"column {column!r} {told} in {int(wrong.sum())} of {len(wrong)} rows, the first of them row {first}{name}; "
        f"expected {expected} in each"
    )
