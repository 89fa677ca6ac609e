"""The key "?" opens the help on every page: Streamlit takes only letters and digits as shortcuts, so a script listens for it."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "help-key.js"
TAG = f'<script src="./{PATH}" defer></script></head>'.encode()

SCRIPT = """document.addEventListener("keydown", event => {
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable=true], [role=dialog]");
  if (event.key === "?" && !event.ctrlKey && !event.altKey && !event.metaKey && !typing)
    document.querySelector(".st-key-keys button")?.click();
});
"""


def script(request: Request) -> Response:
    """Serve the script from this server: the content policy allows no inline ones."""
    return Response(SCRIPT, media_type="text/javascript", headers={"cache-control": "no-cache"})


ROUTE = Route(f"/{PATH}", script)


class HelpKey:
    """ASGI middleware that adds the script to every page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; where the answer is HTML, hold it until it is whole. Such an answer must not be compressed further inside."""
        if scope["type"] != "http" or scope["method"] != "GET" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self.app(scope, receive, send)
            return
        plain = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}
        held: list[Message] = []

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] == 200 and headers.get("content-type", "").startswith("text/html"):
                    held.append(message)
                    return
            elif held:
                held.append(message)
                if not message.get("more_body"):
                    await self._sent(held, send)
                return
            await send(message)

        await self.app(plain, receive, adding)

    async def _sent(self, held: list[Message], send: Send) -> None:
        start, body = held[0], b"".join(part.get("body", b"") for part in held[1:]).replace(b"</head>", TAG, 1)
        headers = MutableHeaders(scope=start)
        headers["content-length"] = str(len(body))
        for name in ("etag", "last-modified"):  # they are of the page without the script
            del headers[name]
        await send(start)
        await send({"type": "http.response.body", "body": body})
