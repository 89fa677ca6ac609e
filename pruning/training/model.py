"""Models: loading with clear errors, one forward pass per batch, and the reduced vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from pruning.data.access import as_typed
from pruning.errors import ModelError
from pruning.records import Encoded, Kind
from pruning.training import decoder, encoder
from pruning.training.batches import Batch
from pruning.training.dropout import Noise, draw_from
from pruning.training.flat import Flats
from pruning.training.layers import Stack
from pruning.training.packing import ATTENTION, FAMILIES, packed_hidden, packed_inputs, trim_last_layer

ADAPTED = r".*\.(query|value|q_proj|v_proj|query_proj|value_proj|Wqkv)"
"""Names of the layers that LoRA adapts, in all supported architectures."""


class Network(nn.Module):
    """A model with its head: maps a batch to logits, in the order of its units' sequences."""

    def __init__(self, model: PreTrainedModel, kind: Kind) -> None:
        super().__init__()
        self.model = model
        self.kind = kind
        self.family = FAMILIES.get(model.config.model_type)
        self.padding = model.config.pad_token_id or 0
        self.span_head = _span_head(model) if kind == "span" else None
        self.noise: Noise | None = None
        self.stack: Stack | None = None
        self.trimmed = self.family is not None and self.family.trim and kind != "span"
        if self.trimmed:
            trim_last_layer(model.base_model)

    def draw_dropout_from(self, noise: Noise) -> None:
        """Draw all dropout from `noise` instead of PyTorch's generator, which is faster on the CPU."""
        self.noise = noise
        draw_from(noise, self.model)

    def write_out_layers(self, flats: Flats) -> None:
        """Compute the layers by a `Stack` where there is one for the architecture, which is faster on the CPU."""
        body = self.model.base_model
        if self.family is not None and self.family.trim and encoder.can_write_out(self.model):
            self.stack = encoder.make_stack(body, flats, trimmed=self.trimmed)
        elif self.family is not None and self.family.last_token and decoder.can_write_out(self.model):
            self.stack = decoder.make_stack(body, flats)

    @property
    def packed(self) -> bool:
        """True if batches pass through the model without padding."""
        return self.family is not None

    @property
    def renumbers(self) -> bool:
        """True if token ids may be renumbered, because the architecture's forward pass does not depend on their values."""
        return self.packed or self.model.config.model_type in ("deberta", "deberta-v2")

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return float32 logits: [S, classes]; [S] one per option; [S, L, 2] start and end (-inf after a sequence's end)."""
        logits = (self._packed(batch) if self.packed else self._padded(batch)).float()
        if self.kind == "span":
            return _by_sequence(logits, batch)[batch.rank]
        return logits[batch.rank] if self.kind == "classification" else logits[batch.rank, 0]

    def _packed(self, batch: Batch) -> torch.Tensor:
        """[S, classes], or [T, 2] for spans, shortest sequence first."""
        assert self.family is not None
        hidden = self._states(batch)
        if self.span_head is not None:
            return self.span_head(hidden[: batch.tokens])
        chosen = hidden if self.trimmed else hidden[batch.last if self.family.last_token else batch.first]
        return self.family.classify(self.model, chosen)

    def _states(self, batch: Batch) -> torch.Tensor:
        """[T, H] last hidden state of every token of a packed batch, or [S, H] those that a trimmed last layer keeps."""
        assert self.family is not None
        body: Any = self.model.base_model
        if self.stack is None:
            trim = {"first": batch.first} if self.trimmed else {}
            return packed_hidden(body, batch, noise=self.noise, **trim)
        noise = self.noise if self.training else None
        if not self.family.last_token:
            return self.stack(body.embeddings(**packed_inputs(body, batch))[0], batch, noise)
        return body.norm(self.stack(body.embed_tokens(batch.ids), batch, noise))

    def hidden(self, batch: Batch) -> torch.Tensor:
        """[T, H] last hidden state of every token, shortest sequence first; of a network of spans, which trims no layer.

        Raises `ModelError` for a model whose output has none.
        """
        if self.packed:
            return self._states(batch)[: batch.tokens]
        inputs, seen = self._padded_inputs(batch)
        states = getattr(self.model.base_model(**inputs), "last_hidden_state", None)
        if states is None or states.shape[:2] != seen.shape:
            raise ModelError(f"A {self.model.config.model_type} model has no hidden state for each token of a text.")
        return states[seen]

    def _padded(self, batch: Batch) -> torch.Tensor:
        """Return the same from the model's own forward pass."""
        inputs, seen = self._padded_inputs(batch)
        output = self.model(**inputs)
        return output.logits if self.span_head is None else self.span_head(output.last_hidden_state[seen])

    def _padded_inputs(self, batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs of a model's own forward pass, and [S, L] True at real tokens."""
        [group] = batch.groups
        shape = (group.count, group.length)
        seen = torch.ones(shape, dtype=torch.bool, device=batch.ids.device) if group.keys is None else group.keys[:, 0, 0]
        inputs = {"input_ids": _spread(batch.ids, seen, self.padding), "attention_mask": seen.long()}
        if batch.types is not None and getattr(self.model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = _spread(batch.types, seen, 0)
        return inputs, seen


def load_network(path: str, data: Encoded, used: NDArray[np.int64]) -> Network:
    """The model of a folder or hub name with a fresh head for `data`'s kind, in fp32; head weights come from PyTorch's generator.

    For a choice among options, a classification head gives one logit per option; for a span, a linear layer is applied to every
    token. `used` are the token ids that occur, so that padding gets an id of its own.
    Raises `ModelError` if the model does not exist, has no safetensors, lacks weights, or cannot take sequences this long.
    """
    config = load_config(path, data.classes if data.kind == "classification" else 1)
    packed = config.model_type in FAMILIES and getattr(config, "classifier_pooling", "cls") == "cls"
    loader = AutoModel if data.kind == "span" else AutoModelForSequenceClassification
    attention: dict[str, Any] = {"attn_implementation": ATTENTION} if packed else {}
    model, missing = pretrained(loader, path, config=config, **attention)
    _check_weights(path, model, missing)
    _renew_head(model, missing)
    check_lengths(path, model, int(np.diff(data.offsets).max()))
    network = Network(model, data.kind)
    if not network.packed:
        network.padding = _free_padding(path, model, used)
    return network


def keep_occurring_rows(network: Network, used: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shrink the network's token embedding in place to the rows of the `used` ids and the padding; return the kept ids.

    `renumber` the data to match. Exact with weight decay 0: rows that never occur get no gradient, and AdamW does not
    change them.
    """
    kept = used if network.packed else np.union1d(used, [network.padding])
    old = network.model.get_input_embeddings()
    new = nn.Embedding(len(kept), old.embedding_dim, dtype=old.weight.dtype)
    new.weight.data.copy_(old.weight.data[torch.from_numpy(kept)])
    if old.padding_idx is not None and old.padding_idx in kept:
        new.padding_idx = int(np.searchsorted(kept, old.padding_idx))
    network.model.set_input_embeddings(new)
    network.padding = int(np.searchsorted(kept, network.padding))
    return kept


def renumber(data: Encoded, kept: NDArray[np.int64]) -> Encoded:
    """Return the data with each token id replaced by its index in `kept`."""
    return replace(data, tokens=np.searchsorted(kept, data.tokens).astype(np.int32))


def used_tokens(*parts: Encoded | None) -> NDArray[np.int64]:
    """Return the sorted token ids that occur in the data."""
    return np.unique(np.concatenate([np.unique(part.tokens) for part in parts if part is not None])).astype(np.int64)


def add_adapters(network: Network, rank: int) -> None:
    """Freeze the body and add low-rank adapters (Hu et al. 2022, by peft) to its queries and values, in place.

    Head and pooler are trained in full. Raises `ModelError` for a model without such attention layers.
    """
    from peft import LoraConfig, inject_adapter_in_model

    body = network.model.base_model
    try:
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=ADAPTED), body)
    except ValueError as error:
        raise ModelError(f"A {network.model.config.model_type} model has no attention layers for LoRA; score it in full.") from error
    for name, parameter in body.named_parameters():
        if "pooler." in name:
            parameter.requires_grad = True


def load_config(path: str, labels: int = 1) -> Any:
    """Return the configuration of a model's folder or hub name. Raises ModelError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(loading_sentence(path, error)) from error
    config.problem_type = None  # that of a fine-tuned model is about its former head, and may contradict the number of labels
    config.num_labels = labels
    return config


def pretrained(loader: Any, path: str, dtype: torch.dtype | str = torch.float32, **options: Any) -> tuple[Any, Sequence[str]]:
    """Return a model from a folder or hub name, from safetensors and without its code, and the names of the weights it lacks.

    `loader` is one of transformers' Auto classes. Raises ModelError.
    """
    try:
        model, report = loader.from_pretrained(
            path, use_safetensors=True, trust_remote_code=False, dtype=dtype, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(loading_sentence(path, error)) from error
    return model, sorted(report["missing_keys"])


def loading_sentence(path: str, error: Exception) -> str:
    """Return why a model could not be loaded, in a sentence."""
    name = as_typed(path)
    if Path(path).is_dir():
        present = ", ".join(sorted(file.name for file in Path(path).iterdir())[:8]) or "nothing"
        reason = as_typed(str(error).strip().split("\n")[0])
        return f"The folder {name} contains no loadable model: it needs config.json and *.safetensors, but has {present} ({reason})"
    kind = type(error).__name__
    return f"There is no model {name!r}: it is not a local folder, and no safetensors could be fetched from the hub ({kind})."


def _check_weights(path: str, model: PreTrainedModel, missing: Sequence[str]) -> None:
    """Raise ModelError if weights of the body are missing; a randomly initialised body trains to a worse model. Only heads may be new."""
    prefix = "" if model.base_model is model else model.base_model_prefix + "."
    lost = [name for name in missing if name.startswith(prefix) and "pooler." not in name]
    if lost:
        raise ModelError(
            f"The weights of {as_typed(path)} do not match its config.json: {len(lost)} tensors of the model's body are missing, "
            f"first {lost[0]}."
        )


def _renew_head(model: PreTrainedModel, missing: Sequence[str]) -> None:
    """Initialise the head weights that the folder has: those of a trained model know its labels, and are the same for every seed."""
    body = {id(parameter) for parameter in model.base_model.parameters()}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        stored = [inner for inner in own if f"{name}.{inner}".lstrip(".") not in missing]
        if stored and not body.intersection(map(id, own.values())):
            for parameter in own.values():
                parameter._is_hf_initialized = False
            model._init_weights(module)


def check_lengths(path: str, model: PreTrainedModel, longest: int) -> None:
    """Raise ModelError for a sequence that is longer than a packed model takes."""
    family = FAMILIES.get(model.config.model_type)
    if family is None:
        return
    limit = model.config.max_position_embeddings - family.offset(model.base_model)
    if longest > limit:
        raise ModelError(
            f"The longest sequence has {longest} tokens, but {as_typed(path)} takes at most {limit}; use --max-length {limit} or less."
        )


def _free_padding(path: str, model: PreTrainedModel, used: NDArray[np.int64]) -> int:
    """Return a padding id that occurs in no text and set it in the model's config, so that heads find the last real token."""
    config = model.config.get_text_config()
    padding = config.pad_token_id
    if padding is None or padding in used:
        free = np.setdiff1d(np.arange(config.vocab_size), used)
        if not len(free):
            raise ModelError(f"Every token id of {as_typed(path)} occurs in the data, so none is free for padding.")
        padding = int(free[-1])
    config.pad_token_id = padding
    return int(padding)


def _span_head(model: PreTrainedModel) -> nn.Linear:
    head = nn.Linear(getattr(model.config, "word_embed_proj_dim", model.config.hidden_size), 2)
    nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", 0.02))
    nn.init.zeros_(head.bias)
    return head


def _by_sequence(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[T, 2] -> [S, L, 2], -inf after a sequence's end."""
    order = torch.arange(len(batch.first), device=logits.device)
    sequence = order.repeat_interleave(batch.last - batch.first + 1, output_size=len(logits))
    return logits.new_full((len(order), batch.longest, 2), float("-inf")).index_put((sequence, batch.positions[: batch.tokens]), logits)


def _spread(values: torch.Tensor, seen: torch.Tensor, filler: int) -> torch.Tensor:
    """[T] -> [S, L], `filler` after a sequence's end."""
    return torch.full(seen.shape, filler, dtype=values.dtype, device=values.device).masked_scatter(seen, values)
