"""The audit of a folder as a command, with a page that shows copies side by side.

python -m osteo_utils.audit.command DIR [--split split.csv] [--against DIR2]
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from osteo_utils.audit.groups import audit, flow, leaks
from osteo_utils.images import image_store
from osteo_utils.images.image_store import film
from osteo_utils.images.manifest import build_manifest
from osteo_utils.study import results

HEIGHT = 180
# So many groups are drawn in each part of the page; the rest is counted, and stands in the table.
SHOWN = 100


def audit_folders(folder: Path, against: Path | None, store: Path) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Manifest, image store and audit table of a folder of films, or of two folders held against each other.

    Every subfolder counts as a class. With `against` the `image_id`s begin with `first/` and `second/`. The store,
    uint8 (n, 512, 512), is written into the folder `store`. Raises ValueError where no film can be read.
    """
    parts, paths = [], []
    for number, root in enumerate([folder, against] if against else [folder]):
        if not root.is_dir():
            raise ValueError(f"{root}: is no folder; expected a folder of films")
        path = store / f"audit-{number}.npy"
        listed = build_manifest(root, "folder", store=path, every_folder=True)
        if against:
            side = ("first", "second")[number]
            listed = listed.assign(image_id=f"{side}/" + listed["image_id"], dataset=side)
        before = sum(int((part["status"] == "ok").sum()) for part in parts)
        parts.append(listed.assign(row=listed["row"] + before))
        paths.append(path)
    manifest = pd.concat(parts, ignore_index=True)
    # The same class name is the same class, whichever folders stand beside it in either set.
    classes = pd.Series(pd.factorize(manifest["class_name"], sort=True)[0], manifest.index, dtype="Int64")
    manifest["label"] = classes.where(manifest["label"].notna())
    images = np.load(paths[0] if len(paths) == 1 else image_store.join(paths, store / "audit.npy"), mmap_mode="r")
    if not len(images):
        reasons = manifest["reason"].value_counts().head(3)
        said = "; ".join(f"{count} x {reason}" for reason, count in reasons.items()) or "it is empty"
        raise ValueError(f"{folder}: no film in it can be read: {said}")
    return manifest, images, audit(images, manifest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Find copies, conflicts and leaks in a folder of films, or between two.

    Prints what was found and writes it as an HTML page with the films side by side. Ends with 1 when the same
    knee lies on both sides of the split or in both folders, with 2 for what cannot be read, else with 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m osteo_utils.audit.command", description=main.__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="folder of films; every subfolder counts as a class")
    parser.add_argument("--against", type=Path, metavar="DIR", help="a second folder: which films are in both?")
    parser.add_argument(
        "--split", type=Path, metavar="CSV", help="table image_id, split: which knees lie on two sides?"
    )
    parser.add_argument("--page", type=Path, default=Path("audit.html"), help="where the page goes (%(default)s)")
    parser.add_argument("--table", type=Path, metavar="CSV", help="where the table of groups goes, if wanted")
    asked = parser.parse_args(arguments)
    try:
        if asked.split and asked.against:
            raise ValueError("--split and --against: expected one of them; two folders are a split already")
        with tempfile.TemporaryDirectory() as scratch:
            manifest, images, table = audit_folders(asked.folder, asked.against, Path(scratch))
            torn = None
            if asked.against:
                torn = leaks(table, table.set_index("image_id", drop=False)["image_id"].str.split("/").str[0])
            elif asked.split:
                torn = leaks(table, _read_split(asked.split))
            write_page(asked.page, asked.folder, asked.against, manifest, images, table, flow(manifest, table), torn)
            if asked.table:
                results.write_table(asked.table, table)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(flow(manifest, table).drop(columns="main").to_string(index=False, na_rep=""))
    refused = manifest.loc[manifest["status"] != "ok", ["image_id", "reason"]]
    for row in refused.itertuples():
        print(f"not used: {row.image_id}: {row.reason}")
    for group, members in table[table["conflict"] == 1].groupby("group"):
        print(f"conflict, group {group}: {' '.join(members['image_id'])}")
    for row in torn.itertuples() if torn is not None else ():
        print(f"LEAK, group {row.group} on {row.sides}: {row.image_ids}")
    print(f"page: {asked.page}")
    if torn is None:
        return 0
    print(f"{len(torn)} groups lie on more than one side" if len(torn) else "no group lies on more than one side")
    return 1 if len(torn) else 0


def _read_split(path: Path) -> pd.Series:
    split = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"image_id", "split"} <= set(split.columns) or split["image_id"].duplicated().any():
        raise ValueError(
            f"{path}: found the columns {list(split.columns)}; expected image_id and split, each image once"
        )
    return split.set_index("image_id")["split"]


def write_page(
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
    copied = [group for group, names in members.items() if len(names) > 1 and group not in {*conflicts, *leaking}]
    parts = [("The same knee under more than one class", conflicts), ("Further films of the same knee", copied)]
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
    page = results.page(Path(__file__).with_name("audit_page.html.j2"), content)
    results.write_text(path, page)


def _picture(images: np.ndarray, row: pd.Series) -> str:
    """A film as a data address: JPEG, 180 pixels high."""
    picture = Image.fromarray(np.ascontiguousarray(film(images, row)))
    small = picture.resize((max(1, round(picture.width * HEIGHT / picture.height)), HEIGHT))
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()


if __name__ == "__main__":
    raise SystemExit(main())
