"""One call on a bundle: what is whose argument, what a call may go on from, and the same on a bundle that is real."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from tests.checkpoints import make_checkpoint
from tests.runtime.generation.torch_bundle import LETTERS, Bundle, generated
from tests.runtime.generation.torch_decoding import (
    VOCABULARY,
    TorchDecoding,
    drawn_prompts,
    tiny_model,
)
from vitrify import export_bundle, load_bundle
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.call import generate_arrays, generate_rows
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.decoders.prefixes import Prefixes


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_turns_of_a_chat_run_only_what_is_new():
    bundle, forgetful = Bundle(), Bundle(reuse=False)
    first = drawn_prompts([12])[0]
    answer = generate_rows(bundle, [first], {}).sequences[0]
    assert bundle.opened[0].tokens == 12 + 7
    second = np.concatenate([answer, [5, 6, 7]])
    made = generate_rows(bundle, [second], {"output_logits": True})
    fresh = generate_rows(forgetful, [second], {"output_logits": True})
    assert made.sequences[0].tolist() == fresh.sequences[0].tolist()
    np.testing.assert_allclose(np.stack(made.logits), np.stack(fresh.logits), atol=1e-4)
    assert len(bundle.opened) == 1
    assert bundle.opened[0].tokens == 12 + 7 + 4 + 7  # the last token of the answer, and three more
    assert forgetful.opened[0].tokens == 23 + 7


def test_an_answer_asked_for_again_is_the_same_one():
    bundle = Bundle()
    prompt = drawn_prompts([12])
    options = {"prompt_lookup_num_tokens": 3}
    expected = generated(Bundle(reuse=False), prompt)
    assert [generated(bundle, prompt, **given) for given in ({}, options, {}, options)] == [expected] * 4
    assert len(bundle.opened) == 1


@pytest.mark.parametrize(
    ("lengths", "given"),
    [
        ([9, 9], {}),
        ([9], {"num_beams": 2}),
        ([9], {"num_return_sequences": 2, "do_sample": True, "seed": 0}),
    ],
    ids=str,
)
def test_several_rows_neither_keep_nor_go_on(lengths, given):
    bundle = Bundle()
    generated(bundle, drawn_prompts([9]))
    held = bundle.prefixes.held[0].tolist()
    prompts = drawn_prompts(lengths)
    assert generated(bundle, prompts, **given) == generated(Bundle(reuse=False), prompts, **given)
    assert [row.tolist() for row in bundle.prefixes.held] == [held]
    assert len(bundle.opened) == 2


def test_activations_in_eight_bits_do_not_go_on():
    bundle = Bundle()
    bundle.profile = SimpleNamespace(precision="int8")
    generated(bundle, drawn_prompts([9]))
    assert not bundle.prefixes.held


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_that_guesses_change_answers_of_int8_is_said(precision, caplog):
    bundle = Bundle()
    bundle.profile = SimpleNamespace(precision=precision)
    generated(bundle, drawn_prompts([9]), prompt_lookup_num_tokens=3)
    assert ("answers may differ" in caplog.text) == (precision == "int8")


def test_little_is_kept():
    bundle = Bundle()
    bundle.prefixes = Prefixes(shortest=1, most_bytes=20 * 4 * 4 * 8)
    generated(bundle, drawn_prompts([9]))  # 16 tokens of 4 heads of 8 values of 4 bytes
    assert len(bundle.prefixes.held) == 1
    generated(bundle, drawn_prompts([19]))
    assert not bundle.prefixes.held


def test_an_encoder_decoder_keeps_nothing():
    bundle = Bundle("bart")
    generated(bundle, drawn_prompts([9]))
    assert not bundle.prefixes.held


def test_a_call_that_fails_leaves_no_decoder_behind():
    bundle = Bundle()
    generated(bundle, drawn_prompts([9]))

    def fail(ids):
        raise RuntimeError(ids.shape)

    with pytest.raises(RuntimeError):
        generated(bundle, drawn_prompts([9]), stopping_criteria=[fail])
    assert not bundle.prefixes.held
    assert generated(bundle, drawn_prompts([9])) == generated(Bundle(), drawn_prompts([9]))


def test_threads_do_not_disturb_each_other():
    bundle = Bundle()
    prompts = [drawn_prompts([12], seed)[0] for seed in range(3)] * 4
    expected = [generated(Bundle(reuse=False), [prompt]) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda prompt: generated(bundle, [prompt]), prompts)) == expected
    assert len(bundle.prefixes.held) <= 2


@pytest.mark.parametrize("assistant", ["other", Bundle(seed=1)], ids=["folder", "loaded"])
def test_an_assistant_guesses(assistant):
    prompt = drawn_prompts([9])
    given = {"max_new_tokens": 20, "eos_token_id": None}
    assert generated(Bundle(), prompt, assistant_model=assistant, **given) == generated(Bundle(), prompt, **given)


def test_an_assistant_says_how_much_it_guesses():
    generation = {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0}
    for most, runs in ((None, 1 + 19 // 4 + 1), (9, 1 + 19 // 10 + 1)):
        bundle = Bundle()
        generated(
            bundle,
            drawn_prompts([9]),
            max_new_tokens=20,
            assistant_model=Bundle(generation=generation),
            num_assistant_tokens=most,
        )
        assert len(bundle.opened[0].rows) == runs


@pytest.mark.parametrize(
    ("assistant", "words"),
    [
        (Bundle("bart"), "is of family 'encoder-decoder', 'gpt2' of 'decoder'"),
        (Bundle(tokens=LETTERS[::-1]), "has other tokens than 'gpt2'"),
        (5, "must be a loaded bundle or the folder of one, got int"),
    ],
    ids=["family", "tokens", "number"],
)
def test_an_assistant_must_suit_the_bundle(assistant, words):
    with pytest.raises(UsageError, match=words):
        generated(Bundle(), drawn_prompts([9]), assistant_model=assistant)


@pytest.mark.parametrize("more", [{}, {"prompt_lookup_num_tokens": 3}], ids=str)
def test_answers_keep_to_an_expression(more):
    bundle = Bundle()
    made = generated(bundle, drawn_prompts([9]), regex="[a-f]{3}:[0-9]{2}", eos_token_id=0, max_new_tokens=20, **more)
    text = bundle.tokenizer.backend.decode(made[0][9:-1], skip_special_tokens=False)
    assert [letter.isdigit() for letter in text] == [False] * 4 + [True] * 2
    assert made[0][-1] == 0


def test_rows_of_different_lengths_keep_to_a_schema():
    bundle = Bundle()
    given = {"json_schema": {"type": "integer", "minimum": 10, "maximum": 99999}, "eos_token_id": 0}
    for row, length in zip(generated(bundle, drawn_prompts([9, 4, 6]), **given), (9, 4, 6), strict=True):
        assert 10 <= json.loads(bundle.tokenizer.backend.decode(row[length:-1])) <= 99999


def test_beams_keep_to_nothing():
    with pytest.raises(UsageError, match="regex does not go with num_beams=2"):
        generated(Bundle(), drawn_prompts([9]), regex="a", eos_token_id=0, num_beams=2)


def test_a_bundle_without_tokenizer_keeps_to_nothing():
    bundle = Bundle()
    bundle.tokenizer = None
    with pytest.raises(UsageError, match="regex needs the tokenizer"):
        generated(bundle, drawn_prompts([9]), regex="a", eos_token_id=0)


@pytest.mark.parametrize("name", ["logits_processor", "stopping_criteria"])
def test_what_a_caller_adds_sees_all_rows(name):
    seen = []

    def rule(ids, scores):
        seen.append(len(ids))
        return scores

    def stop(ids):
        seen.append(len(ids))
        return np.zeros(len(ids), bool)

    added = rule if name == "logits_processor" else stop
    given = {name: [added], "eos_token_id": list(range(4, 14)), "max_new_tokens": 20}
    made = generated(Bundle(), drawn_prompts([9, 4, 6]), **given)
    assert len({len(row) - length for row, length in zip(made, (9, 4, 6), strict=True)}) > 1
    assert set(seen) == {3}
    assert generated(Bundle(), drawn_prompts([9, 4, 6]), **{**given, name: added}) == made


def test_a_penalty_may_go_by_the_prompt():
    prompt = drawn_prompts([9])[0]
    given = {"encoder_repetition_penalty": 4.0, "max_new_tokens": 12}
    expected = tiny_model("gpt2").generate(torch.tensor(prompt)[None], eos_token_id=None, **given)
    assert generated(Bundle(), [prompt], **given) == expected.tolist()
    assert generated(Bundle(), [prompt], max_new_tokens=12) != expected.tolist()


def test_room_is_reserved_before_the_prompt_runs():
    noted = []

    class Reserving(TorchDecoding):
        def reserve(self, tokens):
            noted.append((tokens, len(self.lengths)))

    bundle = Bundle()
    bundle.decoding = lambda: Reserving(bundle.model)
    generated(bundle, drawn_prompts([9, 5]), max_new_tokens=20)
    assert noted == [(29, 0)]


@pytest.mark.parametrize("token", [-1, VOCABULARY, 10**6])
@pytest.mark.parametrize("model_type", ["gpt2", "bart"])
def test_ids_that_are_no_tokens_are_refused(model_type, token):
    with pytest.raises(UsageError, match=rf"prompt 1 has token {token}, but tokens go from 0 to {VOCABULARY - 1}"):
        generated(Bundle(model_type), [np.array([5, 6]), np.array([7, token, 8])])


def test_prompts_without_tokens_begin_with_bos():
    first = generated(Bundle(), [np.array([1])])
    assert generated(Bundle(), []) == first
    assert generated(Bundle(), [np.zeros(0, np.int64), np.array([7])]) == first + generated(Bundle(), [np.array([7])])
    assert generate_arrays(Bundle(), None, None, {}).tolist() == first
    theirs = tiny_model("gpt2").generate(eos_token_id=None, max_new_tokens=8)
    assert first == theirs.tolist()


def test_prompts_without_tokens_need_a_bos():
    bundle = Bundle()
    bundle.generation_config["bos_token_id"] = None
    with pytest.raises(UsageError, match="pass bos_token_id="):
        generated(bundle, [])


@pytest.mark.parametrize("starts", [[[2, 7], [2, 8]], [[7], [8]], [7, 8]], ids=str)
def test_answers_begin_as_in_transformers(starts):
    prompts = drawn_prompts([6, 6])[:1] if np.ndim(starts) == 1 else drawn_prompts([6, 6])
    ids = torch.tensor(np.stack(prompts))
    theirs = tiny_model("bart").generate(
        ids, decoder_input_ids=torch.tensor(np.atleast_2d(starts)), max_new_tokens=8, eos_token_id=None
    )
    assert generated(Bundle("bart"), prompts, decoder_input_ids=starts) == theirs.tolist()


def test_every_row_may_have_a_start_of_its_own():
    prompts = drawn_prompts([6, 6])
    theirs = tiny_model("bart").generate(
        torch.tensor(np.stack(prompts)), decoder_start_token_id=[7, 8], max_new_tokens=8, eos_token_id=None
    )
    assert generated(Bundle("bart"), prompts, decoder_start_token_id=[7, 8]) == theirs.tolist()


@pytest.mark.parametrize(
    "config",
    [{"max_new_tokens": 3}, GenerationConfig(max_new_tokens=3), transformers.GenerationConfig(max_new_tokens=3)],
    ids=lambda config: type(config).__module__,
)
def test_a_generation_config_is_under_the_arguments(config):
    assert len(generated(Bundle(), drawn_prompts([9]), generation_config=config)[0]) == 12
    assert len(generated(Bundle(), drawn_prompts([9]), generation_config=config, max_new_tokens=5)[0]) == 14


@pytest.mark.parametrize(
    ("model_type", "prompts", "given", "words"),
    [
        ("gpt2", [9], {"max_new_token": 3}, "unknown generation argument 'max_new_token'"),
        ("gpt2", [9], {"generation_config": 3}, "generation_config must be a dict or a GenerationConfig, got int"),
        ("gpt2", [9], {"decoder_input_ids": [[3]]}, "decoder_input_ids are for encoder-decoders"),
        ("gpt2", [9], {"stopping_criteria": [3]}, "stopping_criteria must be a list of functions, got a int in it"),
        ("bart", [9, 9], {"decoder_input_ids": [[3]]}, "1 answers are begun for 2 inputs"),
        ("bart", [9, 9], {"decoder_start_token_id": [3, 4, 5]}, "lists 3 tokens for 2 rows"),
        ("bart", [], {}, "there are no prompts"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_right_are_refused(model_type, prompts, given, words):
    with pytest.raises(UsageError, match=words):
        generated(Bundle(model_type), drawn_prompts(prompts), **given)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A tiny llama as a bundle that is real, and the model."""
    folder = tmp_path_factory.mktemp("generation")
    checkpoint = make_checkpoint("llama", "causal-lm", folder / "checkpoint")
    export_bundle(checkpoint, folder / "bundle")
    return folder / "bundle", transformers.AutoModelForCausalLM.from_pretrained(checkpoint).eval()


def test_a_real_bundle_writes_what_the_model_writes_turn_after_turn(exported):
    folder, model = exported
    bundle = load_bundle(folder)
    size = model.config.vocab_size
    prompt = np.random.default_rng(0).integers(5, size, 30)
    for given in ({}, {"prompt_lookup_num_tokens": 4}, {"assistant_model": folder}):
        made = bundle.generate(prompt[None], max_new_tokens=10, eos_token_id=None, do_sample=False, **given)
        expected = model.generate(
            torch.tensor(prompt)[None], max_new_tokens=10, eos_token_id=None, do_sample=False, pad_token_id=0
        )
        assert made.tolist() == expected.tolist()
        assert bundle.prefixes.held[-1].tolist() == made[0, :-1].tolist()
        prompt = np.concatenate([made[0], [7, 8, 9]])
    assert len(bundle.prefixes.held) == 1


def test_a_real_bundle_keeps_to_a_schema(exported):
    bundle = load_bundle(exported[0])
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 22]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    made = bundle.generate([[5, 6, 7]], json_schema=schema, max_new_tokens=110)
    text = bundle.tokenizer.decode(made[0, 3:], skip_special_tokens=True)
    assert json.loads(text) in ({"n": 1}, {"n": 22})
