"""A CTC vocabulary becomes `tokenizer.json` in the bundle, verified on random frames to decode as its source.

transformers' Wav2Vec2CTCTokenizer runs in Python; the file has the form that transformers.js reads: a model of whole
tokens and a CTC decoder. `vocab.json` stands beside it, for transformers.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ...runtime.errors import UnsupportedError
from ...runtime.processing.audio.ctc import CTCDecoder
from ...runtime.processing.text import tokenizer as text
from ...runtime.processing.text.special_tokens import WRITTEN_OUT
from .tokenizer import PRIVATE

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json")
SEQUENCES = 64
"""Random sequences of the check."""


def is_ctc_tokenizer(tokenizer: Any) -> bool:
    """Tell transformers' Wav2Vec2CTCTokenizer, which hubert, wavlm and others share."""
    from transformers import Wav2Vec2CTCTokenizer

    return isinstance(tokenizer, Wav2Vec2CTCTokenizer)


def write_ctc_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a transformers CTC tokenizer into a bundle's folder, so that the runtime decodes as it does.

    The bytes depend on the tokenizer alone. A refused one leaves none of these files.
    UnsupportedError: another class, or frames that the written one decodes otherwise.
    """
    name = type(tokenizer).__name__
    if not is_ctc_tokenizer(tokenizer):
        raise UnsupportedError(f"CTC tokenizer '{name}' is not supported (supported: Wav2Vec2CTCTokenizer)")
    # Which of two tokens with one id a loader of tokenizer.json decodes is left to chance.
    if (shared := _shared_id(tokenizer.get_vocab())) is not None:
        raise UnsupportedError(f"CTC tokenizer '{name}' does not become a tokenizer.json: {shared}")
    _write_files(tokenizer, folder)
    difference = first_difference(tokenizer, CTCDecoder.from_tokenizer(text.Tokenizer.from_folder(folder)))
    if difference is not None:
        for file in FILES:
            (folder / file).unlink()
        raise UnsupportedError(f"CTC tokenizer '{name}' does not become a tokenizer.json: {difference}")


def _shared_id(vocabulary: Mapping[str, int]) -> str | None:
    """Name two tokens that have one id."""
    names: dict[int, str] = {}
    for token, index in vocabulary.items():
        if names.setdefault(index, token) != token:
            return f"vocab.json gives id {index} to both {names[index]!r} and {token!r}"
    return None


def converted(tokenizer: Any) -> Tokenizer:
    """Return the tokenizer on the `tokenizers` library; its decoder also serves programs that know nothing of ours."""
    vocabulary = tokenizer.get_vocab()
    delimiter = tokenizer.word_delimiter_token
    backend = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=tokenizer.unk_token or ""))
    backend.normalizer = normalizers.Replace(" ", delimiter)
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = _decoder(tokenizer, "".join(vocabulary))
    special = set(tokenizer.all_special_tokens) - {delimiter}
    whole = [token for token in sorted(vocabulary, key=vocabulary.__getitem__) if len(token) > 1 or token in special]
    backend.add_tokens(
        [
            AddedToken(token, special=token in special, normalized=False, lstrip=strips, rstrip=strips)
            for token in whole
            for strips in [len(token) > 1]
        ]
    )
    return backend


def _decoder(tokenizer: Any, letters: str) -> decoders.Decoder:
    """Return the steps after the ids: merged, blanks dropped, the delimiter made a space, ends stripped."""
    steps = [decoders.CTC(tokenizer.pad_token, tokenizer.word_delimiter_token, cleanup=True), decoders.Fuse()]
    if tokenizer.replace_word_delimiter_char != " ":
        steps.append(decoders.Replace(" ", tokenizer.replace_word_delimiter_char))
    # decoders.Strip panics on a text of spaces only, and ^ and $ mean lines to one loader and texts to another.
    steps.append(decoders.Replace(Regex(r"(?<![\s\S])\s+|\s+(?![\s\S])"), ""))
    if tokenizer.do_lower_case:  # there is no decoder that does it for all letters
        steps += [
            decoders.Replace(letter, letter.lower()) for letter in sorted(set(letters)) if letter.lower() != letter
        ]
    return decoders.Sequence(steps)


def _write_files(tokenizer: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        tokenizer.save_pretrained(temporary)
        config = json.loads((Path(temporary) / "tokenizer_config.json").read_text(encoding="utf-8"))
        vocabulary = json.loads((Path(temporary) / "vocab.json").read_text(encoding="utf-8"))
    kept = {name: value for name, value in config.items() if name not in PRIVATE and not name.endswith("_file")}
    kept |= {name: getattr(tokenizer, name) for name in WRITTEN_OUT}
    _write_json(folder / "tokenizer_config.json", kept)
    _write_json(folder / "vocab.json", vocabulary)
    _write_json(folder / "tokenizer.json", json.loads(converted(tokenizer).to_str()))


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=path.name != "tokenizer.json").encode())


def first_difference(source: Any, written: CTCDecoder) -> str | None:
    """Return the first random sequence that the two decode to another text or other places, in words; None: equal."""
    for ids in random_frames(source):
        expected = source.decode(ids, output_char_offsets=True, output_word_offsets=True)
        frames = np.array(ids, np.int64)
        if written.text(frames) != expected["text"]:
            return f"{ids[:12]}… is {written.text(frames)[:40]!r}, not {expected['text'][:40]!r}"
        for kind, spans in (("char", written.characters(frames)), ("word", written.words(frames))):
            places = [(item[kind], item["start_offset"], item["end_offset"]) for item in expected[f"{kind}_offsets"]]
            if [(span.text, span.start, span.end) for span in spans] != places:
                return f"the {kind}s of {ids[:12]}… have other offsets"
    return None


def random_frames(tokenizer: Any) -> Iterator[list[int]]:
    """Yield ids as a model gives them: repeated, with blanks and spaces among them; some stand for no token."""
    random = np.random.default_rng(0)
    vocabulary = tokenizer.get_vocab()
    beyond = range(max(vocabulary.values()) + 1, max(vocabulary.values()) + 3)
    others = [*vocabulary.values(), *(beyond if tokenizer.unk_token is not None else ())]
    common = [
        vocabulary[token] for token in (tokenizer.pad_token, tokenizer.word_delimiter_token) if token in vocabulary
    ]
    yield common[-1:] * 3
    for _ in range(SEQUENCES):
        size = random.integers(1, 200)
        picked = np.where(random.random(size) < 0.4, random.choice(common or others, size), random.choice(others, size))
        yield np.repeat(picked, random.integers(1, 4, size)).tolist()
