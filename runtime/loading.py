"""A bundle loaded for use: its model as a callable on numpy arrays, its tokenizer, its image processor.

It knows nothing of tasks. Nothing is opened before it is needed.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .bundle.checkpoint_config import read_config
from .bundle.files import given_name
from .bundle.manifest import Bundle
from .bundle.reading import read_bundle
from .errors import EnvironmentMissing, UsageError
from .generation.decoders.prefixes import Prefixes
from .graphs.signature import Axis, Graph
from .json_files import read_object
from .machine import usable_cores
from .numerics import Row
from .processing.given import given_image_processor, given_processors, given_speech_processor
from .processing.labels import label_names
from .selection.find import MAX_DRIFT, find_choice
from .selection.profiles import Choice
from .sessions import find_backend, open_session
from .sessions.base import Session, cpu_threads
from .sessions.batches import batches, run_together
from .sessions.model import Model
from .sessions.opening import Opening
from .sessions.renamed import RenamedSession
from .settings import Settings

if TYPE_CHECKING:
    from .generation.base import Decoding
    from .generation.generated import Generated
    from .processing.audio.features import SpeechProcessor
    from .processing.image.processor import ImageProcessor
    from .processing.text.tokenizer import Tokenizer

_LOG = logging.getLogger("vitrify")
# What of a tokenizer a caller may set; it goes along where a bundle is pickled.
_CHANGEABLE = ("special_tokens", "model_max_length", "padding_side", "truncation_side")


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
        self.name = given_name(bundle.folder)
        self.profile = choice.profile
        self.threads = choice.threads if threads is None else threads
        self.choice = choice
        if self.threads is not None and cpu_threads(self.threads) > (cores := usable_cores()):
            _LOG.warning("%d threads on %d usable cores are slower than %d", self.threads, cores, cores)
        self.trace_to = trace_to
        if not bundle.is_verified:
            said = "'%s' is an ONNX folder: profile %s was not verified against its checkpoint"
            _LOG.warning(said, self.name, self.profile.name)
        self._lock = Lock()
        self._graphs: dict[str, Model] = {}
        self._assistants: dict[Path, LoadedBundle] = {}
        self.prefixes = Prefixes()
        self._given: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        tasks = ", ".join(self.bundle.tasks)
        return f"{type(self).__name__}({self.name!r}, profile={self.profile.name!r}, tasks={tasks!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what opens it again: the folder, the choice, and the processors that it was given."""
        choice = {**vars(self.choice), "profile": self.profile.name, "entries": dict(self.choice.entries)}
        tokenizer = self.__dict__.get("tokenizer")
        changes = {name: getattr(tokenizer, name) for name in _CHANGEABLE if hasattr(tokenizer, name)}
        folder = self.bundle.folder.absolute()
        return _reopened, (folder, choice, self.threads, self.trace_to, dict(self._given), changes)

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
                f"use another profile of it ({self._others() or 'export it with cpu-fp32'})"
            )
        with self._lock:
            if name not in self._graphs:
                self._graphs[name] = Model(self.new_session(name), self.bundle.axes)
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
            with self.new_session(name, record=True) as session:
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

        Rows do not depend on the others of a batch, but for cpu-int8, which scales by all that it runs at once.

        Parameters
        ----------
        input_ids, attention_mask
            int [rows, tokens]: what a decoder continues, or what an encoder of text reads. Without a mask a decoder's
            is inferred from pad tokens, unless they end answers too.
        given
            Arguments of generation, of which None takes back what the checkpoint says, and what an encoder of speech or
            images reads, by the names of its graph.

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
        """What the checkpoint says of generation: its generation_config.json, or else its config.json."""
        from .generation.saved_config import bundle_entries

        return bundle_entries(self.bundle, self.config)

    def read_settings(self, name: str) -> Mapping[str, Any]:
        """Return the content of one of the checkpoint's JSON files, or nothing where the bundle does not have it."""
        if name not in self.bundle.files:
            return {}
        return read_object(self.bundle.check(name))

    @cached_property
    def config(self) -> Settings:
        """The checkpoint's config.json, with an `id2label` keyed by int; fields are keys and attributes."""
        config = read_config(self.bundle.check("config.json"))
        return Settings({**config, "id2label": label_names(config)})

    @cached_property
    def tokenizer(self) -> "Tokenizer | None":
        """The tokenizer, or None for a bundle without one."""
        if "tokenizer.json" not in self.bundle.files:
            return None
        for name in self.bundle.files:
            if "tokenizer" in name or "special_tokens" in name or "chat_template" in name:
                self.bundle.check(name)
        from .processing.text.tokenizer import Tokenizer

        limit = self.bundle.axes.get("sequence", Axis()).maximum
        return Tokenizer.from_folder(self.bundle.folder, refused_above=limit)

    @cached_property
    def image_processor(self) -> "ImageProcessor | None":
        """The image processor, or None for a bundle without one."""
        if not self._has_preprocessor("image"):
            return None
        return given_image_processor(self.bundle.folder)

    @cached_property
    def speech_processor(self) -> "SpeechProcessor | None":
        """The feature extractor of speech, or None for a bundle without one."""
        if not self._has_preprocessor("audio"):
            return None
        return given_speech_processor(self.bundle.folder)

    def _has_preprocessor(self, kind: str) -> bool:
        """Tell whether the graphs read this kind and a file says how to prepare it, which is checked."""
        found = [name for name in ("preprocessor_config.json", "processor_config.json") if name in self.bundle.files]
        if not found or kind not in self._kinds:
            return False
        self.bundle.check(found[0])
        return True

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
        named = {"tokenizer": tokenizer, "image_processor": image_processor, "feature_extractor": feature_extractor}
        given = {name: value for name, value in named.items() if value is not None}
        own = self.tokenizer if "tokenizer" in given else None
        other = object.__new__(type(self))  # which shares the opened graphs
        other.__dict__.update(self.__dict__ | given_processors(own, **given) | {"_given": {**self._given, **given}})
        return other

    def run_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Run rows (arrays without the batch axis) as one batch, padded; return each row's outputs, unpadded.

        Rows of different image sizes cannot share a batch: each size runs for itself. What is returned are views of
        the batch's arrays.
        """
        least = self.bundle.axes.get("sequence", Axis()).minimum
        results: dict[int, Row] = {}
        for indices in batches(rows, self.signature):
            made = run_together(self.model, [rows[index] for index in indices], least=least, tokenizer=self.tokenizer)
            results.update(zip(indices, made, strict=True))
        return [results[index] for index in range(len(rows))]

    def _others(self) -> str:
        return ", ".join(name for name in self.bundle.builds if name != self.profile.name)

    def _obstacle(self, error: EnvironmentMissing) -> EnvironmentMissing:
        """Return the reason why the profile does not run here, with what else the bundle contains."""
        others = self._others()
        hint = f"other profiles of the bundle: {others}" if others else "the bundle has no other profile"
        return type(error)(f"{error} ({hint})")

    def new_session(self, graph: str, *, record: bool = False) -> Session:
        """Return a new session of one of the profile's graphs."""
        provider, backend, packed = self.profile.provider, find_backend(self.profile.provider), None
        try:
            if backend.opens_engines:
                from .selection.engines import engine_path

                path = engine_path(self.bundle, profile=self.profile.name, graph=graph)
            else:
                path = self.graph_file(graph)
        except EnvironmentMissing as error:
            raise self._obstacle(error) from error
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
        try:
            session = open_session(packed or path, provider=provider, options=self.settings, opening=opening)
        except EnvironmentMissing as error:
            raise self._obstacle(error) from error
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


def _reopened(
    folder: Path,
    choice: Mapping[str, Any],
    threads: int | None,
    trace_to: Path | None,
    given: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> LoadedBundle:
    bundle = read_bundle(folder, choice["profile"])
    again = Choice(**{**choice, "profile": bundle.profile(choice["profile"])})
    made = LoadedBundle(bundle, profile=again, threads=threads, trace_to=trace_to).with_processors(**given)
    for name, value in changes.items():
        setattr(made.tokenizer, name, value)
    return made


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
