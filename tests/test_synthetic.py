"""A synthetic set: its truth is true, its faults are where it says, and brightness gives nothing away."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from osteo_utils.phantom import design, synthetic


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
