"""The registry: labels, citations and published checksums agree."""

import re
from pathlib import Path

import pandas as pd

from osteo_utils.sources import data_folders, registry


def test_registry_agrees_with_its_checksums():
    entry = registry.get("knee744")
    lines = Path(data_folders.__file__).with_name(entry.checksums).read_text().splitlines()
    counts = pd.Series([line.split("  ")[1].split("/")[0] for line in lines]).value_counts().to_dict()
    assert counts == dict(entry.expected) == {"normal": 372, "osteoporosis": 372}


def test_the_crosswalk_of_knee744_names_its_published_files_and_the_films_of_its_source():
    entry = registry.get("knee744")
    folder = Path(registry.__file__).parent
    walked = pd.read_csv(folder / entry.crosswalk, keep_default_na=False)
    published = data_folders.read_checksums(folder / entry.checksums)
    assert walked.drop_duplicates("image_id").set_index("image_id").sha256.to_dict() == published
    assert set(walked.source_class) - {""} == set(registry.get(entry.crosswalk_to).expected)
    assert walked.groupby("image_id").source.nunique().max() <= 3
    with_source = walked[walked.source != ""]
    assert (walked[walked.source == ""].certainty == "none").all() and with_source.image_id.nunique() == 724
    assert with_source.source.nunique() <= sum(registry.get(entry.crosswalk_to).expected.values())


def test_registry_says_how_to_cite_and_what_else_holds_the_films():
    entries = registry.REGISTRY.values()
    named = {entry.name: set(re.findall(r"(?:knee|wani)\d+\w*", entry.relation)) - {entry.name} for entry in entries}
    for entry in entries:
        assert entry.citation.endswith(".") and entry.relation.endswith(".")
        assert (entry.page in entry.citation) and (entry.slug in entry.page)
        assert named[entry.name] <= set(registry.REGISTRY)
    # A relation has two ends.
    assert all(name in named[other] for name, others in named.items() for other in others)
    assert "10.17632/fxjm8fb6mw.2" in registry.get("knee239").citation
