"""Films as the networks meet them: variants, the view around the knee, and what happens where a mask was flagged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osteo_utils.images.image_store import content_box, to_store
from osteo_utils.networks import inputs
from osteo_utils.networks.inputs import Activations
from osteo_utils.study import config, results
from osteo_utils.study.paths import StudyPaths

WIDTH, HEIGHT = 100, 200


@pytest.fixture
def run(tmp_path, monkeypatch) -> results.Run:
    """A study of two equal films with a bright bone; the mask of the second was flagged."""
    monkeypatch.setenv("OSTEO_HOME", str(tmp_path))
    made = results.Run("04_vgg16", {**config.load("smoke"), "study": "two"}, StudyPaths("two"), 1)
    film = np.full((HEIGHT, WIDTH), 60, np.uint8)
    film[:, 40:60] = 200
    made.paths.images.parent.mkdir(parents=True)
    np.save(made.paths.images, np.stack([to_store(film)[0]] * 2))
    np.save(made.paths.masks, np.stack([to_store((film == 200).astype(np.uint8) * 255)[0] > 127] * 2).astype(np.uint8))
    measured = {"image_id": ["a", "b"], "plausible": [1, 0], "knee_y": 0.25, "knee_x": 0.5, "knee_width": 0.2}
    results.write_table(made.paths.tables / "masks.csv", pd.DataFrame(measured))
    return made


@pytest.fixture
def images() -> pd.DataFrame:
    return pd.DataFrame({"image_id": ["a", "b"], "status": "ok", "row": [0, 1], "width": WIDTH, "height": HEIGHT})


def test_segmented_films_keep_bone_alone_and_flagged_ones_stay_whole(run, images):
    whole = inputs.square_films(run, images, "full", "pad", 64)
    cut, flagged = inputs.square_films(run, images, "segmented", "pad", 64)
    box = content_box(WIDTH, HEIGHT)
    side = round(64 * (box.left + 5) / 512)
    assert whole[0][32, side + 2] == pytest.approx(60, abs=3) and cut[32, side + 2] == 0
    assert cut[32, 32] == pytest.approx(200, abs=3)
    np.testing.assert_array_equal(flagged, whole[1])


def test_background_films_hold_no_bone(run, images):
    bare, flagged = inputs.square_films(run, images, "background", "pad", 64)
    assert bare[32, 32] == pytest.approx(60, abs=4)
    assert flagged[32, 32] == pytest.approx(200, abs=3)


def test_knee_view_follows_the_table_of_masks(run, images):
    around, centred = inputs.square_films(run, images, "full", "knee", 64)
    np.testing.assert_array_equal(centred, inputs.square_films(run, images, "full", "crop", 64)[1])
    # Bone is a fifth of the film and the square one and a half knees wide.
    assert (around > 130).mean() == pytest.approx(1 / 1.5, abs=0.05)
    masks = inputs.square_masks(run, images, "knee", 64)
    assert masks[0].mean() == pytest.approx(1 / 1.5, abs=0.05)
    assert not masks[1].any()


def test_films_with_a_flagged_mask_are_left_out_where_asked(run, images):
    folds = pd.DataFrame({"image_id": ["a", "b"], "protocol": "grouped", "seed": 0, "view": 0, "fold": [0, 1]})
    assert inputs.trusted_alone(run, images, folds).fold.tolist() == [0, -1]


def test_knee_view_without_knees_says_what_to_do(run, images):
    table = run.read(run.paths.tables / "masks.csv").drop(columns=["knee_y"])
    results.write_table(run.paths.tables / "masks.csv", table)
    with pytest.raises(ValueError, match="lacks \\['knee_y'\\]; the classical method finds no joint"):
        inputs.square_films(run, images, "full", "knee", 64)


SIZE, N = 64, 12


def test_views_in_files_are_named_and_others_are_carried_to_another_process(tmp_path: Path) -> None:
    kept = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    np.save(tmp_path / "view.npy", kept)
    stored = np.load(tmp_path / "view.npy", mmap_mode="r")
    given = Activations("vgg16", "full", SIZE, (stored, stored[:, ::-1], kept), "key")
    packed = given.packed()
    assert packed.views[0] == tmp_path / "view.npy"
    for before, after in zip(given.views, packed.unpacked().views, strict=True):
        np.testing.assert_array_equal(after, before)
