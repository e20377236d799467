"""One style for every figure: palette, names, a page with a title and a `where` line, and shared marks.

Colours after Okabe and Ito (2008), "Color Universal Design"; one colour means one thing in every figure.
"""

import io
import re
import textwrap
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from xml.sax.saxutils import escape

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE: dict[str, str] = {
    "normal": "#0072B2",
    "osteoporosis": "#D55E00",
    "vgg16": "#E69F00",
    "resnet50": "#009E73",
    "ensemble": "#CC79A7",
    "grouped": "#1A1A1A",
    "grouped_all": "#8C8C8C",
    "by_file": "#56B4E9",
    "paper": "#000000",
    "neutral": "#595959",
}
NAMES: dict[str, str] = {
    "vgg16": "VGG16",
    "resnet50": "ResNet50",
    "ensemble": "Ensemble",
    "leakage": "The small network",
    "grouped": "grouped (honest)",
    "grouped_all": "grouped, conflicts kept",
    "grouped_knees": "split by knee, not by person",
    "by_file": "split by file",
    "augment_first": "augmented before splitting",
    "resubstitution": "scored on training images",
    "tuned_on_test": "tuned on the test fold",
    "train_in_test": "training films within the test set",
    "scaled_first": "scaled before splitting",
    "selected_inside": "features chosen in training folds",
    "selected_first": "features chosen before splitting",
    "shuffled": "labels shuffled",
    "external": "external set",
    "reference": "Reference label",
    "shortcut": "Shortcuts",
    "traits": "What sorts the folders",
    "metadata": "file metadata",
    "size": "size and shape",
    "border": "border pixels",
    "marker": "corners (side markers)",
    "thumbnail": "film at 32 pixels",
    "histogram": "grey-level histogram",
    "background": "bone painted over",
    "texture": "bone texture by hand",
}
CHANCE = {"color": "#A0A0A0", "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#404040",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.7,
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "xtick.labelcolor": "#202020",
    "ytick.labelcolor": "#202020",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "figure.dpi": 110,
    "savefig.dpi": 180,
    "svg.fonttype": "path",
    "svg.hashsalt": "osteo",
}
# Widths of a figure in print, in millimetres: one column of a journal, or two.
ONE_COLUMN, TWO_COLUMNS = 85, 174
MILLIMETRES = 25.4  # in an inch
SMALLEST = 6  # points that letters must have in print
PRINT: dict[str, object] = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.2,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
}
_TITLE_INCHES, _WHERE_INCHES, _PAD_INCHES, _LETTERS_PER_INCH = 0.26, 0.155, 0.14, 19
_Arguments = ParamSpec("_Arguments")


