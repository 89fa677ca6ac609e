"""Networks without dropout, their gradients and weights, for comparing the engine with plain Transformers."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from pruning.training.model import Network

DROPOUTS = "hidden_dropout_prob attention_probs_dropout_prob attention_dropout dropout mlp_dropout embedding_dropout classifier_dropout"

NO_DROPOUT = dict.fromkeys(DROPOUTS.split(), 0.0)

CPU = torch.device("cpu")

LENGTHS = [7, 1, 30, 12, 12, 3, 19, 2, 25]
"""One token, ties, and sequences longer than ModernBERT's tiny window."""


NEEDS_BITSANDBYTES = pytest.mark.skipif(
    find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed, so nothing is kept in four bits here: pip install -r requirements-qlora.txt",
)

IN_4BIT = [pytest.param(False, id="bf16"), pytest.param(True, id="4bit", marks=NEEDS_BITSANDBYTES)]
"""Frozen layers as they are, and in four bits."""


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients by the name that transformers gives the parameter."""
    return {
        name.removeprefix("model.").replace("1.layer.", "1."): parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def reference_weights(network: Network) -> dict[str, torch.Tensor]:
    last = f"{network.model.config.num_hidden_layers - 1}.layer."
    return {name.replace(last, last.removesuffix("layer.")): value for name, value in network.model.state_dict().items()}
