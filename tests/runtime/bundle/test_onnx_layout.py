"""What the names of graphs say, as optimum, transformers.js and sentence-transformers give them."""

import pytest

from vitrify.runtime.bundle.onnx_layout import VARIANTS, find_variants, require_known_names
from vitrify.runtime.errors import UnsupportedError

OF_SENTENCE_TRANSFORMERS = ("O1", "O2", "O3", "O4", "qint8_arm64", "qint8_avx512", "qint8_avx512_vnni", "quint8_avx2")


@pytest.mark.parametrize("name", OF_SENTENCE_TRANSFORMERS)
def test_graphs_for_a_level_or_a_cpu_are_found(name):
    assert find_variants([f"onnx/model_{name}.onnx"]) == {name: {"model": f"onnx/model_{name}.onnx"}}


def test_names_of_variants_are_unique():
    for names in ([each.name for each in VARIANTS], [each.suffix for each in VARIANTS]):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("names", [["onnx/model_mine.onnx"], ["mine.onnx", "config.json"]])
def test_other_names_are_refused_with_those_that_are_known(names):
    with pytest.raises(
        UnsupportedError, match=r"mine\.onnx .* named model\.onnx, or model with one of .*_qint8_avx512,"
    ):
        require_known_names("folder", names)


@pytest.mark.parametrize(
    "names",
    [
        ["config.json"],
        ["mine.onnx", "weights.safetensors"],
        ["onnx/model.onnx", "onnx/model_mine.onnx"],
        ["other/mine.onnx"],
    ],
)
def test_a_folder_that_has_none_or_a_known_one_passes(names):
    require_known_names("folder", names)
