"""Folders that run, and seeded ways to spoil one file of them: a field dropped, null or of another type, a file cut.

Bundles are sealed again after each change, as whoever makes a hostile one would seal it.
"""

import contextlib
import copy
import hashlib
import json
import random
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer, decoders, models

from tests.images import picture
from tests.sounds import sound
from vitrify import load_bundle, pipeline
from vitrify.profiles import load_profile
from vitrify.runtime.bundle.manifest import MANIFEST, Build, Bundle, Provenance, write_manifest
from vitrify.runtime.graphs.header import read_header
from vitrify.runtime.graphs.signature import Axis, Graph
from vitrify.runtime.tasks import tasks_of

ARCHIVES = Path(__file__).parent / "bundles"
# What stands for a field's value: every type of JSON, and values of each that no reader means.
VALUES: tuple[Any, ...] = (
    None,
    *(True, False, 0, 5, -1, 1.5, -0.5, 10**12, 10**400, 1e300, float("nan"), float("-inf")),
    *("", "x", "x\ny\x1b[31m", "../../etc/passwd", "\ud800", "A" * 5000, "{{ '%(' * 10 }}", "0"),
    *([], [None], [[]], ["x"], [1, 2, 3], [0.5], [{}], {}, {"x": 1}, {"0": None}, {"": []}, {"-1": "x"}),
)
TEXTS: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"5",
    b'"x"',
    b"NaN",
)

DEEPEST = 99
# What a user never sees: the words of another program's source.
RAW = re.compile(r"\b(AttributeError|KeyError|TypeError|IndexError|Traceback)\b|\w+::\w+|0x[0-9a-f]{6}|\.cc:\d")
LONGEST = 1000


def is_sentence(said: str) -> bool:
    """Tell whether a message is one line, of a length that is read, without the words of another program's source."""
    return "\n" not in said and len(said) <= LONGEST and not RAW.search(said)


@dataclass(frozen=True)
class Subject:
    """A folder that answers: the task, the input and the options of one call."""

    name: str
    folder: Path
    task: str
    given: Any
    options: dict[str, Any]

    def call(self) -> Any:
        """Open the folder anew and run the call once."""
        return pipeline(self.task, load_bundle(self.folder))(self.given, **self.options)

    def files(self) -> list[str]:
        """The files of the folder, but for reports and the card, which no digest covers."""
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file() and path.relative_to(self.folder).parts[0] not in {"parity", "reports", "README.md"}
        )


@dataclass(frozen=True)
class Mutation:
    """A file of a subject, what is done to it, in words, and its new content; None: it is gone."""

    file: str
    words: str
    content: bytes | None
    renamed: bool = False
    place: tuple[Any, ...] = ()
    value: Any = None


def mutations(subject: Subject, count: int, draw: random.Random, *, depth: int = 0) -> Iterator[Mutation]:
    """Yield drawn changes of a subject: most are of a field of a JSON file, in tokenizer.json up to a `depth`."""
    files = subject.files()
    documents = [name for name in files if name.endswith(".json") and (depth or not name.startswith("tokenizer.json"))]
    for _ in range(count):
        kind = draw.random()
        if kind < 0.85:
            name = draw.choice(documents)
            yield _field_changed(subject.folder, name, draw, depth if name == "tokenizer.json" else DEEPEST)
        elif kind < 0.92:
            yield Mutation(draw.choice(documents), f"{(text := draw.choice(TEXTS))[:20]!r}", text)
        else:
            yield _file_changed(subject.folder, draw.choice(files), draw)


def _file_changed(folder: Path, name: str, draw: random.Random) -> Mutation:
    content = (folder / name).read_bytes()
    cut = draw.randrange(max(len(content), 1))
    spoilt = bytearray(content)
    for _ in range(8):
        spoilt[draw.randrange(max(len(content), 1))] = draw.randrange(256)
    return draw.choice(
        (
            Mutation(name, "gone", None),
            Mutation(name, "renamed", content, renamed=True),
            Mutation(name, f"cut at {cut}", content[:cut]),
            Mutation(name, "with other bytes", bytes(spoilt)),
        )
    )


