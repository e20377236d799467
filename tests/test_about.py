"""What an author says of a study: read as written, refused with line and field where it is wrong."""

from pathlib import Path

import pytest

from osteo_utils.study import about, config, paths, results


def test_the_template_asks_for_every_field_and_says_nothing() -> None:
    assert about.parse(about.template(), "t") == {}
    filled = about.template().replace("authors: []", "authors: [A, B]").replace("design:", "design: prospective")
    filled = "\n".join(f"{line} words" if line.endswith(":") else line for line in filled.splitlines())
    assert set(about.parse(filled, "t")) == set(about.FIELDS)


def test_fields_are_read_as_written_and_empty_ones_left_out() -> None:
    text = "title: A study\nauthors:\n  - A. Author\n  - B. Author\ndates: 2021-03-04\nethics: >\n  Approved,\n  no. 7.\nfunding:\n"
    assert about.parse(text, "t") == {
        "title": "A study",
        "authors": ["A. Author", "B. Author"],
        "dates": "2021-03-04",
        "ethics": "Approved, no. 7.",
    }


@pytest.mark.parametrize(
    "text, said",
    [
        ("title: x\nfundng: a bank\n", r"my\.yaml, line 2: unknown field 'fundng'; did you mean 'funding'\?"),
        ("title: x\ntitle: y\n", r"line 2: the field 'title' is there twice"),
        ("title: 'open\n", r"line \d: not valid YAML"),
        ("title: a: b\n", r"line 1: not valid YAML .*colon"),
        ("title: x\nethics: 7\n", r"line 2: ethics: expected a text, found '7' \(int\)"),
        ("title: [a, b]\n", r"line 1: title: expected a text, found a list"),
        ("title: {a: b}\n", r"line 1: title: expected a text, found fields"),
        ("blinding: yes\n", r"blinding: expected a text, found 'yes' \(bool\); put it between quotes"),
        ("authors: A. Author\n", r"line 1: authors: expected a list, such as \[A\. Author"),
        ("authors: [3]\n", r"authors: expected a text, found '3' \(int\)"),
        ("design: retrospectiv\n", r"design: 'retrospectiv'; expected one of .* did you mean 'retrospective'"),
        ("- title\n", r"line 1: expected lines of 'field: text'"),
        ("just words\n", r"line 1: expected lines of 'field: text'"),
        ("title: !!python/name:os.system\n", r"title: expected a text"),
        ("title: a\x07b\n", r"my\.yaml: not valid YAML"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        about.parse(text, "my.yaml")


def test_a_file_of_another_encoding_or_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "about.yaml"
    path.write_bytes("title: Müller\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8 text"):
        about.read(path)
    path.write_text("title: " + "x" * about.LARGEST)
    with pytest.raises(ValueError, match="a page of text"):
        about.read(path)


@pytest.mark.parametrize("dataset", ["phantom", "knee744"])
def test_what_the_project_says_of_its_sets_is_readable_and_names_no_stranger(dataset: str) -> None:
    said = about.read(paths.config_dir() / "about" / f"{dataset}.yaml")
    assert said["authors"] == ["The osteo-utils contributors"] and "diagnose" in said["intended_use"]
    assert about.is_unknown("unknown") and about.is_unknown("Unknown. Nobody says.") and not about.is_unknown("known")


def test_nothing_is_invented_of_the_public_set() -> None:
    said = about.read(paths.config_dir() / "about" / "knee744.yaml")
    for name in (
        "population",
        "setting",
        "dates",
        "eligibility",
        "reference_standard",
        "readers",
        "blinding",
        "interval",
        "ethics",
    ):
        assert about.is_unknown(said[name])
    assert not {"contact", "funding", "conflicts_of_interest"} & set(said)


def test_the_authors_file_beside_the_films_comes_before_the_projects(home: Path) -> None:
    settings = {**config.load("knee744"), "data_dir": str(home / "films")}
    ours = paths.config_dir() / "about" / "knee744.yaml"
    assert about.source(settings) == ours
    (home / "films").mkdir()
    (home / "films" / "about.yaml").write_text("title: Theirs\n")
    assert about.source(settings) == home / "films" / "about.yaml"
    assert about.source({**settings, "dataset": "folder", "data_dir": str(home)}) is None
    (home / "films" / "about.yaml").rename(home / "films" / "About.yml")
    with pytest.raises(ValueError, match=r"About\.yml: expected the name about\.yaml"):
        about.source(settings)


def test_what_was_said_is_kept_for_the_notebook_and_changes_only_with_its_content(home: Path) -> None:
    films = home / "films"
    films.mkdir()
    settings = {"study": "mine", "dataset": "folder", "data_dir": str(films)}
    assert about.of_study("mine", "folder") == {}
    kept = about.store(settings, results.write_text)
    assert about.of_study("mine", "folder") == {}
    (films / "about.yaml").write_text("title: 'yes'\nauthors: [Åse]\ndates: '2020'\n")
    about.store(settings, results.write_text)
    assert about.of_study("mine", "folder") == {"title": "yes", "authors": ["Åse"], "dates": "2020"}
    before = kept.stat().st_mtime_ns
    (films / "about.yaml").write_text("# a remark\ntitle: 'yes'\nauthors: [Åse]\ndates: '2020'\n")
    about.store(settings, results.write_text)
    assert kept.stat().st_mtime_ns == before


def test_a_study_run_by_hand_has_what_the_project_says_of_its_set(home: Path) -> None:
    assert about.of_study("scratch", "phantom")["design"] == "synthetic"


def test_signs_that_turn_the_line_stay_out(tmp_path: Path) -> None:
    (tmp_path / about.NAME).write_text('title: "a \u202eb\\nc"\n', "utf-8")
    assert about.read(tmp_path / about.NAME)["title"] == "a b c"


def test_a_folder_of_that_name_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / about.NAME).mkdir()
    with pytest.raises(ValueError, match=r"about\.yaml: expected a file that can be read"):
        about.source({"data_dir": str(tmp_path), "dataset": "folder"})
