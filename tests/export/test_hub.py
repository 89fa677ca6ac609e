"""Pushing to the hub, against a stand-in that speaks the hub's own protocol on this machine."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pruning.errors import ExportError, UsageError
from pruning.experiment import Experiment
from pruning.export import hub, writer

TOKEN = "hf_right"


class StandIn(BaseHTTPRequestHandler):
    """Repositories in memory: create, ask how to upload, commit."""

    repositories: dict[str, dict[str, bytes]]
    private: dict[str, bool]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if parts[:3] == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            made = name not in self.repositories
            self.repositories.setdefault(name, {})
            self.private.setdefault(name, asked.get("visibility") == "private")
            return self.answer(200 if made else 409, {"url": f"https://huggingface.co/datasets/{name}", "name": name})
        name, verb = f"{parts[2]}/{parts[3]}", parts[4]
        if verb == "preupload":
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            return self.answer(200, {"files": files})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self.answer(
            200, {"success": True, "commitOid": "a" * 40, "commitUrl": f"https://huggingface.co/datasets/{name}/commit/{'a' * 40}"}
        )

    def answer(self, code: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if code == 401:
            self.send_header("x-error-message", "Invalid credentials in Authorization header")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def stand_in() -> Iterator[tuple[str, type[StandIn]]]:
    """Its address, and what it holds."""
    StandIn.repositories, StandIn.private = {}, {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", StandIn
    server.shutdown()
    server.server_close()


@pytest.fixture
def built(scored: Experiment, tmp_path: Path) -> Path:
    writer.build(scored, scored.subset("drop-hard"), tmp_path / "out" / "data.jsonl")
    return tmp_path / "out" / "data.jsonl"


def test_the_data_and_its_manifest_arrive_byte_for_byte(built: Path, stand_in: tuple[str, type[StandIn]]) -> None:
    address, held = stand_in
    commit = hub.push(built, "me/smaller", endpoint=address, token=TOKEN)
    assert commit.endswith("a" * 40)
    assert held.private == {"me/smaller": True}
    files = held.repositories["me/smaller"]
    assert files["data.jsonl"] == built.read_bytes()
    assert files["manifest.json"] == writer.manifest_path(built).read_bytes()
    hub.push(built, "me/smaller", endpoint=address, token=TOKEN)


def test_a_folder_arrives_whole(scored: Experiment, tmp_path: Path, stand_in: tuple[str, type[StandIn]]) -> None:
    address, held = stand_in
    output = tmp_path / "out" / "data"
    writer.build(scored, scored.subset("drop-hard"), output, "hf")
    hub.push(output, "me/folder", endpoint=address, token=TOKEN)
    assert {"manifest.json", "data/dataset_info.json", "data/state.json"} < set(held.repositories["me/folder"])


def test_what_was_changed_since_is_not_pushed(built: Path, stand_in: tuple[str, type[StandIn]]) -> None:
    address, held = stand_in
    built.write_bytes(built.read_bytes() + b"{}\n")
    with pytest.raises(ExportError, match="differs from its manifest"):
        hub.push(built, "me/smaller", endpoint=address, token=TOKEN)
    assert not held.repositories


def test_a_refusal_of_the_hub_is_one_sentence(built: Path, stand_in: tuple[str, type[StandIn]]) -> None:
    with pytest.raises(ExportError, match=r"refused me/smaller.*Invalid credentials"):
        hub.push(built, "me/smaller", endpoint=stand_in[0], token="hf_wrong")
    with pytest.raises(UsageError, match="is not a repository name"):
        hub.push(built, "me/a/b", endpoint=stand_in[0], token=TOKEN)


def test_an_unreachable_hub_is_one_sentence(built: Path) -> None:
    with pytest.raises(ExportError, match="cannot be reached"):
        hub.push(built, "me/smaller", endpoint="http://127.0.0.1:1", token=TOKEN)
