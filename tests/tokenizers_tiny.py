"""Tiny tokenizers of the kinds that real checkpoints have, trained on a few sentences; knows nothing of models."""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and nobody was surprised.",
    "I've been waiting for a course like this my whole life!",
    "My name is Sarah Jessica and I live in London, near the river.",
    "What is the capital of France? Paris is the capital of France.",
    "This film was not good; the actors were wonderful, the story was not.",
    "She sells sea shells on the sea shore: 3 for 5.99 dollars, 100 for 150.",
    "Models are compiled once and run anywhere, without the framework.",
    "One day I will see the world, he said, and then he went to Tokyo.",
    "Le chat est assis près de la fenêtre; l'été, il dort dehors.",
    "Der Fluß fließt an alten Häusern vorbei, über die Brücke.",
    "El niño comió una manzana mañana por la mañana, ¿verdad?",
    "Москва является столицей России, большой и старый город.",
    "東京は日本の首都です。北京是中国的首都。",
    "القاهرة هي عاصمة مصر",
    "Ο ήλιος λάμπει πάνω από τη θάλασσα.",  # noqa: RUF001  it is Greek
    "naïve café, coöperate, résumé, Ångström, ½ & € 😀 🎉 👩‍💻",
)


@dataclass(frozen=True)
class Recipe:
    """A row of `[tokenizers]`: a transformers class, how its vocabulary is made, and its special tokens.

    After the vocabulary that the class takes come special tokens, `added`, and plain ones, `timestamps` 20 ms apart.
    """

    cls: str
    model: str
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    timestamps: int = 0
    template: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] | None = None


def tiny_tokenizer(recipe: Recipe, *, model_max_length: int) -> Any:
    """Return an instance of the recipe's transformers class with a trained vocabulary of 300 to 700 tokens."""
    import transformers

    if recipe.model == "letters":
        return _of_letters(recipe)
    model = _VOCABULARIES[recipe.model](recipe)
    arguments = {**(recipe.arguments or {}), "model_max_length": model_max_length}
    if recipe.template is not None:
        backend = _byte_level(model, recipe.template)
        return getattr(transformers, recipe.cls)(tokenizer_object=backend, **arguments)
    tokenizer = getattr(transformers, recipe.cls)(**model, **arguments)
    if recipe.added:
        tokenizer.add_special_tokens({"extra_special_tokens": list(recipe.added)})
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(recipe.timestamps)])
    return tokenizer


def _of_letters(recipe: Recipe) -> Any:
    """Return a tokenizer whose class reads its vocabulary from a file: upper-case letters, as CTC heads have them."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps(_numbered(recipe, "ETAONIHSRDLUMWCFGYPBVK'XJQZ")))
        return getattr(transformers, recipe.cls)(str(path), **(recipe.arguments or {}))


def _byte_level(model: Mapping[str, Any], template: Mapping[str, Any]) -> Tokenizer:
    backend = Tokenizer(models.BPE(vocab=model["vocab"], merges=model["merges"]))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=template["single"],
        pair=template["pair"],
        special_tokens=[(token, model["vocab"][token]) for token in template["tokens"]],
    )
    return backend


def _wordpiece(recipe: Recipe) -> dict[str, Any]:
    """Count pieces instead of training: the trainer's ties fall as its hash table pleases."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = [word for text in SENTENCES for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
    starts = Counter(word[:end] for word in words for end in range(1, len(word) + 1))
    insides = Counter(f"##{piece}" for word in words for piece in _substrings(word[1:]))
    letters = sorted({mark + letter for word in words for letter in word for mark in ("", "##")})
    frequent = [piece for piece in _most_frequent(starts + insides, 300) if piece not in letters]
    return {"vocab": _numbered(recipe, [*letters, *frequent])}


def _unigram(recipe: Recipe) -> dict[str, Any]:
    """Score pieces by their frequency; the trainer would depend on the order of its sums."""
    words = [f"▁{word}" for text in SENTENCES for word in text.split()]
    counts = Counter(piece for word in words for piece in _substrings(word))
    letters = {letter: counts[letter] for letter in set("".join(words))}
    kept = Counter({piece: counts[piece] for piece in _most_frequent(counts, 300)}) | Counter(letters)
    pieces = sorted(kept.items(), key=lambda piece: (-piece[1], piece[0]))
    scored = [(piece, round(math.log(count / kept.total()), 4)) for piece, count in pieces]
    return {"vocab": [*_scored(recipe.first), *scored, *_scored(recipe.last)]}


def _substrings(word: str) -> list[str]:
    return [word[start:end] for start in range(len(word)) for end in range(start + 1, len(word) + 1)]


def _most_frequent(counts: Counter[str], size: int) -> list[str]:
    return sorted(counts, key=lambda piece: (-counts[piece] * len(piece), piece))[:size]


def _byte_bpe(recipe: Recipe) -> dict[str, Any]:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=440, initial_alphabet=alphabet, show_progress=False)
    return _bpe(recipe, _trained(backend, trainer))


def _sentencepiece_bpe(recipe: Recipe) -> dict[str, Any]:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    learned = _trained(backend, trainers.BpeTrainer(vocab_size=360, show_progress=False))
    return _bpe(recipe, learned, prefix=[f"<0x{byte:02X}>" for byte in range(256)])


def _bpe(recipe: Recipe, learned: Mapping[str, Any], *, prefix: Sequence[str] = ()) -> dict[str, Any]:
    vocab = _numbered(recipe, [*prefix, *sorted(learned["vocab"], key=learned["vocab"].get)])
    return {"vocab": vocab, "merges": [tuple(merge) for merge in learned["merges"]]}


def _trained(backend: Tokenizer, trainer: Any) -> dict[str, Any]:
    backend.train_from_iterator(SENTENCES, trainer=trainer)
    return json.loads(backend.to_str())["model"]


def _numbered(recipe: Recipe, tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate([*recipe.first, *tokens, *recipe.last])}


def _scored(tokens: Sequence[str]) -> list[tuple[str, float]]:
    return [(token, 0.0) for token in tokens]


_VOCABULARIES: Mapping[str, Callable[[Recipe], dict[str, Any]]] = {
    "wordpiece": _wordpiece,
    "byte-bpe": _byte_bpe,
    "sentencepiece-bpe": _sentencepiece_bpe,
    "unigram": _unigram,
}
