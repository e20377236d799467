"""Training pictures keep film and truth together, repeat with their seed, and teach."""

import keras
import numpy as np
import pytest

from osteo_utils.bone import unet, unet_training
from osteo_utils.bone.unet_training import BITS, Settings, train, varied
from osteo_utils.phantom import synthetic

KNEES = synthetic.knees(4, 9, 256)


def test_truth_moves_with_the_film():
    knee = KNEES[0]
    # A film that is its own truth: bright where bone is, dark elsewhere.
    film = np.where(knee.parts > 0, 220, 20).astype(np.uint8)
    for seed in range(20):
        frame, truth = varied(film, knee.parts, np.random.default_rng(seed))
        bone = truth.max(axis=-1) > 0
        assert frame.shape == (unet.HEIGHT, unet.WIDTH)
        assert truth.shape == (*frame.shape, len(BITS))
        order = np.argsort(np.concatenate([frame[bone], frame[~bone]])).argsort()
        ranks = order[: bone.sum()].sum() - bone.sum() * (bone.sum() - 1) / 2
        assert ranks / (bone.sum() * (~bone).sum()) > 0.8, "bone is no longer the brighter part"


def test_the_same_seed_gives_the_same_picture_and_another_does_not():
    knee = KNEES[1]
    first, again, other = (varied(knee.image, knee.parts, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_loss_is_lowest_for_the_truth():
    truth = np.zeros((2, 8, 8, 4), np.float32)
    truth[:, 2:6, 2:6] = 1
    right, undecided, wrong = (
        float(unet_training.loss(keras.ops.convert_to_tensor(truth), keras.ops.convert_to_tensor(logits)))
        for logits in (20 * (truth - 0.5), np.zeros_like(truth), 20 * (0.5 - truth))
    )
    assert right == pytest.approx(0, abs=0.01)
    assert right < undecided < wrong


def test_a_short_training_learns(capsys):
    train(Settings(knees=12, film_size=96, epochs=3, batch_size=4))
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
