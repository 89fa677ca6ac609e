"""Causal language models with their head: loading with clear errors, answer tokens in place of logits, adapters on all linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from pruning.data.access import as_typed
from pruning.errors import ModelError
from pruning.formatting import counted
from pruning.records import Encoded
from pruning.training import model as networks
from pruning.training.batches import Batch
from pruning.training.generation import answer_tokens
from pruning.training.model import Network
from pruning.training.packing import ATTENTION, FAMILIES

CLOSE = 1e-3
"""Difference of logits, relative to the largest, up to which the head alone counts as the model's own way to compute them."""


class CausalNetwork(Network):
    """A causal language model: maps a batch to the columns of its answer tokens (see `generation.Column`)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model, "generation")
        self.head: Any = model.get_output_embeddings()
        self.cap: float | None = getattr(model.config, "final_logit_softcapping", None)

    @property
    def renumbers(self) -> bool:
        """False: the softmax needs the whole vocabulary."""
        return False

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return [A, 4] for the answer tokens, in the order of the batch's tokens."""
        assert batch.answers is not None
        plain = isinstance(self.head, nn.Linear) and self.head.bias is None and not self.head.weight.requires_grad and self.cap is None
        frozen = self.head.weight if plain else None
        return answer_tokens(self.hidden(batch), self.project, batch.ids, batch.answers, frozen=frozen)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """[A, H] -> [A, V] logits, capped where the architecture caps them."""
        logits = self.head(hidden)
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


def load(path: str, data: Encoded, used: NDArray[np.int64], *, frozen: bool = False) -> Network:
    """Return the network for the data's kind; see `load_causal`. Raises `ModelError`."""
    return load_causal(path, data, frozen=frozen) if data.kind == "generation" else networks.load_network(path, data, used)


def adapt(network: Network, rank: int) -> None:
    """Add low-rank adapters in place, to every linear layer of a causal language model, else to queries and values. Raises `ModelError`."""
    if isinstance(network, CausalNetwork):
        adapt_all(network, rank)
    else:
        networks.add_adapters(network, rank)


def load_causal(path: str, data: Encoded, *, frozen: bool = False) -> CausalNetwork:
    """Return the causal language model of a folder or hub name with its own head, in fp32; if `frozen`, in the type of its file, which is
    mapped and not copied.

    Raises `ModelError` if the model does not exist, is not a causal language model, lacks weights (its head's included), or cannot take
    sequences this long.
    """
    config = networks.load_config(path)
    family = FAMILIES.get(config.model_type)
    if family is not None and not family.last_token:
        raise ModelError(_not_causal(path, config.model_type))
    attention: dict[str, Any] = {"attn_implementation": ATTENTION} if family is not None else {}
    try:
        dtype = "auto" if frozen and family is not None else torch.float32
        model, missing = networks.pretrained(AutoModelForCausalLM, path, dtype, config=config, **attention)
    except ModelError as error:
        if "AutoModelForCausalLM" in str(error.__cause__):
            raise ModelError(_not_causal(path, config.model_type)) from error
        raise
    if missing:
        raise ModelError(
            f"{as_typed(path)} lacks {counted(len(missing), 'tensor')} of a causal language model, first {missing[0]}; "
            "generation needs the head too: save the model with AutoModelForCausalLM."
        )
    model.config.use_cache = False
    networks.check_lengths(path, model, int(np.diff(data.offsets).max()))
    network = CausalNetwork(model)
    if not network.packed:
        _check_next_token(path, network)
    return network


def adapt_all(network: CausalNetwork, rank: int) -> None:
    """Freeze every weight and add low-rank adapters (Hu et al. 2022, by peft) to every linear layer of the body, in place.

    Their scale is 2 (alpha = 2 * rank); no head is trained. Raises `ModelError` for a model without linear layers.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    body: Any = network.model.base_model
    names = sorted(name for name, module in body.named_modules() if isinstance(module, (nn.Linear, Conv1D)))
    if not names:
        raise ModelError(f"A {network.model.config.model_type} model has no linear layers for LoRA; train every weight (--lora 0).")
    network.head.requires_grad_(False)
    weights = {parameter: parameter.data for parameter in body.parameters()}
    for parameter in weights:  # peft makes adapters in the type of the weights
        parameter.data = torch.zeros(()).expand(parameter.shape)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), body)
    for parameter, values in weights.items():
        parameter.data = values


def _not_causal(path: str, kind: str) -> str:
    return (
        f"{as_typed(path)} is a {kind} model, which reads a text as a whole and cannot generate one; "
        "use a causal language model, such as one of SmolLM2, Qwen3 or Llama."
    )


@torch.no_grad()
def _check_next_token(path: str, network: CausalNetwork) -> None:
    """Raise ModelError where a token sees later ones, or the model's logits are not those of its head."""
    model = network.model.eval()
    ids = torch.arange(3)[None] % model.config.get_text_config().vocab_size
    logits = model(input_ids=ids).logits
    other = model(input_ids=ids.clone().index_fill_(1, torch.tensor([2]), 0)).logits
    own = network.project(model.base_model(input_ids=ids).last_hidden_state)
    model.train()
    scale = CLOSE * logits.abs().max()
    if (logits[0, :2] - other[0, :2]).abs().max() > scale:
        raise ModelError(_not_causal(path, model.config.model_type))
    if own.shape != logits.shape or (own - logits).abs().max() > scale:
        raise ModelError(f"A {model.config.model_type} model computes its logits in a way that Winnow does not know; use another model.")
