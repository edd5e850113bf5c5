"""`pipeline()`: from a task and a bundle, a checkpoint folder or a Hub id to a pipeline that runs without PyTorch."""

from typing import TYPE_CHECKING, Any, Literal, overload

from .bundle.reading import read_bundle
from .errors import UsageError
from .loading import MAX_DRIFT, LoadedBundle
from .pipelines.classes import pipeline_class as class_of
from .pipelines.shared.base import Pipeline
from .selection.requested import Requested, read_request
from .sources.request import Request
from .sources.resolve import bundle_folder, ready_folder
from .tasks import find_task

if TYPE_CHECKING:
    from .pipelines.automatic_speech_recognition import AutomaticSpeechRecognitionPipeline
    from .pipelines.feature_extraction import FeatureExtractionPipeline
    from .pipelines.fill_mask import FillMaskPipeline
    from .pipelines.image_classification import ImageClassificationPipeline
    from .pipelines.image_feature_extraction import ImageFeatureExtractionPipeline
    from .pipelines.image_to_text import ImageToTextPipeline
    from .pipelines.question_answering import QuestionAnsweringPipeline
    from .pipelines.results import Label
    from .pipelines.text2text import SummarizationPipeline, Text2TextGenerationPipeline, TranslationPipeline
    from .pipelines.text_classification import TextClassificationPipeline
    from .pipelines.text_embedding import TextEmbeddingPipeline
    from .pipelines.text_generation import TextGenerationPipeline
    from .pipelines.text_ranking import TextRankingPipeline
    from .pipelines.token_classification import TokenClassificationPipeline
    from .pipelines.zero_shot_classification import ZeroShotClassificationPipeline

# Arguments of transformers.pipeline that mean nothing without PyTorch, and what to use in their place.
_REFUSED = {
    "config": "the bundle's config.json is used: edit the checkpoint's and export it again",
    "video_processor": "no task supports video: leave it out",
    "processor": "pass tokenizer=, image_processor= or feature_extractor=",
    "pipeline_class": "a task's pipeline is a row of the table of tasks: leave it out",
    "model_kwargs": "they configure a PyTorch model: leave them out",
}


