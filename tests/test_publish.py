"""What may be shown leaves the machine, and nothing else."""

import base64
import io
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from publish import LARGEST_FILE, publish


def executed(path: Path, *cells: nbformat.NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), str(path))


class TestPublish:
    @pytest.fixture
    def reports(self, tmp_path: Path) -> Path:
        folder = tmp_path / "reports" / "some"
        for name, text in {
            "claims.json": "[]",
            "metrics/02_eda.json": "{}",
            "tables/films.csv": "image_id,label\nnormal/miller.png,0\n",
            "tables/metrics.csv": "model,auroc\nvgg16,0.8\n",
            "predictions/vgg16.csv": "image_id,y_prob\nnormal/miller.png,0.1\n",
            "figures/roc.png": "a drawing",
            "figures/paper/fig4_accuracy.png": "a drawing",
            "figures/paper/fig4_accuracy.pdf": "PNG alone is published",
            "figures/films/samples.png": "a film",
            "figures/films/deeper/more.png": "a film",
            "suspects.html": "a page of films",
            "notes.txt": "not on the list",
            "logs/02.log": "not on the list",
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        executed(folder / "notebooks" / "02_eda.ipynb", nbformat.v4.new_code_cell("films()"))
        executed(folder / "notebooks" / "exercises" / "02_exercises.ipynb", nbformat.v4.new_code_cell("answer = ..."))
        (folder / "notebooks" / "glossary.md").write_text("# Glossary")
        return folder

    def published(self, reports: Path, dataset: str, private: tuple[Path, ...] = ()) -> set[str]:
        files, _ = publish(reports, reports.parent / "published" / "some", dataset, list(private))
        return {name.as_posix() for name in files}

    NUMBERS = frozenset(
        [
            "claims.json",
            "metrics/02_eda.json",
            "tables/metrics.csv",
            "figures/roc.png",
            "figures/paper/fig4_accuracy.png",
        ]
    )
    NAMING = frozenset(["tables/films.csv", "predictions/vgg16.csv"])
    FILMS = frozenset(["notebooks/02_eda.ipynb", "notebooks/exercises/02_exercises.ipynb", "notebooks/glossary.md"])

    def test_of_a_real_set_no_film_and_no_executed_notebook(self, reports: Path) -> None:
        assert self.published(reports, "knee744") == self.NUMBERS | self.NAMING

    def test_of_a_strangers_folder_no_file_name_either(self, reports: Path) -> None:
        assert self.published(reports, "folder") == self.NUMBERS

    def test_of_a_synthetic_set_executed_notebooks_as_well(self, reports: Path) -> None:
        assert self.published(reports, "phantom") == self.NUMBERS | self.NAMING | self.FILMS

    def test_of_a_study_with_an_external_set_nothing_that_shows_or_names_its_films(self, reports: Path) -> None:
        (reports / "metrics" / "02_eda.json").write_text('{"external/files": {}}')
        named = "image_id,group\nexternal/normal/miller.png,0\n"
        (reports / "tables" / "external_overlap.csv").write_text(named)
        (reports / "predictions" / "vgg16_external.csv").write_text(named)
        assert self.published(reports, "phantom") == self.NUMBERS | self.NAMING
        assert self.published(reports, "knee744") == self.NUMBERS | self.NAMING

    def test_pages_are_made_for_what_is_published_and_replace_those_of_the_study(self, reports: Path) -> None:
        (reports / "checklists.html").write_text("links to notes.txt")
        seen: list[str] = []

        def pages(shown: set[str]) -> dict[str, str]:
            seen.extend(sorted(shown))
            return {"checklists.html": "links to numbers alone"}

        target = reports.parent / "published" / "some"
        files, _ = publish(reports, target, "folder", [], None, pages)
        assert seen == sorted(self.NUMBERS) and Path("checklists.html") in files
        assert (target / "checklists.html").read_text() == "links to numbers alone"
        with pytest.raises(RuntimeError, match=r"checklists\.html: names /home/someone"):
            publish(
                reports,
                target,
                "folder",
                [Path("/home/someone")],
                None,
                lambda _: {"checklists.html": "/home/someone/"},
            )

    def test_a_table_without_a_row_names_nobody(self, reports: Path) -> None:
        (reports / "tables" / "external_overlap.csv").write_text("image_id,group\n")
        assert "tables/external_overlap.csv" in self.published(reports, "knee744")

    def test_a_data_set_that_is_not_known_counts_as_real(self, reports: Path) -> None:
        assert not self.FILMS & self.published(reports, "something new")

    def test_what_an_earlier_run_published_does_not_stay(self, reports: Path) -> None:
        self.published(reports, "phantom")
        assert not self.FILMS & self.published(reports, "knee744")
        assert list((reports.parent / "published").iterdir()) == [reports.parent / "published/some"]

    def test_a_large_file_is_left_out(self, reports: Path) -> None:
        (reports / "predictions" / "huge.csv").write_bytes(b"0" * (LARGEST_FILE + 1))
        assert "predictions/huge.csv" not in self.published(reports, "knee744")

    def test_a_text_that_names_a_folder_of_this_machine_is_refused(self, reports: Path) -> None:
        self.published(reports, "knee744")
        (reports / "tables" / "metrics.csv").write_text("model\n/home/someone/films/a.png\n")
        with pytest.raises(RuntimeError, match=r"tables/metrics\.csv: names /home/someone"):
            self.published(reports, "knee744", (Path("/home/someone"),))
        assert "vgg16" in (reports.parent / "published/some/tables/metrics.csv").read_text()

    def test_papermills_own_paths_are_taken_out(self, reports: Path) -> None:
        path = reports / "notebooks" / "02_eda.ipynb"
        content = json.loads(path.read_text())
        content["metadata"]["papermill"] = {"input_path": "/home/someone/a.ipynb", "duration": 3.0}
        path.write_text(json.dumps(content))
        self.published(reports, "phantom", (Path("/home/someone"),))
        copy = json.loads((reports.parent / "published/some/notebooks/02_eda.ipynb").read_text())
        assert copy["metadata"]["papermill"] == {"duration": 3.0}

    def test_a_large_picture_of_a_notebook_becomes_a_jpeg_and_a_small_one_stays(self, reports: Path) -> None:
        pictures = []
        for side in (400, 20):
            noise = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
            Image.fromarray(noise).save(stream := io.BytesIO(), "PNG")
            pictures.append({"image/png": base64.b64encode(stream.getvalue()).decode()})
        shown = [nbformat.v4.new_output("display_data", picture) for picture in pictures]
        path = reports / "notebooks" / "02_eda.ipynb"
        executed(path, nbformat.v4.new_code_cell("films()", outputs=shown))
        self.published(reports, "phantom")
        copy = json.loads((reports.parent / "published/some/notebooks/02_eda.ipynb").read_text())
        large, small = (output["data"] for output in copy["cells"][0]["outputs"])
        with Image.open(io.BytesIO(base64.b64decode(large["image/jpeg"]))) as picture:
            assert picture.size == (400, 400)
        assert set(large) == {"image/jpeg"}
        assert small["image/png"] == pictures[1]["image/png"]

    def test_the_corrected_set_goes_with_the_rest(self, reports: Path) -> None:
        target = reports.parent / "published" / "some"
        files, _ = publish(reports, target, "folder", [], {"films.csv": "sha256\r\n\u00e4\n"})
        assert Path("corrected/films.csv") in files
        assert (target / "corrected" / "films.csv").read_bytes() == "sha256\r\n\u00e4\n".encode()

    def test_a_corrected_set_too_large_is_left_out_whole_and_the_rest_published(self, reports: Path) -> None:
        product = {"films.csv": "a" * (LARGEST_FILE + 1), "ERRATUM.md": "short"}
        files, left_out = publish(reports, reports.parent / "published" / "some", "folder", [], product)
        assert {name.as_posix() for name in files} == self.NUMBERS
        assert left_out[Path("corrected")] == "3.0 MB, more than 3"

    def test_a_corrected_set_that_names_a_folder_of_this_machine_is_refused(self, reports: Path) -> None:
        target = reports.parent / "published" / "some"
        with pytest.raises(RuntimeError, match=r"corrected/films\.csv: names /home/someone"):
            publish(reports, target, "folder", [Path("/home/someone")], {"films.csv": "a\n/home/someone/a.png\n"})
        assert not target.exists()

    def test_a_study_that_has_not_run_cannot_be_published(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="run the study first"):
            self.published(tmp_path / "reports" / "none", "phantom")
