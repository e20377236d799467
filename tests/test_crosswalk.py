"""Which film of a set comes from which film of another, and from where in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from osteo_utils.audit import command, crosswalk
from osteo_utils.phantom import synthetic


def save(path: Path, film: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(film)).save(path)


def turned(film: np.ndarray) -> np.ndarray:
    return np.rot90(film, -1)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Seven films and what they were made from: two legs side by side, a knee that is there under two classes."""
    root = tmp_path_factory.mktemp("walk")
    first, second, gap = root / "first", root / "second", np.zeros((256, 20), np.uint8)
    knees = list(synthetic.draw(11, 8, size=256, copies=0.0).images)
    save(second / "osteopenia" / "both.png", np.hstack([knees[0], gap, knees[1]]))
    save(second / "normal" / "2.png", knees[2])
    save(second / "normal" / "3.png", knees[3])
    save(second / "osteoporosis" / "3 again.png", np.rint(knees[3] * 0.8 + 20).astype(np.uint8))
    save(first / "normal" / "right leg.png", knees[1][16:, 8:])
    save(first / "normal" / "mirrored.png", knees[2][:, ::-1])
    save(first / "normal" / "turned.png", turned(knees[2]))
    save(first / "osteoporosis" / "bytes.png", knees[2])
    save(first / "osteoporosis" / "under two.png", knees[3][:240])
    save(first / "osteoporosis" / "stranger.png", knees[4])
    out = root / "out.csv"
    words = [str(first), "--against", str(second), "--crosswalk", str(out), "--page", str(root / "page.html")]
    assert command.main(words) == 0
    return pd.read_csv(out, keep_default_na=False).astype({"similarity": str})


def box(walked: pd.DataFrame, film: str, source: str) -> list[float]:
    row = walked[(walked.image_id == film) & (walked.source == source)].iloc[0]
    return [float(row[side]) for side in ("left", "top", "right", "bottom")]


def test_every_film_is_there_with_each_of_its_sources_and_how_sure_they_are(walked: pd.DataFrame) -> None:
    found = walked.set_index(["image_id", "source"])[["source_class", "certainty"]].agg(list, axis=1).to_dict()
    assert found == {
        ("normal/right leg.png", "osteopenia/both.png"): ["osteopenia", "registered"],
        ("normal/mirrored.png", "normal/2.png"): ["normal", "registered"],
        ("normal/turned.png", "normal/2.png"): ["normal", "registered"],
        ("osteoporosis/bytes.png", "normal/2.png"): ["normal", "same bytes"],
        ("osteoporosis/under two.png", "normal/3.png"): ["normal", "registered"],
        ("osteoporosis/under two.png", "osteoporosis/3 again.png"): ["osteoporosis", "registered"],
        ("osteoporosis/stranger.png", ""): ["", "none"],
    }


@pytest.mark.parametrize(
    ("film", "source", "place"),
    [
        # Of 256 + 20 + 256 columns the right leg fills the last 256; 8 of them and 16 of 256 rows were cut away.
        ("normal/right leg.png", "osteopenia/both.png", [284 / 532, 16 / 256, 1, 1]),
        ("normal/mirrored.png", "normal/2.png", [0, 0, 1, 1]),
        ("normal/turned.png", "normal/2.png", [0, 0, 1, 1]),
        ("osteoporosis/bytes.png", "normal/2.png", [0, 0, 1, 1]),
        ("osteoporosis/under two.png", "normal/3.png", [0, 0, 1, 240 / 256]),
    ],
)
def test_the_place_of_a_film_in_its_source_is_that_of_the_cut(walked, film, source, place) -> None:
    assert box(walked, film, source) == pytest.approx(place, abs=0.02)


def test_classes_are_set_against_those_of_the_source_and_doubt_is_a_column(walked: pd.DataFrame) -> None:
    table = crosswalk.agreement(walked)
    assert table.columns.tolist() == ["normal", "osteopenia", "several classes", "no source"]
    assert table.loc["normal"].tolist() == [2, 1, 0, 0]
    assert table.loc["osteoporosis"].tolist() == [1, 0, 1, 1]


def test_films_without_class_folders_and_a_class_called_none_have_columns_of_their_own() -> None:
    rows = [("a.png", "", "x.png", ""), ("b.png", "", "", ""), ("n/c.png", "n", "none/y.png", "none")]
    walked = pd.DataFrame(rows, columns=["image_id", "class_name", "source", "source_class"])
    walked = walked.assign(sha256="s", certainty=["same bytes", "none", "registered"])
    table = crosswalk.agreement(walked)
    assert table.columns.tolist() == ["none", "no class", "no source"]
    assert table.loc["no class"].tolist() == [0, 1, 1] and table.loc["n"].tolist() == [1, 0, 0]


def test_a_crosswalk_of_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save(tmp_path / "first" / "normal" / "1.png", np.zeros((64, 64), np.uint8))
    (tmp_path / "second").mkdir()
    words = [str(tmp_path / "first"), "--against", str(tmp_path / "second"), "--crosswalk", str(tmp_path / "out.csv")]
    assert command.main(words) == 2
    assert "second: holds no files; expected a folder of films" in capsys.readouterr().err


def test_a_crosswalk_needs_a_second_set(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command.main([str(tmp_path), "--crosswalk", str(tmp_path / "out.csv")]) == 2
    assert "--crosswalk: expected --against DIR2" in capsys.readouterr().err
