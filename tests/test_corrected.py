"""The corrected set says of each film what the tables say, under a SHA-256 that its reader has."""

import ast
import csv
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
import yaml

import run
from osteo_utils.evidence import corrected
from osteo_utils.review import checklists
from osteo_utils.sources import registry
from osteo_utils.sources.data_folders import read_checksums
from osteo_utils.sources.registry import DataSet
from osteo_utils.study import config, paths, results, runtime
from osteo_utils.study.results import Estimate

PUBLISHED = sorted(paths.code_root().glob("reports/published/*/corrected"))
# Five films of three knees and two persons: a and b are one knee under both labels, c and d have the same bytes.
NAMES = ["normal/a.png", "normal/c.png", "osteoporosis/b.png", "osteoporosis/d.png", "osteoporosis/e.png"]
BYTES = dict(zip(NAMES, [b"film a", b"film c", b"film b", b"film c", b"film e"], strict=True))
KAPPA = Estimate(0.25, 0.125, 0.5, n_files=4, n_groups=2, note="class in other")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def images(content: Mapping[str, bytes] = BYTES) -> pd.DataFrame:
    rows = [(name, digest(film), name.split("/")[0]) for name, film in content.items()]
    return pd.DataFrame(rows, columns=["image_id", "sha256", "class_name"])


AUDIT = pd.DataFrame(
    {
        "image_id": NAMES,
        "knee": [0, 1, 0, 1, 2],
        "group": [0, 1, 0, 1, 1],
        "relation": ["perceptual", "exact", "perceptual", "exact", "patient"],
        "nearest": ["osteoporosis/b.png", "osteoporosis/d.png", "normal/a.png", "normal/c.png", ""],
        "distance": [0.1, 0.0, 0.1, 0.0, None],
        "conflict": [1, 0, 1, 0, 0],
    }
)
FOLDS = pd.DataFrame(
    [
        (protocol, seed, name, 0, fold)
        for protocol, seed, dealt in [
            ("grouped", 0, [-1, 0, -1, 0, 0]), ("grouped", 1, [-1, 1, -1, 1, 1]), ("grouped_all", 0, [0, 1, 0, 1, 1]),
            ("by_file", 0, [0, 1, 2, 3, 4]), ("resubstitution", 0, [0] * 5),
        ]
        for name, fold in zip(NAMES, dealt, strict=True)
    ],
    columns=["protocol", "seed", "image_id", "view", "fold"],
)  # fmt: skip
REFERENCE = pd.DataFrame(
    {
        "image_id": NAMES[:4],
        "value": ["normal", "osteopenia", "osteoporosis", ""],
        "t_score": [None] * 4,
        "source": ["s/1.png", "s/2.png", "s/3.png", "s/4.png"],
        "name": ["class in wani239"] * 4,
    }
)


@pytest.fixture
def entry(tmp_path: Path) -> DataSet:
    """A set with published checksums and a crosswalk to wani239."""
    sums = "".join(f"{digest(film)}  {name}\n" for name, film in BYTES.items())
    (tmp_path / "set.sha256").write_text(sums)
    walked = pd.DataFrame({"image_id": NAMES, "sha256": [digest(film) for film in BYTES.values()]})
    walked["class_name"] = walked["image_id"].str.split("/").str[0]
    walked["source"] = [*REFERENCE["source"], ""]
    walked["source_class"] = [*REFERENCE["value"], ""]
    walked["certainty"] = ["registered", "same bytes", "registered", "several classes", "none"]
    walked.to_csv(tmp_path / "crosswalk.csv", index=False)
    files = {"checksums": str(tmp_path / "set.sha256"), "crosswalk": str(tmp_path / "crosswalk.csv")}
    return DataSet("some", "Some knees", "labels", "none found", "", "some/knees", **files, crosswalk_to="wani239")


OWN = registry.get("folder")


