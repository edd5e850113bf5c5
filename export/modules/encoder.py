"""A transformer with the modules that follow it as one module, whose forward is the graph's signature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

from .features import MASK, POOLED, STATES, VECTOR, Features
from .pooling import Pooling


@dataclass
class SentenceOutput(ModelOutput):
    """The states of the tokens, and the vector of the text: of its own for queries or documents behind a router."""

    last_hidden_state: torch.Tensor | None = None
    sentence_embedding: torch.Tensor | None = None
    sentence_embedding_query: torch.Tensor | None = None
    sentence_embedding_document: torch.Tensor | None = None


class SentenceEncoder(torch.nn.Module):
    """`chains` maps each vector that it gives to the modules that make it of the states."""

    main_input_name = "input_ids"

    def __init__(self, model: Any, chains: Mapping[str, Sequence[torch.nn.Module]]) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.chains = torch.nn.ModuleDict({name: torch.nn.ModuleList(chain) for name, chain in chains.items()})

    @property
    def leaves_out_prompts(self) -> bool:
        """Whether a pooling leaves out the tokens of the prompt, for which the graph has an input."""
        return any(isinstance(each, Pooling) and not each.include_prompt for each in self.chains.modules())

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        pooling_mask: torch.Tensor | None = None,
    ) -> SentenceOutput:
        """Return the states [batch, tokens, hidden] and the vectors [batch, size]."""
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        inputs = {name: value for name, value in given.items() if value is not None}
        states = self.model(input_ids=input_ids, **inputs).last_hidden_state
        features: Features = {STATES: states, MASK: torch.ones_like(input_ids)}
        features |= {MASK: attention_mask} if attention_mask is not None else {}
        features |= {POOLED: pooling_mask} if pooling_mask is not None else {}
        return SentenceOutput(states, **{name: _made(chain, features) for name, chain in self.chains.items()})


def _made(chain: Any, features: Features) -> torch.Tensor:
    for module in chain:
        features = module(features)
    return features[VECTOR]
