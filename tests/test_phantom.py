"""The phantom: its truth is true, its faults are where it says, and brightness gives nothing away."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt, label
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from osteo_utils.phantom import acquisition, anatomy, design, drawing, synthetic
from osteo_utils.study import config

DENSE, THIN = 0.95, 0.45


@pytest.fixture(scope="module")
def knee() -> drawing.Knee:
    return drawing.draw_knee(11, DENSE, size=256)


@pytest.fixture(scope="module")
def eighty() -> synthetic.PhantomSet:
    return synthetic.draw(seed=5, n_knees=80, size=192, copies=0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    directory = tmp_path_factory.mktemp("raw") / "phantom"
    return directory, synthetic.write(directory, n_knees=20, seed=2, size=128, copies=1.0, conflicts=0.1)


def content(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"), float)


def cortical_contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Grey of the bones' rim over that of their inside: a reader's plain measure of cortical bone."""
    depth = distance_transform_edt(mask)
    rim, inside = (depth > 0) & (depth <= 1), (depth > 3) & (depth <= 5)
    return float(image[rim].mean() - image[inside].mean())


def test_the_same_seed_gives_the_same_pixels(knee: drawing.Knee) -> None:
    again = drawing.draw_knee(11, DENSE, size=256)
    other = drawing.draw_knee(12, DENSE, size=256)
    np.testing.assert_array_equal(knee.image, again.image)
    np.testing.assert_array_equal(knee.parts, again.parts)
    assert np.mean(knee.image != other.image) > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_bone_is_brighter_than_the_flesh_beside_it(seed: int) -> None:
    knee = drawing.draw_knee(seed, DENSE, size=256)
    beside = (distance_transform_edt(knee.mask == 0) < 8) & (knee.mask == 0)
    assert knee.image[knee.mask == 1].mean() > 1.4 * knee.image[beside].mean()


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_shows_four_bones_in_at_most_three_pieces(seed: int) -> None:
    # Patella and femur always overlap, fibula and tibia often.
    knee = drawing.draw_knee(seed, DENSE, size=256)
    pieces, count = label(knee.mask)
    assert 2 <= count <= 3
    assert np.bincount(pieces.ravel())[1:].min() > 50
    for bone in (anatomy.FEMUR, anatomy.TIBIA, anatomy.FIBULA, anatomy.PATELLA):
        assert np.mean(knee.parts & bone > 0) > 0.005


def test_bones_lie_where_anatomy_puts_them() -> None:
    for side, sign in (("R", -1), ("L", 1)):
        knee = drawing.draw_knee(3, DENSE, size=256, side=side)
        rows, columns = np.indices(knee.parts.shape)
        centre = {
            bone: (rows[knee.parts & bone > 0].mean(), columns[knee.parts & bone > 0].mean()) for bone in (1, 2, 4, 8)
        }
        femur, tibia, fibula, patella = (centre[bone] for bone in (1, 2, 4, 8))
        assert femur[0] < knee.joint[0] < tibia[0]
        assert patella[0] < knee.joint[0] < fibula[0]
        # Facing the patient, the lateral side of a right knee is on the left of the film.
        assert np.sign(fibula[1] - tibia[1]) == sign


def test_a_ray_through_ten_centimetres_of_flesh_is_attenuated_as_tables_say() -> None:
    # NIST, ICRU-44 soft tissue at 60 keV: 0.2048 cm²/g at 1.06 g/cm³ over 10 cm.
    through = acquisition.SOFT * 100
    assert through == pytest.approx(2.171, abs=0.001)


def test_struts_repeat_at_the_spacing_asked_for() -> None:
    field = acquisition.texture((512, 512), pixel=0.25, spacing=2.0, cross=0.0, hurst=0.6, seed=1)
    power = np.abs(np.fft.rfft(field, axis=1)).mean(axis=0) ** 2
    frequency = np.fft.rfftfreq(512, 0.25)
    band = frequency > 0.2
    assert frequency[band][power[band].argmax()] == pytest.approx(0.5, abs=0.12)
    assert field.std() == pytest.approx(1.0, abs=0.1)


def test_osteoporosis_begins_at_minus_two_and_a_half() -> None:
    # 0.858 - 2.5 * 0.120 = 0.558 g/cm².
    assert drawing.is_osteoporosis(0.5579)
    assert not drawing.is_osteoporosis(0.5581)
    table = design.plan(50, seed=1)
    assert (table["true_label"] == (table["t_score"] <= -2.5)).all()
    assert table.drop_duplicates("knee")["true_label"].sum() == 25


