"""A small real HTTP server that speaks OpenAI's chat completions, with faults on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[dict[str, Any], int], str]
"""(request, index of the choice) -> text of an answer."""


class ChatServer:
    """Requests that came in, and how the server treats them."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.takes_n = True
        self.failures = 0
        """Requests that get 503 before one succeeds."""
        self.after: int | None = None
        """Requests after which every further one gets 503."""
        self.pause = 0.0
        self.body: bytes | None = None
        """Sent in the place of an answer."""
        self.url = ""
        self._lock = threading.Lock()

    def answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of one reply."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        time.sleep(self.pause)
        if self.failures > 0:
            self.failures -= 1
            return 503, b"busy"
        if self.after is not None and number > self.after:
            return 503, b"gone"
        if self.body is not None:
            return 200, self.body
        count = request.get("n", 1) if self.takes_n else 1
        choices = [
            {"index": i, "message": {"role": "assistant", "content": self.reply(request, i)}, "finish_reason": "stop"} for i in range(count)
        ]
        return 200, json.dumps({"choices": choices, "usage": {"completion_tokens": 5}}).encode()


@contextmanager
def chat_server(reply: Reply) -> Iterator[ChatServer]:
    """A server on a free port of this machine."""
    state = ChatServer(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.headers.append(dict(self.headers))
            status, body = state.answer(request) if self.path == "/v1/chat/completions" else (404, b"no such path")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # the client did not wait
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
