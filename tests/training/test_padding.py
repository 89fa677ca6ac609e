"""Padding never leaks into a prediction: packed, padded on the right and padded on the left are one computation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from pruning.records import Encoded, EpochRecord, RunResult
from pruning.training import train
from pruning.training.batches import make_batch
from pruning.training.model import Network, load_network
from pruning.training.order import epoch_batches
from tests.support.networks import CPU, NO_DROPOUT, reference_weights
from tests.support.tiny import WORDS, tiny_data, tiny_model
from tests.support.trainings import plan, recipe

FAMILIES = ["bert", "opt", "llama"]
PADDING = 4
"""A token that no text of `tiny_data` holds."""

Networks = tuple[Network, Network, PreTrainedModel]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Networks]:
    """One model three times: packed, padded by us on the right, and transformers' own."""
    made: dict[str, Networks] = {}

    def three(family: str) -> Networks:
        if family not in made:
            path = tiny_model(tmp_path_factory.mktemp("models") / family, family, labels=3, **NO_DROPOUT)
            data = tiny_data([2], classes=3)
            every = np.arange(5 + len(WORDS))
            every = every[every != PADDING]
            torch.manual_seed(1)
            packed = load_network(path, data, every)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("pruning.training.model.FAMILIES", {})
                torch.manual_seed(1)
                padded = load_network(path, data, every)
            assert packed.packed and not padded.packed
            theirs = AutoModelForSequenceClassification.from_pretrained(path, num_labels=3)
            theirs.load_state_dict(reference_weights(packed) if family == "bert" else packed.model.state_dict())
            theirs.config.pad_token_id = PADDING
            made[family] = packed.eval(), padded.eval(), theirs.eval()
        return made[family]

    return three


def left_padded(model: PreTrainedModel, data: Encoded) -> torch.Tensor:
    """[n, classes] by transformers' own forward pass, every text's last token in the last column.

    Positions count from a text's first token: OPT derives them from the mask, the others are told, as `generate` does.
    """
    lengths = np.diff(data.offsets)
    ids = torch.full((len(lengths), int(lengths.max())), PADDING)
    for row, (start, end) in enumerate(zip(data.offsets, data.offsets[1:], strict=False)):
        ids[row, -(end - start) :] = torch.from_numpy(data.tokens[start:end].astype(np.int64))
    mask = (torch.arange(ids.shape[1]) >= ids.shape[1] - torch.from_numpy(lengths)[:, None]).long()
    if model.config.model_type == "bert":
        return first_token(model, ids, mask)
    positions = {} if model.config.model_type == "opt" else {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    return model(input_ids=ids, attention_mask=mask, **positions).logits


def first_token(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """BERT's classification of each text's own first token: its model takes the first column's, where a left-padded row has none."""
    hidden = model.bert(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).last_hidden_state
    chosen = hidden[torch.arange(len(ids)), mask.argmax(1)]
    return model.classifier(model.bert.pooler(chosen[:, None]))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12), seed=st.integers(0, 2**16))
def test_a_prediction_knows_nothing_of_its_neighbours(
    networks: Callable[[str], Networks], family: str, lengths: list[int], seed: int
) -> None:
    packed, padded, theirs = networks(family)
    data, rows = tiny_data(lengths, seed=seed, classes=3), np.arange(len(lengths))
    with torch.inference_mode():
        ours = packed(make_batch(data, rows, rows, CPU, packed=True))
        right = padded(make_batch(data, rows, rows, CPU, packed=False))
        left = left_padded(theirs, data)
    for other in (right, left):
        torch.testing.assert_close(other, ours, atol=1e-4, rtol=0)
        sure = ours.topk(2).values.diff().abs()[:, 0] > 1e-3
        assert torch.equal(other.argmax(1)[sure], ours.argmax(1)[sure])


def trained(model: str, data: Encoded) -> tuple[list[np.ndarray], np.ndarray]:
    items = list(train([plan(range(data.units), epochs=3)], data, data, model, recipe(batch_size=8), workers=0))
    [result] = [item for item in items if isinstance(item, RunResult)]
    assert result.outputs is not None
    return [item.correct for item in items if isinstance(item, EpochRecord)], result.outputs


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_training_gets_the_same_right_padded_or_not(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same batches both ways (padded ones are otherwise of like lengths), so H, which counts what is right, is the same."""
    model = tiny_model(tmp_path / family, family, **NO_DROPOUT)
    data = tiny_data(list(np.random.default_rng(3).integers(1, 40, 64)))
    monkeypatch.setattr("pruning.training.loop.epoch_batches", lambda *given, fixed, lengths: epoch_batches(*given, fixed=fixed))
    correct, outputs = trained(model, data)
    monkeypatch.setattr("pruning.training.model.FAMILIES", {})
    again, others = trained(model, data)
    assert np.array_equal(correct, again) and 0 < np.mean(correct) < 1
    np.testing.assert_allclose(outputs, others, atol=1e-3)
