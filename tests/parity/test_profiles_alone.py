"""Every profile by itself: a bundle that has no other one verifies and runs all of its tasks, whatever its family."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

import vitrify
from tests.checkpoints import make_checkpoint
from tests.images import picture
from tests.parity.speech_subjects import speech
from vitrify.runtime.bundle.manifest import Bundle, write_manifest
from vitrify.runtime.tasks import find_task
from vitrify.runtime.verification.verify import verify_bundle

# A checkpoint of each family; the quick ones in every run, half a minute of tracing each of the others.
FAMILIES = [
    ("vit", "base"),
    ("llama", "causal-lm"),
    *(
        pytest.param(*pair, marks=pytest.mark.slow)
        for pair in (
            ("bert", "base"),
            ("bert", "sequence-classification"),
            ("wav2vec2", "ctc"),
            ("bloom", "causal-lm"),
            ("t5", "seq2seq-lm"),
            ("moonshine", "speech-seq2seq"),
            ("whisper", "speech-seq2seq"),
            ("vit-gpt2", "image-to-text"),
        )
    ),
]
INPUTS = {"text": "the small dog", "image": picture(), "audio": speech(0.9)}
WRITES = {"text-generation", "text2text-generation", "summarization", "translation", "image-to-text"}


def arguments_of(task: str) -> dict:
    if task in WRITES:
        return {"max_new_tokens": 4}
    return {"candidate_labels": ["a", "b"]} if task == "zero-shot-classification" else {}


def alone(bundle: Path, name: str, folder: Path) -> Path:
    """Copy a bundle with one of its profiles, as an export of that one alone writes it."""
    found = Bundle.read(bundle)
    build = found.builds[name]
    shutil.copytree(bundle, folder)
    kept = {file for graph in build.graphs for file in found.graph_files(name, graph)}
    for path in (folder / "onnx").iterdir():
        if f"onnx/{path.name}" not in kept:
            path.unlink()
    graphs = {graph: found.graphs[graph] for graph in found.graphs if graph in build.graphs}
    write_manifest(dataclasses.replace(found, builds={name: build}, graphs=graphs), folder)
    return folder


@pytest.mark.parametrize(("model_type", "head"), FAMILIES)
def test_every_profile_of_a_family_runs_by_itself(model_type: str, head: str, tmp_path: Path):
    torch.set_num_threads(1)
    checkpoint = make_checkpoint(model_type, head, tmp_path / "checkpoint")
    report = vitrify.export_bundle(checkpoint, tmp_path / "bundle", profiles="auto")
    assert "cpu-fp32" in report.profiles
    for name in report.profiles:
        folder = alone(tmp_path / "bundle", name, tmp_path / name)
        assert verify_bundle(folder).passed, name
        for task in report.bundle.tasks:
            assert_runs(folder, task, name)
        shutil.rmtree(folder)


def assert_runs(folder: Path, task: str, profile: str) -> None:
    pipe = vitrify.pipeline(task, folder)
    assert pipe.profile == profile
    given = INPUTS[find_task(task).inputs]
    single = pipe(given, **arguments_of(task))
    assert json.loads(json.dumps(single))
    assert len(pipe([given, given], batch_size=2, **arguments_of(task))) == 2


def test_a_profile_alone_is_what_its_export_writes(tmp_path: Path):
    """`alone` stands for an export, which takes longer: what both have is the same."""
    checkpoint = make_checkpoint("llama", "causal-lm", tmp_path / "checkpoint")
    both = vitrify.export_bundle(checkpoint, tmp_path / "both", profiles=["cpu-fp32", "cpu-w8"])
    own = vitrify.export_bundle(checkpoint, tmp_path / "own", profiles=["cpu-w8"])
    cut = Bundle.read(alone(both.folder, "cpu-w8", tmp_path / "cut"))
    assert list(cut.graphs) == list(own.bundle.graphs) == ["in_place"]
    assert cut.builds == own.bundle.builds
    assert cut.graphs == own.bundle.graphs
    ids = [[40, 41, 42, 43]]
    assert vitrify.load_bundle(own.folder).generate(ids, max_new_tokens=6).shape == (1, 10)
