"""A bundle loaded for use: its model as a callable on numpy arrays, its tokenizer, its image processor.

It knows nothing of tasks. Nothing is opened before it is needed.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .bundle.checkpoint_config import read_config
from .bundle.manifest import Bundle
from .bundle.reading import read_bundle
from .errors import UsageError
from .generation.decoders.prefixes import Prefixes
from .generation.saved_config import read_generation_config
from .graphs.signature import Axis, Graph
from .numerics import Row
from .selection.find import MAX_DRIFT, find_choice
from .selection.profiles import Choice
from .sessions import find_backend, open_session
from .sessions.base import Session
from .sessions.batches import run_together
from .sessions.model import Model
from .sessions.opening import Opening
from .sessions.renamed import RenamedSession

if TYPE_CHECKING:
    from .generation.base import Decoding
    from .generation.generated import Generated
    from .processing.audio.features import SpeechProcessor
    from .processing.image.processor import ImageProcessor
    from .processing.text.tokenizer import Tokenizer

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
        self.bundle = bundle
        self.name = bundle.folder.resolve().name
        self.profile = choice.profile
        self.threads = choice.threads if threads is None else threads
        self.choice = choice
        self.trace_to = trace_to
        if not bundle.is_verified:
            _LOG.warning(
                "'%s' is an ONNX folder: profile %s was not verified against its checkpoint",
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
        return self.graph(next(iter(self.bundle.builds[self.profile.name].graphs)))

    @property
    def signature(self) -> Graph:
        """The inputs and outputs of `model`, which need not be opened for that."""
        return self.bundle.graphs[next(iter(self.bundle.builds[self.profile.name].graphs))]

    def graph(self, name: str) -> Model:
        """Return one of the graphs, opened on first use; raise UsageError if the profile has none of that name."""
        if name not in self.bundle.builds[self.profile.name].graphs:
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
        return {name: self.graph(name) for name in self.bundle.builds[self.profile.name].graphs}

    def open(self) -> None:
        """Open the graphs that the runtime runs, which otherwise happens on first use."""
        for name in self.graph_set:
            self.graph(name)

    def close(self) -> None:
        """Free every graph; one that is used later is opened again."""
        with self._lock:
            for model in self._graphs.values():
                model.session.close()
            self._graphs.clear()

    def assignments(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return, for each graph, how many nodes of each operator each provider runs, as new sessions say."""
        found = {}
        for name in self.bundle.builds[self.profile.name].graphs:
            with self._session_of(name, record=True) as session:
                found[name] = session.assignments() or {session.providers[0]: {"every node": 1}}
        return found

    def decoding(self, **inputs: np.ndarray) -> "Decoding":
        """Return a decoder with an empty cache, for one call of the token loop; `inputs` are its encoder's.

        Raises UsageError for a bundle that does not generate.
        """
        from .generation.decoders.from_graphs import open_decoding

        return open_decoding(self.bundle.topology, {name: self.graph(name) for name in self.graph_set}, inputs)

    @property
    def settings(self) -> dict[str, Any]:
        """What the provider is given: the profile's options, what was chosen over them."""
        return {**self.profile.options, **self.choice.entries}

    @property
    def graph_set(self) -> Sequence[str]:
        """The names of the graphs that together run the bundle here."""
        return self.bundle.topology.sets_among(self.bundle.builds[self.profile.name].graphs)[0]

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
        if "generation_config.json" not in self.bundle.files:
            return {}
        return read_generation_config(self.bundle.check("generation_config.json"))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The checkpoint's config.json, with `id2label` keyed by int."""
        return read_config(self.bundle.check("config.json"))

    @cached_property
    def tokenizer(self) -> "Tokenizer | None":
        """The tokenizer, or None for a bundle without one."""
        if "tokenizer.json" not in self.bundle.files:
            return None
        for name in self.bundle.files:
            if "tokenizer" in name or "special_tokens" in name or "chat_template" in name:
                self.bundle.check(name)
        return _tokenizer(self.bundle.folder)

    @cached_property
    def image_processor(self) -> "ImageProcessor | None":
        """The image processor, or None for a bundle without one."""
        if "preprocessor_config.json" not in self.bundle.files or "image" not in self._kinds:
            return None
        self.bundle.check("preprocessor_config.json")
        return _image_processor(self.bundle.folder)

    @cached_property
    def speech_processor(self) -> "SpeechProcessor | None":
        """The feature extractor of speech, or None for a bundle without one."""
        if "preprocessor_config.json" not in self.bundle.files or "audio" not in self._kinds:
            return None
        self.bundle.check("preprocessor_config.json")
        return _speech_processor(self.bundle.folder)

    @property
    def _kinds(self) -> Collection[str]:
        """What its graphs read: "text", "image", "audio"."""
        return {kind for graph in self.bundle.graphs.values() for kind in graph.kinds}

    def with_processors(
        self, *, tokenizer: Any = None, image_processor: Any = None, feature_extractor: Any = None
    ) -> Self:
        """Return this bundle with another tokenizer, image processor or feature extractor: an object, or its folder.

        Raises UsageError for a feature extractor where no graph reads speech.
        """
        if tokenizer is None and image_processor is None and feature_extractor is None:
            return self
        if feature_extractor is not None and "audio" not in self._kinds:
            raise UsageError(f"feature_extractor is for speech, which bundle '{self.name}' does not read: leave it out")
        other = copy(self)
        if tokenizer is not None:
            other.__dict__["tokenizer"] = _tokenizer(tokenizer)
        if image_processor is not None:
            other.__dict__["image_processor"] = _image_processor(image_processor)
        if feature_extractor is not None:
            other.__dict__["speech_processor"] = _speech_processor(feature_extractor)
        return other

    def run_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Run rows (arrays without the batch axis) as one batch, padded; return each row's outputs, unpadded.

        Rows of different image sizes cannot share a batch: each size runs for itself. What is returned are views of
        the batch's arrays.
        """
        least = self.bundle.axes.get("sequence", Axis()).minimum
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
        return Model(self._session_of(graph), self.bundle.axes)

    def _session_of(self, graph: str, *, record: bool = False) -> Session:
        backend = find_backend(self.profile.provider)
        path = self._engine_file(graph) if backend.opens_engines else self.graph_file(graph)
        packed = None
        if self.choice.prepacked and backend.packs:
            from .selection.prepacked import packed_graph

            packed = packed_graph(self.graph_digests(graph), self.settings)
        opening = Opening(
            threads=self.threads,
            trace=None if self.trace_to is None else self.trace_to / graph,
            packed=packed is not None,
            varied=not self.bundle.topology.generates,
            record=record,
        )
        session = open_session(packed or path, provider=self.profile.provider, options=self.settings, opening=opening)
        view = self.bundle.view(self.profile.name, graph, Graph(session.inputs, session.outputs))
        return session if view is None else RenamedSession(session, view)

    def graph_digests(self, graph: str) -> list[str | None]:
        """Return the sha256 of one of the profile's graphs and of its weights."""
        return [self.bundle.files.get(name) for name in self.bundle.graph_files(self.profile.name, graph)]

    def prepack(self) -> None:
        """Write the graphs that run here, with weights packed for this CPU, into the user's cache (see `prepack`)."""
        from .selection.prepacked import prepack

        for name in self.graph_set:
            prepack(self.graph_file(name), self.graph_digests(name), self.settings, threads=self.threads)

    def graph_file(self, graph: str) -> Path:
        """Return the file of one of the profile's graphs; raise IntegrityError if it or its weights are changed."""
        path = self.bundle.check(self.bundle.builds[self.profile.name].graphs[graph])
        for name in self.bundle.graph_files(self.profile.name, graph)[1:]:
            self.bundle.check(name)
        return path

    def _engine_file(self, graph: str) -> Path:
        from .selection.engines import engine_path

        return engine_path(self.bundle, profile=self.profile.name, graph=graph)


def _tokenizer(source: Any) -> "Tokenizer":
    from .processing.text.tokenizer import Tokenizer

    return Tokenizer.from_folder(Path(source)) if isinstance(source, (str, Path)) else source


def _image_processor(source: Any) -> "ImageProcessor":
    from .processing.image.processor import ImageProcessor

    return ImageProcessor.from_folder(Path(source)) if isinstance(source, (str, Path)) else source


def _speech_processor(source: Any) -> "SpeechProcessor":
    from .processing.audio.features import SpeechProcessor

    return SpeechProcessor.from_folder(Path(source)) if isinstance(source, (str, Path)) else source


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
