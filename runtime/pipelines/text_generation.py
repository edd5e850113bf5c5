"""text-generation: go on with a text, or answer a chat."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..processing.chat.templates import is_chat, is_message
from .results import GeneratedText
from .shared.generation import GenerationParameters, GenerationPipeline
from .shared.pieces import Piece
from .shared.text import TokenizerParameters

if TYPE_CHECKING:
    from ..loading import LoadedBundle

# What tokenizer_encode_kwargs may hold for a chat beside the variables of its template.
_FOR_TOKENS = ("padding", "truncation", "max_length")
_NOT_FOR_CHATS = ("sanitize_control_tokens", "return_assistant_tokens_mask")
_IGNORED = ("return_tensors", "return_dict", "tokenize", "add_special_tokens")


class ReturnType(Enum):
    """What a result holds: ids, the new text, or the prompt with the new text."""

    TENSORS = 0
    NEW_TEXT = 1
    FULL_TEXT = 2


@dataclass(frozen=True)
class TextGenerationParameters(GenerationParameters):
    """The arguments of transformers' text-generation; `max_length` bounds the prompt's tokens and the whole's.

    `return_full_text`, `return_tensors` and `return_text` only ever say what `return_type` is.
    """

    return_full_text: bool | None = None
    return_tensors: bool | None = None
    return_text: bool | None = None
    return_type: Any = ReturnType.FULL_TEXT
    clean_up_tokenization_spaces: bool | None = None
    skip_special_tokens: bool = True
    prefix: str | None = None
    handle_long_generation: str | None = None
    stop_sequence: str | Sequence[str] | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None
    padding: bool | str | None = None
    truncation: bool | str | None = None
    max_length: int | None = None
    tokenizer_encode_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Any] | None = None
    documents: Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.handle_long_generation not in (None, "hole"):
            raise UsageError(f"handle_long_generation must be None or 'hole', got {self.handle_long_generation!r}")
        if not isinstance(self.tokenizer_encode_kwargs, Mapping):
            raise UsageError(f"tokenizer_encode_kwargs must be a dict, got {self.tokenizer_encode_kwargs!r}")
        if self.prefix is not None and not isinstance(self.prefix, str):
            raise UsageError(f"prefix must be a text, got {type(self.prefix).__name__}")
        stops = [self.stop_sequence] if isinstance(self.stop_sequence, str) else self.stop_sequence or []
        if not isinstance(stops, (list, tuple)) or not all(isinstance(stop, str) and stop for stop in stops):
            raise UsageError(f"stop_sequence must be a text or a list of texts, none empty, got {self.stop_sequence!r}")

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them; those that say what to return exclude each other."""
        made = super().updated(task, {name: value for name, value in options.items() if name != "return_type"})
        return dataclasses.replace(made, return_type=_return_type(options) or self.return_type)

    @property
    def stops(self) -> list[str]:
        """The texts that end an answer."""
        return [self.stop_sequence] if isinstance(self.stop_sequence, str) else list(self.stop_sequence or ())

    def for_tokenizer(self) -> dict[str, Any]:
        """Return the tokenizer's arguments as they were given."""
        own = {name: getattr(self, name) for name in ("add_special_tokens", *_FOR_TOKENS)}
        return {name: value for name, value in own.items() if value is not None} | dict(self.tokenizer_encode_kwargs)


@dataclass(frozen=True)
class Prompt:
    """A text or a chat as it was given, and how many of the tokens in its answers it has."""

    given: Any
    length: int


