"""A reference label beside the folders: where it comes from, how far both agree, and what can learn it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from samples import people

from osteo_utils.evidence import reference_label as ref
from osteo_utils.phantom import synthetic
from osteo_utils.sources import registry
from osteo_utils.statistics import two_labels
from osteo_utils.study import results


def manifest(names: list[str], **columns: object) -> pd.DataFrame:
    table = pd.DataFrame({"image_id": names, "sha256": [f"sha {name}" for name in names]})
    table["class_name"] = [name.split("/")[0] for name in names]
    table["label"] = (table.class_name == "osteoporosis").astype(int)
    table = table.assign(status="ok", role="develop", row=range(len(names)), width=100, height=200, dataset="folder")
    return table.assign(**columns)


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
    torn = once[once.image_id.isin(found.image_id[found.value == ""])]
    alone = manifest(torn.image_id.tolist(), sha256=torn.sha256.to_numpy())
    assert ref.store(tmp_path, "knee744", alone, tmp_path / "a.csv") == 0 and not (tmp_path / "a.csv").exists()
    strange = manifest(["x/" + name for name in once.image_id], sha256=scaled)
    strange["class_name"] = once.image_id.str.split("/").str[0]
    assert ref.store(tmp_path, "knee744", strange, tmp_path / "c.csv", said.append) < kept


def test_the_reference_of_a_synthetic_set_is_its_density_and_agrees(tmp_path: Path) -> None:
    synthetic.write(tmp_path, 30, 5, size=96, conflicts=0.0)
    truth = results.read_table(tmp_path / "truth.csv")
    files = manifest(truth.image_id.tolist())
    assert ref.store(tmp_path, "phantom", files, tmp_path / "reference.csv") == len(truth)
    images = files.assign(group=truth.knee.to_numpy())
    table = ref.joined(results.read_table(tmp_path / "reference.csv"), images)
    assert table.group.nunique() == 30
    found = two_labels.agreement(table, 200, 1)
    assert found["kappa"].value == found["kappa_extremes"].value == 1


def test_films_without_a_class_in_the_reference_are_left_out() -> None:
    images = manifest([f"normal/{n}.png" for n in range(5)]).assign(group=[0, 1, 1, 2, 3])
    reference = pd.DataFrame(
        {
            "image_id": images.image_id[[0, 1, 3, 4]], "value": ["normal", "normal", "osteopenia", ""],
            "t_score": np.nan, "severity": np.nan, "source": ["s1", "s1", "s2", "s2"], "name": "x",
        }
    )  # fmt: skip
    table = ref.joined(reference, images)
    assert table.image_id.tolist() == ["normal/0.png", "normal/1.png", "normal/3.png"]
    assert table.group.tolist() == [0, 1, 2] and table.level.tolist() == [0, 0, 1]


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


@pytest.mark.parametrize(
    ("osteoporosis", "normal", "values", "expected", "severity"),
    [
        ("0.57", "0,70", ["0.57", "0.6", "0.7"], ["osteoporosis", "osteopenia", "normal"], [-0.57, -0.6, -0.7]),
        ("20", "10", ["20", "15", "10"], ["osteoporosis", "osteopenia", "normal"], [20, 15, 10]),
        ("65", "65", ["65", "65.1", "80"], ["osteoporosis", "normal", "normal"], [-65, -65.1, -80]),
    ],
)
def test_numbers_of_another_measure_are_graded_by_the_cut_offs_of_the_table(
    tmp_path: Path, osteoporosis: str, normal: str, values: list[str], expected: list[str], severity: list[float]
) -> None:
    files = manifest([f"normal/{n}.png" for n in range(3)])
    rows = [
        f"{name};{value};hip BMD;g/cm2;{osteoporosis};{normal}"
        for name, value in zip(files.image_id, values, strict=True)
    ]
    (tmp_path / "reference.csv").write_text(
        "image_id;value;Measure;unit;osteoporosis;normal\n" + "\n".join(rows) + "\n"
    )
    said: list[str] = []
    assert ref.store(tmp_path, "folder", files, tmp_path / "out.csv", said.append) == 3
    # One cut-off does not tell which side of it is worse.
    assert said == (
        ["reference.csv: both cut-offs are 65, so a lower number is taken for worse and no film has osteopenia"]
        if osteoporosis == normal
        else []
    )
    found = results.read_table(tmp_path / "out.csv")
    assert found.value.tolist() == expected and found.severity.tolist() == severity
    assert found.t_score.isna().all() and set(found.name) == {"hip BMD (g/cm2)"}


@pytest.mark.parametrize(
    ("columns", "row", "text"),
    [
        ("osteoporosis", "0.5", "normal is not given; expected two numbers"),
        ("osteoporosis,normal", "0.5,high", "normal 'high'; expected two numbers"),
        ("osteoporosis,normal", "0.5,0.7\nnormal/2.png,0.6,0.5,0.8", "normal is '0.7' in row 2 and '0.8' in row 3"),
        (
            "osteoporosis,normal",
            "0.5,0.7\nnormal/2.png,osteopenia,0.5,0.7",
            "has the value 'osteopenia'; expected a number",
        ),
        ("osteoporosis,normal", "0,1\nnormal/2.png,0.6,1,0", "give a column of another meaning another name"),
        ("osteoporosis,normal", "0.5,0.7\nnormal/2.png,inf,0.5,0.7", "has the value 'inf'; expected a number"),
    ],
)
def test_cut_offs_that_cannot_be_used_are_refused(tmp_path: Path, columns: str, row: str, text: str) -> None:
    (tmp_path / "reference.csv").write_text(f"image_id,value,{columns}\nnormal/1.png,0.4,{row}\n")
    with pytest.raises(ValueError, match=re.escape(text)):
        ref.store(tmp_path, "folder", manifest(["normal/1.png", "normal/2.png"]), tmp_path / "out.csv")


def test_a_t_score_may_be_named_with_its_site_but_not_two_of_them(tmp_path: Path) -> None:
    table = tmp_path / "reference.csv"
    table.write_text("image_id,T-score (femur)\nnormal/1.png,-1.5\n")
    assert ref.store(tmp_path, "folder", manifest(["normal/1.png"]), tmp_path / "out.csv") == 1
    table.write_text("image_id,T-score (femur),T-score (spine)\nnormal/1.png,-1.5,-2\n")
    with pytest.raises(ValueError, match="could both be value"):
        ref.store(tmp_path, "folder", manifest(["normal/1.png"]), tmp_path / "out.csv")


def test_a_reference_of_the_external_set_is_told_of_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "external").mkdir()
    (tmp_path / "external" / "Reference.csv").write_text("image_id,value\nnormal/1.png,-1.5\n")
    said: list[str] = []
    stored = ref.store(
        tmp_path, "folder", manifest(["normal/1.png"]), tmp_path / "a.csv", said.append, tmp_path / "external"
    )
    assert stored == 0 and len(said) == 1 and said[0].startswith("external/Reference.csv is not used")


def test_numbers_of_a_named_measure_without_cut_offs_are_t_scores_only_where_it_is_named_so(tmp_path: Path) -> None:
    table, files = tmp_path / "reference.csv", manifest(["normal/1.png", "osteoporosis/2.png"])

    def store(measure: str, *values: object) -> pd.DataFrame:
        rows = [f"{name},{value},{measure}" for name, value in zip(files.image_id, values, strict=True)]
        table.write_text("image_id,value,measure\n" + "\n".join(rows) + "\n")
        assert ref.store(tmp_path, "folder", files, tmp_path / "out.csv") == 2
        return results.read_table(tmp_path / "out.csv")

    for measure in ("Z-score", "QUS of the heel"):
        with pytest.raises(ValueError, match=f"the measure is '{measure}', but there are no cut-offs"):
            store(measure, -3, 0.5)
    assert store("T score of the femur", -3, 0.5).value.tolist() == ["osteoporosis", "normal"]
    assert store("T-score", 0, 0.5).value.tolist() == ["normal", "normal"], "named so, they are no codes"
    assert store("DXA of the hip", "osteopenia", "normal").value.tolist() == ["osteopenia", "normal"]
