"""Folders as people sort films: classes, splits, other names, links, labels in a table; nothing is lost in silence."""

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import fill

from osteo_utils.sources import class_names, folder_tree
from osteo_utils.sources.film_folders import arrange
from osteo_utils.sources.folder_tree import walk


def films(root: Path, *names: str) -> Path:
    return fill(root, dict.fromkeys(names, b"x"))


def classes(root: Path, *mapping: str, every_folder: bool = False) -> dict[str, str]:
    places = arrange(root, mapping, every_folder).places
    return {name: place.class_name for name, place in places.items() if not (place.excluded or place.unusable)}


SPLIT = ("Train/NORMAL/1.png", "Train/osteoporosis/1.png", "valid/Normal/2.png", "TEST/osteoporosis/3.png")


def test_a_split_in_folders_is_one_set_with_sides(tmp_path: Path) -> None:
    root = films(tmp_path, *SPLIT, "extra/normal/4.png", "Train/notes.txt", "readme.txt", "patients.csv", "about.yaml")
    for every_folder in (False, True):
        layout = arrange(root, every_folder=every_folder)
        assert {name: layout.sides[name] for name in SPLIT} == dict(
            zip(SPLIT, "train train val test".split(), strict=True)
        )
        assert {name: layout.places[name].class_name for name in SPLIT} == dict(
            zip(SPLIT, "normal osteoporosis normal osteoporosis".split(), strict=True)
        )
        assert layout.places["extra/normal/4.png"].excluded == "lies outside the folders of the split"
    assert arrange(root).places["Train/notes.txt"].excluded == "lies beside the class folders"
    assert "about.yaml" not in arrange(root).places and "readme.txt" in arrange(root).places
    assert arrange(root).folders["normal"] == ["Train/NORMAL", "valid/Normal"]
    assert arrange(root).remarks == [
        "the films of TEST/, Train/, valid/ are studied together; the study makes its own splits"
    ]


def test_a_split_of_any_classes_is_found_around_inside_and_in_folds(tmp_path: Path) -> None:
    around = films(tmp_path / "a", "xray/xray/train/A/1.png", "xray/xray/test/a/2.png", "readme.txt")
    sides = {"xray/xray/train/A/1.png": "train", "xray/xray/test/a/2.png": "test"}
    assert arrange(around, every_folder=True).sides == sides
    assert classes(around, every_folder=True) == dict.fromkeys(sides, "a")
    inside = films(tmp_path / "b", "A/train/1.png", "A/test/2.png", "B/train/1.png")
    assert list(arrange(inside, every_folder=True).sides.values()) == ["test", "train", "train"]
    assert set(classes(inside, every_folder=True).values()) == {"A", "B"}
    folds = films(tmp_path / "c", "fold1/A/1.png", "Fold_02/A/1.png")
    assert set(arrange(folds, every_folder=True).sides.values()) == {"fold 1", "fold 2"}
    without_classes = films(tmp_path / "d", "train/1.png", "test/2.png")
    assert arrange(without_classes, every_folder=True).sides == {"test/2.png": "test", "train/1.png": "train"}


def test_a_whole_set_beside_its_own_split_is_taken_alone(tmp_path: Path) -> None:
    root = films(tmp_path, "normal/1.png", "osteoporosis/2.png", "train/normal/1.png", "test/osteoporosis/2.png")
    assert classes(root) == {"normal/1.png": "normal", "osteoporosis/2.png": "osteoporosis"}
    assert arrange(root).sides == {}
    assert "not used: the folder train/ with 1 files is neither normal nor osteoporosis" in arrange(root).remarks


