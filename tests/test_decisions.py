"""What people decided: read as they write it, refused where it cannot hold, and followed by every step."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import fill, film

from osteo_utils.audit import decisions, groups
from osteo_utils.images import manifest
from osteo_utils.phantom import synthetic
from osteo_utils.sources import data_folders, folder_tree
from osteo_utils.study import paths, results, runtime

A, B, C, D = "normal/a.png", "normal/b.png", "osteoporosis/c.png", "osteoporosis/d.png"
FILES = [A, B, C, D]
HEAD = "image_id,other,verdict,who,when,why\n"
NO_IMAGES = np.zeros((0, 512, 512), np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four films; d has the bytes of c."""
    films = {A: film(100), B: film(150), C: film(200), D: film(200)}
    return fill(tmp_path / "set", films)


def write(root: Path, *rows: str) -> None:
    (root / "decisions.csv").write_text(HEAD + "\n".join(rows), "utf-8")


def read(root: Path, *rows: str) -> decisions.Decisions:
    write(root, *rows)
    return decisions.read(root, FILES)


def test_a_table_says_who_decided_what_and_when_and_why(root: Path) -> None:
    found = read(root, f"{A},{B},different,Ada,2026-11-28,other joint space", f"{C},,exclude,Bo,2026-11-27,a hip")
    assert found.table.to_dict("records") == [
        dict(zip(decisions.COLUMNS, (A, B, "different", "Ada", "2026-11-28", "other joint space"), strict=True)),
        dict(zip(decisions.COLUMNS, (C, "", "exclude", "Bo", "2026-11-27", "a hip"), strict=True)),
    ]
    assert found.excluded == {C: "Bo on 2026-11-27: a hip"}
    assert found.counts() == {"same": 0, "different": 1, "exclude": 1, "keep": 0}
    assert found.hashes == {"decisions.csv": runtime.sha256_file(root / "decisions.csv")}
    assert found.remarks == []


def test_a_table_as_people_write_it_is_the_same_table(root: Path) -> None:
    plain = read(root, f"{A},{B},same,Ada,2026-11-28,seen", f"{C},,keep,Ada,2026-11-28,").table
    (root / "decisions.csv").write_bytes(
        "Reason;Date;Reviewer;Decision;File 2;File\nseen;2026-11-28 00:00:00; Ada;SAME;D:\\old\\normal\\b.png;a\n"
        ";2026-11-28;Ada;Keep;-;osteoporosis/C.PNG\n".encode("utf-16")
    )
    pd.testing.assert_frame_equal(decisions.read(root, FILES).table, plain)
    (root / "decisions.csv").unlink()
    book = openpyxl.Workbook()
    for row in (HEAD.strip().split(","), [A, B, "same", "Ada", pd.Timestamp("2026-11-28"), "seen"]):
        book.active.append(row)
    book.active.append([C, None, "keep", "Ada", "2026-11-28"])
    book.save(root / "Decisions.xlsx")
    pd.testing.assert_frame_equal(decisions.read(root, FILES).table, plain)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["normal/z.png,,keep,Ada,2026-11-28,"], "row 2: there is no film 'normal/z.png'"),
        ([f"{A},z,same,Ada,2026-11-28,"], "row 2: there is no film 'z'"),
        ([f"{A},external/{A},same,Ada,2026-11-28,"], f"row 2: 'external/{A}' is in the external set; a decisions.csv"),
        ([f"{A},{A},different,Ada,2026-11-28,"], f"row 2: {A} is compared with itself"),
        ([f"{A},,same,Ada,2026-11-28,"], "'same' is about two films"),
        ([f"{A},{B},exclude,Ada,2026-11-28,no"], "'exclude' is about one film"),
        ([f"{A},,osteoporosis,Ada,2026-11-28,"], "the verdict is 'osteoporosis'; .*no decision changes a class"),
        ([f"{A},{B},,Ada,2026-11-28,"], "the verdict is ''"),
        ([f"{A},,keep,Ada,28.11.2026,"], "row 2: the date is '28.11.2026'; expected year-month-day"),
        ([f"{A},,keep,Ada,2026-02-30,"], "the date is '2026-02-30'"),
        ([f"{A},,keep,,2026-11-28,"], "row 2: 'keep' has no who"),
        ([f"{A},,exclude,unknown,2026-11-28,-"], "'exclude' has no who and no why"),
        (
            [f"{A},{B},same,Ada,2026-11-28,", f"{B},{A},different,Bo,2026-11-28,"],
            f"row 3: {A} and {B} are declared different, but are declared the same in row 2",
        ),
        ([f"{A},,keep,Ada,2026-11-28,", f"{A},,exclude,Bo,2026-11-28,no"], "has the verdict exclude, but .* row 2"),
        ([f"{C},{D},different,Ada,2026-11-28,"], f"{C} and {D} are declared different, but have the same bytes"),
        (
            [f"{A},{B},same,Ada,2026-11-28,", f"{C},{B},same,Ada,2026-11-28,", f"{A},{C},different,Bo,2026-11-28,"],
            f"join them: {A} and {B} \\(declared the same\\); {B} and {C} \\(declared the same\\); declare one of",
        ),
        (["a,,keep,Ada,2026-11-28,,more"], "row 2: 7 values"),
    ],
)
def test_what_cannot_hold_is_refused_with_file_and_reason(root: Path, rows: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read(root, *rows)
    assert str(root / "decisions.csv") in str(error.value)


def test_a_name_for_two_films_is_refused(root: Path) -> None:
    write(root, "x,,keep,Ada,2026-11-28,")
    with pytest.raises(ValueError, match=r"row 2: 'x' could be 'normal/x\.png', 'osteoporosis/x\.png'"):
        decisions.read(root, ["normal/x.png", "osteoporosis/x.png"])


def test_two_people_may_agree_and_both_are_named(root: Path) -> None:
    found = read(root, f"{A},,exclude,Ada,2026-11-27,a hip", f"{A},,exclude,Bo,2026-11-28,no knee")
    assert found.excluded == {A: "Ada on 2026-11-27: a hip; Bo on 2026-11-28: no knee"}
    assert found.counts()["exclude"] == 1


def test_a_folder_without_decisions_has_none_and_a_table_may_have_no_row(root: Path) -> None:
    assert decisions.read(root, FILES).table.empty and decisions.read(root, FILES).counts() == {}
    assert read(root).table.empty and read(root).counts() == dict.fromkeys(("same", "different", "exclude", "keep"), 0)


def test_what_a_spreadsheet_would_run_comes_back_as_it_was(root: Path) -> None:
    name = "=odd/+1.png"
    write(root, f"./{name},,exclude,'=Ada,2026-11-28,'-cmd|x")
    found = decisions.read(root, [name, *FILES])
    assert found.excluded == {name: "=Ada on 2026-11-28: -cmd|x"}


# Any letter and sign that a name may have on disk; a path that leads upwards is none.
NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=8)
CELL = st.one_of(
    NAME, st.sampled_from([A, B, "a", "same", "exclude", "keep", "Ada", "2026-11-28", "", "NA", '"', "1,2", "\n"])
)


