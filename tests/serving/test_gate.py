"""The gate in process, called as servers call it: who is let in, what is read, when it ends, and what the log says."""

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field

import pytest

from vitrify.runtime.errors import EnvironmentMissing, UsageError
from vitrify.serving import keys as keys_module
from vitrify.serving.executor import CURRENT, Executor
from vitrify.serving.gate import Gate
from vitrify.serving.keys import Keys
from vitrify.serving.limits import Limits

SECRET = "a text that nobody may log"


@dataclass
class Inner:
    """The app behind the gate: it keeps what came through, and answers with the body's size or does `instead`."""

    instead: object = None
    bodies: list[bytes] = field(default_factory=list)
    tickets: list[object] = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        self.tickets.append(CURRENT.get())
        if scope["type"] == "http" and scope["path"] != "/health":
            self.bodies.append((await receive())["body"])
        if self.instead is not None:
            await self.instead(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    received: int = 0

    @property
    def document(self):
        return json.loads(self.body)


@pytest.fixture(scope="module")
def executor():
    made = Executor()
    yield made
    made.close()


@pytest.fixture
def gate(executor):
    def make(inner=None, *, keys=(), **limits):
        return Gate(inner or Inner(), limits=Limits(**limits), keys=Keys(keys), executor=executor)

    return make


def ask(gate, *chunks, path="/models/a", leaves=None, **headers):
    return asyncio.run(asked(gate, *chunks, path=path, leaves=leaves, **headers))


async def asked(gate, *chunks, path="/models/a", leaves=None, **headers):
    """Send a request whose body comes in chunks; of None nothing ever comes, and `leaves` says when the client goes."""
    answer = Answer()
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    messages = [
        {"type": "http.request", "body": chunk, "more_body": number + 1 < len(chunks)} if chunk is not None else None
        for number, chunk in enumerate(chunks or (b"",))
    ]

    async def receive():
        if answer.received < len(messages):
            message = messages[answer.received]
            answer.received += 1
            if message is not None:
                return message
        await (asyncio.Event() if leaves is None else leaves).wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await asyncio.wait_for(asyncio.create_task(gate(scope, receive, send)), 20)
    return answer


def test_a_body_comes_through_whole(gate):
    inner = Inner()
    answer = ask(gate(inner), b'{"inputs"', b": ", b"1}")
    assert (answer.status, inner.bodies) == (200, [b'{"inputs": 1}'])


KEYS = ("first-key", "second-key")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer first-key", 200),
        ("bearer second-key", 200),
        ("Bearer  first-key ", 200),
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer first-ke", 401),
        ("Bearer first-key2", 401),
        ("Bearer FIRST-KEY", 401),
        ("Bearer first-key,second-key", 401),
        ("Basic first-key", 401),
        ("first-key", 401),
        ("Bearer \xff\xfe", 401),
    ],
)
def test_who_may_ask(gate, header, status):
    answer = ask(gate(keys=KEYS), **({} if header is None else {"authorization": header}))
    assert answer.status == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.document == {"error": "the API key is missing or unknown"}
        assert answer.received == 0


def test_without_keys_everybody_may_ask(gate):
    assert ask(gate()).status == 200


def test_two_keys_have_two_names_which_are_not_the_keys():
    keys = Keys(KEYS)
    names = {keys.known(f"Bearer {key}") for key in KEYS}
    assert len(names) == 2
    assert not names & {None, "", *KEYS}


def test_every_key_is_compared_whole(monkeypatch):
    """How long a comparison takes says neither which key was nearly right nor how many there are before it."""
    compared = []
    monkeypatch.setattr(
        keys_module.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or one == other
    )
    keys = Keys(KEYS)
    for key in (*KEYS, "x", "first-ke"):
        compared.clear()
        keys.known(f"Bearer {key}")
        assert [(len(one), len(other)) for one, other in compared] == [(32, 32)] * 2


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("", UsageError, "no API key"),
        ("\n \n", UsageError, "no API key"),
        ("\xff", UsageError, "ASCII"),
        ("two words", UsageError, "ASCII"),
        (b"\xff", EnvironmentMissing, "cannot be read"),
        (None, EnvironmentMissing, "cannot be read"),
    ],
)
def test_a_file_without_keys_opens_no_server(tmp_path, content, error, said):
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error, match=said):
        Keys.read(path)


def test_keys_are_read_from_a_file_or_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "keys"
    path.write_text("\ufefffirst-key\r\n\r\n second-key \n", encoding="utf-8")
    assert all(Keys.read(path).known(f"Bearer {key}") for key in KEYS)
    monkeypatch.setenv("VITRIFY_API_KEYS", " first-key, second-key,")
    assert all(Keys.read(None).known(f"Bearer {key}") for key in KEYS)
    monkeypatch.setenv("VITRIFY_API_KEYS", " , ")
    with pytest.raises(UsageError, match="no API key"):
        Keys.read(None)
    monkeypatch.delenv("VITRIFY_API_KEYS")
    assert Keys.read(None).known(None) == ""


@pytest.mark.parametrize("length", ["101", "9" * 5000, "-1", "x", ""])
def test_a_declared_size_that_is_too_large_is_not_read(gate, length):
    inner = Inner()
    answer = ask(gate(inner, body=100), b"x" * 10, content_length=length)
    assert (answer.status, answer.received, inner.bodies) == (413, 0, [])
    assert answer.headers["connection"] == "close"


