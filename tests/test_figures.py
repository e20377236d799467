"""Figures: what is drawn is what the table says."""

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from osteo_utils.plots import figures, films
from osteo_utils.statistics import evaluation

WHERE = "n = 12 files in 9 groups · made up · protocol grouped, 3 folds, seed 0"


def manifest() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "class_name": ["normal"] * 5 + ["osteoporosis"] * 3,
            "status": ["ok"] * 4 + ["quarantined"] + ["ok"] * 3,
            "width": [100, 100, 100, 200, 200, 300, 300, 300],
            "height": [150] * 8,
        }
    )


def audit() -> pd.DataFrame:
    knees = [0, 1, 2, 3, 3, 4, 4, 5, 5, 5]
    return pd.DataFrame({"knee": knees, "conflict": [int(knee == 4) for knee in knees]})


def grey_levels() -> pd.DataFrame:
    rows = [(name, level, 0.1, 0.05, 0.2) for name in ("normal", "osteoporosis") for level in (0, 128, 255)]
    return pd.DataFrame(rows, columns=["class_name", "level", "share", "low", "high"])


def folds() -> pd.DataFrame:
    rows = [(0, "normal", 4), (0, "osteoporosis", 3), (-1, "normal", 2), (-1, "osteoporosis", 1)]
    return pd.DataFrame(rows, columns=["fold", "class_name", "count"])


def history() -> pd.DataFrame:
    rows = [(fold, epoch, 0.6 + 0.1 * epoch, 0.5 + 0.05 * epoch + 0.1 * fold) for fold in (0, 1) for epoch in (1, 2)]
    frame = pd.DataFrame(rows, columns=["fold", "epoch", "accuracy", "val_accuracy"])
    return frame.assign(protocol="grouped", recipe="last_block", variant="full", seed=0)


def predictions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "seed": 0,
            "group": range(6),
            "y_true": [0, 0, 0, 1, 1, 1],
            "y_prob": [0.1, 0.2, 0.7, 0.6, 0.8, 0.9],
        }
    )


def protocols() -> pd.DataFrame:
    rows = [("grouped", 0.75, 0.70, 0.80, 10, 8, True), ("by_file", 0.90, 0.87, 0.93, 12, 9, False)]
    return pd.DataFrame(rows, columns=["protocol", "value", "low", "high", "n_files", "n_groups", "honest"])


def headline() -> pd.DataFrame:
    rows = [("VGG16 accuracy", 0.75, 0.70, 0.80, 0.78), ("Files alone", 0.60, np.nan, np.nan, np.nan)]
    return pd.DataFrame(rows, columns=["name", "value", "low", "high", "paper"])


def flow() -> pd.DataFrame:
    rows = [
        ("found", 9, pd.NA, pd.NA, True), ("left out", 1, 1, 1, False), ("analysed", 8, 6, 4, True),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["step", "files", "knees", "groups", "main"])
    return table.astype({"knees": "Int64", "groups": "Int64"})


def shortcuts() -> pd.DataFrame:
    rows = [("size", 0.70, 0.65, 0.75, 0.44, 0.56), ("texture", 0.80, 0.75, 0.85, np.nan, np.nan)]
    return pd.DataFrame(rows, columns=["features", "value", "low", "high", "shuffled_low", "shuffled_high"])


def calibration() -> pd.DataFrame:
    return pd.DataFrame(
        {"predicted": [0.2, 0.8], "observed": [0.3, 0.7], "low": [0.2, 0.5], "high": [0.5, 0.8], "count": [6, 4]}
    )


def net_benefit() -> pd.DataFrame:
    rows = [(0.2, 0.40, 0.35, 0.45, 0.375), (0.8, 0.10, 0.0, 0.2, -1.5)]
    return pd.DataFrame(rows, columns=["threshold", "net_benefit", "low", "high", "call_all"])


def decided() -> pd.DataFrame:
    rows = [(0.5, 0.95, 0.90, 0.98), (1.0, 0.80, 0.75, 0.85)]
    return pd.DataFrame(rows, columns=["coverage", "accuracy", "low", "high"])