class TextGenerationPipeline(GenerationPipeline[list[GeneratedText], list[GeneratedText]]):
    """`(texts or chats, **generation)` -> [{"generated_text"}] for each: `num_return_sequences` of them.

    A text's result is the text with what follows it, a chat's is the chat with the answer as its last message;
    `return_full_text=False` gives the new text alone, `return_tensors=True` gives {"generated_token_ids"}.
    """

    parameters = TextGenerationParameters
    expects = "a text or a chat"
    input_name = "text_inputs"
    defaults: ClassVar[Mapping[str, Any]] = {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7}

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        # As in transformers, a length given here is generation's alone.
        self.options = dataclasses.replace(self.options, max_length=None)

    def arranged(self, inputs: Any, parameters: TextGenerationParameters) -> tuple[Any, TextGenerationParameters]:
        """Take an iterator over messages as one chat."""
        if isinstance(inputs, Iterator):
            first = list(islice(inputs, 1))
            inputs = [*first, *inputs] if first and is_message(first[0]) else chain(first, inputs)
        return inputs, parameters

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one text or one chat."""
        return isinstance(inputs, str) or is_chat(inputs)

    def pieces(self, item: Any, parameters: TextGenerationParameters) -> Iterator[Piece]:
        """Yield the prompt's tokens: what a chat's template makes of it, or the prefix and the text."""
        chat = is_chat(item)
        ids = self._chat_ids(item, parameters) if chat else self._text_ids(self.text(item), parameters)
        if parameters.handle_long_generation == "hole":
            ids = self._with_room(ids, parameters)
        context = Prompt(item, len(ids))
        yield Piece({"input_ids": ids if len(ids) else self._beginning(parameters)}, context)

    def result(
        self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: TextGenerationParameters
    ) -> list[dict[str, Any]]:
        """Return a record for each sequence of the one prompt."""
        prompt, answers = pieces[0].context, outputs[0]
        if parameters.return_type is ReturnType.TENSORS:
            return [{"generated_token_ids": sequence.tolist()} for sequence in answers.sequences]
        texts = [self._text_of(sequence, prompt, parameters) for sequence in answers.sequences]
        extras = answers.extras or [{}] * len(texts)
        return [{"generated_text": text, **extra} for text, extra in zip(texts, extras, strict=True)]

    def arguments(self, parameters: TextGenerationParameters) -> dict[str, Any]:
        """Return what generation is asked for; lengths that count the prompt count its prefix too."""
        given = super().arguments(parameters)
        if parameters.stops:
            given["stop_strings"] = parameters.stops
        if prefix := self._prefix(parameters):
            special = bool(parameters.add_special_tokens)
            added = len(self.tokenizer(prefix, add_special_tokens=special)["input_ids"][0])
            for length, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
                if given.get(length) is not None and new not in given:
                    given[length] += added
        return given

    def _prefix(self, parameters: TextGenerationParameters) -> str:
        return (self.config.get("prefix") or "") if parameters.prefix is None else parameters.prefix

    def _text_ids(self, text: str, parameters: TextGenerationParameters) -> np.ndarray:
        options = TokenizerParameters().updated("tokenizer_encode_kwargs", parameters.for_tokenizer()).for_tokenizer()
        return self._ids(self._prefix(parameters) + text, options)

    def _chat_ids(self, chat: Any, parameters: TextGenerationParameters) -> np.ndarray:
        for message in chat:
            if not is_message(message):
                raise UsageError(f"each message of a chat is a dict with 'role' and 'content', got {message!r}")
        given = parameters.for_tokenizer()
        if refused := [name for name in _NOT_FOR_CHATS if given.get(name)]:
            raise UnsupportedError(f"'{refused[0]}' is not supported for chats: leave it out")
        options = {name: given.pop(name) for name in _FOR_TOKENS if name in given}
        template, more = given.pop("chat_template", None), given.pop("tokenizer_kwargs", None) or {}
        continues = continues_last(chat, parameters)
        text = self.tokenizer.chat_templates.render(
            chat,
            tools=parameters.tools,
            documents=parameters.documents,
            chat_template=template,
            add_generation_prompt=not continues,
            continue_final_message=continues,
            special_tokens=self.tokenizer.special_tokens,
            variables={name: value for name, value in given.items() if name not in (*_IGNORED, *_NOT_FOR_CHATS)},
        )
        # A length alone cuts texts, but not chats.
        return self._ids(text, {"truncation": False, **options, **more, "add_special_tokens": False})

    def _ids(self, text: str, options: Mapping[str, Any]) -> np.ndarray:
        """Return a text's tokens [tokens], without padding: rows need none to run together."""
        encoded = self.tokenizer(text, **{**options, "return_attention_mask": True})
        return encoded["input_ids"][0][encoded["attention_mask"][0] == 1]

    def _beginning(self, parameters: TextGenerationParameters) -> np.ndarray:
        """Return what stands for a prompt without tokens."""
        token = self.arguments(parameters).get("bos_token_id", self.config.get("bos_token_id"))
        if not isinstance(token, int):
            raise UsageError(
                "a prompt without a single token needs a token to begin with: pass bos_token_id, or a text"
            )
        return np.array([token], np.int64)

    def _with_room(self, ids: np.ndarray, parameters: TextGenerationParameters) -> np.ndarray:
        """Return the last tokens of a prompt, so many that prompt and answer fit the model."""
        given, longest = self.arguments(parameters), self.tokenizer.model_max_length
        new = given.get("max_new_tokens")
        if new is None:
            new = (given.get("max_length") or 0) - len(ids)
        if new < 0:
            raise UsageError("handle_long_generation='hole' needs to know how long the answer is: pass max_new_tokens")
        if longest is None or len(ids) + new <= longest:
            return ids
        if new >= longest:
            raise UsageError(
                f"an answer of {new} tokens leaves no room for a prompt: the model accepts {longest} in all"
            )
        return ids[math.ceil(new) - longest :]

    def _text_of(self, sequence: np.ndarray, prompt: Prompt, parameters: TextGenerationParameters) -> Any:
        """Return what a sequence says: the new text, or what was given with the new text after it."""
        text = self._decoded(sequence[prompt.length :], parameters)
        if parameters.return_type is ReturnType.NEW_TEXT:
            return text
        if isinstance(prompt.given, str):
            return prompt.given + text
        if not continues_last(prompt.given, parameters):
            return [*prompt.given, self._message(text, sequence[: prompt.length], parameters)]
        last = prompt.given[-1]
        return [*prompt.given[:-1], {"role": last["role"], "content": _longer(last["content"], text)}]

    def _decoded(self, ids: np.ndarray, parameters: TextGenerationParameters) -> str:
        return self.tokenizer.decode(
            ids,
            # What a response template looks for are special tokens.
            skip_special_tokens=parameters.skip_special_tokens and not self._response_template,
            clean_up_tokenization_spaces=parameters.clean_up_tokenization_spaces,
        )

    def _message(self, text: str, prompt: np.ndarray, parameters: TextGenerationParameters) -> dict[str, Any]:
        """Return an answer as a message, with the fields that the checkpoint's response template finds in it."""
        if self._response_template is None:
            return {"role": "assistant", "content": text}
        from ..processing.chat.responses import parse_response

        prefix = self._decoded(prompt, parameters)
        return parse_response(self._response_template, text, prefix=prefix, tools=parameters.tools)

    @property
    def _response_template(self) -> Any:
        return getattr(self.tokenizer, "response_template", None)  # a tokenizer of the caller may know of none


