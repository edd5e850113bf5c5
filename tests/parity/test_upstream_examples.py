"""Every example call of transformers' documentation, on a checkpoint's folder that is compiled on its first use."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import transformers

import vitrify
from tests.checkpoints import make_checkpoint
from tests.goldens.make_text2text import GOLDENS
from tests.goldens.make_text2text import make_checkpoint as make_text2text
from tests.parity.compare import assert_same
from tests.parity.documented_calls import SUBJECTS, Documented
from tests.parity.generating import TEMPLATE

TOLERANCE = 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_documented_calls_give_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    subject, task = SUBJECTS[name], name.split(" of ", maxsplit=1)[0]
    checkpoint = make_checkpoint(subject.model_type, subject.head, tmp_path / "checkpoint")
    if task == "text-generation":
        (checkpoint / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    pipes: dict[str, tuple[Any, Any]] = {}
    different = []
    for each in subject.calls:
        made = str(dict(each.made))
        try:
            if made not in pipes:
                pipes[made] = both(task, str(checkpoint), each.made)
            assert_same_call(*pipes[made], each)
        except Exception as error:  # noqa: BLE001 - all calls are told, not only the first that differs
            different.append(f"{each}: {type(error).__name__}: {error}")
    assert not different, f"{len(different)} of {len(subject.calls)} differ:\n" + "\n".join(different)


@pytest.mark.slow
def test_calls_of_tasks_that_transformers_5_has_not_are_those_of_4_57(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    make_text2text("t5", tmp_path / "checkpoint")
    calls = json.loads(GOLDENS.read_text(encoding="utf-8"))["types"]["t5"]["calls"]
    for golden in calls:
        pipe = vitrify.pipeline(golden["task"], model=str(tmp_path / "checkpoint"), **golden["made"])
        assert pipe(golden["inputs"], **golden["options"]) == golden["result"], golden


def both(task: str, checkpoint: str, made: Mapping[str, Any]) -> tuple[Any, Any]:
    ours = vitrify.pipeline(task, model=checkpoint, **made)
    return ours, transformers.pipeline(task, model=checkpoint, device="cpu", **made)  # pyright: ignore[reportCallIssue, reportArgumentType]


def assert_same_call(ours: Any, theirs: Any, each: Documented) -> None:
    """Fail unless both give the same; the reference runs one by one, as a result must not depend on its batch."""
    alone = {name: value for name, value in each.options.items() if name != "batch_size"}
    expected = everything(theirs(*each.given(), **alone))
    assert_same(everything(ours(*each.given(), **each.options)), expected, tolerance=TOLERANCE)


def everything(result: Any) -> Any:
    """Return a result, or the list of those that come one after another."""
    return list(result) if hasattr(result, "__next__") or hasattr(result, "loader") else result
