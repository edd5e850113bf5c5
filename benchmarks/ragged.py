"""MiniLM on 1,000 texts of natural, ragged length: texts in, mean-pooled vectors out; and the memory of a stream."""

import ast
import json
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from vitrify import load_bundle
from vitrify.bench.interleaved import Observations, Processes, Runner, run_interleaved
from vitrify.bench.percentiles import spread

from .artifacts import Bundles, export_bundles, make_for_peer
from .beside import AUTO, Work, ratios_of
from .checkpoints import minilm
from .latency import MAX_DRIFT, PROFILES, own_ways
from .measure import processes
from .peers.environments import find_peer

REFERENCE = "transformers.pipeline"  # in float32, one text at a time: its defaults
SENTENCES = "text-embedding cpu-fp32"  # pooled in the graph, where the others pool in numpy
OURS = (*PROFILES, AUTO, SENTENCES)
COUNT, LONGEST = 1000, 256
# Paragraphs of fewer characters are headings and lists of names; files are a sample, as reading all takes a minute.
_SHORTEST, _FILES = 80, 400
_MORE = 4
_STREAM = """
import itertools, json, sys
from vitrify import pipeline
bundle, texts, count = sys.argv[1:]
texts = itertools.islice(itertools.cycle(json.load(open(texts))), int(count))
options = dict(return_tensors=True, tokenize_kwargs=dict(truncation=True, max_length=256))
for states in pipeline("feature-extraction", bundle)(texts, batch_size=32, **options):
    states[0].mean(0)
"""


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return seconds, texts per second, peak memory and agreement of each way, and what a longer stream takes."""
    bundles = export_bundles("minilm", minilm(), PROFILES)
    texts = scratch / "texts.json"
    texts.write_text(json.dumps(paragraphs(COUNT)))
    ways = _ways(bundles)
    work = Work("texts", "embed", {"texts": str(texts), "max_length": LONGEST}, [way.name for way in ways], limit=600.0)
    findings, among_ours, interrupted = Observations(), Observations(), {}
    with Processes() as crew:
        try:
            run_interleaved(work, ways, crew, findings, rounds=rounds)
            # Ours take seconds, some peers most of a minute: what is close needs more rounds, and those side by side.
            run_interleaved(work, [way for way in ways if way.name in OURS], crew, among_ours, rounds=_MORE * rounds)
        except KeyboardInterrupt:
            interrupted = {"interrupted": work.name}
        versions = crew.versions
    stream = {} if interrupted else _stream(str(bundles.folder(PROFILES[0])), str(texts), rounds=min(rounds, 3))
    lengths = _lengths(bundles, texts)
    return {
        "what": "MiniLM",
        "texts": {"count": COUNT, "tokens": float(np.mean(lengths)), "longest": max(lengths)},
        **_summary(findings, among_ours),
        "stream": stream,
        "max_drift": MAX_DRIFT,
        "versions": versions,
        **interrupted,
    }


def paragraphs(count: int) -> list[str]:
    """Return paragraphs of the docstrings of Python's library, numpy and torch: the same ones for the same versions."""
    folders = [Path(sysconfig.get_path("stdlib")), _folder_of("numpy"), _folder_of("torch")]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py")) if _is_source(path, folder)]
    draw = Random(0)
    found = dict.fromkeys(each for path in draw.sample(files, _FILES) for each in _paragraphs_of(path))
    return draw.sample(list(found), count)


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _is_source(path: Path, folder: Path) -> bool:
    return not {"site-packages", "test", "tests"} & set(path.relative_to(folder).parts)


def _paragraphs_of(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # some are there to be refused
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            texts = (" ".join(each.split()) for each in (ast.get_docstring(node) or "").split("\n\n"))
            yield from (text for text in texts if len(text) >= _SHORTEST)


def _ways(bundles: Bundles) -> list[Runner]:
    """Return every way; what is missing is told when it starts."""
    checkpoint = minilm()
    vitrify, pytorch, fastembed = map(find_peer, ("vitrify", "pytorch", "fastembed"))
    sentences, sentences_onnx = map(find_peer, ("sentence-transformers", "sentence-transformers-onnx"))

    def exported(by: str) -> str:
        return str(make_for_peer(find_peer(by), "feature-extraction", checkpoint, name="minilm"))

    return [
        *own_ways(bundles),
        Runner(SENTENCES, vitrify, "cpu-fp32", lambda: str(bundles.folder("cpu-fp32")), kind="embed-sentences"),
        Runner(REFERENCE, pytorch, "fp32", lambda: str(checkpoint)),
        Runner(f"{REFERENCE} of batch_size=32", pytorch, "fp32", lambda: str(checkpoint), kind="embed-batches"),
        Runner("sentence-transformers fp32", sentences, "fp32", lambda: str(checkpoint)),
        Runner("sentence-transformers bf16", sentences, "bf16", lambda: str(checkpoint)),
        Runner("sentence-transformers onnx", sentences_onnx, "onnx", lambda: exported("optimum-onnx")),
        Runner("sentence-transformers openvino", sentences, "openvino", lambda: exported("openvino")),
        Runner("fastembed fp32", fastembed, "fp32", lambda: str(bundles.folder("cpu-fp32"))),
    ]


def _lengths(bundles: Bundles, texts: Path) -> list[int]:
    tokenizer: Any = load_bundle(bundles.folder(PROFILES[0])).tokenizer
    options = {"truncation": True, "max_length": LONGEST}
    return [len(tokenizer(text, **options)["input_ids"][0]) for text in json.loads(texts.read_text())]


def _taken(findings: Observations) -> dict[str, list[float]]:
    """Return the samples of the ways that finished a round before somebody interrupted."""
    return {name: values for name, values in findings.samples.items() if values}


def _summary(findings: Observations, among_ours: Observations) -> dict[str, Any]:
    samples, ours = _taken(findings), _taken(among_ours)
    timed = {name: [*values, *ours.get(name, ())] for name, values in samples.items()}
    reference = findings.made.get(REFERENCE)
    return {
        "seconds": {name: spread(values) for name, values in timed.items()},
        "texts_per_second": {name: spread([COUNT / value for value in values]) for name, values in timed.items()},
        "ratios": ratios_of(samples, OURS) | ratios_of(ours, OURS),
        "cosine": {
            name: _lowest_cosine(findings.made[name], reference)
            for name in samples
            if reference is not None and name != REFERENCE
        },
        "peak_mb": {name: findings.peak_mb[name] for name in samples if name in findings.peak_mb},
        "failed": dict(findings.failed),
    }


def _lowest_cosine(vectors: Any, reference: Any) -> float:
    """Return the lowest cosine between vectors of the same texts, both [texts, hidden]."""
    found, expected = (
        array / np.linalg.norm(array, axis=1, keepdims=True) for array in map(np.array, (vectors, reference))
    )
    return float((found * expected).sum(1).min())


def _stream(bundle: str, texts: str, *, rounds: int) -> dict[str, Any]:
    """Return the peak memory of a new process, by how many texts it reads one after another."""
    commands = {str(count): [sys.executable, "-c", _STREAM, bundle, texts, str(count)] for count in (COUNT, 4 * COUNT)}
    found = processes(commands, rounds=rounds, warmup=0)
    return {"megabytes": {count: spread(units["megabytes"]) for count, units in found.items()}}
