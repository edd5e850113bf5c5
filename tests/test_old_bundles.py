"""Bundles that an earlier commit made, one of each family: they still verify, load and give the same answers."""

import json
import tarfile
from pathlib import Path

import pytest

from vitrify import pipeline
from vitrify.runtime.graphs.families import FAMILIES
from vitrify.runtime.verification.verify import verify_bundle

FOLDER = Path(__file__).parent / "bundles"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
NEAR = (
    1e-5  # of a probability; int8 is exact where the same kernels run, and a kernel may round otherwise on another CPU
)
NEAR_INT8 = 0.02


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    target = tmp_path_factory.mktemp("old")
    for path in FOLDER.glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            archive.extractall(target, filter="data")
    return target


def test_there_is_one_of_each_family():
    assert {path.name.removesuffix(".tar.gz") for path in FOLDER.glob("*.tar.gz")} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_they_verify(folders, family):
    found = verify_bundle(folders / family)
    assert found.passed
    assert set(found.profiles) == {row["profile"] for row in EXPECTED if row["family"] == family}


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: f"{row['family']}, {row['profile']}")
def test_they_answer_as_they_did(folders, row):
    pipe = pipeline(row["task"], str(folders / row["family"]), profile=row["profile"])
    result = pipe(row["input"], **row["options"])
    if row["task"] != "text-classification":
        assert result == row["result"]
        return
    near = NEAR_INT8 if "int8" in row["profile"] else NEAR
    assert [item["label"] for item in result] == [item["label"] for item in row["result"]]
    assert [item["score"] for item in result] == pytest.approx([item["score"] for item in row["result"]], abs=near)
