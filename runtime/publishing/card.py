"""A bundle's model card: what it is, its profiles with their errors, how to run and verify it, and its license.

It is made of what the bundle contains, so that equal bundles have equal cards. `OWNER/NAME` in it stands for where the
bundle is: a push puts the repository's id there.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..amounts import size_text
from ..bundle.checkpoint_files import is_license
from ..bundle.files import write_synced
from ..bundle.manifest import CARD, SOURCE_CARD, Bundle
from ..tasks import Task, find_task
from .examples import Example, example_of
from .metadata import front_matter, shown_task, source_metadata
from .portable import OPTIMUM, portable_task

PLACE = "OWNER/NAME"
_HEAD = ("profile", "runs on", "size", "max abs error", "tolerance", "max relative error")
# What Optimum's models are given their inputs by.
_READERS = {"text": ("AutoTokenizer", "tokenizer"), "image": ("AutoImageProcessor", "image_processor")}


def write_card(bundle: Bundle) -> None:
    """Write the card into the bundle's folder."""
    write_synced(bundle.folder / CARD, card_text(bundle))


def card_text(bundle: Bundle) -> str:
    """Return the text of a bundle's card."""
    given = source_metadata(bundle)
    parts = [
        f"---\n{front_matter(bundle).strip()}\n---",
        f"# {_title(bundle)}",
        _introduction(bundle),
        "## Profiles",
        _profiles(bundle),
        "## Usage",
        _usage(bundle, shown_task(bundle, given)),
        *_elsewhere(bundle),
        "## Verification",
        _verification(),
        "## License",
        _license(bundle, given),
    ]
    return "\n\n".join(parts) + "\n"


def _title(bundle: Bundle) -> str:
    name = PurePosixPath(bundle.source.id).name
    return f"{_plain(name)} (ONNX)"


def _plain(text: str) -> str:
    """Return a text without what Markdown or HTML gives a meaning."""
    return re.sub(r"[^\w .+-]+", "-", text)


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', '').replace('|', '').split())}`"


def _introduction(bundle: Bundle) -> str:
    source = bundle.source
    commit = f" at commit {_code(source.revision)}" if source.revision else ""
    tasks = ", ".join(map(_code, bundle.tasks)) or "none, its graphs take and give arrays"
    return (
        f"{_code(source.id)}{commit} ({_code(bundle.architecture)}), compiled to ONNX by vitrify "
        f"{_plain(bundle.tools.get('vitrify', ''))} and compared with PyTorch. It runs without PyTorch.\n\n"
        f"Tasks: {tasks}. `{PLACE}` below is the id of this repository, or its folder."
    )


def _profiles(bundle: Bundle) -> str:
    report = bundle.parity_report()
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(bundle, name, report.get(name)) for name in bundle.builds)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = [note for name in bundle.builds for note in _notes(bundle, name, report.get(name))]
    return "\n\n".join([table, *([("\n".join(f"- {note}" for note in notes))] if notes else []), _MEANING])


_MEANING = (
    "Errors are those of the outputs against PyTorch in float32, on inputs of several shapes; the relative error is "
    f"over the largest output. Speeds depend on the machine: `vitrify bench {PLACE}` measures them."
)


def _row(bundle: Bundle, name: str, item: Any) -> tuple[str, ...]:
    profile = bundle.builds[name].profile
    files = {file for graph in bundle.builds[name].graphs for file in bundle.graph_files(name, graph)}
    size = size_text(sum(bundle.path(file).stat().st_size for file in files))
    worst = item.get("worst") if isinstance(item, Mapping) else None
    errors = (_figure(worst, "difference"), _figure(worst, "limit"), _figure(item, "drift"))
    return _code(name), _plain_cell(profile.description or profile.provider), size, *errors


def _plain_cell(text: str) -> str:
    return " ".join(text.replace("|", "/").replace("<", "").split())