def test_copies_and_conflicts_are_as_many_as_asked() -> None:
    table = design.plan(80, seed=4, copies=0.25, conflicts=0.2)
    files = table.groupby("knee").size()
    assert (files == 2).sum() == 20 and len(table) == 100
    labels = table.groupby("knee")["label"].nunique()
    assert (labels == 2).sum() == 4
    assert set(table.loc[table["conflict"] == 1, "knee"]) == set(labels.index[labels == 2])
    assert table["image_id"].is_unique
    originals = table.set_index("image_id")["knee"]
    seconds = table[table["copy_of"] != ""]
    assert (originals[seconds["copy_of"]].to_numpy() == seconds["knee"].to_numpy()).all()
    assert (table["image_id"].str.split("/").str[0] == table["class_name"]).all()
    assert (table["label"] != table["true_label"]).sum() == 4


def test_planning_a_film_does_not_look_at_the_class() -> None:
    told = {"label", "true_label", "density", "t_score"}
    for knee in range(20):
        sick = design.first_file(knee, 9, -4.0, 512, False)
        well = design.first_file(knee, 9, 1.0, 512, False)
        assert {k: v for k, v in sick.items() if k not in told} == {k: v for k, v in well.items() if k not in told}


def test_brightness_does_not_give_the_class_away(eighty: synthetic.PhantomSet) -> None:
    brightness = eighty.images.mean(axis=(1, 2))
    bone = [image[mask == 1].mean() for image, mask in zip(eighty.images, eighty.masks, strict=True)]
    assert 0.35 < roc_auc_score(eighty.table["label"], brightness) < 0.65
    assert 0.35 < roc_auc_score(eighty.table["label"], bone) < 0.65


def test_cortex_follows_density_and_without_signal_does_not(eighty: synthetic.PhantomSet) -> None:
    def agreement(films: synthetic.PhantomSet) -> float:
        seen = [cortical_contrast(i, m) for i, m in zip(films.images, films.masks, strict=True)]
        return float(spearmanr(seen, films.table["density"]).statistic)

    without = synthetic.draw(seed=5, n_knees=80, size=192, copies=0, signal=0)
    assert abs(agreement(eighty)) > 0.5
    assert abs(agreement(without)) < 0.3


def test_texture_coarsens_as_density_falls() -> None:
    def strength(density: float) -> list[float]:
        found = []
        for seed in range(12):
            knee = drawing.draw_knee(seed, density, size=384)
            inner = distance_transform_edt(knee.parts & anatomy.FEMUR > 0) > 12
            rows = np.arange(len(inner))[:, None] > knee.joint[0] - 45 / knee.pixel
            image = knee.image.astype(float)
            local = image - (np.roll(image, 3, 1) + np.roll(image, -3, 1)) / 2
            found.append(local[inner & rows].std() / image[inner & rows].mean())
        return found

    thin, dense = strength(THIN), strength(DENSE)
    assert np.mean(np.greater.outer(thin, dense)) > 0.8


@pytest.mark.parametrize(("hurst", "slope"), [(0.3, -2.6), (0.7, -3.4)])
def test_the_spectrum_falls_as_the_hurst_exponent_says(hurst: float, slope: float) -> None:
    # Fractional Brownian motion in the plane: power goes with frequency to -2(H + 1). Struts far too fine to be
    # seen leave the cloud alone.
    field = acquisition.texture((512, 512), pixel=0.5, spacing=40.0, cross=0.0, hurst=hurst, seed=2)
    power = np.abs(np.fft.fft2(field)) ** 2
    down, across = np.meshgrid(*[np.fft.fftfreq(512, 0.5)] * 2, indexing="ij")
    frequency = np.hypot(down, across)
    band = (frequency > 0.15) & (frequency < 0.6)
    fitted = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.15)


def test_without_signal_the_density_is_not_looked_at() -> None:
    thin, dense = (drawing.draw_knee(21, density, size=128, signal=0) for density in (THIN, DENSE))
    np.testing.assert_array_equal(thin.image, dense.image)
    thin, dense = (drawing.draw_knee(21, density, size=128, signal=0.5) for density in (THIN, DENSE))
    assert np.mean(thin.image != dense.image) > 0.2


def test_density_moves_structure_and_not_the_histogram() -> None:
    for seed in range(6):
        thin, dense = (drawing.draw_knee(seed, density, size=256) for density in (THIN, DENSE))
        np.testing.assert_array_equal(thin.parts, dense.parts)
        one, two = (np.cumsum(np.bincount(k.image.ravel(), minlength=256)) / k.image.size for k in (thin, dense))
        assert np.abs(one - two).max() < 0.03
        assert np.abs(thin.image.astype(float) - dense.image).mean() > 1


