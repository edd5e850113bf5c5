"""Pooling: the states of a text's tokens become one vector, in every mode of sentence-transformers 6.2.

Only arithmetic on masks chooses positions: `argmax` of equal values is not the first on every provider.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch

from ...runtime.errors import IntegrityError
from .features import MASK, POOLED, STATES, VECTOR, Features

_LEAST = 1e-9
_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def _cls(states: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return the first token's state; of a text that is all padding the first one's."""
    return _at(states, _first(mask))


def _max(states: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)


def _mean(states: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    weights = mask.to(states.dtype)
    return _weighted(states, weights / weights.sum(1, keepdim=True).clamp(min=_LEAST))


def _mean_sqrt(states: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    weights = mask.to(states.dtype)
    return _weighted(states, weights / weights.sum(1, keepdim=True).clamp(min=_LEAST).sqrt())


def _weighted_mean(states: torch.Tensor, mask: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Weigh each token by its place in the text, prompt included, from 1 on."""
    places = _places(whole) + 1 - _first(whole)
    weights = (mask * places).to(states.dtype)
    return _weighted(states, weights / weights.sum(1, keepdim=True).clamp(min=_LEAST))


def _last(states: torch.Tensor, mask: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return the last token's state, zeros for a text that is all padding."""
    ends = (mask * (_places(mask) + 1)).amax(dim=1, keepdim=True)
    return _at(states, (ends - 1).clamp(min=0)) * (ends > 0).to(states.dtype)


MODES: Mapping[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}


class Pooling(torch.nn.Module):
    """One vector for each text, the modes' side by side; without `include_prompt` not of the prompt's tokens."""

    def __init__(self, modes: tuple[str, ...], *, include_prompt: bool = True) -> None:
        super().__init__()
        self.modes, self.include_prompt = modes, include_prompt

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str) -> Self:
        """Return the pooling that a config.json describes, of any release; raise IntegrityError for an unknown mode."""
        found = settings.get("pooling_mode") or [mode for key, mode in _LEGACY.items() if settings.get(key)] or "mean"
        modes = (found,) if isinstance(found, str) else tuple(found)
        if unknown := [mode for mode in modes if mode not in MODES]:
            raise IntegrityError(f"'{where}' names the pooling mode {unknown[0]!r} (known: {', '.join(MODES)})")
        return cls(modes, include_prompt=bool(settings.get("include_prompt", True)))

    def forward(self, features: Features) -> Features:
        """Return the features with `sentence_embedding` [batch, modes * hidden]."""
        whole = features[MASK]
        mask = whole if self.include_prompt else whole * features[POOLED]
        made = [MODES[mode](features[STATES], mask, whole) for mode in self.modes]
        return {**features, VECTOR: made[0] if len(made) == 1 else torch.cat(made, dim=-1)}


def _places(mask: torch.Tensor) -> torch.Tensor:
    """Return 0, 1, 2, … for each row, int64 [1, tokens]."""
    return torch.arange(mask.shape[1], device=mask.device).unsqueeze(0)


def _first(mask: torch.Tensor) -> torch.Tensor:
    """Return the place of each row's first 1, int64 [batch, 1]; 0 where there is none."""
    length = mask.shape[1]
    remaining = (mask * (length - _places(mask))).amax(dim=1, keepdim=True)
    return (length - remaining) * (remaining > 0).to(mask.dtype)


def _at(states: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return each row's state at its place [batch, 1]."""
    return torch.gather(states, 1, place.unsqueeze(-1).expand(-1, 1, states.shape[-1])).squeeze(1)


def _weighted(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted sum; weights that sum to about 1 first, so that half precision does not overflow."""
    return torch.matmul(weights.unsqueeze(1), states).squeeze(1)
