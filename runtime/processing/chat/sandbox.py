"""Where a checkpoint's chat template runs: jinja2's immutable sandbox, with bounds on time and memory.

A template is somebody else's program, and jinja2's own sandbox only keeps it from our objects: it may still loop for
ever or build a text of gigabytes in one operation, which no timer in this process could interrupt. So everything that
costs is counted while it happens:

1. turns of loops, calls, filters, operators, comparisons and output are ticks; a tick looks at the clock now and then;
2. what can make much out of little (`*`, `**`, formats, `replace`, `join`, `indent`, …) is checked before it runs;
3. what is made is weighed after: no value beyond `LONGEST`, all together no more than `MOST`;
4. only what is known to be harmless may be called: methods of texts, lists, dicts and numbers by name, and what a
   template or this module defines. Filters that write HTML are left out.

It knows nothing of chats. Import it late: it imports jinja2.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.utils import Cycler, Joiner, Namespace, pass_context
from jinja2.visitor import NodeTransformer

from .limits import (
    FILTER_CHECKS,
    METHOD_CHECKS,
    SECONDS,
    SOURCE,
    Meter,
    check_percent,
    check_product,
    counted_items,
    weigh,
)

# No template can write this name.
_METER = "(meter)"
_TURNS, _MADE, _TICKED = "(turns)", "(made)", "(ticked)"
# What a filter may ask for as its first argument.
_PASSED: Mapping[str, Callable[[Context], Any]] = {
    "context": lambda context: context,
    "eval_context": lambda context: context.eval_ctx,
    "environment": lambda context: context.environment,
}
_LEFT_OUT = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")
_METHODS = {
    str: frozenset(name for name in dir(str) if name[0] != "_") - {"encode", "translate", "maketrans"},
    list: frozenset({"count", "index", "copy"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"get", "items", "keys", "values", "copy"}),
    int: frozenset({"bit_length", "is_integer"}),
    float: frozenset({"is_integer"}),
}


class TemplateNamespace(Namespace):
    """`namespace()`: without private names, and without a text, which might have no end."""

    def __init__(*args: Any, **entries: Any) -> None:  # any name may be an entry, `self` too
        self, *given = args
        for name in (entries := dict(*given, **entries)):
            _refuse_private(name)
        Namespace.__init__(self, entries)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


class TemplateDict:
    """`dict(…)` and `dict.fromkeys(…)`, without the class and what hangs on it."""

    def __call__(self, *args: Any, **entries: Any) -> dict[Any, Any]:
        return dict(*args, **entries)

    def fromkeys(self, names: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """Return a dict with the same value under each name."""
        return dict.fromkeys(names, value)


class GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks the assistant's words for training: a scope, no more."""

    tags = {"generation"}  # noqa: RUF012 - declared so by jinja2

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the block's body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Counting(NodeTransformer):
    """Puts a filter that counts around what the environment does not see: loops, literals, `~`, slices, comparisons."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's names
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _TURNS)
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802
        return nodes.Const(node.data, lineno=node.lineno, environment=node.environment)  # goes through `finalize`

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, _MADE) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if isinstance(node.arg, nodes.Const) else _filtered(node, _MADE)

    def _made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _MADE)

    def _ticked(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, _TICKED)

    visit_List = visit_Dict = visit_Concat = _made  # noqa: N815 - jinja2's names
    visit_Compare = visit_Test = _ticked  # noqa: N815


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of chat templates, with what transformers defines for them."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants would be computed uncounted
            finalize=_written,
            extensions=[GenerationTag, loopcontrols],
        )
        self.filters["tojson"] = tojson
        for name in _LEFT_OUT:
            del self.filters[name]
        self.filters = {name: _counted(name, function) for name, function in self.filters.items()}
        self.filters |= {_TURNS: _turns, _MADE: _made, _TICKED: _ticked}
        del self.globals["lipsum"]
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        self.globals.update(dict=TemplateDict(), namespace=TemplateNamespace)

    def compiled(self, source: str) -> jinja2.Template:
        """Return the template; TemplateSyntaxError or SecurityError for what is none."""
        if len(source) > SOURCE:
            raise SecurityError(f"it is {len(source)} characters long, at most {SOURCE} are allowed")
        tree = Counting().visit(self.parse(source))
        return jinja2.Template.from_code(self, self.compile(tree), self.make_globals(None))

    def rendered(self, template: jinja2.Template, variables: Mapping[str, Any], *, seconds: float = SECONDS) -> str:
        """Return the text that a template makes; any exception may come out of it."""
        context = template.new_context({**variables, _METER: Meter(seconds)})
        return "".join(template.root_render_func(context))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse at once; jinja2 would write nothing for it."""
        raise SecurityError(f"it reaches for the attribute {attribute!r} of a {type(obj).__name__}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Run an operator within bounds."""
        meter = _meter(context)
        if operator == "%" and isinstance(left, str):
            check_percent(meter, left, right)
        if operator in {"*", "**"}:
            check_product(meter, operator, left, right)
        return meter.take(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - as jinja2: a template may name its arguments anything
        """Call what may be called, within bounds."""
        meter = _meter(__context)
        __self._check_callable(__obj)
        function = getattr(__obj, "__wrapped__", __obj)  # jinja2 wraps the methods that format
        owner = getattr(function, "__self__", None)
        check = METHOD_CHECKS.get(function.__name__) if isinstance(owner, str) else None
        if check is not None:
            args = check(meter, owner, *args, **kwargs) or args
        made = super().call(__context, __obj, *args, **kwargs)
        if isinstance(owner, str):  # the parts of a split text are new
            meter.spend(weigh(made))
        return meter.take(made)

    def _check_callable(self, function: Any) -> None:
        if isinstance(function, (Macro, LoopContext, BlockReference, Undefined, Cycler, Joiner)):
            return
        if any(function is known for known in self.globals.values()):
            return
        method = getattr(function, "__wrapped__", function)
        owner = getattr(method, "__self__", None)
        if isinstance(owner, (LoopContext, Cycler, Joiner, TemplateDict)):
            return
        for kind, names in _METHODS.items():
            if isinstance(owner, kind) and method.__name__ in names:
                return
        raise SecurityError(f"it calls {getattr(method, '__name__', type(function).__name__)!r}, which is not allowed")


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return a value as JSON; jinja2's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> None:
    raise jinja2.TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)  # noqa: DTZ005 - the reader's own clock, as transformers


def _refuse_private(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it puts the private name {name!r} into a namespace")


def _meter(context: Context) -> Meter:
    return context.parent[_METER]


def _filtered(node: Any, name: str) -> nodes.Filter:
    environment = node.environment
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=environment)


@pass_context
def _written(context: Context, value: Any) -> Any:
    """Count what is put out."""
    _meter(context).spend(weigh(value))
    return value


@pass_context
def _turns(context: Context, items: Any) -> Iterator[Any]:
    return counted_items(_meter(context), items)


@pass_context
def _made(context: Context, value: Any) -> Any:
    return _meter(context).take(value)


@pass_context
def _ticked(context: Context, value: Any) -> Any:
    _meter(context).spend()
    return value


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter with its arguments checked before and its value weighed after."""
    wish = getattr(function, "jinja_pass_arg", None)
    wanted = [] if wish is None else [_PASSED[wish.name]]
    check = FILTER_CHECKS.get(name)

    @pass_context
    def counted(context: Context, *args: Any, **kwargs: Any) -> Any:
        meter = _meter(context)
        if check is not None:
            args = check(meter, *args, **kwargs) or args
        return meter.take(function(*(first(context) for first in wanted), *args, **kwargs))

    return counted
