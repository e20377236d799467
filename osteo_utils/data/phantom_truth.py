"""What is known of a drawn knee, as lines: the outline of each bone and the joint line."""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from osteo_utils.data.phantom_anatomy import FEMUR, FIBULA, PATELLA, TIBIA

BONES = {"femur": FEMUR, "tibia": TIBIA, "fibula": FIBULA, "patella": PATELLA}
# How far, in pixels, a polygon may run beside the outline that it stands for.
TOLERANCE = 0.5


def outlines(parts: NDArray[np.uint8]) -> dict[str, list[NDArray[np.float32]]]:
    """Closed polygons around each bone that is seen; `parts` (h, w) holds the sum of 1 femur, 2 tibia, 4 fibula, 8 patella.

    Each polygon is float (n, 2), x and y in pixels counted from the centre of the first pixel, last point as the first.
    """
    return {name: _around(parts & bit > 0) for name, bit in BONES.items() if (parts & bit).any()}


def _around(mask: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    # One pixel of background on every side closes outlines that the film's edge cuts.
    cut = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    found = [approximate_polygon(line, TOLERANCE) for line in find_contours(cut.astype(np.float32), 0.5)]
    return [(line[:, ::-1] + [left - 1, top - 1]).astype(np.float32) for line in found if len(line) > 3]


def joint_line(parts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Middle between femur and tibia, column by column over the plateau: float (n, 2), x and y in pixels.

    Empty where no column shows both bones.
    """
    femur, tibia = parts & FEMUR > 0, parts & TIBIA > 0
    columns = np.flatnonzero(femur.any(axis=0) & tibia.any(axis=0))
    if not columns.size:
        return np.empty((0, 2), np.float32)
    lowest = len(parts) - 1 - np.argmax(femur[::-1, columns], axis=0)
    highest = np.argmax(tibia[:, columns], axis=0)
    gap = highest - lowest
    # Beside the plateau the two edges part; there is no joint between them.
    joint = gap <= 3 * max(float(np.median(gap)), 1.0)
    return np.column_stack([columns, (lowest + highest) / 2])[joint].astype(np.float32)


def as_lists(parts: NDArray[np.uint8]) -> dict[str, list]:
    """`outlines` and `joint_line` as plain numbers with one decimal, for a JSON file."""

    def plain(line: NDArray[np.float32]) -> list[list[float]]:
        return [[round(value, 1) for value in point] for point in line.tolist()]

    found = {name: [plain(line) for line in lines] for name, lines in outlines(parts).items()}
    return {**found, "joint_line": plain(joint_line(parts))}
