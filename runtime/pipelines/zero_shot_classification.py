"""zero-shot-classification: which of the labels named in the call fit a text, asked of a model of inference."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..errors import UsageError
from ..numerics import Row, softmax
from ..processing.text.encodings import Encodings
from .results import Ranking
from .shared.base import Parameters
from .shared.pieces import Piece
from .shared.text import TextPipeline

if TYPE_CHECKING:
    from ..loading import LoadedBundle

_LOG = logging.getLogger("vitrify")


@dataclass(frozen=True)
class ZeroShotClassificationParameters(Parameters):
    """`candidate_labels` is a list, or one text with commas; `hypothesis_template` has {} where the label goes."""

    candidate_labels: str | Sequence[str] | None = None
    hypothesis_template: str = "This example is {}."
    multi_label: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.multi_label, bool):
            raise UsageError(f"multi_label must be True or False, got {self.multi_label!r}")
        if self.candidate_labels is not None and not self.labels():
            raise UsageError("candidate_labels must name at least one label, got none")
        self.hypothesis("a label")

    def labels(self) -> list[str]:
        """Return the labels; raise UsageError if they are none, or no texts."""
        labels = self.candidate_labels
        if isinstance(labels, str):
            return [label.strip() for label in labels.split(",") if label.strip()]
        if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
            got = "nothing" if labels is None else repr(labels)
            raise UsageError(f"candidate_labels must be a list of texts, or one text with commas, got {got}")
        return list(labels)

    def hypothesis(self, label: str) -> str:
        """Return the sentence that says the label fits."""
        template = self.hypothesis_template
        try:
            sentence = template.format(label)
        except (AttributeError, LookupError, TypeError, ValueError):
            sentence = template
        if sentence == template:
            raise UsageError(f"hypothesis_template must be a text with {{}} where the label goes, got {template!r}")
        return sentence


class ZeroShotClassificationPipeline(TextPipeline[Ranking, Ranking]):
    """`(texts, candidate_labels, *, hypothesis_template="This example is {}.", multi_label=False)` -> best label first.

    Each result is {"sequence", "labels", "scores"}. Scores of one text add up to 1, unless `multi_label`: then each
    label is scored for itself.
    """

    parameters = ZeroShotClassificationParameters
    positional = ("candidate_labels",)
    input_name = "sequences"

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        names = self.config.get("label2id") or {
            label: number for number, label in (self.config.get("id2label") or {}).items()
        }
        entailing = [number for name, number in names.items() if str(name).lower().startswith("entail")]
        if not entailing:
            _LOG.warning("no label of this model starts with 'entail': its last one is assumed to be entailment")
        self.entailment_id: int = entailing[0] if entailing else -1

    if TYPE_CHECKING:

        @overload
        def __call__(self, inputs: str, *args: Any, **options: Any) -> Ranking: ...
        @overload
        def __call__(self, inputs: list[str], *args: Any, **options: Any) -> list[Ranking]: ...
        @overload
        def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...
        def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    def arranged(
        self, inputs: Any, parameters: ZeroShotClassificationParameters
    ) -> tuple[Any, ZeroShotClassificationParameters]:
        """Check that there are labels, before an input is read."""
        parameters.labels()
        return inputs, parameters

    def pieces(self, item: Any, parameters: ZeroShotClassificationParameters) -> Iterator[Piece]:
        """Yield the text with each label's hypothesis."""
        if not self.text(item):
            raise UsageError(f"'{self.task}' expects a text that is not empty")
        for label in parameters.labels():
            yield Piece(self.row(self._encoded(item, parameters.hypothesis(label))), item)

    def result(
        self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: ZeroShotClassificationParameters
    ) -> Any:
        """Return the labels with their scores, best first; of equal ones the last comes first, as in transformers."""
        labels = parameters.labels()
        logits = np.stack([output["logits"] for output in outputs]).astype(np.float32)
        scores = self._scores(logits, each=parameters.multi_label or len(labels) == 1)
        order = np.argsort(scores, kind="stable")[::-1]
        return {
            "sequence": pieces[0].context,
            "labels": [labels[index] for index in order],
            "scores": scores[order].tolist(),
        }

    def _scores(self, logits: np.ndarray, *, each: bool) -> np.ndarray:
        """Return [labels] from logits [labels, 3]: a label against the others or, for `each`, against contradiction."""
        if not each:
            return softmax(logits[:, self.entailment_id])
        contradiction_id = -1 if self.entailment_id == 0 else 0
        return softmax(logits[:, [contradiction_id, self.entailment_id]])[:, 1]

    def _encoded(self, text: str, hypothesis: str) -> Encodings:
        """Return the pair, the text cut where it is too long; whole where cutting the text alone cannot do."""
        try:
            return self.tokenizer(text, hypothesis, truncation="only_first")
        except UsageError as error:
            if "too short" not in str(error):
                raise
            return self.tokenizer(text, hypothesis)