# For type checkers: what each task's pipeline returns. The arguments are those of the function below them.
@overload
def pipeline(  # pyright: ignore[reportOverlappingOverload] - an argument given here nests every result
    task: Literal["text-classification", "sentiment-analysis"], model: Any = ..., *, top_k: int | None, **options: Any
) -> "Pipeline[list[list[Label]], list[Label]]": ...
@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"], model: Any = ..., **options: Any
) -> "TextClassificationPipeline": ...
@overload
def pipeline(
    task: Literal["token-classification", "ner"], model: Any = ..., **options: Any
) -> "TokenClassificationPipeline": ...
@overload
def pipeline(task: Literal["question-answering"], model: Any = ..., **options: Any) -> "QuestionAnsweringPipeline": ...
@overload
def pipeline(task: Literal["fill-mask"], model: Any = ..., **options: Any) -> "FillMaskPipeline": ...
@overload
def pipeline(
    task: Literal["text-embedding", "sentence-similarity"], model: Any = ..., **options: Any
) -> "TextEmbeddingPipeline": ...
@overload
def pipeline(task: Literal["text-ranking"], model: Any = ..., **options: Any) -> "TextRankingPipeline": ...
@overload
def pipeline(task: Literal["feature-extraction"], model: Any = ..., **options: Any) -> "FeatureExtractionPipeline": ...
@overload
def pipeline(
    task: Literal["zero-shot-classification"], model: Any = ..., **options: Any
) -> "ZeroShotClassificationPipeline": ...
@overload
def pipeline(task: Literal["text-generation"], model: Any = ..., **options: Any) -> "TextGenerationPipeline": ...
@overload
def pipeline(
    task: Literal["text2text-generation"], model: Any = ..., **options: Any
) -> "Text2TextGenerationPipeline": ...
@overload
def pipeline(task: Literal["summarization"], model: Any = ..., **options: Any) -> "SummarizationPipeline": ...
@overload
def pipeline(task: Literal["translation"], model: Any = ..., **options: Any) -> "TranslationPipeline": ...
@overload
def pipeline(task: Literal["image-to-text"], model: Any = ..., **options: Any) -> "ImageToTextPipeline": ...
@overload
def pipeline(
    task: Literal["automatic-speech-recognition"], model: Any = ..., **options: Any
) -> "AutomaticSpeechRecognitionPipeline": ...
@overload
def pipeline(
    task: Literal["image-classification"], model: Any = ..., **options: Any
) -> "ImageClassificationPipeline": ...
@overload
def pipeline(
    task: Literal["image-feature-extraction"], model: Any = ..., **options: Any
) -> "ImageFeatureExtractionPipeline": ...
@overload
def pipeline(task: str | None = ..., model: Any = ..., **options: Any) -> Pipeline[Any, Any]: ...
def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    video_processor: Any = None,
    processor: Any = None,
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: Any = None,
    device_map: Any = None,
    dtype: Any = "auto",
    trust_remote_code: bool | None = None,
    model_kwargs: dict[str, Any] | None = None,
    pipeline_class: Any = None,
    *,
    profile: str | None = None,
    max_drift: float = MAX_DRIFT,
    threads: int | None = None,
    allow_pickle: bool = False,
    local_files_only: bool = False,
    torch_dtype: Any = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    binary_output: bool = False,
    **options: Any,
) -> Any:
    """Return a pipeline for `task`, with the arguments of `transformers.pipeline`.

    Parameters
    ----------
    task
        A task or an alias (`vitrify tasks`); by default the bundle's first.
    model
        A bundle's folder, a checkpoint's folder, a Hub id, or what `load_bundle` returned. A checkpoint is compiled
        on first use, in a child process, into the user's cache; ONNX graphs of others without one run as they are.
        Default: the task's default checkpoint.
    tokenizer, image_processor, feature_extractor
        A folder with one, or an object with the interface of the bundle's own, in place of the bundle's.
    revision, token, local_files_only, trust_remote_code, allow_pickle
        For the Hub, and for compiling on first use.
    device, device_map, dtype
        `"cpu"` or `-1` ask for a profile on the CPU, `"cuda"` or an index for one on CUDA, a dtype for one of that
        precision: the bundle's or, of a checkpoint, the preset's (float32 is cpu-fp32, bfloat16 cpu-bf16, int8
        cpu-int8, float16 cuda-fp16; on CUDA bfloat16 is cuda-bf16). Nothing falls back to another one.
    profile
        The profile to run (`vitrify profiles`; of graphs that others compiled their precision, such as "q4"), or
        "auto": the fastest that this machine runs within `max_drift` (the largest difference from PyTorch, over the
        outputs' largest magnitude). Default: cpu-fp32, of others' graphs fp32.
    threads
        Threads of one run (default: the cores that this process may use).
    batch_size
        Rows that run together at most: 1, but 32 for text-embedding and text-ranking, as in sentence-transformers. 1
        gives each result before the next input is read. With more, inputs are read
        ahead (texts: 16 batches or about 16,000 tokens, twice), those of like length share a batch, and on a CPU
        it holds at most 1,024 tokens, so that a large batch_size costs no padding: take 32. Results keep the order
        of the inputs and do not depend on it, but for cpu-int8's, which scales by all that a batch holds. Tasks that
        generate run their rows as they come.
    options
        Arguments of the task, used in every call unless the call gives others.

    Raises
    ------
    UsageError, UnsupportedError, IntegrityError, EnvironmentMissing
        See the classes; each message says what to do.

    """
    del use_fast, num_workers, binary_output  # they change nothing here: tokenizers are always fast, results plain
    _refuse(
        config=config,
        video_processor=video_processor,
        processor=processor,
        pipeline_class=pipeline_class,
        model_kwargs=model_kwargs,
    )
    dtype = dtype if torch_dtype is None else torch_dtype
    asked = read_request(profile=profile, dtype=dtype, device=device, device_map=device_map)
    row = find_task(task) if task is not None else None
    if isinstance(model, LoadedBundle):
        _check_loaded(model, asked)
        loaded = model
    else:
        request = Request(model, revision, token, local_files_only, bool(trust_remote_code), allow_pickle)
        bundle = read_bundle(
            ready_folder(request, asked.profile) or bundle_folder(row, request, asked.preset()), asked.profile
        )
        wanted = asked.within({name: build.profile for name, build in bundle.builds.items()})
        if not bundle.is_verified and wanted != asked.profile:  # its signatures are those of one profile's graphs
            bundle = read_bundle(bundle.folder, wanted)
        loaded = LoadedBundle(bundle, profile=wanted, threads=threads, max_drift=max_drift)
    loaded = loaded.with_processors(
        tokenizer=tokenizer, image_processor=image_processor, feature_extractor=feature_extractor
    )
    name = row.name if row else next(iter(loaded.bundle.tasks), None)
    if name is None:
        raise UsageError(f"'{loaded.name}' supports no pipeline task: run its graphs with vitrify.load_bundle(FOLDER)")
    if name not in loaded.bundle.tasks:
        served = ", ".join(loaded.bundle.tasks)
        raise UsageError(f"'{loaded.name}' does not support task '{name}' (supported: {served})")
    # A translation's task may name the languages.
    called = task if row is not None and task is not None and task not in {row.name, *row.aliases} else name
    return class_of(find_task(name))(loaded, task=called, batch_size=batch_size, **options)


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise UsageError(f"pipeline() does not support '{name}': {_REFUSED[name]}")


def _check_loaded(loaded: LoadedBundle, asked: Requested) -> None:
    name = loaded.profile.name
    if asked.profile not in {None, name}:
        raise UsageError(f"the bundle is loaded with profile '{name}', not '{asked.profile}': load it again")
    if not asked.agrees(loaded.profile):
        raise UsageError(f"the bundle is loaded with profile '{name}', which does not run {asked.words}: load it again")
