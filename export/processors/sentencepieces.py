"""A SentencePiece model and a vocabulary of its pieces as the parts of a `tokenizers` tokenizer; knows no class.

Marian, M2M100 and Speech2Text cut a text with SentencePiece and then look each piece up in a `vocab.json`, whose
numbers are not the model's. What that asks for beyond the usual conversion:

1. A token that is no piece (of the target language, say) must not be cut from a text, but has a number and a text.
   It stands in the model between two marks that no text contains, and the decoder drops them.
2. SentencePiece gives a run of unknown letters as one piece, and the lookup finds it if it is such a token. So the
   normalizer puts the same marks around every run of unknown letters.
3. A piece without a number counts as unknown only after the cut. It gets a number behind the vocabulary, which the
   runtime reads as unknown (`unknown_from`).
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from ...runtime.errors import UnsupportedError

# Unicode's noncharacters: no text has a right to them, and those it has become FILLER.
OPEN, CLOSE, CODE, AFTER, KEPT, FILLER = map(chr, range(0xFDD0, 0xFDD6))
PLACES = [chr(point) for point in range(0x10F000, 0x110000)]
"""Stand for codes until the text is normalized; private use."""
SPACE = "▁"
START, END = r"(?<![\s\S])", r"(?![\s\S])"
NEVER = -1e6  # a score that no cut takes: for special tokens, which are found before the model reads the text
NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # of ModelProto.SentencePiece.Type
UNIGRAM, BPE = 1, 2  # of TrainerSpec.ModelType


@dataclass(frozen=True)
class Pieces:
    """What a SentencePiece model says: the pieces that it cuts, with their scores, and how it normalizes a text."""

    scores: Mapping[str, float]
    controls: frozenset[str]
    is_bpe: bool
    charsmap: bytes
    composes: bool
    adds_prefix: bool
    removes_spaces: bool

    @classmethod
    def from_model(cls, model: bytes) -> "Pieces":
        """Read a model's file; UnsupportedError: it cuts neither by unigrams nor by merges, or falls back to bytes."""
        protobuf: Any = import_module("transformers.convert_slow_tokenizer").import_protobuf()
        proto = protobuf.ModelProto()
        proto.ParseFromString(model)
        cuts_by = proto.trainer_spec.model_type  # SentencePiece's algorithm, no architecture
        if cuts_by not in (UNIGRAM, BPE) or proto.trainer_spec.byte_fallback:
            raise UnsupportedError("SentencePiece models of unigrams or merges without byte fallback are supported")
        if others := {piece.type for piece in proto.pieces} - {NORMAL, UNKNOWN, CONTROL}:
            raise UnsupportedError(f"SentencePiece models with pieces of types {sorted(others)} are not supported")
        rules = proto.normalizer_spec
        return cls(
            scores={piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL},
            controls=frozenset(piece.piece for piece in proto.pieces if piece.type == CONTROL),
            is_bpe=cuts_by == BPE,
            charsmap=rules.precompiled_charsmap,
            composes="nfkc" in rules.name,
            adds_prefix=rules.add_dummy_prefix,
            removes_spaces=rules.remove_extra_whitespaces,
        )

    @property
    def letters(self) -> str:
        """Every character of a piece, as the inside of a class of a regular expression."""
        points = sorted({ord(letter) for piece in self.scores for letter in piece})
        runs = itertools.groupby(enumerate(points), key=lambda item: item[1] - item[0])
        spans = [[point for _, point in run] for _, run in runs]
        return "".join(rf"\x{{{span[0]:X}}}-\x{{{span[-1]:X}}}" for span in spans)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number, as a lookup after the cut has them; `plain` are found in a text before it is cut."""

    tokens: Sequence[str]
    unknown: str
    plain: frozenset[str]

    @classmethod
    def from_ids(cls, ids: Mapping[str, int], *, unknown: str, plain: Iterable[str]) -> "Vocabulary":
        """Put tokens in the order of their numbers; a number without a token gets one that no text has."""
        named = {number: token for token, number in ids.items()}
        tokens = [named.get(number, f"{FILLER}{number}") for number in range(max(named) + 1)]
        return cls(tokens, unknown, frozenset((*plain, unknown)))


def stored(token: str, pieces: Pieces, vocabulary: Vocabulary, *, keeps_spaces: bool) -> str:
    """Return the token as the model has it: between marks where the cut must not find it."""
    if token in vocabulary.plain or token in pieces.scores:
        return token
    shown = token.replace(SPACE, KEPT) if keeps_spaces else token
    return f"{OPEN}{shown}{CLOSE}"


def model_from_pieces(
    pieces: Pieces, vocabulary: Vocabulary, *, keeps_spaces: bool
) -> tuple[models.Unigram | models.BPE, int | None]:
    """Return the model, and the number from which on its tokens count as unknown (None: all have a number)."""
    tokens = [stored(token, pieces, vocabulary, keeps_spaces=keeps_spaces) for token in vocabulary.tokens]
    named = set(vocabulary.tokens)
    unnamed = [piece for piece in pieces.scores if piece not in named]
    everything = [*tokens, *unnamed]
    made = _bpe(pieces, vocabulary, everything) if pieces.is_bpe else _unigram(pieces, vocabulary, everything)
    return made, len(tokens) if unnamed else None


def _unigram(pieces: Pieces, vocabulary: Vocabulary, tokens: Sequence[str]) -> models.Unigram:
    least = min(pieces.scores.values())
    others = {token: NEVER for token in vocabulary.plain if token not in pieces.scores}
    scored = [(token, pieces.scores.get(token, others.get(token, least))) for token in tokens]
    return models.Unigram(scored, tokens.index(vocabulary.unknown), byte_fallback=False)


def _bpe(pieces: Pieces, vocabulary: Vocabulary, tokens: Sequence[str]) -> models.BPE:
    """Merge in the order of the scores of what comes out."""
    order = {token: index for index, token in enumerate(pieces.scores)}
    splits = (
        (-score, order[piece], order[piece[:at]], order[piece[at:]], (piece[:at], piece[at:]))
        for piece, score in pieces.scores.items()
        for at in range(1, len(piece))
        if piece[:at] in pieces.scores and piece[at:] in pieces.scores
    )
    merges = [split[-1] for split in sorted(splits)]
    vocab = {token: index for index, token in enumerate(tokens)}
    # A run of unknown letters is a token only as a whole: there is nothing to merge it from.
    return models.BPE(vocab, merges, unk_token=vocabulary.unknown, fuse_unk=True, ignore_merges=True)


def pre_tokenizer_from_pieces(pieces: Pieces) -> pre_tokenizers.PreTokenizer | None:
    """Return what keeps runs of unknown letters apart, which a model of merges asks for."""
    return pre_tokenizers.Split(Regex(f"{OPEN}[^{CLOSE}]*{CLOSE}"), "isolated") if pieces.is_bpe else None


def normalizer_from_pieces(pieces: Pieces, *, codes: Sequence[str] | None = None) -> normalizers.Normalizer:
    """Return what SentencePiece does to a text before it cuts it.

    `codes` are the tokens of the form `>>fra<<` that a text may begin with, where the tokenizer knows such at all:
    they are taken off first, and one that is not among them counts as unknown.
    """
    steps = [_replaced(f"[{OPEN}-{KEPT}]", FILLER)]
    places = dict(zip(codes or (), PLACES, strict=False))
    steps += [_replaced(START + re.escape(code), place + CODE) for code, place in places.items()]
    if codes is not None:
        steps.append(_replaced(START + r">>[\s\S]*?<<", PLACES[-1] + CODE))
    if pieces.charsmap:
        # The map has letters with their marks as they are composed; the library looks up only short clusters whole.
        steps += [normalizers.NFC()] if pieces.composes else []
        steps.append(normalizers.Precompiled(pieces.charsmap))
    begin = f"(?:{START}|(?<={CODE}))"
    if pieces.removes_spaces:
        steps += [_replaced(" {2,}", " "), _replaced(f"{begin} +", ""), _replaced(f"[ {SPACE}]+{END}", "")]
    if pieces.adds_prefix:
        steps.append(_replaced(rf"(?:{START}(?![\s\S]{CODE})|(?<={CODE}))(?=[\s\S])", SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    unknown = f"[^{pieces.letters}{OPEN}{CLOSE}{CODE}{PLACES[0]}-{PLACES[-1]}]"
    steps += [_replaced(f"(?<!{unknown})(?={unknown})", OPEN), _replaced(f"(?<={unknown})(?!{unknown})", CLOSE)]
    steps += [normalizers.Replace(place + CODE, f"{OPEN}{code}{CLOSE}") for code, place in places.items()]
    return normalizers.Sequence(steps)


def decoder_from_pieces(
    pieces: Pieces, special: Sequence[str], *, after_special: str = "", uppers: bool = False
) -> decoders.Decoder:
    """Return what joins pieces as SentencePiece does: a special token ends a run of them, whose first space is dropped.

    `after_special` stands behind every special token; `uppers`: all but special tokens becomes capital.
    """
    ends = "|".join(f"^{re.escape(token)}" for token in special)
    steps: list[Any] = [decoders.Replace(Regex(f"(?<={ends}){END}"), after_special + AFTER)] if ends else []
    steps += [decoders.Fuse()]
    steps += [decoders.Replace(f"{OPEN}{token}{CLOSE}", "") for token in sorted(pieces.controls)]
    if pieces.removes_spaces or pieces.adds_prefix:
        many = "+" if pieces.removes_spaces else ""
        steps.append(decoders.Replace(Regex(f"(?:{START}|(?<={AFTER})){SPACE}{many}"), ""))
    if uppers:
        steps += _uppercase(pieces, special, after_special)
    steps += [decoders.Replace(SPACE, " "), decoders.Replace(KEPT, SPACE)]
    steps += [decoders.Replace(Regex(f"[{OPEN}-{AFTER}]"), "")]
    steps += [decoders.Replace(Regex(rf"{START}[\s\x1C-\x1F]+|[\s\x1C-\x1F]+{END}"), "")]
    return decoders.Sequence(steps)


def _uppercase(pieces: Pieces, special: Sequence[str], after_special: str) -> list[decoders.Decoder]:
    """Return the steps that make letters capital; there is no decoder that does it for all of them."""
    letters = sorted({letter for piece in pieces.scores for letter in piece if letter.upper() != letter})
    capitals = [decoders.Replace(letter, letter.upper()) for letter in letters]
    mark = after_special + AFTER
    return [*capitals, *(decoders.Replace(token.upper() + mark, token + mark) for token in special)]


def _replaced(pattern: str, content: str) -> normalizers.Normalizer:
    return normalizers.Replace(Regex(pattern), content)
