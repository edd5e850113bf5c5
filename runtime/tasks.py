"""The table of tasks: which head serves which task, by which pipeline, and each task's default checkpoint.

It imports no pipeline.
"""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from .errors import UnsupportedError, UsageError


@dataclass(frozen=True)
class Task:
    """One task: `heads` serve it, `default` is the checkpoint (id, commit) used when no model is named.

    `implementation` is a module of `pipelines/` and the class in it, `tag` the Hub's name where it is another.
    """

    name: str
    summary: str
    implementation: str
    heads: tuple[str, ...]
    inputs: str
    default: tuple[str, str]
    aliases: tuple[str, ...] = ()
    tag: str | None = None


TASKS = (
    Task(
        "text-classification",
        "classify a text or a pair of texts",
        "text_classification:TextClassificationPipeline",
        ("sequence-classification",),
        "text",
        ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "714eb0f"),
        ("sentiment-analysis",),
    ),
    Task(
        "token-classification",
        "tag tokens or named entities",
        "token_classification:TokenClassificationPipeline",
        ("token-classification",),
        "text",
        ("dbmdz/bert-large-cased-finetuned-conll03-english", "4c53496"),
        ("ner",),
    ),
    Task(
        "question-answering",
        "extract the answer to a question from a context",
        "question_answering:QuestionAnsweringPipeline",
        ("question-answering",),
        "text",
        ("distilbert/distilbert-base-cased-distilled-squad", "564e9b5"),
    ),
    Task(
        "fill-mask",
        "fill the mask token in a text",
        "fill_mask:FillMaskPipeline",
        ("masked-lm",),
        "text",
        ("distilbert/distilroberta-base", "fb53ab8"),
    ),
    Task(
        "text-embedding",
        "one vector for each text",
        "text_embedding:TextEmbeddingPipeline",
        ("embedding",),
        "text",
        ("sentence-transformers/all-MiniLM-L6-v2", "c9745ed"),
        ("sentence-similarity",),
        tag="sentence-similarity",
    ),
    Task(
        "feature-extraction",
        "hidden states of a text, per token",
        "feature_extraction:FeatureExtractionPipeline",
        ("base", "embedding"),
        "text",
        ("distilbert/distilbert-base-cased", "6ea8117"),
    ),
    Task(
        "zero-shot-classification",
        "classify with arbitrary labels (NLI)",
        "zero_shot_classification:ZeroShotClassificationPipeline",
        ("sequence-classification",),
        "text",
        ("facebook/bart-large-mnli", "d7645e1"),
    ),
    Task(
        "text-ranking",
        "rank documents by a query",
        "text_ranking:TextRankingPipeline",
        ("sequence-classification",),
        "text",
        ("cross-encoder/ms-marco-MiniLM-L6-v2", "c5ee24c"),
    ),
    Task(
        "text-generation",
        "continue a text, or answer in a chat",
        "text_generation:TextGenerationPipeline",
        ("causal-lm",),
        "text",
        ("HuggingFaceTB/SmolLM3-3B", "a07cc9a"),
    ),
    Task(
        "text2text-generation",
        "text-to-text generation (T5)",
        "text2text:Text2TextGenerationPipeline",
        ("seq2seq-lm",),
        "text",
        ("google-t5/t5-base", "a9723ea"),
    ),
    Task(
        "summarization",
        "summarize a text",
        "text2text:SummarizationPipeline",
        ("seq2seq-lm",),
        "text",
        ("sshleifer/distilbart-cnn-12-6", "a4f8f3e"),
    ),
    Task(
        "translation",
        "translate a text; also translation_xx_to_yy",
        "text2text:TranslationPipeline",
        ("seq2seq-lm",),
        "text",
        ("google-t5/t5-base", "a9723ea"),
    ),
    Task(
        "image-to-text",
        "caption an image; Donut and Pix2Struct",
        "image_to_text:ImageToTextPipeline",
        ("image-to-text",),
        "image",
        ("ydshieh/vit-gpt2-coco-en", "5bebf1e"),
    ),
    Task(
        "automatic-speech-recognition",
        "transcribe speech; Whisper and CTC",
        "automatic_speech_recognition:AutomaticSpeechRecognitionPipeline",
        ("ctc", "speech-seq2seq"),
        "audio",
        ("facebook/wav2vec2-base-960h", "22aad52"),
    ),
    Task(
        "image-classification",
        "classify an image",
        "image_classification:ImageClassificationPipeline",
        ("image-classification",),
        "image",
        ("google/vit-base-patch16-224", "3f49326"),
    ),
    Task(
        "image-feature-extraction",
        "hidden states of an image, per patch",
        "image_feature_extraction:ImageFeatureExtractionPipeline",
        ("base",),
        "image",
        ("google/vit-base-patch16-224", "3f49326"),
    ),
)

# A translation may name its languages.
_LANGUAGES = re.compile(r"translation_\w+_to_\w+")
_BY_NAME = {name: task for task in TASKS for name in (task.name, *task.aliases)}

# Tasks of transformers, or formerly of transformers, that vitrify does not run.
_ELSEWHERE = frozenset(
    {
        "any-to-any",
        "audio-classification",
        "decision",
        "depth-estimation",
        "document-question-answering",
        "image-segmentation",
        "image-text-to-text",
        "image-to-image",
        "keypoint-matching",
        "mask-generation",
        "object-detection",
        "table-question-answering",
        "text-to-audio",
        "text-to-speech",
        "video-classification",
        "visual-question-answering",
        "zero-shot-audio-classification",
        "zero-shot-image-classification",
        "zero-shot-object-detection",
    }
)


def find_task(name: str) -> Task:
    """Return the task of this name or alias; raise UsageError or, for a task of other tools, UnsupportedError."""
    if task := _BY_NAME.get("translation" if _LANGUAGES.fullmatch(name) else name):
        return task
    known = ", ".join(sorted(_BY_NAME))
    if name in _ELSEWHERE:
        raise UnsupportedError(f"task '{name}' is not supported (supported: {known})")
    close = difflib.get_close_matches(name, _BY_NAME, 1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    raise UsageError(f"unknown task '{name}'. {hint}Tasks: {known}")


def tasks_of(head: str, kinds: Collection[str]) -> tuple[str, ...]:
    """Return the names of the tasks that a head serves on what it reads ("text", "image", "audio")."""
    return tuple(task.name for task in TASKS if head in task.heads and task.inputs in kinds)
