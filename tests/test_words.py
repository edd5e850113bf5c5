"""What users read uses the terms of the field: pages, messages, profiles' descriptions and every `--help`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PARTS = ("runtime", "export", "serving", "profiles", "cli", "bench")
SOURCES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))
PROFILES = sorted((ROOT / "profiles").glob("*.toml"))
# What nobody would search for, and what is said instead.
AVOIDED = {
    r"proofs?|prov(?:en|es?|ing)": "verified against PyTorch",
    r"the same model": "PASS, FAIL, matches",
    r"are what they should be": "match their SHA-256",
    r"(?<!there )(?:is|are|was|were) no(?! longer| more| \w+er\b)": "is not a",
    r"hold(?:s|ing)?(?! back)": "contains",
    r"takes no|it takes:|is taken|are taken|no longer taken": "accepts, expects, unknown argument",
    r"does not serve|head serves": "does not support (supported: ...)",
    r"got nothing, expected": "missing required input",
    r"by -o|give another": "choose another with -o",
    r"refus(?:e|es|ed|al|als|ing)": "rejected, not supported",
    r"broke on": "the Hub is unreachable",
    r"runs here": "available",
    r"models that (?:only )?(?:write|read)": "generative, encoder-only models",
    r"others compiled|compiled by others|of others|theirs|foreign": "third-party ONNX models",
    r"merged or in pairs": "merged decoder, or decoder + decoder_with_past",
    r"map of the house|five minutes": "project layout, quickstart",
    r"beside": "with, next to, baseline",
    r"few bits|weights in (?:4|8) bits": "low-bit, weight-only int8 (W8A32)",
    r"scaled at run time|scales from calibration": "dynamic, static quantization",
    r"(?<!max-)(?<!max_)drift": "max relative error",
    r"cache in place|growing cache": "static (shared-buffer), dynamic KV cache",
    r"true sizes|processor time": "full-size models, CPU seconds",
    r"evened out": "equalized",
    r"contenders?|(?<!dev )(?<![./])peers?(?![./])|contests?": "backend, baseline",
    r"served/s|share of the limit|arrivals a second|random times": "throughput, roofline efficiency, Poisson arrivals",
    r"what (?:this machine|a bundle) is": "system information, bundle metadata",
    r"write (?:down|about)|say in short|score labels": "transcribe, caption, summarize, classify",
    r"recordings?": "audio",
    r"mend(?:s|ed|ing)?": "correct",
}
WORDS = re.compile("|".join(rf"\b(?:{words})" for words in AVOIDED), re.IGNORECASE)
WHOLE = re.compile(rf"(?:{WORDS.pattern})(?!\w)", re.IGNORECASE)


def found(text):
    return [match.group() for match in WHOLE.finditer(text)]


def names(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=names)
def test_pages(path):
    assert found(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_texts_in_the_code(path):
    assert [(text, words) for text in texts(path) if (words := found(text))] == []


def texts(path):
    """Return the literals of several words in a file, f-strings with {} for what is put in, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    said = [text_of(node) for node in ast.walk(tree) if not {id(node)} & (alone | inside)]
    return [text for text in said if " " in text.strip()]


def text_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.parametrize("path", PROFILES, ids=names)
def test_descriptions_of_profiles(path):
    assert found(path.read_text(encoding="utf-8").splitlines()[0]) == []


@pytest.mark.parametrize(
    "command",
    [
        "export",
        "run",
        "chat",
        "verify",
        "info",
        "push",
        "tasks",
        "profiles",
        "doctor",
        "cache",
        "bench",
        "trace",
        "tune",
        "build-engine",
        "check-engine",
    ],
)
def test_help(vitrify, command):
    assert found(vitrify(command, "--help").out) == []


@pytest.mark.parametrize("text", ["'x' is no bundle", "It takes: a", "all proven", "refused", "no cache in place: x"])
def test_words_to_avoid_are_found(text):
    assert found(text)


@pytest.mark.parametrize("text", ["there is no graph", "is no longer used", "are no faster", "improve", "--max-drift"])
def test_other_words_are_not(text):
    assert found(text) == []
