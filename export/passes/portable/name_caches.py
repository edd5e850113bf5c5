"""Give the tracer's cache tensors the names that other loaders know: `past_key_values.0.key`, `present.0.key`.

1. An input `…past_key_values.layers.N.keys` becomes `past_key_values.N.key`, the output of that name `present.N.key`.
2. Of an encoder-decoder's two caches, `…self_attention_cache…` becomes `past_key_values.N.decoder.key` and
   `…cross_attention_cache…` `past_key_values.N.encoder.key`.
"""

import re

import onnx_ir

from ....runtime.graphs.signature import PAST, PRESENT

_LEAF = re.compile(r"past_key_values\.(?:(self|cross)_attention_cache\.)?layers\.(\d+)\.(key|value)s$")
_SIDES = {None: "", "self": "decoder.", "cross": "encoder."}


def name_caches(graph: onnx_ir.Model) -> None:
    """Rename the cache's inputs and outputs, in place."""
    for values, prefix in ((graph.graph.inputs, PAST), (graph.graph.outputs, PRESENT)):
        for value in values:
            if found := _LEAF.search(str(value.name)):
                side, layer, part = found.groups()
                value.name = f"{prefix}{layer}.{_SIDES[side]}{part}"
