"""Folders as optimum lays them out, made from tiny checkpoints by TorchScript's exporter, as optimum makes them.

The names, axes and the way decoders are merged are those of optimum-onnx 0.1.0; tests/interop has the real ones.
"""

import contextlib
import io
import shutil
import warnings
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from vitrify import load_bundle

NEAR = 1e-4
HALF = 2e-2
KEYS = ("key", "value")
SETTINGS = ("*.json", "*.txt", "*.jinja")
_TOTAL = "past_sequence_length + sequence_length"
_AXES = {
    "input_ids": {0: "batch_size", 1: "sequence_length"},
    "attention_mask": {0: "batch_size", 1: "sequence_length"},
    "token_type_ids": {0: "batch_size", 1: "sequence_length"},
    "position_ids": {0: "batch_size", 1: "sequence_length"},
    "encoder_hidden_states": {0: "batch_size", 1: "encoder_sequence_length"},
    "encoder_attention_mask": {0: "batch_size", 1: "encoder_sequence_length"},
}


def settings_of(checkpoint: Path, folder: Path) -> Path:
    """Copy the files beside a checkpoint's weights into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in SETTINGS:
        for path in checkpoint.glob(pattern):
            shutil.copy(path, folder)
    return folder


class Traced(torch.nn.Module):
    """A function of tensors by position, as TorchScript's exporter wants them."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *tensors):
        return self.function(self.model, *tensors)


def export(model, function, path, inputs, outputs, *, axes=None):
    """Trace `function(model, *tensors)` into the file at `path`."""
    dynamic = {name: (axes or {}).get(name) or _axes_of(name) for name in (*inputs, *outputs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Traced(model, function).eval(),
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: found for name, found in dynamic.items() if found},
            opset_version=18,
            dynamo=False,
        )


def _axes_of(name):
    if name.startswith("past"):
        return {0: "batch_size", 2: "encoder_sequence_length" if ".encoder." in name else "past_sequence_length"}
    if name.startswith("present"):
        return {0: "batch_size", 2: "encoder_sequence_length" if ".encoder." in name else _TOTAL}
    return _AXES.get(name)


def ids(rows, tokens, *, low=5, high=60):
    return torch.randint(low, high, (rows, tokens), generator=torch.Generator().manual_seed(rows * tokens))


# ----------------------------------------------------------------------------------------------------- what tests share


