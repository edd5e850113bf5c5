"""Chat templates that mean harm: each is stopped in bounded time and memory, and reaches nothing."""

import time
import tracemalloc

import pytest

from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.processing.chat.templates import render_template

DEADLINE = 20  # seconds; a template is stopped after three, but the machine may be busy
SHOWN = {"messages": [{"role": "user", "content": "x"}]}

LOOPS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "output": "{% for a in range(99999) %}{% for b in range(99999) %}word{% endfor %}{% endfor %}",
    "silent output": "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxx"
    "{% endfor %}{% endfor %}{% endset %}",
    "macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "tree of macros": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "block": "{% block b %}{{ self.b() }}{% endblock %}",
    "recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "doubling": "{% set n = namespace(x='ab') %}{% for a in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "adding": "{% set n = namespace(x='ab') %}{% for a in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "list of lists": "{% set n = namespace(x=[1]) %}{% for a in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
    "dict of dicts": "{% set n = namespace(x=1) %}{% for a in range(64) %}{% set n.x = {'a': n.x, 'b': n.x} %}"
    "{% endfor %}"
    "{{ n.x|tojson }}",
    "tuples": "{% set n = namespace(x=()) %}{% for a in range(64) %}{% set n.x = (n.x, n.x) %}{% endfor %}"
    "{{ n.x == 1 }}",
    "namespaces": "{% set n = namespace(x=1) %}{% for a in range(64) %}{% set n.x = namespace(a=n.x, b=n.x) %}"
    "{% endfor %}"
    "{{ n.x }}{{ [n.x]|string }}{% for a in range(99999) %}{% for a in range(99999) %}{% endfor %}{% endfor %}",
    "times": "{{ 'a' * 10000000000 }}",
    "list times": "{{ [1] * 10000000000 }}",
    "power": "{{ 10 ** 10000000000 }}",
    "products": "{% set n = namespace(x=9) %}{% for a in range(64) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "range": "{% for a in range(10000000000) %}{% endfor %}",
    "center": "{{ 'a'|center(10000000000) }}",
    "ljust": "{{ 'a'.ljust(10000000000) }}",
    "zfill": "{{ 'a'.zfill(10000000000) }}",
    "tabs": "{{ '\t'.expandtabs(10000000000) }}",
    "percent": "{{ '%10000000000d' % 1 }}",
    "percent, never closed": "{{ ('%(' * 400000) % {'a': 1} }}",
    "percent, brackets in a name": "{{ '%(a(b)c)99999999999d' % {'a(b)c': 1} }}",
    "percent, many": "{% set n = '%(a)' * 3999999 %}{% for a in range(99) %}{% set x = n % {'a': 1} %}{% endfor %}",
    "stripping": "{{ ('a' * 8000000).strip('b' * 8000000 + 'a') }}",
    "trimming": "{{ ('a' * 8000000)|trim('b' * 8000000 + 'a') }}",
    "searching from the end": "{{ ('a' * 8000000).rfind('ab' + 'a' * 4000000) }}",
    "splitting from the end": "{{ ('a' * 8000000).rsplit('ab' + 'a' * 4000000, 1) }}",
    "long numbers": "{{ ('f' * 8000000)|int(base=16) // ('e' * 4000000)|int(base=16) }}",
    "percent star": "{{ '%*d' % (10000000000, 1) }}",
    "percent filter": "{{ '%10000000000s'|format('a') }}",
    "format": "{{ '{:10000000000}'.format('a') }}",
    "format in format": "{{ '{:{}}'.format('a', 10000000000) }}",
    "format map": "{{ '{a:10000000000}'.format_map({'a': 1}) }}",
    "many fields": "{{ ('{0}' * 9999).format('a' * 99999) }}",
    "indent": "{{ ('\n' * 99999)|indent(99999) }}",
    "indent by a text": "{{ ('\n' * 99999)|indent('a' * 99999) }}",
    "replace": "{{ ('a' * 99999).replace('', 'b' * 99999) }}",
    "replace filter": "{{ ('a' * 99999)|replace('a', 'b' * 99999) }}",
    "join": "{{ range(99999)|join('a' * 99999) }}",
    "join method": "{{ ('a' * 99999).join(range(99999)|map('string')) }}",
    "one text often": "{{ range(99999)|map(attribute='x', default='a' * 99999)|join }}",
    "list of one text": "{{ range(99999)|map(attribute='x', default='a' * 99999)|list }}",
    "tojson": "{{ ([1] * 99999)|tojson(indent=99999) }}",
    "tojson separators": "{{ ([1] * 99999)|tojson(separators=('a' * 99999, 'b')) }}",
    "round": "{{ 1.5|round(10000000000, 'ceil') }}",
    "batch": "{{ [1]|batch(10000000000, 'a')|list }}",
    "batch by name": "{{ [1]|batch(linecount=10000000000, fill_with='a')|list }}",
    "slice": "{{ [1]|slice(10000000000)|list }}",
    "sum of lists": "{{ ([[1]] * 99999)|sum(start=[]) }}",
    "bytes": "{{ (1).to_bytes(10000000000, 'big') }}",
    "words of nothing": "{{ lipsum(n=10000000000) }}",
    "filtered loop": "{% for a in range(99999) if range(99999)|map('string')|list %}{% endfor %}",
    "sorting": "{% for a in range(99999) %}{% set b = range(99999)|sort %}{% endfor %}",
    "comparing": "{% set x = 'a' * 9999999 %}{% set y = 'a' * 9999999 %}{% for a in range(99999) %}"
    "{% for a in range(99999) %}{% set z = x == y %}{% endfor %}{% endfor %}",
    "long": "{% if a %}b{% endif %}" * 99999,
    "deep": "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
}
TRICKS = (
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ [1]|map(attribute='__class__')|list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ raise_exception.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.system('true') }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace(__class__=1) }}",
    "{% set n = namespace() %}{% set n._a = 1 %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{{ messages[0].pop('role') }}",
    "{{ ''.encode() }}",
    "{{ ''.upper.__self__ }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ strftime_now.__code__ }}",
    "{{ (messages|map('upper')).gi_frame }}",
    "{{ loop.__class__ }}{% for a in [1] %}{{ loop._iterable }}{% endfor %}",
    "{{ dict.__class__ }}",
    "{{ caller.__class__ }}{% macro m() %}{% endmacro %}{{ m._func }}",
    "{{ 1 .real.__class__ }}",
)


