"""The bundles that others run, shared by the files of this folder."""

import shutil

import pytest

from tests.interop.exported import Bundles


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interop")
    yield Bundles(folder)
    shutil.rmtree(folder)  # the real ones are large
