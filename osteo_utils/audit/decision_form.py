"""The part of the audit's page in which people decide: which pairs and films it asks about, and what is decided already.

The page is one file that works without a network. Its few lines of JavaScript (`decision_form.html.j2`) write the
table that `decisions` reads, with the rows that were in it before, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import pandas as pd

from osteo_utils.audit.copies import SAME_KNEE
from osteo_utils.audit.decisions import FILM, PAIR, Decisions

# Pairs below SAME_KNEE that are worth a look, and how many of them are drawn. Where only outlines were compared the
# similarity is 0.7 at most, and such pairs are too many to ask about.
NEAR, MOST_NEAR = 0.7, 20

Choice = dict[str, Any]


class Form:
    """What the page asks, each pair and each film once; an audit of two folders has no form."""

    def __init__(self, pairs: pd.DataFrame, table: pd.DataFrame, decided: Decisions) -> None:
        best = pairs.groupby(["first", "second"], sort=True)["similarity"].max()
        self.similarity = {frozenset(ends): value for ends, value in best.items()}
        self.knee = table.set_index("image_id")["knee"].to_dict()
        self.file = next(iter(decided.hashes), "decisions.csv")
        self.rows = decided.table.to_dict("records")
        self.said: dict[frozenset[str], dict[str, str]] = {}
        for row in self.rows:
            self.said.setdefault(frozenset(filter(None, (row["image_id"], row["other"]))), row)
        self.asked: set[frozenset[str]] = set()
        self.number = count(1)

    def about_film(self, name: str, place: int) -> Choice | None:
        """The question about the film that stands at this place of its group; None where the page has asked it."""
        return self._choice([name], f"film {place}", FILM)

    def within(self, names: Sequence[str], least: float = SAME_KNEE) -> list[Choice]:
        """A question for each pair of `names` with at least this similarity, and for each that people decided on."""
        members, place = set(names), {name: number for number, name in enumerate(names, 1)}
        ends = [pair for pair, value in self.similarity.items() if value >= least and pair <= members]
        ends += [pair for pair, row in self.said.items() if row["verdict"] in PAIR and pair <= members]
        order = sorted(
            {tuple(sorted(pair, key=place.__getitem__)) for pair in ends}, key=lambda pair: [*map(place.get, pair)]
        )
        found = (self._choice(pair, f"films {place[pair[0]]} and {place[pair[1]]}", PAIR) for pair in order)
        return [choice for choice in found if choice]

    def near(self) -> list[list[str]]:
        """The pairs most alike that are not joined and were not decided on, the most alike first."""
        free = [
            (value, *sorted(pair))
            for pair, value in self.similarity.items()
            if NEAR < value < SAME_KNEE and pair not in self.said and self._apart(pair)
        ]
        return [pair for _, *pair in sorted(free, key=lambda row: (-row[0], row[1:]))[:MOST_NEAR]]

    def _apart(self, pair: Iterable[str]) -> bool:
        return len({self.knee[name] for name in pair}) == 2

    def _choice(self, films: Sequence[str], label: str, verdicts: Sequence[str]) -> Choice | None:
        key = frozenset(films)
        if key in self.asked:
            return None
        self.asked.add(key)
        said = self.said.get(key, {})
        alike = self.similarity.get(key)
        return {
            "number": next(self.number),
            "films": list(films),
            "label": label + (f", similarity {alike:.2f}" if alike is not None else ""),
            "verdicts": list(verdicts),
            "verdict": said.get("verdict", ""),
            "why": said.get("why", ""),
            "joined": alike is not None and alike >= SAME_KNEE,
        }