def as_the_page_writes(name: str, text: str) -> str:
    before = "./" if name in ("image_id", "other") else "'"
    text = before + text if text[:1] in tuple("=+-@") else text
    return '"' + text.replace('"', '""') + '"'


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        NAME.map(str.strip).filter(lambda name: decisions.table_files.clean(name) not in ("", ".", "..")),
        min_size=2,
        max_size=2,
        unique_by=lambda name: name.casefold(),
    ),
    NAME,
    NAME,
)
def test_any_name_that_the_page_saves_is_read_as_it_was(names: list[str], who: str, why: str) -> None:
    films = [f"{name}/{name}.png" for name in names]
    row = dict(zip(decisions.COLUMNS, (*films, "same", f"A{who}Z", "2026-11-28", f"a{why}z"), strict=True))
    lines = [",".join(row), ",".join(as_the_page_writes(*item) for item in row.items())]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "decisions.csv").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
        found = decisions.read(Path(folder), films).table
    assert found.loc[0, ["image_id", "other"]].tolist() == films
    assert found.who[0] == " ".join(decisions.table_files.clean(row["who"]).split())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.lists(CELL, min_size=6, max_size=6), max_size=4))
def test_any_table_is_read_or_refused_with_its_name(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "decisions.csv")
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([decisions.COLUMNS, *rows])
        try:
            found = decisions.read(Path(folder), FILES)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert set(found.table["verdict"]) <= {"same", "different", "exclude", "keep"}
            assert len(found.table) == len([row for row in rows if any(map(decisions.table_files.clean, row))])


def table_of(pixels: dict[str, str], **columns: list) -> pd.DataFrame:
    """A manifest of usable films with these pixels."""
    names = list(pixels)
    labels = [int(name.startswith("osteoporosis")) for name in names]
    return pd.DataFrame(
        {"image_id": names, "status": "ok", "label": labels, "sha256": names, "pixel_sha256": list(pixels.values())}
    ).assign(reason="", row=range(len(names)), **columns)


def pairs_of(*alike: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [(*pair[:2], 0, 1.0, pair[2]) for pair in alike], columns=["first", "second", "turn", "outline", "similarity"]
    )


def decided(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "other", "verdict"])


