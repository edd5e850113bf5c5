"""The table of heads: what a checkpoint's class was trained to give, and the family of its graphs.

Two tables extend it by the same names: `export/checkpoint/heads.py` with transformers' classes, and
`runtime/bundle/onnx_heads.py` with what tells a head in an ONNX folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Head:
    """One head.

    Attributes
    ----------
    name
        As `bundle.json` and the table of tasks say it.
    outputs
        What its graph must give; `extra` it may give beside that.
    family
        The row of `FAMILIES`.
    by_token
        Which of these outputs have a row for each token.
    writes_text
        Whether a tokenizer turns what it gives into text.
    reads
        The kinds of input of a head that reads several; of others the checkpoint's main input tells.

    """

    name: str
    outputs: tuple[str, ...] = ("logits",)
    family: str = "encoder"
    by_token: tuple[str, ...] = ()
    writes_text: bool = False
    extra: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


_ROWS = (
    Head("sequence-classification"),
    Head("token-classification", by_token=("logits",)),
    Head("question-answering", ("start_logits", "end_logits"), by_token=("start_logits", "end_logits")),
    Head("masked-lm", by_token=("logits",)),
    Head("image-classification"),
    Head("ctc", writes_text=True),
    Head("causal-lm", family="decoder", writes_text=True),
    Head("seq2seq-lm", family="encoder-decoder", writes_text=True),
    Head("speech-seq2seq", family="encoder-decoder", writes_text=True),
    Head("image-to-text", family="encoder-decoder", writes_text=True),
    Head("embedding", ("last_hidden_state", "sentence_embedding"), by_token=("last_hidden_state",)),
    Head("base", ("last_hidden_state",), by_token=("last_hidden_state",), extra=("pooler_output",)),
)
HEADS: Mapping[str, Head] = MappingProxyType({row.name: row for row in _ROWS})
