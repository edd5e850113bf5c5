"""Chats to text: a checkpoint's chat templates, by name, and what they are shown of messages, tools and documents.

It knows no tokens; `chat_sandbox` says what a template may do.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import IntegrityError, UsageError, VitrifyError
from ...json_files import read_object
from ..text.special_tokens import NAMED
from .tools import tool_schemas

Message = Mapping[str, Any]
Chat = Sequence[Message]

FILE = "chat_template.jinja"
FOLDER = "additional_chat_templates"
_CONFIG = "tokenizer_config.json"
# A message's reasoning has had several names; the first is the one that templates read today.
_REASONING = ("reasoning_content", "thinking", "reasoning")
# Written behind the message to continue, to find its end in the rendered text again.
_END = "(the end of the message to continue) "


def is_message(item: Any) -> bool:
    """Tell whether an item is a message of a chat: a mapping with a role and a content."""
    return isinstance(item, Mapping) and "role" in item and "content" in item


def is_chat(item: Any) -> bool:
    """Tell whether an item is a chat: a list of messages, at least one."""
    return isinstance(item, (list, tuple)) and bool(item) and is_message(item[0])


@dataclass(frozen=True)
class ChatTemplates:
    """The chat templates of a checkpoint: `sources` by name, of which most have one, "default"."""

    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_folder(cls, folder: Path) -> "ChatTemplates":
        """Return the templates of a bundle or a checkpoint.

        They lie in `chat_template.jinja` and `additional_chat_templates/`, or else in `tokenizer_config.json`.
        IntegrityError: a file that is no text, or an entry that is no template.
        """
        files = {"default": folder / FILE} if (folder / FILE).is_file() else {}
        files |= {path.stem: path for path in sorted((folder / FOLDER).glob("*.jinja"))}
        if files:
            return cls({name: _read(path) for name, path in files.items()})
        config = folder / _CONFIG
        return cls(_configured(read_object(config).get("chat_template"))) if config.is_file() else cls()

    def __bool__(self) -> bool:
        return bool(self.sources)

    def source(self, name: str | None = None, *, tools: Any = None) -> str:
        """Return a template by its name, or `name` itself where it is none: then it is a template.

        By default the one named "tool_use" where there are tools, else "default".
        """
        if name is not None:
            return self.sources.get(name, name)
        for wanted in ("tool_use", "default") if tools is not None else ("default",):
            if wanted in self.sources:
                return self.sources[wanted]
        if self.sources:
            raise UsageError(
                f"this checkpoint has no default chat template: pass chat_template=, one of {[*self.sources]}"
            )
        raise UsageError(
            "this checkpoint has no chat template: pass a text, or a template of your own as chat_template="
        )

    def render(
        self,
        messages: Chat,
        *,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        special_tokens: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a chat as the text that its model reads.

        Parameters
        ----------
        messages
            Dicts with at least a `role`; entries that are None are left out.
        tools
            JSON schemas or Python functions (`tools.function_schema`).
        documents
            Dicts, mostly with `title` and `text`.
        chat_template
            The name of one of the checkpoint's templates, or a template.
        add_generation_prompt
            End with what begins an answer, where the template heeds it.
        continue_final_message
            End within the last message, for the model to go on with it; a str names the entry to continue.
        special_tokens, variables
            What else the template sees by name; `variables` win.

        Raises
        ------
        UsageError
            The template refuses the chat or fails on it, or an argument cannot be right.
        IntegrityError
            The template is none, does not end, makes too much, or reaches for what it must not.

        """
        source = self.source(chat_template, tools=tools)
        if continue_final_message and add_generation_prompt:
            raise UsageError("continue_final_message and add_generation_prompt exclude each other: keep one")
        chat = _shown_chat(messages)
        final = _mark_end(chat[-1], continue_final_message, source) if continue_final_message else None
        shown = {
            **{name: token for name, token in (special_tokens or {}).items() if name in NAMED},
            **_shown(dict(variables or {})),
            "messages": chat,
            "tools": _shown(tool_schemas(tools)),
            "documents": _shown(_checked_documents(documents)),
            "add_generation_prompt": add_generation_prompt,
        }
        text = render_template(source, shown, given=source not in self.sources.values())
        return text if final is None else _cut_at_end(text, final)


