"""How well the two lists of suspects rank what is wrong in a set: planted wrong labels, and planted strangers.

    python benchmarks/suspects.py [--sets 5] [--knees 100] [--each 3] [--noise 0.1] [--out reports/benchmarks]

Each set is synthetic knees, some under the wrong label, and strangers of four kinds: a hand, a lower leg without its
knee, a photograph and a page of text. Strangers lie in a class folder drawn by lot and count in neither way in the
ranking of labels. The networks are the study's, with ImageNet weights. Writes `suspects.csv` and prints it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy import stats
from skimage import color, data
from sklearn.datasets import load_sample_images
from sklearn.metrics import average_precision_score

from osteo_utils.audit import copies, groups
from osteo_utils.bone import segmentation
from osteo_utils.evidence import suspects
from osteo_utils.images import image_store, manifest
from osteo_utils.networks import inputs, probes, trunk_cache
from osteo_utils.phantom import acquisition, design, drawing, shapes, synthetic
from osteo_utils.phantom.anatomy import Tissue
from osteo_utils.protocols import splits
from osteo_utils.sources import weights
from osteo_utils.statistics import calibration, novelty
from osteo_utils.study import config, results, runtime
from osteo_utils.study.paths import MODEL_NOTEBOOKS, StudyPaths

KINDS = ("hand", "lower leg", "photograph", "page of text")
# Middle of the wrist to the middle of the knuckle, and lengths of the bones beyond it, in mm; thumb first.
RAYS = {
    (-38.0, -20.0): (32.0, 26.0),
    (-24.0, -66.0): (42.0, 25.0, 18.0),
    (-4.0, -70.0): (46.0, 29.0, 19.0),
    (14.0, -64.0): (43.0, 27.0, 19.0),
    (30.0, -54.0): (34.0, 20.0, 17.0),
}
WORDS = "the of bone density film knee was and with age in study women years mean value table between group".split()


def hand(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """A hand as the synthetic scanner records it, uint8 (size, 0.8 size)."""
    shape, pixel = (size, round(0.8 * size)), rng.uniform(230, 260) / size
    down, across = (np.arange(n, dtype=np.float32) * np.float32(pixel) for n in shape)
    turn = rng.normal(0, 8)
    x, y = shapes.rotated(across[None] - across.mean(), down[:, None] - down[-1] * 0.72, turn)
    soft, cortical, spongy = (np.zeros(shape, np.float32) for _ in range(3))
    for (knuckle_x, knuckle_y), lengths in RAYS.items():
        ray = np.array([knuckle_x, knuckle_y]) * rng.uniform(0.93, 1.07)
        start, way = 0.2 * ray, ray / np.hypot(*ray)
        for number, length in enumerate((0.75 * np.hypot(*ray), *lengths)):
            end = start + way * length * rng.uniform(0.95, 1.05)
            radius = np.float32(4.6 - 0.6 * number)
            near = _off_line(x, y, start, end)
            wall, core = shapes.shell(radius - near, radius, 2 * radius, np.float32(1.3), np.float32(0.9))
            cortical, spongy = np.maximum(cortical, wall), np.maximum(spongy, core)
            flesh = radius + np.float32(5 if number else 12)
            soft = np.maximum(soft, shapes.chord(flesh - near, flesh, 1.6 * flesh))
            start = end + way * 2.5
    tissue = Tissue(soft, 0.1 * soft, cortical, spongy, (cortical > 0).astype(np.uint8))
    grain = acquisition.texture(shape, pixel, 1.3, 0.5, 0.6, int(rng.integers(2**31)))
    parts = acquisition.attenuate(tissue, grain, 0.06, 0.19, 1.0, 0.05 * acquisition.muscle_field(shape, rng))
    leg, scanner = soft > 6, acquisition.SCANNERS["flat_panel"]
    thickness, detail = acquisition.detect(*parts, leg, pixel, scanner, rng)
    grey = acquisition.develop(thickness, detail, leg, float((cortical > 0).mean() / leg.mean()), pixel, scanner, rng)
    return np.clip(np.rint(255 * grey), 0, 255).astype(np.uint8)


def _off_line(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance from the line between two points, mm."""
    way = (end - start).astype(np.float32)
    along = np.clip(((x - start[0]) * way[0] + (y - start[1]) * way[1]) / (way @ way), 0, 1)
    return np.hypot(x - start[0] - along * way[0], y - start[1] - along * way[1]).astype(np.float32)


