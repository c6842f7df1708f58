"""A stand-in of the hub's HTTP interface on this machine: the few routes by which sets are pushed, found and read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import datasets
import huggingface_hub.constants as constants
import pytest
import yaml

TOKEN = "hf_writer"
READER = "hf_reader"  # may read, and not write
DATASET = r"/api/datasets/(?P<id>[^/]+/[^/]+)"


@dataclass
class Repository:
    """Files by path, and whether others may see them."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    commits: int = 0

    @property
    def sha(self) -> str:
        """The id of the state it is in."""
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


class Hub:
    """What is there, and every request that came."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.address = ""


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *arguments: Any) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET

    def _answer(self) -> None:
        place = urlsplit(self.path)
        path, query = unquote(place.path), parse_qs(place.query)
        self.hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, route in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and (route in READING) == (self.command != "POST" or route is paths_info):
                return route(self, body, query, **match.groupdict())
        return self.refuse(404, "EntryNotFound")

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def send(self, content: Any, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str = "") -> None:
        self.send({"error": code or "refused"}, status, **({"X_Error_Code": code} if code else {}))

    def repository(self, name: str) -> Repository | None:
        """Return a repository that the asker may see; else answer that there is none."""
        found = self.hub.repositories.get(name)
        if found is not None and not (found.private and self.token != TOKEN):
            return found
        self.refuse(404 if self.token else 401, "RepoNotFound")
        return None

    def may_write(self) -> bool:
        if self.token != TOKEN:
            self.refuse(403 if self.token else 401)
        return self.token == TOKEN


def create(asked: Handler, body: bytes, query: Any) -> None:
    if asked.may_write():
        said = json.loads(body)
        name = f"{said['organization']}/{said['name']}"
        asked.hub.repositories[name] = Repository(
            private=said.get("visibility") == "private", files={".gitattributes": b""}
        )
        asked.send({"url": f"{asked.hub.address}/datasets/{name}"})


def validate(asked: Handler, body: bytes, query: Any) -> None:
    header = json.loads(body)["content"].split("---\n")[1]
    assert isinstance(yaml.safe_load(header), dict)
    asked.send({"errors": [], "warnings": []})


def preupload(asked: Handler, body: bytes, query: Any, id: str, revision: str) -> None:
    if asked.may_write() and asked.repository(id) is not None:
        files = [file["path"] for file in json.loads(body)["files"]]
        asked.send({"files": [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in files]})


def commit(asked: Handler, body: bytes, query: Any, id: str, revision: str) -> None:
    repository = asked.repository(id) if asked.may_write() else None
    if repository is None:
        return
    for line in body.splitlines():
        said = json.loads(line)
        if said["key"] == "file":
            repository.files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
        elif said["key"] == "deletedFile":
            del repository.files[said["value"]["path"]]
    repository.commits += 1
    url = f"{asked.hub.address}/datasets/{id}/commit/{repository.sha}"
    asked.send({"commitUrl": url, "commitOid": repository.sha})


def info(asked: Handler, body: bytes, query: Any, id: str, revision: str = "main") -> None:
    repository = asked.repository(id)
    if repository is not None:
        siblings = [{"rfilename": file} for file in repository.files]
        asked.send({"id": id, "sha": repository.sha, "private": repository.private, "tags": [], "siblings": siblings})


def tree(asked: Handler, body: bytes, query: Any, id: str, revision: str, path: str = "") -> None:
    repository = asked.repository(id)
    if repository is None:
        return
    inside = [name for name in repository.files if name.startswith(f"{path}/" if path else "")]
    if query.get("recursive", ["false"])[0].lower() != "true":
        start = len(f"{path}/") if path else 0
        inside = list(dict.fromkeys(name[:start] + name[start:].split("/")[0] for name in inside))
    asked.send([_entry(repository, name) for name in inside])


def paths_info(asked: Handler, body: bytes, query: Any, id: str, revision: str) -> None:
    repository = asked.repository(id)
    if repository is None:
        return
    said = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
    entries = [_entry(repository, path) for path in said["paths"]]
    asked.send([entry for entry in entries if entry is not None])


def _entry(repository: Repository, path: str) -> dict[str, Any] | None:
    data = repository.files.get(path)
    if data is not None:
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if any(name.startswith(f"{path}/") for name in repository.files):
        return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest()}
    return None


def resolve(asked: Handler, body: bytes, query: Any, id: str, revision: str, path: str) -> None:
    repository = asked.repository(id)
    if repository is None:
        return
    data = repository.files.get(path)
    if data is None:
        asked.refuse(404, "EntryNotFound")
        return
    start, end = 0, len(data)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range") or "")
    if wanted:
        start, end = int(wanted[1]), min(len(data), int(wanted[2] or len(data)) + 1)
    more = {"Content_Range": f"bytes {start}-{end - 1}/{len(data)}"} if wanted else {}
    etag = f'"{hashlib.sha1(data).hexdigest()}"'
    asked.send(data[start:end], 206 if wanted else 200, ETag=etag, X_Repo_Commit=repository.sha, **more)


ROUTES: list[tuple[str, Any]] = [
    ("/api/repos/create", create),
    ("/api/validate-yaml", validate),
    (rf"{DATASET}/preupload/(?P<revision>[^/]+)", preupload),
    (rf"{DATASET}/commit/(?P<revision>[^/]+)", commit),
    (rf"{DATASET}/paths-info/(?P<revision>[^/]+)", paths_info),
    (DATASET, info),
    (rf"{DATASET}/revision/(?P<revision>[^/]+)", info),
    (
        rf"{DATASET}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?",
        lambda *a, path=None, **k: tree(*a, path=path or "", **k),
    ),
    (r"/datasets/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
]
READING = {paths_info, info, resolve, ROUTES[-2][1]}


@contextmanager
def running() -> Iterator[Hub]:
    """Run the stand-in while this lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def point_to(address: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Have `huggingface_hub` and `datasets` ask an address alone, keep files in a folder, and have no token."""
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}")
    patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    patch.setattr(constants, "HF_STORED_TOKENS_PATH", str(folder / "tokens"))
    patch.setattr(datasets.config, "HF_ENDPOINT", address)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        patch.delenv(name, raising=False)
    connect = socket.socket.connect

    def local(self: socket.socket, to: Any) -> None:
        assert to[0] == "127.0.0.1", f"a connection to {to} was tried"
        connect(self, to)

    patch.setattr(socket.socket, "connect", local)