def render_template(source: str, variables: Mapping[str, Any], *, given: bool = False) -> str:
    """Return what a template makes of the variables; `given` says that it came from the caller, not from a file."""
    import jinja2
    from jinja2.sandbox import SecurityError

    fault = UsageError if given else IntegrityError
    try:
        sandbox, template = _compiled(source)
        return sandbox.rendered(template, variables)
    except jinja2.TemplateSyntaxError as error:
        raise fault(f"the chat template cannot be read: line {error.lineno}: {_line(error)}") from error
    except SecurityError as error:
        raise fault(f"the chat template is rejected: {_line(error)}") from error
    except (RecursionError, MemoryError) as error:
        raise fault("the chat template is rejected: it calls itself without end, or is nested too deep") from error
    except jinja2.UndefinedError as error:
        raise UsageError(f"the chat template misses something in this chat: {_line(error)}") from error
    except jinja2.TemplateError as error:
        raise UsageError(f"the chat template rejects this chat: {_line(error)}") from error
    except VitrifyError:
        raise
    except Exception as error:  # a template may raise anything
        raise UsageError(f"the chat template fails on this chat: {type(error).__name__}: {_line(error)}") from error


@lru_cache(maxsize=16)
def _compiled(source: str) -> tuple[Any, Any]:
    from .sandbox import Sandbox

    sandbox = Sandbox()
    return sandbox, sandbox.compiled(source)


def _line(error: Exception) -> str:
    """Return an error's message on one line of bounded length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(f"'{path}' cannot be read as text: {error}; export the bundle again") from error


def _configured(entry: Any) -> dict[str, str]:
    """Return the templates in a tokenizer config: one, or a list of them with their names."""
    if entry is None:
        return {}
    if isinstance(entry, str):
        return {"default": entry}
    if isinstance(entry, list) and all(isinstance(item, dict) for item in entry):
        entry = [(item.get("name"), item.get("template")) for item in entry]
    named = list(entry.items()) if isinstance(entry, dict) else entry
    if isinstance(named, list) and all(isinstance(text, str) for pair in named for text in pair):
        return dict(named)
    raise IntegrityError(f"{_CONFIG}: chat_template is neither a template nor a list of named ones")


def _shown_chat(messages: Any) -> list[dict[str, Any]]:
    """Return the messages as a template sees them, a copy; None is as good as absent."""
    if not isinstance(messages, (list, tuple)) or not messages:
        raise UsageError(f"a chat is a list of at least one message, got {_brief(messages)}")
    chat = []
    for message in _shown(messages):
        if not isinstance(message, dict):
            raise UsageError(f"a message is a dict with 'role' and 'content', got {_brief(message)}")
        there = {name: value for name, value in message.items() if value is not None}
        reasoning = next((there[name] for name in _REASONING if name in there), None)
        chat.append(there if reasoning is None else {"thinking": reasoning, **there, "reasoning_content": reasoning})
    return chat


def _checked_documents(documents: Any) -> Any:
    if documents is not None and not (
        isinstance(documents, (list, tuple)) and all(isinstance(item, Mapping) for item in documents)
    ):
        raise UsageError(
            f"documents must be a list of dicts, such as {{'title': …, 'text': …}}, got {_brief(documents)}"
        )
    return documents


def _shown(value: Any) -> Any:
    """Return a value as plain data: a template must not meet an object whose methods do something."""
    try:
        return _plain(value)
    except RecursionError:
        raise UsageError("a chat, its tools and documents must not contain themselves") from None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return value if type(value) is kind else getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return {_plain(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(map(_plain, value))
    if isinstance(value, np.generic):
        return _plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic
        return _plain(dump())
    return f"<{type(value).__name__}>"  # images and arrays: templates only ask whether they are there


def _mark_end(message: dict[str, Any], wish: bool | str, source: str) -> str:
    """Write the mark behind the text to continue, in the message; return that text."""
    entry = wish if isinstance(wish, str) else "content"
    final = message.get(entry)
    names = [name for name in _REASONING if message.get(name) == final] if entry in _REASONING else [entry]
    if final is None:
        raise UsageError(f"continue_final_message needs a last message with '{entry}', it has {', '.join(message)}")
    if not any(name in source for name in names):
        raise UsageError(f"continue_final_message: the chat template does not read '{entry}'")
    if isinstance(final, str):
        message.update(dict.fromkeys(names, final + _END))
        return final
    for block in reversed(final) if isinstance(final, (list, tuple)) else ():
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            text = block["text"]
            block["text"] += _END
            return text
    raise UsageError("continue_final_message: the last message has no text to go on with")


def _cut_at_end(text: str, final: str) -> str:
    """Return the text up to the mark; where the template trimmed what follows the message, trimmed too."""
    place = text.rfind(_END.strip())
    if place < 0 or final.strip() not in text:
        raise UsageError("continue_final_message: the chat template leaves the end of the last message out")
    kept = text[:place]
    return kept if text.startswith(_END, place) else kept.rstrip()


def _brief(value: Any) -> str:
    text = re.sub(r"\s+", " ", repr(value))
    return text if len(text) <= 60 else f"{text[:60]}…"
