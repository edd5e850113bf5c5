"""Open a checkpoint folder: what it is, whether it may be loaded, and its model with its tokenizer or image processor.

It reads local folders only; finding one on the Hub is `runtime/sources`'s.
"""

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...runtime.bundle.checkpoint_config import read_config
from ...runtime.bundle.checkpoint_files import CONFIG, Listing, refuse_other_weights, weights_of
from ...runtime.errors import IntegrityError, UnsupportedError, UsageError
from ...runtime.generation.saved_config import FILE as GENERATION
from ...runtime.generation.saved_config import checked_entries
from ...runtime.graphs.families import FAMILIES
from ...runtime.graphs.heads import HEADS, Head
from ...runtime.graphs.signature import POOLED
from ...runtime.json_files import read_object
from ...runtime.tasks import find_task
from ..modules.chains import Chains
from ..modules.encoder import SentenceEncoder
from ..processors.image import load_image_processor
from ..processors.speech import load_speech_processor
from ..processors.tokenizer import load_tokenizer
from ..reasons import culprit_of, reason_of
from .heads import choose_head, kinds_read, loader_of, main_input
from .sentences import HEAD, Sentences, Wish, edit_tokenizer, read_sentences

_PLAIN = Wish()
_AGAIN = "correct it, or download the checkpoint again"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: `model` in evaluation mode and float32, and the processors of the `kinds` of input it reads.

    `outputs` are those of its head, `missing` the weights that its files lack. `encoder` is the model with the modules
    of sentence-transformers that follow it, where they are exported. `files` are what a bundle keeps of it, by name.
    """

    folder: Path
    head: Head
    model: Any
    kinds: tuple[str, ...]
    outputs: tuple[str, ...]
    missing: tuple[str, ...] = ()
    encoder: SentenceEncoder | None = None
    files: Mapping[str, Path | str] = field(default_factory=dict)
    tokenizer: Any = None
    image_processor: Any = None
    speech_processor: Any = None

    @property
    def traced(self) -> Any:
        """What becomes the graph: the model, or that with its modules."""
        return self.model if self.encoder is None else self.encoder

    @property
    def config(self) -> Any:
        """The transformers config of the model."""
        return self.model.config

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the graph's inputs: what the processor gives and the model's forward takes, in that order."""
        if "audio" in self.kinds:
            # A mask only where the model was trained with one; without it, unequal lengths run one by one.
            names = self.speech_processor.model_input_names[: 1 + bool(self.speech_processor.return_attention_mask)]
        else:
            names = list(self.tokenizer.model_input_names) if "text" in self.kinds else []
            names += [main_input(type(self.model))] if "image" in self.kinds else []
        own = [POOLED] if self.encoder is not None and self.encoder.leaves_out_prompts else []
        return (*(name for name in names if name in self.forward_parameters), *own)

    @property
    def forward_parameters(self) -> Collection[str]:
        """The names of what the model's forward takes."""
        return _forward_parameters(self.model)


def _forward_parameters(model: Any) -> Collection[str]:
    """Return what the model's forward takes; one that only hands `**kwargs` on takes what its base class takes."""
    found: Collection[str] = ()
    for cls in type(model).__mro__:
        found = inspect.signature(cls.forward).parameters if hasattr(cls, "forward") else ()
        if main_input(type(model)) in found:
            break
    return found


def open_checkpoint(
    folder: Path,
    *,
    task: str | None = None,
    head: str | None = None,
    trust_remote_code: bool = False,
    sentences: Wish = _PLAIN,
) -> Checkpoint:
    """Load the checkpoint in `folder` with the head that `task` needs, with the `head` named, or else with its own.

    One that sentence-transformers wrote gives sentence embeddings, unless `task` or `head` says otherwise.

    Raises
    ------
    UsageError
        Not a checkpoint, no such head, weights of other shapes, or no tokenizer for its texts.
    UnsupportedError
        Pickled weights, a pre-quantized checkpoint or an adapter.
    IntegrityError
        A file that cannot be read as what it should be.

    """
    if not folder.is_dir():
        raise UsageError(f"no checkpoint at '{folder}': not a folder. Pass a folder with config.json or a Hub id")
    found = read_sentences(folder, task=task, head=head, wish=sentences)
    folder = found.body
    settings = _read_config(folder)
    _refuse(folder, settings)
    _check_weights(folder)
    config = _load_config(folder, settings, trust_remote_code=trust_remote_code)
    named = HEAD if found.chains is not None else head
    chosen = choose_head(config, task) if named is None else HEADS[named]
    if FAMILIES[chosen.family].encoder is not None and not config.is_encoder_decoder:
        raise UnsupportedError(
            f"{config.architectures[0] if config.architectures else config.model_type} is not an encoder-decoder: "
            "vision-language models that are decoders only are not supported"
        )
    if FAMILIES[chosen.family].generates and (folder / GENERATION).is_file():
        saved = read_object(folder / GENERATION, advice=_AGAIN)
        checked_entries(saved, folder / GENERATION, advice=_AGAIN)
    model, missing = _load_model(folder, chosen, config, settings, trust_remote_code=trust_remote_code)
    kinds = kinds_read(chosen, type(model))
    _check_task_input(task, kinds)
    outputs = (*chosen.outputs, *chosen.extra)
    checkpoint = Checkpoint(folder, chosen, model, kinds, outputs, missing, files=found.files)
    checkpoint = _with_processor(checkpoint, trust_remote_code=trust_remote_code)
    return checkpoint if found.chains is None else _with_modules(checkpoint, found, found.chains)


