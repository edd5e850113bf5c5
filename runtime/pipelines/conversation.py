"""A chat with a model: turns that the pipeline answers one after another, each text as it comes; it prints nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError, VitrifyError
from ..generation.streaming import TextStreamer

Message = dict[str, str]
Write = Callable[[str], Any]


class Conversation:
    """The turns so far of a text-generation pipeline; `options` are the arguments of every answer.

    Raises UsageError for a pipeline that does not chat: another task, or a checkpoint without a chat template.
    """

    def __init__(self, pipe: Any, *, system: str | None = None, options: Mapping[str, Any] | None = None) -> None:
        if pipe.tokenizer is None or not getattr(pipe.tokenizer, "chat_templates", None):
            raise UsageError(
                f"'{pipe.bundle.name}' has no chat template: continue texts with vitrify run text-generation"
            )
        self._pipe = pipe
        self._options = dict(options or {})
        self.system = system
        self.turns: list[Message] = []

    def reset(self, system: str | None = None) -> None:
        """Forget the turns; a text replaces the system prompt."""
        self.turns.clear()
        self.system = self.system if system is None else system

    def answer(self, text: str, write: Write) -> str:
        """Return the model's answer, of which `write` gets each part as soon as it is certain.

        Ctrl-C ends the answer, and what was written of it counts. After an error the turn is as if it was not.
        """
        written: list[str] = []

        def hand_on(part: str) -> None:
            written.append(part)
            write(part)

        self.turns.append(_message("user", text))
        streamer = TextStreamer(
            self._pipe.tokenizer, skip_prompt=True, to=hand_on, every_token=True, skip_special_tokens=True
        )
        try:
            self._pipe(self._messages, streamer=streamer, return_full_text=False, **self._options)
        except KeyboardInterrupt:
            pass  # an answer that is cut short
        except VitrifyError:
            self.turns.pop()
            raise
        self.turns.append(_message("assistant", "".join(written)))
        return self.turns[-1]["content"]

    @property
    def _messages(self) -> list[Message]:
        return [*([_message("system", self.system)] if self.system else []), *self.turns]


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
