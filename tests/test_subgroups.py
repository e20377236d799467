"""Subgroups: which film belongs where, scores counted by hand, and abstaining."""

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
    about = {
        "image_id": [f"f{n:02d}" for n in range(N)],
        "group": np.arange(N) // 4,
        "knee": np.arange(N) // 2,
        "row": np.arange(N),
    }
    about |= {"width": np.where(first, 128, 300), "height": np.where(first, 256, 300)}
    table = pd.DataFrame(about | {"format": np.where(first, "JPEG", "PNG"), "label": np.arange(N) // 2 % 2})
    table.loc[N - 1, ["group", "knee"]] = N
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
    assert png.n_files == 40 and png.n_groups == 11
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


def table(y_true, y_prob, folds=None, groups=None, seed=0):
    n = len(y_true)
    return pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(n)], "view": 0, "seed": seed,
            "fold": np.arange(n) % 2 if folds is None else folds,
            "group": np.arange(n) if groups is None else groups, "y_true": y_true, "y_prob": y_prob,
        }
    )  # fmt: skip


def test_films_are_parted_by_whether_two_models_say_the_same():
    y = [1, 1, 1, 0, 0, 0, 0, 1]
    a = [0.9, 0.8, 0.3, 0.1, 0.2, 0.7, 0.6, 0.9]
    b = [0.7, 0.6, 0.2, 0.3, 0.1, 0.1, 0.9, 0.2]
    # They differ on the sixth (mean 0.4: right) and the last (mean 0.55: right); agree rightly on four of six.
    found = subgroups.agreement(table(y, a), table(y, b), 100).set_index("name")
    assert found["films"].tolist() == [6, 2]
    assert found["coverage"].tolist() == [0.75, 0.25]
    assert found["accuracy"].tolist() == pytest.approx([4 / 6, 1])


def test_two_seeds_are_averaged_and_models_of_one_mind_leave_no_film():
    y, p = [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.4]
    two = pd.concat([table(y, p), table(y, [0.1, 0.9, 0.2, 0.8], seed=1)])
    found = subgroups.agreement(two, two, 50)
    assert found["films"].tolist() == [4, 0]
    assert found["accuracy"].iloc[0] == pytest.approx((0.75 + 1) / 2)
    assert np.isnan(found["accuracy"].iloc[1])


def test_the_bar_is_the_certainty_that_the_wanted_share_of_the_other_fold_has():
    # Fold 1 is certain by 0.05, 0.15, ... 0.45: half of its ten films are certain by 0.25 and more.
    certain = np.repeat(np.arange(5) / 10 + 0.05, 2)
    y = np.tile([0, 1], 10)
    p = np.r_[0.5 + certain, 0.5 + np.full(10, 0.25)]
    folds = np.r_[np.ones(10, int), np.zeros(10, int)]
    found = subgroups.most_certain(table(y, p, folds), np.array([0.5, 1.0]), 20)
    # All of fold 0 are as certain as 0.25, and the six of fold 1 that are as certain as any of fold 0.
    assert found["coverage"].tolist() == [(10 + 6) / 20, 1.0]
    assert found["accuracy"].iloc[1] == 0.5


def test_how_many_are_decided_is_what_the_definition_counts():
    rng = np.random.default_rng(1)
    y, p, folds = np.arange(40) % 2, rng.random(40), np.arange(40) // 20
    certainty = np.abs(p - 0.5)
    found = subgroups.most_certain(table(y, p, folds), np.array([0.3, 0.6]), 2)
    for share, reached in zip((0.3, 0.6), found["coverage"], strict=True):
        count = 0
        for fold in (0, 1):
            known = np.sort(certainty[folds != fold])
            bar = known[int(np.ceil(round(19 * (1 - share), 9)))]
            count += (certainty[folds == fold] >= bar).sum()
        assert reached == count / 40


def test_the_certain_are_the_right_ones_where_probabilities_can_be_believed():
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, 2000)
    y = (rng.random(2000) < p).astype(int)
    found = subgroups.most_certain(table(y, p), np.array([0.2, 0.5, 1.0]), 100)
    # The mean of max(p, 1 - p) over the outer fifth, half and whole of a uniform p.
    assert found["accuracy"].tolist() == pytest.approx([0.95, 0.875, 0.75], abs=0.03)
    assert ((found["low"] < found["accuracy"]) & (found["accuracy"] < found["high"])).all()


def test_a_lone_fold_and_an_impossible_share_are_refused():
    frame = table([0, 1], [0.2, 0.8], folds=[0, 0])
    with pytest.raises(ValueError, match="only one fold"):
        subgroups.most_certain(frame)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        subgroups.most_certain(frame, np.array([80.0]))
