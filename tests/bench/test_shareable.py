from dataclasses import replace

import pytest

from tests.bench.results import RESULT
from vitrify.bench.result import Load, Row
from vitrify.bench.shareable import shareable, short_command, short_text


@pytest.mark.parametrize(
    ("command", "short"),
    [
        ("vitrify bench minilm --against torch", "vitrify bench minilm --against torch"),
        ("vitrify bench /home/me/minilm -o /tmp/out", "vitrify bench minilm -o out"),
        (
            "vitrify bench sentence-transformers/all-MiniLM-L6-v2",
            "vitrify bench sentence-transformers/all-MiniLM-L6-v2",
        ),
        ("vitrify bench m --checkpoint=/data/a/checkpoint/", "vitrify bench m --checkpoint=checkpoint"),
        ("vitrify bench '/home/me/my models/minilm'", "vitrify bench minilm"),
        ("vitrify bench m --fail-if 'p50>3'", "vitrify bench m --fail-if 'p50>3'"),
    ],
)
def test_absolute_paths_of_a_command_are_names(command, short):
    assert short_command(command) == short


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("'/home/me/x' has no config.json of one", "'x' has no config.json of one"),
        ("no file '/home/my models/a.onnx'", "no file 'a.onnx'"),
        ("cannot open /root/models/a.onnx: no space", "cannot open a.onnx: no space"),
        ("see https://example.org/a/b and 12 rows/s", "see https://example.org/a/b and 12 rows/s"),
        ("float32/int8 is not a path, nor is and/or", "float32/int8 is not a path, nor is and/or"),
    ],
)
def test_absolute_paths_of_a_message_are_names(text, short):
    assert short_text(text) == short


def test_a_result_has_no_folder_of_the_machine():
    result = replace(
        RESULT,
        model={"name": "tiny", "source": "/home/me/tiny"},
        settings={"command": "vitrify bench /home/me/tiny"},
        rows=(*RESULT.rows, Row("batch 1", "ort", failed="no file '/home/me/tiny/model.onnx'")),
        loads=(*RESULT.loads, Load("batch 1", "ort", 5.0, failed="crashed: /home/me/lib/x.so is missing")),
    )
    assert "/home" not in str(shareable(result).to_json())
    assert shareable(RESULT) == RESULT
