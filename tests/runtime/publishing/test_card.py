"""The model card: what the Hub reads of it, what people read, and what of the checkpoint goes along."""

import ast
import dataclasses
import json
import re
import shlex
from typing import Any

import pytest
import yaml
from typer.main import get_command

from vitrify.cli import app
from vitrify.runtime.bundle.copying import copy_bundle
from vitrify.runtime.bundle.manifest import Bundle, add_files
from vitrify.runtime.publishing.card import card_text
from vitrify.runtime.publishing.examples import example_of
from vitrify.runtime.tasks import TASKS, find_task
from vitrify.runtime.verification.verify import verify_bundle

CARD = """---
license: other
license_name: its-own
license_link: LICENSE
language: [en, no]
datasets: wikipedia
tags: [safetensors, transformers, sentiment]
pipeline_tag: zero-shot-classification
base_model: bert-base-uncased
model-index: [{name: x}]
---
# Tiny
"""


def with_documents(folder, card=CARD, **more):
    """Give a bundle what an export takes over from a checkpoint."""
    names = {"source/README.md": card, **more}
    (folder / "source").mkdir(exist_ok=True)
    for name, text in names.items():
        (folder / name).write_text(text)
    return add_files(Bundle.read(folder), names)


def head_of(bundle):
    return yaml.safe_load(card_text(bundle).split("---\n")[1])


def test_the_head_has_what_the_checkpoints_card_says_and_what_the_bundle_is(bundle):
    made = with_documents(bundle, LICENSE="terms", NOTICE="by us")
    assert head_of(made) == {
        "library_name": "vitrify",
        "license": "other",
        "license_name": "its-own",
        "license_link": "LICENSE",
        "language": ["en", "no"],
        "datasets": "wikipedia",
        "pipeline_tag": "zero-shot-classification",
        "tags": ["onnx", "transformers.js", "sentiment"],
        "base_model": "bert-base-uncased",
    }
    assert "[LICENSE](LICENSE), [NOTICE](NOTICE)" in card_text(made)
    assert "(source/README.md)" in card_text(made)


def test_a_checkpoint_of_the_hub_is_the_base_model(bundle):
    made = with_documents(bundle)
    source = dataclasses.replace(made.source, id="owner/tiny", revision="a" * 40)
    head = head_of(dataclasses.replace(made, source=source))
    assert (head["base_model"], head["base_model_relation"]) == ("owner/tiny", "quantized")


@pytest.mark.parametrize(
    "card",
    [
        "# no head",
        "---\nlicense: [\n---\n",
        "---\n- a list\n---\n",
        "---\n" + "[" * 5000 + "\n---\n",
        "---\nlicense: {a: b}\ntags: 7\nlanguage: [1, {}]\npipeline_tag: [x]\n---\n",
        "---\npipeline_tag: no-such-task\nlicense_link: ../../etc/passwd\n---\n",
        "---\npipeline_tag: summarization\n---\n",
        "\0\x1f",
    ],
)
def test_a_card_of_any_content_gives_a_head_that_the_hub_reads(bundle, card):
    head = head_of(with_documents(bundle, card))
    assert head == {
        "library_name": "vitrify",
        "pipeline_tag": "text-classification",
        "tags": ["onnx", "transformers.js"],
    }


def test_the_language_norwegian_is_no_boolean(bundle):
    assert head_of(with_documents(bundle, "---\nlanguage: no\n---\n"))["language"] == "no"


def test_the_profiles_have_their_sizes_and_errors(bundle):
    made = Bundle.read(bundle)
    report = made.parity_report()
    rows = dict(re.findall(r"^\| `([\w-]+)` (.*) \|$", card_text(made), re.MULTILINE))
    assert rows.keys() == made.builds.keys() == report.keys()
    for name, row in rows.items():
        worst = report[name]["worst"]
        assert row.split(" | ")[-3:] == [f"{worst[key]:.1e}" for key in ("difference", "limit")] + [
            f"{report[name]['drift']:.1e}"
        ]
        assert re.search(r"\| [\d.]+ kB \|", row)


@pytest.mark.parametrize("report", ["", "[]", '{"cpu-fp32": 3}', '{"cpu-fp32": {"worst": {"difference": "x"}}}', "["])
def test_without_a_report_no_error_is_claimed(bundle, report):
    (bundle / "reports" / "parity.json").write_text(report)
    assert card_text(Bundle.read(bundle)).count("not recorded") == 3 * len(Bundle.read(bundle).builds)


@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder-decoder"])
def test_the_other_tools_are_named_where_they_run_the_bundle(unpacked, family):
    text = card_text(Bundle.read(unpacked(family)))
    assert ("optimum.onnxruntime" in text) == (family != "encoder-decoder")
    assert ("@huggingface/transformers" in text) == (family != "encoder-decoder")


def test_the_card_is_its_owners_to_edit_and_travels(bundle, tmp_path):
    with_documents(bundle, LICENSE="terms")
    (bundle / "README.md").write_text("mine")
    (bundle / "LICENSE-MODEL").write_text("added by hand")
    (bundle / ".gitattributes").write_text("*.onnx filter=lfs")
    assert verify_bundle(bundle).passed
    there = copy_bundle(Bundle.read(bundle), tmp_path / "copy")
    assert (there / "README.md").read_text() == "mine"
    assert (there / "LICENSE-MODEL").read_text() == "added by hand"
    assert not (there / ".gitattributes").exists()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_example_of_every_task_is_a_call_and_a_command(bundle, task):
    example = example_of(Bundle.read(bundle), task)
    ast.parse(f"pipe({example.python})")
    words = shlex.split(example.words)
    group: Any = get_command(app)
    group.commands["run"].make_context("run", [task.name, "--model", "x", *words])
    assert words[0] == example.value or json.loads(words[0]) == example.value
    assert json.loads(f"[{example.javascript}]")


def test_the_examples_of_a_classifier_run(bundle):
    from vitrify import pipeline

    for name in Bundle.read(bundle).tasks:
        example = example_of(Bundle.read(bundle), find_task(name))
        assert eval(f"pipe({example.python})", {"pipe": pipeline(name, bundle)})


def test_a_bundle_that_serves_no_task_has_a_card(bundle):
    silent = dataclasses.replace(Bundle.read(bundle), tasks=())
    assert "pipeline_tag" not in head_of(silent)
    assert 'load_bundle("bundle")' in card_text(silent)
    assert "vitrify run" not in card_text(silent)