def _field_changed(folder: Path, name: str, draw: random.Random, depth: int) -> Mutation:
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    changed = copy.deepcopy(document)
    places = [place for place in _places(changed) if 0 < len(place) <= depth]
    place = draw.choice(places)
    holder: Any = changed
    for key in place[:-1]:
        holder = holder[key]
    value = draw.choice(("dropped", "deep", "twice", *VALUES))
    if value == "dropped":
        del holder[place[-1]]
    elif value == "deep":
        holder[place[-1]] = _nested(draw.choice((50, 900)))
    elif value == "twice" and isinstance(holder, dict):
        holder[f"{place[-1]} "] = holder[place[-1]]
    else:
        holder[place[-1]] = value
    text = json.dumps(changed)
    words = f"{'.'.join(map(str, place))} = {value if isinstance(value, str) else json.dumps(value)}"
    return Mutation(name, f"{words:.100}", text.encode("utf-8", "surrogatepass"), place=place, value=value)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield from _places(item, (*place, key))


@contextlib.contextmanager
def applied(subject: Subject, mutation: Mutation) -> Iterator[None]:
    """Have a file of a folder changed, and the manifest agree with it."""
    path, manifest = subject.folder / mutation.file, subject.folder / MANIFEST
    kept = {each: each.read_bytes() for each in {path, manifest} if each.is_file()}
    other = path.with_name(f"other-{path.name}")
    try:
        path.unlink()
        if mutation.content is not None:
            (other if mutation.renamed else path).write_bytes(mutation.content)
            if manifest in kept and mutation.file != MANIFEST and not mutation.renamed:
                _reseal(manifest, mutation.file, mutation.content)
        yield
    finally:
        other.unlink(missing_ok=True)
        for each, content in kept.items():
            each.write_bytes(content)


