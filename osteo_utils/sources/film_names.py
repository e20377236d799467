"""Which film of a folder a table means, however it writes the path.

Tables come from other machines: with backslashes, with a drive or the folder's own name before the path, in another
Unicode form, in another case, as bare names, or without a suffix. A name is matched in the strictest way that fits, and
a name that fits several films is left to the caller to refuse.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from osteo_utils.sources.table_files import clean

Form = Callable[[str], str]


def path_key(name: str) -> str:
    """A path with plain slashes, composed Unicode and no `./`, as two ways to write one path share it."""
    return posixpath.normpath(clean(name).replace("\\", "/").removeprefix("file://")).lstrip("/")


def _same(key: str) -> str:
    return key


def _any_case(key: str) -> str:
    return key.casefold()


def _without_suffix(key: str) -> str:
    return posixpath.splitext(key.casefold())[0]


class FilmNames:
    """The films of a folder, to be found by what a table calls them."""

    # How a film's own name is read, and how the table's: a name without a suffix has none to take off.
    FORMS: tuple[tuple[Form, Form], ...] = ((_same, _same), (_any_case, _any_case), (_without_suffix, _any_case))

    def __init__(self, files: Iterable[str]) -> None:
        keys = {file: path_key(file) for file in files}
        self.whole: list[dict[str, list[str]]] = []
        self.below: list[dict[str, list[str]]] = []
        for form, _ in self.FORMS:
            whole, below = defaultdict(list), defaultdict(list)
            for file, key in keys.items():
                first, *shorter = _ends(form(key))
                whole[first].append(file)
                for end in shorter:
                    below[end].append(file)
            self.whole.append(whole)
            self.below.append(below)

    def meant(self, name: str) -> list[str]:
        """Films that `name` may mean: one where it is clear, several where it is not, none where no path agrees.

        The same path comes first. A path that ends in a film's whole path is that film, the longest such path first.
        Else `name` may be the end of a film's path, as a bare name is. A path whose folders contradict the film's is
        never that film.
        """
        key = path_key(name)
        ways = list(zip(self.FORMS, self.whole, self.below, strict=True))
        for (_, form), whole, _ in ways:
            if found := whole.get(form(key)):
                return found
        for (_, form), whole, below in ways:
            first, *shorter = _ends(form(key))
            for end in shorter:
                if found := whole.get(end):
                    return found
            if found := below.get(first):
                return found
        return []


def _ends(key: str) -> Iterator[str]:
    """A path, then its last parts, ever fewer."""
    yield key
    while "/" in key:
        key = key.partition("/")[2]
        yield key
