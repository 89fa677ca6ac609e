"""Embeddings of texts from the pretrained model: the last hidden state averaged over a text's tokens, of length 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.errors import Cancelled, ModelError, TrainingError
from pruning.records import Encoded
from pruning.training.batches import Batch, make_batch, unit_lengths
from pruning.training.devices import one_thread, pick_device, slots
from pruning.training.model import Network, load_network, used_tokens

PART = 2048
"""Texts that are embedded between two writes. A part's batches depend on nothing but its own texts, so that a resumed pass repeats bits."""

BATCH_TOKENS, BATCH_TEXTS = 4096, 128
"""Most tokens (padding to the longest included) and texts of one batch, unless one text has more."""


def embed(
    data: Encoded, model: str, device: str = "auto", *, first: int = 0, stop: Callable[[], bool] = lambda: False
) -> Iterator[NDArray[np.float16] | int]:
    """Embed the texts from number `first` on, a multiple of `PART`: how many are done in all, and after each part its [n, H] rows.

    One forward pass in float32, whatever the precision of training: the mean over all tokens of a text, special ones included, scaled
    to length 1 (0 where a text's mean is 0) and rounded to float16. On the CPU the numbers do not depend on the number of cores.
    Raises ModelError for a model without hidden states or whose values are not finite, and Cancelled when `stop()` becomes true.
    """
    place = pick_device(device)
    spans = replace(data, kind="span", labels=np.zeros((len(data.offsets) - 1, 2), dtype=np.int64))
    torch.manual_seed(0)
    network = load_network(model, spans, used_tokens(data)).to(place).eval()
    lengths, workers = unit_lengths(data), slots(device) if place.type == "cpu" else 1

    def one(units: NDArray[np.int64]) -> NDArray[np.float32]:
        if stop():
            raise Cancelled("Cancelled; finished work is kept.")
        if place.type == "cpu":
            torch.set_num_threads(1)  # a setting of each thread
        try:
            with torch.inference_mode():
                return _means(network, make_batch(spans, units, units, place, packed=network.packed))
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"A text of {int(lengths[units].max())} tokens does not fit into the memory of {place}.") from error

    with one_thread(), ThreadPoolExecutor(workers) as pool:
        for start in range(first, data.units, PART):
            units = np.arange(start, min(start + PART, data.units))
            order = units[np.argsort(lengths[units], kind="stable")]
            rows = np.empty((len(units), network.model.config.hidden_size), dtype=np.float16)
            done = start
            for batch, means in zip(batches := _batches(order, lengths), pool.map(one, batches), strict=True):
                _refuse_infinite(means, batch, model)
                if means.shape[1] != rows.shape[1]:  # a model that projects its last state
                    rows = np.empty((len(units), means.shape[1]), dtype=np.float16)
                rows[batch - start] = means
                done += len(batch)
                yield done
            yield rows


def _batches(order: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Texts of rising length as batches of at most BATCH_TEXTS texts and, padded, BATCH_TOKENS tokens."""
    found, start = [], 0
    while start < len(order):
        end = start + 1
        while end < len(order) and end - start < BATCH_TEXTS and (end + 1 - start) * lengths[order[end]] <= BATCH_TOKENS:
            end += 1
        found.append(order[start:end])
        start = end
    return found


def _means(network: Network, batch: Batch) -> NDArray[np.float32]:
    """[n, H] mean of each unit's token states, of length 1, in the order of the batch's units."""
    states = network.hidden(batch).float()
    counts = batch.last - batch.first + 1
    ends = torch.cumsum(counts, 0)
    sums = torch.stack([part.sum(0) for part in states.tensor_split(ends[:-1].cpu())])
    means = (sums / counts[:, None])[batch.rank]
    return (means / means.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)).cpu().numpy()


def _refuse_infinite(means: NDArray[np.float32], batch: NDArray[np.int64], model: str) -> None:
    wrong = ~np.isfinite(means).all(axis=1)
    if wrong.any():
        raise ModelError(f"{model} gives values that are not finite for example {int(batch[wrong][0]) + 1}; its weights overflow.")
