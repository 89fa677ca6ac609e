"""Access control and security headers of the dashboard, in front of every page, route and websocket.

- The Host header must be a configured name, and Origin the same host and port: pages of other sites, of other ports of this
  machine, and of names that resolve to it (DNS rebinding) can neither read nor act.
- With WINNOW_PASSWORD set, every request without a sign-in is refused.
- Every response forbids loading from other sites, framing, content sniffing and referrers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import logging
import re
import secrets
import time
from collections.abc import Sequence
from importlib.resources import files
from ipaddress import ip_address, ip_network
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PASSWORD = "WINNOW_PASSWORD"
"""Environment variable with the password for shared use."""

SHORTEST_PASSWORD = 12
COOKIE = "winnow_session"
SIGN_IN = "/sign-in"
SESSION_SECONDS = 12 * 3600
WRONG_SECONDS = 1.0
"""Seconds before the response to a wrong password; other requests do not wait."""

GUESSES = 200
"""Passwords that one address may try in a row; after that one per second, and others are refused unchecked."""

ADDRESSES = 10_000
"""Most addresses with a count of their own; all others share one count."""

LONGEST_FORM = 4096
LOG = logging.getLogger(__name__)


def is_loopback(address: str | None) -> bool:
    """Return True if a server bound to this address is only reachable from this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback(None)
    (True, True, False, False)
    """
    if not address:
        return False
    if address == "localhost" or address.startswith("unix://"):
        return True
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal_to_start(address: str | None, password: str | None) -> str | None:
    """Return the reason why a server must not start with these settings, or None."""
    if password is not None and len(password) < SHORTEST_PASSWORD:
        return f"{PASSWORD} has {len(password)} characters; use at least {SHORTEST_PASSWORD}."
    if password is None and not is_loopback(address):
        return f"The dashboard would listen on {address or 'every interface'} without a password; set {PASSWORD}, or bind it to 127.0.0.1."
    return None


def content_policy() -> str:
    """Return the Content-Security-Policy: own resources only, and only the inline scripts that Streamlit ships."""
    page = files("streamlit").joinpath("static/index.html").read_text(encoding="utf-8")
    inline = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in re.findall(r"<script>(.*?)</script>", page, re.S)
    ]
    scripts = " ".join(["'self'", "'wasm-unsafe-eval'", *(f"'sha256-{digest}'" for digest in inline)])
    rules = {
        "default-src": "'self'",
        "script-src": scripts,
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "media-src": "'self' data: blob:",
        "object-src": "'none'",
        "frame-src": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'self'",
        "base-uri": "'self'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def host_allowed(host: str | None, names: Sequence[str]) -> bool:
    """Return True if a Host header names one of these, with any port.

    >>> host_allowed("localhost:8501", ["localhost"]), host_allowed("evil.example:8501", ["localhost"]), host_allowed(None, ["localhost"])
    (True, False, False)
    """
    try:
        parts = urlsplit(f"//{host}")
        plain = bool(host) and not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        return (
            plain
            and parts.hostname is not None
            and (parts.port or True)
            and parts.hostname.rstrip(".") in {n.strip("[]").lower() for n in names}
        )
    except ValueError:
        return False


def origin_allowed(origin: str | None, host: str | None) -> bool:
    """Return True if an Origin header matches the Host header; requests other than websockets need none."""
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == (host or "").lower()


class Guard:
    """ASGI middleware in front of the dashboard."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str], password: str | None = None) -> None:
        self.app = app
        self.hosts = hosts
        self.gate = Gate(password) if password else None
        self.headers = {
            "content-security-policy": content_policy(),
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on and add the headers."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.accept"):
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
            await send(message)

        answer = self._refusal(scope)
        if answer is None and self.gate is not None:
            answer = await self.gate.answer(scope, receive)
        try:
            if answer is None:
                await self.app(scope, receive, guarded)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await answer(scope, receive, guarded)
        except Exception:
            LOG.exception("A request failed")
            if started or scope["type"] == "websocket":
                raise
            await PlainTextResponse("Something went wrong; the server's log says what.", 500)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host"), headers.get("origin")
        if not host_allowed(host, self.hosts):
            return PlainTextResponse("This server does not answer to that host name.", 421)
        if not origin_allowed(origin, host) or (origin is None and scope["type"] == "websocket"):
            return PlainTextResponse("Requests from other sites are refused.", 403)
        return None


