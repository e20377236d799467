"""Guessing the label from what is not bone: planted shortcuts are found, shuffled labels are not."""

import numpy as np
import pandas as pd
import pytest

from osteo_utils.evidence import shortcuts
from osteo_utils.protocols import splits

N = 240


@pytest.fixture(scope="module")
def images() -> pd.DataFrame:
    """Two files per knee, and every fourth knee of the first class has a third file."""
    groups = np.repeat(np.arange(N // 2), 2)
    table = pd.DataFrame({"group": groups, "label": groups % 2})
    table["image_id"] = [f"{'osteoporosis' if y else 'normal'}/{n:03d}.png" for n, y in enumerate(table.label)]
    return table.assign(conflict=0)


@pytest.fixture(scope="module")
def folds(images: pd.DataFrame) -> pd.Series:
    return splits.make_folds(images, "grouped", 5, seed=0).set_index("image_id").fold


def test_a_planted_shortcut_is_found_with_its_interval_above_the_shuffled_labels(
    images: pd.DataFrame, folds: pd.Series
) -> None:
    features = np.random.default_rng(0).normal(size=(N, 60))
    features[:, :20] += 0.8 * images.label.to_numpy()[:, None]
    found = shortcuts.compare_with_shuffled(features, images, folds, 50, 200, seed=1)
    assert found.auroc.low > 0.7
    assert found.auroc.low > found.null.high
    assert found.p_value == pytest.approx(1 / 51)
    assert found.auroc.n_files == N


def test_noise_and_shuffled_labels_stay_at_chance(images: pd.DataFrame, folds: pd.Series) -> None:
    # Copies of a knee share their noise: a split or a shuffle that ignored groups would score above chance.
    features = np.random.default_rng(2).normal(size=(N // 2, 40))[images.group]
    found = shortcuts.compare_with_shuffled(features, images, folds, 200, 200, seed=1)
    assert found.null.value == pytest.approx(0.5, abs=0.01)
    assert found.null.low < found.auroc.value < found.null.high
    assert found.p_value > 0.05


def test_folds_of_unlike_shares_and_levels_do_not_push_chance_below_one_half(images: pd.DataFrame) -> None:
    # The first fold holds mostly cases and is brighter: trained on the rest, its cases would be ranked lowest.
    order = np.random.default_rng(6).permutation(N // 2)
    first = np.isin(images.group, [*order[order % 2 == 1][:20], *order[order % 2 == 0][:4]])
    folds = pd.Series(np.where(first, 0, 1 + images.group % 4), images.image_id)
    features = np.random.default_rng(7).normal(size=(N // 2, 40))[images.group] + first[:, None]
    found = shortcuts.compare_with_shuffled(features, images, folds, 200, 50, seed=1)
    assert found.null.value == pytest.approx(0.5, abs=0.01)


def test_a_shape_that_no_straight_line_follows_is_found_in_few_features(images: pd.DataFrame, folds: pd.Series) -> None:
    width = np.random.default_rng(3).uniform(0, 1, N)
    width = np.where(images.label == 1, 0.5 + (width - 0.5) / 4, width)
    found = shortcuts.compare_with_shuffled(width[:, None], images, folds, 20, 200, seed=1)
    assert found.auroc.low > 0.7


def test_left_out_images_are_not_guessed_and_do_not_shape_the_guesses(images: pd.DataFrame, folds: pd.Series) -> None:
    features = np.random.default_rng(4).normal(size=(N, 50))
    without = folds.where(~folds.index.isin(images.image_id[images.group < 4]), -1)
    first = shortcuts.predict(features, images, without)
    changed = np.where((images.group < 4).to_numpy()[:, None], 1e6, features)
    pd.testing.assert_frame_equal(first, shortcuts.predict(changed, images, without))
    assert not set(first.group) & {0, 1, 2, 3}


def test_two_knees_of_a_patient_may_differ_but_a_group_in_two_folds_is_refused(
    images: pd.DataFrame, folds: pd.Series
) -> None:
    mixed = images.assign(label=images.label.where(images.index != 0, 1 - images.label))
    features = np.random.default_rng(5).normal(size=(N, 3))
    found = shortcuts.compare_with_shuffled(features, mixed, folds, 20, 50, seed=0)
    assert found.null.low < 0.5 < found.null.high
    torn = folds.copy()
    torn[images.image_id[0]] = (torn[images.image_id[1]] + 1) % 5
    with pytest.raises(ValueError, match="group 0 lies in two folds"):
        shortcuts.compare_with_shuffled(features, images, torn, 5, 20, seed=0)


def test_features_of_files_come_from_the_manifest() -> None:
    manifest = pd.DataFrame(
        {"width": [100, 200], "height": [200, 200], "bytes": [1000, 8000], "format": ["JPEG", "PNG"], "mode": "L"}
    )
    found = shortcuts.of_files(manifest)
    np.testing.assert_allclose(found["size"], [[100, 200, 0.5], [200, 200, 1.0]])
    assert found["metadata"].shape == (2, 8)
    np.testing.assert_allclose(found["metadata"][:, 4], [0.05, 0.2])


def test_each_region_sees_its_part_of_the_film_and_nothing_else() -> None:
    film = np.full((300, 200), 90, np.uint8)
    centre = film.copy()
    centre[100:200, 70:130] = 255
    corner = film.copy()
    corner[:20, -20:] = 255
    plain, inside, marked = (
        {name: values[number] for name, values in shortcuts.of_films([film, centre, corner]).items()}
        for number in range(3)
    )
    for name in ("border", "marker"):
        np.testing.assert_array_equal(plain[name], inside[name])
        assert not np.array_equal(plain[name], marked[name])
    assert plain["histogram"].sum() == pytest.approx(1)
    assert not np.array_equal(plain["thumbnail"], inside["thumbnail"])


def test_the_background_holds_nothing_of_the_bone() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((120, 80), np.uint8)
    mask[:, 30:50] = 1
    tissue = np.tile(np.linspace(40, 90, 80), (120, 1))
    films = []
    for level in (120, 240):
        film = tissue.copy()
        film[:, 30:50] = level + rng.normal(0, 5, (120, 20))
        films.append(np.rint(film).astype(np.uint8))
    first, second = shortcuts.background(films, [mask, mask])
    np.testing.assert_array_equal(first, second)
    assert first.reshape(32, 32)[16, 16] == pytest.approx(65, abs=4)


def test_the_table_has_a_row_and_a_meaning_for_every_set(images: pd.DataFrame, folds: pd.Series) -> None:
    sets = {"size": np.random.default_rng(0).normal(size=(N, 3)), "border": np.zeros((N, 4))}
    table = shortcuts.as_table(shortcuts.compare_all(sets, images, folds, 10, 50, seed=0))
    assert table.features.tolist() == ["size", "border"]
    assert table.meaning.tolist() == [shortcuts.MEANING["size"], shortcuts.MEANING["border"]]
    assert table.value[1] == 0.5, "features that never vary say nothing"


def test_a_yes_or_no_is_not_lost_between_quantiles(images: pd.DataFrame, folds: pd.Series) -> None:
    # Half of the films have the label, and none of the sixths is cut there; beside it stands a number without meaning.
    known = np.c_[images.label, np.random.default_rng(8).normal(size=N // 2)[images.group]]
    found = shortcuts.compare_with_shuffled(known, images, folds, 20, 50, seed=1)
    assert found.auroc.value > 0.99
    fewer = np.where(np.arange(N) % 5 == 0, 0, images.label)
    assert shortcuts.compare_with_shuffled(np.c_[fewer, known[:, 1]], images, folds, 20, 50, 1).auroc.value > 0.85