DRAWN: dict[str, Callable[[], Figure]] = {
    "class_counts": lambda: figures.class_counts(manifest(), WHERE),
    "image_sizes": lambda: figures.image_sizes(manifest(), WHERE),
    "intensity": lambda: figures.intensity(grey_levels(), WHERE),
    "group_sizes": lambda: figures.group_sizes(audit(), WHERE),
    "flow": lambda: figures.flow(flow(), WHERE),
    "fold_balance": lambda: figures.fold_balance(folds(), WHERE),
    "training_curves": lambda: figures.training_curves(history(), WHERE, paper=0.78),
    "confusion": lambda: figures.confusion(np.array([[4, 1], [2, 3]]), WHERE, "VGG16"),
    "roc": lambda: figures.roc({"vgg16": predictions()}, WHERE, resamples=20),
    "precision_recall": lambda: figures.precision_recall({"vgg16": predictions()}, WHERE, resamples=20),
    "decision": lambda: figures.decision({"vgg16": net_benefit()}, WHERE),
    "abstention": lambda: figures.abstention({"vgg16": decided(), "both agree": decided()[:1]}, WHERE),
    "forest": lambda: figures.forest(headline(), WHERE, "accuracy"),
    "by_protocol": lambda: figures.by_protocol(protocols(), WHERE),
    "beside_shuffled": lambda: figures.beside_shuffled(shortcuts(), WHERE),
    "reliability": lambda: figures.reliability(calibration(), WHERE),
    "films": lambda: films.grid([np.zeros((20, 10), np.uint8)], ["a"], WHERE, 1),
}


def tagged(axes: Axes, gid: str) -> list:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_states_where_its_numbers_come_from_inside_the_page(name: str) -> None:
    figure = DRAWN[name]()
    figure.draw_without_rendering()
    (stated,) = [text for text in figure.texts if text.get_gid() == "where"]
    assert stated.get_text().replace("\n", " ") == WHERE
    page, box = figure.bbox, stated.get_window_extent()
    assert page.x0 <= box.x0 and box.x1 <= page.x1 and box.y1 <= page.y1
    highest = max(axes.get_tightbbox().y1 for axes in figure.axes)
    assert highest <= box.y0 + 1, "the drawing must not run into its own heading"


@pytest.mark.parametrize("name", DRAWN)
def test_the_look_does_not_depend_on_the_callers_settings(name: str) -> None:
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "axes.facecolor": "red"}):
        figure = DRAWN[name]()
        assert mpl.rcParams["font.size"] == 30
    assert figure.axes[0].xaxis.label.get_fontsize() == 9
    assert to_hex(figure.axes[0].get_facecolor()) == "#ffffff"


def test_bars_are_as_long_as_the_counts_and_unusable_files_stand_beside_them() -> None:
    axes = figures.class_counts(manifest(), WHERE).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [4, 3, 1, 0]
    assert to_hex(axes.patches[0].get_facecolor()).upper() == figures.PALETTE["normal"]
    assert "1 not usable" in [text.get_text() for text in axes.texts]


def test_the_area_of_a_dot_is_the_number_of_images_of_that_size() -> None:
    normal, osteoporosis = figures.image_sizes(manifest(), WHERE).axes
    (dots,) = [artist for artist in normal.collections if isinstance(artist, PathCollection)]
    assert dots.get_offsets().tolist() == [[100, 150], [200, 150]]
    assert dots.get_sizes()[0] / dots.get_sizes()[1] == pytest.approx(3 / 2)
    assert osteoporosis.get_title(loc="left") == "osteoporosis: 3 images, 1 sizes"


def test_groups_are_counted_by_size_and_conflicts_apart() -> None:
    axes = figures.group_sizes(audit(), WHERE).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [3, 1, 1, 0, 1, 0]
    assert [bar.get_y() for bar in axes.patches[3:]] == [3, 1, 1]


def test_folds_come_in_order_and_what_is_left_out_comes_last() -> None:
    axes = figures.fold_balance(folds(), WHERE).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fold 0", "left out"]
    assert [bar.get_height() for bar in axes.patches] == [4, 2, 3, 1]


def test_the_band_of_grey_levels_is_the_interval_of_the_table() -> None:
    axes = figures.intensity(grey_levels(), WHERE).axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.05, 0.2)


def test_training_curves_draw_each_fold_thin_and_the_mean_thick() -> None:
    axes = figures.training_curves(history(), WHERE, paper=0.78, model="vgg16").axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["validation, mean"].get_ydata(), [0.60, 0.65])
    assert to_hex(lines["validation, mean"].get_color()).upper() == figures.PALETTE["vgg16"]
    thin = [line for line in axes.lines if line.get_linewidth() < 1 and len(line.get_xdata())]
    assert sorted(line.get_ydata()[-1].round(2) for line in thin) == [0.6, 0.7, 0.8, 0.8]
    assert list(tagged(axes, "paper")[0].get_ydata()) == [0.78, 0.78]


def test_a_mean_over_two_protocols_is_refused() -> None:
    mixed = pd.concat([history(), history().assign(protocol="by_file")])
    with pytest.raises(ValueError, match="mixes protocol by_file, grouped"):
        figures.training_curves(mixed, WHERE)