FOUR = table_of(dict(zip(FILES, "abcd", strict=True)))


def audited(films: pd.DataFrame, alike: pd.DataFrame, *rows: tuple[str, str, str]) -> pd.DataFrame:
    return groups.audit(NO_IMAGES, films, alike, decided(*rows)).set_index("image_id")


def test_a_pair_declared_different_is_not_joined_and_keeps_its_distance() -> None:
    alike = pairs_of((A, B, 0.95), (C, D, 0.9))
    assert audited(FOUR, alike).group.tolist() == [0, 0, 1, 1]
    found = audited(FOUR, alike, (B, A, "different"))
    assert found.group.tolist() == [0, 1, 2, 2]
    assert found.relation.tolist() == ["unique", "unique", "perceptual", "perceptual"]
    assert found.nearest.tolist() == [B, A, D, C] and found.distance[A] == pytest.approx(0.05)


def test_a_pair_declared_the_same_is_joined_and_says_so() -> None:
    found = audited(FOUR, pairs_of((A, B, 0.95)), (B, C, "same"))
    assert found.group.tolist() == [0, 0, 0, 1]
    assert found.relation.tolist() == ["perceptual", "perceptual", "decision", "unique"]
    assert found.conflict.tolist() == [1, 1, 1, 0], "a conflict by decision is a conflict"
    counted = groups.counts(FOUR.assign(class_name=["normal"] * 2 + ["osteoporosis"] * 2), found.reset_index())
    assert counted.loc["files joined as decision", "all"] == 1


def test_films_declared_the_same_as_one_that_is_left_out_stay_joined() -> None:
    films = FOUR.assign(status=["ok", "excluded", "ok", "ok"])
    rows = [(A, B, "same"), (C, B, "same"), (B, "", "exclude")]
    found = audited(films, pairs_of(), *rows)
    assert found.group.to_dict() == {A: 0, C: 0, D: 1} and found.relation.tolist() == ["decision", "decision", "unique"]
    films.loc[1, "reason"] = manifest.DECIDED + "Ada"
    assert decisions.without_effect(decided(*rows), films, pairs_of()) == []
    with pytest.raises(ValueError, match="are declared different, but other links join them"):
        audited(films, pairs_of((C, D, 0.95)), *rows, (A, D, "different"))


def test_a_pair_declared_different_that_others_join_stops_the_audit_and_names_the_links() -> None:
    alike = pairs_of((A, B, 0.95), (B, C, 0.9), (A, C, 0.93))
    said = f"{A} and {C} are declared different, but other links join them: {A} and {B} .similarity 0.95.; {B} and {C} .similarity 0.90."
    with pytest.raises(ValueError, match=said):
        audited(FOUR, alike, (A, C, "different"))
    further = audited(FOUR, alike, (A, C, "different"), (C, B, "different"))
    assert further.group.tolist() == [0, 0, 1, 2]
    with pytest.raises(ValueError, match="declared the same"):
        audited(FOUR, alike, (A, C, "different"), (C, B, "different"), (A, D, "same"), (D, C, "same"))


def test_files_with_the_same_pixels_are_one_film_for_a_decision() -> None:
    films = table_of({A: "1", B: "1", C: "2", D: "3"})
    alike = pairs_of((A, C, 0.95))  # of a and b the first alone was compared
    assert audited(films, alike, (B, C, "different")).group.tolist() == [0, 0, 1, 2]
    with pytest.raises(ValueError, match=f"{A} and {B} are declared different, but have the same pixels"):
        audited(films, alike, (A, B, "different"))


def test_two_knees_of_one_patient_may_be_declared_different() -> None:
    films = FOUR.assign(patient=["p", "p", "", ""])
    found = audited(films, pairs_of((A, B, 0.95)), (A, B, "different"))
    assert found.group.tolist() == [0, 0, 1, 2] and found.relation[A] == "patient"


def test_a_decision_that_changes_nothing_has_a_remark() -> None:
    films = FOUR.assign(status=["ok", "ok", "ok", "quarantined"])
    alike = pairs_of((A, B, 0.95), (A, C, 0.5))

    def said(*row: str) -> list[str]:
        return decisions.without_effect(decided(row), films, alike)

    assert said(A, B, "different") == said(A, C, "same") == said(A, "", "keep") == []
    assert said(B, A, "same") == [
        f"decisions: 1 of 1 change nothing, as the audit finds the same without them, such as {B} and {A} (same)"
    ]
    assert "the audit finds the same" in said(B, C, "different")[0]
    assert "a film of theirs is not used" in said(A, D, "different")[0]
    assert "a film of theirs is not used" in said(D, "", "keep")[0]
    assert "not used anyway" in said(D, "", "exclude")[0]
    films.loc[3, "reason"] = manifest.DECIDED + "Ada"
    assert said(D, "", "exclude") == []
    assert decisions.without_effect(None, films, alike) == []


