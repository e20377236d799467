"""A reference label beside the folders: where it comes from, how far both agree, and what a score follows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from osteo_utils.evidence import reference_label as ref
from osteo_utils.phantom import synthetic
from osteo_utils.sources import registry
from osteo_utils.study import results


def manifest(names: list[str], **columns: object) -> pd.DataFrame:
    table = pd.DataFrame({"image_id": names, "sha256": [f"sha {name}" for name in names]})
    table["class_name"] = [name.split("/")[0] for name in names]
    table["label"] = (table.class_name == "osteoporosis").astype(int)
    table = table.assign(status="ok", role="develop", row=range(len(names)), width=100, height=200, dataset="folder")
    return table.assign(**columns)


def people(levels: list[int], labels: list[int], films: int = 2) -> pd.DataFrame:
    """`films` films of each person; the person's level by the reference and label by the folder."""
    level, label = np.repeat(levels, films), np.repeat(labels, films)
    table = pd.DataFrame({"image_id": [f"f{n:03d}" for n in range(len(level))], "label": label, "level": level})
    table["class_name"] = np.where(label == 1, "osteoporosis", "normal")
    person = np.repeat(np.arange(len(levels)), films)
    return table.assign(
        value=[ref.GRADES[n] for n in level], person=person, group=person, t_score=np.nan, source="", name="x"
    )


def scored(table: pd.DataFrame, y_prob: np.ndarray) -> pd.DataFrame:
    columns = {"y_true": table.label, "y_prob": y_prob, "seed": 0, "view": 0}
    return table[["image_id", "group"]].assign(**columns)


@pytest.mark.parametrize(
    ("t_score", "expected"),
    [
        (-9, "osteoporosis"),
        (-2.5, "osteoporosis"),
        (-2.4, "osteopenia"),
        (-1.1, "osteopenia"),
        (-1.0, "normal"),
        (2, "normal"),
    ],
)
def test_t_scores_are_graded_as_the_who_does(t_score: float, expected: str) -> None:
    assert ref.grade(t_score) == expected


def test_a_table_beside_the_folders_gives_classes_or_t_scores(tmp_path: Path) -> None:
    files = manifest(["normal/1.png", "normal/2.png", "osteoporosis/3.png", "osteoporosis/4.png"])
    (tmp_path / "reference.csv").write_text(
        "filename;T-score\nnormal/1.png;-0,4\nnormal/2.png;\u22122,6\nosteoporosis/3.png;Osteopenia\nosteoporosis/4.png;NA\n",
        "utf-8",
    )
    path, said = tmp_path / "out" / "reference.csv", []
    assert ref.store(tmp_path, "folder", files, path, said.append) == 3
    found = results.read_table(path)
    assert found.value.tolist() == ["normal", "osteoporosis", "osteopenia"]
    assert found.t_score.iloc[:2].tolist() == [-0.4, -2.6] and np.isnan(found.t_score.iloc[2])
    (tmp_path / "reference.csv").unlink()
    assert ref.store(tmp_path, "folder", files, path) == 0 and not path.exists()


@pytest.mark.parametrize("value", ["0.85 g/cm2", "severe", "-25", "-1_0"])
def test_a_value_that_is_no_grade_and_no_t_score_is_refused_with_the_film(tmp_path: Path, value: str) -> None:
    (tmp_path / "reference.csv").write_text(f"image_id,value\nnormal/1.png,{value}\n")
    with pytest.raises(ValueError, match=r"reference.csv: normal/1.png has the value .* expected normal, osteopenia"):
        ref.store(tmp_path, "folder", manifest(["normal/1.png"]), tmp_path / "out.csv")


def test_films_that_are_not_used_may_be_in_the_table(tmp_path: Path) -> None:
    files = manifest(["normal/1.png", "osteopenia/2.png", "osteoporosis/3.png"], status=["ok", "excluded", "ok"])
    (tmp_path / "reference.csv").write_text("image_id,value\nnormal/1.png,-1\nosteopenia/2.png,-2\n")
    said: list[str] = []
    assert ref.store(tmp_path, "folder", files, tmp_path / "out.csv", said.append) == 1 and said == []
    assert results.read_table(tmp_path / "out.csv").image_id.tolist() == ["normal/1.png"]


@pytest.mark.parametrize("values", [("0", "1", "2"), ("0.85", "0.61", "1.1")])
def test_codes_of_classes_and_densities_do_not_pass_for_t_scores(tmp_path: Path, values: tuple[str, ...]) -> None:
    files = manifest([f"normal/{n}.png" for n in range(3)])
    rows = "".join(f"{name},{value}\n" for name, value in zip(files.image_id, values, strict=True))
    (tmp_path / "reference.csv").write_text("image_id,grade\n" + rows)
    with pytest.raises(ValueError, match=r"reference.csv: none of its 3 numbers is below 0, .* write these words"):
        ref.store(tmp_path, "folder", files, tmp_path / "out.csv")


