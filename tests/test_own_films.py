"""A reader's film on a tiny study of synthetic films: who judges it, what is flagged, and what is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data
from small_study import Fitted, prepared

from osteo_utils.interpretation import activation_maps, fitted_networks, own_films, predict
from osteo_utils.networks import scoring, training
from osteo_utils.networks.recipes import Recipe
from osteo_utils.phantom import synthetic
from osteo_utils.study import results
from osteo_utils.study.paths import StudyPaths


@dataclass
class Study:
    """The folder of its films, notebooks 04 and 05 in short, and the networks as loaded for a reader."""

    films: Path
    fitted: dict[str, Fitted]
    loaded: list[fitted_networks.Network]

    def read(self, *files: Path) -> list[own_films.Reading]:
        return own_films.read_films(files, self.loaded[:1])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    place = tmp_path_factory.mktemp("home")
    synthetic.write(place / "films", 16, seed=1, size=224, copies=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTEO_HOME", str(place))
        run = prepared("own", place / "films", None)
        fitted = {}
        for notebook, backbone in (("04_vgg16", "vgg16"), ("05_resnet50", "resnet50")):
            recipes = ["none", "last_block", "last_stage"] if backbone == "vgg16" else ["last_block"]
            mine = results.Run(notebook, {**run.parameters, "split_seeds": [0], "recipes": recipes}, run.paths, 1)
            fitted[backbone] = Fitted(mine, backbone)
            predictions = fitted[backbone].predictions
            results.write_table(run.paths.predictions / f"{backbone}.csv", predictions, "predictions")
            mine.finish()
        results.Run("03_segmentation", run.parameters, run.paths, 1).finish()
        yield Study(place / "films", fitted, fitted_networks.networks("own"))


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def flags(reading: own_films.Reading) -> dict[str, str]:
    return dict(reading.flags)


def test_logits_are_those_that_an_external_set_gets_and_the_map_adds_up_to_them(study: Study) -> None:
    done = study.fitted["vgg16"]
    for (recipe, _), fits in done.fits.items():
        folders = [folder for _, folder in fits]
        settings = Recipe.from_parameters(recipe, done.run.parameters)
        seen = training.activations_for(settings, done.run, done.images, done.activations, done.weights)
        logits, maps = activation_maps.evidence(recipe, folders, seen, done.weights)
        score, every = scoring.scorer(recipe, seen, done.weights), np.arange(len(done.images))
        np.testing.assert_allclose(logits, [score(folder, every) for folder in folders], atol=2e-4)
        # What a map leaves of the logit is the bias, the same for every film.
        left = logits - maps.mean(axis=(2, 3))
        assert np.ptp(left, axis=1).max() < 1e-3


def test_a_film_of_the_study_is_judged_only_by_the_fit_that_left_its_knee_out(study: Study, tmp_path: Path) -> None:
    done = study.fitted["vgg16"]
    row = done.images.iloc[3]
    original = study.films / row.image_id
    pixels = np.asarray(Image.open(original).convert("L"))
    files = [
        original,
        saved(tmp_path / "again.png", pixels),
        saved(tmp_path / "mirrored.jpg", pixels[:, ::-1], quality=70),
    ]
    readings = own_films.read_films(files, study.loaded)
    assert [reading.known.relation for reading in readings] == ["exact", "pixel", "perceptual"]
    for reading in readings:
        assert (reading.known.image_id, reading.known.group) == (row.image_id, row.group)
        assert f"{row.image_id} of the study" in flags(reading)["known"]
    for network in study.loaded:
        expected = network.predictions.set_index("image_id").loc[row.image_id]
        score = readings[0].scores[network.backbone]
        assert list(score.by_fold) == [expected.fold] == [readings[0].known.fold]
        assert score.uncalibrated == pytest.approx(expected.y_prob, abs=1e-4)
    both = readings[0].scores
    mean = (both["vgg16"].uncalibrated + both["resnet50"].uncalibrated) / 2
    assert both["ensemble"].uncalibrated == pytest.approx(mean)


def test_the_label_of_its_own_knee_has_no_say_in_a_films_calibration(study: Study) -> None:
    network = study.loaded[0]
    first = network.predictions.iloc[0]
    turned = network.predictions.y_true.where(network.predictions.group != first.group, 1 - first.y_true)
    other = fitted_networks.Network(**{**vars(network), "predictions": network.predictions.assign(y_true=turned)})
    lines = [fitted_networks.Lines([one], seed=0) for one in (network, other)]
    own, foreign = ([line.of("vgg16", group).at(0.0) for line in lines] for group in (first.group, -1))
    assert own[0] == own[1]
    assert foreign[0] != foreign[1]


def test_a_new_knee_is_judged_by_every_fold_with_the_mean_of_their_logits(study: Study, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "new", 4, seed=77, size=224, copies=0)
    readings = study.read(*sorted((tmp_path / "new").glob("*/*.*")))
    assert len(readings) == 4
    for reading in readings:
        assert reading.known is None and "known" not in flags(reading)
        assert "mask_not_plausible" not in flags(reading) and reading.mask.any()
        score = reading.scores["vgg16"]
        logits = [np.log(one / (1 - one)) for one in score.by_fold.values()]
        assert list(score.by_fold) == [0, 1]
        assert np.log(score.uncalibrated / (1 - score.uncalibrated)) == pytest.approx(np.mean(logits))
        assert 0 < score.low <= score.probability <= score.high < 1
        assert reading.maps["vgg16"].shape == reading.square.shape == reading.mask.shape
    far = [flags(reading).get("out_of_distribution", "") for reading in readings]
    assert sum(map(bool, far)) <= 1


def test_what_is_no_knee_is_flagged_and_what_is_no_picture_is_told(study: Study, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 200)).astype(np.uint8)
    drawing = np.full((240, 200), 255, np.uint8)
    drawing[40:200, 60:66] = drawing[40:46, 60:150] = 0
    (tmp_path / "text.png").write_bytes(b"no picture")
    foreign = {"noise": noise, "photo": data.camera(), "drawing": drawing}
    files = [saved(tmp_path / f"{name}.png", pixels) for name, pixels in foreign.items()]
    *others, text = study.read(*files, tmp_path / "text.png")
    for reading in others:
        assert "out_of_distribution" in flags(reading), reading.path.name
        assert "mask_not_plausible" in flags(reading), reading.path.name
    assert not text.readable and text.scores == {}
    assert flags(text) == {
        "unreadable": "not an image: expected JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000, PGM, AVIF or DICOM"
    }


def test_the_command_writes_a_page_and_numbers_and_tells_no_folder(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    film = study.films / study.fitted["vgg16"].images.image_id[0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    command = ["--study", "own", "--model", "vgg16", "--out", str(tmp_path / "out"), str(film)]
    assert predict.main(command) == 0
    assert predict.main([*command, str(tmp_path / "broken.png")]) == 1
    said = capsys.readouterr().out
    text = (tmp_path / "out" / "prediction.json").read_text("utf-8")
    found = json.loads(text)
    assert [one["file"] for one in found["films"]] == [film.name, "broken.png"]
    assert found["notice"] == own_films.NOTICE and own_films.NOTICE in said
    score = found["films"][0]["scores"]["vgg16"]
    assert f"VGG16: {score['probability']:.2f} [{score['low']:.2f}, {score['high']:.2f}]" in said
    page = (tmp_path / "out" / "prediction.html").read_text("utf-8")
    assert own_films.NOTICE in page and "unreadable" in page and page.count("data:image/png") == 2
    assert str(tmp_path) not in text + page and str(study.films) not in text + page


def test_a_study_that_was_not_run_or_does_not_hold_together_names_the_next_step(
    study: Study, capsys: pytest.CaptureFixture
) -> None:
    assert predict.main(["--study", "nobody", "film.png"]) == 2
    assert "vgg16 has not been fitted; run ./run_all.sh nobody first" in capsys.readouterr().err
    table = StudyPaths("own").predictions / "vgg16.csv"
    kept = table.read_bytes()
    try:
        changed = results.read_table(table).assign(y_prob=0.5)
        results.write_table(table, changed, "predictions")
        with pytest.raises(ValueError, match=r"are not those behind its predictions; run ./run_all\.sh own again"):
            fitted_networks.networks("own", ["vgg16"])
    finally:
        table.write_bytes(kept)
    fit = study.loaded[0].fitted[0][1]
    shutil.move(fit, fit.with_name("away"))
    try:
        with pytest.raises(FileNotFoundError, match=f"the fit {fit.name} is not there; run"):
            fitted_networks.networks("own", ["vgg16"])
    finally:
        shutil.move(fit.with_name("away"), fit)
