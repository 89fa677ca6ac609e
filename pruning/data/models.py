"""Where a model lies: a folder, a hub name or the sample, always as a local folder with safetensors."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from functools import cache
from pathlib import Path
from typing import Any

from pruning.data import access, sample
from pruning.errors import DataError, ModelError
from pruning.files import sha256
from pruning.settings import SAMPLE

logger = logging.getLogger(__name__)

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""A tokenizer is made of at least one of these; without any, transformers would make up an empty one in silence."""

HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


def locate(model: str) -> Path:
    """The local folder of a model given as a folder, a hub name (`name` or `name@revision`) or "sample".

    A hub model is fetched once into the hub's own cache, safetensors only. Raises ModelError when it is not there.
    """
    if model == SAMPLE:
        return sample.sample_model()
    try:
        path = access.resolve(model)
        if path is not None and path.is_dir():
            path = access.kept(path)
    except DataError as error:
        raise ModelError(str(error)) from None
    if path is None:
        path = _snapshot(model)
    elif not path.is_dir():
        raise ModelError(f"{model} is a file; --model takes a folder, a hub name or 'sample'.")
    if not (path / "config.json").exists():
        raise ModelError(f"{model} has no config.json; --model takes a folder saved by transformers, a hub name or 'sample'.")
    _check_whole(path, model)
    logger.info("model %s is in %s", model, path)
    return path


def _check_whole(path: Path, model: str) -> None:
    """Raise ModelError where transformers would read weights from outside the folder."""
    if (path / "adapter_config.json").exists():
        raise ModelError(f"{model} is an adapter on another model; merge it first (peft's merge_and_unload) and save the whole.")
    index = path / "model.safetensors.index.json"
    if index.exists():
        try:
            parts = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ModelError(f"{index} is no index of weights; save the model again (model.save_pretrained).") from None
        missing = sorted(name for name in parts if Path(name).name != name or not (path / name).is_file())
        if missing:
            raise ModelError(f"{index} names {missing[0]!r}, which is no file of that folder.")


def fingerprint(path: Path) -> str:
    """sha256 over the configuration and every safetensors file of a model folder.

    Raises ModelError when there are no safetensors weights: other formats can run code when they are read.
    """
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{path} has no .safetensors weights; save the model with safetensors (model.save_pretrained does).")
    digest = hashlib.sha256()
    for file in (path / "config.json", *weights):
        digest.update(bytes.fromhex(sha256(file)))
    return digest.hexdigest()


def checkpoint_bytes(path: Path) -> int:
    """Bytes that the state of one run of this model takes on disk, at most: fp32 weights and AdamW's two moments of each.

    Only the safetensors headers are read.
    """
    from safetensors import safe_open

    numbers = 0
    for file in path.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            numbers += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return 3 * 4 * numbers


@cache
def load_tokenizer(path: Path) -> Any:
    """The folder's fast tokenizer. Raises ModelError when there is none."""
    from transformers import AutoTokenizer

    if not any((path / name).exists() for name in VOCABULARIES):
        raise ModelError(f"{path} has no tokenizer: none of {', '.join(VOCABULARIES)} is there; save it with tokenizer.save_pretrained.")
    try:
        return AutoTokenizer.from_pretrained(str(path), use_fast=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from None


def _snapshot(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(HUB_FILES)))
    except HFValidationError:
        raise ModelError(f"There is no folder {model}, and it is no hub name; --model takes a folder, a hub name or 'sample'.") from None
    except LocalEntryNotFoundError:
        raise ModelError(f"There is no folder {model}, and the hub cannot be reached to look for a model of that name.") from None
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"There is no folder {model}, and the hub has no such model: {str(error).splitlines()[0]}") from None
