"""Four bones, and each where anatomy puts it."""

import numpy as np
import pytest
from scipy.ndimage import label

from osteo_utils.phantom import anatomy, drawing

DENSE, THIN = 0.95, 0.45


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_shows_four_bones_in_at_most_three_pieces(seed: int) -> None:
    # Patella and femur always overlap, fibula and tibia often.
    knee = drawing.draw_knee(seed, DENSE, size=256)
    pieces, count = label(knee.mask)
    assert 2 <= count <= 3
    assert np.bincount(pieces.ravel())[1:].min() > 50
    for bone in (anatomy.FEMUR, anatomy.TIBIA, anatomy.FIBULA, anatomy.PATELLA):
        assert np.mean(knee.parts & bone > 0) > 0.005


def test_bones_lie_where_anatomy_puts_them() -> None:
    for side, sign in (("R", -1), ("L", 1)):
        knee = drawing.draw_knee(3, DENSE, size=256, side=side)
        rows, columns = np.indices(knee.parts.shape)
        centre = {
            bone: (rows[knee.parts & bone > 0].mean(), columns[knee.parts & bone > 0].mean()) for bone in (1, 2, 4, 8)
        }
        femur, tibia, fibula, patella = (centre[bone] for bone in (1, 2, 4, 8))
        assert femur[0] < knee.joint[0] < tibia[0]
        assert patella[0] < knee.joint[0] < fibula[0]
        # Facing the patient, the lateral side of a right knee is on the left of the film.
        assert np.sign(fibula[1] - tibia[1]) == sign
