"""Text to token ids and back, on `tokenizers` alone, as transformers' AutoTokenizer does it; knows no model."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from ...errors import IntegrityError, UsageError
from .arguments import PADDING, TRUNCATION, Text, choose, count, find_surrogate, rows_of
from .chats import Chats
from .cutting import LONG, check_length, cut_text, splits_at_spaces
from .encodings import Encodings, stack_encodings
from .languages import Languages
from .special_tokens import SIDES, TokenizerConfig, read_tokenizer_config
from .vocabulary import Vocabulary

Truncation = tuple[int, int, str, str]  # max_length, stride, strategy, direction

_TEMPLATES = (b'"TemplateProcessing"', b'"BertProcessing"', b'"RobertaProcessing"')
_INPUTS = '["input_ids", "token_type_ids", "attention_mask"]'

_LOG = logging.getLogger("vitrify")


class Tokenizer(Chats, Vocabulary):
    """A `tokenizer.json` with the settings that lie beside it; may be called from several threads.

    Sides and `model_max_length` (None: no longest text) may be set, as the special tokens may. `languages` are those
    that a text to translate is marked with; None where it is not. `response_template` says how an answer of a chat is
    taken apart (see `processing.chat.responses`).
    """

    def __init__(self, backend: tokenizers.Tokenizer, *, config: TokenizerConfig) -> None:
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = config.split_special_tokens
        super().__init__(backend, config=config)
        self.model_max_length = config.model_max_length
        self.padding_side = config.padding_side
        self.truncation_side = config.truncation_side
        self.model_input_names = config.model_input_names
        self._says_inputs = config.says_inputs
        self.pad_token_type_id = config.pad_token_type_id
        self.response_template = config.response_template
        self._unknown_from = config.unknown_from
        self.languages = None if config.languages is None else Languages.from_mapping(config.languages)
        self._truncation: Truncation | None = None
        self._refused_above: int | None = None
        self._has_warned = False
        self._folder: Path | None = None

    @classmethod
    def from_folder(cls, folder: Path, *, refused_above: int | None = None) -> "Tokenizer":
        """The tokenizer of a bundle, whose graph refuses texts of more tokens than `refused_above`: no warning then.

        UsageError: there is no `tokenizer.json`. IntegrityError: a file that is truncated or malformed.
        """
        path = Path(folder) / "tokenizer.json"
        try:
            backend = tokenizers.Tokenizer.from_buffer(path.read_bytes())  # twice as fast as from_file
        except OSError as error:
            raise UsageError(f"no tokenizer.json to read in '{folder}' ({error.strerror}): is it a bundle?") from error
        except Exception as error:  # tokenizers raises bare ones
            raise IntegrityError(f"'{path}' is truncated or malformed: {error}; export the bundle again") from error
        made = cls(backend, config=read_tokenizer_config(Path(folder), backend))
        made._folder, made._refused_above = Path(folder), refused_above
        return made

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        return self.backend.num_special_tokens_to_add(pair)

    def segments(self, encoding: tokenizers.Encoding) -> np.ndarray:
        """What a graph that reads token_type_ids gets of an encoding, int64 [tokens].

        UsageError: a pair, and neither tokenizer_config.json nor tokenizer.json says which segment its second text is.
        """
        if self._says_inputs and "token_type_ids" not in self.model_input_names:
            return np.zeros(len(encoding), np.int64)
        if not self._says_inputs and 1 in encoding.sequence_ids and not self._marks_segments:
            raise UsageError(
                "this model reads token_type_ids and nothing says what they are for a pair: add to "
                f'tokenizer_config.json "model_input_names": {_INPUTS} (or without token_type_ids, for zeros)'
            )
        return np.array(encoding.type_ids, np.int64)

    @property
    def _marks_segments(self) -> bool:
        """Whether tokenizer.json has a template, which numbers the segments of a pair."""
        template = self.backend.post_processor
        return template is not None and any(kind in template.__getstate__() for kind in _TEMPLATES)

    def encode_marked(self, text: str, *, source: str, truncation: bool | str | None = None) -> np.ndarray:
        """Return the ids of a text marked with its language, int64 [tokens]; `truncation` cuts it to the longest."""
        assert self.languages is not None
        before, after = self.languages.around(source)
        longest = self.model_max_length
        room = None if longest is None else max(longest - len(before) - len(after), 0)
        ids = self(
            text, add_special_tokens=False, truncation=truncation or False, max_length=room if truncation else None
        )["input_ids"][0]
        return np.concatenate([before, ids, after])

    def __call__(
        self,
        text: Text,
        text_pair: Text | None = None,
        *,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        add_special_tokens: bool = True,
        is_split_into_words: bool = False,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> Encodings:
        """Texts to arrays `[rows, sequence]` of int64; arguments mean what they mean in transformers.

        A str gives one row. A list gives a row per item (a str, or a pair of them), or, with `is_split_into_words`,
        is one text given as words, or a list of such texts. Without padding, rows must come out equally long.

        UsageError: an argument or a text that cannot be right; its message has "too short" where `only_first` or
        `only_second` could not cut enough.
        """
        if return_tensors not in (None, "np"):
            raise UsageError(f"return_tensors={return_tensors!r}: vitrify works in numpy; leave it out, or 'np'")
        rows = rows_of(text, pair=text_pair, words=is_split_into_words)
        if truncation is None:  # as in transformers, a length alone asks for truncation unless padding is asked for
            truncation = max_length is not None and padding is False
        target = self._truncation_for(choose(TRUNCATION, name="truncation", value=truncation), max_length, stride)
        pad = self._padding_for(choose(PADDING, name="padding", value=padding), max_length)
        self._check_padding(pad, pad_to_multiple_of, target)

        if target is not None and not return_overflowing_tokens:
            rows = [self._without_rest(row, target) for row in rows]
        found = self._encode_rows(rows, target=target, special=add_special_tokens, words=is_split_into_words)
        if max_length is None:
            self._warn_of_length(found)
        groups = [[each, *each.overflowing] if return_overflowing_tokens else [each] for each in found]
        encodings = [encoding for group in groups for encoding in group]
        if pad is not None:
            self._pad(encodings, length=pad, multiple=pad_to_multiple_of, side=padding_side)

        wanted = {
            "input_ids": True,
            "token_type_ids": self._returns("token_type_ids", return_token_type_ids),
            "attention_mask": self._returns("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        arrays = stack_encodings(encodings, names=[name for name, is_wanted in wanted.items() if is_wanted])
        if self._unknown_from is not None:
            ids = arrays["input_ids"]
            ids[ids >= self._unknown_from] = self.unk_token_id
        if return_length:
            arrays["length"] = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        if return_overflowing_tokens:
            arrays["overflow_to_sample_mapping"] = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        return Encodings(arrays, encodings=encodings)

    def encode(
        self,
        text: Text,
        text_pair: Text | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: bool | str | None = None,
        max_length: int | None = None,
    ) -> list[int]:
        """The ids of one text, or of one pair."""
        options = {"add_special_tokens": add_special_tokens, "truncation": truncation, "max_length": max_length}
        return self(text, text_pair, **options)["input_ids"][0].tolist()

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """The tokens of one text, or of one pair, as they stand in the vocabulary."""
        rows = rows_of(text, pair=pair, words=False)
        return self._encode_rows(rows, special=add_special_tokens)[0].tokens

    def __repr__(self) -> str:
        settings = f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}"
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, {settings}, special_tokens={self.special_tokens})"

    def _returns(self, name: str, wish: bool | None) -> bool:
        return name in self.model_input_names if wish is None else wish

    def _truncation_for(self, strategy: str | None, max_length: int | None, stride: int) -> Truncation | None:
        length = self.model_max_length if max_length is None else count(max_length, name="max_length")
        stride = count(stride, name="stride")
        if strategy is None or length is None:
            return None
        if self.truncation_side not in SIDES:
            raise UsageError(f"truncation_side={self.truncation_side!r}; allowed: 'left', 'right'")
        return length, stride, strategy, self.truncation_side

    def _padding_for(self, strategy: str | None, max_length: int | None) -> int | None:
        """The length that rows are padded to at least; 0 for that of the longest, None for no padding."""
        longest = self.model_max_length if max_length is None else max_length
        return {None: None, "longest": 0, "max_length": longest}[strategy]

    def _check_padding(self, pad: int | None, multiple: int | None, target: Truncation | None) -> None:
        if multiple is not None:
            count(multiple, name="pad_to_multiple_of", least=1)
        if pad is not None and self.pad_token_id is None:
            raise UsageError("padding needs a pad token and this tokenizer has none: set tokenizer.pad_token first")
        if pad is not None and multiple is not None and target is not None and target[0] % multiple:
            raise UsageError(f"texts are cut at {target[0]} tokens, not a multiple of pad_to_multiple_of={multiple}")

    def _without_rest(self, row: Any, target: Truncation) -> Any:
        """Return a row without what truncation would cut from its end, where that changes nothing before."""
        longest, _, _, side = target
        if not isinstance(row, str) or len(row) < LONG or side != "right" or not splits_at_spaces(self.backend):
            return row
        return cut_text(row, tokens=longest, count=lambda text: len(self._encode_rows([text])[0]))

    def _encode_rows(
        self, rows: list[Any], *, target: Truncation | None = None, special: bool = False, words: bool = False
    ) -> list[tokenizers.Encoding]:
        for row in rows:
            check_length(row)
        if target is not None and special:
            added = self.num_special_tokens_to_add(any(_is_pair(row, words=words) for row in rows))
            if target[0] < added:
                raise UsageError(f"max_length={target[0]} is too short for the {added} special tokens alone")
        try:
            with self._lock:  # truncation is a setting of the backend: setting it and encoding are one step
                self._set_truncation(target)
                return self.backend.encode_batch(rows, add_special_tokens=special, is_pretokenized=words)
        except BaseException as error:
            # A panic in tokenizers (a stride longer than what is left of a text) is no Exception.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise UsageError(find_surrogate(rows) or _refusal(error, target)) from error
            raise

    def _set_truncation(self, target: Truncation | None) -> None:
        if target == self._truncation:
            return
        if target is None:
            self.backend.no_truncation()
        else:
            max_length, stride, strategy, direction = target
            self.backend.enable_truncation(max_length, stride=stride, strategy=strategy, direction=direction)
        self._truncation = target

    def _pad(
        self, encodings: list[tokenizers.Encoding], *, length: int, multiple: int | None, side: str | None
    ) -> None:
        side = self.padding_side if side is None else side
        if side not in SIDES:
            raise UsageError(f"padding_side={side!r}; allowed: 'left', 'right'")
        length = length or max(map(len, encodings), default=0)
        length = -(-length // (multiple or 1)) * (multiple or 1)
        options = {"direction": side, "pad_id": self.pad_token_id, "pad_token": self.pad_token}
        for encoding in encodings:
            encoding.pad(length, pad_type_id=self.pad_token_type_id, **options)

    def _warn_of_length(self, encodings: list[tokenizers.Encoding]) -> None:
        longest = max(map(len, encodings), default=0)
        if self._refused_above is not None and longest > self._refused_above:
            return
        if self.model_max_length and longest > self.model_max_length and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "a text of %d tokens is longer than the %d that the model accepts: pass truncation=True",
                longest,
                self.model_max_length,
            )


def _is_pair(row: Any, *, words: bool) -> bool:
    return isinstance(row, list | tuple) and (not words or (len(row) == 2 and not isinstance(row[0], str)))


def _refusal(error: BaseException, target: Truncation | None) -> str:
    reason = " ".join(str(error).split())
    if target is None:
        return f"texts that cannot be encoded: {reason}"
    length, stride, strategy, _ = target
    asked = f"truncation={strategy!r}, max_length={length}, stride={stride}"
    return f"texts that cannot be cut with {asked}: {reason}; try a larger max_length or a smaller stride"
