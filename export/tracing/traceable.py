"""What a tracer would freeze, or trace though it does nothing: a row for each function that it shall follow otherwise.

1. A row names a function or method of transformers or torch and gives another that returns the same for every size.
2. Rows hold only while a model is traced; the parity gate compares with the function as it is.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import torch

_ATTENTION = torch.nn.functional.scaled_dot_product_attention


def _moonshine_states(_model: Any, samples: Any) -> Any:
    """Return how many states three convolutions leave of so many samples; `int(...)` of a quotient is a constant."""
    for kernel, stride in ((127, 64), (7, 3), (3, 2)):
        samples = (samples - kernel) // stride + 1
    return samples


def _needs_no_mask(padding: Any, _: Any, window: Any = None) -> bool:
    """Whether every token sees every other; transformers makes masks of nothing but True where a model is traced.

    Without padding there is no content to look at: a ViT adds zeros to all its scores, and chooses among its results.
    """
    return padding is None and window is None


def _keys_for_every_head(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> Any:
    """Give every head of queries keys of its own: the tracer's attention does not broadcast one head of keys to many.

    PyTorch's does, and the first Falcon counts on it.
    """
    if query.ndim == 4 and key.shape[1] == 1 != query.shape[1]:
        key, value = (side.expand(-1, query.shape[1], -1, -1) for side in (key, value))
    return _ATTENTION(query, key, value, *rest, **named)


_MOONSHINE = "transformers.models.moonshine.modeling_moonshine:MoonshinePreTrainedModel"
_ROWS: Mapping[str, Callable[..., Any]] = {
    "torch.nn.functional:scaled_dot_product_attention": _keys_for_every_head,
    "transformers.masking_utils:_ignore_bidirectional_mask_sdpa": _needs_no_mask,
    f"{_MOONSHINE}._get_feat_extract_output_lengths": _moonshine_states,
}


@contextlib.contextmanager
def traceable() -> Iterator[None]:
    """Let the rows stand in for the functions of the modules that are loaded."""
    with contextlib.ExitStack() as stack:
        for row, function in _ROWS.items():
            path, _, name = row.partition(":")
            if path in sys.modules:
                stack.enter_context(mock.patch(f"{path}.{name}", function))
        yield