# They run until the clock stops them, or nearly.
LONG = {"dict of dicts", "filtered loop", "list of lists", "sorting", "tree of macros", "tuples"}


def loops():
    for name, source in LOOPS.items():
        yield pytest.param(source, id=name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.parametrize("source", list(loops()))
def test_a_template_without_end_is_stopped(source):
    started = time.monotonic()
    with pytest.raises((IntegrityError, UsageError)) as refusal:
        render_template(source, SHOWN)
    assert time.monotonic() - started < DEADLINE
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("name", ["doubling", "many fields", "one text often"])
def test_a_template_builds_no_gigabytes(name):
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            render_template(LOOPS[name], SHOWN)
        assert tracemalloc.get_traced_memory()[1] < 600e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", TRICKS)
def test_attributes_are_out_of_reach(source):
    shown = {"messages": [{"role": "user", "content": "x"}]}
    with pytest.raises((IntegrityError, UsageError)):
        render_template(source, shown)
    assert shown == SHOWN


@pytest.mark.parametrize("source", ["{% for", "{{ 'a' }", "{% nothing %}", "{{ a|nothing }}", "{{ a is nothing }}"])
def test_what_is_no_template(source):
    with pytest.raises(IntegrityError, match="the chat template cannot be read: line 1"):
        render_template(source, SHOWN)


def test_a_template_of_the_caller_is_the_callers_fault():
    with pytest.raises(UsageError, match="cannot be read"):
        render_template("{% for", SHOWN, given=True)


@pytest.mark.parametrize("source", ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends '/etc/passwd' %}"])
def test_no_other_files(source):
    with pytest.raises(UsageError):
        render_template(source, SHOWN)
