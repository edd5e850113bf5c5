"""A JSON object whose fields are attributes too, as those of transformers' configs; it knows no field."""

from typing import Any


class Settings(dict[str, Any]):
    """The fields of a config file: `settings["id2label"]` and `settings.id2label`; nested objects alike."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError:
            raise AttributeError(f"the config has no '{name}' (it has: {', '.join(self)})") from None
        return Settings(value) if type(value) is dict else value

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dict."""
        return dict(self)
