"""The page of suspects: each film with its picture, its label, its score and why it is listed.

The page consists of films, so it stays on this machine: it is never published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from osteo_utils.evidence.suspects import FAR, in_words
from osteo_utils.images import image_store
from osteo_utils.sources import registry
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths
from osteo_utils.study.results import Estimate

# Films of each list on the page; the tables have all.
SHOWN = 60
CLASSES = {label: name for name, label in registry.LABELS.items()}


def write(paths: StudyPaths, films: bool = True) -> Path | None:
    """Write `suspects.html` of a study from its tables, manifest and image store.

    With `films=False` the page is left out, and one of an earlier run is deleted; then returns None. Raises
    FileNotFoundError where notebook 06 has not made the tables.
    """
    if not films:
        paths.suspects.unlink(missing_ok=True)
        return None
    manifest = results.read_table(paths.manifest, "manifest")
    labels, strangers = (
        results.read_table(paths.tables / f"{name}.csv", name) for name in ("suspect_labels", "suspect_films")
    )
    said = worth(results.load_metrics(paths.reports))
    content = page(paths.study, labels, strangers, manifest, image_store.load(paths.images, manifest), said)
    results.write_text(paths.suspects, content)
    return paths.suspects


def worth(metrics: Mapping[str, Estimate]) -> list[str]:
    """What the lists are worth, for the top of the page: whether the scores know anything, and how often suspects are wrong."""
    models = {"VGG16": "vgg16", "ResNet50": "resnet50"}
    known = {name: metrics.get(f"{model}/grouped/auroc") for name, model in models.items()}
    reached = {name: found for name, found in known.items() if found is not None and found.low is not None}
    said = []
    if reached and all(found.low <= 0.5 for found in reached.values()):
        listed = ", ".join(f"{name} {found}" for name, found in reached.items())
        said = [
            f"The networks are not shown to tell the two classes apart (AUROC {listed}; 0.5 is chance). So the first list "
            "says nothing of the labels."
        ]
    return [*said, *filter(None, [in_words(metrics)])]


def page(
    study: str,
    labels: pd.DataFrame,
    strangers: pd.DataFrame,
    manifest: pd.DataFrame,
    images: np.ndarray,
    said: Sequence[str] = (),
) -> str:
    """The page as HTML; the tables are those of `suspects.labels` and `suspects.films`, `images` is the store.

    `said` are paragraphs for its top.
    """
    rows = manifest.set_index("image_id")

    def listed(title: str, about: str, table: pd.DataFrame, marked: str, why: Any) -> dict[str, Any]:
        shown = [
            {
                "name": row.image_id,
                "rank": row.rank,
                "marked": bool(getattr(row, marked)),
                "why": why(row),
                "picture": image_store.as_url(images, rows.loc[row.image_id]),
            }
            for row in table.head(SHOWN).itertuples(index=False)
        ]
        return {"title": title, "about": about, "films": shown, "count": int(table[marked].sum()), "all": len(table)}

    parts = [
        listed(
            "Labels that the scores contradict",
            "Films by the probability that models, not trained on them or their copies, give to their own label.",
            labels, "suspect", label_reason,
        ),
        listed(
            "Films that may not belong here",
            "Films by their distance from the films of other groups, in the features of the networks.",
            strangers, "far", film_reason,
        ),
    ]  # fmt: skip
    return results.page(
        Path(__file__).with_name("suspects_page.html.j2"), {"study": study, "said": said, "parts": parts}
    )


def label_reason(row: Any) -> str:
    """Why a row of `suspect_labels` has its rank, in words."""
    other = CLASSES[1 - row.label]
    text = f"filed as {row.class_name}; probability of {CLASSES[row.label]} {row.self_confidence:.2f}"
    if not pd.isna(row.spread):
        text += f" (standard deviation over networks and seeds {row.spread:.2f})"
    if row.suspect:
        text += f", so {other} is at least as likely as for the mean film of {other} ({row.threshold:.2f})"
    return text


def film_reason(row: Any) -> str:
    """Why a row of `suspect_films` has its rank, in words."""
    text = f"filed as {row.class_name}; distance {row.distance:.1f} robust standard deviations"
    text += f" (far: above {FAR:g})" if row.far else ""
    return text if pd.isna(row.mask) or not row.mask else f"{text}; bone mask: {row.mask}"
