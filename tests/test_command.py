"""The audit from the command line: any folder, two folders, a split; what it prints, writes and ends with."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osteo_utils.audit import command
from osteo_utils.phantom import synthetic

N = 8


@pytest.fixture(scope="module")
def knees() -> list[np.ndarray]:
    return list(synthetic.draw(11, N, size=256, copies=0.0).images)


@pytest.fixture
def folder(tmp_path: Path, knees: list[np.ndarray]) -> Path:
    """Two classes of three knees; a00 is there again in each class, once mirrored; one file is no film."""
    root = tmp_path / "set"
    for number, film in enumerate(knees[:6]):
        save(root / ("ab"[number // 3]) / f"{number:02d}.png", film)
    save(root / "a" / "00 again.png", knees[0][:, ::-1])
    save(root / "b" / "00.jpg", knees[0])
    (root / "b" / "note.txt").write_text("not a film")
    return root


def save(path: Path, film: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(film)).save(path)


def test_a_folder_with_any_classes_is_audited(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page, table = tmp_path / "page.html", tmp_path / "groups.csv"
    assert command.main([str(folder), "--page", str(page), "--table", str(table)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"found\s+9", said) and re.search(r"readable and labelled\s+8\s+6", said)
    assert "not used: b/note.txt: not an image" in said
    assert "conflict, knee 0: a/00 again.png a/00.png b/00.jpg" in said
    groups = pd.read_csv(table).set_index("image_id").group
    assert groups["a/00.png"] == groups["b/00.jpg"] == groups["a/00 again.png"]
    html = page.read_text("utf-8")
    assert html.count("data:image/jpeg") == 3
    assert "The same knee under more than one class: 1" in html and "b/note.txt" in html


def test_two_knees_of_a_patient_are_no_copies_and_still_must_not_be_parted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "patients.csv").write_text(
        "image_id,patient\na/01.png,P\na/02.png,P\nb/03.png,P\na/00.png,Q\nb/04.png,Q\n"
    )
    page = tmp_path / "page.html"
    assert command.main([str(folder), "--page", str(page)]) == 0
    # The knee under both classes is one of two knees of Q; P has three knees and no copy.
    assert "conflict, knee 0: a/00 again.png a/00.png b/00.jpg" in capsys.readouterr().out
    html = page.read_text("utf-8")
    assert "The same knee under more than one class: 1" in html and "knee 0, 3 files" in html
    assert "Further films of the same knee: 0" in html and html.count("data:image/jpeg") == 3
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*g"))
    rows = [f"{name},{'test' if name in ('a/01.png', 'b/05.png') else 'train'}" for name in names]
    (tmp_path / "split.csv").write_text("image_id,split\n" + "\n".join(rows))
    assert command.main([str(folder), "--split", str(tmp_path / "split.csv"), "--page", str(page)]) == 1
    assert "LEAK, group 1 on test, train: a/01.png a/02.png b/03.png" in capsys.readouterr().out
    assert "The same knee or person on both sides: 1" in page.read_text("utf-8")


def test_a_split_that_tears_a_knee_apart_ends_with_1(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*g"))
    split = pd.DataFrame({"image_id": names, "split": ["test" if n.startswith("b") else "train" for n in names]})
    split.to_csv(tmp_path / "split.csv", index=False)
    asked = [str(folder), "--split", str(tmp_path / "split.csv"), "--page", str(tmp_path / "page.html")]
    assert command.main(asked) == 1
    said = capsys.readouterr().out
    assert "LEAK, group 0 on test, train: a/00 again.png a/00.png b/00.jpg" in said
    assert "1 groups lie on more than one side" in said
    assert "The same knee on both sides: 1" in (tmp_path / "page.html").read_text("utf-8")
    split.assign(split="train").to_csv(tmp_path / "split.csv", index=False)
    assert command.main(asked) == 0
    assert "no group lies on more than one side" in capsys.readouterr().out
    split.iloc[1:].to_csv(tmp_path / "split.csv", index=False)
    assert command.main(asked) == 2
    assert f"the split lacks 1 images, such as {names[0]}" in capsys.readouterr().err


def test_a_split_as_people_write_it_is_the_same_split(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*g"))
    rows = [f"D:\\old\\{name};{'Training' if name[0] == 'a' else 'train'};7" for name in names]
    (tmp_path / "s.csv").write_text("\n".join(["File;Subset;age", *rows, "a/gone.png;test;7"]), "utf-16")
    asked = [str(folder), "--split", str(tmp_path / "s.csv"), "--page", str(tmp_path / "page.html")]
    assert command.main(asked) == 0
    said = capsys.readouterr().out
    assert "remark: s.csv: not used: 'age'" in said
    assert "remark: s.csv: 1 files are not there: a/gone.png (row 10)" in said
    (tmp_path / "s.csv").write_text("\n".join(["File;Subset;age", *rows[:-1], rows[-1].replace("train", "Test")]))
    assert command.main(asked) == 0
    (tmp_path / "s.csv").write_text("\n".join(["File;Subset;age", rows[0].replace("Train", "Test"), *rows[1:]]))
    assert command.main(asked) == 1
    assert "LEAK, group 0 on test, train: a/00 again.png a/00.png b/00.jpg" in capsys.readouterr().out
    (tmp_path / "s.csv").write_text("File;Subset\na/00.png;NA\n")
    assert command.main(asked) == 2
    assert "s.csv, row 2: a/00.png has the side 'NA'" in capsys.readouterr().err


def test_folders_of_a_split_are_audited_as_one(
    tmp_path: Path, knees: list[np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    root, page = tmp_path / "set", ["--page", str(tmp_path / "page.html")]
    for number, side in enumerate(["train", "Validation", "test", "train"]):
        save(root / side / ("a", "B")[number // 2] / f"{number}.png", knees[number])
    assert command.main([str(root), *page]) == 0
    said = capsys.readouterr().out
    assert "remark: the folders Validation/, test/, train/ are the sides of a split" in said
    assert "no group lies on more than one side" in said
    # One class on both sides, so it is no conflict; the case of its folder does not make it another class.
    save(root / "test" / "A" / "again.png", knees[0][:, ::-1])
    save(root / "spare" / "again.png", knees[1])
    assert command.main([str(root), *page]) == 1
    said = capsys.readouterr().out
    assert "LEAK, group 1 on test, train: test/A/again.png train/a/0.png" in said
    assert "not used: spare/again.png: lies outside the folders of the split" in said
    assert "conflict, knee" not in said
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.png")]
    (tmp_path / "s.csv").write_text("image_id,split\n" + "".join(f"{name},train\n" for name in names))
    assert command.main([str(root), "--split", str(tmp_path / "s.csv"), *page]) == 0
    said = capsys.readouterr().out
    assert "remark: the split is that of s.csv, not that of the folders" in said
    assert "remark: s.csv and the folders disagree on 3 films, such as Validation/a/1.png" in said


def test_other_class_names_are_mapped_and_system_folders_and_links_are_named(
    tmp_path: Path, knees: list[np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    root, page = tmp_path / "set", ["--page", str(tmp_path / "page.html")]
    save(root / "Normal Knee" / "1.png", knees[0])
    save(root / "healthy" / "1.png", knees[0])
    save(root / "OP" / "2.png", knees[1])
    save(root / "OP" / ".ipynb_checkpoints" / "2-checkpoint.png", knees[1])
    (root / "OP" / "link").symlink_to(root / "healthy")
    assert command.main([str(root), *page]) == 0
    assert "conflict, knee 0: Normal Knee/1.png OP/link/1.png healthy/1.png" in capsys.readouterr().out
    mapping = ["--classes", "normal=Normal Knee", "normal=healthy", "osteoporosis=OP"]
    assert command.main([str(root), *mapping, *page]) == 0
    said = capsys.readouterr().out
    assert "conflict, knee 0: Normal Knee/1.png OP/link/1.png healthy/1.png" in said
    assert "not used: OP/.ipynb_checkpoints: folder of a program, its 1 files are not used" in said
    with pytest.raises(SystemExit, match="2"):
        command.main([str(root), "--classes", "healthy=OP", *page])
    assert "expected CLASS=FOLDER" in capsys.readouterr().err


def test_a_split_that_lies_in_the_folder_is_told_of(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "folds.csv").write_text("image_id,fold,subject\na/00.png,1,P1\n")
    assert command.main([str(folder), "--page", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "remark: folds.csv names sides of a split, which are not used; give it with --split" in said
    assert "remark: folds.csv names patients, who are not used; save it as patients.csv too" in said


def test_a_name_cannot_steer_the_terminal_nor_make_a_line(
    tmp_path: Path, knees: list[np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    save(tmp_path / "set" / "a" / "1.png", knees[0])
    for name in ("red\x1b[31m.png", "two\nlines.png", "\u202egnp.exe", "é 1.txt"):
        (tmp_path / "set" / "a" / name).write_bytes(b"no film")
    assert command.main([str(tmp_path / "set"), "--page", str(tmp_path / "page.html")]) == 0
    said = [line.partition(".png: ")[0] for line in capsys.readouterr().out.splitlines() if "not used" in line]
    assert said[0] == "not used: a/red\\x1b[31m" and said[1] == "not used: a/two\\nlines"
    assert said[2].startswith("not used: a/é 1.txt: ") and said[3].startswith("not used: a/\\u202egnp.exe: ")


def test_a_test_folder_that_is_a_link_to_the_training_folder_is_a_leak(
    tmp_path: Path, knees: list[np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "set"
    save(root / "train" / "normal" / "1.png", knees[0])
    save(root / "train" / "osteoporosis" / "2.png", knees[1])
    (root / "test").symlink_to("train")
    assert command.main([str(root), "--page", str(tmp_path / "page.html")]) == 1
    assert "2 groups lie on more than one side" in capsys.readouterr().out


def test_a_film_in_two_folders_is_a_leak_even_as_one_leg_of_two(
    folder: Path, tmp_path: Path, knees: list[np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    other, clean = tmp_path / "other", tmp_path / "clean"
    right = np.asarray(Image.fromarray(knees[4]).resize(knees[6].shape[::-1]))
    save(other / "x" / "both.png", np.hstack([knees[6], np.zeros((len(knees[6]), 20), np.uint8), right]))
    save(other / "x" / "new.png", knees[7])
    save(clean / "new.png", knees[7])
    page = ["--page", str(tmp_path / "page.html")]
    assert command.main([str(folder), "--against", str(other), *page]) == 1
    assert "on first, second: first/b/04.png second/x/both.png" in capsys.readouterr().out
    assert command.main([str(folder), "--against", str(clean), *page]) == 0
    # A class is its name: `b` stands second in one set and alone in the other.
    save(tmp_path / "alone" / "b" / "again.png", knees[3])
    capsys.readouterr()
    assert command.main([str(folder), "--against", str(tmp_path / "alone"), *page]) == 1
    said = capsys.readouterr().out
    assert "first/b/03.png second/b/again.png" in said
    assert not [line for line in said.splitlines() if line.startswith("conflict") and "second/" in line]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{root}/nowhere"], "is not a folder"),
        (["{root}/empty"], "no film in it can be read: it is empty"),
        (["{root}/texts"], "no film in it can be read: 1 x not an image"),
        (["{root}/films", "--split", "{root}/bad.csv"], "expected image_id and split"),
        (["{root}/films", "--split", "a.csv", "--against", "b"], "expected one of them"),
        (["{root}/films", "--table", "{root}/empty"], "is a folder; expected the name of a file"),
        (["{root}/films", "--table", "{root}/page.html"], "two results would go there"),
    ],
)
def test_what_cannot_be_audited_ends_with_2_and_says_why(
    words: list[str], says: str, tmp_path: Path, knees: list[np.ndarray], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.png").write_text("no picture at all")
    save(tmp_path / "films" / "a.png", knees[0])
    (tmp_path / "bad.csv").write_text("name,fold\n")
    page = ["--page", str(tmp_path / "page.html")]
    assert command.main([word.format(root=tmp_path) for word in words] + page) == 2
    assert says in capsys.readouterr().err
