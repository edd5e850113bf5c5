"""Generation that looks at the text of tokens: stop strings, and prompts whose last token is healed."""

from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from tests.runtime.generation.against_transformers import are_alike, opened, ours, theirs
from tests.runtime.generation.torch_decoding import VOCABULARY, drawn_prompts, tiny_model
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.loop import generate

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Those from 26 on begin as 10 does.
TEXTS = [*LETTERS, *(f"k{letter}" for letter in LETTERS)][:VOCABULARY]


@pytest.fixture(scope="module")
def tokenizer():
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({text: index for index, text in enumerate(TEXTS)}, []))
    backend.decoder = tokenizers.decoders.ByteLevel()
    return SimpleNamespace(backend=backend, get_vocab=backend.get_vocab)


@pytest.mark.parametrize("lengths", [[5], [5, 3, 7]], ids=str)
@pytest.mark.parametrize(("first", "last"), [(2, 4), (0, 1), (3, 8)])
def test_stop_strings_end_rows_where_transformers_ends_them(tokenizer, lengths, first, last):
    written = ours("gpt2", lengths, {}).sequences[0][5:].tolist()
    options = {"stop_strings": ["".join(TEXTS[token] for token in written[first:last]), "zzzz"]}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend)
    made = ours("gpt2", lengths, options, tokenizer=tokenizer)
    assert len(made.sequences[0]) == 5 + last
    assert are_alike(made, theirs("gpt2", lengths, options, tokenizer=fast))


def test_stop_strings_need_a_tokenizer():
    with pytest.raises(UsageError, match="stop_strings need the tokenizer"):
        ours("gpt2", [5], {"stop_strings": "a"})


def logits_after(tokens):
    with torch.no_grad():
        return tiny_model("gpt2")(torch.tensor(tokens)[None]).logits[0, -1].numpy()


def test_a_last_token_becomes_the_likeliest_that_begins_as_it_does(tokenizer):
    prompts = [np.append(prompt, 10) for prompt in drawn_prompts([5, 3, 7, 4], seed=3)]
    choices = [index for index, text in enumerate(TEXTS) if text.startswith(TEXTS[10])]
    assert len(choices) > 8
    config = GenerationConfig(token_healing=True, max_new_tokens=5)
    made = generate(opened("gpt2", []), prompts, config, tokenizer=tokenizer)
    healed = set()
    for prompt, sequence in zip(prompts, made.sequences, strict=True):
        scores = logits_after(prompt[:-1])[choices] + 10 + (np.array(choices) == 10)
        start = [*prompt[:-1], choices[int(scores.argmax())]]
        expected = generate(opened("gpt2", []), [np.array(start)], GenerationConfig(max_new_tokens=5))
        assert sequence.tolist() == expected.sequences[0].tolist()
        healed.add(int(start[-1]))
    assert healed - {10}


def test_a_prompt_of_one_token_or_without_longer_ones_stays(tokenizer):
    alone = next(index for index, text in enumerate(TEXTS) if sum(t.startswith(text) for t in TEXTS) == 1)
    for prompt in ([10], [5, 6, alone]):
        plain = generate(opened("gpt2", []), [np.array(prompt)], GenerationConfig())
        config = GenerationConfig(token_healing=True)
        made = generate(opened("gpt2", []), [np.array(prompt)], config, tokenizer=tokenizer)
        assert made.sequences[0].tolist() == plain.sequences[0].tolist()


def test_healing_needs_a_tokenizer():
    with pytest.raises(UsageError, match="token_healing needs the tokenizer"):
        ours("gpt2", [5], {"token_healing": True})