def _figure(found: Any, key: str) -> str:
    """Return a number of the report, which no digest covers."""
    value = found.get(key) if isinstance(found, Mapping) else None
    return f"{value:.1e}" if isinstance(value, (int, float)) else "not recorded"


def _notes(bundle: Bundle, name: str, item: Any) -> Iterator[str]:
    """Yield what the table of profiles does not say of one."""
    build = bundle.builds[name]
    if not build.verified:
        yield f"{_code(name)} does not match PyTorch within its tolerance."
    if build.emulated:
        yield f"{_code(name)} was emulated on a CPU, not measured on its device."
    quality = item.get("quality") if isinstance(item, Mapping) else None
    if isinstance(quality, Mapping) and all(isinstance(quality.get(key), float) for key in ("agreement", "kl_mean")):
        yield f"{_code(name)}: top-1 agreement {quality['agreement']:.1%}, KL divergence {quality['kl_mean']:.2g} nats."


def _usage(bundle: Bundle, task: Task | None) -> str:
    if task is None:
        return (
            f"After `hf download {PLACE} --local-dir bundle`:\n\n```python\nfrom vitrify import load_bundle\n\n"
            'print(load_bundle("bundle").graphs())\n```'
        )
    example = example_of(bundle, task)
    return (
        f"```python\nfrom vitrify import pipeline\n\n"
        f'pipe = pipeline("{task.name}", "{PLACE}")\nprint(pipe({example.python}))\n```\n\n'
        f"```bash\nvitrify run {task.name} --model {PLACE} {example.words}\n```"
    )


def _elsewhere(bundle: Bundle) -> list[str]:
    """Return how transformers.js and Optimum run the bundle, if they do."""
    name = portable_task(bundle)
    if name is None:
        return []
    example = example_of(bundle, find_task(name))
    said = f"Both load `onnx/model.onnx`, if they support the architecture ({_code(bundle.model_type)})."
    return ["## transformers.js and Optimum", said, _in_javascript(name, example), _in_optimum(name, example)]


def _in_javascript(task: str, example: Example) -> str:
    return (
        f'```js\nimport {{ pipeline }} from "@huggingface/transformers";\n\n'
        f'const pipe = await pipeline("{task}", "{PLACE}", {{ dtype: "fp32" }});\n'
        f"console.log(await pipe({example.javascript}));\n```"
    )


def _in_optimum(task: str, example: Example) -> str:
    auto, argument = _READERS[example.kind]
    return (
        f"```python\nfrom optimum.onnxruntime import {OPTIMUM[task]}\nfrom transformers import {auto}, pipeline\n\n"
        f'model = {OPTIMUM[task]}.from_pretrained("{PLACE}")\n'
        f'{argument} = {auto}.from_pretrained("{PLACE}")\n'
        f'pipe = pipeline("{task}", model=model, {argument}={argument})\nprint(pipe({example.python}))\n```'
    )


def _verification() -> str:
    return (
        "`vitrify verify` checks the SHA-256 of every file, and compares the outputs of every profile that this "
        "machine runs with PyTorch's, which are in `parity/`:\n\n"
        f"```bash\nhf download {PLACE} --local-dir bundle\nvitrify verify bundle\n```"
    )


def _license(bundle: Bundle, given: Mapping[str, Any]) -> str:
    named = given.get("license_name") or given.get("license")
    names = ", ".join(map(_code, [named] if isinstance(named, str) else named or []))
    files = [name for name in bundle.files if is_license(name)]
    said = f"The checkpoint's license applies: {names}." if names else "The checkpoint's license applies."
    said += f" Its files: {', '.join(f'[{_plain(name)}]({name})' for name in files)}." if files else ""
    if not names and not files:
        said = "The checkpoint names no license; ask its authors before you use or share it."
    own = f" Its own model card is [{SOURCE_CARD}]({SOURCE_CARD})." if SOURCE_CARD in bundle.files else ""
    return said + own
