"""The two fakes at the seams: a session that computes in Python, and a loaded bundle as pipelines see it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vitrify.runtime.processing.audio.features import SpeechProcessor
from vitrify.runtime.processing.text.tokenizer import Tokenizer
from vitrify.runtime.sessions.base import Session

Row = Mapping[str, Any]


class FakeSession(Session):
    """A session whose outputs are a function of its feeds; it knows whether it was closed."""

    def __init__(self, computes, *, inputs=(), outputs=(), graph="fake.onnx", providers=("fake",), optional=()):
        super().__init__(graph=graph, inputs=inputs, outputs=outputs, providers=providers, optional=optional)
        self.computes = computes
        self.closed = False

    def _run(self, feeds):
        return self.computes(feeds)

    def close(self):
        self.closed = True


def altered(session, change):
    """Return a session that feeds `session` what `change` makes of its feeds."""
    return FakeSession(
        lambda feeds: session.run(change(dict(feeds)), checked=False),
        inputs=session.inputs,
        outputs=session.outputs,
        graph=session.graph,
        providers=session.providers,
        optional=session.optional,
    )


@dataclass
class FakeBundle:
    """A loaded bundle whose graph is a function of a row; its processors are read from `folder`.

    `batches` has what `noted` says of each batch, `threads` the thread that ran it.
    """

    computes: Callable[[Row], Row] = dict
    name: str = "fake"
    folder: Path | None = None
    noted: Callable[[Sequence[Row]], Any] = len
    before_each: Callable[[Any], object] = lambda noted: None
    profile: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="cpu-fp32", provider="cpu"))
    config: Mapping[str, Any] = field(default_factory=dict)
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    batches: list[Any] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @cached_property
    def tokenizer(self):
        return Tokenizer.from_folder(self.folder)

    @cached_property
    def speech_processor(self):
        return SpeechProcessor.from_folder(self.folder)

    def read_settings(self, name):
        return self.settings.get(name, {})

    def run_rows(self, rows):
        noted = self.noted(rows)
        self.before_each(noted)
        self.batches.append(noted)
        self.threads.append(threading.current_thread())
        return [self.computes(row) for row in rows]
