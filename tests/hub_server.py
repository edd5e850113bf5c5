"""A loopback server that speaks the part of the Hub's API that downloads use, for tiny repositories kept in memory."""

import hashlib
import json
import re
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_uploads import LARGE, Refused, Uploads, git_oid

_INFO = re.compile(r"/api/models/(?P<id>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(r"/api/models/(?P<id>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_STORE = re.compile(r"/store/(?P<sha256>[0-9a-f]{64})")
_RANGE = re.compile(r"bytes=(?P<start>\d+)-")


@dataclass(frozen=True)
class Repository:
    """One commit of a repository; `large` names the files kept as LFS, `sent` what is sent in place of some of them."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset()
    branches: tuple[str, ...] = ("main",)
    token: str | None = None
    gated: bool = False
    sent: dict[str, bytes] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + content)
        return digest.hexdigest()

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name]).hexdigest()


def _answer_with(**changes):
    return lambda siblings: json.dumps({"id": "a/b", "sha": "a" * 40, "siblings": [siblings[0] | changes]}).encode()


# What a hostile or broken server says of a repository, by a word.
_SPOILS = {
    "size": _answer_with(size="x"),
    "name": _answer_with(rfilename=5),
    "deep": lambda _: b"[" * 100_000,
    "list": lambda _: b"[]",
    "digest": _answer_with(blobId=5),
    "no digest": _answer_with(blobId=None),
}


@dataclass(frozen=True)
class Request:
    """What a client asked for, and how many bytes of a file it was sent."""

    method: str
    path: str
    range: str | None
    sent: int = 0
    authorized: bool = False


@dataclass
class Hub:
    """The server's address, what it serves, and what it was asked for.

    `cuts` maps a file's sha256 to the offset behind which the connection breaks, once; `stalls` to the one behind which
    it stays open and silent until `released` is set. `spoils` is a key of `_SPOILS`. `owners` maps those who may have
    repositories to their tokens, `uploads` the sha256 of large files to what has arrived of them, and after
    `most_uploads` of those each further one fails.
    """

    url: str
    store: str
    repositories: dict[str, list[Repository]]
    requests: list[Request] = field(default_factory=list)
    cuts: dict[str, int] = field(default_factory=dict)
    stalls: dict[str, int] = field(default_factory=dict)
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    spoils: str | None = None
    owners: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    most_uploads: int | None = None

    @property
    def downloads(self) -> list[Request]:
        """The requests that were answered with a file's content."""
        return [request for request in self.requests if request.sent]

    def downloaded(self, name: str) -> bool:
        """Whether any request named this file."""
        return any(request.path.endswith(f"/{name}") for request in self.requests)


@contextmanager
def serving(repositories: Mapping[str, Repository | list[Repository]]) -> Iterator[Hub]:
    """Serve repositories by id; of several commits the later ones own the branches that they share."""
    server = _Server(("127.0.0.1", 0), _Handler)
    listed = {name: row if isinstance(row, list) else [row] for name, row in repositories.items()}
    # Large files come from another host, as on the Hub: clients follow such a redirect without their token.
    port = server.server_port
    hub = Hub(f"http://127.0.0.1:{port}", f"http://localhost:{port}/store", listed)
    server.hub = hub
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    hub: Hub


class _Handler(Uploads, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, _Server)
        return self.server.hub

    def log_message(self, format, *args):  # noqa: A002 - http.server's word
        pass

    def do_GET(self):
        self.sent = 0
        try:
            self._route()
        except Refused as refusal:
            self._answer(refusal.status, json.dumps({"error": str(refusal)}).encode(), refusal.headers)
        except ConnectionError:
            self.close_connection = True
        finally:
            authorized = "Authorization" in self.headers
            self.hub.requests.append(Request(self.command, self.path, self.headers.get("Range"), self.sent, authorized))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def _route(self):
        path = unquote(urlsplit(self.path).path)
        routes = ((_STORE, self._store), (_INFO, self._info), (_TREE, self._tree), (_FILE, self._file))
        for pattern, handler in routes:
            if match := pattern.fullmatch(path):
                return handler(**match.groupdict())
        raise Refused(404, "NotFound", "no such route")

    def _repository(self, name, revision) -> Repository:
        commits = self.hub.repositories.get(name)
        if not commits:
            raise Refused(401, "RepoNotFound", "Repository not found")
        newest = commits[-1]
        if newest.token is not None and self.headers.get("Authorization") != f"Bearer {newest.token}":
            raise Refused(401, "RepoNotFound", "Repository not found")
        for commit in reversed(commits):
            if revision in (commit.commit, *commit.branches):
                return commit
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _info(self, id, revision):  # noqa: A002 - the Hub's word
        repository = self._repository(id, revision or "main")
        blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        siblings = [{"rfilename": row.pop("path"), **(row if blobs else {})} for row in _rows(repository)]
        if (spoil := _SPOILS.get(self.hub.spoils or "")) is not None:
            return self._answer(200, spoil(siblings), {"Content-Type": "application/json"})
        return self._json(
            {
                "id": id,
                "modelId": id,
                "sha": repository.commit,
                "siblings": siblings,
                "private": repository.token is not None,
            }
        )

    def _tree(self, id, revision):  # noqa: A002
        self._json([{"type": "file", **row} for row in _rows(self._repository(id, revision))])

    def _file(self, id, revision, name):  # noqa: A002
        repository = self._repository(id, revision)
        if repository.gated:
            raise Refused(403, "GatedRepo", "Access to this model is restricted")
        commit = {"X-Repo-Commit": repository.commit}
        content = repository.files.get(name)
        if content is None:
            raise Refused(404, "EntryNotFound", "Entry not found")
        if name in repository.large:
            sha256 = repository.sha256(name)
            linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
            return self._answer(302, b"", {**commit, **linked, "Location": f"{self.hub.store}/{sha256}"})
        return self._content(repository.sent.get(name, content), {**commit, "ETag": f'"{git_oid(content)}"'})

    def _store(self, sha256):
        for repository in (row for rows in self.hub.repositories.values() for row in rows):
            for name in repository.large:
                if repository.sha256(name) == sha256:
                    content = repository.sent.get(name, repository.files[name])
                    return self._content(content, {"ETag": f'"{sha256}"'}, sha256)
        raise Refused(404, "EntryNotFound", "Entry not found")

    def _content(self, content, headers, sha256=""):
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(wanted["start"]) if wanted else 0
        headers = {**headers, "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut, stall = self.hub.cuts.pop(sha256, None), self.hub.stalls.pop(sha256, None)
        end = next((offset for offset in (cut, stall) if offset is not None), len(content))
        self._answer(206 if wanted else 200, content[start:end], headers, length=len(content) - start)
        if self.command == "GET":
            self.sent = max(0, end - start)
        if stall is not None:
            self.hub.stalled.set()
            self.hub.released.wait(60)
        self.close_connection = end != len(content)

    def _json(self, document):
        self._answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _answer(self, status, body, headers, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.wfile.flush()


@contextmanager
def answering(*answers) -> Iterator[str]:
    """Serve raw bytes, one answer a connection and the last again and again; an iterable is sent piece by piece."""
    left = list(answers)

    class Raw(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(2**16)
            answer = left.pop(0) if len(left) > 1 else left[0]
            with suppress(ConnectionError):
                for piece in [answer] if isinstance(answer, bytes) else answer():
                    self.request.sendall(piece)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Raw) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()


def _rows(repository) -> Iterator[dict]:
    for name, content in sorted(repository.files.items()):
        row = {"path": name, "size": len(content), "oid": git_oid(content), "blobId": git_oid(content)}
        if name in repository.large:
            sha256 = repository.sha256(name)
            row["lfs"] = {"size": len(content), "oid": sha256, "sha256": sha256, "pointerSize": 130}
        yield row


def repository_of(folder):
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return Repository(files, frozenset(name for name in files if name.endswith(LARGE)))
