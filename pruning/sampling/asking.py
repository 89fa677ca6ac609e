"""Where answers come from: a server that speaks OpenAI's chat completions (vLLM, SGLang, llama.cpp, Ollama), or a model in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pruning.errors import DataError, UsageError

RETRIES = 3
PAUSE = 1.0
"""Seconds before the first retry; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How answers are sampled. Part of what a pass rate means: another temperature is another recording."""

    model: str
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    system: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
            if not low <= getattr(self, name) <= high or (name == "top_p" and self.top_p == 0):
                raise UsageError(f"{name} must be between {low:g} and {high:g}, got {getattr(self, name):g}.", name)
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens must be at least 1, got {self.max_tokens}.", "max_tokens")

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """Return the conversation to answer."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": prompt}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer."""

    text: str
    seed: int
    cut: bool | None
    tokens: int | None


class Answers(Protocol):
    """A model that answers."""

    def answer(self, prompt: str, count: int, seed: int) -> list[Said]:
        """Return `count` answers to a prompt, or fewer where the model gives fewer; at least one."""


class Endpoint:
    """A server. Every sampling parameter is sent, because servers have defaults of their own.

    A server may ignore `n` and give one answer; then each answer is a request with a seed of its own.
    """

    def __init__(self, url: str, asked: Asked, timeout: float = 600.0) -> None:
        import httpx2

        self._url, self._asked = url.rstrip("/"), asked
        key = os.environ.get("WINNOW_API_KEY", "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(timeout=timeout, headers=headers, trust_env=False)
        self.takes_n = True
        """False once the server gave another number of answers than asked for."""

    def answer(self, prompt: str, count: int, seed: int) -> list[Said]:
        """Return up to `count` answers. Raises DataError in one sentence where the server cannot be reached or refuses."""
        asked = count if self.takes_n else 1
        body = {
            "model": self._asked.model,
            "messages": self._asked.messages(prompt),
            "n": asked,
            "seed": seed,
            "temperature": self._asked.temperature,
            "top_p": self._asked.top_p,
            "max_tokens": self._asked.max_tokens,
        }
        found = self._post(body)
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices:
            raise DataError(f"{self._url} answered without choices: {str(found)[:200]}; is it a chat completions server?")
        if len(choices) != asked:
            self.takes_n = False
        used = (found.get("usage") or {}).get("completion_tokens") if len(choices) == 1 else None
        said = []
        for choice in choices[:count]:
            content = (choice.get("message") or {}).get("content")
            reason = choice.get("finish_reason")
            cut = reason == "length" if isinstance(reason, str) else None
            said.append(Said(text=content if isinstance(content, str) else "", seed=seed, cut=cut, tokens=used))
        return said

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        import httpx2

        problem = ""
        for attempt in range(RETRIES + 1):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                response = self._client.post(f"{self._url}/chat/completions", json=body)
            except httpx2.TimeoutException:
                problem = f"gave no answer within {self._client.timeout.read:g} s"
                continue
            except httpx2.HTTPError as error:
                problem = f"cannot be reached ({error or type(error).__name__})"
                continue
            if response.status_code == 429 or response.status_code >= 500:
                problem = f"answered {response.status_code}"
                continue
            if response.status_code >= 400:
                raise DataError(f"{self._url} refuses the request ({response.status_code}): {response.text[:300]}")
            try:
                found = response.json()
            except ValueError:
                raise DataError(f"{self._url} answered something that is not JSON: {response.text[:100]!r}.") from None
            if isinstance(found, dict):
                return found
            raise DataError(f"{self._url} answered {str(found)[:100]!r}, not a JSON object.")
        raise DataError(f"{self._url} {problem}; the answers so far are kept, run the same command again to continue.")


class Embedded:
    """A model loaded into this process with transformers: for small models, and where there is no server."""

    def __init__(self, path: Path, asked: Asked, device: str = "auto") -> None:
        from pruning.training.answering import load

        self._asked = asked
        self._model = load(str(path), device)

    def answer(self, prompt: str, count: int, seed: int) -> list[Said]:
        """Return `count` answers, sampled together from one seed."""
        from pruning.training.answering import sample

        asked = self._asked
        found = sample(self._model, asked.messages(prompt), count, seed, asked.temperature, asked.top_p, asked.max_tokens)
        return [Said(text=text, seed=seed, cut=cut, tokens=tokens) for text, tokens, cut in found]


def seed_of(seed: int, example: int, sample: int) -> int:
    """Return a seed for each sample of each example, the same in every session; 31 bits.

    >>> seed_of(0, 7, 0) != seed_of(0, 7, 1) != seed_of(1, 7, 1)
    True
    """
    mixed = (seed * 0x9E3779B1 + example * 0x85EBCA77 + sample * 0xC2B2AE3D + 0x27D4EB2F) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 12)) & 0x7FFFFFFF


def all_alike(answers: Sequence[Sequence[str]], temperature: float) -> bool:
    """Return True where each of at least five prompts got one text several times over, although the temperature is above 0."""
    several = [own for own in answers if len(own) > 1]
    return temperature > 0 and len(several) >= 5 and all(len(set(own)) == 1 for own in several)
