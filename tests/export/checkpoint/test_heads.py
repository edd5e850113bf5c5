"""Which head serves a task: the one that the checkpoint's class has, of all that the task knows."""

from types import SimpleNamespace

import pytest
import transformers

from tests.checkpoints import GENERATIVE_HEADS, GENERATIVE_PAIRS, GENERATORS, HEADS, PAIRS, make_checkpoint
from vitrify.export.checkpoint.heads import choose_head, loader_of
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.tasks import TASKS

SPEECH = "automatic-speech-recognition"
SPEAKING = [pair for pair in GENERATIVE_PAIRS if pair[1] in {"ctc", "speech-seq2seq"}]


def config(architecture, model_type, **more):
    return SimpleNamespace(architectures=[architecture] if architecture else None, model_type=model_type, **more)


def cases():
    """Yield every tiny checkpoint's type, class and head with every name of every task that the head serves."""
    for name, head in (*PAIRS, *GENERATIVE_PAIRS):
        row = GENERATORS.get(name) if head in GENERATIVE_HEADS else None
        model_type = (row and row.model_type) or name
        architecture = (HEADS | GENERATIVE_HEADS)[head].architectures[model_type]
        for task in TASKS:
            if head in task.heads:
                yield from ((model_type, architecture, head, called) for called in (task.name, *task.aliases))


@pytest.mark.parametrize(("model_type", "architecture", "head", "task"), sorted(set(cases())))
def test_every_head_of_a_task_is_tried(model_type, architecture, head, task):
    assert choose_head(config(architecture, model_type), task).name == head


@pytest.mark.parametrize(("model_type", "head"), SPEAKING)
def test_speech_checkpoints_open_by_their_task(model_type, head, tmp_path):
    checkpoint = open_checkpoint(make_checkpoint(model_type, head, tmp_path), task=SPEECH)
    assert (checkpoint.head.name, checkpoint.kinds) == (head, ("audio",))


@pytest.mark.parametrize(
    ("architecture", "model_type", "head"),
    [("Emu3ForCausalLM", "emu3_text_model", "causal-lm"), ("LlamaForCausalLM", "internlm3", "causal-lm")],
)
def test_a_class_counts_under_any_type(architecture, model_type, head):
    assert choose_head(config(architecture, model_type), "text-generation").name == head


def test_what_the_auto_class_does_not_know_is_loaded_by_its_own_class():
    text = config("Emu3ForCausalLM", "emu3_text_model")
    assert loader_of(choose_head(text, None), text) is transformers.Emu3ForCausalLM
    known = config("LlamaForCausalLM", "llama")
    assert loader_of(choose_head(known, None), known) is transformers.AutoModelForCausalLM


@pytest.mark.parametrize(
    ("given", "head"),
    [
        (config(None, "whisper"), "speech-seq2seq"),
        (config(None, "wav2vec2"), "ctc"),
        (config("MyModel", "mine", auto_map={"AutoModelForSpeechSeq2Seq": "my--model.MyModel"}), "speech-seq2seq"),
        (config("MyModel", "mine", auto_map={"AutoModelForCTC": "my--model.MyModel"}), "ctc"),
    ],
)
def test_without_a_known_class_the_type_or_its_own_code_says_which(given, head):
    assert choose_head(given, SPEECH).name == head


@pytest.mark.parametrize(
    ("architecture", "model_type", "task", "served"),
    [
        ("WhisperForConditionalGeneration", "whisper", "text-classification", SPEECH),
        ("Wav2Vec2ForCTC", "wav2vec2", "fill-mask", SPEECH),
        ("ViTForImageClassification", "vit", "ner", "image-classification, image-feature-extraction"),
        ("VisionEncoderDecoderModel", "vision-encoder-decoder", SPEECH, "image-to-text, image-feature-extraction"),
        ("BertForMaskedLM", "bert", SPEECH, "fill-mask, feature-extraction, text-embedding"),
        ("LlamaForCausalLM", "llama", "fill-mask", "text-generation, feature-extraction, text-embedding"),
    ],
)
def test_a_refusal_names_what_is_served(architecture, model_type, task, served):
    with pytest.raises(UsageError) as caught:
        choose_head(config(architecture, model_type), task)
    assert f"does not support task '{task}' (supported: {served})" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architectures", "BertModel"),
        ("architectures", 3),
        ("architectures", [None]),
        ("auto_map", 3),
        ("auto_map", ["a"]),
    ],
)
def test_a_field_of_the_wrong_type_is_named(field, value):
    broken = SimpleNamespace(**{"architectures": ["MyModel"], "model_type": "mine", field: value})
    with pytest.raises(IntegrityError, match=f"config.json: '{field}' must be"):
        choose_head(broken, SPEECH)


def test_a_class_that_serves_nothing_is_not_supported():
    with pytest.raises(UnsupportedError, match="the head Wav2Vec2ForSequenceClassification is not supported"):
        choose_head(config("Wav2Vec2ForSequenceClassification", "wav2vec2"), SPEECH)
