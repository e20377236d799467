"""Small files that several test files make."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def film(level: int, size: tuple[int, int] = (48, 64)) -> bytes:
    """A PNG of this width and height: a ramp that is brighter the higher its level."""
    width, height = size
    pixels = np.linspace(0, level, width * height).reshape(height, width).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root
