"""A bundle goes to a repository of the loopback Hub and runs from there by its id."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.conftest import SECONDS
from tests.hub_clients import client_of
from tests.hub_server import Repository, serving
from vitrify.runtime.bundle.manifest import Bundle

OWNERS = {"me": "secret", "them": "hidden"}
# Pushes each row of argv[1], (folder, repository, options); prints what was done, or the error's code and sentence.
PUSHES = """
import dataclasses, json, sys
from vitrify import push_bundle
from vitrify.runtime.errors import VitrifyError
for folder, repository, options in json.loads(sys.argv[1]):
    try:
        print(json.dumps(vars(push_bundle(folder, repository, **options))))
    except VitrifyError as error:
        print(json.dumps({"code": error.exit_code, "said": str(error)}))
"""
ANSWERS = "import sys; from vitrify import pipeline; print(pipeline('text-classification', sys.argv[1])('a text'))"


@pytest.fixture
def hub():
    with serving({}) as served:
        served.owners.update(OWNERS)
        yield served


def environment(hub, folder, token="secret"):
    made = {**client_of(hub.url, folder).env, "HOME": str(folder)}
    return made | ({"HF_TOKEN": token} if token else {})


def run(env, program, *words):
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=env, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def push(env, *rows):
    rows = [(str(row[0]), row[1], row[2] if len(row) > 2 else {}) for row in rows]
    return [json.loads(line) for line in run(env, PUSHES, json.dumps(rows)).stdout.splitlines()]


def test_what_is_pushed_runs_by_its_id(hub, bundle, tmp_path):
    env = environment(hub, tmp_path)
    (bundle / "notes.txt").write_text("mine")
    (bundle / ".cache").mkdir()
    (bundle / ".cache" / "download").write_text("x")
    (done,) = push(env, (bundle, "me/tiny"))
    newest = hub.repositories["me/tiny"][-1]
    listed = Bundle.read(bundle).files
    assert newest.token == "secret"
    assert newest.files.keys() == {
        *listed,
        *("bundle.json", "README.md", "reports/parity.json", ".gitattributes"),
    }
    assert done["files"].keys() == newest.files.keys() - {".gitattributes"}
    assert done["url"].endswith(newest.commit)
    card = newest.files["README.md"].decode()
    assert 'pipeline("text-classification", "me/tiny")' in card
    assert "OWNER/NAME" not in card
    assert "OWNER/NAME" in (bundle / "README.md").read_text()
    assert run(env, ANSWERS, "me/tiny").stdout == run(env, ANSWERS, str(bundle)).stdout


def test_a_push_that_was_stopped_goes_on_where_it_was(hub, bundle, tmp_path):
    hub.most_uploads = 1
    (stopped,) = push(environment(hub, tmp_path), (bundle, "me/tiny"))
    assert stopped["code"] in {2, 8}
    assert hub.repositories["me/tiny"][-1].files.keys() == {".gitattributes"}
    hub.most_uploads = None  # and the server fails for a file that is sent again
    (done,) = push(environment(hub, tmp_path), (bundle, "me/tiny"))
    assert "bundle.json" in hub.repositories["me/tiny"][-1].files
    assert len(hub.uploads) == sum(name.endswith((".onnx", "_data", ".safetensors")) for name in done["files"])


def test_a_second_push_replaces_the_bundle_and_keeps_what_is_not_of_it(hub, bundle, tmp_path):
    env = environment(hub, tmp_path)
    push(env, (bundle, "me/tiny", {"public": True}))
    first = hub.repositories["me/tiny"][-1]
    hub.repositories["me/tiny"].append(
        Repository(
            {
                **first.files,
                "picture.png": b"mine",
                "onnx/model_fp16.onnx": b"old",
                "bundle.json": json.dumps({"files": {"onnx/model_fp16.onnx": "0" * 64}}).encode(),
            },
            first.large,
        )
    )
    again, unasked = push(env, (bundle, "me/tiny", {"public": True, "revision": "next"}), (bundle, "me/tiny"))
    newest = hub.repositories["me/tiny"][-1]
    assert again["removed"] == ["onnx/model_fp16.onnx"]
    assert newest.branches == ("next",)
    assert newest.files == {**first.files, "picture.png": b"mine"}
    assert unasked["code"] == 2
    assert "is public: pass --public" in unasked["said"]


def test_what_cannot_be_pushed_is_said_in_one_sentence(hub, bundle, tmp_path):
    env = environment(hub, tmp_path)
    hub.repositories["me/other"] = [Repository({"model.safetensors": b"x"}, token="secret")]
    hub.repositories["me/hidden"] = [Repository({}, token="another")]
    leaking = shutil.copytree(bundle, tmp_path / "leaking")
    (leaking / "README.md").write_text(f"---\ntags: []\n---\nexported from {tmp_path}/checkpoint")
    unlicensed = shutil.copytree(bundle, tmp_path / "unlicensed")
    (unlicensed / "README.md").write_text("---\nlicense: unheard-of\n---\n")
    changed = shutil.copytree(bundle, tmp_path / "changed")
    (changed / "config.json").write_text("{}")
    linked = shutil.copytree(bundle, tmp_path / "linked")
    (linked / "README.md").unlink()
    (linked / "README.md").symlink_to("/etc/hostname")
    rows = [
        ((bundle, "tiny"), 2, "expected OWNER/NAME"),
        ((bundle, "me/a--b"), 2, "not a repository's name"),
        ((tmp_path, "me/tiny"), 2, "no bundle"),
        ((bundle, "me/other"), 2, "not a bundle (it contains model.safetensors)"),
        ((bundle, "me/hidden"), 2, "choose another name"),
        ((bundle, "them/tiny"), 2, "no write access"),
        ((unlicensed, "me/tiny"), 2, "license must be known"),
        ((leaking, "me/tiny"), 2, "'README.md' contains a path of this machine"),
        ((changed, "me/tiny"), 7, "config.json"),
        ((linked, "me/tiny"), 7, "is a link"),
    ]
    said = push(env, *(row[0] for row in rows))
    for (row, code, words), answer in zip(rows, said, strict=True):
        assert (answer.get("code"), words in answer.get("said", "")) == (code, True), (row, answer)
        assert "\n" not in answer["said"]
    assert "model.safetensors" in hub.repositories["me/other"][-1].files


@pytest.mark.parametrize(
    ("token", "more", "code", "words"),
    [
        ("", {}, 2, "not logged in"),
        ("wrong", {}, 2, "log in again"),
        ("secret", {"HF_HUB_OFFLINE": "1"}, 8, "HF_HUB_OFFLINE"),
        ("secret", {"HF_ENDPOINT": "http://127.0.0.1:9"}, 8, "run again"),
    ],
)
def test_who_cannot_push_is_told_why(hub, bundle, tmp_path, token, more, code, words):
    (answer,) = push({**environment(hub, tmp_path, token), **more}, (bundle, "me/tiny"))
    assert answer["code"] == code
    assert words in answer["said"]
    assert not hub.repositories


def test_the_command_lists_what_it_would_send_and_sends_nothing(vitrify, hub, bundle, tmp_path):
    (bundle / "README.md").unlink()  # as in bundles of earlier versions
    done = vitrify("push", bundle, "me/tiny", "--dry-run", env=environment(hub, tmp_path, ""))
    assert done.code == 0, done.err
    rows = [line.split()[-1] for line in done.out.splitlines()[1:]]
    assert sorted(rows) == rows
    assert {"bundle.json", "README.md", "onnx/model.onnx_data"} <= set(rows)
    assert not hub.requests
    assert not (bundle / "README.md").exists()


def test_the_command_says_where_the_bundle_is(vitrify, hub, bundle, tmp_path):
    done = vitrify("push", bundle, "me/tiny", "--json", env=environment(hub, tmp_path))
    assert done.code == 0, done.err
    assert done.document["repository"] == "me/tiny"
    assert done.document["url"].startswith(hub.url)
    assert (bundle / "README.md").stat().st_size != done.document["files"]["README.md"]
