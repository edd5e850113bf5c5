"""Tiny tokenizers on SentencePiece, as files of a checkpoint: models trained on a few sentences; no network."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tokenizers_tiny import SENTENCES

SOURCES = (*SENTENCES[:11], "жж щ 東")
"""Latin letters, and of others next to nothing."""
TARGETS = (SENTENCES[11], "Съешь же ещё этих мягких французских булок, да выпей чаю.", *SENTENCES[:3])
"""Mostly Cyrillic: many of its pieces are unknown to a model of the sources."""
CODES = (">>fra<<", ">>rus<<", ">>cmn_Hans<<")
FIRST = ("<s>", "<pad>", "</s>", "<unk>")


def sentencepiece_model(
    sentences: Sequence[str] = SENTENCES, *, kind: str = "unigram", size: int = 300, **options: Any
) -> bytes:
    """Return a trained model's file: `kind` unigram or bpe, `size` pieces at most, `options` of the trainer."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(sentences) * 3),
        model_writer=written,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=kind != "unigram",
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return written.getvalue()


def pieces_of(model: bytes) -> list[str]:
    """Return a model's pieces but for those that it never cuts from a text."""
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    kept = (
        index for index in range(pieces.get_piece_size()) if not (pieces.is_control(index) or pieces.is_unknown(index))
    )
    return [pieces.id_to_piece(index) for index in kept]


def marian(folder: Path, *, missing: Sequence[str] = (), **options: Any) -> None:
    """Write two models and the pieces of both in one vocabulary, in no order of either; `missing` have no number."""
    source, target = (sentencepiece_model(texts, **options) for texts in (SOURCES, TARGETS))
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    pieces = sorted({*pieces_of(source), *pieces_of(target)} - set(missing))
    _write(folder, "vocab.json", _numbered(["</s>", "<unk>", *pieces, *CODES, "<pad>"]))
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "MarianTokenizer", "model_max_length": 512})


def m2m_100(folder: Path, *, kind: str = "bpe", missing: Sequence[str] = (), **config: Any) -> None:
    """Write a model and its pieces in the order of a dictionary, with a few that the model does not have."""
    model = sentencepiece_model(SOURCES, kind=kind)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    pieces = [piece for piece in reversed(pieces_of(model)) if piece not in missing]
    others = [token for token in ("юю", "щщ", "▁extra") if token not in pieces]
    _write(folder, "vocab.json", _numbered([*FIRST, *pieces, *others]))
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "M2M100Tokenizer", "model_max_length": 1024, **config})


def speech_to_text(folder: Path, *, kind: str = "unigram", **config: Any) -> None:
    model = sentencepiece_model(SENTENCES, kind=kind, user_defined_symbols=[])
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    _write(folder, "vocab.json", _numbered([*FIRST, *pieces_of(model)]))
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "Speech2TextTokenizer", **config})


def blenderbot_small(folder: Path, *, missing: Sequence[str] = ()) -> None:
    """Write merges of lowercase words; a vocabulary marks with `@@` what a word goes on after."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=330, end_of_word_suffix="</w>", show_progress=False)
    backend.train_from_iterator(SENTENCES, trainer=trainer)
    learned = json.loads(backend.to_str())["model"]
    symbols = sorted(learned["vocab"], key=learned["vocab"].get)
    tokens = [symbol.removesuffix("</w>") if symbol.endswith("</w>") else f"{symbol}@@" for symbol in symbols]
    first = ("__null__", "__start__", "__end__", "__unk__", "__newln__")
    _write(
        folder, "vocab.json", _numbered([*first, *(token for token in dict.fromkeys(tokens) if token not in missing)])
    )
    merges = "\n".join(" ".join(merge) for merge in learned["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "BlenderbotSmallTokenizer"})


def on_one_model(
    cls: str, file: str, *, kind: str = "unigram", config: Mapping[str, Any] | None = None, **options: Any
) -> Callable[[Path], None]:
    """Return what writes a tokenizer that has nothing but a model."""

    def write(folder: Path) -> None:
        (folder / file).write_bytes(sentencepiece_model(kind=kind, **options))
        _write(folder, "tokenizer_config.json", {"tokenizer_class": cls, **(config or {})})

    return write


MAKERS: Mapping[str, Callable[[Path], None]] = {
    "marian": marian,
    "m2m_100": m2m_100,
    "speech_to_text": speech_to_text,
    "blenderbot-small": blenderbot_small,
    "t5": on_one_model("T5Tokenizer", "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
    "mbart": on_one_model("MBartTokenizer", "sentencepiece.bpe.model"),
    "mbart50": on_one_model("MBart50Tokenizer", "sentencepiece.bpe.model"),
    "nllb": on_one_model(
        "NllbTokenizer",
        "sentencepiece.bpe.model",
        kind="bpe",
        config={"additional_special_tokens": ["ace_Arab", "eng_Latn", "fra_Latn", "deu_Latn"]},
    ),
    "xlm-roberta": on_one_model("XLMRobertaTokenizer", "sentencepiece.bpe.model"),
    "pegasus": on_one_model("PegasusTokenizer", "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
}
"""By model type; `folder` must exist."""


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def _write(folder: Path, name: str, value: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
