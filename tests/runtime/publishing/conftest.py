"""A bundle of an earlier version, with the card of this one."""

import tarfile
from pathlib import Path

import pytest

from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.publishing.card import write_card

OLD = Path(__file__).parents[2] / "bundles"


@pytest.fixture
def unpacked(tmp_path):
    """A function that unpacks the bundle of a family."""

    def unpack(family):
        with tarfile.open(OLD / f"{family}.tar.gz") as archive:
            archive.extractall(tmp_path / "made", filter="data")
        return tmp_path / "made" / family

    return unpack


@pytest.fixture
def bundle(unpacked):
    folder = unpacked("encoder")
    write_card(Bundle.read(folder))
    return folder