def continues_last(chat: Any, parameters: TextGenerationParameters) -> bool:
    """Tell whether the answer goes on with the last message, which it does by default where that is the assistant's."""
    wish = parameters.continue_final_message
    return chat[-1]["role"] == "assistant" if wish is None else wish


def _longer(content: Any, text: str) -> Any:
    """Return a message's content with a text after it; in a list of blocks, after its last text."""
    if isinstance(content, str):
        return content + text
    blocks = list(content)
    place = max(index for index, block in enumerate(blocks) if "text" in block)
    return [*blocks[:place], {**blocks[place], "text": blocks[place]["text"] + text}, *blocks[place + 1 :]]


def _return_type(options: Mapping[str, Any]) -> ReturnType | None:
    """Return what the arguments of one call ask for, None where they leave it open."""
    wishes = [name for name in ("return_full_text", "return_text", "return_tensors") if options.get(name) is not None]
    if (kind := options.get("return_type")) is not None:
        return _named(kind)
    if len(wishes) > 1:
        raise UsageError(f"'{wishes[0]}' and '{wishes[1]}' exclude each other: keep one")
    if options.get("return_tensors"):
        return ReturnType.TENSORS
    full = options.get("return_full_text")
    return None if full is None else ReturnType.FULL_TEXT if full else ReturnType.NEW_TEXT


def _named(kind: Any) -> ReturnType:
    """Return the kind that is meant: one of ours, its number or name, or transformers' own."""
    name = kind.upper() if isinstance(kind, str) else getattr(kind, "name", kind)
    for known in ReturnType:
        if name in (known.name, known.value):
            return known
    allowed = ", ".join(known.name for known in ReturnType)
    raise UsageError(f"return_type must be one of {allowed}, got {kind!r}")