def test_chunks_are_read_no_further_than_allowed(gate):
    inner = Inner()
    answer = ask(gate(inner, body=100), *[b"x" * 40] * 1000)
    assert (answer.status, answer.received, inner.bodies) == (413, 3, [])
    assert ask(gate(inner, body=100), b"x" * 60, b"x" * 40).status == 200


def test_a_body_that_does_not_come_times_out(gate):
    inner, begun = Inner(), time.monotonic()
    answer = ask(gate(inner, reading=0.05), b"x", None)
    assert (answer.status, inner.bodies) == (408, [])
    assert answer.headers["connection"] == "close"
    assert time.monotonic() - begun < 5


def test_a_client_that_leaves_midway_is_not_answered(gate):
    async def leave():
        left = asyncio.Event()
        left.set()
        return await asked(gate(inner), b'{"inputs": 1}', None, leaves=left)

    inner = Inner()
    assert (asyncio.run(leave()).status, inner.bodies) == (0, [])


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "zstd"])
def test_a_compressed_body_is_not_accepted(gate, coding):
    answer = ask(gate(), content_encoding=coding)
    assert (answer.status, answer.received) == (415, 0)
    assert ask(gate(), content_encoding="identity").status == 200


def test_one_request_more_than_allowed_comes_again(gate):
    """It is told so before its body is read, and may come in once another has ended."""

    async def overload():
        end, entered = asyncio.Event(), asyncio.Event()

        async def wait(_):
            entered.set()
            await end.wait()

        made = gate(Inner(wait), requests=1)
        first = asyncio.create_task(asked(made))
        await entered.wait()
        second = await asked(made, b"x" * 1000)
        end.set()
        return await first, second, await asked(made)

    first, second, third = asyncio.run(overload())
    assert [each.status for each in (first, second, third)] == [200, 429, 200]
    assert second.received == 0
    assert int(second.headers["retry-after"]) >= 1


@dataclass
class Full:
    tokens: int = 1000


def test_too_many_tokens_that_wait_are_told_too():
    made = Gate(Inner(), limits=Limits(tokens=1000), keys=Keys(), executor=Full())
    assert ask(made, b"x").status == 429
    assert ask(Gate(Inner(), limits=Limits(tokens=1001), keys=Keys(), executor=Full()), b"x").status == 200


@pytest.mark.parametrize("asked_for", ["0", "-1", "nan", "inf", "-inf", "x", "", "1 2"])
def test_a_time_that_is_none_is_an_error(gate, asked_for):
    answer = ask(gate(), x_request_timeout=asked_for)
    assert answer.status == 400
    assert "x-request-timeout" in answer.document["error"]


@pytest.mark.parametrize(("asked_for", "patience"), [("2.5", 2.5), ("100", 60), (None, 60)])
def test_a_request_may_ask_for_less_time(gate, asked_for, patience):
    inner = Inner()
    ask(gate(inner, seconds=60), **({} if asked_for is None else {"x_request_timeout": asked_for}))
    assert [ticket.patience for ticket in inner.tickets] == [patience]


def test_a_client_that_leaves_is_on_the_ticket(gate):
    async def leave():
        left = asyncio.Event()

        async def wait(receive):
            assert not inner.tickets[0].is_gone
            left.set()
            assert (await receive())["type"] == "http.disconnect"

        inner = Inner(wait)
        await asked(gate(inner), b"x", leaves=left)
        return inner.tickets[0].is_gone

    assert asyncio.run(leave())


@pytest.mark.parametrize(
    ("given", "is_kept"), [("abc-1:2", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("\xe9", False)]
)
def test_each_answer_has_the_requests_id(gate, given, is_kept):
    answers = [ask(gate(), x_request_id=given), ask(gate(keys=KEYS), x_request_id=given)]
    assert [each.status for each in answers] == [200, 401]
    for answer in answers:
        name = answer.headers["x-request-id"]
        assert (name == given) is is_kept
        assert name.isascii()
        assert 0 < len(name) <= 64


def test_the_log_has_a_line_for_each_request_and_nothing_of_its_content(gate, caplog):
    caplog.set_level(logging.INFO, "vitrify.serving")
    ask(gate(), json.dumps({"inputs": SECRET}).encode(), x_request_id="one")
    ask(gate(body=10), SECRET.encode(), x_request_id="two", authorization=f"Bearer {SECRET}")
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [(line["id"], line["method"], line["status"]) for line in lines] == [
        ("one", "POST", 200),
        ("two", "POST", 413),
    ]
    assert set(lines[0]) >= {"route", "model", "seconds", "tokens", "queued", "ran"}
    assert not any(word in caplog.text for word in (SECRET, *SECRET.split()[-2:]))


@pytest.mark.parametrize("path", ["/health", "/docs", "/openapi.json"])
def test_health_and_documentation_need_no_key(gate, path):
    assert ask(gate(keys=KEYS), path=path).status == 200


@pytest.mark.parametrize("path", ["/health/", "//health", "/docs/x", "/models/health", "/v1/models"])
def test_nothing_else_is_open(gate, path):
    assert ask(gate(keys=KEYS), path=path).status == 401


@pytest.mark.parametrize(
    "name", ["requests", "tokens", "body", "items", "characters", "sequences", "seconds", "reading"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_more_than_nothing(name, value):
    with pytest.raises(UsageError, match=name):
        Limits(**{name: value})