def knees(root: Path) -> pd.DataFrame:
    """Manifest and audit of a folder, as notebooks 01 and 02 make them; with the flow in `attrs`."""
    found = decisions.of_study(root)
    study = paths.StudyPaths("decided")
    decisions.store(found, study)
    films = manifest.build_manifest(root, "folder", store=root.with_suffix(".npy"), excluded=found.excluded)
    images = np.load(root.with_suffix(".npy"))
    kept = results.read_table(study.decided) if study.decided.is_file() else None
    table = groups.audit(images, films, decided=kept)
    table.attrs["flow"] = groups.flow(films, table).set_index("step").files.to_dict()
    table.attrs["reasons"] = films.set_index("image_id")["reason"].to_dict()
    return table.set_index("image_id")


def test_a_study_follows_its_decisions_from_the_folder_to_the_flow(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "knees"
    one, two, three, _ = synthetic.draw(11, 4, size=256, copies=0.0).images
    pictures = {
        "normal/1.png": one,
        "normal/1 mirrored.png": one[:, ::-1],
        "normal/2.png": two,
        "osteoporosis/3.png": three,
    }
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture)).save(root / name)
    before = knees(root)
    assert before.group.nunique() == 3 and before.group["normal/1.png"] == before.group["normal/1 mirrored.png"]
    assert "excluded by a decision" not in before.attrs["flow"]
    write(
        root,
        "normal/1.png,normal/1 mirrored.png,different,Ada,2026-11-28,",
        "normal/2.png,,exclude,Ada,2026-11-28,a hip",
    )
    after = knees(root)
    assert list(after.index) == ["normal/1 mirrored.png", "normal/1.png", "osteoporosis/3.png"]
    assert after.group.nunique() == 3 and set(after.relation) == {"unique"}
    assert after.attrs["reasons"]["normal/2.png"] == "excluded by a decision of Ada on 2026-11-28: a hip"
    flow = after.attrs["flow"]
    assert flow["excluded by a decision"] == 1 and flow["excluded: of another class"] == 0
    assert flow["quarantined: cannot be read or used"] == 0 and flow["readable and labelled"] == 3
    (root / "decisions.csv").unlink()
    pd.testing.assert_frame_equal(knees(root), before)


def test_an_excluded_film_is_never_opened_and_one_outside_the_classes_keeps_its_reason(root: Path) -> None:
    fill(root, {"notes.txt": b"taken in 2019", "normal/letter.jpg": b"Dear colleague"})
    said = {"notes.txt": "Ada on 2026-11-28: no", "normal/letter.jpg": "Ada on 2026-11-28: a letter"}
    table = manifest.build_manifest(root, "folder", excluded=said).set_index("image_id")
    assert table.reason["notes.txt"] == "lies beside the class folders"
    assert table.reason["normal/letter.jpg"] == "excluded by a decision of Ada on 2026-11-28: a letter"
    assert table.status["normal/letter.jpg"] == "excluded"


def test_an_external_set_has_films_excluded_and_its_pairs_told_of(root: Path, tmp_path: Path) -> None:
    external = fill(tmp_path / "other", {A: film(90), B: film(80), C: film(70)})
    write(root, f"{A},{B},different,Ada,2026-11-28,")
    write(external, f"{A},,exclude,Bo,2026-11-28,a hip", f"{A},{B},same,Bo,2026-11-28,")
    found = decisions.of_study(root, external)
    assert found.excluded == {f"external/{A}": "Bo on 2026-11-28: a hip"}
    assert found.counts() == {"same": 0, "different": 1, "exclude": 1, "keep": 0}
    assert found.counts(but=manifest.EXTERNAL) == {"same": 0, "different": 1, "exclude": 0, "keep": 0}
    assert found.remarks == [
        "external/decisions: 1 pairs are not used, as an external set is only scored; its films are"
    ]
    assert sorted(found.hashes) == ["decisions.csv", "external/decisions.csv"]
    table = manifest.build_manifest(root, "folder", external=external, excluded=found.excluded).set_index("image_id")
    assert table.status[f"external/{A}"] == "excluded" and table.status[A] == "ok"


def test_the_table_is_no_film_and_no_change_of_a_download(root: Path) -> None:
    data_folders.write_checksums(root)
    write(root, f"{A},,keep,Ada,2026-11-28,")
    assert folder_tree.walk(root).files == FILES
    assert [path.name for path in folder_tree.tables(root)] == ["decisions.csv"]
    assert folder_tree.tables(root / "gone") == []
