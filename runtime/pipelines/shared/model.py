"""The model as a pipeline shows it: the graph, with the attributes that code for transformers' models reads."""

from typing import TYPE_CHECKING, Any

from ...selection.requested import device_of, dtype_of
from ...sessions.model import Model
from ...settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from ...loading import LoadedBundle


class DeviceName(str):
    """Where a profile runs, "cpu" or "cuda": a str with the attributes of `torch.device`."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The device without its number."""
        return str(self)

    @property
    def index(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - torch's name, which str has too
        """Always None: the provider's own options say which of several devices runs."""
        return


class PipelineModel(Model):
    """A graph on its session; call it with arrays by name."""

    def __init__(self, loaded: "LoadedBundle") -> None:
        super().__init__(loaded.model.session, loaded.model.axes)
        self._loaded = loaded

    @property
    def config(self) -> Settings:
        """The checkpoint's config.json; fields are keys and attributes."""
        return Settings(self._loaded.config)

    @property
    def generation_config(self) -> Settings:
        """The checkpoint's generation settings; fields are keys and attributes."""
        return Settings(self._loaded.generation_config)

    @property
    def device(self) -> DeviceName:
        """Where it runs: "cpu" or "cuda"."""
        return DeviceName(device_of(self._loaded.profile))

    @property
    def dtype(self) -> str:
        """The precision by its usual name, such as "float32"; where there is none, by the profile's, such as "w4"."""
        return dtype_of(self._loaded.profile.precision)

    def generate(self, input_ids: Any = None, **given: Any) -> "np.ndarray":
        """Generate by hand, as `LoadedBundle.generate`."""
        return self._loaded.generate(input_ids, **given)
