"""docs/tasks.md is that of the pipelines: every argument that a task accepts and no other; its examples print that."""

import re

import pytest
import soundfile

from tests.images import picture
from tests.once import bundle_once
from tests.sentence_checkpoints import make_ranker
from tests.sounds import sound
from tests.task_examples import assert_printed, printed_by
from tests.tasks_page import PAGE, SPEECH, TEXT, page, parameters_of
from vitrify.runtime.errors import UnsupportedError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.pipelines.classes import pipeline_class
from vitrify.runtime.pipelines.shared.generation import GENERATION_NAMES
from vitrify.runtime.pipelines.shared.text import TokenizerParameters
from vitrify.runtime.pipelines.speech.ctc import CTCRecognitionParameters
from vitrify.runtime.pipelines.speech.whisper import WhisperParameters
from vitrify.runtime.tasks import TASKS

ARGUMENT = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
TINY = {task.name: TEXT["tasks"][task.name]["checkpoint"] for task in TASKS if "checkpoint" in TEXT["tasks"][task.name]}
# Bundles that tests/parity exports in every run; the others are exported for their example alone.
SHARED = {"text-classification", "token-classification", "fill-mask", "zero-shot-classification"}
MARKED = [pytest.param(name, marks=() if name in SHARED else pytest.mark.slow) for name in TINY]
by_name = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def sections():
    return dict(part.split("\n", 1) for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:])


def test_the_page_is_that_of_the_pipelines():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.tasks_page writes it again"


@by_name
def test_a_section_names_what_its_task_accepts_and_nothing_else(task):
    found = sections()
    named = set(ARGUMENT.findall(found[task.name]))
    for title in ("Arguments of the tokenizer", "Arguments of generation"):
        if f"Also the [{title[0].lower()}{title[1:]}]" in found[task.name]:
            named |= set(ARGUMENT.findall(found[title]))
    extra = {*WhisperParameters.names(), *CTCRecognitionParameters.names()} if task.name == SPEECH else set()
    assert named - set(TEXT["unsupported"]) == {*parameters_of(task).names(), *extra, *_call(task)} - set(
        TEXT["unsupported"]
    )


def _call(task):
    """Return the arguments of one call of generation, which speech recognition has not, where the page lists them."""
    return GENERATION_NAMES - set(GenerationConfig.names()) if task.name == SPEECH else set()


def test_every_argument_of_generation_is_listed_once():
    assert set(TEXT["generation"]).isdisjoint(TEXT["unsupported"])
    assert {*TEXT["generation"], *TEXT["unsupported"]} == GENERATION_NAMES


@pytest.mark.parametrize(("name", "value"), TEXT["unsupported"].items())
def test_what_the_page_calls_rejected_is(name, value):
    with pytest.raises(UnsupportedError):
        GenerationConfig(**{name: value}).check()


def test_no_meaning_is_left_over():
    used = {name for task in TASKS for name in ARGUMENT.findall(sections()[task.name])}
    assert set(TEXT["arguments"]) <= used | set(TokenizerParameters.names())
    assert set(TEXT["tasks"]) == {task.name for task in TASKS}
    assert all(set(row.get("arguments", ())) <= used for row in TEXT["tasks"].values())


@by_name
def test_the_class_of_a_task_is_the_one_whose_arguments_are_listed(task):
    if task.name != SPEECH:
        assert pipeline_class(task).parameters is parameters_of(task)


def test_the_command_lists_the_tasks_of_the_page(vitrify):
    rows = vitrify("tasks", "--json").document["tasks"]
    listed = [f"| [`{row['task']}`](#{row['task']}) | {row['summary']} | `{row['default']}` |" for row in rows]
    assert [line for line in page().splitlines() if line.startswith("| [`")] == listed
    for row in rows:
        assert all(f"Alias: `{alias}`" in sections()[row["task"]] for alias in row["aliases"])


@pytest.mark.parametrize("name", MARKED)
def test_an_example_prints_what_the_page_shows(name, tmp_path, tmp_path_factory, monkeypatch):
    model_type, head = TINY[name]
    own = {"ranker": make_ranker}.get(model_type)
    bundle = bundle_once(tmp_path_factory, model_type, head, own)
    picture().save(tmp_path / "cat.png")
    soundfile.write(tmp_path / "speech.wav", sound(0.1), 16_000)
    monkeypatch.chdir(tmp_path)
    assert_printed(printed_by(TEXT["tasks"][name]["example"], bundle), TEXT["tasks"][name]["printed"])
