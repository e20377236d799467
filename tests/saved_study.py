"""A finished study that no notebook made: small tables, metrics and films with known numbers."""

import numpy as np
import pandas as pd

from osteo_utils.statistics import scores
from osteo_utils.study import config, results, runtime
from osteo_utils.study.paths import StudyPaths

KNEES = 24
RESAMPLES = 100
FLOW = [
    ("found", KNEES + 2, None, None), ("quarantined: cannot be read or used", 1, None, None),
    ("readable and labelled", KNEES + 1, KNEES, KNEES), ("analysed under grouped", KNEES, KNEES, KNEES),
]  # fmt: skip
# Of the films of each class so many are called rightly.
RIGHT = {"vgg16": 9, "resnet50": 10, "ensemble": 11}
RECIPE = {"vgg16": "last_block", "resnet50": "last_block", "ensemble": "average"}


def predictions(model: str) -> pd.DataFrame:
    """One film a knee: every second has osteoporosis. The probe of a network was fitted with three seeds."""
    place = np.arange(KNEES)
    y_true = place % 2
    right = place // 2 < RIGHT[model]
    called = np.where(right, y_true, 1 - y_true)
    # No two films are scored alike.
    y_prob = np.where(called == 1, 0.7, 0.3) + place / 1000
    rows = {
        "image_id": [f"{('normal', 'osteoporosis')[y]}/{n:02d}.png" for n, y in zip(place, y_true, strict=True)],
        "view": 0, "protocol": "grouped", "recipe": RECIPE[model], "variant": "full", "seed": 0, "fold": place // 2 % 2,
        "group": place, "y_true": y_true, "y_prob": y_prob,
    }  # fmt: skip
    arms = [pd.DataFrame(rows)]
    if model != "ensemble":
        # With each seed one more film of each class is called wrongly.
        for seed in range(3):
            wrong = place // 2 >= RIGHT[model] - seed
            turned = np.where(wrong, 1 - y_true, y_true)
            arms.append(arms[0].assign(recipe="none", seed=seed, y_prob=np.where(turned == 1, 0.7, 0.3) + place / 1000))
    return pd.concat(arms, ignore_index=True)


def history() -> pd.DataFrame:
    """Two epochs of two folds, and later ones of another recipe."""
    rows = [
        (fold, epoch, 1.0 - epoch / 10, 0.6 + epoch / 10, 0.8, 0.5 + epoch / 10) for fold in (0, 1) for epoch in (1, 2)
    ]
    frame = pd.DataFrame(rows, columns=["fold", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"])
    frame = frame.assign(protocol="grouped", recipe="last_block", variant="full", seed=0, seconds=0.0)
    return pd.concat([frame, frame.assign(recipe="paper", epoch=frame["epoch"] + 10)], ignore_index=True)


def saved(name: str) -> StudyPaths:
    """Write the study, as far as notebooks 01 to 08 leave it for the report, and return its folders."""
    study, settings = StudyPaths(name), {**config.load("phantom"), "study": name, "bootstrap_resamples": RESAMPLES}
    images = predictions("vgg16").query("recipe == 'last_block'")
    manifest = pd.DataFrame(
        {
            "image_id": images.image_id, "dataset": "phantom", "role": "develop",
            "class_name": images.image_id.str.split("/").str[0], "label": images.y_true, "patient": None,
            "sha256": [f"{n:064x}" for n in range(KNEES)], "pixel_sha256": "0", "width": 256, "height": 512, "mode": "L",
            "format": "PNG", "bytes": 1, "scale": 1.0, "pad_left": 128, "pad_top": 0, "row": range(KNEES), "status": "ok",
            "reason": None,
        }
    )  # fmt: skip
    results.write_table(study.manifest, manifest, "manifest")
    np.save(study.images, np.full((KNEES, 512, 512), 90, np.uint8))
    results.write_table(study.tables / "flow.csv", pd.DataFrame(FLOW, columns=["step", "files", "knees", "groups"]))
    results.write_json(study.claims, [{"id": "C1"}, {"id": "C2"}])
    found = {notebook: {} for notebook in config.NOTEBOOKS[:-1]}
    counts = {"01_data_download": ("files", "usable"), "02_eda": ("groups", "knees", "conflicts")}
    for notebook, names in counts.items():
        found[notebook] = {f"data/{name}": results.Estimate(KNEES) for name in names}
    for notebook, model in (("04_vgg16", "vgg16"), ("05_resnet50", "resnet50"), ("06_ensemble", "ensemble")):
        table = predictions(model)
        results.write_table(study.predictions / f"{model}.csv", table, "predictions")
        found[notebook] = scores.named_estimates(table, model, RECIPE[model], RESAMPLES, settings["seed"])
        if model != "ensemble":
            results.write_table(study.history / f"{model}.csv", history(), "history")
    found["07_leakage_lab"] = {"leakage/grouped/accuracy": results.Estimate(0.7, 0.6, 0.8, KNEES, KNEES)}
    for notebook, metrics in found.items():
        parameters = config.for_notebook(notebook, settings)
        about = {
            "notebook": notebook, "parameters": parameters, "parameters_sha256": runtime.hash_of(parameters),
            "code_sha256": runtime.hash_of(notebook), "inputs": {"manifest.csv": runtime.sha256_file(study.manifest)},
            "versions": {"python": "3.11.9", "keras": "3.15.1"}, "threads": 1, "seconds": 1.0, "peak_memory_gib": 1.0,
            "finished": "2024-05-21T10:00:00+00:00",
        }  # fmt: skip
        content = {name: vars(value) for name, value in metrics.items()}
        results.write_json(study.metrics / f"{notebook}.json", {**content, "_run": about})
    return study
