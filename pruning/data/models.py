"""Models: found as a local folder, checked, identified by their files, and their tokenizer loaded. No torch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pruning.data import access, model_checks, sample
from pruning.data.model_checks import VOCABULARIES
from pruning.data.tasks.generation.render import AUTO, with_template
from pruning.errors import DataError, ModelError
from pruning.files import sha256
from pruning.settings import SAMPLE

logger = logging.getLogger(__name__)

TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Files that decide how texts become token ids."""

HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


def locate(model: str) -> Path:
    """Return the local folder of a model given as a folder, a hub name (`name` or `name@revision`) or "sample".

    A hub model is fetched once into the hub's own cache, safetensors only. Raises ModelError when there is none, or its files do not
    make a whole model (see `model_checks.check_files`).
    """
    if model == SAMPLE:
        return sample.sample_model()
    try:
        path = access.resolve(model)
        if path is not None and path.is_dir():
            path = access.kept(path, model)
    except DataError as error:
        raise ModelError(str(error)) from None
    if path is None:
        path = _snapshot(model)
    elif not path.is_dir():
        raise ModelError(f"{model} is a file; --model takes a folder, a hub name or 'sample'.")
    model_checks.check_files(path, model)
    logger.info("model %s is in %s", model, access.as_typed(path))
    return path


def parts(path: Path) -> dict[str, str]:
    """Return sha256 of what a model folder consists of: "weights", "config" and "tokenizer"."""
    weights = sorted(file.name for file in path.glob("*.safetensors"))
    files = {"weights": weights, "config": ["config.json"], "tokenizer": [name for name in TOKENIZER_FILES if (path / name).is_file()]}
    return {part: _digest(path, names) for part, names in files.items()}


def fingerprint(path: Path) -> str:
    """Return sha256 over the configuration and every safetensors file of a model folder."""
    weights = sorted(file.name for file in path.glob("*.safetensors"))
    digest = hashlib.sha256()
    for name in ("config.json", *weights):
        digest.update(bytes.fromhex(_sha256(path / name)))
    return digest.hexdigest()


def identity(path: Path) -> dict[str, Any]:
    """Return what an experiment records of its model: the fingerprint, each part's own, and its number of parameters."""
    return {"fingerprint": fingerprint(path), "parts": parts(path), "parameters": model_checks.shape(path, path.name).parameters}


def changed_parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which parts differ between two identities; one without parts is compared by its fingerprint alone.

    >>> changed_parts({"parts": {"weights": "a", "tokenizer": "b"}}, {"parts": {"weights": "a", "tokenizer": "c"}})
    ['tokenizer']
    >>> changed_parts({"fingerprint": "a"}, {"fingerprint": "b", "parts": {"weights": "a"}})
    ['weights or config']
    """
    old, new = before.get("parts") or {}, now.get("parts") or {}
    if old and new:
        return [part for part in old if old[part] != new.get(part)]
    return ["weights or config"] if before.get("fingerprint") != now.get("fingerprint") else []


def check_unchanged(path: Path, name: str, recorded: Mapping[str, Any], experiment: Path) -> None:
    """Raise ModelError where the model is not the one an experiment recorded (`info["model"]`), naming what changed."""
    if changed := changed_parts(recorded, identity(path)):
        raise ModelError(
            f"The {' and '.join(changed)} of {name} changed since {experiment} was recorded; "
            "restore the original files, or score with the changed model into a new folder."
        )


def _digest(path: Path, names: Iterable[str]) -> str:
    """Return sha256 over the names and contents of files in a folder."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name} {_sha256(path / name)}\n".encode())
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    found = file.stat()
    return _sha256_of(str(file), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(file: str, size: int, stamp: int) -> str:
    """Size and time of change stand for the contents, so that large weights are read once per process."""
    return sha256(file)


def checkpoint_bytes(path: Path) -> int:
    """Return the bytes that the state of one run takes on disk at most: float32 weights and two AdamW moments for each."""
    return 3 * 4 * model_checks.shape(path, path.name).parameters


def load_tokenizer(path: Path, template: str = AUTO) -> Any:
    """Return the folder's fast tokenizer, which renders conversations as `template` says (see `generation.render.with_template`).

    Raises ModelError when there is none, or it cannot be loaded, and UsageError for a template that is not there.
    """
    present = [path / name for name in TOKENIZER_FILES if (path / name).is_file()]
    if not any(file.name in VOCABULARIES for file in present):
        raise ModelError(
            f"{access.as_typed(path)} has no tokenizer: it needs one of {', '.join(VOCABULARIES)}; save it with tokenizer.save_pretrained."
        )
    found = _load_tokenizer(path, tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in present))
    return with_template(found, template)


@lru_cache(maxsize=8)
def _load_tokenizer(path: Path, stamps: tuple[tuple[str, int, int], ...]) -> Any:
    """`stamps` stand for the files' contents."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(path), use_fast=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises nothing narrower
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = access.as_typed(path)
        raise ModelError(
            f"{where} has no tokenizer that can be loaded ({access.as_typed(reason)}); save it with save_pretrained."
        ) from None


def _snapshot(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(HUB_FILES)))
    except HFValidationError:
        raise ModelError(f"There is no folder {model}, and it is not a hub name; --model takes a folder, a hub name or 'sample'.") from None
    except LocalEntryNotFoundError:
        raise ModelError(f"There is no folder {model}, and the hub cannot be reached to look for a model of that name.") from None
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"There is no folder {model}, and the hub has no such model: {str(error).splitlines()[0]}") from None
