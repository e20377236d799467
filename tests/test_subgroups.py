"""Subgroups: which film belongs where, and scores that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.evidence import subgroups
from osteo_utils.images.image_store import STORE_SIDE, content_box
from osteo_utils.statistics import evaluation

N = 80


@pytest.fixture
def images() -> pd.DataFrame:
    """Forty knees, two films each save the last two; the first half are small JPEGs, dark and tall."""
    first = np.arange(N) < N // 2
    about = {"image_id": [f"f{n:02d}" for n in range(N)], "group": np.arange(N) // 2, "row": np.arange(N)}
    about |= {"width": np.where(first, 128, 300), "height": np.where(first, 256, 300)}
    table = pd.DataFrame(about | {"format": np.where(first, "JPEG", "PNG"), "label": np.arange(N) // 2 % 2})
    table.loc[N - 1, "group"] = N
    return table


@pytest.fixture
def stored(images: pd.DataFrame) -> np.ndarray:
    """Films of one grey level in a square that is white around them."""
    films = np.full((N, STORE_SIDE, STORE_SIDE), 255, np.uint8)
    for film, row in zip(films, images.itertuples(), strict=True):
        box = content_box(row.width, row.height)
        film[box.top : box.top + box.height, box.left : box.left + box.width] = 50 if row.row < N // 2 else 90
    return films


@pytest.fixture
def predictions(images: pd.DataFrame) -> pd.DataFrame:
    """All films of the first half are called rightly, every fourth of the second wrongly."""
    wrong = (np.arange(N) >= N // 2) & (np.arange(N) % 4 == 0)
    called = np.where(wrong, 1 - images.label, images.label)
    return images[["image_id", "group"]].assign(seed=0, view=0, y_true=images.label, y_prob=0.1 + 0.8 * called)


def test_each_film_gets_its_word(images: pd.DataFrame, stored: np.ndarray) -> None:
    words = subgroups.of_files(images, stored)
    first = {heading: word.iloc[0] for heading, word in words.items()}
    assert first["shape"] == "tall (over 3:2)" and words["shape"].iloc[-1] == "nearly square"
    assert first["resolution"] == "longer side up to 278 pixels"
    # The white around a film is no part of its brightness.
    assert first["brightness"] == "mean grey up to 70" and words["brightness"].iloc[-1] == "mean grey above 70"
    assert first["file type"] == "JPEG"
    assert words["films of the knee"].tolist() == ["several"] * (N - 2) + ["one", "one"]


def test_scores_are_those_of_the_part(images: pd.DataFrame, stored: np.ndarray, predictions: pd.DataFrame) -> None:
    table = subgroups.summarise(predictions, subgroups.of_files(images, stored), 200, 0).set_index(
        ["heading", "subgroup"]
    )
    assert table.accuracy["file type", "JPEG"] == 1 and table.accuracy["file type", "PNG"] == 0.75
    alone = evaluation.summarise(predictions.tail(N // 2), ("accuracy",), 200, 0)["accuracy"]
    png = table.loc[("file type", "PNG")]
    assert (png.accuracy_low, png.accuracy_high) == (alone.low, alone.high)
    assert png.n_files == 40 and png.n_groups == 21
    assert table.groupby("heading").n_files.sum().eq(N).all()


def test_a_subgroup_of_too_few_knees_has_no_score(
    images: pd.DataFrame, stored: np.ndarray, predictions: pd.DataFrame
) -> None:
    table = subgroups.summarise(predictions, subgroups.of_files(images, stored), 200, 0).set_index(
        ["heading", "subgroup"]
    )
    few = table.loc[("films of the knee", "one")]
    assert few.n_groups == 2 and few[["accuracy", "auroc_high"]].isna().all()


def test_a_film_without_a_word_is_named(images: pd.DataFrame, stored: np.ndarray, predictions: pd.DataFrame) -> None:
    words = {"file type": images.set_index("image_id").format.head(3)}
    with pytest.raises(ValueError, match="file type: no subgroup for f03"):
        subgroups.summarise(predictions, words, 200, 0)
