"""Checks of a model folder before any training: files, tokenizer, head, size, token ids and lengths. Reads no weights, needs no torch.

Each check raises ModelError with one sentence that names the file and the fix.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pruning.errors import ModelError
from pruning.records import Encoded
from pruning.settings import TrainSettings

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Vocabulary files. A tokenizer has at least one; without any, transformers silently creates an empty tokenizer."""

LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that the safetensors format allows."""

TRAINED, FROZEN, FOUR_BITS = 4, 2, 0.5
"""Bytes that a weight takes at least where it is trained, frozen, or frozen in four bits."""

MOST_LAYERS = 10_000
"""More layers than any model has; a configuration with more is refused."""

POINTER = b"version https://git-lfs"
"""Start of the file that stands for a large file where git-lfs did not fetch it."""

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "dim", "d_model", "emb_dim")
POSITIONS = ("max_position_embeddings", "n_positions")
"""Names that configurations give to one quantity, by architecture."""

EMBEDDINGS = re.compile(
    r"(^|\.)(word_embeddings|word_embedding|embed_tokens|tok_embeddings|wte|shared|tokens_embed|embed_in|embeddings|w)\.weight$"
)
POSITION_TABLE = re.compile(r"(^|\.)(position_embeddings|embed_positions|wpe|positions_embed|position_embedding)\.weight$")
HEADS = ("classifier.weight", "classifier.out_proj.weight", "score.weight", "logits_proj.weight", "classification_head.out_proj.weight")
"""Tensors whose rows are the outputs of a classification head."""

AFTER_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "data2vec-text", "ibert", "longformer", "mpnet"),
    *("xmod", "esm", "layoutlmv3", "lilt", "luke", "markuplm"),
)
"""Architectures whose first position is the padding id plus one."""

FROM_TWO = ("opt", "bart", "mbart", "nystromformer")
"""Architectures whose first position is 2."""

COMPUTED = ("modernbert", "llama", "mistral", "qwen2", "qwen3", "gptj", "codegen", "ctrl")
"""Architectures that store no table of positions and take as many as the configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Limits and size of a model, from its configuration and the headers of its weights; None where neither gives it."""

    embedding_rows: int | None
    """Token ids that have an embedding."""
    longest: int | None
    """Tokens of the longest sequence."""
    outputs: int | None
    """Classes of the stored classification head."""
    parameters: int
    """Numbers in the weights."""
    hidden: int | None = None
    """Numbers in a token's hidden state."""


def check_files(path: Path, name: str) -> None:
    """Check that the folder holds a whole model that transformers can load: configuration, weights and tokenizer."""
    present = {file.name for file in path.iterdir()}
    if "adapter_config.json" in present:
        base = _json_or_none(path / "adapter_config.json").get("base_model_name_or_path", "another model")
        raise ModelError(
            f"{name} is an adapter for {base}, not a whole model; merge the two (peft's merge_and_unload), then save the model and its "
            "tokenizer into one folder."
        )
    for file in sorted(present):
        if (path / file).suffix in (".json", ".safetensors", ".txt", ".model"):
            _check_pointer(path / file, name)
    weights = sorted(file for file in present if file.endswith(".safetensors"))
    if "config.json" not in present or not weights:
        raise ModelError(_no_model(present, name))
    _check_index(path, name)
    shape(path, name)
    if not any(vocabulary in present for vocabulary in VOCABULARIES):
        raise ModelError(
            f"{name} has no tokenizer: it needs one of {', '.join(VOCABULARIES)}; save it there with tokenizer.save_pretrained."
        )


def check_data(path: Path, name: str, *parts: Encoded, own: bool = True) -> None:
    """Check encoded examples against the model: token ids have embeddings, lengths have positions, classes fit the stored head.

    `own` is False for a model that only measures what another one scored.
    """
    model = shape(path, name)
    for data in parts:
        highest = int(data.tokens.max(initial=0))
        if model.embedding_rows is not None and highest >= model.embedding_rows:
            raise ModelError(
                f"Token id {highest:,} occurs in the data, but the embeddings of {name} have {model.embedding_rows:,} rows; after adding "
                "tokens call model.resize_token_embeddings(len(tokenizer)) and save both again."
            )
        longest = int(np.diff(data.offsets).max(initial=0))
        if model.longest is not None and longest > model.longest:
            raise ModelError(
                f"The longest sequence has {longest:,} tokens, but {name} takes at most {model.longest:,}; "
                + (f"use --max-length {model.longest} or less." if own else "measure with a model that takes longer texts.")
            )
        outputs = {"classification": data.classes, "multiple_choice": 1}.get(data.kind)
        if outputs is not None and model.outputs is not None and model.outputs != outputs:
            raise ModelError(
                f"{name} has a head for {counted_outputs(model.outputs)}, but the data needs {counted_outputs(outputs)}; save the model "
                "without its head: AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), and its tokenizer beside it."
            )


