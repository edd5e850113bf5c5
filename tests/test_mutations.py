"""A folder of which one file is spoilt answers, or is refused in one line: never a bug or a raw message."""

import random
import zlib

import pytest

from tests.mutations import applied, is_sentence, mutations, subjects
from vitrify.runtime.errors import VitrifyError

SEED, EACH = 20, 25
CODES = {2, 4, 6, 7, 8}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return subjects(tmp_path_factory.mktemp("mutations"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))


def faults_of(subject, draw, count):
    """Yield each spoilt file of a subject that ends otherwise than it may."""
    for mutation in mutations(subject, count, draw):
        with applied(subject, mutation):
            try:
                subject.call()
            except VitrifyError as error:
                said = str(error)
                if error.exit_code not in CODES or not is_sentence(said):
                    yield f"{mutation.file}: {mutation.words}: {type(error).__name__}: {said:.300}"
            except Exception as error:  # noqa: BLE001 - which is what is looked for
                yield f"{mutation.file}: {mutation.words}: {type(error).__name__}: {error!s:.200}"


@pytest.mark.parametrize("index", range(16))
def test_a_spoilt_folder_answers_or_is_refused_in_a_line(folders, index):
    subject = folders[index]
    subject.call()
    seed = SEED + zlib.crc32(subject.name.encode())
    print(f"{subject.name}: seed {seed}")
    assert not list(faults_of(subject, random.Random(seed), EACH))


def test_every_folder_has_a_turn(folders):
    assert len(folders) == 16
