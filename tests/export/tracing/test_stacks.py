"""Layers that are alike are traced once: the graph is the same model, and one that would not be is traced whole."""

from types import SimpleNamespace

import numpy as np
import onnx_ir
import pytest
import torch
import transformers

from vitrify.export.compiler import _may_look_alike
from vitrify.export.passes.portable.deepen_stacks import Depth, deepen_stack
from vitrify.export.passes.running import Refusal
from vitrify.export.tracing.stacks import cut, find_stacks
from vitrify.export.tracing.tracer import graph_from_model
from vitrify.export.verification.plan import Plan
from vitrify.profiles import load_profile

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "vocab_size": 40}
# Two layers `layers.N`: states times a weight, plus a table that both read. Names may hold no dots here.
CHAIN = """
<ir_version: 10, opset_import: ["" : 20]>
chain (float[batch, 3] x, float[batch, 3] past_key_values__0__key, float[batch, 3] past_key_values__1__key,
       float[3] layers__0__w, float[3] layers__1__w, float[3] table)
    => (float[batch, 3] y, float[batch, 3] present__0__key, float[batch, 3] present__1__key)
{
    shared = Mul(table, table)
    a = Mul(x, layers__0__w)
    present__0__key = Add(a, past_key_values__0__key)
    state__0 = Add(present__0__key, shared)
    b = Mul(state__0, layers__1__w)
    present__1__key = Add(b, past_key_values__1__key)
    state__1 = Add(present__1__key, shared)
    y = Neg(state__1)
}
"""
LAYERS = {"a": 0, "present.0.key": 0, "state.0": 0, "b": 1, "present.1.key": 1, "state.1": 1}
WEIGHTS = {f"layers.{index}.w": torch.full((3,), float(index + 2)) for index in range(4)}
DEPTH = Depth("layers", (0, 1, 1, 1), WEIGHTS)


def chain(text=CHAIN, layers=LAYERS):
    model = onnx_ir.from_onnx_text(text)
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
        value.name = value.name.replace("__", ".")
        value.type, value.shape = onnx_ir.TensorType(onnx_ir.DataType.FLOAT), onnx_ir.Shape(["batch", 3])
    for value in model.graph.inputs[3:]:  # the weights, which this text cannot hold
        numbers = WEIGHTS[value.name].numpy() if value.name in WEIGHTS else np.array([1, 2, 3], np.float32)
        value.const_value, value.shape = onnx_ir.tensor(numbers, name=value.name), onnx_ir.Shape([3])
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    for node in model.graph:
        if (layer := layers.get(node.outputs[0].name)) is not None:
            node.metadata_props["pkg.torch.onnx.name_scopes"] = f"['', 'layers.{layer}', 'x']"
    return model


def run(model, feeds):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_ir.to_proto(model).SerializeToString())
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


def test_new_layers_have_their_own_weights_and_cache_and_share_the_rest():
    model = chain()
    deepen_stack(model, DEPTH)
    past = {f"past_key_values.{index}.key": np.full((2, 3), 10.0 * index, np.float32) for index in range(4)}
    x = np.ones((2, 3), np.float32)
    got, state = run(model, {"x": x, **past}), x
    for index in range(4):
        key = state * (index + 2) + past[f"past_key_values.{index}.key"]
        assert np.array_equal(got[f"present.{index}.key"], key)
        state = key + np.array([1, 4, 9], np.float32)
    assert np.array_equal(got["y"], -state)


def test_the_last_state_may_be_the_output():
    model = chain(CHAIN.replace("y = Neg(state__1)", "y = Identity(state__1)"))
    identity = next(node for node in model.graph if node.op_type == "Identity")
    last = identity.inputs[0]
    model.graph.outputs[0] = last
    model.graph.remove(identity, safe=False)
    last.name = "y"
    deepen_stack(model, DEPTH)
    assert model.graph.outputs[0].name == "y"
    past = {f"past_key_values.{index}.key": np.zeros((1, 3), np.float32) for index in range(4)}
    assert run(model, {"x": np.zeros((1, 3), np.float32), **past})["y"][0, 0] == ((1 * 3 + 1) * 4 + 1) * 5 + 1