class Gate:
    """One shared password; a sign-in gets a random token in a cookie that is valid for some hours."""

    def __init__(self, password: str) -> None:
        self._password = hashlib.sha256(password.encode()).digest()
        self._sessions: dict[bytes, float] = {}
        self._guesses = Guesses()

    async def answer(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the response to a sign-in or to a request without one; None lets the request through."""
        if self._signed_in(scope):
            return None
        if scope["type"] == "websocket":
            return Response(status_code=401)
        request = Request(scope, receive)
        if scope["path"] == SIGN_IN and scope["method"] == "POST":
            return await self._sign_in(request)
        return HTMLResponse(_form(""), 401, {"cache-control": "no-store"})

    def _signed_in(self, scope: Scope) -> bool:
        cookies = Headers(scope=scope).get("cookie", "")
        tokens = [part.partition("=")[2] for part in cookies.split("; ") if part.startswith(f"{COOKIE}=")]
        return any(self._sessions.get(_digest(token), 0.0) > time.monotonic() for token in tokens)

    async def _sign_in(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_FORM:
                return PlainTextResponse("The password is too long.", 413)
        said = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        address = request.client.host if request.client else ""
        if not self._guesses.take(address):
            headers = {"cache-control": "no-store", "retry-after": "1"}
            return HTMLResponse(_form("Too many wrong passwords from your address; wait a moment and try again."), 429, headers)
        if not hmac.compare_digest(_digest(said), self._password):
            await asyncio.sleep(WRONG_SECONDS)
            return HTMLResponse(_form("Wrong password."), 401, {"cache-control": "no-store"})
        self._guesses.give_back(address)
        token = secrets.token_urlsafe(32)
        now = time.monotonic()
        self._sessions = {known: end for known, end in self._sessions.items() if end > now} | {_digest(token): now + SESSION_SECONDS}
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
        return answer


class Guesses:
    """Count the passwords each address may still try: GUESSES at first, and one more every second.

    >>> guesses = Guesses()
    >>> sum(guesses.take("192.0.2.1", now=5.0) for _ in range(300)), guesses.take("192.0.2.2", now=5.0)
    (200, True)
    >>> sum(guesses.take("192.0.2.1", now=15.0) for _ in range(300))
    10
    """

    def __init__(self) -> None:
        self._used: dict[str, tuple[float, float]] = {}

    def take(self, address: str, now: float | None = None) -> bool:
        """Use one guess; return False if none is left."""
        now = time.monotonic() if now is None else now
        name = _network(address)
        if name not in self._used and len(self._used) >= ADDRESSES:
            self._used = {known: entry for known, entry in self._used.items() if now - entry[1] < entry[0]}
            name = name if len(self._used) < ADDRESSES else ""
        used, since = self._used.get(name, (0.0, now))
        used = max(0.0, used - (now - since))
        if used + 1 > GUESSES:
            return False
        self._used[name] = used + 1, now
        return True

    def give_back(self, address: str) -> None:
        """Return a guess after a correct password."""
        name = _network(address)
        if name in self._used:
            used, since = self._used[name]
            self._used[name] = max(0.0, used - 1), since


def _network(address: str) -> str:
    """Return the key under which guesses are counted: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ip_network(f"{found}/64", strict=False))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _form(problem: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Winnow</title>
<style>body{{font:16px sans-serif;max-width:20rem;margin:20vh auto;padding:0 1rem}}input,button{{font:inherit;padding:.5rem;width:100%;
box-sizing:border-box;margin:.3rem 0}}</style></head>
<body><h1>Winnow</h1><form method="post" action="{SIGN_IN}"><label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" autofocus required>
<button>Sign in</button></form><p role="alert">{html.escape(problem)}</p></body></html>"""
