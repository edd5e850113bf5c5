"""`vitrify serve` itself: what it does not start with, what it makes of names and files, and how it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.refusals import assert_refused
from tests.serving.conftest import serving
from vitrify.cli import app
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError, UsageError
from vitrify.serving.models import Models, read_wanted
from vitrify.serving.running import Address

TEXT = "the quick brown fox"


@pytest.mark.parametrize("option", ["--timeout", "--drain", "--max-requests", "--max-tokens", "--max-body"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_options_that_cannot_be(option, value):
    command: Any = get_command(app)
    with pytest.raises(Exception, match=r"not|greater|valid") as raised:
        command.commands["serve"].make_context("serve", ["minilm", option, value])
    assert raised.value.exit_code == 2
    assert raised.value.param.opts == [option]


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        (Address(port=65_536), UsageError, "--port"),
        (Address(port=-1), UsageError, "--port"),
        (Address(host=" "), UsageError, "--host"),
        (Address(host="nowhere.invalid"), EnvironmentMissing, "--host"),
        (Address(host="a" * 64), EnvironmentMissing, "--host"),
        (Address(host="192.0.2.1"), EnvironmentMissing, "--host"),
        (Address(uds=Path("nowhere/socket")), EnvironmentMissing, "--uds"),
        (Address(uds=Path("a" * 200)), EnvironmentMissing, "--uds"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Address) else "",
)
def test_where_no_server_can_listen(address, error, said):
    with pytest.raises(error, match=said):
        address.bind()


def test_a_port_that_another_server_has_bound_but_not_yet_opened():
    with Address(port=0).bind() as first:
        address = Address(port=first.getsockname()[1])
        with address.bind() as second:
            address.listen(first)
            with pytest.raises(EnvironmentMissing, match="in use"):
                address.listen(second)


def test_a_unix_socket_is_taken_over_only_from_a_server_that_has_ended(tmp_path):
    address = Address(uds=tmp_path / "socket")
    with address.bind() as first:
        address.listen(first)
        with pytest.raises(EnvironmentMissing, match="in use"):
            address.bind()
    with address.bind() as second:
        address.listen(second)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(EnvironmentMissing, match="in use"):
        Address(uds=tmp_path / "file").bind()
    assert (tmp_path / "file").read_text() == "kept"


def test_a_port_that_is_in_use(vitrify, bundles, server):
    assert_refused(vitrify("serve", bundles["classifier"], "--port", server.port), 8, "--port", str(server.port))


def test_a_model_that_is_not_there(vitrify, tmp_path):
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    assert_refused(vitrify("serve", tmp_path / "nope", "--port", 0, env=offline), 2, "nope")


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_without_the_extra(vitrify, bundles, package):
    done = vitrify("serve", bundles["classifier"], before=f"import sys; sys.modules['{package}'] = None")
    assert_refused(done, 8, package, "pip install 'vitrify[serve]'")


def test_a_profile_that_is_not_there(bundles):
    with pytest.raises(UsageError, match="nope"):
        Models(read_wanted([f"a={bundles['classifier']}:nope"]))


def test_a_damaged_bundle(bundles, tmp_path):
    folder = shutil.copytree(bundles["classifier"], tmp_path / "damaged")
    graph = next(folder.rglob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    models = Models(read_wanted([str(folder)]))
    with pytest.raises(IntegrityError, match=graph.name):
        models.warm()
    models.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a=x", "a=y"], "two models are called 'a'"),
        (["one/a", "two/a"], "two models are called 'a'"),
        (["a b=x"], "letters, digits"),
        (["=x"], "letters, digits"),
        (["../x y"], "letters, digits"),
        ([""], "names no model"),
        (["a="], "names no model"),
        ([":cpu-w8"], "names no model"),
        (["nowhere.toml"], "cannot be read"),
    ],
)
def test_words_that_name_no_model(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        read_wanted(words)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no model"),
        (b"models = 3", "no model"),
        (b"[models]", "no model"),
        (b"[models.a", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[model.a]\nsource = 'x'", "'model'"),
        (b"port = 3\n[models.a]\nsource = 'x'", "'port'"),
        (b"[models.a]", "source"),
        (b"[models.a]\nsource = 3", "source"),
        (b"[models]\na = 'x'", "source"),
        (b"[models.a]\nsource = 'x'\nname = 'b'", "name"),
        (b"[models.a]\nsource = 'x'\nnope = 1", "nope"),
        (b"[models.a]\nsource = 'x'\nthreads = '2'", "threads"),
        (b"[models.a]\nsource = 'x'\nthreads = true", "threads"),
        (b"[models.'a b']\nsource = 'x'", "letters, digits"),
    ],
)
def test_a_file_of_models_that_is_wrong(tmp_path, content, said):
    path = tmp_path / "serve.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_wanted([str(path)])


def test_a_file_of_models_and_words_name_them(tmp_path):
    (tmp_path / "minilm").mkdir()
    path = tmp_path / "serve.toml"
    path.write_text(
        "[models.a]\nsource = 'minilm'\nthreads = 2\n"
        "[models.b]\nsource = 'org/id'\nprofile = 'cpu-int8'\nrevision = 'v1'"
    )
    found = read_wanted([str(path), f"c={tmp_path / 'minilm'}:cpu-w8", "org/other", str(tmp_path / "minilm")])
    assert [(each.name, each.source, each.profile, each.threads, each.revision) for each in found] == [
        ("a", str(tmp_path / "minilm"), None, 2, None),
        ("b", "org/id", "cpu-int8", None, "v1"),
        ("c", str(tmp_path / "minilm"), "cpu-w8", None, None),
        ("other", "org/other", None, None, None),
        ("minilm", str(tmp_path / "minilm"), None, None, None),
    ]


BODY = json.dumps({"inputs": TEXT}).encode()
HEAD = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY)


def begun(one):
    """Return a connection with a request that the server has begun to read."""
    connection = socket.create_connection(("127.0.0.1", one.port), timeout=60)
    connection.sendall(HEAD)
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    return connection


def test_sigterm_lets_requests_finish_and_ends_with_0(bundles, tmp_path):
    with serving(tmp_path, bundles["classifier"]) as one, begun(one) as connection:
        one.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        connection.sendall(BODY)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
        assert one.process.wait(60) == 0
        assert one.said() == ""


def test_ctrl_c_ends_it_too_and_a_second_signal_at_once(bundles, tmp_path):
    with serving(tmp_path, bundles["classifier"]) as one, begun(one) as connection:
        one.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            one.process.wait(1)
        asked = time.monotonic()
        assert one.end() == 0
        assert time.monotonic() - asked < 10  # a body may take 20 s
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
        assert "Traceback" not in one.said()