def test_the_confusion_matrix_has_labels_in_rows_and_predictions_in_columns() -> None:
    axes = figures.confusion(np.array([[4, 1], [2, 3]]), WHERE, "VGG16").axes[0]
    written = {text.get_text(): text.get_position() for text in axes.texts}
    assert written["1"][0] == 1 and round(written["1"][1]) == 0
    assert written["2"][0] == 0 and round(written["2"][1]) == 1
    assert "80.0% of the row" in written
    with pytest.raises(ValueError, match="2 by 2"):
        figures.confusion(np.zeros((3, 3)), WHERE)


def test_the_area_under_the_drawn_curve_is_the_share_of_pairs_in_order() -> None:
    axes = figures.roc({"vgg16": predictions()}, WHERE, resamples=20).axes[0]
    # Of the nine pairs of one osteoporosis and one normal film, eight are in order.
    assert axes.get_legend_handles_labels()[1][0].startswith("VGG16: area 0.89 ")
    curve = next(line for line in axes.lines if "VGG16" in line.get_label())
    assert np.interp(0.2, curve.get_xdata(), curve.get_ydata()) == pytest.approx(2 / 3)
    assert np.interp(0.5, curve.get_xdata(), curve.get_ydata()) == pytest.approx(1)


def test_the_legend_has_the_interval_that_the_tables_have() -> None:
    found = evaluation.summarise(predictions(), ["auroc"], 20, 3)["auroc"]
    axes = figures.roc({"vgg16": predictions()}, WHERE, 20, 3).axes[0]
    label = f"VGG16: area {found.value:.2f} ({found.low:.2f}–{found.high:.2f})"
    assert found.low < found.value and label in axes.get_legend_handles_labels()[1]


def test_the_mean_over_seeds_is_the_mean_of_their_areas() -> None:
    worse = predictions().assign(y_prob=lambda table: 1 - table.y_prob, seed=1)
    both = pd.concat([predictions().assign(seed=0), worse])
    axes = figures.roc({"resnet50": both}, WHERE, resamples=20).axes[0]
    assert "ResNet50: area 0.50 (0.50–0.50)" in axes.get_legend_handles_labels()[1]


def test_one_label_alone_has_no_curve() -> None:
    with pytest.raises(ValueError, match=r"vgg16.*both labels"):
        figures.roc({"vgg16": predictions().assign(y_true=1)}, WHERE)


def test_intervals_end_where_the_table_says_and_the_papers_line_stands_at_its_value() -> None:
    axes = figures.by_protocol(protocols(), WHERE).axes[0]
    assert [list(line.get_xdata()) for line in tagged(axes, "interval")] == [[0.70, 0.80], [0.87, 0.93]]
    assert [line.get_xdata()[0] for line in tagged(axes, "value")] == [0.75, 0.90]
    assert list(tagged(axes, "paper")[0].get_xdata()) == [0.98, 0.98]
    assert "paper: 98%" in [text.get_text() for text in axes.texts]
    honest, mistaken = tagged(axes, "value")
    assert honest.get_markerfacecolor() == honest.get_color()
    assert mistaken.get_markerfacecolor() == "white"
    assert not tagged(figures.by_protocol(protocols(), WHERE, paper=None).axes[0], "paper")


def test_the_flow_writes_every_step_with_its_counts() -> None:
    axes = figures.flow(flow(), WHERE).axes[0]
    assert [text.get_text() for text in axes.texts if text.get_gid() == "step"] == [
        "found\n9 files",
        "left out\n1 files, 1 knees",
        "analysed\n8 files, 6 knees of at most 4 persons",
    ]


def test_shuffled_labels_are_a_bar_only_where_labels_were_shuffled() -> None:
    axes = figures.beside_shuffled(shortcuts(), WHERE).axes[0]
    (bar,) = tagged(axes, "shuffled") or [patch for patch in axes.patches if patch.get_gid() == "shuffled"]
    assert (bar.get_x(), bar.get_width()) == (pytest.approx(0.44), pytest.approx(0.12))
    assert [line.get_xdata()[0] for line in tagged(axes, "value")] == [0.70, 0.80]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["size and shape", "bone texture by hand"]


def test_the_forest_shows_the_papers_value_only_where_there_is_one() -> None:
    axes = figures.forest(headline(), WHERE, "accuracy").axes[0]
    (marks,) = tagged(axes, "paper")
    np.testing.assert_array_equal(marks.get_xdata(), [0.78, np.nan])
    assert [list(line.get_xdata()) for line in tagged(axes, "interval")] == [[0.70, 0.80], [0.60, 0.60]]
    assert to_hex(tagged(axes, "value")[0].get_color()).upper() == figures.PALETTE["vgg16"]


def test_calibration_bars_are_the_intervals() -> None:
    axes, below = figures.reliability(calibration(), WHERE).axes
    bars = axes.collections[0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[0.2, 0.5], [0.5, 0.8]])
    assert [segment[1, 1] for segment in below.collections[0].get_segments()] == [6, 4]


