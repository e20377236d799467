"""The U-Net that sees bones: its weights, its frame, and the order of its answers."""

import numpy as np
import pytest

from osteo_utils.bone import unet
from osteo_utils.bone.unet_training import Settings
from osteo_utils.phantom import synthetic

KNEES = synthetic.knees(4, 5, 256)


@pytest.fixture(scope="module")
def model():
    return unet.trained()


def test_weights_were_made_by_the_settings_that_stand_here():
    assert unet.made_from()["hash"] == Settings().hash, (
        "the settings or the synthetic knees have changed; run python -m osteo_utils.bone.unet_training"
    )
    assert unet.WEIGHTS.stat().st_size < 2_000_000


def test_other_settings_have_another_hash():
    assert Settings(knees=10).hash != Settings().hash
    assert Settings(phantoms=0).hash != Settings().hash


def test_each_bone_is_found_where_it_was_drawn(model):
    seen = next(unet.predict(model, [KNEES[0].image]))
    parts = unet.enlarged(seen.parts, *KNEES[0].image.shape)
    for place, bit in ((0, 1), (1, 2)):
        truth = KNEES[0].parts & bit > 0
        assert 2 * (parts[..., place] & truth).sum() / (parts[..., place].sum() + truth.sum()) > 0.95


def test_mirrored_film_gives_the_mirrored_answer(model):
    plain, mirrored = unet.predict(model, [KNEES[0].image, KNEES[0].image[:, ::-1]])
    # Resampling to the frame rounds to whole grey levels, not quite alike from either side.
    assert np.abs(plain.parts - mirrored.parts[:, ::-1]).mean() < 0.002
    assert plain.certainty == pytest.approx(mirrored.certainty, abs=0.005)


def test_answers_come_in_the_order_of_the_films_however_many(model):
    films = [knee.image for knee in KNEES] * 6
    together = list(unet.predict(model, iter(films)))
    assert len(together) == len(films)
    alone = next(unet.predict(model, [films[-1]]))
    np.testing.assert_allclose(together[-1].parts, alone.parts, atol=1e-4)


def test_exposure_and_contrast_do_not_matter(model):
    film = KNEES[1].image
    darker = np.rint(film * 0.6 + 10).astype(np.uint8)
    plain, other = (one.parts.max(axis=-1) > 0.5 for one in unet.predict(model, [film, darker]))
    assert 2 * (plain & other).sum() / (plain.sum() + other.sum()) > 0.98


def test_specks_are_no_bone_but_a_second_leg_is():
    parts = np.zeros((unet.HEIGHT, unet.WIDTH, 4), np.float32)
    parts[20:80, 20:60, 0] = parts[100:104, 100:104, 0] = 1
    parts[20:80, 20:50, 1] = parts[20:70, 80:110, 1] = 1
    shown = unet.enlarged(parts, unet.HEIGHT, unet.WIDTH)
    assert not shown[100:104, 100:104, 0].any() and shown[50, 40, 0]
    assert shown[50, 90, 1] and shown[50, 40, 1]


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, made_from="{}", **{"000": np.zeros((2, 2))})
    with pytest.raises(ValueError, match=r"other\.npz: the weights do not fit"):
        unet.trained(path)


def test_kept_weights_come_back(tmp_path, model):
    path = tmp_path / "kept.npz"
    unet.keep(model, {"seed": 1}, path)
    assert unet.made_from(path) == {"seed": 1}
    again = unet.trained(path)
    for one, other in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
