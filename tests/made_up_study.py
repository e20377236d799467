"""A study that no notebook made: its results are fabricated, so that a test may know and spoil them."""

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

from osteo_utils.papers import claims
from osteo_utils.plots import figures, films
from osteo_utils.study import config, results, runtime
from osteo_utils.study.paths import StudyPaths

STUDY = "made_up"


WHERE = "n = 40 files in 30 groups · made up · grouped"


LAB = {"grouped": 0.70, "grouped_all": 0.68, "by_file": 0.80, "augment_first": 0.95, "resubstitution": 0.93}


PARAMETERS = {
    "01_data_download": {"dataset": "phantom", "osteopenia": "exclude"},
    "02_eda": {"n_folds": 5, "split_seeds": [0]},
    "04_vgg16": {"epochs": 3, "split_seeds": [0], "bootstrap_resamples": 200, "primary_recipe": "none"},
    "05_resnet50": {"epochs": 3, "split_seeds": [0], "bootstrap_resamples": 200, "primary_recipe": "none"},
}


def estimate(value: float, spread: float = 0.05) -> results.Estimate:
    return results.Estimate(value, value - spread, value + spread, n_files=40, n_groups=30)


def numbers() -> dict[str, dict[str, results.Estimate]]:
    models = {}
    for notebook, model, value in (("04_vgg16", "vgg16", 0.75), ("05_resnet50", "resnet50", 0.81)):
        models[notebook] = {
            f"{model}/{protocol}/{metric}": estimate(value + extra)
            for protocol, extra in (("grouped", 0.0), ("by_file", 0.07))
            for metric in ("auroc", "accuracy", "sensitivity")
        }
        models[notebook][f"{model}/grouped/none/auroc"] = estimate(value - 0.04)
        models[notebook][f"{model}-segmented/grouped/auroc"] = estimate(value - 0.02)
    return {
        "01_data_download": {
            "data/files": results.Estimate(40),
            "data/usable": results.Estimate(38),
            "data/osteopenia": results.Estimate(0),
            "data/patients": results.Estimate(0, n_files=0),
        },
        "02_eda": {
            f"data/{name}": results.Estimate(n)
            for name, n in (("groups", 30), ("knees", 30), ("conflicts", 2), ("copied_files", 15))
        },
        "03_segmentation": {"segmentation/dice": estimate(0.9371, 0.01)},
        **models,
        "06_ensemble": {
            "ensemble/grouped/auroc": estimate(0.83),
            "ensemble/grouped/accuracy": estimate(0.82),
            "comparison/resnet50-vgg16/grouped/accuracy": estimate(0.061, 0.03),
        },
        "07_leakage_lab": {f"leakage/{name}/accuracy": estimate(value, 0.03) for name, value in LAB.items()},
    }


def save(figure: figures.Figure, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=60)


def write(paths: StudyPaths) -> None:
    """All that the report needs."""
    results.write_text(paths.manifest, "image_id\na\n")
    for notebook, metrics in numbers().items():
        parameters = {"study": STUDY, "seed": 1, **PARAMETERS.get(notebook, {})}
        about = {
            "notebook": notebook,
            "parameters": parameters,
            "parameters_sha256": runtime.hash_of(parameters),
            "code_sha256": runtime.hash_of(notebook),
            "inputs": {} if notebook.startswith("01") else {"manifest.csv": runtime.sha256_file(paths.manifest)},
            "versions": {"python": "3.11.9", "keras": "3.15.1"},
            "seconds": 61.5,
            "peak_memory_gib": 1.25,
            "finished": "2024-05-21T10:00:00+00:00",
        }
        content = {name: vars(value) for name, value in metrics.items()}
        results.write_json(paths.metrics / f"{notebook}.json", {**content, "_run": about})
    judged = claims.verdicts(results.load_metrics(paths.reports), {"dataset": "phantom", "synthetic": True})
    results.write_json(paths.claims, judged)
    frame = pd.DataFrame({"class": ["normal", "osteoporosis"], "precision": [0.8, 0.75], "support": [20, 20]})
    results.write_table(paths.tables / "vgg16_classification_report.csv", frame)
    matrix = np.array([[15, 5], [4, 16]])
    save(figures.confusion(matrix, WHERE, "VGG16"), paths.figures, "vgg16_confusion")
    save(figures.confusion(matrix, WHERE, "Unassigned"), paths.figures, "zzz_unassigned")
    film = np.tile(np.arange(40, dtype=np.uint8), (60, 1))
    save(films.grid([film], ["normal/1.png"], WHERE, 1), paths.films, "samples")