def test_scanners_do_not_overlap_where_it_is_said() -> None:
    panel, plate = (acquisition.SCANNERS[name] for name in ("flat_panel", "storage_phosphor"))
    assert plate.photons[1] < panel.photons[0]
    for name in ("blur", "edges", "edge_scale", "levelling", "bone"):
        assert getattr(panel, name)[1] < getattr(plate, name)[0], name
    assert config.PARAMETERS["phantom_site"].limits == acquisition.SITES


def test_a_scanner_changes_the_look_and_not_the_knee() -> None:
    def bone_level(site: str) -> list[float]:
        knees = [drawing.draw_knee(seed, DENSE, size=160, site=site) for seed in range(8)]
        return [float(np.median(knee.image[knee.mask == 1])) for knee in knees]

    panel, plate = (drawing.draw_knee(4, DENSE, size=160, site=site) for site in acquisition.SITES)
    np.testing.assert_array_equal(panel.parts, plate.parts)
    assert min(bone_level("storage_phosphor")) > max(bone_level("flat_panel"))


def test_a_tag_changes_its_corner_and_nothing_else() -> None:
    plain, tagged = (drawing.draw_knee(5, DENSE, size=200, tagged=tagged) for tagged in (False, True))
    rows, columns = np.nonzero(plain.image != tagged.image)
    assert rows.min() > 0.8 * 200 and columns.max() < 0.2 * 100
    assert tagged.image[rows, columns].min() > 200


def test_each_alteration_is_what_it_is_called(written: tuple[Path, pd.DataFrame]) -> None:
    directory, table = written
    seen = set()
    for row in table[table["copy_of"] != ""].itertuples():
        first, second = directory / row.copy_of, directory / row.image_id
        here, there = pixels(first), pixels(second)
        if row.alteration == "exact":
            assert first.read_bytes() == second.read_bytes()
        else:
            assert first.read_bytes() != second.read_bytes()
        if row.alteration == "mirrored":
            assert np.abs(here[:, ::-1] - there).mean() < 2 < np.abs(here - there).mean()
        if row.alteration == "jpeg":
            assert Image.open(second).format == "JPEG" and 0 < np.abs(here - there).mean() < 6
        if row.alteration == "rescaled":
            assert 0.5 < there.shape[0] / here.shape[0] < 0.9
            assert there.shape == (row.height, row.width)
        if row.alteration == "brightness":
            assert np.abs(here - there).mean() > 4 and np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.95
        seen.add(row.alteration)
    assert seen == set(design.ALTERATIONS)


def test_masks_on_disk_fit_the_file_that_they_belong_to(written: tuple[Path, pd.DataFrame]) -> None:
    directory, table = written
    for name in table["image_id"]:
        image = pixels(directory / name)
        mask = pixels((directory / "truth_masks" / name).with_suffix(".png"))
        assert image.shape == mask.shape
        assert set(np.unique(mask)) == {0, 255}
        assert image[mask > 0].mean() > 1.5 * image[mask == 0].mean()
    told = pd.read_csv(directory / "truth.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(told, table, check_dtype=False)


def test_a_second_call_draws_nothing_and_other_arguments_draw_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "set"
    synthetic.write(directory, n_knees=6, seed=1, size=64)
    first = content(directory)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "draw_knee", lambda **_: pytest.fail("a complete set was drawn again"))
        synthetic.write(directory, n_knees=6, seed=1, size=64)
    assert "already there" in capsys.readouterr().out
    next((directory / "normal").iterdir()).unlink()
    synthetic.write(directory, n_knees=6, seed=1, size=64)
    assert content(directory) == first
    synthetic.write(directory, n_knees=6, seed=2, size=64)
    assert content(directory) != first
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_failure_leaves_the_old_set_and_no_half_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "set"
    synthetic.write(directory, n_knees=6, seed=1, size=64)
    before = content(directory)
    calls = iter(range(100))
    encode = synthetic._encode

    def full_disk(image: np.ndarray, row: pd.Series) -> bytes:
        if next(calls) > 3:
            raise OSError("no space left")
        return encode(image, row)

    monkeypatch.setattr(synthetic, "_encode", full_disk)
    with pytest.raises(OSError, match="no space left"):
        synthetic.write(directory, n_knees=6, seed=2, size=64)
    assert content(directory) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_that_is_no_phantom_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("my films", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not a phantom set"):
        synthetic.write(tmp_path, n_knees=6, seed=1, size=64)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "my films"


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="n_knees is 2"):
        design.plan(2, seed=1)
    with pytest.raises(ValueError, match=r"copies is 5\.5"):
        design.plan(20, seed=1, copies=5.5)
    with pytest.raises(ValueError, match="signal is 2"):
        drawing.draw_knee(1, 0.8, signal=2)
    with pytest.raises(ValueError, match="density 80"):
        drawing.draw_knee(1, 80)
