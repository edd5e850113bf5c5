"""How the pages call what result files name: models, cases and systems under test; it knows no figures."""

_LABELS = {
    "Llama of 430M": "Llama 430M (random weights)",
    "opus-mt's size": "opus-mt-sized (random weights)",
    "first token after 512": "time to first token (TTFT), 512-token prompt",
    "second chat turn after one of 512, to its first token": "TTFT of the second chat turn, after one of 512 tokens",
    "bare onnxruntime": "raw ONNX Runtime",
    "bare onnxruntime fp32": "raw ONNX Runtime fp32",
    "bare steps": "raw ORT decode steps",
    "first turn": "TTFT of its first turn",
    "PyTorch compiled": "torch.compile",
    "transformers' exporter": "transformers ONNX exporter",
    "transformers.pipeline of batch_size=32": "transformers.pipeline, batch_size=32",
}


def label(name: str) -> str:
    """Return what a page calls it: the name itself unless a standard term is known for it."""
    return _LABELS.get(name, name)
