"""The audit: planted copies are found, different knees are kept apart, conflicts and chains are said."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import samples
from PIL import Image

from osteo_utils.audit import groups, neighbours
from osteo_utils.images import image_store
from osteo_utils.phantom import design, synthetic
from osteo_utils.study import results

N_KNEES = 18
recall = samples.benchmark("copies_recall")
jpeg, resized = recall.jpeg, recall.resized


def turned(film: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(film).rotate(degrees, Image.Resampling.BICUBIC))


def cropped(film: np.ndarray, share: float) -> np.ndarray:
    y, x = (round(side * share) for side in film.shape)
    return film[y:-y, x:-x]


def dimmer(film: np.ndarray) -> np.ndarray:
    return (film * 0.6 + 30).astype(np.uint8)


ALTERATIONS = {
    "recompressed": jpeg,
    "half size": lambda film: resized(film, 0.5, 0.5),
    "squeezed": lambda film: resized(film, 1.0, 0.6),
    "mirrored": lambda film: film[:, ::-1],
    "brightness and contrast": dimmer,
    "gamma": lambda film: (255 * (film / 255) ** 0.7).astype(np.uint8),
    "padded": lambda film: np.pad(film, ((20, 5), (40, 60))),
    "white border": lambda film: np.pad(film, ((0, 12), (0, 0)), constant_values=255),
    "thick white border": lambda film: np.pad(film, ((0, len(film) // 5), (0, 0)), constant_values=255),
    "its foot end under white": lambda film: np.where(np.arange(len(film))[:, None] < 0.87 * len(film), film, 255),
    "cropped": lambda film: cropped(film, 0.06),
    "turned": lambda film: turned(film, 2.0),
    "a quarter turn": lambda film: np.rot90(film),
    "a quarter turn back, mirrored": lambda film: np.rot90(film[:, ::-1], -1),
    "upside down": lambda film: np.rot90(film, 2),
    "mirrored, smaller, recompressed": lambda film: jpeg(resized(film[:, ::-1], 0.6, 0.6)),
}


def manifest_of(films: list[np.ndarray], labels: list[int]) -> tuple[np.ndarray, pd.DataFrame]:
    """A store and manifest of films, as notebook 01 would write them."""
    stored, rows = [], []
    for row, (film, label) in enumerate(zip(films, labels, strict=True)):
        film = np.ascontiguousarray(film)
        square, scale, left, top = image_store.to_store(film)
        digest = hashlib.sha256(str(film.shape).encode() + film.tobytes()).hexdigest()
        stored.append(square)
        rows.append(
            {
                **{"image_id": f"{design.CLASSES[label]}/{row:03d}.png", "label": label, "row": row},
                **{"class_name": design.CLASSES[label], "status": "ok", "sha256": digest},
                **{"pixel_sha256": digest, "width": film.shape[1], "height": film.shape[0]},
                **{"scale": scale, "pad_left": left, "pad_top": top},
            }
        )
    return np.stack(stored), pd.DataFrame(rows)


@pytest.fixture(scope="module")
def knees() -> list[np.ndarray]:
    """Different synthetic knees: no two of them are the same."""
    return list(synthetic.draw(5, N_KNEES, size=320, copies=0.0).images)


@pytest.fixture(scope="module")
def planted(knees: list[np.ndarray]) -> pd.DataFrame:
    """Every knee once, and one altered copy of each of the first knees; `of` is the knee, `how` the change."""
    altered = [change(film) for change, film in zip(ALTERATIONS.values(), knees, strict=False)]
    images, manifest = manifest_of(knees + altered, [0] * len(knees + altered))
    table = groups.audit(images, manifest)
    table["of"] = [*range(N_KNEES), *range(len(altered))]
    table["how"] = [""] * N_KNEES + list(ALTERATIONS)
    return table


@pytest.mark.parametrize("how", ALTERATIONS)
def test_a_copy_is_found_however_it_was_altered(planted: pd.DataFrame, how: str) -> None:
    copy = planted[planted.how == how].iloc[0]
    original = planted[(planted.of == copy.of) & (planted.how == "")].iloc[0]
    assert copy.group == original.group
    assert copy.relation == original.relation == "perceptual"
    assert copy.nearest == original.image_id
    assert 0 <= copy.distance < 0.13


def test_different_knees_are_not_joined(planted: pd.DataFrame) -> None:
    assert planted.groupby("group").of.nunique().eq(1).all()
    alone = planted[planted.of >= len(ALTERATIONS)]
    assert alone.relation.eq("unique").all()


def test_a_set_with_known_copies_is_grouped_as_it_was_drawn() -> None:
    drawn = synthetic.draw(3, 16, size=256, copies=0.5, conflicts=0.5)
    images, manifest = manifest_of(list(drawn.images), drawn.table.label.tolist())
    table = groups.audit(images, manifest).merge(manifest[["image_id", "row"]]).sort_values("row")
    truth = drawn.table.knee.to_numpy()
    same = truth[:, None] == truth[None]
    group = table.group.to_numpy()
    assert np.array_equal(group[:, None] == group[None], same)
    assert np.array_equal(table.conflict, drawn.table.conflict)


def test_exact_and_pixel_copies_need_no_picture(knees: list[np.ndarray]) -> None:
    images, manifest = manifest_of([knees[0], knees[0], knees[1], knees[1]], [0, 0, 0, 0])
    manifest.loc[3, "sha256"] = "the same pixels in another container"
    table = groups.audit(images, manifest)
    assert table.relation.tolist() == ["exact", "exact", "pixel", "pixel"]
    assert table.group.tolist() == [0, 0, 1, 1]
    assert table.distance.tolist() == [0, 0, 0, 0]


def test_both_labels_in_a_group_are_a_conflict_of_the_whole_group(knees: list[np.ndarray]) -> None:
    images, manifest = manifest_of([knees[0], knees[1], jpeg(knees[0]), dimmer(knees[0])], [0, 0, 0, 1])
    table = groups.audit(images, manifest).set_index("image_id")
    assert table.conflict.to_dict() == {
        "normal/000.png": 1,
        "normal/001.png": 0,
        "normal/002.png": 1,
        "osteoporosis/003.png": 1,
    }


def test_the_audit_fits_its_contract_and_does_not_depend_on_the_order_of_rows(knees: list[np.ndarray]) -> None:
    images, manifest = manifest_of([*knees[:4], jpeg(knees[2])], [0, 1, 0, 1, 1])
    table = groups.audit(images, manifest)
    results.check_table(table, "audit")
    pd.testing.assert_frame_equal(table, groups.audit(images, manifest.sample(frac=1, random_state=1)))


def test_one_leg_cut_from_a_film_of_two_is_found(knees: list[np.ndarray]) -> None:
    gap = np.zeros((knees[0].shape[0], 20), np.uint8)
    left, right = knees[0], np.asarray(Image.fromarray(knees[1]).resize(knees[0].shape[::-1]))
    images, manifest = manifest_of([np.hstack([left, gap, right]), right, left, knees[2]], [0, 0, 0, 0])
    table = groups.audit(images, manifest)
    assert table.group.tolist() == [0, 0, 0, 1]


def test_films_of_a_patient_are_one_group_and_no_conflict(knees: list[np.ndarray]) -> None:
    images, manifest = manifest_of([knees[0], knees[1], knees[2], jpeg(knees[2])], [0, 1, 0, 1])
    table = groups.audit(images, manifest.assign(patient=["a", "a", "", "b"]))
    assert table.group.tolist() == [0, 1, 0, 1], "by name: 000, 002, 001, 003"
    assert table.knee.tolist() == [0, 1, 2, 1], "the knees of a patient stay two"
    assert table.relation.tolist() == ["patient", "perceptual", "patient", "perceptual"]
    assert table.conflict.tolist() == [0, 1, 0, 1], "two knees of a patient may differ, two copies may not"


@pytest.mark.parametrize("turn", range(8))
def test_a_turn_and_its_undoing_leave_a_film_as_it_was(turn: int) -> None:
    def laid(film: np.ndarray, way: int) -> np.ndarray:
        return neighbours.flipped(np.rot90(film) if way & neighbours.QUARTER else film, way)

    film = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(laid(laid(film, turn), neighbours.inverse(turn)), film)


def test_quarantined_and_unlabelled_rows_stay_out(knees: list[np.ndarray]) -> None:
    images, manifest = manifest_of(knees[:4], [0, 0, 1, 1])
    manifest["label"] = manifest.label.astype(float)
    manifest.loc[1, "status"], manifest.loc[2, "label"] = "quarantined", np.nan
    assert groups.audit(images, manifest).image_id.tolist() == ["normal/000.png", "osteoporosis/003.png"]


def test_a_chain_of_unlike_films_is_called_a_chain(knees: list[np.ndarray]) -> None:
    images, manifest = manifest_of(knees[:3], [0, 0, 0])
    names = manifest.image_id
    links = pd.DataFrame({"first": names[:2], "second": names[1:].tolist(), "turn": 0, "similarity": [0.95, 0.9]})
    table = groups.audit(images, manifest, links)
    assert table.group.tolist() == [0, 0, 0]
    inspected = groups.inspect_groups(table, images, manifest)
    assert inspected.verdict.tolist() == ["chained"]
    images, manifest = manifest_of([knees[0], jpeg(knees[0]), dimmer(knees[0])], [0, 0, 0])
    inspected = groups.inspect_groups(groups.audit(images, manifest), images, manifest)
    assert inspected.verdict.tolist() == ["consistent"]


@pytest.mark.parametrize(("similarity", "expected"), [(0.87, [0, 0]), (0.85, [0, 1])])
def test_the_threshold_joins_from_0_86(similarity: float, expected: list[int]) -> None:
    images, manifest = manifest_of([np.eye(64, dtype=np.uint8), np.eye(64, dtype=np.uint8) * 9], [0, 1])
    first, second = manifest.image_id
    pairs = pd.DataFrame({"first": [first], "second": [second], "similarity": [similarity]})
    table = groups.audit(images, manifest, pairs)
    assert table.group.tolist() == expected
    assert table.nearest.tolist() == [second, first]
    assert table.conflict.tolist() == [int(expected == [0, 0])] * 2


def test_counts_and_flow_on_a_set_counted_by_hand() -> None:
    manifest = pd.DataFrame(
        {
            "image_id": ["n/1", "n/2", "n/3", "o/1", "o/2", "n/broken"],
            "class_name": ["normal"] * 3 + ["osteoporosis"] * 2 + ["normal"],
            "sha256": ["a", "a", "b", "c", "d", "e"],
            "status": ["ok"] * 5 + ["quarantined"],
            "reason": [""] * 5 + ["cut off"],
        }
    )
    table = pd.DataFrame(
        {
            "image_id": ["n/1", "n/2", "n/3", "o/1", "o/2"],
            "group": [0, 0, 1, 1, 0],
            "knee": [0, 0, 1, 1, 2],
            "relation": ["exact", "exact", "perceptual", "perceptual", "patient"],
            "conflict": [0, 0, 1, 1, 0],
        }
    )
    counts = groups.counts(manifest, table)
    assert counts["all"].tolist() == [5, 2, 3, 4, 2, 2, 0, 2, 1, 1, 2, 2]
    assert counts.loc["knees", ["normal", "osteoporosis"]].tolist() == [2, 2]
    flow = groups.flow(manifest, table)
    assert flow.files.tolist() == [6, 0, 1, 5, 1, 1, 2, 3]
    assert flow.knees.dropna().tolist() == [3, 1, 2] and flow.groups.dropna().tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("status", "label", "step", "place"),
    [
        ("excluded", np.nan, "of these, osteopenia by the study's rule", "excluded: of another class"),
        ("ok", 0, "of these, osteopenia, counted as normal by the study's rule", "readable and labelled"),
    ],
)
def test_the_flow_says_what_became_of_osteopenia(status: str, label: float, step: str, place: str) -> None:
    manifest = pd.DataFrame(
        {
            "image_id": ["n/1", "o/1", "p/1", "p/2"],
            "class_name": ["normal", "osteoporosis", "osteopenia", "osteopenia"],
            "label": [0, 1, label, label],
            "sha256": list("abcd"),
            "status": ["ok", "ok", status, status],
            "reason": "",
        }
    )
    kept = manifest.loc[manifest.status == "ok", ["image_id"]].reset_index(drop=True)
    table = kept.assign(group=range(len(kept)), knee=range(len(kept)), relation="unique", conflict=0)
    flow = groups.flow(manifest, table)
    row = flow.index[flow.step == step]
    assert flow.files[row].tolist() == [2]
    assert flow.step[row[0] - 1] == place


def test_the_examples_of_a_conflict_show_both_labels() -> None:
    table = pd.DataFrame(
        {
            "image_id": ["normal/1", "normal/2", "osteoporosis/1", "normal/3", "normal/4", "normal/5"],
            "group": [0, 0, 0, 1, 1, 1],
            "knee": [0, 0, 0, 1, 1, 2],
            "relation": ["exact"] * 5 + ["patient"],
            "conflict": [1, 1, 1, 0, 0, 0],
        }
    )
    shown = groups.examples(table, seed=0)
    assert shown.image_id.tolist() == ["normal/1", "osteoporosis/1", "normal/3", "normal/4"]


def test_where_each_folder_is_a_class_of_its_own_no_rule_for_osteopenia_is_told() -> None:
    names = ["abnormal", "normal", "osteopenia", "osteoporosis"]
    about = {"image_id": names, "class_name": names, "sha256": names, "status": "ok", "label": range(4), "reason": ""}
    table = pd.DataFrame({"image_id": names, "group": range(4), "knee": range(4), "relation": "unique", "conflict": 0})
    assert not groups.flow(pd.DataFrame(about), table).step.str.contains("osteopenia").any()
