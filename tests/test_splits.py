"""Splits: who may be trained on when whom is scored, as properties of any table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from osteo_utils.protocols import splits
from osteo_utils.protocols.splits import Fold
from osteo_utils.study import results


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """A table with at least five clean groups of each class, groups of one to four files, some conflicts."""
    kinds = [0] * draw(st.integers(5, 20)) + [1] * draw(st.integers(5, 20)) + [2] * draw(st.integers(0, 4))
    rows = []
    for group, kind in enumerate(kinds):
        for copy in range(draw(st.integers(1, 4)) if kind < 2 else draw(st.integers(2, 4))):
            label = kind if kind < 2 else copy % 2
            rows.append((f"{label}/{group:03d}_{copy}.png", label, group, int(kind == 2)))
    table = pd.DataFrame(rows, columns=["image_id", "label", "group", "conflict"])
    return table.assign(knee=table["group"])


def even(n_groups: int = 40, size: int = 2) -> pd.DataFrame:
    """`n_groups` groups of `size` files, the first half normal."""
    rows = [
        (f"{group:03d}_{copy}.png", int(group >= n_groups // 2), group, 0)
        for group in range(n_groups)
        for copy in range(size)
    ]
    return pd.DataFrame(rows, columns=["image_id", "label", "group", "conflict"])


@given(tables(), st.sampled_from(["grouped", "grouped_all", "tuned_on_test"]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_group_lies_on_both_sides(table: pd.DataFrame, protocol: str, seed: int) -> None:
    folds = splits.make_folds(table, protocol, 5, seed).merge(table, on="image_id")
    assert folds.groupby("group").fold.nunique().eq(1).all()
    left_out = folds.fold == splits.LEFT_OUT
    assert (left_out == ((folds.conflict == 1) & (protocol != "grouped_all"))).all()
    splits.check_no_leak(folds.set_index("image_id").fold, folds.set_index("image_id").group)


@given(tables(), st.sampled_from(splits.PROTOCOLS), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_view_of_every_image_is_dealt_once(table: pd.DataFrame, protocol: str, seed: int) -> None:
    folds = splits.make_folds(table, protocol, 5, seed, views=3)
    results.check_table(folds, "folds")
    n_views = 3 if protocol == "augment_first" else 1
    wanted = {(name, view) for name in table.image_id for view in range(n_views)}
    assert len(folds) == len(wanted)
    assert set(zip(folds.image_id, folds.view, strict=True)) == wanted
    assert folds.fold[folds.fold != splits.LEFT_OUT].nunique() == (1 if protocol == "resubstitution" else 5)


@given(tables(), st.sampled_from(splits.PROTOCOLS), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows(table, protocol, shuffle) -> None:
    order = list(range(len(table)))
    shuffle.shuffle(order)
    first = splits.make_folds(table, protocol, 5, 7, views=2)
    pd.testing.assert_frame_equal(first, splits.make_folds(table.iloc[order], protocol, 5, 7, views=2))


@pytest.mark.parametrize("protocol", [name for name in splits.PROTOCOLS if name != "resubstitution"])
def test_another_seed_deals_other_folds(protocol: str) -> None:
    images = even().assign(knee=lambda table: table.group)
    one, two = (splits.make_folds(images, protocol, 5, seed, views=2).fold for seed in (0, 1))
    assert not one.equals(two)


@given(tables(), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_by_file_deals_each_class_evenly_to_one_file(table: pd.DataFrame, seed: int) -> None:
    folds = splits.make_folds(table, "by_file", 5, seed).merge(table, on="image_id")
    counts = pd.crosstab(folds.label, folds.fold)
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_grouped_folds_are_balanced_in_class_and_size(seed: int) -> None:
    table = pd.concat([even(200, 2), even(20, 4).assign(group=lambda frame: frame.group + 200)])
    table["image_id"] = table.group.astype(str) + "/" + table.image_id
    folds = splits.make_folds(table, "grouped", 5, seed).merge(table, on="image_id")
    sizes, shares = folds.groupby("fold").size(), folds.groupby("fold").label.mean()
    assert sizes.between(0.9 * len(table) / 5, 1.1 * len(table) / 5).all()
    assert shares.between(0.47, 0.53).all()


def test_a_split_by_file_and_views_dealt_as_images_do_leak() -> None:
    table = even()
    groups = table.set_index("image_id").group
    by_file = splits.make_folds(table, "by_file", 5, 0).set_index("image_id").fold
    with pytest.raises(ValueError, match="lies in more than one fold"):
        splits.check_no_leak(by_file, groups)
    views = splits.make_folds(table, "augment_first", 5, 0, views=4)
    spread = views.groupby("image_id").fold.agg(lambda folds: len(set(folds)))
    assert (spread > 1).mean() > 0.9


def test_one_file_on_the_wrong_side_is_named() -> None:
    table = even(10)
    folds = splits.make_folds(table, "grouped", 2, 0).set_index("image_id").fold
    groups = table.set_index("image_id").group
    splits.check_no_leak(folds, groups)
    folds["003_1.png"] = 1 - folds["003_1.png"]
    with pytest.raises(ValueError, match=r"group 3 .*003_0\.png, 003_1\.png"):
        splits.check_no_leak(folds, groups)


@pytest.mark.parametrize("protocol", ["grouped", "grouped_all", "tuned_on_test"])
def test_more_folds_than_groups_are_refused_with_a_way_out(protocol: str) -> None:
    with pytest.raises(ValueError, match=r"found 3 normal and 3 osteoporosis; n_folds of at most 3"):
        splits.make_folds(even(6, 4), protocol, 5, 0)
    splits.make_folds(even(6, 4), protocol, 3, 0)


def test_more_folds_than_files_are_refused() -> None:
    with pytest.raises(ValueError, match="by_file: 5 folds need at least 5 images"):
        splits.make_folds(even(8, 1), "by_file", 5, 0)


def test_a_conflict_group_does_not_count_as_one_to_split() -> None:
    table = even(10, 2)
    table.loc[table.group == 9, "conflict"] = 1
    with pytest.raises(ValueError, match="4 osteoporosis"):
        splits.make_folds(table, "grouped", 5, 0)
    splits.make_folds(table, "grouped_all", 5, 0)


def test_an_unknown_protocol_and_a_doubled_row_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'random'"):
        splits.make_folds(even(), "random", 5, 0)
    with pytest.raises(ValueError, match="listed twice"):
        splits.make_folds(pd.concat([even(), even()]), "grouped", 5, 0)


N = 24


def table(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": [f"c/{n:02d}.png" for n in range(N)], "label": [0] * (N // 2) + [1] * (N // 2)})
    frame["group"] = np.arange(N)
    frame["fold"] = np.arange(N) % 2
    return frame.assign(**columns)


def test_left_out_images_are_neither_trained_on_nor_scored() -> None:
    folds = np.where(np.arange(N) < 4, -1, np.arange(N) % 2)
    one = Fold("grouped", 0, 1, table(fold=folds))
    assert not set(range(4)) & (set(one.train) | set(one.test))
    assert (set(one.train) | set(one.test)) == set(range(4, N))


def folds_table(fold: np.ndarray, protocol: str = "grouped") -> pd.DataFrame:
    frame = table()[["image_id"]].assign(protocol=protocol, seed=0, view=0)
    return frame.assign(fold=fold)


def test_a_group_on_both_sides_is_refused_except_where_it_is_the_point() -> None:
    images = table(group=np.arange(N) // 2).drop(columns="fold")
    leaking = np.arange(N) % 2
    with pytest.raises(ValueError, match="group"):
        splits.fold_list(images, folds_table(leaking), ["grouped"], [0])
    assert len(splits.fold_list(images, folds_table(leaking, "by_file"), ["by_file"], [0])) == 2


def test_an_image_without_a_fold_is_named() -> None:
    images = table().drop(columns="fold")
    with pytest.raises(ValueError, match=r"no fold for c/00.png"):
        splits.fold_list(images, folds_table(np.arange(N) % 2).iloc[1:], ["grouped"], [0])


def test_the_inner_split_holds_out_whole_training_groups_of_both_classes() -> None:
    folds = np.where(np.arange(N) < 4, -1, np.arange(N) // 2 % 3)
    one = Fold("grouped", 0, 1, table(fold=folds, group=np.arange(N) // 2))
    learn, held = one.inner_split(0.25, seed=3)
    assert sorted([*learn, *held]) == sorted(one.train)
    assert not set(one.table.group[learn]) & set(one.table.group[held])
    assert set(one.labels[held]) == {0, 1}
    assert len(held) == pytest.approx(len(one.train) / 4, abs=1)
    everything, nothing = one.inner_split(0.0, seed=3)
    assert list(everything) == list(one.train) and not len(nothing)


def with_patients_of_both_labels(rng: np.random.Generator, n_groups: int) -> pd.DataFrame:
    """Patients with one to six films, half of them with films of either label at random."""
    rows = []
    for group in range(n_groups):
        kind = rng.choice([0, 1, 2], p=[0.3, 0.2, 0.5])
        films = [kind if kind < 2 else int(rng.random() < 0.5) for _ in range(rng.integers(1, 7))]
        rows += [(f"{group:02d}_{film}.png", label, group, 0) for film, label in enumerate(films)]
    return pd.DataFrame(rows, columns=["image_id", "label", "group", "conflict"])


def test_every_fold_holds_both_classes_or_it_is_said_what_to_do() -> None:
    rng, mended, refused = np.random.default_rng(1), 0, 0
    for _ in range(150):
        table = with_patients_of_both_labels(rng, int(rng.integers(4, 10)))
        kept = table.groupby("label").group.nunique().reindex([0, 1], fill_value=0)
        if kept.min() < 3:
            continue
        plain = StratifiedGroupKFold(3, shuffle=True, random_state=0).split(table, table.label, table.group)
        sound = all(table.label.iloc[scored].nunique() == 2 for _, scored in plain)
        try:
            folds = splits.make_folds(table, "grouped", 3, 0).merge(table, on="image_id")
        except ValueError as error:
            assert "leave a fold of one class" in str(error) and "fewer than 3 folds" in str(error)
            assert not sound
            refused += 1
            continue
        assert folds.groupby("fold").label.nunique().eq(2).all() and folds.fold.nunique() == 3
        mended += not sound
    assert mended > 0


def test_a_split_that_was_sound_stays_as_it_was() -> None:
    table = even()
    folds = splits.make_folds(table, "grouped", 5, 3).fold.to_numpy()
    for number, (_, scored) in enumerate(
        StratifiedGroupKFold(5, shuffle=True, random_state=3).split(table, table.label, table.group)
    ):
        assert (folds[scored] == number).all()


def test_one_patient_with_most_of_a_class_cannot_be_dealt_to_two_folds_of_both() -> None:
    """Patient 0 has every normal film but one; that one's patient has films of both."""
    rows = [
        ("0_0.png", 0, 0, 0),
        ("1_0.png", 0, 0, 0),
        ("2_0.png", 0, 1, 0),
        ("3_0.png", 1, 1, 0),
        ("4_0.png", 1, 1, 0),
    ]
    table = pd.DataFrame([*rows, ("5_0.png", 1, 0, 0)], columns=["image_id", "label", "group", "conflict"])
    folds = splits.make_folds(table, "grouped", 2, 0).merge(table, on="image_id")
    assert folds.groupby("fold").label.nunique().eq(2).all()


def test_knees_stay_together_where_persons_do_not_and_only_then_it_passes_for_that() -> None:
    """Forty persons with two knees of two files each."""
    table = even(80).assign(knee=lambda t: t.group, group=lambda t: t.group // 2)
    folds = splits.make_folds(table, "grouped_knees", 5, 1)
    merged = folds.merge(table, on="image_id")
    assert merged.groupby("knee").fold.nunique().eq(1).all()
    assert merged.groupby("group").fold.nunique().max() == 2
    jobs = splits.fold_list(table.drop(columns="conflict"), folds, ["grouped_knees"], [1])
    assert (jobs[0].inner_groups == table.knee).all()
    with pytest.raises(ValueError, match="lies in more than one fold"):
        splits.fold_list(table, folds.assign(protocol="grouped"), ["grouped"], [1])
