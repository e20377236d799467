"""A right answer passes; a wrong one is told what is wrong with it, and never what is right."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osteo_utils.course import checks
from osteo_utils.course.exercises import EXERCISES, Results
from osteo_utils.study import paths

PHANTOM = Results("phantom", paths.code_root() / "reports" / "published" / "phantom")
KINDS = {number: said.kind for number, said in checks.words().items()}
NUMBERS = [number for number, kind in KINDS.items() if kind in ("share", "count", "number")]


def gives_away(message: str, right: object) -> bool:
    """Whether a message holds the right answer, written in a usual way."""
    if isinstance(right, (bool, np.bool_, str)):
        return re.search(rf"\b{right}\b", message.split(": ", 1)[1]) is not None
    written = {f"{right:.{digits}f}" for digits in range(2, 7)} if right != round(right) else {f"{right:.0f}"}
    written |= {f"{100 * right:.{digits}f}" for digits in range(1, 4)}
    return any(re.search(rf"(?<![\d.]){re.escape(text)}(?!\d)", message.split(": ", 1)[1]) for text in written)


def wrong_answers(number: str) -> list[object]:
    """A wrong answer of the right kind, one of the wrong kind, and every usual mistake that is one in this study."""
    right, *mistakes = EXERCISES[number](PHANTOM)
    planted = {
        "truth": lambda: [not right, "forty"],
        "name": lambda: ["shin", 0.5],
        "count": lambda: [right + 9999, "forty"],
        "share": lambda: [right / 3, "forty"],
        "number": lambda: [right - 7.7, "forty"],
    }[KINDS[number]]()
    return planted + [mistake for mistake in mistakes if not checks.judge(number, mistake, PHANTOM).right]


@pytest.mark.parametrize("number", EXERCISES)
def test_wrong_answers_fail_with_help_that_does_not_give_the_answer_away(number: str) -> None:
    right = EXERCISES[number](PHANTOM)[0]
    assert checks.judge(number, right, PHANTOM) == (True, f"{number}: right")
    wrong = wrong_answers(number)
    assert len(wrong) >= (2 if KINDS[number] == "truth" else 3), "a wrong answer, a wrong kind and a usual mistake"
    for answer in wrong:
        found = checks.judge(number, answer, PHANTOM)
        assert found.right is False and found.message.startswith(f"{number}: ")
        if answer != "forty" and not (KINDS[number] == "truth" and isinstance(answer, bool)):
            assert not gives_away(found.message.replace(str(answer), ""), right), found.message
    told = [checks.judge(number, answer, PHANTOM).message for answer in wrong[2:]]
    assert len(set(told)) == len(told), "each usual mistake is named"


def test_every_exercise_has_words_and_every_mistake_a_value() -> None:
    assert list(checks.words()) == list(EXERCISES)
    for number, said in checks.words().items():
        assert len(EXERCISES[number](PHANTOM)) == 1 + len(said.mistakes), number
        assert said.kind in checks.EXPECTED and said.hint.endswith((".", "?")), number


def test_the_usual_mistake_is_named() -> None:
    files = PHANTOM.predictions("vgg16", "by_file", "none")
    assert "You counted files" in checks.judge("02.1", len(files), PHANTOM).message
    assert "specificity" in checks.judge("04.1", EXERCISES["04.1"](PHANTOM)[1], PHANTOM).message
    assert "at the others" not in checks.judge("07.1", " Grouped ", PHANTOM).message
    assert "honest split" in checks.judge("07.1", " Grouped ", PHANTOM).message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("0.7", "A number stands without quotes"),
        (True, "this is bool 'True'; expected a share from 0 to 1"),
        (69.5, "69.5 looks like percent or a count"),
        (-0.2, "-0.2 is no share"),
        (float("nan"), "this is nan"),
        (pd.Series([0.1, 0.2]), "this is Series of 2 values"),
        ([0.7], "this is list of 1 values"),
    ],
)
def test_an_answer_of_the_wrong_kind_is_told_what_is_expected(answer: object, said: str) -> None:
    found = checks.judge("04.1", answer, PHANTOM)
    assert found.right is False and said in found.message


def test_a_count_is_whole_and_a_rounded_share_is_near() -> None:
    assert "12.5 is no count" in checks.judge("02.1", 12.5, PHANTOM).message
    right = EXERCISES["04.1"](PHANTOM)[0]
    assert checks.judge("04.1", round(right, 2), PHANTOM).right
    assert "It is near" in checks.judge("04.1", right + 0.012, PHANTOM).message
    assert "percent" in checks.judge("03.3", 100 * EXERCISES["03.3"](PHANTOM)[0], PHANTOM).message


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_numpy_count_as_numbers(number: str) -> None:
    right = EXERCISES[number](PHANTOM)[0]
    assert checks.judge(number, np.float64(right), PHANTOM).right


def test_an_exercise_that_nobody_answered_does_not_fail(capsys: pytest.CaptureFixture) -> None:
    checks.check("02.1", ..., PHANTOM)
    assert capsys.readouterr().out == "02.1: not answered yet\n"
    assert checks.judge("02.1", None, PHANTOM).right is None


def test_an_unknown_exercise_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"there is no exercise '2.1'; did you mean '02.1'"):
        checks.judge("2.1", 1, PHANTOM)


def test_a_study_without_the_films_says_so() -> None:
    def table(_: str) -> pd.DataFrame:
        return pd.DataFrame(
            {"name": ["both say the same", "they differ"], "accuracy": [0.9, np.nan], "coverage": [1, 0]}
        )

    empty = Results("other", Path("nowhere"))
    object.__setattr__(empty, "table", table)
    assert checks.judge("06.1", 0.5, empty) == (
        None,
        '06.1: the study other has no film for this; take study = "phantom"',
    )


def test_the_run_of_this_machine_comes_before_the_published_one(home: Path, capsys: pytest.CaptureFixture) -> None:
    found, check = checks.open_study("phantom")
    assert found.folder == PHANTOM.folder, "a home without results has those that come with the code"
    check("02.1", 100)
    assert capsys.readouterr().out == "study phantom, as it is published\n02.1: right\n"
    own = home / "reports" / "phantom"
    own.mkdir(parents=True)
    (own / "claims.json").write_text("[]")
    assert checks.open_study("phantom")[0].folder == own
    with pytest.raises(FileNotFoundError, match=r"no finished results of the study 'phantm'.*run_all.sh phantm first"):
        checks.open_study("phantm")
