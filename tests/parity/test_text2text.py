"""text2text-generation, summarization and translation against transformers 4.57.3: goldens of four kinds of model."""

import json
import logging
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from tests.goldens.make_text2text import CALLS, GOLDENS, TEXTS, make_checkpoint
from tests.runtime.generation.torch_decoding import TorchSeq2SeqDecoding
from vitrify.export.processors.tokenizer import load_tokenizer, write_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.call import generate_rows
from vitrify.runtime.generation.prompts import rows_of
from vitrify.runtime.graphs.families import FAMILIES
from vitrify.runtime.pipelines.text2text import (
    ReturnType,
    SummarizationPipeline,
    Text2TextGenerationPipeline,
    TranslationPipeline,
)
from vitrify.runtime.processing.text.tokenizer import Tokenizer

GOLDEN = json.loads(GOLDENS.read_text(encoding="utf-8"))["types"]
PIPELINES = {
    "text2text-generation": Text2TextGenerationPipeline,
    "summarization": SummarizationPipeline,
    "translation": TranslationPipeline,
}
GERMAN = {"src_lang": "en_XX", "tgt_lang": "de_DE"}
SHORT = {"max_new_tokens": 4}


class TorchSeq2SeqBundle:
    """An encoder-decoder in PyTorch as a loaded bundle; it remembers the prompts and the arguments of each batch."""

    def __init__(self, folder: Any, bundle: Any) -> None:
        self.name, self.profile = folder.name, SimpleNamespace(name="cpu-fp32", precision="fp32")
        self.bundle = SimpleNamespace(topology=FAMILIES["encoder-decoder"])
        self.batches: list[Any] = []
        self._folder, self._bundle = folder, bundle

    @cached_property
    def _model(self) -> Any:
        return transformers.AutoModelForSeq2SeqLM.from_pretrained(self._folder).eval()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_folder(self._bundle)

    @cached_property
    def config(self) -> Any:
        return json.loads((self._folder / "config.json").read_text())

    @cached_property
    def generation_config(self) -> Any:
        return json.loads((self._folder / "generation_config.json").read_text())

    def decoding(self, *, input_ids: Any, attention_mask: Any) -> TorchSeq2SeqDecoding:
        return TorchSeq2SeqDecoding(self._model, rows_of(input_ids, attention_mask))

    def generate_rows(self, prompts: Any, given: Any) -> Any:
        self.batches.append((prompts, given))
        return generate_rows(self, prompts, given)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Return the folders of each kind of model, and the fingerprints of their weights."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("text2text")
    made = {name: make_checkpoint(name, root / name) for name in CALLS}
    for name in CALLS:
        (root / f"{name}-bundle").mkdir()
        write_tokenizer(load_tokenizer(root / name), root / f"{name}-bundle")
    return root, made


@pytest.fixture
def bundle(checkpoints):
    root, _ = checkpoints
    return lambda name: TorchSeq2SeqBundle(root / name, root / f"{name}-bundle")


def made(bundle, task="text2text-generation", **options):
    return PIPELINES[task.split("_")[0]](bundle, task=task, **options)


@pytest.mark.parametrize("name", CALLS)
def test_the_checkpoint_is_the_one_that_the_goldens_were_made_from(name, checkpoints):
    drift = "the tiny checkpoints changed: make the goldens again (tests/goldens/make_text2text.py)"
    assert checkpoints[1][name] == pytest.approx(GOLDEN[name]["weights"], rel=1e-4), drift


@pytest.mark.parametrize(
    ("name", "index"), [(name, index) for name, row in GOLDEN.items() for index in range(len(row["calls"]))]
)
def test_answers_are_golden(name, index, bundle, caplog):
    golden = GOLDEN[name]["calls"][index]
    pipe = made(bundle(name), golden["task"], **golden["made"])
    with caplog.at_level(logging.WARNING, "vitrify"):
        assert pipe(golden["inputs"], **golden["options"]) == golden["result"]
    lengths = [record for record in caplog.records if record.module == "text2text" and "tokens" in record.message]
    if name != "mbart":  # 4.57.3 warns of a max_length of 20 that nobody said
        assert len(lengths) == golden["warnings"]


def test_goldens_have_what_they_are_to_test():
    calls = [call for row in GOLDEN.values() for call in row["calls"]]
    results = [call["result"] for call in calls]
    assert len({json.dumps(result) for result in results}) > 25
    assert {call["warnings"] for call in calls} >= {0, 1}
    assert any(isinstance(result[0], list) for result in results)
    keys = {key for result in results for record in result if isinstance(record, dict) for key in record}
    assert keys == {
        "generated_text",
        "generated_token_ids",
        "summary_text",
        "translation_text",
        "translation_token_ids",
    }


def test_a_list_gives_a_record_a_text_and_an_iterator_lists(bundle):
    pipe = made(bundle("t5"), **SHORT)
    alone = [pipe(text) for text in TEXTS]
    assert all(len(result) == 1 for result in alone)
    assert pipe(TEXTS) == pipe(tuple(TEXTS)) == [result[0] for result in alone]
    assert list(pipe(iter(TEXTS), batch_size=2)) == alone
    assert pipe([]) == []


