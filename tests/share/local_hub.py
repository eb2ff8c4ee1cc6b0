"""The part of the Hub's HTTP API by which a model goes and comes: repositories, commits, large files."""

import base64
import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from re import fullmatch
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_right"


@dataclass
class Repository:
    """Branches, and of each commit the files by name."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        state = f"{branch}{len(self.commits)}{sorted(files)}"
        name = hashlib.sha1(state.encode()).hexdigest()
        self.commits[name], self.branches[branch] = dict(files), name
        return name


@dataclass
class Hub:
    """What the server holds, and how it fails.

    Attributes:
        large: contents by SHA-256.
        served: bytes that are sent in the place of a file, by name.
        cut: after how many bytes a connection breaks off, by name of the file.
        asked: every request, as METHOD and path.
        ranges: of downloads, by name.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[tuple[str, str]] = field(default_factory=list)

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        found = self.repositories[name]
        return found.commits[found.branches[branch]]


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".png"))


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, status: int, value: Any = None, **headers: str) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def said(self) -> str | None:
        token = self.headers.get("Authorization")
        return None if token is None else token.removeprefix("Bearer ")

    def repository(self, name: str) -> Repository | None:
        """The repository, if it may be seen; else the answer is given."""
        found = self.hub.repositories.get(name)
        if self.said() not in (None, TOKEN):
            self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        elif found is None or (found.private and self.said() != TOKEN):
            self.answer(404 if self.said() else 401, X_Error_Code="RepoNotFound")
        else:
            return found
        return None

    def resolved(self, found: Repository, revision: str) -> str | None:
        whole = [commit for commit in found.commits if len(revision) >= 7 and commit.startswith(revision)]
        commit = found.branches.get(revision) or next(iter(whole), None)
        if commit is None:
            self.answer(404, X_Error_Code="RevisionNotFound")
        return commit

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        content = self.body()
        for pattern, method in ROUTES:
            if match := fullmatch(pattern, f"{self.command} {path}"):
                method(self, content, **match.groupdict())
                return
        self.answer(404, {"error": f"no such place: {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def info(self, content: bytes, name: str, revision: str | None) -> None:
        found = self.repository(name)
        if found is None or (commit := self.resolved(found, revision or "main")) is None:
            return
        siblings = [listed(file, text) for file, text in found.commits[commit].items()]
        self.answer(200, {"id": name, "sha": commit, "private": found.private, "siblings": siblings})

    def create(self, content: bytes) -> None:
        given = json.loads(content)
        name = f"{given['organization']}/{given['name']}"
        if self.said() != TOKEN:
            self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        elif name.startswith("other/"):
            self.answer(403, {"error": "no right"})
        elif name in self.hub.repositories:
            self.answer(409, {"error": "there already", "url": f"{self.hub.url}/{name}"})
        else:
            private = given.get("private") is True or given.get("visibility") == "private"
            made = self.hub.repositories[name] = Repository(private=private)
            made.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
            self.answer(200, {"url": f"{self.hub.url}/{name}"})

    def branch(self, content: bytes, name: str, revision: str) -> None:
        found = self.repository(name)
        if found is not None:
            there = revision in found.branches
            found.branches.setdefault(revision, found.branches["main"])
            self.answer(409 if there else 200, {})

    def checked(self, content: bytes) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, content: bytes, name: str, revision: str) -> None:
        if self.repository(name) is None:
            return
        files = [
            {"path": one["path"], "uploadMode": "lfs" if is_large(one["path"]) else "regular", "shouldIgnore": False}
            for one in json.loads(content)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, content: bytes, name: str) -> None:
        wanted = json.loads(content)["objects"]
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}", "header": {}}}}
            if one["oid"] not in self.hub.large
            else one
            for one in wanted
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def put(self, content: bytes, oid: str) -> None:
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.large[oid] = content
        self.answer(200)

    def commit(self, content: bytes, name: str, revision: str) -> None:
        found = self.repository(name)
        if found is None or (before := self.resolved(found, revision)) is None:
            return
        files = dict(found.commits[before])
        for line in content.splitlines():
            key, value = (one := json.loads(line))["key"], one["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        made = found.commit(revision, files)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{made}", "commitOid": made})

    def resolve(self, content: bytes, name: str, revision: str, file: str) -> None:
        found = self.repository(name)
        if found is None or (commit := self.resolved(found, revision)) is None:
            return
        if found.gated:
            self.answer(403, X_Error_Code="GatedRepo")
            return
        if file not in found.commits[commit]:
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        text = found.commits[commit][file]
        oid = hashlib.sha256(text).hexdigest() if is_large(file) else blob(text)
        text = self.hub.served.get(file, text)
        start = 0
        if told := self.headers.get("Range"):
            start = int(told.removeprefix("bytes=").partition("-")[0])
            self.hub.ranges.append((file, told))
        self.send_response(206 if told else 200)
        self.send_header("ETag", f'"{oid}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(text) - start))
        if told:
            self.send_header("Content-Range", f"bytes {start}-{len(text) - 1}/{len(text)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if file in self.hub.cut and start == 0:
            self.wfile.write(text[: self.hub.cut[file]])
            self.close_connection = True
        else:
            self.wfile.write(text[start:])


REPOSITORY = r"(?P<name>[\w.-]+/[\w.-]+)"
ROUTES: tuple[tuple[str, Any], ...] = (
    (rf"GET /api/models/{REPOSITORY}(/revision/(?P<revision>.+))?", Handler.info),
    (r"POST /api/repos/create", Handler.create),
    (rf"POST /api/models/{REPOSITORY}/branch/(?P<revision>.+)", Handler.branch),
    (r"POST /api/validate-yaml", Handler.checked),
    (rf"POST /api/models/{REPOSITORY}/preupload/(?P<revision>.+)", Handler.preupload),
    (rf"POST /{REPOSITORY}\.git/info/lfs/objects/batch", Handler.batch),
    (r"PUT /large/(?P<oid>[0-9a-f]{64})", Handler.put),
    (rf"POST /api/models/{REPOSITORY}/commit/(?P<revision>.+)", Handler.commit),
    (rf"(GET|HEAD) /{REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
)


def blob(text: bytes) -> str:
    """Git's name of a content."""
    return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()


def listed(file: str, text: bytes) -> dict[str, Any]:
    """A file as the Hub lists it."""
    entry: dict[str, Any] = {"rfilename": file, "size": len(text), "blobId": blob(text)}
    if is_large(file):
        entry["lfs"] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest(), "pointerSize": 130}
    return entry


@contextmanager
def serving() -> Generator[Hub]:
    """A Hub for as long as the block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
