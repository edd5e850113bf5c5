"""Long texts: cut before they are tokenized where that changes no token, and refused where they are too long."""

import random
import re

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers

from tests.checkpoints import GENERATIVE_TOKENIZERS, TOKENIZERS
from tests.tokenizers_tiny import SENTENCES, tiny_tokenizer
from vitrify.export.processors.tokenizer import write_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.text import cutting
from vitrify.runtime.processing.text.cutting import LONG, LONGEST, cut_text, splits_at_spaces
from vitrify.runtime.processing.text.tokenizer import Tokenizer

RECIPES = {name: row for name, row in (TOKENIZERS | GENERATIVE_TOKENIZERS).items() if row.model != "letters"}
# One word for their models: where its pieces end may depend on the end of the text.
WHOLE = {"llama", "gemma"}
ODD = (
    *(
        "  ",
        "\n\n ",
        "\t",
        " \u0301",
        "\u0301",
        "ΑΣ",
        "İ",
        "ﬁ",
        "'s",
        "n't",
        "1234567",
        " 12 ",
        "…",
        "<",
        "</s>",
        "[SEP]",
    ),
    *("<|endoftext|>", "▁", "Ġ", "\u200b", "👩‍💻", "東京", "``", "x" * 150, "a b a b", "[MASK] a", "don't", "A B"),
)
PLACE = re.compile(r"[a-z](?= [a-zA-Z])")


def backend_of(name):
    return tiny_tokenizer(RECIPES[name], model_max_length=64).backend_tokenizer


def mixed(seed, pieces=12):
    generator = random.Random(seed)
    kinds = [*SENTENCES, *ODD]
    return "".join(generator.choice(kinds) + generator.choice(["", " ", " "]) for _ in range(pieces))


@pytest.mark.parametrize("name", RECIPES)
def test_tokens_before_a_place_to_cut_are_those_of_the_whole(name):
    backend = backend_of(name)
    assert splits_at_spaces(backend) is (name not in WHOLE)
    if name in WHOLE:
        return
    places = 0
    for seed in range(60):
        text = mixed(seed)
        whole = backend.encode(text, add_special_tokens=False)
        for place in PLACE.finditer(text):
            start = backend.encode(text[: place.end()], add_special_tokens=False)
            assert start.ids == whole.ids[: len(start)]
            assert start.offsets == whole.offsets[: len(start)]
            assert start.word_ids == whole.word_ids[: len(start)]
            places += 1
    assert places > 100


@pytest.mark.parametrize(
    ("name", "side"), [("bert", "right"), ("bert", "left"), ("qwen2", "right"), ("llama", "right")]
)
def test_a_long_text_gives_what_it_gives_whole(tmp_path, name, side):
    write_tokenizer(tiny_tokenizer(RECIPES[name], model_max_length=64), tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    tokenizer.truncation_side = side
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = mixed(1, pieces=LONG // 20)
    assert len(text) > LONG
    for longest in (10, 700):
        backend.enable_truncation(longest, direction=side)
        whole = backend.encode(text)
        found = tokenizer(text, truncation=True, max_length=longest, return_offsets_mapping=True)
        assert found["input_ids"].tolist() == [whole.ids]
        assert found["offset_mapping"].tolist() == [list(map(list, whole.offsets))]


def test_only_a_beginning_is_tokenized():
    asked = []

    def count(text):
        asked.append(len(text))
        return len(text) // 100

    text = "word " * 1_000_000
    assert len(cut_text(text, tokens=500, count=count)) == asked[-1] < 2**17
    assert max(asked) * 8 < len(text)


@pytest.mark.parametrize("text", ["x" * 10**6, "東京" * 10**6, "word. " * 10**6, "\u0301 " * 10**6])
def test_a_text_without_a_place_to_cut_stays_whole(text):
    assert cut_text(text, tokens=10, count=len) is text


def test_a_text_of_few_tokens_stays_whole():
    text = "word " * 10**6
    assert cut_text(text, tokens=10, count=lambda _: 0) is text


@pytest.mark.parametrize(
    "change",
    [
        lambda backend: backend.add_tokens(["new york"]),
        lambda backend: backend.add_tokens([AddedToken("Aa▁b", normalized=True)]),
        lambda backend: setattr(backend, "normalizer", normalizers.Replace(Regex("e w"), "x")),
        lambda backend: setattr(backend, "normalizer", normalizers.Replace(" ", "▁")),
        lambda backend: setattr(backend, "normalizer", normalizers.Replace("a", " ")),
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.Split(Regex(".{5}"), "isolated")),
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.Split(Regex(r"\s+"), "isolated", invert=True)),
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.Split(Regex(r"\s+"), "merged_with_next")),
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.Digits()),
        lambda backend: setattr(backend, "pre_tokenizer", pre_tokenizers.Metaspace(split=False)),
    ],
)
def test_what_may_reach_over_a_space_forbids_the_cut(change):
    backend = backend_of("bert")
    assert splits_at_spaces(backend)
    change(backend)
    assert not splits_at_spaces(backend)


@pytest.mark.parametrize("options", [{}, {"truncation": True}])
@pytest.mark.parametrize("row", ["x" * (LONGEST + 1), ("a", "x" * (LONGEST + 1)), ("x" * LONGEST, "b")])
def test_a_text_that_is_too_long_is_refused(tmp_path, row, options):
    write_tokenizer(tiny_tokenizer(RECIPES["bert"], model_max_length=64), tmp_path)
    with pytest.raises(UsageError, match=rf"characters is too long .allowed: {LONGEST}.") as caught:
        Tokenizer.from_folder(tmp_path)([row], **options)
    assert "\n" not in str(caught.value)


def test_too_many_words_are_refused(monkeypatch):
    monkeypatch.setattr(cutting, "LONGEST", 10)
    cutting.check_length([["a"] * 5, ["b"] * 10])
    for row in (["abc"] * 4, (["abc"] * 4, ["a"])):
        with pytest.raises(UsageError):
            cutting.check_length(row)