def test_smoothed_calibration_takes_the_place_of_the_line_through_the_bins() -> None:
    smooth = calibration().drop(columns="count").assign(name="vgg16")
    axes, _ = figures.reliability(calibration().assign(name="vgg16"), WHERE, smooth).axes
    drawn = [line for line in axes.lines if line.get_linewidth() and len(line.get_xdata()) == 2]
    assert [list(line.get_ydata()) for line in drawn if to_hex(line.get_color()) == "#e69f00"] == [[0.3, 0.7]]


def test_the_area_of_precision_and_recall_is_the_average_precision() -> None:
    axes = figures.precision_recall({"vgg16": predictions()}, WHERE, resamples=20).axes[0]
    # Precision at the three steps of recall: 1, 1, 3/4.
    assert axes.get_legend_handles_labels()[1][0].startswith("VGG16: area 0.92 ")


def test_net_benefit_stands_between_calling_everybody_and_nobody() -> None:
    axes = figures.decision({"vgg16": net_benefit()}, WHERE).axes[0]
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn == {"VGG16": [0.40, 0.10], "call everybody": [0.375, -1.5], "call nobody": [0, 0]}


def test_abstaining_is_a_curve_for_one_model_and_a_point_for_two_that_agree() -> None:
    tables = {"vgg16": decided(), "both agree": decided()[:1]}
    axes = figures.abstention(tables, WHERE).axes[0]
    assert axes.get_legend_handles_labels()[1] == ["VGG16", "both agree"]
    assert [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 1] == [[0.95]]


@pytest.mark.parametrize(
    ("draw", "table"),
    [
        (figures.class_counts, manifest()),
        (figures.by_protocol, protocols()),
        (figures.beside_shuffled, shortcuts()),
        (figures.intensity, grey_levels()),
    ],
)
def test_a_table_without_a_column_or_rows_is_refused_by_name(draw: Callable, table: pd.DataFrame) -> None:
    first = table.columns[0]
    with pytest.raises(ValueError, match=f"{draw.__name__}: the table has no column {first}"):
        draw(table.drop(columns=first), WHERE)
    with pytest.raises(ValueError, match="no rows"):
        draw(table.iloc[:0], WHERE)


def test_the_two_classes_and_the_models_can_be_told_apart_by_a_deuteranope() -> None:
    # Viénot, Brettel and Mollon (1999), matrix for deuteranopia in linear RGB.
    seen_as = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    for pair in (("normal", "osteoporosis"), ("vgg16", "resnet50"), ("vgg16", "ensemble"), ("resnet50", "ensemble")):
        first, second = (seen_as @ (np.array(to_rgb(figures.PALETTE[name])) ** 2.2) for name in pair)
        assert np.linalg.norm(first - second) > 0.12, pair


def test_the_same_figure_is_saved_as_the_same_svg_twice(tmp_path) -> None:
    texts = []
    for name in ("a.svg", "b.svg"):
        DRAWN["by_protocol"]().savefig(tmp_path / name, metadata={"Date": None})
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]


def test_a_notebook_shows_a_figure_without_pyplot() -> None:
    figure = DRAWN["confusion"]()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_points_tell_their_values_in_the_drawing_alone(tmp_path: Path) -> None:
    rows = pd.DataFrame({"name": ["A<b", "c"], "value": [0.5, 0.7], "low": [0.4, np.nan], "high": [0.6, np.nan]})
    sizes = pd.DataFrame({"class_name": "normal", "width": [10, 10, 20], "height": [30, 30, 30]})
    bins = pd.DataFrame({"predicted": [0.1, 0.9], "observed": [0.2, 0.8], "low": [0.1, 0.7], "high": [0.3, 0.9]})
    drawn = {
        "forest": figures.forest(rows, WHERE, "accuracy"),
        "sizes": figures.image_sizes(sizes, WHERE),
        "bins": figures.reliability(bins.assign(count=3), WHERE),
    }
    told = {
        "forest": ["A&lt;b: 0.500, 95 % interval 0.400 to 0.600"] * 2 + ["c: 0.700"] * 2,
        "sizes": ["10 × 30 pixels, images: 2", "20 × 30 pixels, images: 1"],
        "bins": ["observed 0.200, 95 % interval 0.100 to 0.300", "observed 0.800, 95 % interval 0.700 to 0.900"],
    }
    for name, figure in drawn.items():
        file = tmp_path / f"{name}.svg"
        figure.savefig(file, metadata={"Date": None})
        assert re.findall("<title>(.*?)</title>", file.read_text("utf-8")) == told[name]
    (axes,) = drawn["forest"].axes
    assert len(tagged(axes, "value")) == 2, "in the figure itself nothing changes"
