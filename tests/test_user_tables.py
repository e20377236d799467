"""Tables that people bring: one content in every usual form is read alike, and what cannot be used says where and why."""

from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osteo_utils.sources import table_files, user_tables
from osteo_utils.sources.film_names import FilmNames

FILES = ["normal/1.png", "normal/2.png", "normal/ä 3.png", "osteoporosis/1.png", "osteoporosis/deep/5.png"]
WANTED = dict(zip(FILES, ["P1", "P2", "P3", "P1", "P5"], strict=True))
PLAIN = "image_id,patient\n" + "".join(f"{name},{person}\n" for name, person in WANTED.items())
DECOMPOSED = PLAIN.replace("ä", "a\u0308")


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", " ,\t").encode(),
        PLAIN.replace(",", "\u00a0, ").replace("\n", "  \n").encode(),
        PLAIN.replace(",", ', "').replace("\n", '"\n').encode(),
        PLAIN.replace(",P", ',="P').replace("\n", '"\n').replace('patient"', "patient").encode(),
        DECOMPOSED.encode(),
        "\n".join(["Subject-ID,File Name", *(f"{person},{name}" for name, person in WANTED.items())]).encode(),
        PLAIN.replace("normal/", "normal\\").replace("sis/", "sis\\").replace("deep/", "deep\\").encode(),
        PLAIN.replace("\nn", "\n./n").replace("\no", "\n./o").encode(),
        PLAIN.replace("\nn", "\n/data/my films/n").replace("\no", "\n/data/my films/o").encode(),
        PLAIN.replace("\nn", "\nD:\\films\\n").replace("\no", "\nD:\\films\\o").encode(),
        PLAIN.replace("normal/", "Normal/").replace(".png", ".PNG").encode(),
        PLAIN.replace(".png", "").encode(),
        PLAIN.replace("osteoporosis/deep/5", "5").replace("normal/2", "2").encode(),
    ],
)
def test_one_table_in_every_form_is_one_table(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_bytes(content)
    known = user_tables.patients(tmp_path / "patients.csv", FILES)
    assert known.values == WANTED
    assert known.remarks == []


def workbook(path: Path, **sheets: list[list]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook_is_read_as_it_shows(tmp_path: Path) -> None:
    rows = [["Image ID", "Patient", "age"], ["normal/1.png", 5, 60], [], ["normal/2.png", "005", None], ["1", "x"]]
    path = workbook(tmp_path / "Patients.xlsx", notes=[["taken in 2019"]], people=rows)
    known = user_tables.patients(path, ["normal/1.png", "normal/2.png", "1.png"])
    assert known.values == {"normal/1.png": "5", "normal/2.png": "005", "1.png": "x"}
    assert known.remarks[:2] == [
        "Patients.xlsx: the sheet 'people' is used, not 'notes'",
        "Patients.xlsx: not used: 'age'",
    ]
    assert known.remarks[2].startswith("Patients.xlsx: patients of rows 2, 4 differ only by")
    two = workbook(tmp_path / "two.xlsx", a=rows, b=rows)
    with pytest.raises(ValueError, match=r"two\.xlsx: the sheets 'a', 'b' look alike"):
        user_tables.patients(two, FILES)


def test_what_is_merged_downwards_counts_for_each_row_and_titles_stand_above_the_header(tmp_path: Path) -> None:
    rows = [
        ["Our knees", None],
        [],
        ["image_id", "patient"],
        ["normal/1.png", "P1"],
        ["normal/2.png"],
        ["osteoporosis/1.png", "P2"],
    ]
    path = workbook(tmp_path / "patients.xlsx", people=rows)
    book = openpyxl.load_workbook(path)
    book["people"].merge_cells("B4:B5")
    book["people"].merge_cells("A1:D1")
    book.save(path)
    known = user_tables.patients(path, FILES)
    assert known.values == {"normal/1.png": "P1", "normal/2.png": "P1", "osteoporosis/1.png": "P2"}
    assert known.remarks == ["patients.xlsx: the header is row 3; not used: row 1"]


def test_a_formula_without_a_value_is_told_of(tmp_path: Path) -> None:
    rows = [["image_id", "patient"], ["normal/1.png", '="P"&1'], ["normal/2.png", "P2"]]
    known = user_tables.patients(workbook(tmp_path / "patients.xlsx", people=rows), FILES)
    assert known.values == {"normal/2.png": "P2"}
    assert known.remarks[0] == (
        "patients.xlsx: formulas without a stored value count as empty; open it in Excel and save it"
    )


@pytest.mark.parametrize("above", ["# made in 2024\n# by hand\n", "Our knees\n\n", '"sep=;"\n'])
def test_lines_above_the_header_are_named(above: str, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(above + "image_id;split\nnormal/1.png;train\nnormal/2.png;test\n\x1a", "utf-8")
    known = user_tables.sides(path, FILES)
    assert known.values == {"normal/1.png": "train", "normal/2.png": "test"}
    row = {
        "#": ["split.csv: the header is row 3; not used: rows 1, 2"],
        "O": ["split.csv: the header is row 3; not used: row 1"],
    }
    assert known.remarks == row.get(above[0], [])


def test_values_that_may_be_no_patient_are_named_by_row(tmp_path: Path) -> None:
    files = [f"normal/{number}.png" for number in range(24)]
    people = ["0"] * 11 + [f"P{number}" for number in range(11)] + ["1.23E+11"] * 2
    path = tmp_path / "patients.csv"
    lines = (f"{file},{person}\n" for file, person in zip(files, people, strict=True))
    path.write_text("image_id,patient\n" + "".join(lines), "utf-8")
    known = user_tables.patients(path, files)
    assert len(known.values) == 24
    many, short = known.remarks
    assert many.startswith(
        "patients.csv: one patient has 11 films, rows 2, 3, 4, 5, 6 and others; leave the cells empty"
    )
    assert "shortened the patients of rows 24, 25 to numbers with an exponent" in short


@pytest.mark.parametrize("word", ["NA", "n/a", "-", "--", "nan", "None", "unknown", "?", "", " ", "#N/A", "NULL", "—", "#NUM!", "#NAME?", "#DIV/0!", "TBD", "-1", "-9.0"])  # fmt: skip
def test_a_missing_value_is_no_patient(word: str, tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(f"image_id,patient\nnormal/1.png,{word}\nnormal/2.png,{word}\nosteoporosis/1.png,P5\n", "utf-8")
    known = user_tables.patients(path, FILES)
    assert known.values == {"osteoporosis/1.png": "P5"}
    assert known.remarks == ["patients.csv: no patient is known for 2 films, rows 2, 3"]


@pytest.mark.parametrize(
    ("first", "second", "remarks"),
    [("P5", "P5 ", 0), ("P5", "\u200bP5\u00a0", 0), ("5", "005", 1), ("5", "5.0", 1), ("p5", "P5", 1), ("P05", "P5", 1),
     ("A B", "A  B", 1), ("P 1", "P1", 1), ("P-1", "p01", 1), ("\uff30\uff11", "P1", 1), ("1-2", "12", 0), ("50", "5", 0), ("5.5", "5", 0), ("100", "1", 0)],
)  # fmt: skip
def test_ways_to_write_one_patient_are_one_or_get_a_remark(
    first: str, second: str, remarks: int, tmp_path: Path
) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(f"image_id,patient\nnormal/1.png,{first}\nnormal/2.png,{second}\n", "utf-8")
    known = user_tables.patients(path, FILES)
    assert len(known.remarks) == remarks
    assert ("rows 2, 3 differ only by" in "".join(known.remarks)) == bool(remarks)
    same = known.values["normal/1.png"] == known.values["normal/2.png"]
    assert same == (first.strip() == table_files.clean(second))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; expected image_id and split"),
        ("image_id,split\n", "has a header and no rows"),
        ("name,fold\na,b\n", "no image_id in the header 'name', 'fold'; expected image_id and split"),
        ("image_id,set,subset\nnormal/1.png,a,b\n", "'set' and 'subset' could both be split"),
        ("image_id,split\nnormal/1.png,train,test\n", "row 2: 3 values, 'test' the last; expected 2"),
        ("image_id,split\n\nnormal/1.png,\n", "row 3: normal/1.png has the side ''; expected one such as train"),
        ("image_id,split\nnormal/1.png,NA\n", "row 2: normal/1.png has the side 'NA'"),
        ("image_id,split\n,train\n", "row 2: no film is named"),
        ("image_id,split\n1.png,train\n", "row 2: '1.png' could be 'normal/1.png', 'osteoporosis/1.png'"),
        ("image_id,split\n9.png,train\n", "none of its 1 files is there: 9.png (row 2)"),
        ("image_id,split\nother/2.png,train\n", "none of its 1 files is there: other/2.png (row 2)"),
        (
            "image_id,split\nnormal/1.png,train\nb/normal/1.png,test\n",
            "normal/1.png has the split 'train' in row 2 and 'test' in row 3",
        ),
        ('image_id,split\nnormal/1.png,"train\nnormal/2.png,test\n', "row 2: unexpected end of data"),
        ("image_id,split\0\n", "not text in UTF-8"),
        (b"\xd0\xcf\x11\xe0 old", "an old or a protected Excel file; save it as .xlsx"),
        (b"PK\x03\x04 no zip", "not a workbook that can be read"),
        (b"\xff\xfei\0m\0a", "not text in utf-16"),
        (b"image_id,split\n\x81\x8d,train\n", "not text in UTF-8 or Windows-1252"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_row_and_value(
    content: str | bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as caught:
        user_tables.sides(path, FILES)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)


def test_sides_of_one_meaning_are_one_and_absent_films_are_named(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    words = ["Train", "training", "TRAIN set", "Hold-out", "test", "valid"]
    names = [*FILES, "normal/77.png"]
    path.write_text("image_id,split\n" + "".join(f"{n},{w}\n" for n, w in zip(names, words, strict=True)), "utf-8")
    split = user_tables.sides(path, FILES)
    assert list(split.values.values()) == ["train", "train", "train", "test", "test"]
    assert split.remarks == ["split.csv: 1 files are not there: normal/77.png (row 7)"]
    assert [user_tables.side_of(word) for word in ("dev", "Fold 1", "1", "1.0", "01")] == ["val", "fold 1", *"111"]


def test_a_western_table_that_is_not_utf8_is_read_with_a_remark(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("path;Diagnosis\nnormal/ä 3.png;gesund\n2;?\n".encode("cp1252"))
    known = user_tables.classes(tmp_path / "labels.csv", FILES)
    assert (known.values, known.unknown) == ({"normal/ä 3.png": "gesund"}, ["normal/2.png"])
    assert known.remarks == ["labels.csv is not UTF-8; it was read as Windows-1252"]


def test_a_table_is_found_in_any_case_and_format_and_only_once(tmp_path: Path) -> None:
    assert user_tables.find(tmp_path, "patients") is None
    (tmp_path / "Patients.XLSX").touch()
    assert user_tables.find(tmp_path, "patients") == tmp_path / "Patients.XLSX"
    (tmp_path / "patients.csv").touch()
    with pytest.raises(ValueError, match=r"Patients\.XLSX and patients\.csv are both tables of patients"):
        user_tables.find(tmp_path, "patients")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("normal/1.png", ["normal/1.png"]),
        ("a/b/osteoporosis/deep/5.png", ["osteoporosis/deep/5.png"]),
        ("deep/5.png", ["osteoporosis/deep/5.png"]),
        ("5", ["osteoporosis/deep/5.png"]),
        ("1", ["normal/1.png", "osteoporosis/1.png"]),
        ("normal/5.png", []),  # another folder than the film's own: never that film
        ("normal/1.jpg", []),
        ("normal", []),
        ("", []),
    ],
)
def test_a_name_means_the_films_whose_path_agrees(name: str, meant: list[str]) -> None:
    assert FilmNames(FILES).meant(name) == meant


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(TEXT, max_size=4), max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-16"]),
)
def test_any_text_is_handled_or_refused_with_the_file(tmp_path_factory, rows, delimiter, encoding) -> None:
    path = tmp_path_factory.getbasetemp() / "any table.csv"
    path.write_bytes("\n".join(["image_id" + delimiter + "split", *map(delimiter.join, rows)]).encode(encoding))
    try:
        split = user_tables.sides(path, FILES)
    except ValueError as error:
        assert str(error).startswith(str(path))
    else:
        assert set(split.values) <= set(FILES) and split.values


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_handled_or_refused_with_the_file(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "any bytes.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        user_tables.sides(path, FILES)
    assert str(caught.value).startswith(str(path))


PART = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=6).filter(
    lambda part: table_files.clean(part) == part and part.strip(".") and not part.startswith("file:")
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PART, PART).map("/".join), min_size=1, unique=True), PART)
def test_a_full_path_means_its_film_wherever_the_folder_lay(files, before) -> None:
    known = FilmNames(files)
    for file in files:
        assert known.meant(file) == [file]
        assert known.meant(f"C:\\{before}\\" + file.replace("/", "\\")) == [file]