def test_the_prefix_of_the_task_stands_before_every_text(bundle):
    loaded = bundle("t5")
    made(loaded, "summarization", **SHORT)("One day")
    ids, given = loaded.batches[0]
    assert ids[0].tolist() == loaded.tokenizer.encode("summarize: One day")
    assert (given["no_repeat_ngram_size"], given["length_penalty"], given["num_beams"]) == (3, 2.0, 4)


def test_what_is_asked_wins_over_what_the_checkpoint_says_of_the_task(bundle):
    loaded = bundle("t5")
    made(loaded, "summarization", no_repeat_ngram_size=2)("One day", length_penalty=0.5, max_length=5)
    given = loaded.batches[0][1]
    assert (given["no_repeat_ngram_size"], given["length_penalty"], given["max_length"]) == (2, 0.5, 5)
    assert "max_new_tokens" not in given
    made(loaded, "summarization")("One day", generation_config={"max_new_tokens": 3})
    assert "no_repeat_ngram_size" not in loaded.batches[1][1]


def test_the_model_says_its_length_but_not_its_beams(bundle):
    loaded = bundle("bart")
    pipe = made(loaded, "summarization")
    pipe("One day")
    pipe("One day", num_beams=3)
    assert [given["num_beams"] for _, given in loaded.batches] == [4, 3]
    assert loaded.generation_config["num_beams"] == 2
    assert all(given["max_length"] == 14 and "max_new_tokens" not in given for _, given in loaded.batches)


def test_a_stop_sequence_ends_at_its_first_token(bundle, caplog):
    loaded = bundle("t5")
    pipe = made(loaded, num_beams=1, max_new_tokens=8, return_tensors=True)
    free = pipe("One day")[0]["generated_token_ids"]
    word = loaded.tokenizer.decode(free[3:4])
    expected = loaded.tokenizer.encode(f"{word} the", add_special_tokens=False)[0]
    stopped = pipe("One day", stop_sequence=f"{word} the")[0]["generated_token_ids"]
    assert loaded.batches[1][1]["eos_token_id"] == expected
    assert "first of them" in caplog.text
    assert stopped == (free[: free.index(expected) + 1] if expected in free else free)


@pytest.mark.parametrize("kind", ["tensors", ReturnType.TENSORS, 0, SimpleNamespace(name="TENSORS")])
def test_the_return_type_wins_over_return_tensors(kind, bundle):
    record = made(bundle("t5"), **SHORT)("One day", return_type=kind, return_tensors=False)[0]
    assert list(record) == ["generated_token_ids"]


def test_a_translation_begins_with_its_language_and_its_text_is_marked(bundle, checkpoints):
    loaded = bundle("mbart")
    theirs = load_tokenizer(checkpoints[0] / "mbart")
    expected = theirs._build_translation_inputs("One day", return_tensors=None, **GERMAN)
    record = made(loaded, "translation", return_tensors=True, **SHORT)("One day", **GERMAN)[0]
    assert loaded.batches[0][0][0].tolist() == expected["input_ids"]
    assert record["translation_token_ids"][1] == expected["forced_bos_token_id"]


def test_the_task_names_the_languages_unless_an_argument_does(bundle):
    loaded = bundle("mbart")
    pipe = made(loaded, "translation_xx_to_yy", **SHORT)
    with pytest.raises(UsageError, match=r"(src|tgt)_lang='(xx|yy)'; this model knows .*ar_AR"):
        pipe("One day")
    pipe("One day", **GERMAN)
    assert loaded.batches[0][1]["forced_bos_token_id"] == loaded.tokenizer.languages.codes["de_DE"]


@pytest.mark.parametrize(
    ("name", "task", "inputs", "options", "message"),
    [
        ("mbart", "translation", "One day", {}, "src_lang"),
        ("mbart", "translation", "One day", {"src_lang": "en_XX"}, "tgt_lang"),
        ("t5", "text2text-generation", [["One", "day"]], {}, "expects a text"),
        ("t5", "text2text-generation", "One day", {"src_lang": "en"}, "unknown argument 'src_lang'"),
        ("t5", "text2text-generation", "One day", {"stop_sequence": ""}, "stop_sequence"),
        ("t5", "text2text-generation", "One day", {"return_type": "both"}, "TENSORS, TEXT"),
        ("t5", "summarization", 3, {}, "expects a text"),
    ],
)
def test_what_cannot_be_right_is_refused(name, task, inputs, options, message, bundle):
    with pytest.raises(UsageError, match=message):
        made(bundle(name), task)(inputs, **options)


def test_a_second_text_by_position_is_not_dropped(bundle):
    with pytest.raises(UsageError, match="0 arguments by position"):
        made(bundle("t5"))("One day", "Two days")


def test_a_summary_that_no_length_fits_is_logged(bundle, caplog):
    made(bundle("bart"), "summarization")("One day", min_length=9, max_length=7)
    assert "min_length=9 is more than max_length=7" in caplog.text