def counted_outputs(number: int) -> str:
    """Return a head's size in words."""
    return "1 output" if number == 1 else f"{number:,} classes"


def shape(path: Path, name: str) -> Shape:
    """Return the model's shape. Raises ModelError for files that cannot be read, or a model larger than this machine's memory."""
    files = (path / "config.json", *sorted(path.glob("*.safetensors")))
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _shape(path, name, stamps)


@lru_cache(maxsize=32)
def _shape(path: Path, name: str, stamps: tuple[tuple[str, int, int], ...]) -> Shape:
    """`stamps` stand for the files' contents."""
    config = read_config(path / "config.json", name)
    tensors: dict[str, tuple[int, ...]] = {}
    for file in sorted(path.glob("*.safetensors")):
        tensors.update(read_header(file, name))
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    numbers = {**config, **(text or {})}
    parameters = sum(map(math.prod, tensors.values()))
    _check_size(numbers, tensors, parameters, name)
    return Shape(
        embedding_rows=_rows(EMBEDDINGS, tensors) or _number(numbers, ("vocab_size",)),
        longest=_longest(numbers, tensors),
        outputs=next((tensors[head][0] for head in HEADS if len(tensors.get(head, ())) == 2), None),
        parameters=parameters,
        hidden=_number(numbers, HIDDEN),
    )


def read_config(file: Path, name: str) -> dict[str, Any]:
    """Return config.json. Raises ModelError where it is not an object that names a model_type."""
    _check_pointer(file, name)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"config.json of {name} is not valid JSON ({error}); save the model again (model.save_pretrained).") from None
    if not isinstance(config, dict):
        raise ModelError(f"config.json of {name} holds a {type(config).__name__} instead of an object; save the model again.")
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"config.json of {name} has no model_type, so its architecture is unknown; save the model with transformers.")
    for key in (*LAYERS, *HIDDEN, *POSITIONS, "vocab_size", "intermediate_size"):
        value = config.get(key, 1)
        if value is not None and type(value) is not int:
            raise ModelError(
                f"config.json of {name} says {key} = {json.dumps(value)[:40]}, which must be a whole number; save the model again."
            )
    return config


