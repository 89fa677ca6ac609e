"""Networks without dropout, their gradients and weights, for comparing the engine with plain Transformers."""

from __future__ import annotations

import torch

from pruning.training.model import Network

DROPOUTS = "hidden_dropout_prob attention_probs_dropout_prob attention_dropout dropout mlp_dropout embedding_dropout classifier_dropout"

NO_DROPOUT = dict.fromkeys(DROPOUTS.split(), 0.0)

CPU = torch.device("cpu")

LENGTHS = [7, 1, 30, 12, 12, 3, 19, 2, 25]
"""One token, ties, and sequences longer than ModernBERT's tiny window."""


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
