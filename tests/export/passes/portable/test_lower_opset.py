"""An older opset is declared only for operators that it has."""

import pytest

from tests.graphs import graph_of
from vitrify.export.passes.portable.lower_opset import lower_opset
from vitrify.runtime.errors import UnsupportedError


def test_operators_of_onnxruntime_have_no_version():
    graph = graph_of(
        "own (float[batch, 4] a) => (float[batch, 4] b) <float[4] s> "
        "{ b = SimplifiedLayerNormalization<axis = -1>(a, s) }"
    )
    lower_opset(graph, 18)
    assert graph.graph.opset_imports[""] == 18


def test_an_operator_that_is_newer_is_named():
    graph = graph_of("newer (float[batch] a) => (float[batch] b) { b = Gelu(a) }")
    with pytest.raises(UnsupportedError, match="Gelu, an operator of opset 20, and the profile's 'opset' is 18"):
        lower_opset(graph, 18)
    lower_opset(graph, 20)
    assert graph.graph.opset_imports[""] == 20
