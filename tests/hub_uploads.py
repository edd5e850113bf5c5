"""What the loopback Hub answers to uploads: repositories, branches, large files, commits."""

import base64
import dataclasses
import hashlib
import json
import re
from urllib.parse import unquote, urlsplit

import yaml

LARGE = (".onnx", "_data", ".safetensors")
ID = r"(?P<id>[^/]+/[^/]+)"
POSTS = {
    r"/api/repos/create": "_create",
    r"/api/validate-yaml": "_validate",
    rf"/api/models/{ID}/preupload/(?P<revision>[^/]+)": "_preupload",
    rf"/{ID}\.git/info/lfs/objects/batch": "_batch",
    rf"/api/models/{ID}/branch/(?P<name>[^/]+)": "_branch",
    rf"/api/models/{ID}/commit/(?P<revision>[^/]+)": "_commit",
}


class Refused(Exception):  # noqa: N818 - an answer more than an error
    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": words}


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Uploads:
    """The part of the server's handler that answers to POST and PUT."""

    def do_POST(self):  # noqa: N802 - the name that http.server calls
        path, body = unquote(urlsplit(self.path).path), self._body()
        try:
            handler, words = next((name, m.groupdict()) for p, name in POSTS.items() if (m := re.fullmatch(p, path)))
            getattr(self, handler)(body, **words)
        except Refused as refused:
            self._answer(refused.status, json.dumps({"error": str(refused)}).encode(), refused.headers)

    def do_PUT(self):  # noqa: N802
        sha256, content = self.path.rpartition("/")[2], self._body()
        if self.hub.most_uploads is not None and len(self.hub.uploads) >= self.hub.most_uploads:
            return self._answer(400, b"", {})
        assert hashlib.sha256(content).hexdigest() == sha256
        assert sha256 not in self.hub.uploads, "sent again"
        self.hub.uploads[sha256] = content
        return self._answer(200, b"", {})

    def _body(self):
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _require_owner(self, name):
        owner = name.partition("/")[0]
        if self.headers.get("Authorization") != f"Bearer {self.hub.owners.get(owner)}":
            raise Refused(403, "Forbidden", "You have no write access")

    def _create(self, body):
        from tests.hub_server import Repository

        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if self.headers.get("Authorization", "")[7:] not in self.hub.owners.values():
            raise Refused(401, "Unauthorized", "Invalid credentials in Authorization header")
        self._require_owner(name)
        if name in self.hub.repositories:
            raise Refused(409, "Conflict", "You already created this model repo")
        token = None if asked["visibility"] == "public" else self.hub.owners[asked["organization"]]
        self.hub.repositories[name] = [Repository({".gitattributes": b"*.onnx filter=lfs"}, token=token)]
        self._json({"url": f"{self.hub.url}/{name}"})

    def _validate(self, body):
        head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        errors = [{"message": "license must be known"}] if head.get("license") == "unheard-of" else []
        self._answer(400 if errors else 200, json.dumps({"errors": errors, "warnings": []}).encode(), {})

    def _preupload(self, body, id, revision):  # noqa: A002 - the Hub's word
        self._require_owner(id)
        files = self._repository(id, revision).files
        rows = [
            {
                "path": row["path"],
                "uploadMode": "lfs" if row["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": self._oid(row["path"], files.get(row["path"])),
            }
            for row in json.loads(body)["files"]
        ]
        self._json({"files": rows})

    def _oid(self, name, content):
        if content is None:
            return None
        return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_oid(content)

    def _batch(self, body, id):  # noqa: A002
        self._require_owner(id)
        rows = json.loads(body)["objects"]
        self._json({"transfer": "basic", "objects": [self._object(**row) for row in rows]})

    def _object(self, oid, size):
        known = {"oid": oid, "size": size}
        there = oid in self.hub.uploads
        return known if there else {**known, "actions": {"upload": {"href": f"{self.hub.url}/upload/{oid}"}}}

    def _branch(self, body, id, name):  # noqa: A002
        self._require_owner(id)
        if any(name in commit.branches for commit in self.hub.repositories[id]):
            raise Refused(409, "Conflict", "Reference already exists")
        main = self._repository(id, "main")
        self.hub.repositories[id].append(dataclasses.replace(main, branches=(name,)))
        self._json({})

    def _commit(self, body, id, revision):  # noqa: A002
        self._require_owner(id)
        old = self._repository(id, revision)
        files = dict(old.files)
        for line in body.splitlines():
            row = json.loads(line)
            self._apply(files, row["key"], row["value"])
        large = frozenset(name for name in files if name.endswith(LARGE))
        made = dataclasses.replace(old, files=files, large=large, branches=(unquote(revision),))
        self.hub.repositories[id].append(made)
        url = f"{self.hub.url}/{id}/commit/{made.commit}"
        self._json({"success": True, "commitOid": made.commit, "commitUrl": url, "hookOutput": ""})

    def _apply(self, files, kind, value):
        if kind == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif kind == "lfsFile":
            files[value["path"]] = self.hub.uploads[value["oid"]]
        elif kind == "deletedFile":
            del files[value["path"]]
