from dataclasses import replace

import pytest

from tests.machines import machine
from vitrify.profiles import load_profile
from vitrify.runtime.bundle.manifest import Bundle, Provenance
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.selection.profiles import choose_tuned
from vitrify.runtime.selection.tuned import Tuned, read_tuned, tuned_path, write_tuned

HERE = machine("avx2")
FAST = Tuned("cpu-int8", 1, 0.04, {"batch 1": 2.0}, {"session.intra_op.allow_spinning": "0"})
SLOW = Tuned("cpu-fp32", 2, 1e-6, {"batch 1": 5.0})
PROFILES = {name: load_profile(name) for name in ("cpu-fp32", "cpu-int8", "cpu-bf16")}


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    return Bundle("base", (), "Some", "some", "encoder", Provenance("x"), {}, {}, {}, {}, folder=folder)


def test_what_was_written_is_read_on_the_same_machine(bundle):
    assert read_tuned(bundle, HERE) == []
    write_tuned([FAST, SLOW], bundle, HERE)
    assert read_tuned(bundle, HERE) == [FAST, SLOW]


@pytest.mark.parametrize(
    "other", [machine("avx2", "avx512_vnni"), replace(HERE, cores=1), replace(HERE, model_name="b")]
)
def test_another_machine_has_its_own_record(bundle, other):
    write_tuned([FAST], bundle, HERE)
    assert read_tuned(bundle, other) == []


def test_another_bundle_has_its_own_record(bundle):
    write_tuned([FAST], bundle, HERE)
    (bundle.folder / "bundle.json").write_text('{"other": 1}')
    assert read_tuned(bundle, HERE) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2, "ways": []}', '{"schema": 1, "ways": [{"unknown": 1}]}']
)
def test_a_record_that_is_broken_counts_as_none(bundle, text):
    write_tuned([FAST], bundle, HERE)
    tuned_path(bundle, HERE).write_text(text)
    assert read_tuned(bundle, HERE) == []


def test_a_cache_that_cannot_be_written_is_told(bundle, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", "/dev/null/cache")
    with pytest.raises(EnvironmentMissing, match="point VITRIFY_CACHE elsewhere"):
        write_tuned([FAST], bundle, HERE)


@pytest.mark.parametrize(
    ("max_drift", "chosen"), [(0.05, ("cpu-int8", 1, FAST.entries)), (0.01, ("cpu-fp32", 2, {})), (1e-9, None)]
)
def test_the_fastest_within_the_drift_is_chosen(max_drift, chosen):
    choice = choose_tuned(HERE, [FAST, SLOW], profiles=PROFILES, max_drift=max_drift)
    assert (choice and (choice.profile.name, choice.threads, choice.entries)) == chosen


def test_a_way_that_the_bundle_or_the_machine_lost_is_passed_over():
    bf16 = Tuned("cpu-bf16", 2, 0.01, {"batch 1": 1.0})
    gone = Tuned("cpu-w4", 2, 0.01, {"batch 1": 1.0})
    choice = choose_tuned(HERE, [bf16, gone, SLOW], profiles=PROFILES, max_drift=0.05)
    assert choice.profile.name == "cpu-fp32"
