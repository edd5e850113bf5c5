"""The turns of `vitrify chat` as they are typed: several lines, commands, an end; it knows no model."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

FENCE, CONTINUED = '"""', "\\"
COMMANDS = {
    "/reset": "forget the conversation",
    "/system": "forget it, with the text that follows as the system prompt",
    "/help": "show this",
    "/exit": "end the chat (or Ctrl-D)",
}
Ask = Callable[[str], str]


class Turn(NamedTuple):
    """What was typed: a text, or a command with the text after it."""

    text: str
    command: str | None = None


def read_turns(ask: Ask) -> Iterator[Turn]:
    """Yield turns until `/exit` or the end; `ask` shows a prompt and returns a line, or raises EOFError.

    A line that ends with a backslash goes on in the next one, and so does what stands between lines of three quotes.
    Ctrl-C drops what was typed. `//` begins a text with one slash.
    """
    while True:
        try:
            text = _text(ask)
        except EOFError:
            return
        except KeyboardInterrupt:
            yield Turn("", "interrupted")
            continue
        word, _, rest = text.partition(" ")
        if word == "/exit":
            return
        if text.startswith("/") and not text.startswith("//"):
            yield Turn(rest.strip(), word)
        elif text.strip():
            yield Turn(text.removeprefix("/") if text.startswith("//") else text)


def _text(ask: Ask) -> str:
    line = ask("> ")
    if line.strip() == FENCE:
        return "\n".join(iter(lambda: _inside(ask), FENCE))
    lines = [line]
    while lines[-1].endswith(CONTINUED):
        lines[-1] = lines[-1].removesuffix(CONTINUED)
        lines.append(ask(". "))
    return "\n".join(lines)


def _inside(ask: Ask) -> str:
    line = ask(". ")
    return FENCE if line.strip() == FENCE else line


def help_text() -> str:
    """Return how a chat is operated."""
    width = max(map(len, COMMANDS))
    known = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    several = f"  several lines: end a line with {CONTINUED}, or put them between lines of {FENCE}"
    return f"{known}\n{several}\n  Ctrl-C ends an answer"