def test_films_of_knee744_have_the_class_of_their_source_by_bytes_or_by_name(tmp_path: Path) -> None:
    walked = pd.read_csv(Path(registry.__file__).with_name("knee744_crosswalk.csv"), keep_default_na=False)
    once = walked.drop_duplicates("image_id").reset_index(drop=True)
    said: list[str] = []
    kept = ref.store(
        tmp_path, "knee744", manifest(once.image_id.tolist(), sha256=once.sha256), tmp_path / "a.csv", said.append
    )
    assert said == [] and kept == 672
    found = results.read_table(tmp_path / "a.csv").astype(object).fillna("")
    # 52 films have sources of several classes: no value, but a person.
    assert len(found) == 724 and (found.value == "").sum() == 52 and (found.source != "").all()
    scaled = once.sha256.where(once.index % 2 == 0, "other")
    ref.store(tmp_path, "knee744", manifest(once.image_id.tolist(), sha256=scaled), tmp_path / "b.csv", said.append)
    pd.testing.assert_frame_equal(results.read_table(tmp_path / "b.csv").astype(object).fillna(""), found)
    assert said == ["372 of 744 films have other bytes than published; they are known by their name"]
    torn = once[once.image_id.isin(found.image_id[found.value == ""])]
    alone = manifest(torn.image_id.tolist(), sha256=torn.sha256.to_numpy())
    assert ref.store(tmp_path, "knee744", alone, tmp_path / "a.csv") == 0 and not (tmp_path / "a.csv").exists()
    strange = manifest(["x/" + name for name in once.image_id], sha256=scaled)
    strange["class_name"] = once.image_id.str.split("/").str[0]
    assert ref.store(tmp_path, "knee744", strange, tmp_path / "c.csv", said.append) < kept
    assert said[1].endswith("they are without a reference")


def test_the_reference_of_a_synthetic_set_is_its_density_and_agrees(tmp_path: Path) -> None:
    synthetic.write(tmp_path, 30, 5, size=96, conflicts=0.0)
    truth = results.read_table(tmp_path / "truth.csv")
    files = manifest(truth.image_id.tolist())
    assert ref.store(tmp_path, "phantom", files, tmp_path / "reference.csv") == len(truth)
    images = files.assign(group=truth.knee.to_numpy())
    table = ref.joined(results.read_table(tmp_path / "reference.csv"), images)
    assert table.person.nunique() == 30
    found = ref.agreement(table, 200, 1)
    assert found["kappa"].value == found["kappa_extremes"].value == 1


def test_a_person_is_whoever_shares_a_group_or_a_source() -> None:
    images = manifest([f"normal/{n}.png" for n in range(5)]).assign(group=[0, 1, 1, 2, 3])
    reference = pd.DataFrame(
        {
            "image_id": images.image_id[[0, 1, 3, 4]], "value": ["normal", "normal", "osteopenia", ""],
            "t_score": np.nan, "source": ["s1", "s1", "s2", "s2"], "name": "x",
        }
    )  # fmt: skip
    table = ref.joined(reference, images)
    # Films 0, 1 (and 2 by its group) are one person, 3 and 4 another; 4 has no value, 2 no reference.
    assert table.image_id.tolist() == ["normal/0.png", "normal/1.png", "normal/3.png"]
    assert table.person.tolist() == [0, 0, 1] and table.level.tolist() == [0, 0, 1]


def test_agreement_is_cohens_kappa_and_its_interval_counts_persons() -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 3, 80)
    labels = np.where(rng.random(80) < 0.3, rng.integers(0, 2, 80), levels == 2).astype(int)
    once, twice = people(list(levels), list(labels), 1), people(list(levels), list(labels), 6)
    found, more = (ref.agreement(table, 500, 0) for table in (once, twice))
    assert found["kappa"].value == pytest.approx(cohen_kappa_score(labels == 1, levels == 2))
    far = levels != 1
    assert found["kappa_extremes"].value == pytest.approx(cohen_kappa_score(labels[far] * 2, levels[far]))
    weighted = cohen_kappa_score(labels * 2, levels, weights="linear", labels=[0, 1, 2])
    assert found["kappa_weighted"].value == pytest.approx(weighted)
    assert found["same"].value == pytest.approx((labels * 2 == levels)[far].mean())
    assert found["osteopenia"].value == pytest.approx((levels == 1).mean())
    for name, one in found.items():
        # Six copies of each film are no more evidence.
        assert more[name].value == pytest.approx(one.value)
        assert (more[name].low, more[name].high) == pytest.approx((one.low, one.high), abs=1e-12)
        assert one.low < one.value < one.high
    counts = ref.counted(once)
    assert counts.loc["osteoporosis", "normal"] == "{0} ({0})".format(((labels == 1) & (levels == 0)).sum())