@pytest.mark.parametrize(
    ("folders", "proposed"),
    [
        (["normal ", "osteoporosis"], "normal='normal '"),
        (["Normal Knee", "OP"], "normal='Normal Knee' osteoporosis=OP"),
        (["normals", "osteoporotic", "osteopenia"], "normal=normals osteoporosis=osteoporotic"),
        (["healthy", "osteoporosis"], "normal=healthy"),
        (["normal", "abnormal"], "osteoporosis=abnormal"),
        (["0", "1"], "normal=0 osteoporosis=1"),
        (["0_Normal", "1_Osteopenia", "2_Osteoporosis"], "normal=0_Normal osteoporosis=2_Osteoporosis"),
        (["non-osteoporotic", "Osteoporose"], "normal=non-osteoporotic osteoporosis=Osteoporose"),
        (["no osteoporosis", "osteoporosis"], "normal='no osteoporosis'"),
        (["control", "patient's"], "normal=control osteoporosis=FOLDER"),
        (["Normal (left)", "normal_right", "osteoporsis"], "normal='Normal (left)' normal=normal_right osteoporosis=osteoporsis"),
    ],
)  # fmt: skip
def test_near_names_are_refused_with_the_option_that_maps_them(
    folders: list[str], proposed: str, tmp_path: Path
) -> None:
    for sides in ([""], ["train/", "test/"]):
        root = films(tmp_path / str(len(sides)), *(f"{side}{name}/1.png" for side in sides for name in folders))
        with pytest.raises(ValueError, match=r"lacks .*; found ") as caught:
            arrange(root)
        text = str(caught.value)
        assert text.endswith(f"say which is which: --classes {proposed}")
        if "FOLDER" not in proposed:
            mapping = shlex.split(text.partition("--classes ")[2])
            assert {"normal", "osteoporosis"} <= set(classes(root, *mapping).values())


def test_mapped_folders_are_classes_and_the_others_are_named(tmp_path: Path) -> None:
    root = films(
        tmp_path, "Normal Knee/1.png", "healthy/2.png", "OP/3.png", "Osteopenia/4.png", "odd/5.png", "odd/6.png"
    )
    mapping = ["normal=normal knee", "normal=healthy", "osteoporosis=OP", "normal=gone"]
    assert classes(root, *mapping) == {
        "Normal Knee/1.png": "normal", "healthy/2.png": "normal", "OP/3.png": "osteoporosis", "Osteopenia/4.png": "osteopenia",
    }  # fmt: skip
    assert arrange(root, mapping).remarks == [
        "not used: the folder odd/ with 2 files is neither normal nor osteoporosis",
        "classes: there is no 'gone'",
    ]
    assert classes(root, *mapping, every_folder=True)["odd/5.png"] == "odd"
    with pytest.raises(ValueError, match="two folders for normal: Normal Knee, normal; merge them"):
        arrange(films(root, "normal/1.png"), ["normal=Normal Knee", "osteoporosis=OP"])


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (
            ["healthy=a"],
            "found 'healthy=a'; expected CLASS=FOLDER, where CLASS is normal or osteoporosis or osteopenia",
        ),
        (["normal"], "found 'normal'"),
        (["normal="], "found 'normal='"),
        (["normal=a", "osteoporosis=a"], "'a' is given as normal and as osteoporosis"),
        (["normal=@healthy"], "'@healthy' is called as folders are that programs make"),
    ],
)
def test_a_wrong_mapping_is_refused(entries: list[str], says: str) -> None:
    with pytest.raises(ValueError, match="classes: ") as caught:
        class_names.parse(entries)
    assert says in str(caught.value)


def test_folders_of_programs_are_named_once_and_not_entered(tmp_path: Path) -> None:
    system = [".ipynb_checkpoints", "@eaDir", ".thumbnails", ".@__thumb", "__MACOSX"]
    root = films(
        tmp_path, "normal/1.png", "osteoporosis/1.png", *(f"normal/{name}/{n}.png" for name in system for n in "ab")
    )
    films(root, ".git/config", "__MACOSX/normal/._1.png")
    places = arrange(root).places
    assert list(classes(root)) == ["normal/1.png", "osteoporosis/1.png"]
    named = {name: place for name, place in places.items() if place.unusable}
    assert set(named) == {".git", "__MACOSX", *(f"normal/{name}" for name in system)}
    assert named["normal/@eaDir"].unusable == "folder of a program, its 2 files are not used"
    assert (named["normal/@eaDir"].class_name, named[".git"].class_name) == ("normal", "")
    with pytest.raises(ValueError, match=r"osteoporosis: no file in it; put the osteoporosis radiographs there"):
        (root / "osteoporosis/1.png").rename(films(root, "osteoporosis/@eaDir/x") / "osteoporosis/@eaDir/1.png")
        arrange(root)