def test_a_graph_without_the_stack_stays_as_it_is():
    model = chain(layers={})
    deepen_stack(model, DEPTH)
    assert len(model.graph.inputs) == 3


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("y = Neg(state__1)", "y = Add(state__1, state__0)", "beyond the next"),
        ("y = Neg(state__1)", "y = Add(state__1, b)", "hands on 2 values"),
    ],
)
def test_what_is_no_chain_is_refused(old, new, reason):
    with pytest.raises(Refusal, match=reason):
        deepen_stack(chain(CHAIN.replace(old, new)), DEPTH)


def test_a_layer_without_its_weights_is_refused():
    with pytest.raises(Refusal, match=r"layer 3 has no weight 'layers\.3\.w'"):
        deepen_stack(chain(), Depth("layers", (0, 1, 1, 1), {name: WEIGHTS[name] for name in list(WEIGHTS)[:3]}))


@pytest.mark.parametrize(
    ("config", "templates"),
    [
        (transformers.BertConfig(**TINY, num_hidden_layers=4), {"bert.encoder.layer": (0, 1, 1, 1)}),
        (transformers.BertConfig(**TINY, num_hidden_layers=2), {}),
        (transformers.GPT2Config(n_embd=32, n_head=2, n_layer=3), {"transformer.h": (0, 1, 1)}),
        # Attention that is scaled by a layer's number: no two are alike.
        (transformers.GPT2Config(n_embd=32, n_head=2, n_layer=3, scale_attn_by_inverse_layer_idx=True), {}),
        (
            transformers.Gemma2Config(**TINY, num_key_value_heads=1, head_dim=16, num_hidden_layers=5),
            {"model.layers": (0, 1, 2, 1, 2)},  # windows and full attention take turns
        ),
    ],
    ids=["alike", "nothing to leave out", "the same scale", "a scale each", "taking turns"],
)
def test_one_layer_of_each_kind_is_traced(config, templates):
    kind = transformers.AutoModelForMaskedLM if config.model_type == "bert" else transformers.AutoModelForCausalLM
    model = kind.from_config(config)
    assert {stack.path: stack.templates for stack in find_stacks(model)} == templates


def test_a_model_is_whole_again_after_a_trace_that_fails():
    model = transformers.AutoModel.from_config(transformers.BertConfig(**TINY, num_hidden_layers=4))
    layers = list(model.encoder.layer)

    def failing():
        with cut(find_stacks(model)):
            assert len(model.encoder.layer) == 2
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        failing()
    assert all(one is other for one, other in zip(model.encoder.layer, layers, strict=True))


def test_the_graph_is_that_of_a_whole_trace():
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(transformers.BertConfig(**TINY, num_hidden_layers=4)).eval()
    given = {"input_ids": torch.ones(2, 7, dtype=torch.int64), "attention_mask": torch.ones(2, 7, dtype=torch.int64)}
    axes = {name: {0: "batch", 1: "sequence"} for name in given}
    options = {"axes": axes, "outputs": ("last_hidden_state",), "opset": 20, "ir_version": 10}
    deep, whole = (graph_from_model(model, given, **options, whole=whole) for whole in (False, True))
    assert len(deep.graph) <= len(whole.graph)
    assert len(deep.graph.initializers) <= len(whole.graph.initializers)
    ids = np.random.default_rng(0).integers(0, 40, (3, 5))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    found, expected = (run(graph, feeds)["last_hidden_state"] for graph in (deep, whole))
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("profiles", "failed", "whole", "again"),
    [
        (("cpu-fp32", "cpu-int8"), "cpu-fp32", False, True),
        (("cpu-fp32", "cpu-int8"), "cpu-int8", False, False),  # float32 has shown that the graph is right
        (("cpu-int8",), "cpu-int8", False, True),
        (("cpu-fp32",), "cpu-fp32", True, False),
    ],
)
def test_a_failure_that_may_come_from_likeness_asks_for_a_whole_trace(profiles, failed, whole, again):
    model = transformers.AutoModel.from_config(transformers.BertConfig(**TINY, num_hidden_layers=4))
    plan = Plan(traced={}, grid=(), axes={}, whole=whole)
    targets = [load_profile(name) for name in profiles]
    assert _may_look_alike(SimpleNamespace(model=model), plan, targets, {failed}) is again
