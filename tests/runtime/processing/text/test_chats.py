"""A tokenizer beside transformers' of the same files: chats, tokens, maps; and one of transformers in place of ours."""

import pytest
import transformers
from tokenizers import Tokenizer as Backend

from tests.checkpoints import TOKENIZERS
from tests.tokenizers_tiny import tiny_tokenizer
from vitrify.export.processors.tokenizer import write_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.text.given import given_tokenizer
from vitrify.runtime.processing.text.tokenizer import Tokenizer

TEMPLATE = (
    "{% for message in messages %}{{ message.role }} {{ message.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)
CHAT = [{"role": "user", "content": "the small dog"}, {"role": "assistant", "content": "a boat"}]
OTHER = [{"role": "user", "content": "a"}]


@pytest.fixture(scope="module", params=["gpt2", "bert"])
def both(request, tmp_path_factory):
    theirs = tiny_tokenizer(TOKENIZERS[request.param], model_max_length=64)
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(theirs, folder)
    ours = Tokenizer.from_folder(folder)
    assert ours.chat_template is None
    theirs.chat_template = ours.chat_template = TEMPLATE
    return theirs, ours


def test_attributes(both):
    theirs, ours = both
    assert ours.chat_template == theirs.chat_template == TEMPLATE
    assert ours.is_fast
    assert ours.special_tokens_map == {
        name: token for name, token in theirs.special_tokens_map.items() if name != "extra_special_tokens"
    }


@pytest.mark.parametrize("options", [{}, {"add_special_tokens": True}])
def test_tokens(both, options):
    theirs, ours = both
    for text in ("the small dog, naïve", "", "a"):
        assert ours.tokenize(text, **options) == theirs.tokenize(text, **options)
    assert ours.tokenize("a", "b", **options) == theirs.tokenize("a", "b", **options)


@pytest.mark.parametrize("chats", [CHAT, [CHAT, OTHER]])
@pytest.mark.parametrize("prompt", [False, True])
def test_chats(both, chats, prompt):
    theirs, ours = both
    for options in ({"tokenize": False}, {"return_dict": False}):
        given = {"add_generation_prompt": prompt, **options}
        assert ours.apply_chat_template(chats, **given) == theirs.apply_chat_template(chats, **given)
    given = {"add_generation_prompt": prompt, "padding": True, "return_tensors": "np"}
    expected, found = theirs.apply_chat_template(chats, **given), ours.apply_chat_template(chats, **given)
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in expected.items()
    }


def test_decode_reads_its_second_argument_by_position(both):
    theirs, ours = both
    ids = ours.encode("the small dog")
    assert ours.decode(ids, True) == theirs.decode(ids, True)


@pytest.mark.parametrize("chat", [[], "text", [["a"]]])
def test_what_is_no_chat(both, chat):
    with pytest.raises(UsageError, match="a chat is a list of messages"):
        both[1].apply_chat_template(chat)


def test_a_tokenizer_of_transformers_is_copied(both):
    theirs, ours = both
    given = given_tokenizer(theirs, None)
    text = "the small dog"
    assert given.encode(text) == ours.encode(text)
    assert given.special_tokens == ours.special_tokens
    assert (given.model_max_length, given.padding_side) == (64, theirs.padding_side)
    assert given.model_input_names == ours.model_input_names
    assert given.apply_chat_template(CHAT, tokenize=False) == ours.apply_chat_template(CHAT, tokenize=False)


def test_other_tokenizers_are_refused_by_their_type(both):
    class SlowTokenizer:
        vocab_files_names = ()

    for source in (SlowTokenizer(), Backend.from_str(both[1].backend.to_str())):
        with pytest.raises(UsageError, match=f"tokenizer= got a {type(source).__name__}, which vitrify cannot run"):
            given_tokenizer(source, None)
    assert given_tokenizer(both[1], None) is both[1]


def test_it_is_transformers_that_is_compared_with(both):
    assert isinstance(both[0], transformers.PreTrainedTokenizerBase)
