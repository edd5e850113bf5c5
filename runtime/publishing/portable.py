"""Which other tools run a bundle as it is, by its task; it knows no card and runs none of them.

They load the portable float32 graph by its name. Listed is what `tests/interop/` runs in them, and what differs from
that by the head alone.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ..bundle.manifest import Bundle
from ..bundle.onnx_layout import PLAIN, find_variants

# The class of optimum-onnx that runs a task; transformers.js has the tasks by the same names.
OPTIMUM: Mapping[str, str] = MappingProxyType(
    {
        "text-classification": "ORTModelForSequenceClassification",
        "token-classification": "ORTModelForTokenClassification",
        "question-answering": "ORTModelForQuestionAnswering",
        "fill-mask": "ORTModelForMaskedLM",
        "feature-extraction": "ORTModelForFeatureExtraction",
        "text-generation": "ORTModelForCausalLM",
        "image-classification": "ORTModelForImageClassification",
    }
)


def portable_task(bundle: Bundle) -> str | None:
    """Return the first task for which transformers.js and Optimum run the bundle, None where they do not."""
    if bundle.source.remote_code or PLAIN not in find_variants(bundle.files, family=bundle.family):
        return None
    return next((task for task in bundle.tasks if task in OPTIMUM), None)
