"""An ONNX folder in optimum's or transformers.js' layout as a bundle: read from its graphs and its config.json.

Nothing in it was compared with PyTorch or has a digest, so all of its profiles are unverified.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...profiles import Profile
from ..errors import IntegrityError, UnsupportedError, UsageError
from ..graphs.families import FAMILIES
from ..graphs.header import Header, read_header
from ..graphs.heads import HEADS, Head
from ..graphs.signature import Graph, View
from ..tasks import tasks_of
from .checkpoint_config import read_config
from .digests import remembered_digest, value_digest
from .files import given_name, real_path
from .manifest import Build, Bundle, Provenance
from .onnx_heads import axes_of, choose_head, heads_of, named
from .onnx_layout import FOLDER, VARIANTS, Variant, choose_variant, find_variants

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"


def folder_names(folder: Path) -> list[str]:
    """Return the files at the top of a folder and in its `onnx/`, relative to it, with `/`."""
    places = ((folder, ""), (folder / FOLDER, FOLDER))
    return sorted(
        f"{prefix}{path.name}"
        for place, prefix in places
        if place.is_dir()
        for path in place.iterdir()
        if path.is_file() or path.is_symlink()
    )


def has_graphs(folder: Path) -> bool:
    """Tell whether a folder contains graphs as other tools name them."""
    return bool(find_variants(folder_names(folder)))


def read_onnx_folder(folder: Path, profile: str | None = None) -> "OnnxFolder":
    """Read a folder of another tool's graphs; its signatures are those of `profile`'s graphs.

    Raises
    ------
    UsageError
        config.json or tokenizer.json is missing or says too little.
    UnsupportedError
        A head, or graphs, that vitrify does not run.
    IntegrityError
        A file is broken, a link or missing.

    """
    where, names = given_name(folder), folder_names(folder)
    config = _read_config(folder, where)
    heads = heads_of(config.get("architectures"), where)
    variants = _variants(names, heads[0], where)
    first = variants[profile] if profile in variants else next(iter(variants.values()))
    headers = {name: read_header(real_path(folder, file)) for name, file in first.items()}
    raw = {name: Graph(header.inputs, header.outputs) for name, header in headers.items()}
    head, kinds = choose_head(heads, raw, where)
    if _TOKENIZER not in names and ("text" in kinds or head.writes_text):
        raise UsageError(
            f"'{where}' has no {_TOKENIZER}, which text needs: transformers makes it of the model's tokenizer: "
            f"AutoTokenizer.from_pretrained('MODEL').save_pretrained('{where}'); where it does not, the bundle has one "
            "that 'vitrify export MODEL' makes"
        )
    rows = {variant.name: variant for variant in VARIANTS}
    return OnnxFolder(
        head=head.name,
        tasks=tasks_of(head.name, kinds),
        architecture=config["architectures"][0],
        model_type=str(config.get("model_type", "unknown")),
        family=head.family,
        source=Provenance(where),
        axes=axes_of(head, config),
        graphs={name: named(graph, name, head, config) for name, graph in raw.items()},
        builds={name: _build(rows[name], graphs) for name, graphs in variants.items()},
        tools=_tools(headers),
        files=_Files(folder, names),
        folder=folder,
        row=head,
        config=config,
    )


def _variants(names: list[str], head: Head, where: str) -> dict[str, dict[str, str]]:
    found = find_variants(names, family=head.family)
    if not found:
        needed = " or ".join(" + ".join(stems.values()) for stems in FAMILIES[head.family].folders)
        there = ", ".join(name for name in names if name.endswith(".onnx"))
        raise UnsupportedError(
            f"'{where}' has the head {head.name}, which runs on {needed} (.onnx) in one precision, and contains {there}"
        )
    return found


def _read_config(folder: Path, where: str) -> dict[str, Any]:
    if not (folder / _CONFIG).is_file():
        raise UsageError(f"'{where}' has ONNX graphs and no {_CONFIG}: copy the model's config.json next to them")
    return read_config(real_path(folder, _CONFIG), advice=f"copy the model's {_CONFIG} again")


def _build(variant: Variant, graphs: Mapping[str, str]) -> Build:
    profile = Profile.from_dict(
        {
            "name": variant.name,
            "description": "ONNX Runtime on any CPU; third-party, not verified",
            "provider": "cpu",
            "precision": variant.precision,
            "opset": 24,
            "ir_version": 14,
            "tolerance": {"absolute": 0.0},
            "graph_suffix": variant.suffix,
            **variant.facts,
        }
    )
    return Build(profile, graphs, verified=False)


def _tools(headers: Mapping[str, Header]) -> dict[str, str]:
    return {header.producer: header.producer_version or "?" for header in headers.values() if header.producer}


class _Files(Mapping[str, str]):
    """The files of a folder by name, with their sha256 as they are now: nobody listed what they should be."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder, self._names = folder, dict.fromkeys(names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            raise KeyError(name)
        return remembered_digest(self._folder / name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class OnnxFolder(Bundle):
    """A bundle in memory of a folder that has no `bundle.json`; it has one profile for each precision found.

    `row` and `config` are what the names of its graphs' axes follow from.
    """

    row: Head = HEADS["base"]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_verified(self) -> bool:
        return False

    @property
    def _where(self) -> str:
        return given_name(self.folder)

    def default_profile(self) -> str:
        return choose_variant(self._where, list(self.builds), None)

    def profile(self, name: str) -> Profile:
        return self.builds[choose_variant(self._where, list(self.builds), name)].profile

    def check(self, name: str, *, always: bool = False) -> Path:  # noqa: ARG002 - there is no digest to compare with
        return self.path(name)

    def graph_files(self, profile: str, graph: str) -> list[str]:
        names = super().graph_files(profile, graph)
        for name in names[1:]:
            if self.path(name).stat().st_nlink > 1:  # no digest says that it is the model's, and not a file of the user
                raise IntegrityError(f"'{name}' of '{self._where}' has a second name elsewhere: copy it with 'cp -rL'")
        return names

    def view(self, profile: str, graph: str, raw: Graph) -> View:
        header = read_header(self.path(self.builds[profile].graphs[graph]))
        return View(named(raw, graph, self.row, self.config), skips_padding=header.skips_padding)

    @property
    def digest(self) -> str:
        return value_digest(dict(self.files))
