"""A CTC vocabulary in the bundle: decoded here, by tokenizers alone and by transformers as its source decodes."""

import pytest
import tokenizers
import transformers

from tests.parity.speech_subjects import VOCABULARY, ctc_tokenizer
from vitrify.export.processors import ctc_tokenizer as subject
from vitrify.export.processors.ctc_tokenizer import FILES, first_difference, random_frames, write_ctc_tokenizer
from vitrify.runtime.errors import UnsupportedError
from vitrify.runtime.processing.audio.ctc import CTCDecoder
from vitrify.runtime.processing.text.tokenizer import Tokenizer

BRACKETS = {"[PAD]": 3, "[UNK]": 2, "|": 0, "ä": 1, "ch": 4, "東": 5, " ": 6, "\n": 7, "Ä": 8}
NAMES = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
CASES = {
    "letters": (VOCABULARY, {}),
    "lower case": (VOCABULARY, {"do_lower_case": True}),
    "no spaces": (VOCABULARY, {"replace_word_delimiter_char": ""}),
    "underscores": (VOCABULARY, {"replace_word_delimiter_char": "_"}),
    "other names": (BRACKETS, NAMES),
    "other names, lower case": (BRACKETS, NAMES | {"do_lower_case": True}),
    "a language": ({"eng": VOCABULARY, "deu": VOCABULARY | {"Ä": 40, "ß": 41}}, {"target_lang": "deu"}),
    "a space as delimiter": ({"<pad>": 0, "<unk>": 1, "a": 2, "b": 3, " ": 4}, {"word_delimiter_token": " "}),
    "no unknown": ({"<pad>": 0, "|": 1, "a": 2}, {"unk_token": None, "bos_token": None, "eos_token": None}),
}
CLEANED = (VOCABULARY | {".": 50, ",": 51, "?": 52}, {"clean_up_tokenization_spaces": True})


@pytest.mark.parametrize(("vocabulary", "options"), [*CASES.values(), CLEANED], ids=[*CASES, "cleaned up"])
def test_what_is_written_decodes_as_its_source(tmp_path, vocabulary, options):
    source = ctc_tokenizer(tmp_path / "source", vocabulary, **options)
    write_ctc_tokenizer(source, tmp_path / "bundle")
    assert first_difference(source, CTCDecoder.from_tokenizer(Tokenizer.from_folder(tmp_path / "bundle"))) is None
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "bundle")
    assert type(back) is type(source)
    assert all(back.decode(ids) == source.decode(ids) for ids in random_frames(source))


@pytest.mark.parametrize(("vocabulary", "options"), CASES.values(), ids=CASES)
def test_other_programs_need_the_file_only(tmp_path, vocabulary, options):
    source = ctc_tokenizer(tmp_path / "source", vocabulary, **options)
    write_ctc_tokenizer(source, tmp_path)
    plain = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for ids in random_frames(source):
        known = [number for number in ids if plain.id_to_token(number) is not None]
        for skip in (False, True):
            assert plain.decode(known, skip_special_tokens=skip) == source.decode(known, skip_special_tokens=skip)


def test_labels_are_encoded_as_the_source_does(tmp_path):
    source = ctc_tokenizer(tmp_path / "source")
    write_ctc_tokenizer(source, tmp_path)
    ours = Tokenizer.from_folder(tmp_path)
    for text in ("HELLO WORLD", "A  B", "é<s>X", "<unk> A"):
        assert ours(text)["input_ids"][0].tolist() == source(text)["input_ids"]


def test_the_bytes_depend_on_the_tokenizer_only(tmp_path):
    for name in ("a", "b"):
        write_ctc_tokenizer(ctc_tokenizer(tmp_path / name / "source"), tmp_path / name)
    assert [(tmp_path / "a" / name).read_bytes() for name in FILES] == [
        (tmp_path / "b" / name).read_bytes() for name in FILES
    ]
    assert all(str(tmp_path) not in (tmp_path / "a" / name).read_text() for name in FILES)


class Shouting(transformers.Wav2Vec2CTCTokenizer):
    """A tokenizer whose own code decodes otherwise."""

    def convert_tokens_to_string(self, *args, **options):
        made = super().convert_tokens_to_string(*args, **options)
        return made | {"text": made["text"] + "!"}


class Late(transformers.Wav2Vec2CTCTokenizer):
    @staticmethod
    def _compute_offsets(*args):
        made = transformers.Wav2Vec2CTCTokenizer._compute_offsets(*args)
        return [item | {"end_offset": item["end_offset"] + 1} for item in made]


@pytest.mark.parametrize(
    ("cls", "message"), [(Shouting, "is '.*', not '.*!'"), (Late, "the chars of .* have other offsets")]
)
def test_what_decodes_otherwise_is_refused_and_nothing_is_written(tmp_path, cls, message):
    ctc_tokenizer(tmp_path / "source")
    with pytest.raises(UnsupportedError, match=message):
        write_ctc_tokenizer(cls(str(tmp_path / "source" / "vocab.json")), tmp_path)
    assert not any((tmp_path / name).exists() for name in FILES)


def test_another_class_is_refused_by_name(tmp_path):
    assert not subject.is_ctc_tokenizer(object())
    with pytest.raises(UnsupportedError, match="'object' is not supported"):
        write_ctc_tokenizer(object(), tmp_path)


def test_two_tokens_with_one_id_are_named(tmp_path):
    source = ctc_tokenizer(tmp_path / "source", VOCABULARY | {"Y ": VOCABULARY["Y"]})
    with pytest.raises(UnsupportedError, match=f"id {VOCABULARY['Y']} to both 'Y' and 'Y '"):
        write_ctc_tokenizer(source, tmp_path / "bundle")