def test_linked_folders_and_files_are_listed_and_never_loop(tmp_path: Path) -> None:
    root = films(tmp_path / "set", "normal/1.png", "normal/real/2.png", "osteoporosis/3.png")
    films(tmp_path / "elsewhere", "7.png", "deep/8.png")
    links = {
        "normal/a link": tmp_path / "elsewhere", "normal/real/again": tmp_path / "elsewhere", "normal/real/up": root / "normal",
        "osteoporosis/everything": tmp_path, "osteoporosis/own": root / "osteoporosis", "osteoporosis/same": root / "normal" / "real",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "osteoporosis/4.png").symlink_to(tmp_path / "elsewhere" / "7.png")
    (root / "osteoporosis/broken.png").symlink_to("nowhere.png")
    (root / "osteoporosis/itself").symlink_to("itself")
    places = arrange(root).places
    used = [name for name, place in places.items() if not place.unusable]
    assert used == [
        "normal/1.png", "normal/a link/7.png", "normal/a link/deep/8.png", "normal/real/2.png",
        "normal/real/again/7.png", "normal/real/again/deep/8.png", "osteoporosis/3.png", "osteoporosis/4.png",
        "osteoporosis/broken.png", "osteoporosis/itself", "osteoporosis/same/2.png",
    ]  # fmt: skip
    refused = {name: place.unusable for name, place in places.items() if place.unusable}
    around, again = "a link to a folder that it lies in", "a link to a folder that is listed already"
    assert refused == {
        **dict.fromkeys((f"osteoporosis/{name}" for name in ("everything", "own", "same/up")), around),
        "normal/real/up": around,
        "osteoporosis/same/again": again,
    }


def test_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    root = films(tmp_path / "set", *(f"{name}/1.png" for name in "abcdef"))
    for name in "abcdef":
        for other in set("abcdef") - {name}:
            (root / name / f"to {other}").symlink_to(root / other)
    tree = walk(root)
    assert len(tree.files) == 6 + 6 * 5
    assert set(tree.not_entered.values()) == {"a link to a folder that is listed already"}


@pytest.mark.parametrize("link", ["test", "test/normal"])
def test_a_side_that_is_a_link_to_the_other_holds_the_same_films(link: str, tmp_path: Path) -> None:
    root = films(tmp_path / "set", "train/normal/1.png", "train/osteoporosis/2.png")
    if link != "test":
        films(root, "test/osteoporosis/3.png")
    (root / link).symlink_to(root / link.replace("test", "train"))
    sides = arrange(root, every_folder=True).sides
    assert (sides["train/normal/1.png"], sides["test/normal/1.png"]) == ("train", "test")


@pytest.mark.parametrize("way", ["{who}/{what}/1.png", "{who}/2020-01-01/{what}/series 1/1.png"])
def test_class_folders_inside_those_of_patients_are_the_classes(way: str, tmp_path: Path) -> None:
    names = [way.format(who=who, what=what) for who in ("P1", "P2") for what in ("Normal", "osteoporosis")]
    root = films(tmp_path / "set", *names, "DICOMDIR")
    layout = arrange(root, every_folder=True)
    assert {layout.places[name].class_name for name in names[::2]} == {"normal"}
    assert {layout.places[name].class_name for name in names[1::2]} == {"osteoporosis"}
    assert layout.remarks == ["the classes are the folders Normal/, osteoporosis/ inside P1/, P2/"]
    with pytest.raises(ValueError, match=r"the classes lie inside P1/, P2/; put them outside, as normal/NAME/"):
        arrange(root)
    # Few patients have films of both classes.
    (root / names[0]).unlink()
    with pytest.raises(ValueError, match=r"the classes lie inside P1/, P2/; put them outside"):
        arrange(root)
    # Where another folder holds films, the folders at the top are the classes as ever.
    assert set(classes(films(root, "spare/1.png"), every_folder=True).values()) >= {"P1", "P2", "spare"}


