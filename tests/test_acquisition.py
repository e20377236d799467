"""From path lengths to grey: attenuation, texture, scanners and tags."""

import numpy as np
import pytest

from osteo_utils.phantom import acquisition, drawing
from osteo_utils.study import config

DENSE, THIN = 0.95, 0.45


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
