"""Constrained output: what comes out of a model of random weights matches, row by row."""

import builtins
import json
import re

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from tests.runtime.generation.torch_decoding import TorchDecoding, TorchSeq2SeqDecoding
from vitrify.runtime.errors import DependencyMissing, UnsupportedError, UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.loop import generate
from vitrify.runtime.generation.rules.grammar import constraint

SPECIAL = ("<s>", "</s>", "<pad>")
END, PAD = 1, 2
MERGES = [("t", "r"), ("tr", "ue"), ("u", "e"), ('"', ":"), ("1", "2")]
# The model has more rows in its table than the tokenizer has tokens.
VOCABULARY = 300
PERSON = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 999}, "b": {"enum": ["x", "yy", True]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def is_person(text):
    made = json.loads(text)
    return list(made) == ["a", "b"] and 0 <= made["a"] <= 999 and made["b"] in ("x", "yy", True)


CASES = [
    ({"json_schema": PERSON}, is_person),
    ({"json_schema": json.dumps(PERSON)}, is_person),
    ({"regex": "(ab|cd){2,5}!"}, re.compile("(ab|cd){2,5}!").fullmatch),
    ({"regex": "Größe: [0-9]{3} € ¿"}, re.compile("Größe: [0-9]{3} € ¿").fullmatch),
    ({"grammar": 'start: "yes" | "no" ("," start)?'}, re.compile("yes|no(,no)*(,yes)?").fullmatch),
    ({"grammar": '{"grammars": [{"json_schema": {"type": "boolean"}}]}'}, re.compile("true|false").fullmatch),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *letters, *(first + second for first, second in sorted(MERGES, key=lambda pair: len(pair[0])))]
    merges = sorted(MERGES, key=lambda pair: len("".join(pair)))
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({token: place for place, token in enumerate(dict.fromkeys(tokens))}, merges)
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL))
    return backend


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 256, "initializer_range": 0.6}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=VOCABULARY, **sizes)).eval()


def constrained(tokenizer, given, *, ends=(END,), vocabulary=VOCABULARY):
    return constraint(given, tokenizer=tokenizer, vocabulary=vocabulary, ends=ends)


def written(tokenizer, model, given, *, prompts=(5,), processors=(), **options):
    """Return the answers to prompts of these lengths as texts, and all there is of them."""
    drawn = [np.random.default_rng(length).integers(10, 200, length) for length in prompts]
    config = GenerationConfig(**{"max_new_tokens": 120, "eos_token_id": END, "pad_token_id": PAD, **options})
    rule = constrained(tokenizer, given)
    made = generate(TorchDecoding(model), drawn, config, processors=[rule, *processors], keep_rows=True)
    answers = [row[length:] for row, length in zip(made.sequences, made.prompt_lengths, strict=True)]
    return [tokenizer.decode(answer.tolist(), skip_special_tokens=True) for answer in answers], answers


@pytest.mark.parametrize("options", [{}, {"do_sample": True, "top_k": 0, "seed": 3}], ids=["greedy", "drawn"])
@pytest.mark.parametrize(("given", "matches"), CASES, ids=range(len(CASES)))
def test_every_answer_matches(tokenizer, model, given, matches, options):
    texts, answers = written(tokenizer, model, given, prompts=(5, 2, 7), **options)
    for text, answer in zip(texts, answers, strict=True):
        assert matches(text), text
        assert answer[-1] == END


def test_without_a_grammar_nothing_of_it_comes(tokenizer, model):
    """Were the model's own answers such texts, the tests above could not fail."""
    made = generate(TorchDecoding(model), [np.array([40, 50])], GenerationConfig(eos_token_id=END))
    assert not tokenizer.decode(made.sequences[0].tolist()).isalnum()


def test_copies_of_a_prompt_go_their_own_ways(tokenizer, model):
    options = {"do_sample": True, "num_return_sequences": 4, "seed": 0, "top_k": 0, "temperature": 5.0}
    texts, _ = written(tokenizer, model, {"regex": "[a-z]{3,9}"}, **options)
    assert all(re.fullmatch("[a-z]{3,9}", text) for text in texts)
    assert len(set(texts)) == 4