def test_a_folder_of_films_alone_is_told_of_the_table_of_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found no folder.* write the class of each film into labels.csv"):
        arrange(films(tmp_path, "1.png", "2.png"))


def test_numbers_of_three_classes_are_not_guessed_and_a_completed_slash_is_none(tmp_path: Path) -> None:
    root = films(tmp_path, "0/1.png", "1/1.png", "2/1.png")
    with pytest.raises(ValueError, match=r"--classes normal=FOLDER osteoporosis=FOLDER$"):
        arrange(root)
    named = classes(root, "normal=0/", "osteopenia=1/", "osteoporosis=2/")
    assert named == {"0/1.png": "normal", "1/1.png": "osteopenia", "2/1.png": "osteoporosis"}


def test_a_linked_class_is_a_class(tmp_path: Path) -> None:
    films(tmp_path / "store", "1.png")
    root = films(tmp_path / "set", "osteoporosis/3.png")
    (root / "normal").symlink_to(tmp_path / "store")
    assert classes(root) == {"normal/1.png": "normal", "osteoporosis/3.png": "osteoporosis"}


def labelled(root: Path, text: str) -> Path:
    films(root, "1.png", "2.png", "images/3.png", "4.png")
    (root / "labels.csv").write_text(text, "utf-8")
    return root


def test_films_without_class_folders_have_the_class_of_their_row(tmp_path: Path) -> None:
    root = labelled(tmp_path, "filename,diagnosis\n1.png,Normal\n2,osteoporosis\n3.png,?\n9.png,normal\n")
    assert classes(root) == {"1.png": "normal", "2.png": "osteoporosis"}
    layout = arrange(root)
    assert {layout.places[name].excluded for name in ("images/3.png", "4.png")} == {"labels.csv gives it no class"}
    assert layout.remarks == ["the classes are those of labels.csv", "labels.csv: 1 files are not there: 9.png (row 5)"]
    coded = labelled(tmp_path, "filename,label\n1.png,0\n2.png,1\n3.png,1\n4.png,7\n")
    with pytest.raises(
        ValueError, match=r"labels\.csv: no film is normal or osteoporosis; found '0', '1', '7'.*--classes normal=0 os"
    ):
        arrange(coded)
    assert classes(coded, "normal=0", "osteoporosis=1") == {
        "1.png": "normal", "2.png": "osteoporosis", "images/3.png": "osteoporosis",
    }  # fmt: skip
    odd = arrange(coded, ["normal=0", "osteoporosis=1"]).places["4.png"]
    assert odd.excluded == "class '7' in labels.csv is neither normal nor osteoporosis"
    assert classes(coded, every_folder=True)["4.png"] == "7"


def test_class_folders_come_before_a_table_of_labels(tmp_path: Path) -> None:
    root = films(tmp_path, "normal/1.png", "osteoporosis/2.png")
    (root / "labels.csv").write_text("image_id,class\nnormal/1.png,osteoporosis\n", "utf-8")
    assert classes(root) == {"normal/1.png": "normal", "osteoporosis/2.png": "osteoporosis"}


NAMES = st.sampled_from(
    ["train", "Test", "val", "normal", "Osteoporosis", "normal ", "OP", "abnormal", "@eaDir", ".x", "a b", "1.png", "é"]
)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.lists(NAMES, max_size=3).map(lambda parts: "/".join([*parts, "film.png"])), max_size=8))
def test_every_file_is_listed_once_or_the_folder_is_refused_by_name(tmp_path_factory, names) -> None:
    root = films(tmp_path_factory.mktemp("any"), *names)
    listed = set(arrange(root, every_folder=True).places)
    hidden = {name for name in names if any(map(folder_tree.is_system_folder, name.split("/")[:-1]))}
    assert listed - names == {name for name in listed if os.path.isdir(root / name)}  # noqa: PTH112
    assert names - listed == hidden
    assert all(any(name.startswith(f"{folder}/") for folder in listed - names) for name in hidden)
    try:
        assert set(arrange(root).places) == listed
    except ValueError as error:
        assert str(error).startswith(str(root))
