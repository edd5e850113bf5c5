"""A bundle loaded for use: its model as a callable on numpy arrays, its tokenizer, its image processor.

It knows nothing of tasks. Nothing is opened before it is needed.
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .batches import run_together
from .bundle import Axis, Bundle, Graph, read_bundle
from .choice import Choice, choose_profile, choose_tuned
from .errors import UsageError
from .generation.prefixes import Prefixes
from .kinds import PICTURES
from .model import Model, Outputs, Row
from .sessions import open_session
from .sessions.base import TRACE, Session
from .sessions.ort import PACKED, RECORD, VARIED
from .ways import replayed, ways_to_run

if TYPE_CHECKING:
    from .generation.base import Decoding
    from .generation.loop import Generated
    from .processing.image import ImageProcessor
    from .processing.speech import SpeechProcessor
    from .processing.text import Tokenizer

# What `auto` accepts unless told otherwise: bfloat16 of common encoders stays below it, int8 of some (ViT-base 0.049,
# BERT-base 0.056, MiniLM's hidden states 0.12).
MAX_DRIFT = 0.05
_LOG = logging.getLogger("vitrify")


class LoadedBundle:
    """A bundle with one of its profiles opened.

    `profile` may be a whole choice: threads and settings of ONNX Runtime's provider "cpu" beside the profile. Into the
    folder `trace_to` each session writes a profile of its run, named after the graph, when it is closed.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        profile: str | Choice | None = None,
        threads: int | None = None,
        max_drift: float = MAX_DRIFT,
        trace_to: Path | None = None,
    ) -> None:
        choice = profile if isinstance(profile, Choice) else find_choice(bundle, profile, max_drift=max_drift)
        self.manifest = bundle
        self.name = bundle.folder.resolve().name
        self.profile = choice.profile
        self.threads = choice.threads if threads is None else threads
        self.choice = choice
        self.trace_to = trace_to
        if bundle.is_foreign:
            _LOG.warning(
                "'%s' was compiled by others: nothing proves that profile %s is its checkpoint's model",
                self.name,
                self.profile.name,
            )
        self._lock = Lock()
        self._graphs: dict[str, Model] = {}
        self._assistants: dict[Path, LoadedBundle] = {}
        self.prefixes = Prefixes()

    @property
    def model(self) -> Model:
        """The graph of a bundle that has one, or else the profile's first; opened on first use."""
        return self.graph(next(iter(self.manifest.builds[self.profile.name].graphs)))

    @property
    def signature(self) -> Graph:
        """The inputs and outputs of `model`, which need not be opened for that."""
        return self.manifest.graphs[next(iter(self.manifest.builds[self.profile.name].graphs))]

    def graph(self, name: str) -> Model:
        """Return one of the graphs, opened on first use; raise UsageError if the profile has none of that name."""
        if name not in self.manifest.builds[self.profile.name].graphs:
            raise UsageError(
                f"profile '{self.profile.name}' of bundle '{self.name}' has no graph '{name}', which this asks for: "
                "use the profile cpu-fp32"
            )
        with self._lock:
            if name not in self._graphs:
                self._graphs[name] = self._open_graph(name)
            return self._graphs[name]

    def graphs(self) -> dict[str, Model]:
        """Return all graphs of the profile by name, opened."""
        return {name: self.graph(name) for name in self.manifest.builds[self.profile.name].graphs}

    def open(self) -> None:
        """Open the graphs that the runtime runs, which otherwise happens on first use."""
        for name in self.way:
            self.graph(name)

    def close(self) -> None:
        """Free every graph; one that is used later is opened again."""
        with self._lock:
            for model in self._graphs.values():
                model.session.close()
            self._graphs.clear()

    def assignments(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return, for each graph, how many nodes of each operator each provider runs, as new sessions say."""
        # The CPU's options are session entries; other providers record, or run a graph whole.
        recording = {RECORD: "1"} if self.profile.provider == "cpu" else {}
        found = {}
        for name in self.manifest.builds[self.profile.name].graphs:
            with self._session_of(name, recording) as session:
                found[name] = session.assignments() or {session.providers[0]: {"every node": 1}}
        return found

    def replayed(self) -> list[Callable[..., Outputs]]:
        """Return what answers to parity cases, each in its own way."""
        return replayed(self.manifest.family, self.graphs())

    def decoding(self, **inputs: np.ndarray) -> "Decoding":
        """Return a decoder with an empty cache, for one call of the token loop; `inputs` are its encoder's.

        Raises UsageError for a bundle that does not generate.
        """
        from .generation.decodings import open_decoding

        return open_decoding(self.manifest.family, {name: self.graph(name) for name in self.way}, inputs)

    @property
    def settings(self) -> dict[str, Any]:
        """What the provider is given: the profile's options, what was chosen over them."""
        return {**self.profile.options, **self.choice.entries}

    @property
    def way(self) -> Sequence[str]:
        """The names of the graphs that together run the bundle here."""
        return ways_to_run(self.manifest.family, self.manifest.builds[self.profile.name].graphs)[0]

    def assistant(self, folder: str | Path) -> "LoadedBundle":
        """Return the bundle in a folder that guesses for this one, loaded on first use."""
        path = Path(folder).resolve()
        with self._lock:
            if path not in self._assistants:
                self._assistants[path] = load_bundle(folder, threads=self.threads)
            return self._assistants[path]

    def generate_rows(
        self, prompts: Sequence[np.ndarray], given: Mapping[str, Any], *, features: Row | None = None
    ) -> "Generated":
        """Generate for prompts of any lengths (see `generation.call.generate_rows`)."""
        from .generation.call import generate_rows

        return generate_rows(self, prompts, given, features=features)

    def generate(self, input_ids: Any = None, *, attention_mask: Any = None, **given: Any) -> np.ndarray:
        """Generate by hand: arrays in, arrays out, as `model.generate` of transformers.

        Parameters
        ----------
        input_ids, attention_mask
            int [rows, tokens]: what a decoder continues, or what an encoder of text reads.
        given
            Arguments of generation, and what an encoder of speech or images reads, by the names of its graph.

        Returns
        -------
        sequences
            int64 [rows * num_return_sequences, tokens]; short prompts are padded before, short answers after.

        Raises
        ------
        UsageError
            An argument that cannot be right, or a bundle that does not generate.

        """
        from .generation.call import generate_arrays

        return generate_arrays(self, input_ids, attention_mask, given)

    @cached_property
    def generation_config(self) -> Mapping[str, Any]:
        """The checkpoint's generation_config.json, or nothing."""
        if "generation_config.json" not in self.manifest.files:
            return {}
        return json.loads(self.manifest.check("generation_config.json").read_text(encoding="utf-8"))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The checkpoint's config.json, with `id2label` keyed by int."""
        config = json.loads(self.manifest.check("config.json").read_text(encoding="utf-8"))
        labels = config.get("id2label") or {}
        return {**config, "id2label": {int(index): label for index, label in labels.items()}}

    @cached_property
    def tokenizer(self) -> "Tokenizer | None":
        """The tokenizer, or None for a bundle without one."""
        if "tokenizer.json" not in self.manifest.files:
            return None
        for name in self.manifest.files:
            if "tokenizer" in name or "special_tokens" in name or "chat_template" in name:
                self.manifest.check(name)
        return _tokenizer(self.manifest.folder)

    @cached_property
    def image_processor(self) -> "ImageProcessor | None":
        """The image processor, or None for a bundle without one."""
        if "preprocessor_config.json" not in self.manifest.files or not self._reads(PICTURES):
            return None
        self.manifest.check("preprocessor_config.json")
        return _image_processor(self.manifest.folder)

    @cached_property
    def speech_processor(self) -> "SpeechProcessor | None":
        """The feature extractor of speech, or None for a bundle without one."""
        if "preprocessor_config.json" not in self.manifest.files or self._reads(PICTURES):
            return None
        from .processing.speech import SpeechProcessor

        self.manifest.check("preprocessor_config.json")
        return SpeechProcessor.from_folder(self.manifest.folder)

    def _reads(self, names: Collection[str]) -> bool:
        """Tell whether a graph reads one of these inputs."""
        return any(tensor.name in names for graph in self.manifest.graphs.values() for tensor in graph.inputs)

    def with_processors(self, *, tokenizer: Any = None, image_processor: Any = None) -> Self:
        """Return this bundle with another tokenizer or image processor: an object, or a folder that holds one."""
        if tokenizer is None and image_processor is None:
            return self
        other = copy(self)
        if tokenizer is not None:
            other.__dict__["tokenizer"] = _tokenizer(tokenizer)
        if image_processor is not None:
            other.__dict__["image_processor"] = _image_processor(image_processor)
        return other

    def run_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Run rows (arrays without the batch axis) as one batch, padded; return each row's outputs, unpadded.

        Rows of different image sizes cannot share a batch: each size runs for itself. What is returned are views of
        the batch's arrays.
        """
        least = self.manifest.axes.get("sequence", Axis()).minimum
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(self._group(row), []).append(index)
        results: dict[int, Row] = {}
        for indices in groups.values():
            made = run_together(self.model, [rows[index] for index in indices], least=least, tokenizer=self.tokenizer)
            results.update(zip(indices, made, strict=True))
        return [results[index] for index in range(len(rows))]

    def _group(self, row: Row) -> tuple[Any, ...]:
        """Return what rows of one batch must share: every size but the padded one."""
        sizes = {tensor.name: tensor.axes[1:] for tensor in self.signature.inputs}
        return tuple(
            (name, *(size for axis, size in zip(sizes[name], row[name].shape, strict=False) if axis != "sequence"))
            for name in sorted(row)
            if name in sizes
        )

    def _open_graph(self, graph: str) -> Model:
        return Model(self._session_of(graph), self.manifest.axes)

    def _session_of(self, graph: str, more: Mapping[str, str] = MappingProxyType({})) -> Session:
        path = self._engine_file(graph) if self.profile.provider == "tensorrt" else self.graph_file(graph)
        options = {**self.settings, **more}
        if self.manifest.family == "encoder" and self.profile.provider == "cpu":
            options[VARIED] = "1"
        if self.choice.prepacked:
            from .prepacked import packed_graph

            if (packed := packed_graph(self, graph)) is not None:
                path, options = packed, {**options, PACKED: "1"}
        if self.trace_to is not None:
            options[TRACE] = str(self.trace_to / graph)
        session = open_session(path, provider=self.profile.provider, options=options, threads=self.threads)
        return self.manifest.adapted(self.profile.name, graph, session)

    def graph_file(self, graph: str) -> Path:
        """Return the file of one of the profile's graphs; raise IntegrityError if it or its weights are changed."""
        for name in self.manifest.graph_files(self.profile.name, graph):
            self.manifest.check(name)
        return self.manifest.path(self.manifest.builds[self.profile.name].graphs[graph])

    def _engine_file(self, graph: str) -> Path:
        from .gpu import engine_path

        return engine_path(self.manifest, profile=self.profile.name, graph=graph)


def _tokenizer(source: Any) -> "Tokenizer":
    from .processing.text import Tokenizer

    return Tokenizer.from_folder(Path(source)) if isinstance(source, (str, Path)) else source


def _image_processor(source: Any) -> "ImageProcessor":
    from .processing.image import ImageProcessor

    return ImageProcessor.from_folder(Path(source)) if isinstance(source, (str, Path)) else source


def load_bundle(
    folder: str | Path, *, profile: str | None = None, threads: int | None = None, max_drift: float = MAX_DRIFT
) -> LoadedBundle:
    """Load a bundle's folder.

    Parameters
    ----------
    folder
        What `vitrify export` made, or graphs in the layout of optimum or transformers.js.
    profile
        One of the bundle's profiles (default: `cpu-fp32`, or its first), or "auto": the fastest that this machine
        runs within `max_drift`.
    threads
        Threads of one run (default: the cores that this process may use).
    max_drift
        For "auto": the largest difference from PyTorch accepted, over the outputs' largest magnitude.

    Raises
    ------
    UsageError
        No bundle there, or no such profile in it.
    IntegrityError
        A file was changed, is missing or is a link.

    """
    return LoadedBundle(read_bundle(folder, profile), profile=profile, threads=threads, max_drift=max_drift)


def find_choice(bundle: Bundle, name: str | None, *, max_drift: float = MAX_DRIFT) -> Choice:
    """Return the profile of this name, or what "auto" stands for here; raise UsageError where there is none."""
    if name == "auto":
        choice = _fastest(bundle, max_drift)
        bundle.profile(choice.profile.name)  # says so where others compiled it
        return choice
    return Choice(bundle.profile(bundle.default_profile() if name is None else name))


def _fastest(bundle: Bundle, max_drift: float) -> Choice:
    """Return what was measured fastest on this machine or, where nothing was, what is known of machines like it."""
    from .machine import this_machine
    from .tuned import read_tuned

    machine = this_machine()
    profiles = {name: build.profile for name, build in bundle.builds.items()}
    tuned = choose_tuned(machine, read_tuned(bundle, machine), profiles=profiles, max_drift=max_drift)
    choice = tuned or choose_profile(
        machine,
        candidates=list(profiles.values()),
        drift=bundle.recorded_drift(),
        max_drift=max_drift,
    )
    for reason in choice.reasons:
        _LOG.info("auto: %s", reason)
    return choice