def test_an_answer_may_be_cut_at_its_longest(tokenizer, model):
    texts, _ = written(tokenizer, model, {"regex": "[a-c]{50}"}, max_new_tokens=8)
    assert re.fullmatch("[a-c]{8}", texts[0])


def test_a_forced_end_wins_over_the_grammar(tokenizer, model):
    texts, answers = written(
        tokenizer, model, {"regex": "[a-c]{50}"}, max_new_tokens=8, forced_eos_token_id=END, prompts=(5, 3)
    )
    assert all(re.fullmatch("[a-c]{7}", text) for text in texts[:1])
    assert answers[0][-1] == END


def test_a_forced_beginning_comes_before_the_text(tokenizer):
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    bart = transformers.BartForConditionalGeneration(
        transformers.BartConfig(vocab_size=VOCABULARY, **sizes, **heads, init_std=0.5)
    ).eval()
    config = GenerationConfig(max_new_tokens=20, eos_token_id=END, forced_bos_token_id=0)
    prompts = [np.array([30, 40, 50])]
    made = generate(
        TorchSeq2SeqDecoding(bart, prompts),
        [np.array([END])],
        config,
        processors=[constrained(tokenizer, {"regex": "[a-c]{5}"})],
        keep_rows=True,
    )
    first, *rest = made.sequences[0][1:].tolist()
    assert first == 0
    assert re.fullmatch("[a-c]{5}", tokenizer.decode(rest, skip_special_tokens=True))
    assert rest[-1] == END


def test_rows_that_another_stop_ends_do_not_disturb(tokenizer, model):
    def stop(ids):
        return np.arange(len(ids)) == 0

    rule = constrained(tokenizer, {"regex": "[a-c]{9}"})
    config = GenerationConfig(max_new_tokens=20, eos_token_id=END, pad_token_id=PAD)
    prompts = [np.array([30, 40]), np.array([50, 60, 70])]
    made = generate(TorchDecoding(model), prompts, config, processors=[rule], stops=[stop], keep_rows=True)
    assert len(made.sequences[0]) == 3
    assert re.fullmatch("[a-c]{9}", tokenizer.decode(made.sequences[1][3:].tolist()))


def test_guesses_go_with_a_grammar(tokenizer, model):
    given = {"json_schema": PERSON}
    plain, _ = written(tokenizer, model, given)
    guessed, _ = written(tokenizer, model, given, prompt_lookup_num_tokens=3)
    assert guessed == plain


def test_white_space_ends(tokenizer, model):
    """Between the parts of JSON some may stand, but a model that likes it must not write it for ever."""

    def like_lines(ids, scores):
        scores[:, tokenizer.token_to_id("Ċ")] += 1000
        return scores

    texts, _ = written(tokenizer, model, {"json_schema": PERSON}, processors=[like_lines], max_new_tokens=200)
    assert is_person(texts[0])
    assert max(map(len, re.findall(r"\n+", texts[0]))) == 16


def test_tokens_that_the_tokenizer_has_not_are_never_allowed(tokenizer):
    scores = constrained(tokenizer, {"regex": "(?s:.*)"})(np.array([[5]]), np.zeros((1, VOCABULARY), np.float32))
    allowed = np.flatnonzero(np.isfinite(scores[0]))
    assert allowed.max() < tokenizer.get_vocab_size()
    assert len(allowed) > 150
    assert set(allowed[:3]) & {0, PAD} == set()
    assert END in allowed


