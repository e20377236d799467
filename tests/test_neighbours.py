"""Neighbours by fingerprint: copies laid down any way come first, strangers and the own film are not put forward."""

import numpy as np
import pytest
from scipy import ndimage

from osteo_utils.audit import neighbours

N = 300


@pytest.fixture(scope="module")
def strangers() -> np.ndarray:
    """Smooth random pictures (n, 32, 32): enough of them that principal axes are learnt."""
    noise = np.random.default_rng(3).normal(size=(N, 32, 32))
    return ndimage.gaussian_filter(noise, (0, 2, 2)) * 10


def fingerprints(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upright and after a quarter turn, every box the same; square pictures squeezed as a leg box would be."""
    squeezed = [(kind[:, :, ::2] + kind[:, :, 1::2]) / 2 for kind in (pictures, np.rot90(pictures, axes=(1, 2)))]
    return tuple(np.stack([kind] * 2, axis=1).astype(np.float16) for kind in squeezed)


@pytest.mark.parametrize("turn", range(8))
def test_a_copy_is_the_neighbour_however_it_is_laid_down(strangers: np.ndarray, turn: int) -> None:
    pictures = strangers.copy()
    noise = np.random.default_rng(turn).normal(0, 0.1, (32, 32))
    copy = np.rot90(strangers[40]) if turn & neighbours.QUARTER else strangers[40]
    pictures[7] = neighbours.flipped(copy, turn) + noise
    found = neighbours.neighbours(*fingerprints(pictures), np.arange(N), np.arange(N), {1: 3})
    # Laying 40 down so gives 7; this is the pair 7, 40 as seen from 7.
    assert (40, turn) in found[7]


def test_strangers_are_not_put_forward(strangers: np.ndarray) -> None:
    assert neighbours.neighbours(*fingerprints(strangers), np.arange(N), np.arange(N), {1: 3}) == {}


def test_two_legs_of_one_film_are_no_pair_and_those_left_out_are_not_found(strangers: np.ndarray) -> None:
    pictures = strangers.copy()
    pictures[1], pictures[3] = pictures[0], pictures[2]
    owner = np.arange(N)
    owner[1] = 0
    everyone = neighbours.neighbours(*fingerprints(pictures), owner, np.arange(N), {0: 2})
    assert everyone == {2: [(3, 0)]}
    without = neighbours.neighbours(*fingerprints(pictures), owner, np.delete(np.arange(N), 3), {0: 2})
    assert without == {}