def _reseal(manifest: Path, name: str, content: bytes) -> None:
    document = json.loads(manifest.read_text(encoding="utf-8"))
    document["files"][name] = hashlib.sha256(content).hexdigest()
    manifest.write_text(json.dumps(document), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------ subjects

_ARCHIVED = {
    "encoder": ("text-classification", "the cat saw a bird", {}),
    "decoder": ("text-generation", "the cat", {"max_new_tokens": 2, "do_sample": False}),
    "encoder-decoder": ("summarization", "the cat saw a bird", {"max_new_tokens": 2, "num_beams": 2}),
}


@dataclass(frozen=True)
class Written:
    """A graph of few nodes for one head: its text, its weights, and what is asked of its bundle."""

    head: str
    architecture: str
    task: str
    graph: str
    weights: dict[str, np.ndarray]
    given: Any
    options: dict[str, Any]


def _drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


_TOKENS = "int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask"
_SIZE = 477  # of the archived encoder's vocabulary
_WRITTEN = (
    Written(
        "token-classification",
        "BertForTokenClassification",
        "token-classification",
        f"({_TOKENS}) => (float[batch, sequence, 3] logits) {{ logits = Gather(table, input_ids) }}",
        {"table": _drawn(_SIZE, 3)},
        "the cat saw a bird",
        {"aggregation_strategy": "simple"},
    ),
    Written(
        "question-answering",
        "BertForQuestionAnswering",
        "question-answering",
        f"({_TOKENS}) => (float[batch, sequence] start_logits, float[batch, sequence] end_logits) "
        "{ start_logits = Gather(table, input_ids) end_logits = Neg(start_logits) }",
        {"table": _drawn(_SIZE)},
        {"question": "the cat", "context": "the cat saw a bird"},
        {},
    ),
    Written(
        "masked-lm",
        "BertForMaskedLM",
        "fill-mask",
        f"({_TOKENS}) => (float[batch, sequence, {_SIZE}] logits) {{ logits = Gather(table, input_ids) }}",
        {"table": _drawn(_SIZE, _SIZE)},
        "the [MASK] saw a bird",
        {},
    ),
    Written(
        "image-classification",
        "ViTForImageClassification",
        "image-classification",
        "(float[batch, 3, height, width] pixel_values) => (float[batch, 3] logits) "
        "{ logits = ReduceMean<keepdims = 0>(pixel_values, axes) }",
        {"axes": np.array([2, 3])},
        picture(),
        {},
    ),
    Written(
        "ctc",
        "Wav2Vec2ForCTC",
        "automatic-speech-recognition",
        "(float[batch, samples] input_values) => (float[batch, frames, 6] logits) "
        "{ every = Slice(input_values, from, to, axes, step) one = Unsqueeze(every, end) logits = MatMul(one, table) }",
        {
            "table": _drawn(1, 6),
            "from": np.array([0]),
            "to": np.array([2**31]),
            "axes": np.array([1]),
            "step": np.array([400]),
            "end": np.array([2]),
        },
        sound(0.5),
        {"return_timestamps": "char"},
    ),
)
_LABELS = {"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}, "label2id": {"O": 0, "B-PER": 1, "I-PER": 2}}
_PROCESSORS = {
    "image-classification": {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    "ctc": {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": 16000,
        "feature_size": 1,
        "padding_value": 0.0,
        "padding_side": "right",
        "do_normalize": True,
        "return_attention_mask": False,
    },
}


def subjects(place: Path) -> list[Subject]:
    """Return bundles and, of each, an ONNX folder, with the same graphs and settings."""
    bundles = [*_archived(place / "archived"), *(_written(row, place / "written") for row in _WRITTEN)]
    return [*bundles, *(_as_onnx_folder(each, place / "onnx") for each in bundles)]


def _archived(place: Path) -> Iterator[Subject]:
    for name, (task, given, options) in _ARCHIVED.items():
        with tarfile.open(ARCHIVES / f"{name}.tar.gz") as archive:
            archive.extractall(place, filter="data")
        yield Subject(name, place / name, task, given, options)


def _written(row: Written, place: Path) -> Subject:
    folder = place / row.head
    (folder / "onnx").mkdir(parents=True)
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> written {row.graph}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in row.weights.items())
    onnx.save(model, folder / "onnx" / "model.onnx")
    config = {"architectures": [row.architecture], "model_type": "made-up", "conv_stride": [20, 20], **_LABELS}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _write_processors(row, folder)
    header = read_header(folder / "onnx" / "model.onnx")
    graph = Graph(header.inputs, header.outputs)
    bundle = Bundle(
        head=row.head,
        tasks=tasks_of(row.head, graph.kinds),
        architecture=row.architecture,
        model_type="made-up",
        family="encoder",
        source=Provenance(row.head),
        axes={axis: Axis() for tensor in graph.inputs for axis in tensor.axes if isinstance(axis, str)},
        graphs={"model": graph},
        builds={"cpu-fp32": Build(load_profile("cpu-fp32"), {"model": "onnx/model.onnx"})},
        tools={"onnx": onnx.__version__},
    )
    write_manifest(bundle, folder)
    return Subject(row.head, folder, row.task, row.given, row.options)


def _write_processors(row: Written, folder: Path) -> None:
    if row.head in _PROCESSORS:
        text = json.dumps(_PROCESSORS[row.head])
        (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
    if row.head == "ctc":
        vocabulary = {"<pad>": 0, "|": 1, "a": 2, "b": 3, "c": 4, "<unk>": 5}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.decoder = decoders.CTC(pad_token="<pad>", word_delimiter_token="|")
        tokenizer.save(str(folder / "tokenizer.json"))
        config = {"pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 1e30}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    elif row.head != "image-classification":
        with tarfile.open(ARCHIVES / "encoder.tar.gz") as archive:
            for name in ("tokenizer.json", "tokenizer_config.json"):
                member = archive.extractfile(f"encoder/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())


def _as_onnx_folder(subject: Subject, place: Path) -> Subject:
    """Return a copy without its manifest, and without the graphs that no other tool writes."""
    folder = shutil.copytree(subject.folder, place / subject.name, ignore=shutil.ignore_patterns(*_OWN))
    return Subject(f"{subject.name}, ONNX folder", folder, subject.task, subject.given, subject.options)


_OWN = (MANIFEST, "parity", "reports", "*in_place*", "cross_attention*", "decoder_step*", "*_int8*")
