"""Command line for the audit of a folder; writes a page that shows copies side by side.

./run_all.sh audit DIR [--split split.csv] [--against DIR2 [--crosswalk out.csv]], or python -m osteo_utils.audit.command
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from osteo_utils.audit import crosswalk, decisions
from osteo_utils.audit.copies import SAME_KNEE, compare
from osteo_utils.audit.decision_form import NEAR, Form
from osteo_utils.audit.groups import audit, flow, leaks
from osteo_utils.images import image_store
from osteo_utils.images.manifest import build_manifest
from osteo_utils.sources import film_folders, user_tables
from osteo_utils.study import commands, results

# Groups shown in each section of the page; the others are counted, and listed in the table.
SHOWN = 100


class Audited(NamedTuple):
    """Manifest, image store, uint8 (n, 512, 512), compared pairs, audit table and decisions of a folder or of two."""

    manifest: pd.DataFrame
    images: np.ndarray
    pairs: pd.DataFrame
    table: pd.DataFrame
    decided: decisions.Decisions


def audit_folders(
    folder: Path, against: Path | None, store: Path, classes: Sequence[str] = (), say: Callable[[str], None] = print
) -> Audited:
    """Audit a folder of films or two together.

    Every folder is a class, as `film_folders.arrange` finds and `classes` names them. With `against` the `image_id`s
    begin with `first/` and `second/`. The decisions of each folder are followed. Writes the store into the folder
    `store`; `say` is told of remarks. Raises ValueError where no film can be read, and for decisions that cannot hold.
    """
    parts, paths, verdicts = [], [], []
    for number, root in enumerate([folder, against] if against else [folder]):
        _require_folder(root)
        path = store / f"audit-{number}.npy"
        verdict = decisions.read(root, list(film_folders.arrange(root, classes, every_folder=True).places))
        rules = {"every_folder": True, "classes": classes, "excluded": verdict.excluded}
        listed = build_manifest(root, "folder", store=path, **rules, say=say)
        if against:
            if listed.empty:
                raise ValueError(f"{root}: holds no files; expected a folder of films")
            side = ("first", "second")[number]
            listed = listed.assign(image_id=f"{side}/" + listed["image_id"], dataset=side)
            verdict = verdict.below(f"{side}/")
        before = sum(int((part["status"] == "ok").sum()) for part in parts)
        parts.append(listed.assign(row=listed["row"] + before))
        paths.append(path)
        verdicts.append(verdict)
    manifest = pd.concat(parts, ignore_index=True)
    # A class name means the same class in both sets, whatever their other folders.
    classes = pd.Series(pd.factorize(manifest["class_name"], sort=True)[0], manifest.index, dtype="Int64")
    manifest["label"] = classes.where(manifest["label"].notna())
    images = np.load(paths[0] if len(paths) == 1 else image_store.join(paths, store / "audit.npy"), mmap_mode="r")
    if not len(images):
        reasons = manifest["reason"].value_counts().head(3).items()
        summary = "; ".join(f"{count} x {reason}" for reason, count in reasons) or "it is empty"
        raise ValueError(f"{folder}: no film in it can be read: {summary}")
    pairs = compare(images, manifest)
    decided = decisions.together(verdicts)
    for remark in (*decided.remarks, *decisions.without_effect(decided.table, manifest, pairs)):
        say(remark)
    return Audited(manifest, images, pairs, audit(images, manifest, pairs, decided.table), decided)


def _split(folder: Path, table: Path | None, classes: Sequence[str], say: Callable[[str], None]) -> dict[str, str]:
    """Side of each film by the table of a split, else by the folders; empty where neither is a split."""
    _require_folder(folder)
    layout = film_folders.arrange(folder, classes, every_folder=True)
    if table is None:
        for name in user_tables.overlooked(folder, "split"):
            say(f"{name} names sides of a split, which are not used; give it with --split")
        return layout.sides
    split = user_tables.sides(table, list(layout.places))
    for remark in split.remarks:
        say(remark)
    if layout.sides:
        say(f"the split is that of {table.name}, not that of the folders")
        sides = split.values.items()
        other = [name for name, side in sides if user_tables.side_of(layout.sides.get(name, side)) != side]
        if other:
            say(f"{table.name} and the folders disagree on {len(other)} films, such as {min(other)}")
    return split.values


def _check_places(places: Sequence[Path]) -> None:
    """Raise ValueError, before any work, where a result cannot have its place."""
    for place in places:
        if place.is_dir():
            raise ValueError(f"{place}: is a folder; expected the name of a file to write")
    if len({place.resolve() for place in places}) < len(places):
        raise ValueError(f"{places[-1]}: two results would go there; give each a name of its own")


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder}: is not a folder; expected a folder of films")


def main(arguments: Sequence[str] | None = None, door: bool = False) -> int:
    """Find copies, conflicts and leaks in a folder of films, or between two; `commands.parser` has the words.

    Prints the findings and writes an HTML page with the films side by side. Returns 1 where a knee lies on both sides
    of the split or in both folders (unless a crosswalk asks for these), 2 for input that cannot be read, else 0.
    """
    args = commands.parser("audit", door).parse_args(arguments)
    remarks: list[str] = []
    try:
        if args.split and args.against:
            raise ValueError("--split and --against: expected one of them, because two folders are a split")
        if args.crosswalk and not args.against:
            raise ValueError("--crosswalk: expected --against DIR2 beside it, the set that the films may come from")
        _check_places([place for place in (args.page, args.table, args.crosswalk) if place])
        split = None if args.against else _split(args.folder, args.split, args.classes, remarks.append)
        with tempfile.TemporaryDirectory() as scratch:
            found = audit_folders(args.folder, args.against, Path(scratch), args.classes, remarks.append)
            manifest, images, pairs, table, decided = found
            leaking = walked = None
            if args.against:
                sides = table.set_index("image_id", drop=False)["image_id"].str.split("/").str[0]
                leaking = leaks(table, sides)
                if args.crosswalk:
                    walked = crosswalk.crosswalk(*found[:4], sides)
                    results.write_table(args.crosswalk, walked)
            elif split:
                leaking = leaks(table, pd.Series(split))
            form = None if args.against else Form(pairs, table, decided)
            write_page(args.page, args.folder, args.against, manifest, images, table, leaking, form)
            if args.table:
                results.write_table(args.table, table)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    said = [f"remark: {remark}" for remark in remarks] + _findings(manifest, table, leaking, args.page)
    if decided.hashes:
        counted = ", ".join(f"{number} {verdict}" for verdict, number in decided.counts().items())
        said.append(f"decisions followed, of {' and '.join(decided.hashes)}: {counted}")
    if walked is not None:
        commands.show([*said, *_walked(walked, args.crosswalk)])
        return 0
    commands.show(said)
    return int(leaking is not None and len(leaking) > 0)


def _findings(manifest: pd.DataFrame, table: pd.DataFrame, leaking: pd.DataFrame | None, page: Path) -> list[str]:
    """The findings, one a line."""
    lines = flow(manifest, table).drop(columns="main").to_string(index=False, na_rep="").splitlines()
    refused = manifest.loc[manifest["status"] != "ok", ["image_id", "reason"]]
    lines += [f"not used: {row.image_id}: {row.reason}" for row in refused.itertuples()]
    for knee, members in table[table["conflict"] == 1].groupby("knee"):
        lines.append(f"conflict, knee {knee}: {' '.join(members['image_id'])}")
    for row in leaking.itertuples() if leaking is not None else ():
        lines.append(f"LEAK, group {row.group} on {row.sides}: {row.image_ids}")
    lines.append(f"page: {page}")
    if leaking is not None:
        lines.append(f"{len(leaking) or 'no'} group{'s lie' if len(leaking) else ' lies'} on more than one side")
    return lines


def _walked(walked: pd.DataFrame, path: Path) -> list[str]:
    """What a crosswalk says, one a line."""
    surest = walked.drop_duplicates("image_id")["certainty"].value_counts()
    counted = "; ".join(f"{surest[name]} {name}" for name in crosswalk.CERTAINTIES if name in surest)
    lines = [
        f"crosswalk: {path}",
        f"films by how a source was found: {counted}",
        "films by class and class of their source:",
    ]
    return [*lines, *crosswalk.agreement(walked).to_string().splitlines()]


def write_page(
    path: Path, folder: Path, against: Path | None, manifest: pd.DataFrame, images: np.ndarray, table: pd.DataFrame,
    leaking: pd.DataFrame | None, form: Form | None = None,
) -> None:  # fmt: skip
    """Write the page; `leaking` is the result of `leaks`, None without a split. With a `form` people can decide on it."""
    rows, relation = manifest.set_index("image_id"), table.set_index("image_id")["relation"]
    members = {kind: table.groupby(kind)["image_id"].agg(list).to_dict() for kind in ("knee", "group")}

    def shown(title: str, names: Sequence[str], least: float = SAME_KNEE) -> dict:
        films = [
            {
                "name": name,
                "how": relation[name],
                "picture": image_store.as_url(images, rows.loc[name]),
                "choice": form and form.about_film(name, place),
            }
            for place, name in enumerate(names, 1)
        ]
        return {"title": title, "films": films, "choices": form.within(names, least) if form else []}

    def part(title: str, kind: str, numbers: Sequence[int]) -> dict:
        lists = [(number, members[kind][number]) for number in numbers[:SHOWN]]
        drawn = [shown(f"{kind} {number}, {len(names)} files", names) for number, names in lists]
        return {"title": title, "note": "", "count": len(numbers), "groups": drawn}

    conflicts = sorted(set(table.loc[table["conflict"] == 1, "knee"]))
    across = [] if leaking is None else leaking["group"].tolist()
    told = {*conflicts, *table.loc[table["group"].isin(across), "knee"]}
    copied = [knee for knee, names in members["knee"].items() if len(names) > 1 and knee not in told]
    # A group is a person where patients are known.
    torn = "The same knee" if len(members["knee"]) == len(members["group"]) else "The same knee or person"
    parts = [] if leaking is None else [part(f"{torn} on both sides", "group", across)]
    parts += [
        part("The same knee under more than one class", "knee", conflicts),
        part("Further films of the same knee", "knee", copied),
    ]
    if form and (near := form.near()):
        note = "These pairs come next: most show different knees. Declare a pair the same where they do not."
        drawn = [shown("not joined", pair, NEAR) for pair in near]
        parts.append({"title": "Alike, but not joined", "note": note, "count": len(near), "groups": drawn})
    steps = flow(manifest, table).drop(columns="main").astype(object)
    content = {
        "folder": folder.name,
        "against": against.name if against else "",
        "flow": steps.where(steps.notna(), "").to_numpy().tolist(),
        "refused": manifest.loc[manifest["status"] != "ok", ["image_id", "reason"]].to_dict("records"),
        "parts": parts,
        "form": form,
        "shown": SHOWN,
    }
    page = results.page(Path(__file__).with_name("audit_page.html.j2"), content)
    results.write_text(path, page)


if __name__ == "__main__":
    raise SystemExit(commands.run(main, sys.argv[1:]))
