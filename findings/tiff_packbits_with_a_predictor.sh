#!/usr/bin/env bash
# tifffile 2026.3.3 beside Pillow 12.0.0: a PackBits TIFF with a horizontal predictor is two different pictures.
#
# TIFF 6.0 (section 14) defines the predictor for LZW alone; later practice extends it to Deflate, LZMA and Zstandard.
# For PackBits nothing says whether tag 317 counts. tifffile stores differences and undoes them on reading. Pillow, by
# libtiff, ignores the tag and shows the differences as grey levels, without a warning. With LZW, Deflate, LZMA and
# Zstandard both read the same. A pipeline that mixes the two, or hands the file on, works on another picture than was
# saved: a smooth ramp comes out as bands. Save with LZW, or without a predictor; refuse the pair when reading.
#
# Seen with tifffile 2026.3.3, imagecodecs 2026.3.6, Pillow 12.0.0, numpy 2.2.6, Python 3.11, Linux x86-64; largest
# difference of Pillow from what was saved, 8 and 16 bits:
#   packbits: 155 and 39835; lzw, zlib, zstd, lzma: 0 and 0; tifffile reads all of them as saved
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    tifffile==2026.3.3 imagecodecs==2026.3.6 pillow==12.0.0 numpy==2.2.6
cd "$folder"
env/bin/python - <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image

ramp = np.add.outer(np.arange(64), 2 * np.arange(48)) % 256
films = {8: ramp.astype(np.uint8), 16: (ramp * 257).astype(np.uint16)}
for compression in ("packbits", "lzw", "zlib", "zstd", "lzma"):
    off = []
    for bits, film in films.items():
        tifffile.imwrite("film.tif", film, compression=compression, predictor=True)
        assert np.array_equal(tifffile.imread("film.tif"), film)
        off.append(int(np.abs(np.asarray(Image.open("film.tif")).astype(int) - film).max()))
    print(f"{compression}: {off[0]} and {off[1]}")
    assert off == ([155, 39835] if compression == "packbits" else [0, 0])
PYTHON
