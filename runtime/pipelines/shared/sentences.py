"""What the tasks of sentence-transformers share: its settings, and how long a text may be."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from ...processing.text.sentences import SentenceSettings
from .base import Each, Single
from .text import TextPipeline


class SentencePipeline(TextPipeline[Single, Each]):
    """A task on texts that are cut, without a word, to what the checkpoint's settings call the longest text."""

    default_batch_size: ClassVar[int] = 32
    # Prompts that are there without being listed.
    own_prompts: ClassVar[Mapping[str, str]] = {}

    @cached_property
    def settings(self) -> SentenceSettings:
        """The settings of sentence-transformers that the bundle contains."""
        return SentenceSettings.from_files(self.loaded.read_settings, self.own_prompts)

    def longest(self, task: str | None = None) -> int | None:
        """Return how many tokens a text may have: as the settings say, or else the tokenizer and the model."""
        if (own := self.settings.longest.get(task, self.settings.longest.get(None))) is not None:
            return own
        positions = self.config.get("max_position_embeddings")
        graph = self.loaded.bundle.axes.get("sequence")
        limits = (self.tokenizer.model_max_length, positions, graph and graph.maximum)
        return min((limit for limit in limits if limit is not None and limit > 0), default=None)

    def encoded(self, text: str, pair: str | None = None, *, task: str | None = None) -> Any:
        """Return the tokens of a text or of a pair, cut to the longest."""
        longest = self.longest(task)
        # A row of a batch: alone, an empty second text would be none to the tokenizer.
        rows = [text] if pair is None else [(text, pair)]
        return self.tokenizer(rows, truncation="longest_first" if longest else False, max_length=longest)