@pytest.mark.parametrize(("follows", "folder", "reference"), [("label", 1.0, 0.5), ("level", 0.5, 1.0)])
def test_a_score_is_seen_to_follow_the_folder_or_the_reference(follows: str, folder: float, reference: float) -> None:
    # Folder and reference are independent; the score is one of the two with a little noise.
    rng = np.random.default_rng(1)
    levels, labels = rng.integers(0, 3, 240), rng.integers(0, 2, 240)
    table = people(list(levels), list(labels), 2)
    score = (table[follows] + rng.normal(0, 0.1, len(table))).rank(pct=True)
    found = ref.questions(scored(table, score.to_numpy()), table, 99, 200, 0).set_index(["follows", "among"])
    for key, expected in {
        ("folder", "all"): folder,
        ("reference", "extremes"): reference,
        ("folder", "osteopenia"): folder,
    }.items():
        row = found.loc[key]
        assert row.value == pytest.approx(expected, abs=0.1)
        assert row.low <= row.value <= row.high and (row.p_value == 0.01) == (expected == 1)
        assert row.chance_low < 0.5 < row.chance_high
    trend = ref.trend(scored(table, score.to_numpy()), table, 200, 0)
    assert trend.low <= trend.value <= trend.high and (trend.low > 0.8) == (follows == "level")


def test_a_question_that_has_too_few_films_of_a_class_is_not_asked() -> None:
    table = people([0] * 30 + [1] * 30, [0, 1] * 30, 1)
    found = ref.questions(scored(table, np.linspace(0.1, 0.9, 60)), table, 20, 100, 0)
    assert found.among.tolist() == ["all", "extremes", "normal", "osteopenia"] and (found.follows == "folder").all()


def test_what_cannot_be_estimated_is_left_out(recwarn: pytest.WarningsRecorder) -> None:
    few = people([0] * 8, [0, 1] * 4, 1)
    # No question can be asked, and the table still has its columns.
    assert ref.questions(scored(few, np.linspace(0.1, 0.9, 8)), few, 20, 100, 0).columns.tolist() == list(ref.ASKED)
    # Where folder or reference is always the same, kappa is 0 whatever the films show.
    assert list(ref.agreement(people([0, 1, 2] * 10, [0] * 30), 100, 0)) == ["same", "osteopenia"]
    assert list(ref.agreement(people([1] * 20, [0, 1] * 10), 100, 0)) == ["osteopenia"]
    # One person of each class: all resamples are alike, so an interval would have no width.
    two = people([0, 2], [0, 1], 15)
    assert ref.agreement(two, 100, 0) == {} and ref.trend(scored(two, np.linspace(0.1, 0.9, 30)), two, 100, 0) is None
    every = people([0, 1, 2] * 14, [0, 1] * 21)
    assert ref.trend(scored(every, np.full(84, 0.5)), every, 100, 0) is None
    assert not recwarn.list


def test_a_probe_without_folds_of_both_classes_is_none() -> None:
    # Five persons have a normal film and five an osteoporotic one, but one of them is the same: some fold has one class.
    table = people([0] * 5 + [2] * 4, [0, 1, 0, 1, 0, 1, 1, 1, 1], 2)
    table.loc[1, "level"] = 2
    assert ref.probe({"x": np.random.default_rng(0).normal(size=(18, 5))}, table, 5, 20, 100, 0) == {}


def test_a_probe_learns_the_reference_where_the_features_hold_it_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    levels = rng.integers(0, 3, 120)
    table = people(list(levels), list(rng.integers(0, 2, 120)), 2)
    noise = rng.normal(size=(len(table), 6))
    knows = noise.copy()
    knows[:, 0] += 3 * table.level
    found = ref.probe({"knows": knows, "noise": noise}, table, 5, 40, 200, 0)
    assert found["knows"].auroc.low > 0.9 and found["knows"].p_value < 0.03
    assert found["noise"].null.low < found["noise"].auroc.value < found["noise"].null.high
    assert ref.probe({"x": noise[:8]}, table.iloc[:8], 5, 40, 200, 0) == {}
