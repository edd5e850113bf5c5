"""Turn pickled weights into safetensors, in a child process without network; this process never opens the pickle.

torch reads the pickle with `weights_only=True`, which builds tensors and plain containers and calls nothing else.
"""

import ctypes
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...runtime.bundle.checkpoint_files import SINGLE, pickled_shards
from ...runtime.child import error_of, run_child
from ...runtime.errors import EnvironmentMissing, ExportError, IntegrityError, VitrifyError
from ...runtime.json_files import brief
from .seccomp import take_sockets_away

# Tensors that may share one place in the file: an encoder-decoder ties up to four embeddings.
_NAMES = 4
# From Linux' sched.h.
_NEW_NETWORK = 0x40000000
_NEW_USER = 0x10000000


def safetensors_from_pickle(folder: Path, out: Path) -> None:
    """Write the weights of `folder`'s pytorch_model.bin (or of its shards) as `out`/model.safetensors.

    Raises
    ------
    UsageError
        The folder holds no pytorch_model.bin and no index of shards.
    IntegrityError
        A file is damaged, holds more than tensors, or lies outside the folder.
    EnvironmentMissing
        The kernel does not let a process give up its network, or the disk is full.
    ExportError
        The child process ended in another way.

    """
    command = [sys.executable, "-P", "-m", __name__, str(folder.resolve()), str(out.resolve())]
    ended = run_child(command)
    if ended.code == 0:
        return
    (out / SINGLE).unlink(missing_ok=True)
    raise error_of(
        ended, lambda reason: ExportError(f"the pickled weights of '{folder.name}' cannot be converted: {reason}")
    )


def give_up_network(system: str = sys.platform) -> None:
    """Move this process into a new network namespace, in which no interface is up and nothing listens.

    It must run before any thread starts: a user namespace, which an unprivileged process needs for this, takes none.
    """
    if system != "linux":
        raise EnvironmentMissing(
            "pickled weights are opened without network, which needs Linux: use a checkpoint with model.safetensors"
        )
    kernel = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if kernel.unshare(_NEW_NETWORK) == 0:
        return
    if kernel.unshare(_NEW_NETWORK | _NEW_USER) != 0:
        refusal = os.strerror(ctypes.get_errno())
        if take_sockets_away():  # containers allow no namespaces, but filters
            return
        raise EnvironmentMissing(
            f"pickled weights are opened without network, and this kernel does not allow a process without one "
            f"({refusal}): allow user namespaces or seccomp, or use a checkpoint with model.safetensors"
        )
    # Without a mapping the new namespace knows no owner for the file to be written.
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(line)


def _is_mappable(path: Path) -> bool:
    """Whether the file is an archive, as torch writes them since 1.6; raise IntegrityError if it is compressed.

    torch never compresses: a compressed archive could unpack to a thousand times its size.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        packed = [item.filename for item in archive.infolist() if item.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise IntegrityError(
            f"'{path.name}' is compressed ({brief(packed[0])}), which torch never does: do not trust it"
        )
    return True


def _read(path: Path) -> Mapping[str, Any]:
    """Return the tensors of one file by name."""
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_mappable(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        asks = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {asks[1]}" if asks else type(error).__name__
        raise IntegrityError(
            f"'{path.name}' is damaged or contains more than tensors ({reason}): nothing in it was run; "
            "download it again, or use a checkpoint with model.safetensors"
        ) from error
    plain = isinstance(weights, Mapping)
    if not plain or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in weights.items()):
        raise IntegrityError(
            f"'{path.name}' is not a table of tensors by name: use a checkpoint with model.safetensors"
        )
    odd = next((name for name, tensor in weights.items() if _is_odd(tensor)), None)
    if odd is not None:
        raise IntegrityError(f"tensor {brief(odd)} of '{path.name}' is not stored element by element: do not trust it")
    return weights


def _is_odd(tensor: Any) -> bool:
    """Whether the tensor is sparse, quantized, or larger than the memory behind it (an expanded one)."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return True
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _separate(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return contiguous tensors of which no two share memory: safetensors keeps each on its own, tied ones too."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in weights.items():
        place = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone().contiguous() if place in seen else tensor.contiguous()
        seen.add(place)
    return separate


def _convert(folder: Path, out: Path) -> None:
    """Do the child's work."""
    give_up_network()
    paths = pickled_shards(folder)
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights: dict[str, Any] = {}
    for path in paths:
        weights.update(_read(path))
    written = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    stored = sum(path.stat().st_size for path in paths)
    if written > _NAMES * stored:
        raise IntegrityError(f"'{paths[0].name}' contains {stored:,} bytes that unpack to {written:,}: do not trust it")
    try:
        save_file(_separate(weights), out / SINGLE, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise EnvironmentMissing(f"the converted weights cannot be written to '{out}': {error}") from error


def _main() -> None:
    try:
        _convert(*map(Path, sys.argv[1:]))
    except VitrifyError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main()
