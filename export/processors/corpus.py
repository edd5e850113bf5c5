# ruff: noqa: RUF001 - characters that look like others are what these texts are for
"""Texts on which a written tokenizer must equal its source: many scripts, and what breaks tokenizers; data only."""

from random import Random

# No unassigned code points: each library knows those of its own Unicode version, and no two agree on the latest.
TEXTS: tuple[str, ...] = (
    "",
    " ",
    "   \t\t \n\n \r\n ",
    "a",
    "A plain sentence, with punctuation: commas; dots... (brackets), 'quotes', \"more\" - and a dash!",
    "It's what they'd've said, isn't it? I'm sure we're right, John's here.",
    "UPPER lower MiXeD camelCase snake_case kebab-case",
    "  leading and trailing   and    inner     spaces  ",
    "tab\tseparated\tvalues\nnew line\r\ncarriage return\rend",
    "1234567890 3.14159 1,000,000 50% $9.99 €10 #1 @user ½ ² Ⅷ ①",
    "https://example.org/path?query=1&other=two#fragment someone@example.org",
    "def f(x):\n    return {'a': [1, 2, 3], \"b\": x ** 2}  # comment",
    '<div class="x">&amp; &lt;tag&gt;</div>',
    "The naïve café's résumé: Ångström, Straße, œuvre, Øre, ñandú, façade",
    "e\u0301 a\u030a n\u0303 o\u0308\u0304 combining; \u00e9 \u00e5 \u00f1 composed",
    "z\u0300\u0301\u0302\u0303\u0304\u0305 stacked",
    "\u212b \u2126 ﬁ ﬂ ﬀ ㎏ ℡ ｆｕｌｌｗｉｄｔｈ ﾊﾝｶｸ",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Árvíztűrő tükörfúrógép. İstanbul ıǐ",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ѣ й й",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΌΣΟΣ ὀξεῖα",
    "שָׁלוֹם עוֹלָם, מה שלומך היום? 123",
    "مرحبا بالعالم، كيف حالك اليوم؟ ١٢٣ السَّلَامُ عَلَيْكُم لا",
    "mixed עברית and العربية in \u202bone\u202c line \u200f\u200e",
    "नमस्ते दुनिया, आप कैसे हैं? क्षत्रिय १२३",
    "வணக்கம் உலகம் ஸ்ரீ",
    "สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง",
    "ສະບາຍດີ မင်္ဂလာပါ ជំរាបសួរ",
    "你好,世界!我来到北京清华大学。繁體中文測試",
    "こんにちは世界。カタカナとひらがなと漢字。がぎぐ か\u3099",
    "안녕하세요 세계 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "\U00020000\U0002a6d6 \U0001d400\U0001d401 \U00010330",
    "ქართული հայերեն አማርኛ ᏣᎳᎩ",
    "🙂 😀😃 👍🏽 👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇫🇷🇯🇵 ❤️ ☎︎ 1️⃣ emoji🎉inside",
    "zero\u200bwidth\u200cjoin\u200ders soft\u00adhyphen \ufeffbom \u2060word joiner",
    "no\u00a0break \u2003em \u3000ideographic \u2028line \u2029paragraph \u0085next \u1680ogham",
    "control \x00 \x01 \x07 \x08 \x0b \x0c \x1b \x1f \x7f \x80 \x9f end",
    "replacement \ufffd \ue000 \U000f0000 private use",
    "▁metaspace ▁▁ Ġ Ċ ## ##word </w> @@ ·",
    "``quotes'' ‘single’ “double” «guillemets» … – — ‐ ‑ − ×÷±≤≥≠∞∑√",
    "[CLS] [SEP] [MASK] [PAD] [UNK] <s> </s> <pad> <unk> <mask> <bos> <eos> <|endoftext|> <|im_start|>user",
    "[cls]text[sep] <S> < s > <mask>word <mask> word<mask>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!!!!!!!!??????????..........----------==========__________",
    "word " * 600,
    "日本語とEnglishを混ぜた文章です。" * 60,
)


def texts_with(special_tokens: list[str]) -> list[str]:
    """The corpus, and each special token alone, within words, within spaces and twice."""
    around = ("{0}", "before{0}after", "before {0} after", "  {0}  {0}{0}\n")
    return [*TEXTS, *(form.format(token) for token in special_tokens[:32] for form in around)]


def pairs_of(texts: list[str]) -> list[tuple[str, str]]:
    """Every text with one that lies three further on."""
    return list(zip(texts, (*texts[3:], *texts[:3]), strict=True))


def ids_of(size: int) -> list[list[int]]:
    """Rows of ids below `size` in no order, as a model may answer: texts meet only few of them."""
    random = Random(0)  # noqa: S311 - which ids are drawn is no secret
    return [random.choices(range(size), k=length) for length in (1, 2, 3, 5, 8, 60) * 12]
