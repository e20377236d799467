"""Make the crosswalk of knee744 again: from which film of Wani and Arora's database each of its films was cut.

    python benchmarks/crosswalk_knee744.py KNEE744 WANI239 [OUT]

Films of another size than published (scaled copies, say) get the published SHA-256 of the file of their name. Beside it
the films of the database are listed with their width, height and mode, as WANI239 has them; the committed list is of a
copy scaled to 40 %.
"""

import argparse
import tempfile
from pathlib import Path

from osteo_utils.audit import command, crosswalk
from osteo_utils.sources import data_folders, registry
from osteo_utils.study import results

FOLDER = Path(registry.__file__).parent


def main() -> None:
    """Write the table; stop where the folder is not knee744."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("knee744", type=Path)
    words.add_argument("wani239", type=Path)
    words.add_argument("out", type=Path, nargs="?", default=FOLDER / registry.get("knee744").crosswalk)
    asked = words.parse_args()
    published = data_folders.read_checksums(FOLDER / registry.get("knee744").checksums)
    with tempfile.TemporaryDirectory() as scratch:
        found = command.audit_folders(asked.knee744, asked.wani239, Path(scratch))
        sides = found.table.set_index("image_id", drop=False)["image_id"].str.split("/").str[0]
        walked = crosswalk.crosswalk(*found[:4], sides)
    if other := set(walked["image_id"]) ^ set(published):
        words.error(f"{asked.knee744}: {len(other)} names differ from the published ones, such as {min(other)}")
    walked["sha256"] = walked["image_id"].map(published)
    results.write_table(asked.out, walked)
    films = found.manifest[found.manifest["dataset"] == "second"][["image_id", "width", "height", "mode"]]
    films = films.assign(image_id=films["image_id"].str.removeprefix("second/")).sort_values("image_id")
    results.write_table(asked.out.with_name(registry.get("wani239").films), films)
    print(crosswalk.agreement(walked).to_string())


if __name__ == "__main__":
    main()
