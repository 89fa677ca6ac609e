"""Download links that cannot be guessed and expire: a path with a ticket that is valid for an hour on the server that issued it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

LASTS = 3600
"""Seconds."""

_KEY = secrets.token_bytes(32)


def ticket(path: str) -> str:
    """Return a ticket for this path, valid from now.

    >>> valid("a/b", ticket("a/b")), valid("a/c", ticket("a/b")), valid("a/b", "")
    (True, False, False)
    """
    end = int(time.time()) + LASTS
    return f"{end}.{_seal(path, end)}"


def valid(path: str, given: str) -> bool:
    """Return True if the ticket was issued for this path and has not expired."""
    end, _, seal = given.partition(".")
    if not (end.isascii() and end.isdigit() and len(end) < 20):
        return False
    return hmac.compare_digest(_seal(path, int(end)).encode(), seal.encode("utf-8", "replace")) and time.time() < int(end)


def _seal(path: str, end: int) -> str:
    return hmac.new(_KEY, f"{end}/{path}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
