"""Unpack a quantised GGUF model into a folder of config, safetensors weights and tokenizer, which need no other package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from pruning.errors import ModelError


def check_reader() -> None:
    """Raise ModelError where the package that reads GGUF files is missing."""
    if importlib.util.find_spec("gguf") is None:
        raise ModelError("The model is a GGUF file, which needs the package gguf; install it (pip install 'winnow-pruning[gguf]').")


def unpack(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file to `folder`, its weights in fp32. Raises ModelError where gguf is missing.

    transformers does not save a model that it read from GGUF, so its weights are written here; a head tied to the embeddings is left
    out, as transformers does.
    """
    check_reader()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