def lower_leg(rng: np.random.Generator, size: int = 1024) -> np.ndarray:
    """The shafts of tibia and fibula, from a long film cut 11 cm below the joint."""
    density = drawing.YOUNG_MEAN + drawing.YOUNG_SD * rng.uniform(-4, 1)
    knee = drawing.draw_knee(int(rng.integers(2**31)), density, size, aspect=rng.choice([0.4, 0.5]), layout="long")
    return knee.image[round(knee.joint[0] + 110 / knee.pixel) :]


def photograph(rng: np.random.Generator) -> np.ndarray:
    """A part of one of seven photographs that come with scikit-image and scikit-learn, in grey."""
    known = [data.camera, data.astronaut, data.chelsea, data.coffee, data.rocket]
    photos = [make() for make in known] + load_sample_images().images
    photo = photos[rng.integers(len(photos))]
    grey = photo if photo.ndim == 2 else np.rint(255 * color.rgb2gray(photo)).astype(np.uint8)
    height, width = (round(side * rng.uniform(0.6, 1.0)) for side in grey.shape)
    top, left = rng.integers(grey.shape[0] - height + 1), rng.integers(grey.shape[1] - width + 1)
    return grey[top : top + height, left : left + width]


def page(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """A page of text, dark on white."""
    paper = Image.new("L", (round(0.71 * size), size), int(rng.integers(225, 256)))
    pen, height = ImageDraw.Draw(paper), int(rng.integers(11, 17))
    font = ImageFont.load_default(size=height)
    for top in range(30, size - 40, round(1.4 * height)):
        pen.text((28, top), " ".join(rng.choice(WORDS, 60 // height * 2)), fill=int(rng.integers(10, 60)), font=font)
    return np.asarray(paper)


DRAW = dict(zip(KINDS, (hand, lower_leg, photograph, page), strict=True))


def write_set(root: Path, knees: int, each: int, noise: float, seed: int) -> pd.DataFrame:
    """Write a set of films to `root`; returns image_id, kind (`knee` or one of KINDS), wrong (its label)."""
    table = synthetic.write(root, knees, seed, label_noise=noise)
    rows = [(row.image_id, "knee", row.label != row.true_label) for row in table.itertuples()]
    rng = np.random.default_rng([seed, 9])
    for kind in KINDS:
        for _ in range(each):
            name = f"{rng.choice(design.CLASSES)}/S{len(rows):04d}.png"
            Image.fromarray(np.ascontiguousarray(DRAW[kind](rng))).save(root / name)
            rows.append((name, kind, False))
    return pd.DataFrame(rows, columns=["image_id", "kind", "wrong"])


def prepared(study: str, root: Path) -> tuple[results.Run, pd.DataFrame, pd.DataFrame]:
    """Notebooks 01 to 03 in short: the run of 04, the films that take part, the table of masks."""
    run = results.Run("04_vgg16", {**config.load("phantom"), "study": study}, StudyPaths(study), 2)
    every = manifest.build_manifest(root, "phantom", "1", run.paths.images)
    results.write_table(run.paths.manifest, every, "manifest")
    every = results.read_table(run.paths.manifest, "manifest")
    store = image_store.load(run.paths.images, every)
    table = groups.audit(store, every, copies.compare(store, every))
    results.write_table(run.paths.audit, table, "audit")
    masks, measured = segmentation.segment_all(store, every)
    with results.atomic_path(run.paths.masks) as temporary:
        np.save(temporary, masks)
    return run, inputs.usable_images(run), run.table("masks", measured)


def read_by(
    backbone: str, run: results.Run, images: pd.DataFrame, loaded: weights.Weights
) -> tuple[pd.DataFrame, np.ndarray]:
    """A network's probes out of fold, all split seeds, and its features of the films (n, c)."""
    views = inputs.trunk_views(run, images, backbone, "full", loaded, inputs.TEST_VIEWS)
    pooled = probes.mean_features(views, loaded)
    folds = [splits.make_folds(images, "grouped_all", run.p.n_folds, seed) for seed in run.p.split_seeds]
    scored = []
    for fold in splits.fold_list(images, pd.concat(folds), ["grouped_all"], run.p.split_seeds):
        probability, _ = probes.fit_probe(fold, pooled)
        scored.append(splits.predictions(images.iloc[fold.test], probability, fold.arm("none", "full")))
    return pd.concat(scored, ignore_index=True), trunk_cache.channel_means(views.views[0])


def by_line(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions calibrated by a line from logit to label (Platt), fitted on the other folds of the same arm."""
    found = []
    for _, arm in predictions.groupby(["model", "seed"]):
        logits, probability = calibration.bounded_logit(arm["y_prob"]), np.empty(len(arm))
        for number in arm["fold"].unique():
            here = (arm["fold"] == number).to_numpy()
            rest = arm[~here]
            line = calibration.fit(logits[~here], rest["y_true"], rest["group"].to_numpy(), 1, 0).line
            probability[here] = calibration.sigmoid(line[0] + line[1] * logits[here])
        found.append(arm.assign(y_prob=probability))
    return pd.concat(found, ignore_index=True)


def by_chance(n: int, n_sought: int) -> float:
    """Expected average precision of a random order of `n` films, `n_sought` of which are sought."""
    harmonic = (1 / np.arange(1, n + 1)).sum()
    return (harmonic + (n_sought - 1) / (n - 1) * (n - harmonic)) / n


def judge(
    truth: pd.DataFrame, images: pd.DataFrame, masks: pd.DataFrame, read: dict[str, tuple[pd.DataFrame, np.ndarray]]
) -> list[dict[str, object]]:
    """Average precision of each ranking of one set, beside chance, and what the flagged films are."""
    rows = []

    def add(ranking: str, sought: pd.Series, score: pd.Series, flagged: pd.Series | None = None) -> None:
        one = {"ranking": ranking, "average_precision": average_precision_score(sought, score)}
        one |= {"chance": by_chance(len(sought), int(sought.sum())), "share": sought.mean()}
        if flagged is not None:
            one |= {"flagged": int(flagged.sum()), "right": int((flagged & sought).sum()), "sought": int(sought.sum())}
        rows.append(one)

    predictions = pd.concat([part.assign(model=name) for name, (part, _) in read.items()], ignore_index=True)
    one_fit = predictions[(predictions.model == "resnet50") & (predictions.seed == predictions.seed.min())]
    for name, chosen in {
        "": predictions,
        ", one network and seed": one_fit,
        ", by a line": by_line(predictions),
    }.items():
        table = suspects.labels(chosen, images).merge(truth, on="image_id")
        knees = table[table.kind == "knee"]
        add(f"labels{name}", knees.wrong, -knees.margin, knees.suspect == 1)
        if not name:
            add("labels, no margin", knees.wrong, -knees.self_confidence)
    features = {name: values for name, (_, values) in read.items()}
    table = suspects.films(features, images, masks).merge(truth, on="image_id")
    strange = table.kind != "knee"
    add("strangers", strange, table.distance, table.far == 1)
    for kind in KINDS:
        part = table[(table.kind == kind) | ~strange]
        add(f"strangers, {kind} alone", part.kind == kind, part.distance)
    add("strangers, flagged masks alone", strange, table["mask"] != "", table["mask"] != "")
    fifth = [novelty.reference(one, images.group.to_numpy()).distances for one in features.values()]
    near = images.assign(score=np.mean([one / np.median(one) for one in fifth], axis=0)).merge(truth, on="image_id")
    add("strangers, fifth neighbour", near.kind != "knee", near.score)
    return rows


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over sets, with a 95 % interval of the average precision by Student's t, and counts over all sets."""
    found = []
    for name, part in rows.groupby("ranking", sort=False):
        values = part.average_precision
        half = stats.t.ppf(0.975, len(values) - 1) * values.sem() if len(values) > 1 else np.nan
        one = {"ranking": name, "sets": len(values), "average_precision": values.mean(), "low": values.mean() - half}
        one |= {"high": min(1.0, values.mean() + half), "lowest": values.min()}
        one |= (
            part[["chance", "share"]].mean().to_dict() | part[["flagged", "right", "sought"]].sum(min_count=1).to_dict()
        )
        found.append(one)
    return pd.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--knees", type=int, default=100)
    parser.add_argument("--each", type=int, default=3, help="strangers of each kind")
    parser.add_argument("--noise", type=float, default=0.1, help="share of knees under the wrong label")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first set")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"))
    asked = parser.parse_args()
    out, started = asked.out.resolve(), time.perf_counter()
    runtime.prepare(asked.seed)
    loaded = {backbone: weights.imagenet(backbone) for backbone in MODEL_NOTEBOOKS}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["OSTEO_HOME"] = scratch
        for seed in range(asked.seed, asked.seed + asked.sets):
            root = Path(scratch) / f"films{seed}"
            truth = write_set(root, asked.knees, asked.each, asked.noise, seed)
            run, images, masks = prepared(f"set{seed}", root)
            read = {backbone: read_by(backbone, run, images, one) for backbone, one in loaded.items()}
            rows += judge(truth, images, masks, read)
            print(f"set {seed}: {len(images)} films, {time.perf_counter() - started:.0f} s", flush=True)
    table = summarised(pd.DataFrame(rows))
    results.write_table(out / "suspects.csv", table)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
