"""The page of the audit asks about each pair and film once, and brings along what was decided before."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osteo_utils.audit import command, decisions
from osteo_utils.audit.decision_form import Form
from osteo_utils.phantom import synthetic

ODD = "a/00 \"again\" 'x' <b>.png"


def form_of(*alike: tuple[str, str, float], groups: dict[str, int], decided: list[tuple] = ()) -> Form:
    pairs = pd.DataFrame(alike, columns=["first", "second", "similarity"])
    table = pd.DataFrame({"image_id": list(groups), "knee": list(groups.values())})
    return Form(
        pairs, table, decisions.Decisions(pd.DataFrame(decided, columns=list(decisions.COLUMNS)), [], {"d.csv": "0"})
    )


def test_a_group_is_asked_for_its_links_and_for_what_was_decided() -> None:
    said = ("a", "c", "same", "Ada", "2026-11-28", "same screw")
    form = form_of(("a", "b", 0.9), ("a", "b", 0.95), ("b", "c", 0.8), groups={"a": 0, "b": 0, "c": 0}, decided=[said])
    first, second = form.within(["c", "a", "b"])
    assert (first["films"], first["label"], first["verdict"]) == (["c", "a"], "films 1 and 2", "same")
    assert first["why"] == "same screw" and first["verdicts"] == ["same", "different"]
    assert (second["films"], second["label"], second["verdict"]) == (["a", "b"], "films 2 and 3, similarity 0.95", "")
    assert form.within(["a", "b"]) == [], "no pair is asked for twice"
    assert form.about_film("a", 1)["verdicts"] == ["exclude", "keep"] and form.about_film("a", 1) is None
    assert first["number"] != second["number"]
    assert (first["joined"], second["joined"]) == (False, True), "by itself, the audit joins the second alone"


def test_pairs_that_come_near_are_asked_for_unless_joined_or_decided() -> None:
    groups = {"a": 0, "b": 0, "c": 1, "d": 2}
    alike = [("a", "c", 0.8), ("a", "d", 0.85), ("b", "c", 0.84), ("a", "b", 0.8), ("c", "d", 0.7), ("b", "d", 0.9)]
    said = ("c", "b", "different", "Ada", "2026-11-28", "")
    assert form_of(*alike, groups=groups, decided=[said]).near() == [["a", "d"], ["a", "c"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two knees; the first is there twice more, under an odd name and in the other class."""
    root = tmp_path_factory.mktemp("page") / "set"
    one, two = synthetic.draw(11, 4, size=256, copies=0.0).images[:2]
    for name, film in {"a/00.png": one, ODD: one[:, ::-1], "b/00.jpg": one, "b/01.png": two}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(film)).save(root / name)
    return root


def asked(page: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """Verdict and reason that each question of a page begins with, by its films."""
    found = re.findall(
        r"""<fieldset class="choice" data-films='([^']*)' data-verdict="([^"]*)" data-why="([^"]*)"(?: data-joined)?>""",
        page.read_text("utf-8"),
    )
    return {tuple(json.loads(films)): (verdict, html.unescape(why)) for films, verdict, why in found}


def test_what_was_decided_is_followed_and_can_be_taken_back_on_the_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    page = tmp_path / "page.html"
    assert command.main([str(folder), "--page", str(page)]) == 0
    undecided = ("", "")
    films = [(ODD,), ("a/00.png",), ("b/00.jpg",)]
    pairs = [(ODD, "a/00.png"), (ODD, "b/00.jpg"), ("a/00.png", "b/00.jpg")]
    assert asked(page) == dict.fromkeys([*films, *pairs], undecided)
    assert "decisions followed" not in capsys.readouterr().out
    rows = [
        ["b/00.jpg", "a/00.png", "different", "Ada", "2026-11-28", "</script> other side"],
        ["b/00.jpg", ODD, "different", "Ada", "2026-11-28", ""],
        ["a/00.png", ODD, "same", "Ada", "2026-11-28", 'the "same" ball'],
        ["b/01.png", "", "exclude", "Bo", "2026-11-27", "a hip"],
    ]
    pd.DataFrame(rows, columns=decisions.COLUMNS).to_csv(folder / "decisions.csv", index=False)
    assert command.main([str(folder), "--page", str(page)]) == 0
    said = capsys.readouterr().out
    assert "decisions followed, of decisions.csv: 1 same, 2 different, 1 exclude, 0 keep" in said
    assert "remark: decisions: 1 of 4 change nothing, as the audit finds the same without them" in said
    assert re.search(r"excluded by a decision\s+1", said) and "conflict" not in said
    assert "not used: b/01.png: excluded by a decision of Bo on 2026-11-27: a hip" in said
    assert asked(page)[ODD, "a/00.png"] == ("same", 'the "same" ball')
    text = page.read_text("utf-8")
    (kept,) = re.findall(r'<script type="application/json" id="decided">(.*?)</script>', text)
    assert [[row[name] for name in decisions.COLUMNS] for row in json.loads(kept)] == rows
    assert len(re.findall(r'<input type="checkbox" id="back-\d"', text)) == len(rows)
    assert command.main([str(folder), "--against", str(folder / "a"), "--page", str(page)]) == 1
    assert asked(page) == {} and "audited without a second one" in page.read_text("utf-8")
    (folder / "decisions.csv").write_text("image_id,verdict\na/00.png,keep\n", "utf-8")
    assert command.main([str(folder), "--page", str(page)]) == 2
    assert "decisions.csv: no who in the header" in capsys.readouterr().err
    (folder / "decisions.csv").unlink()


def test_a_pair_that_comes_near_is_drawn_with_its_question(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = command.audit_folders(folder, None, tmp_path, say=lambda _: None)
    near = pd.DataFrame([["a/00.png", "b/01.png", 0, 0.9, 0.81]], columns=found.pairs.columns)
    form = Form(pd.concat([found.pairs, near]), found.table, found.decided)
    command.write_page(page, folder, None, found.manifest, found.images, found.table, None, form)
    assert ("a/00.png", "b/01.png") in asked(page) and ("b/01.png",) in asked(page)
    text = page.read_text("utf-8")
    assert "Alike, but not joined: 1" in text and "films 1 and 2, similarity 0.81" in text
    assert text.count("data:image/jpeg") == 5 and len(asked(page)) == len(re.findall("<fieldset", text)) == 8
