"""One run, from seed to evaluation: order, steps, recording, schedule. Everything random depends only on the plan's seed."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from math import nan
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pruning.errors import Cancelled, Diverged, TrainingError
from pruning.records import Encoded, EpochRecord, Notice, Progress, RunDiverged, RunLost, RunPlan, RunResult, RunStarted
from pruning.settings import TrainSettings
from pruning.training import checkpoint, four_bits, generation
from pruning.training.base import Base
from pruning.training.batches import Batch, make_batch, ragged, unit_lengths
from pruning.training.causal import adapt, load
from pruning.training.devices import autocast, clock, peak_memory, pick_device, pick_precision
from pruning.training.dropout import Noise
from pruning.training.flat import Flats
from pruning.training.graphs import GraphedSteps, can_graph
from pruning.training.model import keep_occurring_rows, renumber, used_tokens
from pruning.training.objective import outcome
from pruning.training.order import epoch_batches, places, rate
from pruning.training.recording import EpochRecorder

logger = logging.getLogger(__name__)

CLIP_EPSILON = 1e-6
"""Added to the norm of the gradients before it is compared with the largest allowed, as PyTorch's clipping does."""

Report = RunStarted | Progress | EpochRecord | RunResult | RunDiverged | RunLost | Notice
"""Types that training yields; a run itself yields neither `RunStarted` nor `RunLost` nor `Notice`."""

PROGRESS_SECONDS = 0.25
"""Shortest time between two progress reports, in seconds."""

CHECKPOINT_SECONDS = 600.0
"""Time after which a checkpoint is written within an epoch; one is written after every epoch."""


def train_run(
    plan: RunPlan,
    data: Encoded,
    evaluation: Encoded | None,
    model: str,
    settings: TrainSettings,
    device: torch.device | None = None,
    base: Base | None = None,
) -> Iterator[Report | None]:
    """Train one run in this process, on that device (default: the first that the settings name); yield its reports, its result last.

    With adapters, the frozen weights are those of `base`, shared with other runs.

    It reports progress, and one record per epoch if the plan asks for them. Yields None after a step without a report, so that the
    caller can stop between any two steps or let other runs take turns. With a checkpoint of the same run, its finished records are
    yielded again and training continues after them. A run whose loss becomes NaN ends with `RunDiverged` in place of its result.
    """
    run = Run(plan, data, evaluation, model, settings, device, base)
    records = run.resume()
    yield from records
    try:
        for epoch in range(run.epochs_done, plan.epochs):
            record = yield from run.epoch(epoch, records)
            records += [record] if plan.record else []
            run.save(records)
            yield from records[len(records) - plan.record :]
    except Diverged as error:
        yield RunDiverged(key=plan.key, sentence=str(error))
        return
    began = clock(run.device)
    outputs = run.evaluate()
    yield RunResult(
        key=plan.key,
        seconds=run.seconds,
        steps=run.steps,
        outputs=outputs,
        micro_batch=run.micro_batch,
        tokens=run.tokens,
        compute_seconds=run.compute_seconds,
        evaluation_seconds=clock(run.device) - began,
    )


def failed(key: str, error: str, message: str) -> TrainingError:
    """Return a TrainingError with the run's key and the cause, for an error whose own message does not help the user."""
    return TrainingError(f"Training of {key} failed with {error}: {' '.join(message.split())}")


def stopped(runs: int) -> Cancelled:
    """Return the error for training that was stopped with this many runs in progress."""
    return Cancelled(f"Training was stopped; {runs} run{' was' if runs == 1 else 's were'} in progress.")


