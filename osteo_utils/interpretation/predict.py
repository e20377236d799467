"""Score a reader's own films with the networks of a study; writes a page and JSON.

    ./run_all.sh predict STUDY FILE [FILE ...] [--model resnet50|vgg16|both] [--out DIR]

For research and teaching only. Nothing leaves this machine.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from osteo_utils.study import commands, results, runtime
from osteo_utils.study.paths import StudyPaths

if TYPE_CHECKING:
    from osteo_utils.interpretation.own_films import Reading

NAMES = {"vgg16": "VGG16", "resnet50": "ResNet50", "ensemble": "average of both"}
OUTLINE = (240, 228, 66)
LARGER = 2


def write(readings: Sequence[Reading], study: str, notice: str, folder: Path) -> Path:
    """Write `prediction.html`, which shows the films, and `prediction.json` into `folder`; returns the page."""
    from osteo_utils.interpretation import own_films

    found = [own_films.as_dict(reading) for reading in readings]
    results.write_json(folder / "prediction.json", {"study": study, "notice": notice, "films": found})
    pictures = [_pictures(reading) for reading in readings]
    films = list(zip(found, pictures, strict=True))
    content = {"study": study, "notice": notice, "names": NAMES, "films": films}
    page = results.page(Path(__file__).with_name("predict_page.html.j2"), content)
    results.write_text(folder / "prediction.html", page)
    return folder / "prediction.html"


def overlay(square: np.ndarray, mask: np.ndarray, evidence: np.ndarray | None = None) -> np.ndarray:
    """A film with the outline of its bone and, in colour, its evidence for osteoporosis: uint8 (s, s, 3).

    `evidence` (s, s) is in units of the logit; only its positive part is drawn, on the map's own scale.
    """
    # On import it makes a cache in the home folder, which `commands.run` may have to replace first.
    from matplotlib import colormaps

    picture = np.repeat(square[..., None], 3, axis=-1).astype(float)
    if evidence is not None:
        strength = np.maximum(evidence, 0) / max(float(evidence.max()), 1e-9)
        colour = 255 * colormaps["inferno"](strength)[..., :3]
        alpha = 0.65 * np.sqrt(strength)[..., None]
        picture = (1 - alpha) * picture + alpha * colour
    picture[find_boundaries(mask > 0, mode="inner")] = OUTLINE
    return np.rint(picture).astype(np.uint8)


def main(arguments: Sequence[str] | None = None, door: bool = False) -> int:
    """Read films with the networks of a study: probability, map, bone mask and what speaks against trusting them.

    `commands.parser` has the words. Returns 2 where the study cannot be used, 1 where a film could not be read, else 0.
    """
    asked = commands.parser("predict", door).parse_args(arguments)
    threads = runtime.prepare(0)
    # Keras reads its settings when it is imported, so the rooms that need it come after `prepare`.
    from osteo_utils.interpretation import fitted_networks, own_films

    chosen = fitted_networks.BACKBONES if asked.model == "both" else (asked.model,)
    try:
        loaded = fitted_networks.networks(asked.study, chosen, threads)
        readings = own_films.read_films(asked.images, loaded)
        folder = asked.out or StudyPaths(asked.study).own_films
        page = write(readings, asked.study, own_films.NOTICE, folder)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    lines = []
    for reading in readings:
        lines.append(reading.path.name)
        for name, score in reading.scores.items():
            lines.append(f"  {NAMES[name]}: {score.probability:.2f} [{score.low:.2f}, {score.high:.2f}]")
        lines += [f"  {name.replace('_', ' ')}: {reason}" for name, reason in reading.flags]
    commands.show([*lines, own_films.NOTICE, f"page: {page}"])
    return 0 if all(reading.readable for reading in readings) else 1


def _pictures(reading: Reading) -> dict[str, str]:
    """Film, and one overlay per network, as data addresses."""
    if not reading.readable:
        return {}
    layers = {"the film": None, **{NAMES[name]: one for name, one in reading.maps.items()}}
    return {name: _address(overlay(reading.square, reading.mask, one)) for name, one in layers.items()}


def _address(picture: np.ndarray) -> str:
    packed = io.BytesIO()
    height, width = picture.shape[:2]
    Image.fromarray(picture).resize((LARGER * width, LARGER * height)).save(packed, "PNG")
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode()


if __name__ == "__main__":
    raise SystemExit(commands.run(main, sys.argv[1:]))