class Page(Figure):
    """A figure unknown to pyplot: a notebook does not show it twice, and none is kept in memory."""

    settings: Mapping[str, object] = {}

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save in the style that it was drawn in, whatever style is set; an SVG tells the values of points that `say` them."""
        drawing = isinstance(fname, Path) and fname.suffix == ".svg"
        saying = self.findobj(lambda artist: hasattr(artist, "said")) if drawing else []
        kept = [artist.get_gid() for artist in saying]
        for number, artist in enumerate(saying):
            artist.set_gid(f"said-{number}")
        with look(self.settings):
            super().savefig(fname, **kwargs)
        for artist, gid in zip(saying, kept, strict=True):
            artist.set_gid(gid)
        if saying:
            fname.write_text(_with_titles(fname.read_text("utf-8"), [artist.said for artist in saying]), "utf-8")

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=STYLE["figure.dpi"], bbox_inches="tight")
        return picture.getvalue()


def say(artist: Artist, *texts: str) -> None:
    """Let points tell their values where a mouse rests on them in an SVG: one text for all, or one for each in order."""
    artist.said = texts


def interval_words(value: float, low: float, high: float) -> str:
    """A value with its 95 % interval, where it has one, as a point tells it."""
    return f"{value:.3f}" if pd.isna(low) else f"{value:.3f}, 95 % interval {low:.3f} to {high:.3f}"


def _with_titles(drawing: str, said: list[tuple[str, ...]]) -> str:
    """The SVG with a title in the group `said-0`, `said-1`, ... or in each of its marks."""
    parts = re.split(r'(<g id="said-\d+">)', drawing)
    for place in range(1, len(parts), 2):
        number = int(re.findall(r"\d+", parts[place])[0])
        own, end, rest = parts[place + 1].partition('<g id="')
        # Marks of one shape and size are copies of it, others paths of their own.
        kind = "use" if "<use " in own else "path"
        mark = re.compile(rf"(<{kind} [^>]*)/>")
        texts = [f"<title>{escape(text)}</title>" for text in said[number]]
        if len(texts) == 1:
            own = texts[0] + own
        elif len(texts) == len(mark.findall(own)):
            titles = iter(texts)
            own = mark.sub(lambda found, titles=titles, kind=kind: f"{found[1]}>{next(titles)}</{kind}>", own)
        parts[place + 1] = own + end + rest
    return "".join(parts)


def look(settings: Mapping[str, object] | None = None) -> AbstractContextManager[None]:
    """The project's style for a `with` block, with other `settings` if any, on top of Matplotlib's defaults alone."""
    return mpl.style.context(["default", STYLE, dict(settings or {})])


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Make a drawing function use the project's style, whatever style is set."""

    @wraps(draw)
    def inside(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with look():
            return draw(*args, **kwargs)

    return inside


def for_print(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Make a drawing function use the project's style with letters and lines for a page of a journal."""

    @wraps(draw)
    def inside(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with look(PRINT):
            figure = draw(*args, **kwargs)
        figure.settings = PRINT
        return figure

    return inside


def sheet(columns: int, height: float, title: str, where: str) -> Figure:
    """A `canvas` as wide as one or two `columns` of a journal; `height` in millimetres."""
    return canvas({1: ONE_COLUMN, 2: TWO_COLUMNS}[columns] / MILLIMETRES, height / MILLIMETRES, title, where)


def canvas(width: float, height: float, title: str, where: str) -> Figure:
    """An empty figure of `width` by `height` inches below its title and its `where` line."""
    lines = textwrap.wrap(where, int(width * _LETTERS_PER_INCH)) or [""]
    head = _TITLE_INCHES + _WHERE_INCHES * len(lines) + _PAD_INCHES
    total = height + head
    figure = Page(figsize=(width, total), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, height / total), w_pad=0.05, h_pad=0.04)
    left = 0.06 / width
    figure.text(left, 1 - 0.05 / total, title, ha="left", va="top", fontsize=10.5, fontweight="bold")
    look_of_where = {"fontsize": 7.5, "color": PALETTE["neutral"], "linespacing": 1.25, "gid": "where"}
    below = 1 - (0.05 + _TITLE_INCHES) / total
    figure.text(left, below, "\n".join(lines), ha="left", va="top", **look_of_where)
    return figure


def single_axes(width: float, height: float, title: str, where: str) -> tuple[Figure, Axes]:
    """A `canvas` with one pair of axes."""
    figure = canvas(width, height, title, where)
    return figure, figure.subplots()


def require(frame: pd.DataFrame, columns: list[str], drawing: str) -> None:
    """Raise ValueError unless `frame` has these columns and at least one row."""
    if missing := [name for name in columns if name not in frame.columns]:
        raise ValueError(
            f"{drawing}: the table has no column {', '.join(missing)}; "
            f"expected {', '.join(columns)}, found {', '.join(map(str, frame.columns))}."
        )
    if frame.empty:
        raise ValueError(f"{drawing}: the table has no rows, so there is nothing to draw.")


def colour_of(name: str) -> str:
    """The palette's colour for a protocol, or for the class or model that `name` contains; otherwise grey."""
    if name in PALETTE:
        return PALETTE[name]
    plain = name.lower().replace("-", "").replace(" ", "")
    found = [key for key in ("ensemble", "vgg16", "resnet50", "osteoporosis", "normal") if key in plain]
    return PALETTE[found[0]] if found else PALETTE["neutral"]


def label_of(name: str) -> str:
    """The printed name of a model, protocol or feature set; protocols joined by a plus are named one by one."""
    return " + ".join(NAMES.get(part, part) for part in name.split("+"))


def classes_of(frame: pd.DataFrame) -> list[str]:
    """The class names of a table: normal, osteoporosis, then all others by name."""
    first = ("normal", "osteoporosis")
    return sorted(frame["class_name"].astype(str).unique(), key=lambda name: (name not in first, name))


def legend_above(axes: Axes) -> None:
    """Put the legend in one line between the `where` line and the axes, clear of the data."""
    spacing = {"borderaxespad": 0.3, "handlelength": 1.8, "borderpad": 0}
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, **spacing)


def paper_line(axes: Axes, value: float, horizontal: bool, points: float = 8) -> None:
    """Draw the paper's value (0-1) as a dotted line with its name outside the axes."""
    draw = axes.axhline if horizontal else axes.axvline
    draw(value, color=PALETTE["paper"], linewidth=1.1, linestyle=(0, (1, 1.4)), zorder=1.5, gid="paper")
    axes.annotate(
        f"paper: {value:.0%}",
        (1, value) if horizontal else (value, 1),
        xycoords=("axes fraction", "data") if horizontal else ("data", "axes fraction"),
        xytext=(4, 0) if horizontal else (0, 3),
        textcoords="offset points",
        # Left of its line: the column of values begins where the axes end.
        ha="left" if horizontal else "right",
        va="center" if horizontal else "bottom",
        fontsize=points,
    )


def band(
    axes: Axes, table: pd.DataFrame, across: str, up: str, colour: str, label: str = "", dashes: str = "-"
) -> None:
    """A line through a table of `statistics.curves`, and its 95 % band where that has any width."""
    if (table["high"] > table["low"]).any():
        axes.fill_between(table[across], table["low"], table["high"], color=colour, alpha=0.15, linewidth=0)
    (line,) = axes.plot(table[across], table[up], dashes, color=colour, label=label or None)
    if "o" in dashes:
        say(line, *(interval_words(*row) for row in table[[up, "low", "high"]].itertuples(index=False)))


def quartiles(axes: Axes, place: float, values: pd.Series) -> None:
    """The middle half of `values` as a bar at the height `place`, with the median as a dot."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.plot([low, high], [place, place], color="black", linewidth=2.2, solid_capstyle="butt")
    axes.plot(middle, place, "o", markersize=6, color="white", markeredgecolor="black")