class Run:
    """The state of one run: network, optimizer, schedule position, recording."""

    def __init__(
        self,
        plan: RunPlan,
        data: Encoded,
        evaluation: Encoded | None,
        model: str,
        settings: TrainSettings,
        device: torch.device | None = None,
        base: Base | None = None,
    ) -> None:
        if not len(plan.rows):
            raise TrainingError(f"Training of {plan.key} has no rows; a subset needs at least one example.")
        if plan.labels is not None:
            data = replace(data, labels=data.labels.copy())
            data.labels[plan.rows] = plan.labels
        if plan.learning_rate is not None:
            settings = replace(settings, learning_rate=plan.learning_rate)
        self.plan, self.settings, self.peak = plan, settings, settings.peak
        self.device = device or pick_device(settings.device)
        self.dtype = pick_precision(settings.precision, self.device)
        if settings.load_in_4bit:
            four_bits.check(self.device)
        torch.manual_seed(plan.seed)
        used = used_tokens(data, evaluation)
        network = load(model, data, used, frozen=bool(settings.lora_rank))
        if network.renumbers and settings.weight_decay == 0:
            kept = keep_occurring_rows(network, used)
            data, evaluation = renumber(data, kept), evaluation and renumber(evaluation, kept)
        if settings.lora_rank:
            adapt(network, settings.lora_rank)
        self.data, self.evaluation = data, evaluation
        self.answer_lengths = data.answer_lengths
        self.fingerprint = plan.checkpoint and checkpoint.fingerprint(plan, data, network, settings, self.dtype)
        (base or Base()).hold(network, self.dtype, self.device, in_4bit=settings.load_in_4bit)
        self.network = network.to(self.device)
        self.lengths = None if network.packed else unit_lengths(data)[plan.rows]
        graphs = not settings.deterministic and can_graph(data, network.packed, self.device, self.dtype)
        self.graphs = GraphedSteps(data, settings.batch_size, self.update) if graphs else None
        self.flats = Flats(network, self.dtype)
        self.optimizer = make_optimizer(self.flats, settings, capturable=graphs)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.recorder = EpochRecorder(plan.key, len(plan.rows), self.device)
        self.steps, self.epochs_done, self.seconds, self.compute_seconds = 0, 0, 0.0, 0.0
        self.micro_batch = 0
        self.epoch_steps = -(-len(plan.rows) // settings.batch_size)
        self.total_steps = plan.epochs * self.epoch_steps
        torch.manual_seed(plan.seed)
        self.noise = Noise(plan.seed)
        if self.device.type == "cpu":
            network.draw_dropout_from(self.noise)
            network.write_out_layers(self.flats)

    def resume(self) -> list[EpochRecord]:
        """Load the plan's checkpoint if it is of this run; return the records of its finished epochs."""
        found = checkpoint.load(self.plan.checkpoint, self.fingerprint) if self.plan.checkpoint and self.fingerprint else None
        if found is None:
            return []
        state, records = found
        self.network.load_state_dict(state["network"], strict=False)
        self.flats.renew()
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr"].to(self.device) if isinstance(group["lr"], torch.Tensor) else group["lr"]
        self.scaler.load_state_dict(state["scaler"])
        checkpoint.restore_generators(state["generators"], self.device)
        self.noise.state = state["noise"]
        self.steps, self.epochs_done, self.seconds = state["steps"], state["epochs_done"], state["seconds"]
        self.compute_seconds = state.get("compute_seconds", nan)
        self.micro_batch = state["micro_batch"]
        self.recorder.restore(state.get("recorder", {}))
        logger.info("%s resumes after step %d, %d epochs done", self.plan.key, self.steps, self.epochs_done)
        return records

    def save(self, records: Sequence[EpochRecord]) -> None:
        """Write the plan's checkpoint, if it asks for one."""
        if self.plan.checkpoint is None:
            return
        frozen = {name for name, parameter in self.network.named_parameters(remove_duplicate=False) if not parameter.requires_grad}
        state = {
            "fingerprint": self.fingerprint,
            "network": {name: tensor for name, tensor in self.network.state_dict().items() if name not in frozen},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "generators": checkpoint.generators(self.device),
            "noise": self.noise.state,
            "recorder": self.recorder.state() if self.steps % self.epoch_steps else {},
            **{"steps": self.steps, "epochs_done": self.epochs_done, "micro_batch": self.micro_batch},
            **{"seconds": self.seconds, "compute_seconds": self.compute_seconds},
        }
        checkpoint.save(self.plan.checkpoint, state, records)

    def epoch(self, epoch: int, records: Sequence[EpochRecord] = ()) -> Generator[Progress | None, None, EpochRecord]:
        """Train on every row once, or on those that a resumed run has left, and return the recording.

        In a long epoch it writes a checkpoint from time to time, with the `records` of the epochs before.
        """
        count = len(self.plan.rows)
        batches = epoch_batches(
            self.plan.seed, epoch, count, self.settings.batch_size, fixed=self.settings.fixed_order, lengths=self.lengths
        )
        place = places(batches, count)
        self.network.train()
        done = self.steps - epoch * self.epoch_steps
        if not done:
            self.recorder.start()
        since = perf_counter(), clock(self.device)
        told = saved = since[0]
        seen = sum(map(len, batches[:done]))
        for positions in batches[done:]:
            self.step(positions)
            seen += len(positions)
            if perf_counter() - saved >= CHECKPOINT_SECONDS and seen < count:
                self.count_time(since)
                self.save(records)
                since = perf_counter(), clock(self.device)
                saved = since[0]
            tell = perf_counter() - told >= PROGRESS_SECONDS or seen == count
            yield self.progress(epoch, seen, positions) if tell else None
            told = perf_counter() if tell else told
        record = replace(self.recorder.finish(epoch, place), micro_batch=self.micro_batch)
        self.epochs_done = epoch + 1
        self.count_time(since)
        return record

    def count_time(self, since: tuple[float, float]) -> None:
        """Add the time since then, by the wall clock and by `devices.clock`."""
        self.seconds += perf_counter() - since[0]
        self.compute_seconds += clock(self.device) - since[1]

    @property
    def tokens(self) -> int:
        """Tokens that the whole run trains on, padding not counted."""
        firsts, ends = self.data.unit_offsets[:-1], self.data.unit_offsets[1:]
        of_unit = self.data.offsets[ends] - self.data.offsets[firsts]
        return self.plan.epochs * int(of_unit[self.plan.rows].sum())

    def progress(self, epoch: int, seen: int, latest: NDArray[np.int64]) -> Progress:
        """Return the run's progress after `seen` examples of an epoch; waits for the device."""
        return Progress(
            key=self.plan.key,
            epoch=epoch,
            examples=epoch * len(self.plan.rows) + seen,
            total=self.plan.epochs * len(self.plan.rows),
            accuracy=self.recorder.accuracy(seen, torch.from_numpy(latest).to(self.device)),
            memory=peak_memory(self.device),
        )

    def step(self, positions: NDArray[np.int64]) -> None:
        """Run one optimizer step on the rows at `positions`."""
        units = self.plan.rows[positions]
        for group in self.optimizer.param_groups:
            now = self.peak * rate(self.steps, self.total_steps, self.settings.warmup_ratio)
            group["lr"] = group["lr"].fill_(now) if isinstance(group["lr"], torch.Tensor) else now
        if self.graphs is None or not self.graphs.replay(units, positions):
            self.fit(units, positions)
        self.steps += 1

    def fit(self, units: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        """Make one update on these rows, at once or, if memory was exceeded before, in parts whose gradients add up to the same."""
        while True:
            try:
                size = self.micro_batch or len(units)
                if size >= len(units):
                    self.update(make_batch(self.data, units, positions, self.device, packed=self.network.packed))
                else:
                    self.update_in_parts(units, positions, size)
                return
            except torch.OutOfMemoryError as error:
                self.micro_batch = self.smaller(size, error)
                self.recorder.forget(torch.from_numpy(positions).to(self.device))

    def update(self, batch: Batch) -> None:
        """Run the device part of a step: forward, recording, backward, clip, AdamW."""
        losses = self.losses(batch)
        self.learn(losses.mean() if batch.answers is None else losses.sum() / batch.answers.lengths.sum())

    def update_in_parts(self, units: NDArray[np.int64], positions: NDArray[np.int64], size: int) -> None:
        """Make the same update from parts of at most `size` units by adding up their gradients."""
        for start in range(0, len(units), size):
            part = slice(start, start + size)
            batch = make_batch(self.data, units[part], positions[part], self.device, packed=self.network.packed)
            self.scaler.scale(self.losses(batch).sum() / self.summed(units)).backward()
        self.apply()

    def losses(self, batch: Batch) -> torch.Tensor:
        """Return [n] each unit's training loss (for generation summed over its tokens), and record the outcome."""
        with autocast(self.device, self.dtype):
            logits = self.network(batch)
        if batch.answers is not None:
            result, wrong = generation.outcome(logits, batch.answers)
            self.recorder.add(batch.rows, result, wrong)
            return result.loss * batch.answers.lengths
        result = outcome(self.data.kind, logits, batch)
        self.recorder.add(batch.rows, result)
        return result.loss

    def summed(self, units: NDArray[np.int64]) -> int:
        """Return how many losses a step on these rows is the mean of: its units, or for generation its answer tokens (as in TRL)."""
        return len(units) if self.answer_lengths is None else int(self.answer_lengths[units].sum())

    def smaller(self, size: int, error: torch.OutOfMemoryError) -> int:
        """Free what a failed attempt left and return half its size. Raises `TrainingError` if the size was 1."""
        if size == 1:
            raise TrainingError(
                f"{self.plan.key} does not fit into the memory of {self.device} even one example at a time; "
                "use a smaller --max-length, a smaller model, or another --device."
            ) from error
        self.graphs = None
        self.clear()
        scaling = self.scaler.state_dict()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.scaler.load_state_dict(scaling)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.info("%s: %d examples do not fit into memory, next %d", self.plan.key, size, -(-size // 2))
        return -(-size // 2)

    def learn(self, loss: torch.Tensor) -> None:
        """Make one update from a step's mean loss: backward, clip, AdamW."""
        self.scaler.scale(loss).backward()
        self.apply()

    def apply(self) -> None:
        """Clip, take an AdamW step, and clear the gradients."""
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([flat.grads for flat in self.flats.groups.values()])
        if self.device.type == "cpu":  # inside AdamW, which reads the gradients anyway
            self.optimizer.grad_scale = ((norm + CLIP_EPSILON) / self.settings.max_grad_norm).clamp_min(1.0)  # type: ignore[attr-defined]
        else:
            nn.utils.clip_grads_with_norm_([flat.whole for flat in self.flats.groups.values()], self.settings.max_grad_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.flats.renew()
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        self.flats.clear()
        if self.network.stack is not None:
            self.network.stack.clear()

    def evaluate(self) -> NDArray[np.float32] | None:
        """Return raw logits on the evaluation data in eval mode, one row per sequence in the data's order; None without evaluation data."""
        data = self.evaluation
        if data is None:
            return None
        self.network.eval()
        order = np.argsort(unit_lengths(data), kind="stable")
        size = self.micro_batch or self.settings.batch_size
        while True:
            try:
                parts = [self.predict(data, order[start : start + size]) for start in range(0, len(order), size)]
                return in_data_order(parts, ragged(data.unit_offsets, order)[0])
            except torch.OutOfMemoryError as error:
                size = self.smaller(size, error)

    @torch.inference_mode()
    def predict(self, data: Encoded, units: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits of some units' sequences, in the order of `units`."""
        batch = make_batch(data, units, units, self.device, packed=self.network.packed)
        with autocast(self.device, self.dtype):
            logits = self.network(batch)
        if batch.answers is not None:
            found, wrong = generation.outcome(logits, batch.answers)
            logits = torch.stack([found.loss, wrong.float(), batch.answers.lengths.float()], dim=1)
        return logits.cpu().numpy()


def in_data_order(parts: Sequence[NDArray[np.float32]], sequences: NDArray[np.int64]) -> NDArray[np.float32]:
    """Concatenate the batches' logits; row i belongs to sequence `sequences[i]`. Windows are padded with -inf.

    >>> in_data_order([np.array([1.0, 2.0], np.float32), np.array([3.0], np.float32)], np.array([2, 0, 1])).tolist()
    [2.0, 3.0, 1.0]
    """
    shape = tuple(max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim))
    outputs = np.full((len(sequences), *shape), -np.inf, np.float32)
    done = 0
    for part in parts:
        where: tuple[Any, ...] = (sequences[done : done + len(part)], *(slice(size) for size in part.shape[1:]))
        outputs[where] = part
        done += len(part)
    return outputs


def make_optimizer(flats: Flats, settings: TrainSettings, *, capturable: bool) -> torch.optim.AdamW:
    """Return fused AdamW with the Trainer's defaults: betas .9 and .999, eps 1e-8, no decay on biases and norms.

    `capturable` keeps the learning rate on the device, so that a replayed step uses its current value.
    """
    groups: list[dict[str, Any]] = []
    for decays, flat in flats.groups.items():
        rate = torch.zeros((), device=flat.whole.device) if capturable else settings.peak
        groups.append({"params": [flat.whole], "weight_decay": settings.weight_decay if decays else 0.0, "lr": rate})
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, fused=True, capturable=capturable)