def test_a_model_may_have_fewer_tokens_than_the_tokenizer(tokenizer):
    scores = constrained(tokenizer, {"regex": "a"}, vocabulary=100)(np.array([[5]]), np.zeros((1, 100), np.float32))
    assert tokenizer.decode(np.flatnonzero(np.isfinite(scores[0])).tolist()) == "a"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"regex": "a("}, "regex cannot be followed: .*unclosed group"),
        ({"regex": r"[^\s\S]"}, "regex cannot be followed: it matches nothing"),
        ({"regex": 5}, "regex must be a text, got int"),
        ({"grammar": "start: other"}, 'grammar cannot be followed: .*unknown name: "other"'),
        ({"grammar": 'start: start "a"'}, "grammar cannot be followed: it matches nothing"),
        ({"grammar": "{"}, "grammar cannot be followed: "),
        ({"json_schema": {"type": "nonsense"}}, "json_schema cannot be followed: Invalid type: nonsense"),
        ({"json_schema": {"uniqueItems": True}}, "json_schema cannot be followed: Unimplemented keys"),
        ({"json_schema": False}, "json_schema cannot be followed: Unsatisfiable schema"),
        ({"json_schema": {"allOf": [{"type": "string"}, {"type": "null"}]}}, "Unsatisfiable schema"),
        ({"json_schema": {"x-guidance": {"whitespace_pattern": 5}}}, "json_schema cannot be followed: "),
        ({"regex": "\ud800"}, "regex cannot be followed: .*surrogates"),
        ({"json_schema": "{"}, "json_schema is not JSON"),
        ({"json_schema": {"a": {1}}}, "json_schema is not JSON"),
        ({"json_schema": [1]}, "json_schema must be an object, got list"),
        ({"json_schema": {}, "regex": "a"}, "json_schema and regex exclude each other"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_said_in_one_line(tokenizer, given, words):
    with pytest.raises(UsageError, match=words) as caught:
        constrained(tokenizer, given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("ends", "words"), [((), "pass eos_token_id"), ((5000,), "eos_token_id 5000 is not a token")])
def test_the_end_is_a_token(tokenizer, ends, words):
    with pytest.raises(UsageError, match=words):
        constrained(tokenizer, {"regex": "a"}, ends=ends)


def test_rules_that_leave_nothing_are_refused(tokenizer, model):
    with pytest.raises(UsageError, match="regex and the other rules together allow no token"):
        written(tokenizer, model, {"regex": "abc"}, min_new_tokens=5)


def test_without_llguidance_the_extra_is_named(tokenizer, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "llguidance":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyMissing, match=r"pip install 'vitrify\[grammar\]'"):
        constrained(tokenizer, {"regex": "a"})


def test_a_tokenizer_that_llguidance_cannot_read_is_refused():
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with pytest.raises(UnsupportedError, match="cannot read this tokenizer"):
        constrained(words, {"regex": "a"})


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


DOUBLING = "start: r0\n" + "\n".join(f"r{level}: r{level + 1} r{level + 1}" for level in range(40)) + '\nr40: "a"'
LARGE = {
    "parentheses": ({"regex": "(" * 50_000 + "a" + ")" * 50_000}, "invalid regex"),
    "a nested object": ({"json_schema": nested(2000)}, "nested too deep|recursion limit"),
    "a nested text": ({"json_schema": '{"items":' * 20_000 + "{}" + "}" * 20_000}, "nested too deep"),
    "fields": ({"json_schema": {"properties": {f"p{index}": {} for index in range(50_000)}}}, "schema too large"),
    "doubling": ({"grammar": DOUBLING}, "Too many items"),
    "remote": ({"json_schema": {"$ref": "http://127.0.0.1:1/schema"}}, "does not fetch"),
}


@pytest.mark.parametrize(("given", "words"), LARGE.values(), ids=LARGE)
def test_what_grows_without_end_is_refused_in_one_short_line(tokenizer, given, words):
    with pytest.raises(UsageError, match=words) as caught:
        follow(constrained(tokenizer, given), 20)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def follow(rule, steps):
    """Take the first token that is allowed, so many times."""
    ids = np.array([[5]])
    for _ in range(steps):
        allowed = rule(ids, np.zeros((1, VOCABULARY), np.float32))
        ids = np.append(ids, [[int(allowed[0].argmax())]], axis=1)
