"""Addresses of files that nobody can guess, and that end: a path with a ticket, good for an hour in the server that gave it out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

LASTS = 3600
"""Seconds."""

_KEY = secrets.token_bytes(32)


def ticket(path: str) -> str:
    """A ticket for this path, from now on.

    >>> valid("a/b", ticket("a/b")), valid("a/c", ticket("a/b")), valid("a/b", "")
    (True, False, False)
    """
    end = int(time.time()) + LASTS
    return f"{end}.{_seal(path, end)}"


def valid(path: str, given: str) -> bool:
    """Whether a ticket was given out for this path, and has not ended."""
    end, _, seal = given.partition(".")
    if not (end.isascii() and end.isdigit() and len(end) < 20):
        return False
    return hmac.compare_digest(_seal(path, int(end)).encode(), seal.encode("utf-8", "replace")) and time.time() < int(end)


def _seal(path: str, end: int) -> str:
    return hmac.new(_KEY, f"{end}/{path}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
