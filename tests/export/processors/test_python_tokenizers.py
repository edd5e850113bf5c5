"""Tokenizers that transformers runs in Python become a `tokenizer.json` of the same ids and the same texts."""

import json
import random
from functools import partial

import pytest

from tests.sentencepieces_tiny import (
    CODES,
    MAKERS,
    SOURCES,
    blenderbot_small,
    m2m_100,
    marian,
    pieces_of,
    sentencepiece_model,
    speech_to_text,
)
from vitrify.export.processors.corpus import TEXTS
from vitrify.export.processors.python_tokenizers import ROWS, converted
from vitrify.export.processors.tokenizer import first_difference, has_backend, load_tokenizer, write_tokenizer
from vitrify.runtime.errors import UnsupportedError
from vitrify.runtime.processing.text.tokenizer import Tokenizer


def some(kind="unigram"):
    """Every seventh of the longer pieces of a model of the sources."""
    return [piece for piece in pieces_of(sentencepiece_model(SOURCES, kind=kind)) if len(piece) > 2][::7]


def languages_of_m2m_100():
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    return [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]


SLOW = {
    "marian": marian,
    "marian of merges": partial(marian, kind="bpe"),
    "marian without normalization": partial(marian, normalization_rule_name="identity"),
    "marian, pieces without a number": partial(marian, missing=some()),
    "m2m_100": lambda folder: m2m_100(folder, src_lang="de", additional_special_tokens=languages_of_m2m_100()),
    "m2m_100 of unigrams": partial(m2m_100, kind="unigram"),
    "m2m_100, pieces without a number": partial(m2m_100, missing=some("bpe")),
    "speech_to_text": speech_to_text,
    "speech_to_text of merges, capital": partial(speech_to_text, kind="bpe", do_upper_case=True),
    "blenderbot-small": blenderbot_small,
    "blenderbot-small, pieces without a number": partial(blenderbot_small, missing=("th@@", "a", "s@@", "the")),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return what transformers loads, and ours, of a named tokenizer; made once."""
    made = {}

    def get(name):
        if name not in made:
            source, bundle = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("bundle")
            {**MAKERS, **SLOW}[name](source)
            theirs = load_tokenizer(source)
            write_tokenizer(theirs, bundle)
            made[name] = theirs, Tokenizer.from_folder(bundle), bundle
        return made[name]

    return get


@pytest.mark.filterwarnings("ignore:Recommended")
@pytest.mark.parametrize("name", SLOW)
def test_one_in_python_is_converted_and_proven_on_random_texts(name, exported):
    theirs, ours, _ = exported(name)
    assert not has_backend(theirs)
    random.seed(name)
    words = [word for text in TEXTS for word in text.split(" ")]
    words += [*CODES, ">>xx<<", *theirs.all_special_tokens, "@@", "юю", "щщ", "'", "\n", ".\n", "ж"]
    for _ in range(300):
        letters = random.choices("".join(TEXTS), k=random.randint(1, 12))
        for text in ("".join(letters), random.choice(("", " ")).join(random.choices(words, k=random.randint(1, 6)))):
            ids = theirs(text)["input_ids"]
            assert ours(text, return_offsets_mapping=True)["input_ids"][0].tolist() == ids, ascii(text)
            for skip in (False, True):
                assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("name", MAKERS)
def test_every_type_is_proven_and_loads_in_transformers(name, exported):
    import transformers

    theirs, ours, bundle = exported(name)
    assert ours.all_special_ids == theirs.all_special_ids
    assert ours.encode("One day, two.") == theirs.encode("One day, two.")
    if any(base.__name__ in ROWS for base in type(theirs).__mro__):
        assert first_difference(transformers.AutoTokenizer.from_pretrained(bundle), ours) is None


def test_what_a_marian_model_answers_in_the_target_language_is_read_as_transformers_reads_it(exported):
    theirs, ours, _ = exported("marian")
    text = "Москва является столицей России"
    ids = theirs(text_target=text)["input_ids"]
    assert theirs.unk_token_id not in ids
    assert ids != theirs(text)["input_ids"]
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True) == text


def test_a_language_code_of_marian_counts_only_where_a_text_begins(exported):
    _, ours, _ = exported("marian")
    code = ours.encode(">>fra<< One")
    assert len(code) == len(ours.encode("One")) + 1
    assert ours.unk_token_id not in code
    assert code[0] not in ours.encode("One >>fra<<")
    assert ours.encode(">>unheard of<< One") == [ours.unk_token_id, *ours.encode("One")]


def test_a_piece_without_a_number_counts_as_unknown(exported):
    theirs, ours, bundle = exported("marian, pieces without a number")
    assert json.loads((bundle / "tokenizer_config.json").read_text())["vitrify"] == {"unknown_from": len(theirs)}
    text = " ".join(piece.strip("▁") for piece in some())
    ids = ours.encode(text)
    assert ids == theirs(text)["input_ids"]
    assert ids.count(ours.unk_token_id) >= 3
    assert max(ids) < len(theirs)
    # Without the mark they would be cut otherwise, or have numbers that no embedding has.
    assert ours.backend.encode(text).ids != ids


@pytest.mark.parametrize("name", ["m2m_100", "mbart", "mbart50", "nllb"])
def test_texts_and_targets_are_marked_with_their_language(name, exported):
    theirs, ours, _ = exported(name)
    languages = ours.languages
    codes = list(languages.codes)
    for source, target in zip(codes[:3], codes[-3:], strict=True):
        expected = theirs._build_translation_inputs("One day.", return_tensors=None, src_lang=source, tgt_lang=target)
        assert ours.encode_marked("One day.", source=source).tolist() == expected["input_ids"]
        assert languages.token(target, argument="tgt_lang") == expected["forced_bos_token_id"]


def test_the_language_that_was_set_is_still_set(tmp_path):
    m2m_100(tmp_path, src_lang="de")
    theirs = load_tokenizer(tmp_path)
    write_tokenizer(theirs, tmp_path)
    assert theirs.src_lang == "de"
    assert Tokenizer.from_folder(tmp_path).encode("One")[0] == theirs("One")["input_ids"][0] == theirs.get_lang_id("de")


@pytest.mark.parametrize("name", ["marian", "t5", "pegasus", "blenderbot-small"])
def test_one_without_languages_says_none(name, exported):
    assert exported(name)[1].languages is None


def test_vocabularies_of_their_own_for_each_language_are_refused(tmp_path):
    marian(tmp_path)
    (tmp_path / "target_vocab.json").write_bytes((tmp_path / "vocab.json").read_bytes())
    theirs = load_tokenizer(tmp_path)
    theirs.separate_vocabs = True
    with pytest.raises(UnsupportedError, match="separate_vocabs"):
        write_tokenizer(theirs, tmp_path)


def test_pieces_of_bytes_are_refused(tmp_path):
    speech_to_text(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(sentencepiece_model(byte_fallback=True, size=600))
    with pytest.raises(UnsupportedError, match="byte"):
        converted(load_tokenizer(tmp_path))


def test_a_changed_decoder_or_normalizer_is_seen(exported):
    theirs, ours, bundle = exported("marian")
    for part in ("decoder", "normalizer"):
        changed = Tokenizer.from_folder(bundle)
        changed.model_max_length = None
        setattr(changed.backend, part, None)
        assert first_difference(theirs, changed) is not None
    assert first_difference(theirs, ours) is None
