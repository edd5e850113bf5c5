"""What transformers keeps in float32 stays so: T5, whose numbers overflow float16 between its norms."""

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.export.precision import variants
from vitrify.export.precision.exact_weights import exact_weights
from vitrify.runtime.errors import ParityError

# Far beyond 65504, the largest number of float16; the norm before each layer takes it away again.
GAIN = 1e6


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """Return a T5 whose feed-forward layers end in numbers that float16 has not, as those of large ones do."""
    folder = make_checkpoint("t5", "seq2seq-lm", tmp_path_factory.mktemp("t5") / "checkpoint")
    path = folder / "model.safetensors"
    weights = {name: value * GAIN if ".wo." in name else value for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def test_a_model_that_overflows_is_exact_where_its_class_says_so(loud, tmp_path):
    report = export_bundle(loud, tmp_path / "bundle", profiles=["cuda-fp16"])
    assert report.profiles["cuda-fp16"]["passed"]
    graph = onnx.load(report.folder / report.bundle.builds["cuda-fp16"].graphs["encoder_model"]).graph
    kinds = [tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2]
    layers = transformers.AutoConfig.from_pretrained(loud).num_layers
    assert kinds.count(onnx.TensorProto.FLOAT) == layers
    assert kinds.count(onnx.TensorProto.FLOAT16) > layers


def test_without_that_it_fails_the_gate(loud, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "exact_weights", lambda *_: frozenset())
    with pytest.raises(ParityError, match="profile cuda-fp16"):
        export_bundle(loud, tmp_path / "bundle", profiles=["cuda-fp16"])


@pytest.mark.parametrize(
    ("lenient", "strict", "dtype", "expected"),
    [
        (["second"], [], "FLOAT16", {"transposed"}),
        (["second"], [], "BFLOAT16", set()),
        ([], ["first"], "BFLOAT16", {"plain"}),
        (["first"], ["second"], "FLOAT16", {"plain", "transposed"}),
        (["irs"], [], "FLOAT16", set()),
        ([], [], "FLOAT16", set()),
    ],
)
def test_weights_are_found_by_their_numbers_under_any_name(lenient, strict, dtype, expected):
    model = torch.nn.ModuleDict({name: torch.nn.Linear(3, 4, bias=False) for name in ("first", "second")})
    model._keep_in_fp32_modules, model._keep_in_fp32_modules_strict = set(lenient), set(strict)
    arrays = {
        "plain": model["first"].weight.detach().numpy(),
        "transposed": np.ascontiguousarray(model["second"].weight.detach().numpy().T),
        "other": np.ones((3, 4), np.float32),
    }
    values = [onnx_ir.val(name, const_value=onnx_ir.tensor(array, name=name)) for name, array in arrays.items()]
    graph = onnx_ir.Graph([], [], nodes=[], initializers=values)
    assert exact_weights(model, graph, onnx_ir.DataType[dtype]) == expected
