"""A tiny graph of a lookup and a product, for every backend on the CPU, and what it answers."""

import numpy as np
import onnx

from vitrify.runtime.machine import Machine

TINY = """
<ir_version: 10, opset_import: ["" : 20]>
tiny (int64[batch, sequence] ids, float[batch, 3] image) => (float[batch, sequence, 4] rows, float[batch, 4] mixed)
<float[5, 4] table, float[3, 4] weight>
{
    rows = Gather(table, ids)
    mixed = MatMul(image, weight)
}
"""
TABLE = np.arange(20, dtype=np.float32).reshape(5, 4)
WEIGHT = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def cpu(*features, gpus=()):
    return Machine(cpu_features=frozenset(features), cores=1, memory_bytes=1 << 30, model_name="a CPU", gpus=gpus)


def save(path, text, **weights):
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path, save_as_external_data=bool(weights), location=f"{path.name}_data", size_threshold=0)
    return path


def feeds(batch=2, sequence=3, **changes):
    ids = np.arange(batch * sequence, dtype=np.int64).reshape(batch, sequence) % 5
    return {"ids": ids, "image": np.ones((batch, 3), np.float32), **changes}


def assert_right(outputs, given):
    np.testing.assert_array_equal(outputs["rows"], TABLE[given["ids"].astype(np.int64)])
    np.testing.assert_allclose(outputs["mixed"], given["image"] @ WEIGHT, rtol=1e-6)
