"""What a broken or hostile server may cost: bounded bytes, seconds and tries, and a sentence."""

import hashlib
import time
from dataclasses import replace
from itertools import repeat

import pytest

from tests.hub_server import answering
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError
from vitrify.runtime.sources.announced import Announced, resume
from vitrify.runtime.sources.answers import Patience, Rejected, read_answer

# A server that answers at once needs no more.
HASTE = Patience(tries=3, pause=0.01, longest_pause=1, start=2, silence=1, window=0.2, least=1000)
CONTENT = b"content" * 10


def answer(status=200, body=b"", length=None, **headers):
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode() + body


def dripping(beginning, piece):
    def pieces():
        yield beginning
        for each in repeat(piece, 100):
            time.sleep(0.03)
            yield each

    return pieces


def read(url, largest=1000, patience=HASTE):
    return read_answer(url, largest=largest, headers={}, patience=patience)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_fails_is_asked_again(status):
    with answering(answer(status), answer(status), answer(body=CONTENT)) as url:
        assert read(url) == CONTENT


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (503, 3), (404, 1), (403, 1), (304, 1)])
def test_it_is_not_asked_for_ever(status, tries):
    answers = [*[answer(status)] * tries, answer(body=CONTENT)]
    with answering(*answers) as url:
        with pytest.raises(Rejected) as caught:
            read(url)
        assert caught.value.status == status
        assert read(url) == CONTENT


def test_a_body_of_an_error_is_not_read():
    with answering(answer(404, b"x" * 100, length=10**12, X_Error_Code="RepoNotFound")) as url:
        with pytest.raises(Rejected) as caught:
            read(url)
        assert caught.value.code == "RepoNotFound"


@pytest.mark.parametrize(("asked", "waits"), [("99999", False), ("9" * 400, False), ("0", True), ("soon", True)])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_wait(status, asked, waits):
    with answering(answer(status, Retry_After=asked), answer(body=CONTENT)) as url:
        if waits:
            assert read(url) == CONTENT
            return
        with pytest.raises(EnvironmentMissing, match="asks to wait 99999"):
            read(url)


@pytest.mark.parametrize(
    "slow",
    [
        dripping(b"", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        dripping(answer(length=10**6), b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
def test_a_server_that_drips(slow):
    with answering(slow) as url, pytest.raises(TimeoutError):
        read(url, patience=replace(HASTE, start=0.3))


def test_a_silent_server():
    with answering(dripping(b"HTTP/1.1 ", b"")) as url, pytest.raises(Exception, match=r"timed out|Timeout"):
        read(url, patience=replace(HASTE, silence=0.2))


def test_an_endless_answer():
    def endless():
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from repeat(b"x" * 100)

    with answering(endless) as url, pytest.raises(IntegrityError, match="larger than 1000 bytes"):
        read(url)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_a_packed_answer_is_never_unpacked(packing):
    packed = answer(body=CONTENT, Content_Encoding=packing)
    with answering(packed) as url, pytest.raises(EnvironmentMissing, match="packed"):
        read(url)


# ---------------------------------------------------------------------------------------------------------------- files


def downloaded(url, folder):
    announced = Announced(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    resume(url, folder / "partial", announced, headers={}, patience=HASTE)
    return (folder / "partial").read_bytes()


def test_a_range_that_is_ignored_begins_anew(tmp_path):
    with answering(answer(body=CONTENT)) as url:
        (tmp_path / "partial").write_bytes(b"first")
        assert downloaded(url, tmp_path) == CONTENT


def test_a_connection_that_breaks_off_each_time(tmp_path):
    with answering(answer(206, b"x", length=70)) as url:
        with pytest.raises(Exception, match=r"peer closed|incomplete|IncompleteRead"):
            downloaded(url, tmp_path)
        assert (tmp_path / "partial").read_bytes() == b"x" * HASTE.tries


def test_less_than_was_announced(tmp_path):
    with answering(answer(206, b"")) as url, pytest.raises(EnvironmentMissing, match="sent 0 bytes of 70"):
        downloaded(url, tmp_path)


def test_an_empty_file_needs_no_answer(tmp_path):
    empty = Announced("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", 0)
    resume("http://127.0.0.1:1/none", tmp_path / "partial", empty, headers={}, patience=HASTE)
    assert (tmp_path / "partial").read_bytes() == b""