def text_of(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


@pytest.fixture
def made(entry: DataSet, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Every file of the product as text, of the whole set unless other tables are given."""

    def write(
        audit: pd.DataFrame = AUDIT, reference: pd.DataFrame | None = REFERENCE, entry: DataSet = entry, found: int = 5
    ) -> dict[str, str]:
        metrics = {"data/files": Estimate(found), "data/patients": Estimate(0)} | (
            {"reference/kappa": KAPPA} if reference is not None else {}
        )
        content = {name: vars(value) for name, value in metrics.items()}
        finished = {"_run": {"finished": "2026-05-04T03:02:01+00:00", "inputs": {}}}
        results.write_json(tmp_path / "reports" / "metrics" / "02_eda.json", {**content, **finished})
        text = text_of(corrected.films(images(), audit, FOLDS, reference, entry))
        return {corrected.TABLE: text, **corrected.documents(text, "trial", entry, tmp_path / "reports")}

    return write


class TestFilms:
    def test_a_row_says_what_the_tables_say(self, entry: DataSet) -> None:
        table = corrected.films(images(), AUDIT, FOLDS, REFERENCE, entry)
        assert table.iloc[1].to_dict() == {
            "sha256": digest(b"film c"), "copy": 0, "image_id": "normal/c.png", "as_published": 1, "folder": "normal",
            "knee": 1, "person": 1, "relation": "exact", "conflict": 0, "reference": "osteopenia",
            "reference_name": "class in wani239", "source": "s/2.png", "certainty": "same bytes",
            "fold_grouped_all_s0": 1, "fold_grouped_s0": 0, "fold_grouped_s1": 1,
        }  # fmt: skip
        assert table["image_id"].tolist() == NAMES

    def test_sha256_and_copy_are_a_key_where_files_have_the_same_bytes(self, entry: DataSet) -> None:
        table = corrected.films(images(), AUDIT, FOLDS, REFERENCE, entry)
        assert not table.duplicated(["sha256", "copy"]).any()
        assert dict(zip(table["image_id"], table["copy"], strict=True)) == dict(
            zip(NAMES, [0, 0, 0, 1, 0], strict=True)
        )

    def test_a_scaled_film_has_the_published_sha256(self, entry: DataSet) -> None:
        scaled = {**BYTES, "normal/a.png": b"film a, scaled"}
        table = corrected.films(images(scaled), AUDIT, FOLDS, None, entry).set_index("image_id")
        assert table.loc["normal/a.png", "sha256"] == digest(b"film a")
        assert table["as_published"].to_dict() == {name: int(name != "normal/a.png") for name in NAMES}

    def test_splits_with_a_mistake_are_not_passed_on(self, entry: DataSet) -> None:
        table = corrected.films(images(), AUDIT, FOLDS, None, entry)
        folds = [name for name in table if name.startswith("fold_")]
        assert folds == ["fold_grouped_all_s0", "fold_grouped_s0", "fold_grouped_s1"]

    def test_of_ones_own_films_neither_names_nor_measurements_are_kept(self) -> None:
        measured = REFERENCE.assign(t_score=[0.5, -2.0, -3.0, None])
        table = corrected.films(images(), AUDIT, FOLDS, measured, OWN)
        assert not {*table} & {"image_id", "t_score", "source"}
        assert set(table["sha256"]) == {digest(film) for film in BYTES.values()}
        assert not any(name in text_of(table) for name in NAMES)

    def test_a_film_without_a_fold_is_refused(self, entry: DataSet) -> None:
        with pytest.raises(ValueError, match=r"osteoporosis/e\.png: not in audit\.csv and folds\.csv"):
            corrected.films(images(), AUDIT, FOLDS[FOLDS["image_id"] != NAMES[-1]], None, entry)

    def test_folds_that_spread_a_person_are_refused(self, entry: DataSet) -> None:
        moved = FOLDS.assign(
            fold=FOLDS["fold"].mask((FOLDS["image_id"] == NAMES[-1]) & (FOLDS["protocol"] == "grouped"), 2)
        )
        with pytest.raises(ValueError, match=r"group 1 lies in more than one fold \(normal/c\.png"):
            corrected.films(images(), AUDIT, moved, None, entry)

    def test_a_table_without_knees_is_refused(self, entry: DataSet) -> None:
        with pytest.raises(ValueError, match="no column knee"):
            corrected.films(images(), AUDIT.drop(columns="knee"), FOLDS, None, entry)


class TestPublishedNames:
    LISTED = {name: digest(film) for name, film in BYTES.items()}  # noqa: RUF012

    def named(self, content: dict[str, bytes]) -> list[str]:
        films = images(content).rename(columns={"class_name": "folder"})
        return corrected.published_names(films, self.LISTED).tolist()

    def test_of_two_files_with_the_same_bytes_each_keeps_its_name(self) -> None:
        assert self.named({"osteoporosis/d.png": b"film c", "normal/c.png": b"film c"}) == [NAMES[3], NAMES[1]]

    def test_a_renamed_film_is_known_by_its_bytes(self) -> None:
        assert self.named({"normal/renamed.png": b"film a", "normal/c.png": b"film c"}) == [NAMES[0], NAMES[1]]

    def test_a_renamed_film_does_not_take_the_name_of_one_with_the_same_bytes(self) -> None:
        assert self.named({"normal/1.png": b"film c", "osteoporosis/d.png": b"film c"}) == [NAMES[1], NAMES[3]]

    @pytest.mark.parametrize(
        "content",
        [{"normal/new.png": b"new"}, {"normal/a.png": b"film a", "normal/copy.png": b"film a"}, {"normal/b.png": b"b"}],
        ids=["a stranger", "one more copy", "a name of the other class"],
    )
    def test_a_film_that_is_not_published_is_refused(self, content: dict[str, bytes]) -> None:
        with pytest.raises(ValueError, match=f"{list(content)[-1]}: neither its bytes nor its name"):
            self.named(content)


class TestErratum:
    def test_it_counts_the_table(self, made: Callable[..., dict[str, str]]) -> None:
        said = made()["ERRATUM.md"]
        for sentence in (
            "# Erratum to some/knees\n",
            "5 films in folders named after a diagnosis: 2 normal and 3 osteoporosis.",
            "4 of the 5 films show a knee that another film shows too; 2 have the same bytes as another.",
            "Together they show 3 knees of at most 2 persons.",
            "- 1 knee, on 2 films, under both labels: ",
            "is known for 3 films. Of the 2 in `normal` it calls 1 normal, 1 osteopenia and 0 osteoporosis. "
            "Of the 1 in `osteoporosis` it calls 0 normal, 0 osteopenia and 1 osteoporosis.",
            "is 0.250 [0.125, 0.500] (95 % interval, 2 persons resampled)",
            "Leave out the 2 films whose `conflict` is 1.",
            "on 2026-05-04",
            "MIT, The osteo-utils contributors",
        ):
            assert sentence in said, said

    def test_it_says_nothing_of_what_is_not_known(self, made: Callable[..., dict[str, str]]) -> None:
        apart = AUDIT.assign(group=AUDIT["knee"], conflict=0)
        said = made(apart, None, OWN)["ERRATUM.md"]
        assert "No knee lies under both labels." in said
        assert "Which knees are of one person is not known." in said
        for word in (
            "persons.",
            "second label",
            "kappa",
            "`reference`",
            "examined as copies",
            "not used",
            "knee, on",
            "Leave out",
        ):
            assert word not in said, word

    def test_files_that_were_not_used_are_counted(self, made: Callable[..., dict[str, str]]) -> None:
        assert "Files that were not used and are not in the table: 2." in made(found=7)["ERRATUM.md"]

    def test_films_of_ones_own_are_not_put_under_the_projects_licence(
        self, made: Callable[..., dict[str, str]]
    ) -> None:
        product = made(entry=OWN)
        assert "Tables and text: not chosen yet by whoever ran the study." in product["ERRATUM.md"]
        croissant, crate = (json.loads(product[name]) for name in ("croissant.json", "ro-crate-metadata.json"))
        assert croissant["creator"]["name"] == "Whoever ran the study trial"
        assert "MIT" not in croissant["license"]
        (root,) = (one for one in crate["@graph"] if one["@id"] == "./")
        assert root["license"] == {"@id": "#licence"}

    @pytest.mark.parametrize("markup", [r"\n{3,}", r"\{[{%]", r" $", r"  "])
    def test_the_template_leaves_no_trace(self, made: Callable[..., dict[str, str]], markup: str) -> None:
        for product in (made(), made(AUDIT.assign(group=AUDIT["knee"], conflict=0), None, OWN)):
            assert not re.search(markup, product["ERRATUM.md"], re.MULTILINE)


def problems(product: Mapping[str, str]) -> list[str]:
    """What is wrong with a product by the rules of both formats that a program must follow to read it."""
    found = []
    header, *rows = csv.reader(product[corrected.TABLE].splitlines())
    croissant, crate = (json.loads(product[name]) for name in ("croissant.json", "ro-crate-metadata.json"))
    for name in ("name", "description", "url", "license", "creator", "datePublished", "version", "citeAs"):
        found += [] if croissant.get(name) else [f"Croissant: no {name}"]
    for file in croissant["distribution"]:
        content = product[file["contentUrl"]].encode()
        if (file["sha256"], file["contentSize"]) != (digest(content), f"{len(content)} B"):
            found.append(f"Croissant: {file['@id']} has another size or SHA-256")
    fields = croissant["recordSet"][0]["field"]
    if [field["source"]["extract"]["column"] for field in fields] != header:
        found.append("Croissant: fields are not the columns of the table")
    if not {key["@id"] for key in croissant["recordSet"][0]["key"]} <= {field["@id"] for field in fields}:
        found.append("Croissant: a key is no field")
    kinds = {"sc:Text": str, "sc:Integer": int, "sc:Float": float}
    for column, field in enumerate(fields):
        for value in {row[column] for row in rows} - {""}:
            kinds[field["dataType"]](value)
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    if crate["@context"] != "https://w3id.org/ro/crate/1.1/context" or len(entities) != len(crate["@graph"]):
        found.append("RO-Crate: another context, or an entity twice")
    for name in ("name", "description", "datePublished", "license"):
        found += [] if entities["./"].get(name) else [f"RO-Crate: the root has no {name}"]
    parts = {part["@id"] for part in entities["./"]["hasPart"]}
    if parts != set(product) - {"ro-crate-metadata.json"}:
        found.append("RO-Crate: parts are not the files")
    outside = {"https://w3id.org/ro/crate/1.1"}
    links = set(re.findall(r'\{\s*"@id": "([^"]*)"\s*\}', product["ro-crate-metadata.json"]))
    return found + [f"RO-Crate: {name} is not described" for name in sorted(links - set(entities) - outside)]


class TestMetadata:
    def test_a_program_can_read_them(self, made: Callable[..., dict[str, str]]) -> None:
        assert problems(made()) == []
        assert problems(made(entry=OWN)) == []

    def test_they_name_the_set_and_the_database_behind_it(self, made: Callable[..., dict[str, str]]) -> None:
        basis = ["https://www.kaggle.com/datasets/some/knees", "https://doi.org/10.17632/fxjm8fb6mw.2"]
        product = made()
        assert json.loads(product["croissant.json"])["isBasedOn"] == basis
        crate = {entity["@id"]: entity for entity in json.loads(product["ro-crate-metadata.json"])["@graph"]}
        assert crate["#made"]["object"] == [{"@id": address} for address in basis]
        assert "CC BY 4.0 by the word of third parties" in crate[basis[1]]["description"]

    def test_quotes_and_backslashes_of_a_name_stay_text(
        self, made: Callable[..., dict[str, str]], entry: DataSet
    ) -> None:
        odd = DataSet(**{**vars(entry), "slug": 'a/"b"\\c'})
        assert json.loads(made(entry=odd)["croissant.json"])["name"].endswith('a/"b"\\c')

    @pytest.mark.parametrize(("name", "old", "new"), [("films.csv", "perceptual", "unique"), ("ERRATUM.md", "2", "3")])
    def test_the_rules_find_a_file_that_was_changed_afterwards(
        self, made: Callable[..., dict[str, str]], name: str, old: str, new: str
    ) -> None:
        product = made()
        assert problems({**product, name: product[name].replace(old, new)}) == [
            f"Croissant: {name} has another size or SHA-256"
        ]


class TestLoader:
    @pytest.fixture
    def load(self, made: Callable[..., dict[str, str]], tmp_path: Path) -> Callable[[Path], pd.DataFrame]:
        for name, text in made().items():
            (tmp_path / name).write_text(text, "utf-8")
        space = {"__file__": str(tmp_path / "load.py")}
        exec(compile((tmp_path / "load.py").read_text("utf-8"), "load.py", "exec"), space)
        return space["load"]

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name, film in BYTES.items():
            path = tmp_path / "download" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(film)
        return tmp_path / "download"

    def test_each_row_gets_its_file(self, load: Callable[[Path], pd.DataFrame], folder: Path) -> None:
        found = load(folder).sort_values("image_id")
        assert found["path"].tolist() == [folder / name for name in NAMES]
        assert found["person"].tolist() == [0, 1, 0, 1, 1]

    def test_other_names_and_hidden_files_do_not_matter(
        self, load: Callable[[Path], pd.DataFrame], folder: Path
    ) -> None:
        (folder / ".DS_Store").write_bytes(b"a desktop's own")
        (folder / "osteoporosis" / "e.png").rename(folder / "e with another name.png")
        found = load(folder).set_index("image_id")
        assert found.loc["osteoporosis/e.png", "path"].name == "e with another name.png"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda folder: (folder / NAMES[0]).unlink(), r"1 films are missing and 0 files .*normal/a\.png"),
            (lambda folder: (folder / "x.png").write_bytes(b"x"), r"0 films are missing and 1 files .*x\.png"),
            (lambda folder: (folder / NAMES[4]).write_bytes(b"e, scaled"), r"1 films are missing and 1 files .*e\.png"),
            (lambda folder: (folder / "again.png").write_bytes(b"film c"), r"0 films are missing and 1 files"),
            (lambda folder: folder.rename(folder.with_name("away")), r"5 films are missing and 0 files"),
        ],
        ids=["missing", "unknown", "scaled", "a third copy", "no such folder"],
    )
    def test_another_set_is_refused(
        self, load: Callable[[Path], pd.DataFrame], folder: Path, change: Callable[[Path], object], message: str
    ) -> None:
        change(folder)
        with pytest.raises(ValueError, match=message):
            load(folder)

    def test_it_is_short_and_needs_pandas_alone(self, made: Callable[..., dict[str, str]]) -> None:
        tree = ast.parse(made()["load.py"])
        (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
        statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
        assert len(statements) - 2 <= 10  # the function itself and its docstring
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert imported == {"hashlib", "pandas", "pathlib"}


class TestOfStudy:
    @pytest.fixture
    def study(self, home: Path) -> paths.StudyPaths:
        """A study of somebody's own films that was run."""
        ours = paths.StudyPaths("mine")
        manifest = images().reindex(columns=list(results.CONTRACTS["manifest"].columns))
        manifest = manifest.assign(
            dataset="folder", role="develop", label=[0, 0, 1, 1, 1], status="ok", row=range(5), width=9, height=9
        )
        results.write_table(ours.manifest, manifest, "manifest")
        results.write_table(ours.audit, AUDIT)
        results.write_table(ours.folds, FOLDS)
        noted = {table.name: runtime.sha256_file(table) for table in (ours.manifest, ours.audit, ours.folds)}
        about = {"_run": {"finished": "2026-05-04T03:02:01+00:00", "inputs": noted}}
        results.write_json(
            ours.metrics / "02_eda.json", {"data/files": {"value": 5}, "data/patients": {"value": 0}, **about}
        )
        return ours

    def test_it_is_text_that_names_no_place_and_no_film(self, study: paths.StudyPaths, home: Path) -> None:
        product = corrected.of_study("mine", "folder")
        assert set(product) == {"films.csv", "ERRATUM.md", "load.py", "croissant.json", "ro-crate-metadata.json"}
        assert problems(product) == []
        for text in product.values():
            assert not any(name in text for name in (str(home), str(paths.code_root()), *NAMES))

    def published(self, study: paths.StudyPaths, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder that `./run_all.sh publish mine` fills."""
        settings = config.own_settings("mine", study.interim / "films")
        results.write_text(study.own_config, yaml.safe_dump(settings))
        results.write_json(study.claims, [])
        # They need a whole study, and have tests of their own.
        monkeypatch.setattr(checklists, "pages", lambda study, shown: {})
        monkeypatch.setattr(sys, "argv", ["run.py", "publish", "mine"])
        assert run.main() == 0
        return paths.published("mine")

    def test_publish_writes_it(self, study: paths.StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = self.published(study, monkeypatch) / "corrected"
        assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == corrected.of_study("mine", "folder")

    def test_publish_says_why_there_is_none(
        self, study: paths.StudyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        study.manifest.unlink()
        assert not (self.published(study, monkeypatch) / "corrected").exists()
        assert re.search(r"left out: corrected \(.*manifest\.csv", capsys.readouterr().out)

    def test_a_table_of_another_run_is_refused(self, study: paths.StudyPaths) -> None:
        results.write_table(study.audit, AUDIT.assign(group=0))
        with pytest.raises(ValueError, match=r"audit\.csv: not the table that 02_eda\.json was made from"):
            corrected.of_study("mine", "folder")

    def test_a_study_without_its_tables_is_refused(self, home: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"manifest\.csv"):
            corrected.of_study("nothing", "folder")

    def test_a_synthetic_set_has_none(self, study: paths.StudyPaths) -> None:
        with pytest.raises(ValueError, match="its truth is known"):
            corrected.of_study("mine", "phantom")


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.parent.name)
class TestPublished:
    def entry(self, folder: Path) -> DataSet:
        about = results.read_json(folder.parent / "metrics" / "01_data_download.json")["_run"]
        return registry.get(about["parameters"]["dataset"])

    def test_it_is_what_the_published_tables_give(self, folder: Path) -> None:
        text = (folder / corrected.TABLE).read_text("utf-8")
        made = corrected.documents(text, folder.parent.name, self.entry(folder), folder.parent)
        assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == {corrected.TABLE: text, **made}
        assert problems({corrected.TABLE: text, **made}) == []

    def test_its_films_are_those_published(self, folder: Path) -> None:
        listed = read_checksums(Path(registry.__file__).parent / self.entry(folder).checksums)
        table = pd.read_csv(folder / corrected.TABLE)
        assert dict(zip(table["image_id"], table["sha256"], strict=True)) == listed

    def test_its_counts_are_those_of_the_published_metrics(self, folder: Path) -> None:
        metrics = results.load_metrics(folder.parent)
        table = pd.read_csv(folder / corrected.TABLE)
        conflict = table[table["conflict"] == 1]
        counted = [len(table), len(conflict), conflict["knee"].nunique()]
        assert counted == [metrics[f"data/{name}"].value for name in ("usable", "conflict_files", "conflicts")]
