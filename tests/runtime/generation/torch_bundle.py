"""A tiny model in PyTorch as a loaded bundle, and what generation makes of prompts on it."""

from types import SimpleNamespace

import tokenizers

from tests.runtime.generation.torch_decoding import CountingDecoding, TorchSeq2SeqDecoding, tiny_model
from vitrify.runtime.generation.call import generate_rows
from vitrify.runtime.generation.decoders.prefixes import Prefixes
from vitrify.runtime.graphs.families import FAMILIES
from vitrify.runtime.graphs.signature import Tensor

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789{}:"


def one_letter_tokens(order=LETTERS):
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({token: place for place, token in enumerate(["<s>", *order])}, [])
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    return SimpleNamespace(backend=backend, get_vocab=backend.get_vocab)


class Bundle:
    """A tiny model in PyTorch as a loaded bundle, which remembers the decoders that it opened."""

    def __init__(self, model_type="gpt2", *, seed=0, reuse=True, tokens=LETTERS, generation=()):
        self.model = tiny_model(model_type, seed)
        self.is_seq2seq = self.model.config.is_encoder_decoder
        self.name, self.profile = model_type, SimpleNamespace(precision="fp32")
        caches = [Tensor(name="past_key_values.0.key", dtype="float32", axes=("batch", 4, "past", 8))]
        row, self.graph_set = FAMILIES["encoder-decoder" if self.is_seq2seq else "decoder"], ("model",)
        graphs = {"model": SimpleNamespace(inputs=caches), "encoder_model": SimpleNamespace(inputs=[])}
        files = {"tokenizer.json": tokens}
        self.bundle = SimpleNamespace(family=row.name, topology=row, files=files, graphs=graphs)
        self.config = self.model.config.to_dict()
        special = {name: self.config.get(name) for name in ("bos_token_id", "pad_token_id", "decoder_start_token_id")}
        self.generation_config = {**special, "max_new_tokens": 8, **dict(generation)}
        self.tokenizer = one_letter_tokens(tokens)
        self.prefixes = Prefixes(shortest=1, entries=2 if reuse else 0)
        self.opened = []

    def decoding(self, input_ids=None, attention_mask=None):
        if self.is_seq2seq:
            rows = [row[mask == 1] for row, mask in zip(input_ids, attention_mask, strict=True)]
            return TorchSeq2SeqDecoding(self.model, rows)
        self.opened.append(CountingDecoding(self.model))
        return self.opened[-1]

    def assistant(self, folder):
        return {"other": Bundle(seed=1)}[str(folder)]


def generated(bundle, prompts, **given):
    return [row.tolist() for row in generate_rows(bundle, prompts, given).sequences]
