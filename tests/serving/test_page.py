"""docs/serving.md: its commands are those of the command line, and a server answers its requests as the page says."""

import configparser
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

from tests.imports import ROOT
from tests.serving.conftest import serving
from tests.test_readme import BLOCK, NUMBER
from vitrify.cli import app
from vitrify.serving.limits import Limits
from vitrify.serving.models import read_wanted

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
# Models of the page, and what stands for each of them.
MODELS = {"minilm": "embedder", "ranker": "ranker", "smollm2": "writer"}


def blocks(kind):
    found = [text for _, of, text in BLOCK.findall(PAGE) if of == kind]
    assert found
    return found


@pytest.fixture(scope="module")
def served(bundles, tmp_path_factory):
    words = [f"{name}={bundles[model]}" for name, model in MODELS.items()]
    with serving(tmp_path_factory.mktemp("page"), *words) as made:
        yield made


def requests():
    """Yield each curl command of the page with the answer that it shows."""
    for text in blocks("console"):
        for part in text.removeprefix("$ ").split("\n$ "):
            line, shown = part.splitlines()
            yield pytest.param(line, shown, id=shlex.split(line)[2].removeprefix("localhost:8000"))


def asked(server, line):
    """Send what a curl command sends."""
    name, silent, address, *words = shlex.split(line)
    assert (name, silent) == ("curl", "-s")
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert set(given) <= {"-H", "-d"}
    headers = (
        dict([given["-H"].split(": ")]) if "-H" in given else {"content-type": "application/x-www-form-urlencoded"}
    )
    url = urlsplit(f"//{address}")
    assert url.netloc == "localhost:8000"
    body = given.get("-d", "").encode() or None
    return server.ask(url.path, body, method="POST" if body else "GET", **headers)


@pytest.mark.parametrize(("line", "shown"), list(requests()))
def test_a_request_is_answered_as_shown(served, line, shown):
    answer = asked(served, line)
    assert answer.status == 200
    whole, same = shown.removesuffix("…"), NUMBER.sub("#", answer.body.decode())
    whole = re.sub(r"-?#$", "", NUMBER.sub("#", whole))
    assert same.replace("-#", "#").startswith(whole) if shown.endswith("…") else same == NUMBER.sub("#", shown)


@pytest.mark.parametrize("text", blocks("python"))
def test_a_client_runs(served, text):
    exec(compile(text.replace("localhost:8000", f"127.0.0.1:{served.port}"), "a snippet", "exec"), {})


def test_commands_are_those_of_the_command_line():
    command: Any = get_command(app)
    lines = [line for text in blocks("shell") for line in text.splitlines() if not line.startswith("curl ")]
    unit = configparser.ConfigParser(strict=False)
    unit.read_string(blocks("ini")[0])
    for line in (*lines, unit["Service"]["ExecStart"].removeprefix("/opt/vitrify/bin/")):
        name, verb, *words = shlex.split(line)
        assert (name, verb) == ("vitrify", "serve")
        command.commands["serve"].make_context("serve", words)


def test_the_file_of_models_is_read(tmp_path):
    (tmp_path / "serve.toml").write_text(blocks("toml")[0])
    assert [each.name for each in read_wanted([str(tmp_path / "serve.toml")])] == ["minilm", "smollm2", "ranker"]


def test_the_limits_are_those_of_the_code():
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| ([\d,]+) \|", PAGE, re.MULTILINE))
    assert rows == {name: f"{value:,.0f}" for name, value in vars(Limits()).items()}
