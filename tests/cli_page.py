"""docs/cli.md: every command with its arguments, and every environment variable; `python -m tests.cli_page` writes it.

The commands are read from the command line itself; what no command says of itself is here.
"""

import re
from typing import Any

import typer

from tests.imports import ROOT
from vitrify.cli import app
from vitrify.cli.app import ORDER
from vitrify.runtime import errors

PAGE = ROOT / "docs" / "cli.md"
TEXT = ROOT / "tests" / "cli_page.toml"
_SKIPPED = {"help", "install_completion", "show_completion"}
_SHARED = {"verbose", "quiet", "as_json"}


def page() -> str:
    """Return the text of docs/cli.md."""
    import tomllib

    said = tomllib.loads(TEXT.read_text(encoding="utf-8"))
    group: Any = typer.main.get_command(app)
    commands = [group.commands[name] for name in ORDER]
    parts = [
        said["head"],
        "## Commands\n",
        _table(("command", "what it does"), [(_usage(each), _sentence(each)) for each in commands]),
        said["examples"],
        "## Options of every command\n",
        _options([each for each in commands[0].params if each.name in _SHARED]),
        *(_section(each) for each in commands),
        said["inputs"],
        "## Exit codes\n",
        _table(("code", "meaning", "exception"), list(_codes(said["codes"]))),
        "Exceptions are in `vitrify.runtime.errors`; all derive from `VitrifyError`.\n",
        "## Environment variables\n",
        _table(("variable", "meaning"), [(f"`{name}`", text) for name, text in said["variables"].items()]),
        said["tail"],
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def variables() -> set[str]:
    """Return the environment variables of vitrify's own that the code reads."""
    found = set()
    for part in ("runtime", "export", "serving", "bench", "cli", "profiles"):
        for path in (ROOT / part).rglob("*.py"):
            found |= set(re.findall(r"\bVITRIFY_[A-Z]+\b", path.read_text(encoding="utf-8")))
    return found


def _section(command: Any) -> str:
    options = [
        each for each in command.params if each.name not in _SHARED | _SKIPPED and not getattr(each, "hidden", 0)
    ]
    example = f"```shell\n{command.epilog.removeprefix('Example: ')}\n```\n"
    return "\n".join([f"### vitrify {command.name}\n", f"{command.help}\n", example, _options(options)])


def _options(params: list[Any]) -> str:
    return "" if not params else _table(("argument", "meaning"), [(_names(each), _meaning(each)) for each in params])


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    value = f" {param.metavar}" if param.metavar and not param.is_flag else ""
    names = sorted(param.opts, key=len, reverse=True)
    return ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in names)


def _meaning(param: Any) -> str:
    given = param.default not in {None, False, ""} and not isinstance(param.default, (list, tuple))
    shown = f" Default: `{param.default:g}`." if given and isinstance(param.default, float) else ""
    shown = shown or (f" Default: `{param.default}`." if given and not getattr(param, "count", False) else "")
    return f"{param.help}{shown}".replace("|", "\\|")


def _usage(command: Any) -> str:
    words = [each.metavar for each in command.params if each.param_type_name == "argument"]
    return f"[`{' '.join(['vitrify', command.name, *words])}`](#vitrify-{command.name})"


def _sentence(command: Any) -> str:
    return command.help.split("\n")[0].replace("|", "\\|")


def _codes(said: dict[str, str]) -> Any:
    classes = {each.exit_code: each for each in vars(errors).values() if _is_error(each)}
    for code, text in said.items():
        error = classes.get(int(code))
        yield code, text, f"`{error.__name__}`" if error is not None else ""


def _is_error(value: Any) -> bool:
    own = isinstance(value, type) and issubclass(value, errors.VitrifyError)
    return own and value.__base__ is errors.VitrifyError and "exit_code" in vars(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