def predictions(model: str) -> pd.DataFrame:
    """Out-of-fold predictions of 40 films of 30 knees under two protocols, with fixed luck."""
    rng = np.random.default_rng(len(model))
    group = np.arange(40) % 30
    y_true = group % 2
    rows = {
        "image_id": [f"{number}.png" for number in range(40)],
        "view": 0, "recipe": "average" if model == "ensemble" else "none", "variant": "full", "seed": 0, "fold": 0,
        "group": group, "y_true": y_true, "y_prob": np.clip(rng.normal(0.35 + 0.3 * y_true, 0.2), 0, 1),
    }  # fmt: skip
    parts = [pd.DataFrame({**rows, "protocol": protocol}) for protocol in ("grouped", "by_file")]
    return pd.concat(parts)[list(results.CONTRACTS["predictions"].columns)]


def add_notebooks(paths: StudyPaths) -> None:
    """Predictions, executed notebooks, and which of their cells saved what: the third the metrics, the fourth the rest."""
    for model in ("vgg16", "resnet50", "ensemble"):
        results.write_table(paths.predictions / f"{model}.csv", predictions(model), "predictions")
    drawn = figures.forest(
        pd.DataFrame({"name": ["A<b"], "value": [0.5], "low": [0.4], "high": [0.6]}), WHERE, "accuracy"
    )
    for suffix in (".png", ".svg"):
        drawn.savefig(paths.figures / f"headline{suffix}", dpi=60)
    table = {
        "text/html": f"<table><tr>{'<td>wide table</td>' * 40}</tr></table><script>alert(1)</script>",
        "text/plain": "1",
    }
    live = {"application/javascript": "alert(2)", "text/plain": "a quiz"}
    for notebook in config.NOTEBOOKS:
        cells = [
            nbformat.v4.new_markdown_cell("# Title\n\n[next](02_eda.ipynb), [glossary](glossary.md#auroc)"),
            *(nbformat.v4.new_code_cell(f"x = {count}", execution_count=count) for count in range(1, 5)),
        ]
        cells[3].outputs = [nbformat.v4.new_output("execute_result", table, execution_count=3)]
        cells[4].outputs = [nbformat.v4.new_output("display_data", live)]
        times = {"start_time": "2024-05-21T09:59:00.5+00:00", "end_time": "2024-05-21T10:00:00.9+00:00"}
        made = nbformat.v4.new_notebook(cells=cells, metadata={"papermill": times})
        results.write_text(paths.notebooks / f"{notebook}.ipynb", nbformat.writes(made))
        results.write_text(paths.notebooks / "glossary.md", "# Glossary")
        path = paths.metrics / f"{notebook}.json"
        saved = results.read_json(path) if path.is_file() else {"_run": {"finished": "2024-05-21T10:00:00+00:00"}}
        saved["_run"]["cells"] = {name: 3 for name in saved if name != "_run"}
        if notebook == "04_vgg16":
            saved["_run"]["cells"] |= {f"tables/{one.name}": 4 for one in paths.tables.glob("vgg16*.csv")}
            saved["_run"]["cells"] |= {f"figures/{one.name}": 4 for one in paths.figures.glob("*.png")}
            saved["_run"]["cells"] |= {f"figures/films/{one.name}": 4 for one in paths.films.glob("*.png")}
        results.write_json(path, saved)