def _with_modules(checkpoint: Checkpoint, found: Sentences, chains: Chains) -> Checkpoint:
    """Return the checkpoint with the modules that follow its model, and the tokenizer as they have it."""
    return replace(
        checkpoint,
        encoder=SentenceEncoder(checkpoint.model, chains.made),
        outputs=("last_hidden_state", *chains.made),
        tokenizer=edit_tokenizer(checkpoint.tokenizer, found.settings),
    )


def _with_processor(checkpoint: Checkpoint, *, trust_remote_code: bool) -> Checkpoint:
    """Return the checkpoint with what turns its inputs into arrays, and its outputs into text."""
    folder, made = checkpoint.folder, {}
    if "image" in checkpoint.kinds:
        made["image_processor"] = load_image_processor(folder, trust_remote_code=trust_remote_code)
    if "audio" in checkpoint.kinds:
        made["speech_processor"] = load_speech_processor(folder, trust_remote_code=trust_remote_code)
    if "text" in checkpoint.kinds or checkpoint.head.writes_text:
        made["tokenizer"] = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        if made["tokenizer"] is None and "text" in checkpoint.kinds:
            raise UsageError(
                f"'{folder}' has no tokenizer, and its model reads text: put the tokenizer.json and "
                "tokenizer_config.json that it was trained with next to config.json"
            )
    return replace(checkpoint, **made)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    refuse_other_weights(Listing.from_folder(folder))
    if not path.is_file():
        raise UsageError(f"'{folder}' is not a checkpoint: it has no config.json")
    read_config(path, advice=_AGAIN)  # as the bundle's will be read
    return read_object(path, advice=_AGAIN)


def _refuse(folder: Path, settings: dict[str, Any]) -> None:
    if quantization := settings.get("quantization_config"):
        raise UnsupportedError(
            f"'{folder}' is quantized already ({_quantizer(quantization)}): vitrify exports unquantized checkpoints "
            "and quantizes them itself. Use the original checkpoint, with --profile cpu-int8 if you want it small"
        )


def _quantizer(quantization: Any) -> str:
    if not isinstance(quantization, dict):
        return "unknown"
    # bitsandbytes once wrote no name.
    unnamed = "bitsandbytes" if quantization.keys() & {"load_in_4bit", "load_in_8bit"} else "unknown"
    return str(quantization.get("quant_method", unnamed))


def _check_weights(folder: Path) -> None:
    from safetensors import safe_open

    for name in weights_of(Listing.from_folder(folder)).shards:
        path = folder / name
        try:
            with safe_open(path, framework="numpy") as file:
                file.keys()
        except Exception as error:
            raise IntegrityError(f"'{path}' is not a safetensors file ({error}): download it again") from error


def _load_config(folder: Path, settings: Mapping[str, Any], *, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except Exception as error:
        reason = reason_of(error)
        if "trust_remote_code" in str(error):
            reason = "it runs code from its own repository. Read that code, then allow it with --trust-remote-code"
        elif field := _known_config(settings) and culprit_of(settings, _config_of):
            reason = f"{field} ({reason})"
        raise UnsupportedError(f"transformers cannot read '{folder / 'config.json'}': {reason}") from error


def _known_config(settings: Mapping[str, Any]) -> bool:
    """Tell whether the config is of a class of transformers, rather than of the checkpoint's own code."""
    from transformers import CONFIG_MAPPING

    return isinstance(name := settings.get("model_type"), str) and name in CONFIG_MAPPING


def _config_of(settings: Mapping[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[settings["model_type"]].from_dict(dict(settings))


def _load_model(
    folder: Path, head: Head, config: Any, settings: Mapping[str, Any], *, trust_remote_code: bool
) -> tuple[Any, tuple[str, ...]]:
    """Return the model and the names of its weights that are missing."""
    import transformers

    loader = loader_of(head, config)
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    try:
        model, info = loader.from_pretrained(
            folder,
            dtype=torch.float32,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # told below, with their shapes
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    except Exception as error:
        reason = reason_of(error)
        if field := _known_config(settings) and culprit_of(settings, lambda given: _build(loader, given)):
            reason = f"config.json: {field} ({reason})"
        raise UsageError(f"transformers cannot load '{folder}' with {loader.__name__}: {reason}") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
    if other := sorted(info["mismatched_keys"]):
        raise UsageError(
            f"the checkpoint '{folder}' has weights of other shapes than {type(model).__name__} of its config.json: "
            f"{_shapes(other[0], settings)}, of {len(other)} such weights; they would be random. Correct config.json, "
            "or choose a task that the checkpoint was trained for"
        )
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = FAMILIES[head.family].generates
    return model.eval(), tuple(sorted(info["missing_keys"]))


def _build(loader: Any, settings: Mapping[str, Any]) -> Any:
    """Build a model of a config without memory for its weights."""
    with torch.device("meta"):
        return loader.from_config(_config_of(settings))


def _shapes(weight: tuple[str, Sequence[int], Sequence[int]], settings: Mapping[str, Any]) -> str:
    """Say in which dimensions a weight differs from the model's, and which fields of the config have these values."""
    name, found, wanted = weight
    sizes = set(wanted) - set(found)
    fields = [f"{key} is {value}" for key, value in settings.items() if type(value) is int and value in sizes]
    return f"'{name}' is {list(found)} instead of {list(wanted)}" + (f" ({', '.join(fields)})" if fields else "")


def _check_task_input(task: str | None, kinds: Collection[str]) -> None:
    if task is not None and (wanted := find_task(task)).inputs not in kinds:
        raise UsageError(f"task '{wanted.name}' reads {wanted.inputs}, but the checkpoint reads {' and '.join(kinds)}")
