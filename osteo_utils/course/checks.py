"""Tells a right answer from a wrong one: what is probably wrong with it and where to look, never the answer itself."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from osteo_utils.course.exercises import EXERCISES, Results, Values
from osteo_utils.study import paths
from osteo_utils.study.parameters import nearest

TOLERANCE = 0.005
NEARLY = 4  # so many tolerances off is near enough to have been rounded too early
EXPECTED = {
    "share": "a share from 0 to 1, such as 0.25",
    "count": "a whole number, such as 12",
    "number": "a number, such as 0.25",
    "truth": "True or False, without quotes",
    "name": 'a name in quotes, such as "grouped"',
}


class Judgement(NamedTuple):
    """`right` is None where nothing was answered yet."""

    right: bool | None
    message: str


@dataclass(frozen=True)
class Words:
    """What `exercises.yaml` says of an exercise."""

    kind: str
    hint: str
    mistakes: tuple[str, ...]
    tolerance: float = TOLERANCE


@cache
def words() -> Mapping[str, Words]:
    """The words of every exercise by its number."""
    every = yaml.safe_load(Path(__file__).with_name("exercises.yaml").read_text("utf-8"))
    return {number: Words(**entry | {"mistakes": tuple(entry["mistakes"])}) for number, entry in every.items()}


def judge(number: str, answer: Any, study: Results | None = None) -> Judgement:
    """Compare the answer to an exercise, such as 02.1, with the results of a study; those of 00 need none.

    Raises ValueError for an unknown exercise, FileNotFoundError where a result that it needs is not there.
    """
    if number not in EXERCISES:
        raise ValueError(f"there is no exercise {number!r}; {nearest(number, EXERCISES)}")
    if answer is ... or answer is None:
        return Judgement(None, f"{number}: not answered yet")
    said, values = words()[number], EXERCISES[number](study)
    if isinstance(values[0], float) and math.isnan(values[0]):
        return Judgement(None, f'{number}: the study {study.study} has no film for this; take study = "phantom"')
    if problem := _wrong_kind(answer, said.kind):
        return Judgement(False, f"{number}: {problem}")
    right, problem = _compare(answer, values, said)
    return Judgement(right, f"{number}: right" if right else f"{number}: not right. {problem}")


def check(number: str, answer: Any, study: Results | None = None) -> None:
    """Print whether the answer is right; see `judge`."""
    print(judge(number, answer, study).message)


def open_study(study: str) -> tuple[Results, Callable[[str, Any], None]]:
    """The results of a study that was run here, else its published ones, and the check of answers about it.

    Raises FileNotFoundError where there are neither.
    """
    published = paths.published(study)
    # Where $OSTEO_HOME names another folder, what is published still comes with the code.
    shipped = paths.code_root() / published.relative_to(paths.home())
    places = (paths.StudyPaths(study).reports, published, shipped)
    folder = next((place for place in places if (place / "claims.json").is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"{places[0]}: no finished results of the study {study!r}, and none are published. "
            f'Run ./run_all.sh {study} first, or set study = "phantom"'
        )
    print(f"study {study}, {'as it was run here' if folder == places[0] else 'as it is published'}")
    found = Results(study, folder)
    return found, partial(check, study=found)


def _wrong_kind(answer: Any, kind: str) -> str:
    """What is wrong with the type or the range of an answer; empty where it can be compared."""
    if np.ndim(answer) > 0:
        return f"this is {type(answer).__name__} of {np.size(answer)} values; expected {EXPECTED[kind]}"
    fits = {"truth": isinstance(answer, (bool, np.bool_)), "name": isinstance(answer, str)}
    number = isinstance(answer, numbers.Real) and not isinstance(answer, (bool, np.bool_))
    if not fits.get(kind, number):
        quoted = " A number stands without quotes." if isinstance(answer, str) and kind not in fits else ""
        return f"this is {type(answer).__name__} {str(answer)[:40]!r}; expected {EXPECTED[kind]}.{quoted}"
    if kind in fits:
        return ""
    if not math.isfinite(answer):
        return f"this is {answer}; expected {EXPECTED[kind]}. Is there a division by zero or an empty table?"
    if kind == "share" and 1 < answer <= 100:
        return f"{answer:g} looks like percent or a count; expected {EXPECTED[kind]}"
    if kind == "share" and not 0 <= answer <= 1:
        return f"{answer:g} is no share; expected {EXPECTED[kind]}"
    if kind == "count" and (answer != int(answer) or answer < 0):
        return f"{answer:g} is no count; expected {EXPECTED[kind]}"
    return ""


def _compare(answer: Any, values: Values, said: Words) -> tuple[bool, str]:
    """Whether an answer of the right kind is right, and if not, what helps."""
    right, *wrong = values
    if said.kind in ("truth", "name"):
        written = answer.strip().casefold() if said.kind == "name" else answer
        if written == right:
            return True, ""
        told = [text for value, text in zip(wrong, said.mistakes, strict=True) if written == value]
        return False, " ".join([*told[:1], said.hint])
    tolerance = 0 if said.kind == "count" else said.tolerance + 1e-9
    if abs(answer - right) <= tolerance:
        return True, ""
    for value, text in zip(wrong, said.mistakes, strict=True):
        if abs(answer - value) <= tolerance:
            return False, f"{text} {said.hint}"
    if said.kind == "number" and abs(answer / 100 - right) <= tolerance:
        return False, f"This looks like percent. {said.hint}"
    if abs(answer - right) <= NEARLY * tolerance:
        return False, f"It is near. Did you round before the last step, or give too few decimals? {said.hint}"
    return False, said.hint
