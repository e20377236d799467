"""Published results on these and related data sets, as data, and a table with this study among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pandas as pd
import yaml

from osteo_utils.statistics.metrics import wilson
from osteo_utils.study.results import Estimate

NEEDED = (
    "key", "authors", "year", "venue", "source", "read", "site", "classes", "labels", "images", "patients", "tested",
    "protocol", "metric", "value",
)  # fmt: skip
OPTIONAL = ("low", "high", "note")
METRICS = ("accuracy", "auroc")
MODELS = {"vgg16": "VGG16", "resnet50": "ResNet50"}
READ = ("abstract", "full text")
INTERVALS = {
    "given": "printed by the source, or computed by this study",
    "computed": "Wilson on the images tested, as if independent",
    "narrowest": "Wilson on all images of the set, because the number tested is not known; the true one is no narrower",
    "none": "the source's abstract gives neither an interval nor what one could be computed from",
}


def load() -> list[dict[str, Any]]:
    """The published results (`literature.yaml` of this package), each checked."""
    entries = yaml.safe_load(resources.files(__package__).joinpath("literature.yaml").read_text("utf-8"))
    check(entries)
    return entries


def check(entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError that names the first invalid entry and field."""
    seen = set()
    for entry in entries:
        name = entry.get("key", "an entry without a key")
        if missing := [field for field in NEEDED if field not in entry]:
            raise ValueError(f"literature.yaml, {name}: lacks {missing}; leave a field empty where it is not known")
        if unknown := sorted(set(entry) - {*NEEDED, *OPTIONAL}):
            raise ValueError(f"literature.yaml, {name}: unknown {unknown}; expected {[*NEEDED, *OPTIONAL]}")
        if entry["metric"] not in METRICS or entry["read"] not in READ:
            raise ValueError(
                f"literature.yaml, {name}: metric {entry['metric']!r}, read {entry['read']!r}; "
                f"expected one of {METRICS} and one of {READ}"
            )
        if not 0 <= entry["value"] <= 1:
            raise ValueError(f"literature.yaml, {name}: value {entry['value']}; expected a share from 0 to 1")
        if ("low" in entry) != ("high" in entry):
            raise ValueError(f"literature.yaml, {name}: give both ends of the interval or neither")
        if name in seen:
            raise ValueError(f"literature.yaml: {name} is listed twice")
        seen.add(name)


def interval(entry: Mapping[str, Any]) -> tuple[float | None, float | None, str]:
    """Both ends, and the key of `INTERVALS` that says where they come from.

    Only the interval of an accuracy can be computed from its n; that of an AUROC needs the size of each class.
    """
    if "low" in entry:
        return entry["low"], entry["high"], "given"
    n, word = (entry["tested"], "computed") if entry["tested"] else (entry["images"], "narrowest")
    if entry["metric"] != "accuracy" or not n:
        return None, None, "none"
    return *wilson(round(entry["value"] * n), n), word


def comparison_table(metrics: Mapping[str, Estimate], ours: Sequence[str]) -> pd.DataFrame:
    """One row a result: the named metrics of this study first, then the published ones, by site and value.

    Columns name, site, classes, labels, images, patients, tested, protocol, metric, value, low, high, interval, read,
    source, note, kind (`ours`, `paper` or `other`). Raises KeyError for a metric that the study has not saved.
    """
    rows = []
    for name in ours:
        one = metrics[name]
        model, protocol, metric = name.split("/")
        row = {
            "name": f"this study, {MODELS.get(model, model)}",
            "site": "knee",
            "classes": 2,
            "protocol": protocol,
            "metric": metric,
        }
        row |= {"images": one.n_files, "tested": one.n_files, "value": one.value, "low": one.low, "high": one.high}
        row |= {"interval": "given", "read": "computed here", "source": name, "kind": "ours"}
        rows.append(row | {"note": f"{one.n_groups} knees; the interval resamples knees"})
    found = []
    for entry in load():
        low, high, word = interval(entry)
        kind = "paper" if entry["key"] == "shawon2024" else "other"
        name = f"{entry['authors']} {entry['year']}" + (" (the paper)" if kind == "paper" else "")
        found.append({**entry, "name": name, "low": low, "high": high, "interval": word, "kind": kind})
    sites = list(dict.fromkeys(["knee", *(row["site"] for row in found)]))
    found.sort(key=lambda row: (sites.index(row["site"]), -row["value"]))
    columns = (
        "name site classes labels images patients tested protocol metric value low high interval read source note kind"
    ).split()
    whole = dict.fromkeys(("classes", "images", "patients", "tested"), "Int64")
    return pd.DataFrame([*rows, *found])[columns].astype(whole | dict.fromkeys(("value", "low", "high"), float))


def as_forest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `comparison_table` for `figures.forest`: name with site, metric and n tested, and a colour."""
    colours = {"ours": "resnet50", "paper": "osteoporosis", "other": "neutral"}
    tested = table["tested"].map("n = {}".format, na_action="ignore").astype(object).fillna("n not stated")
    names = table["name"] + ", " + table["site"] + ": " + table["metric"].replace("auroc", "AUROC") + ", " + tested
    return table[["value", "low", "high"]].assign(name=names, colour=table["kind"].map(colours))