def read_header(file: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file. Raises ModelError where the header does not describe the file."""
    _check_pointer(file, name)
    again = "download or save it again"
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > size - 8 or length > LONGEST_HEADER:
            raise ModelError(f"{file.name} of {name} is cut off or damaged: {size:,} bytes, with a header of {length:,} bytes; {again}.")
        header = opened.read(length)
    try:
        entries = {key: value for key, value in json.loads(header).items() if key != "__metadata__"}
        tensors = {str(key): tuple(int(side) for side in value["shape"]) for key, value in entries.items()}
        end = max((int(value["data_offsets"][1]) for value in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ModelError(f"{file.name} of {name} has a header that is not safetensors; {again}.") from None
    if 8 + length + end != size:
        raise ModelError(f"{file.name} of {name} is cut off or damaged: {size:,} bytes instead of {8 + length + end:,}; {again}.")
    return tensors


def _check_pointer(file: Path, name: str) -> None:
    with file.open("rb") as opened:
        if opened.read(len(POINTER)) == POINTER:
            raise ModelError(f"{file.name} of {name} is a git-lfs pointer, not the file itself; run `git lfs pull` in that folder.")


def _no_model(present: set[str], name: str) -> str:
    """Return the sentence for a folder without config.json or safetensors weights."""
    gguf = next((file for file in sorted(present) if file.endswith(".gguf")), None)
    pickled = next((file for file in sorted(present) if file.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack"))), None)
    if gguf:
        return f"{name} holds {gguf}, a GGUF file for inference that cannot be fine-tuned; use the model's original safetensors files."
    if pickled:
        return (
            f"{name} has its weights in {pickled}, a format that can run code when it is read; save the model as safetensors "
            "(load it with transformers where you trust it, then model.save_pretrained)."
        )
    missing = "no config.json" if "config.json" not in present else "no .safetensors weights"
    return f"{name} has {missing}; --model takes a folder saved by transformers (model.save_pretrained), a hub name or 'sample'."


def _check_index(path: Path, name: str) -> None:
    """Check that every weight file the index names is in the folder: transformers would read others from elsewhere."""
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return
    try:
        parts = {str(part) for part in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ModelError(f"{index.name} of {name} is not an index of weights; save the model again (model.save_pretrained).") from None
    missing = sorted(part for part in parts if Path(part).name != part or not (path / part).is_file())
    if missing:
        raise ModelError(f"{index.name} of {name} names {missing[0]!r}, which is not a file of that folder; download or save it again.")


def _check_size(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], parameters: int, name: str) -> None:
    """Check the layers against the weights, and the parameters against the memory, before anything is allocated."""
    layers, hidden = _number(config, LAYERS), _number(config, HIDDEN) or 0
    stored = {int(found[1]) for tensor in tensors if (found := re.search(r"\.(\d+)\.", f".{tensor}"))}
    shared = "num_hidden_groups" in config  # ALBERT uses one layer several times
    if layers is not None and (layers > MOST_LAYERS or (stored and layers > max(stored) + 1 and not shared)):
        held = f"the weights hold {max(stored) + 1:,}" if stored else f"at most {MOST_LAYERS:,} are supported"
        raise ModelError(f"config.json of {name} says {layers:,} layers, but {held}; save the model and its configuration together again.")
    inner = _number(config, ("intermediate_size",)) or 4 * hidden
    positions = _number(config, POSITIONS) if _rows(POSITION_TABLE, tensors) else 0
    embeddings = hidden * ((_number(config, ("vocab_size",)) or 0) + (positions or 0))
    described = embeddings + (1 if shared else layers or 0) * 2 * hidden * (hidden + inner)
    _check_fits(max(parameters, described), FOUR_BITS, name, "use a smaller model, or check the sizes in its config.json")


def check_memory(path: Path, name: str, recipe: TrainSettings) -> None:
    """Raise ModelError where this machine's memory cannot hold the weights as this recipe keeps them, with what would need less."""
    parameters = shape(path, name).parameters
    if recipe.load_in_4bit:
        _check_fits(parameters, FOUR_BITS, name, "use a smaller model")
    elif recipe.lora_rank:
        _check_fits(parameters, FROZEN, name, "use a smaller model, or --load-in-4bit for prompts and answers, which needs a quarter")
    else:
        _check_fits(parameters, TRAINED, name, "use a smaller model, or adapters (--lora 16), which need half")


def _check_fits(parameters: int, bytes_each: float, name: str, instead: str) -> None:
    needed, memory = parameters * bytes_each, _memory()
    if needed > memory:
        kept = f"{parameters / 1e9:,.1f} billion weights of {bytes_each:g} bytes"
        raise ModelError(f"{name} has {kept}, but this machine has {memory / 1e9:,.0f} GB of memory; {instead}.")


def _memory() -> int:
    """Return the bytes of this machine's main memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _longest(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the tokens of the longest sequence, by the stored table of positions, else by the configuration."""
    kind, rows = config["model_type"], _rows(POSITION_TABLE, tensors)
    if rows is None:
        return _number(config, POSITIONS) if kind in COMPUTED else None
    if kind in AFTER_PADDING:
        padding = 1 if kind == "mpnet" else config.get("pad_token_id", 1)  # MPNet's code fixes it
        return rows - (padding if type(padding) is int else 1) - 1
    return rows - 2 if kind in FROM_TWO else rows


def _rows(names: re.Pattern[str], tensors: Mapping[str, tuple[int, ...]]) -> int | None:
    """Return the rows of the first matrix of one of these names; encoder before decoder."""
    found = [tensors[tensor][0] for tensor in sorted(tensors, key=lambda tensor: ("decoder" in tensor, tensor)) if names.search(tensor)]
    return next((rows for rows in found if rows), None)


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if type(config.get(name)) is int), None)


def _json_or_none(file: Path) -> dict[str, Any]:
    """Return a JSON object, empty where the file holds none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
