#!/usr/bin/env bash
# pydicom 3.0.2: what apply_presentation_lut makes of a pixel depends on the brightest and darkest pixels of its film.
#
# Presentation LUT Shape INVERSE and a Presentation LUT Sequence turn the values after the VOI transform into P-values
# (DICOM PS3.3 C.11.6). The input range is that of the transform before, not of the film, so equal values stay equal
# from film to film. pydicom subtracts from the film's own maximum, and stretches the film's own range over the table.
# Two films of one detector, or one film before and after a crop, then show the same stored value in different greys;
# a marker in a corner changes the whole film. Nothing in the result tells it. Compute P-values from the range of the
# stored values (2 to the power of Bits Stored) where films are to be compared or learnt from.
#
# Seen with pydicom 3.0.2, numpy 2.2.6, Python 3.11, Linux x86-64; 12 bits stored, the pixel is 1000 in both films:
#   INVERSE: 3095 beside a pixel of 4095, 1000 beside a pixel of 2000
#   identity table of 4096 entries: 1000 beside a pixel of 4095, 2047 beside a pixel of 2000
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.2.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_presentation_lut

bright, dark = (np.array([[0, 1000, brightest]], np.uint16) for brightest in (4095, 2000))

inverse = Dataset()
inverse.PresentationLUTShape = "INVERSE"
shown = [int(apply_presentation_lut(film, inverse)[0, 1]) for film in (bright, dark)]
print(f"INVERSE: {shown[0]} beside a pixel of 4095, {shown[1]} beside a pixel of 2000")

table = Dataset()
table.LUTDescriptor = [4096, 0, 12]
table.add_new("LUTData", "US", list(range(4096)))
listed = Dataset()
listed.PresentationLUTSequence = [table]
mapped = [int(apply_presentation_lut(film, listed)[0, 1]) for film in (bright, dark)]
print(f"identity table of 4096 entries: {mapped[0]} beside a pixel of 4095, {mapped[1]} beside a pixel of 2000")
assert shown == [3095, 1000] and mapped == [1000, 2047]
PYTHON
