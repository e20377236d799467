"""The audit of a folder as one HTML page, with copies side by side."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.data.stores import film
from osteo_utils.study import pages, results

HEIGHT = 180
# So many groups are drawn in each part of the page; the rest is counted, and stands in the table.
SHOWN = 100


def write(
    path: Path,
    folder: Path,
    against: Path | None,
    manifest: pd.DataFrame,
    images: np.ndarray,
    table: pd.DataFrame,
    flow: pd.DataFrame,
    torn: pd.DataFrame | None,
) -> None:
    """Write the page: the flow of files, refused files, leaks (where a split was given), conflicts and copies.

    `torn` are the groups on two sides, None where no split was asked for. The page holds small pictures of the films.
    """
    rows = manifest.set_index("image_id")
    members = {group: part["image_id"].tolist() for group, part in table.groupby("group")}
    relation = table.set_index("image_id")["relation"]

    def drawn(groups: list[int]) -> list[dict]:
        return [
            {
                "group": int(group),
                "films": [
                    {"name": name, "how": relation[name], "picture": _picture(images, rows.loc[name])}
                    for name in members[group]
                ],
            }
            for group in groups[:SHOWN]
        ]

    conflicts = sorted(set(table.loc[table["conflict"] == 1, "group"]))
    leaking = [] if torn is None else torn["group"].tolist()
    copied = [
        group for group, names in members.items() if len(names) > 1 and group not in {*conflicts, *leaking}
    ]
    parts = [
        ("The same knee under more than one class", conflicts),
        ("Further films of the same knee", copied),
    ]
    if torn is not None:
        parts.insert(0, ("The same knee on both sides", leaking))
    content = {
        "folder": folder.name,
        "against": against.name if against else "",
        "flow": [
            ["" if pd.isna(value) else value for value in row]
            for row in flow.drop(columns="main").itertuples(index=False)
        ],
        "refused": manifest.loc[manifest["status"] != "ok", ["image_id", "reason"]].to_dict("records"),
        "parts": [{"title": title, "count": len(groups), "groups": drawn(groups)} for title, groups in parts],
        "shown": SHOWN,
    }
    page = pages.page(Path(__file__).with_name("audit_page.html.j2"), content)
    results.write_text(path, page)


def _picture(images: np.ndarray, row: pd.Series) -> str:
    """A film as a data address: JPEG, 180 pixels high."""
    picture = Image.fromarray(np.ascontiguousarray(film(images, row)))
    small = picture.resize((max(1, round(picture.width * HEIGHT / picture.height)), HEIGHT))
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()
