"""The text tasks under comparison: which head serves each, and on which tiny checkpoints the default run compares."""

TOLERANCE = 1e-5  # on scores; logits are held to 1e-4 by the export
CLASSIFY, TOKENS, FILL, ZERO_SHOT, EXTRACT = (
    "text-classification",
    "token-classification",
    "fill-mask",
    "zero-shot-classification",
    "feature-extraction",
)
HEADS = {
    CLASSIFY: "sequence-classification",
    TOKENS: "token-classification",
    FILL: "masked-lm",
    ZERO_SHOT: "sequence-classification",
    EXTRACT: "base",
}
SUBJECTS = (
    (CLASSIFY, "bert"),
    (CLASSIFY, "gpt2"),
    (TOKENS, "bert"),
    (TOKENS, "roberta"),
    (FILL, "bert"),
    (FILL, "roberta"),
    (ZERO_SHOT, "bart"),
    (ZERO_SHOT, "bert"),
    (EXTRACT, "bert"),
)
