"""The languages that Whisper names, by their tokens and by their English names; knows no tokenizer and no model."""

import difflib
from collections.abc import Iterable

from ...errors import UsageError

# The order is that of Whisper's own language tokens (openai/whisper, tokenizer.py).
_TABLE = """
en english, zh chinese, de german, es spanish, ru russian, ko korean, fr french, ja japanese, pt portuguese, tr turkish,
pl polish, ca catalan, nl dutch, ar arabic, sv swedish, it italian, id indonesian, hi hindi, fi finnish, vi vietnamese,
he hebrew, uk ukrainian, el greek, ms malay, cs czech, ro romanian, da danish, hu hungarian, ta tamil, no norwegian,
th thai, ur urdu, hr croatian, bg bulgarian, lt lithuanian, la latin, mi maori, ml malayalam, cy welsh, sk slovak,
te telugu, fa persian, lv latvian, bn bengali, sr serbian, az azerbaijani, sl slovenian, kn kannada, et estonian,
mk macedonian, br breton, eu basque, is icelandic, hy armenian, ne nepali, mn mongolian, bs bosnian, kk kazakh,
sq albanian, sw swahili, gl galician, mr marathi, pa punjabi, si sinhala, km khmer, sn shona, yo yoruba, so somali,
af afrikaans, oc occitan, ka georgian, be belarusian, tg tajik, sd sindhi, gu gujarati, am amharic, yi yiddish, lo lao,
uz uzbek, fo faroese, ht haitian creole, ps pashto, tk turkmen, nn nynorsk, mt maltese, sa sanskrit, lb luxembourgish,
my myanmar, bo tibetan, tl tagalog, mg malagasy, as assamese, tt tatar, haw hawaiian, ln lingala, ha hausa, ba bashkir,
jw javanese, su sundanese, yue cantonese
"""
LANGUAGES: dict[str, str] = {  # noqa: C416 - dict() would lose the types
    code: name for code, name in (row.split(maxsplit=1) for row in _TABLE.strip().split(","))
}

# Second names of some languages.
ALIASES = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
}
CODES: dict[str, str] = {name: code for code, name in LANGUAGES.items()} | ALIASES

# Written without spaces between words.
UNSPACED = frozenset({"chinese", "japanese", "thai", "lao", "myanmar", "cantonese"})


def language_token(language: str, known: Iterable[str]) -> str:
    """Return the token of a language given as `french`, `fr` or `<|fr|>`, which must be among the model's `known`.

    UsageError: there is no such language, or the model has no token for it; the message names the nearest ones.
    """
    tokens = list(known)
    wanted = language.lower() if isinstance(language, str) else ""
    token = wanted if wanted in tokens else f"<|{CODES.get(wanted, wanted)}|>"
    if token in tokens:
        return token
    names = [name for name, code in CODES.items() if f"<|{code}|>" in tokens]
    codes = [each[2:-2] for each in tokens]
    near = difflib.get_close_matches(wanted, names + codes, n=3) or [LANGUAGES.get(code, code) for code in codes[:5]]
    raise UsageError(
        f"language={language!r} is none of this model's {len(tokens)} languages. Closest: {', '.join(near)}; "
        "a name ('french'), a code ('fr') or a token ('<|fr|>') may be given"
    )