def edited(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def refused(error, folder, *words, **options):
    """Assert that loading and running the folder is refused in one line that holds these words."""
    with pytest.raises(error) as refusal:
        _ = load_bundle(folder, **options).model
    said = str(refusal.value)
    assert "\n" not in said
    assert not [word for word in words if word not in said], said


# ------------------------------------------------------------------------------------------------------------ encoders


def export_classifier(model, path):
    """Write `model.onnx` of a text classifier."""
    inputs = {"input_ids": ids(2, 8), "attention_mask": torch.ones(2, 8, dtype=torch.int64)}
    inputs["token_type_ids"] = torch.zeros(2, 8, dtype=torch.int64)

    def run(model, tokens, mask, types):
        return model(input_ids=tokens, attention_mask=mask, token_type_ids=types).logits

    export(model, run, path, inputs, ["logits"], axes={"logits": {0: "batch_size"}})


# ------------------------------------------------------------------------------------------------------------ decoders


def _names(layers, prefix, kinds=("",)):
    return [f"{prefix}.{layer}{kind}.{key}" for layer in range(layers) for kind in kinds for key in KEYS]


def _cache(tensors):
    cache = DynamicCache()
    for layer in range(len(tensors) // 2):
        cache.update(tensors[2 * layer], tensors[2 * layer + 1], layer)
    return cache


def _flat(cache):
    return [each for layer in cache.layers for each in (layer.keys, layer.values)]


def export_decoder(model, path, *, past=5, new=3):
    """Write a decoder of text: with `past` 0 the one of the first step, which takes no cache."""
    layers = model.config.num_hidden_layers
    inputs = {
        "input_ids": ids(2, new),
        "attention_mask": torch.ones(2, past + new, dtype=torch.int64),
        "position_ids": torch.arange(past, past + new).repeat(2, 1),
    }
    if past:
        given = model(input_ids=ids(2, past), use_cache=True).past_key_values
        inputs |= dict(zip(_names(layers, "past_key_values"), _flat(given), strict=True))

    def run(model, tokens, mask, positions, *cached):
        out = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=_cache(cached) if cached else None,
            use_cache=True,
        )
        return out.logits, *_flat(out.past_key_values)

    axes = {"logits": {0: "batch_size", 1: "sequence_length"}}
    axes |= {"attention_mask": {0: "batch_size", 1: _TOTAL}} if past else {}
    export(model, run, path, inputs, ["logits", *_names(layers, "present")], axes=axes)


def export_encoder_decoder(model, folder):
    """Write `encoder_model.onnx`, `decoder_model.onnx` and `decoder_with_past_model.onnx`."""
    layers = model.config.decoder_layers
    mask = torch.ones(2, 7, dtype=torch.int64)
    read = {"input_ids": ids(2, 7), "attention_mask": mask}

    def encode(model, tokens, mask):
        return model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state

    states_axes = {"last_hidden_state": _AXES["encoder_hidden_states"]}
    export(model, encode, folder / "encoder_model.onnx", read, ["last_hidden_state"], axes=states_axes)
    made = model(**read, decoder_input_ids=ids(2, 5), use_cache=True)
    states, cache = made.encoder_last_hidden_state, made.past_key_values
    width, kinds = int(states.shape[-1]), (".decoder", ".encoder")
    both = {"logits": {0: "batch_size", 1: "sequence_length"}}

    def first(model, mask, tokens, states):
        out = model(
            encoder_outputs=BaseModelOutput(states), attention_mask=mask, decoder_input_ids=tokens, use_cache=True
        )
        own, cross = (
            _flat(each)
            for each in (out.past_key_values.self_attention_cache, out.past_key_values.cross_attention_cache)
        )
        return out.logits, *_mixed(own, cross)

    inputs = {"encoder_attention_mask": mask, "input_ids": ids(2, 5), "encoder_hidden_states": states}
    names = ["logits", *_names(layers, "present", kinds)]
    export(model, first, folder / "decoder_model.onnx", inputs, names, axes=both)

    def after(model, mask, tokens, *cached):
        own = [each for at, each in enumerate(cached) if at % 4 < 2]
        cross = [each for at, each in enumerate(cached) if at % 4 >= 2]
        out = model(
            encoder_outputs=BaseModelOutput(mask[:, :, None].float().repeat(1, 1, width)),  # read for its sizes
            attention_mask=mask,
            decoder_input_ids=tokens,
            past_key_values=_seen(_cache(own), _cache(cross)),
            use_cache=True,
        )
        return out.logits, *_flat(out.past_key_values.self_attention_cache)

    flat = _mixed(*(_flat(each) for each in (cache.self_attention_cache, cache.cross_attention_cache)))
    inputs = {"encoder_attention_mask": mask, "input_ids": ids(2, 1)}
    inputs |= dict(zip(_names(layers, "past_key_values", kinds), flat, strict=True))
    names = ["logits", *_names(layers, "present", (".decoder",))]
    export(model, after, folder / "decoder_with_past_model.onnx", inputs, names, axes=both)


def _seen(own, cross):
    cache = EncoderDecoderCache(own, cross)
    cache.is_updated = dict.fromkeys(range(len(own.layers)), True)
    return cache


def _mixed(own, cross):
    """Return keys and values of both attentions, layer by layer, as optimum orders them."""
    return [each for layer in range(len(own) // 2) for side in (own, cross) for each in side[2 * layer : 2 * layer + 2]]


# ------------------------------------------------------------------------------------------------------- merged graphs


def merge_decoders(first: Path, after: Path, merged: Path) -> None:
    """Write the graph that chooses between two by `use_cache_branch`, as optimum merges them.

    What the second does not give (cross attention) is, in its branch, of no row at all.
    """
    graphs = [onnx.load(path).graph for path in (first, after)]
    names = {output.name for output in graphs[1].output}
    weights = []
    for prefix, graph in zip(("first", "after"), graphs, strict=True):
        _rename(graph, prefix)
        weights.extend(graph.initializer)
        del graph.initializer[:]
    outputs = [onnx.ValueInfoProto.FromString(each.SerializeToString()) for each in graphs[0].output]
    branches = [_branch(graph, outputs, names) for graph in graphs]
    inputs = {each.name: each for graph in reversed(graphs) for each in graph.input}
    switch = helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])
    choose = helper.make_node(
        "If",
        ["use_cache_branch"],
        [each.name for each in outputs],
        then_branch=branches[1],
        else_branch=branches[0],
    )
    graph = helper.make_graph([choose], "merged", [*inputs.values(), switch], outputs, weights)
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]), merged)


def _rename(graph, prefix):
    """Give everything inside a graph names of its own; inputs stay."""
    kept = {each.name for each in graph.input} | {""}
    for node in graph.node:
        node.input[:] = [name if name in kept else f"{prefix}/{name}" for name in node.input]
        node.output[:] = [f"{prefix}/{name}" for name in node.output]
        node.name = f"{prefix}/{node.name}"
        for attribute in node.attribute:
            assert not attribute.HasField("g"), "this merges flat graphs only"
    for each in graph.initializer:
        each.name = f"{prefix}/{each.name}"


def _branch(graph, outputs, given):
    prefix = graph.node[0].name.partition("/")[0]
    nodes, ends = list(graph.node), []
    for output in outputs:
        name = f"{prefix}/{output.name}"
        if prefix == "after" and output.name not in given:
            sizes = [axis.dim_value for axis in output.type.tensor_type.shape.dim]
            empty = helper.make_tensor(f"{name}/empty", TensorProto.FLOAT, [0, sizes[1], 1, sizes[3]], [])
            nodes.append(helper.make_node("Constant", [], [name], value=empty))
        ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return helper.make_graph(nodes, prefix, [], ends)


# ------------------------------------------------------------------------------------------------------ half precision


def in_half(model, *, cache=False):
    """Return a flat graph with weights and arithmetic in float16; its inputs and outputs too, a cache's if `cache`."""
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    for each in model.graph.initializer:
        if each.data_type == single:
            each.CopyFrom(onnx.numpy_helper.from_array(_clipped(each), each.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == single:
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(_clipped(attribute.t), attribute.t.name))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = half
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == single and (cache or "." not in value.name):
            value.type.tensor_type.elem_type = half
    del model.graph.value_info[:]
    return model


def _clipped(tensor):
    array = onnx.numpy_helper.to_array(tensor)
    return array.clip(-65504, 65504).astype("float16")
