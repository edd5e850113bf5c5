"""Which profiles go into one bundle."""

import contextlib
from pathlib import Path

import pytest

from vitrify import profiles
from vitrify.export.precision.targets import load_targets
from vitrify.profiles import load_profile, profile_names
from vitrify.runtime.errors import EnvironmentMissing, UsageError


@pytest.fixture
def beside(tmp_path):
    """Return what writes a user's profile: a preset with other words."""

    def write(preset, *changes):
        text = (Path(profiles.__file__).parent / f"{preset}.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("preset", "changes", "other"),
    [
        ("cpu-w4", [('"_q4"', '"_w8"')], "cpu-w8"),
        ("cpu-int8", [("embeddings = true", "embeddings = false")], "cpu-int8"),
        ("cuda-bf16", [('"_bf16"', '"_fp16"')], "cuda-fp16"),
    ],
)
def test_profiles_of_one_file_and_other_settings_are_refused(beside, preset, changes, other):
    mine = beside(preset, *changes)
    for names in ([other, mine], [mine, other]):
        with pytest.raises(UsageError, match="share the graph_suffix"):
            load_targets(names)


def test_profiles_that_differ_elsewhere_share_a_file(beside):
    mine = beside("cpu-w8", ("absolute = ", "absolute = 1"))
    assert len(load_targets(["cpu-w8", mine])[0]) == 2


def test_no_presets_share_a_file_with_other_settings():
    names = [name for name in profile_names() if load_profile(name).provider != "openvino"]
    with contextlib.suppress(EnvironmentMissing):  # a device that is not here is looked for after it
        load_targets(names)
    assert names
