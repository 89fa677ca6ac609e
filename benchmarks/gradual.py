"""Measure APT's ways beside the plain ones: neurons cut little by little or at once, adapters that grow or do not.

    python -m benchmarks.gradual [--train 1000] [--evaluation 2000] [--seeds 5] [--width 0.5] [--learning-rate 2e-4]
        [--only "by APT's salience, cut at once"]

Narrower models: the sample's model with a share of its feed-forward neurons, cut before it is trained (what `winnow narrow` does; by
importance, by APT's salience, and at random), or while it is trained: on APT's cubic schedule (Zhao et al. 2024, and their published
code), each neuron's output shrunk to nothing over some steps, the importance smoothed over steps as theirs. The importance is the same
first-order one in both.
Adapters: of a fixed rank, and of a small rank that grows to the same one in the more important half of the layers, whose optimizer then
starts afresh, after the same paper. All arms of a kind have the same seeds, rows and epochs. Nothing is kept: it starts over.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.equivalence import EPOCHS, Job, prepare
from benchmarks.machine import heading
from benchmarks.study import in_pp
from pruning.analysis.frontier import paired_values
from pruning.analysis.neurons import RANDOM, TAYLOR, Importance, any_neurons, kept_width, most_important
from pruning.formatting import scientific
from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings, default_seeds
from pruning.training import width
from pruning.training.devices import cores, one_thread
from pruning.training.loop import Run

WARM_UP, END = 1 / 6, 2 / 3
"""Shares of the steps before the first neuron is cut, and after which all are."""
DECAY_STEPS = 10
"""Steps in which a cut neuron's output shrinks to nothing (APT: 100, in runs some hundred times as long)."""
SMOOTHING = 0.85
"""Weight of the importance so far, beside that of the latest step, as in APT."""

AT_ONCE = "by importance, cut at once"

SALIENCE = "salience"
"""APT's importance, without the term for outliers, which their published code has for Llama alone."""

SMALL, LARGE = 4, 16
"""Rank of the adapters before and after they grow; APT's largest is four times its first, too."""
GROWS = 1 / 3
"""Share of the steps after which they grow."""


def kept_share(step: int, steps: int, share: float) -> float:
    """APT's cubic schedule: the share of neurons that are kept after `step` of `steps`, from 1 to `share`.

    >>> [round(kept_share(step, 120, 0.4), 3) for step in (0, 20, 50, 80, 120)]
    [1.0, 1.0, 0.475, 0.4, 0.4]
    """
    left = (END * steps - step) / ((END - WARM_UP) * steps)
    return share + (1 - share) * float(np.clip(left, 0, 1)) ** 3


class GradualRun(Run):
    """A run that cuts neurons while it trains; the outputs of those that are cut are exactly 0 from `END` on."""

    def __init__(self, plan: RunPlan, data: Encoded, evaluation: Encoded, model: str, settings: TrainSettings, share: float) -> None:
        super().__init__(plan, data, evaluation, model, settings)
        found = width.blocks(Path(model), model)
        self.kept, self.width = kept_width(share, found.width), found.width
        places = {name: found.place(name) for name, _ in self.network.model.named_parameters()}
        named = dict(self.network.model.named_parameters())
        self.outgoing = [named[name] for name, place in places.items() if place is not None and place[1] == 1]
        self.importance = torch.zeros(len(self.outgoing), found.width)
        self.left = torch.full((len(self.outgoing), found.width), DECAY_STEPS)

    @torch.no_grad()
    def apply(self) -> None:
        """Take the step, and shrink what is to be cut."""
        before, share = self.left, kept_share(self.steps, self.total_steps, self.kept / self.width)
        if share > self.kept / self.width:
            latest = torch.stack([(weight * weight.grad).sum(0).abs() for weight in self.outgoing])
            self.importance.lerp_(latest, 1 - SMOOTHING)
        super().apply()
        order = self.importance.masked_fill(before == 0, -1.0).argsort(1)
        out = torch.zeros_like(before).scatter_(1, order[:, : self.width - round(share * self.width)], 1)
        self.left = (before - out).clamp_min(0)
        for weight, factor in zip(self.outgoing, self.left / before.clamp_min(1), strict=True):
            weight.data.mul_(factor)
        self.flats.renew()


class SalienceRun(Run):
    """A run that measures APT's salience of neurons in the second half of its steps, as `winnow narrow` does its own importance.

    In each batch it is the sum of |gradient| of a neuron's output over all tokens, times the sum of |output|.
    """

    def __init__(self, plan: RunPlan, data: Encoded, model: str, settings: TrainSettings) -> None:
        super().__init__(plan, data, None, model, settings)
        self.network.stack = None  # transformers' own layers, whose activations can be seen
        found = width.blocks(Path(model), model)
        self.salience, self.gradients, self.outputs = (torch.zeros(found.layers, found.width) for _ in range(3))
        for name, module in self.network.model.named_modules():
            if name.endswith(".intermediate"):
                layer = int(name.split("layer.")[1].split(".")[0])
                module.register_forward_hook(partial(self.see, layer))

    def see(self, layer: int, module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        """Note a layer's activations, and ask for their gradients."""
        if output.requires_grad:
            self.outputs[layer] = output.detach().abs().flatten(0, -2).sum(0)
            output.register_hook(partial(self.note, layer))

    def note(self, layer: int, gradient: torch.Tensor) -> None:
        """Note the gradient of a layer's activations."""
        self.gradients[layer] = gradient.abs().flatten(0, -2).sum(0)

    @torch.no_grad()
    def apply(self) -> None:
        """Add the batch's salience, and take the step."""
        if 2 * (self.steps + 1) > self.total_steps:
            self.salience += self.gradients * self.outputs
        super().apply()
        for flat in self.flats.groups.values():  # those that the written-out layers would overwrite
            flat.grads.zero_()


class GrowingRun(Run):
    """A run whose adapters have the rank `SMALL` at first; the more important half of them has all its ranks after `GROWS` of the steps.

    The other ranks are there from the start, but get no gradients: their second factor is 0, so that they change nothing.
    """

    def __init__(self, plan: RunPlan, data: Encoded, evaluation: Encoded, model: str, settings: TrainSettings) -> None:
        super().__init__(plan, data, evaluation, model, settings)
        named = dict(self.network.model.named_parameters())
        self.pairs = [(named[name], named[name.replace("lora_A", "lora_B")]) for name in named if "lora_A" in name]
        self.importance, self.grown = torch.zeros(len(self.pairs)), torch.zeros(len(self.pairs), dtype=torch.bool)

    @torch.no_grad()
    def apply(self) -> None:
        """Take the step without the ranks that are not there yet."""
        self.importance.lerp_(torch.stack([(second * second.grad).abs().sum() for _, second in self.pairs]), 1 - SMOOTHING)
        if self.steps == round(GROWS * self.total_steps):
            self.grown[self.importance.argsort(descending=True)[: len(self.pairs) // 2]] = True
            self.optimizer.state.clear()
        for (first, second), grown in zip(self.pairs, self.grown, strict=True):
            if not grown:
                first.grad[SMALL:] = 0
                second.grad[:, SMALL:] = 0
        super().apply()


Arm = tuple[Job, Callable[..., Run], TrainSettings]
"""Data and model, the kind of run, and the recipe."""


def main(
    train: Annotated[int, typer.Option(help="Training sentences.")] = 1000,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Runs of each arm.")] = 5,
    share: Annotated[float, typer.Option("--width", help="Share of the neurons that is kept.")] = 0.5,
    learning_rate: Annotated[float, typer.Option(help="Of the whole model and the narrower ones.")] = 2e-4,
    adapters_rate: Annotated[float, typer.Option(help="Of the adapters.")] = 2e-3,
    only: Annotated[list[str] | None, typer.Option(help="Arm to train beside the cut at once; may be given more than once.")] = None,
) -> None:
    """Run the comparison and print its Markdown."""
    job = prepare(train, evaluation)
    options = f"--train {train} --evaluation {evaluation} --seeds {seeds} --width {share:g}"
    rates = f"--learning-rate {scientific(learning_rate)} --adapters-rate {scientific(adapters_rate)}"
    rates += "".join(f" --only {shlex.quote(name)}" for name in only or ())
    print(heading("Cut little by little, and adapters that grow", f"python -m benchmarks.gradual {options} {rates}"))
    common = np.bincount(job.evaluation.labels).max() / job.evaluation.units
    print(f"{train:,} sentences, {EPOCHS} epochs; majority class {common:.3f} of {evaluation:,} to evaluate.\n")
    whole = TrainSettings(learning_rate=learning_rate, epochs=EPOCHS)
    with TemporaryDirectory() as folder:
        cut, salient, random = (narrowed(job, whole, share, Path(folder) / rule, rule) for rule in (TAYLOR, SALIENCE, RANDOM))
        arms: dict[str, Arm] = {
            "the whole model": (job, Run, whole),
            "neurons at random, cut at once": (replace(job, model=random), Run, whole),
            "by APT's salience, cut at once": (replace(job, model=salient), Run, whole),
            AT_ONCE: (replace(job, model=cut), Run, whole),
            "by importance, cut little by little": (job, partial(GradualRun, share=share), whole),
        }
        chosen = {name: arm for name, arm in arms.items() if not only or name in (AT_ONCE, *only)}
        print("\n".join(table(chosen, seeds, AT_ONCE)), flush=True)
    if only:
        return
    adapted = {rank: replace(whole, learning_rate=adapters_rate, lora_rank=rank) for rank in (SMALL, LARGE)}
    arms = {
        f"adapters of rank {SMALL}": (job, Run, adapted[SMALL]),
        f"adapters of rank {LARGE}": (job, Run, adapted[LARGE]),
        f"adapters that grow from {SMALL} to {LARGE} in half of the layers": (job, GrowingRun, adapted[LARGE]),
    }
    print("\n".join(["", *table(arms, seeds, f"adapters of rank {LARGE}")]))


def narrowed(job: Job, settings: TrainSettings, share: float, folder: Path, rule: str) -> str:
    """The folder of a model with that share of the neurons: by what one run measures, or any."""
    path = Path(job.model)
    found, seed = width.blocks(path, job.model), default_seeds(1)[0]
    count = kept_width(share, found.width)
    plan = RunPlan(key="importance", seed=seed, rows=np.arange(job.train.units), epochs=EPOCHS, record=False)
    if rule == TAYLOR:
        *_, importance = width.measure(plan, job.train, job.model, found, settings)
        assert isinstance(importance, Importance)
        kept = most_important(importance.neurons, count)
    elif rule == SALIENCE:
        run = SalienceRun(plan, job.train, job.model, settings)
        for epoch in range(EPOCHS):
            for _ in run.epoch(epoch):
                pass
        kept = most_important(run.salience.double().numpy(), count)
    else:
        kept = any_neurons(found.layers, found.width, count, seed)
    folder.mkdir()
    width.write(path, folder, found, width.Kept(kept), lambda: False)
    return str(folder)


def table(arms: dict[str, Arm], seeds: int, reference: str) -> list[str]:
    """A line for each arm: accuracy, against the reference by seed, and CPU time."""
    asked = [(*arm, seed) for arm in arms.values() for seed in default_seeds(seeds)]
    with ProcessPoolExecutor(len(cores()), get_context("spawn")) as pool:
        done = list(pool.map(trained, *zip(*asked, strict=True)))
    found = dict(zip(arms, np.array(done).reshape(len(arms), seeds, 2), strict=True))
    lines = [f"| trained | accuracy of {seeds} seeds | {reference}: against it, pp | CPU time |", "|---" * 4 + "|"]
    for name, values in found.items():
        accuracy, seconds = values[:, 0], median(values[:, 1] / found[reference][:, 1])
        against = "" if name == reference else in_pp(paired_values(accuracy - found[reference][:, 0]))
        lines.append(f"| {name} | {accuracy.mean():.3f} ({' '.join(f'{value:.3f}' for value in accuracy)}) | {against} | {seconds:.0%} |")
    return lines


def trained(job: Job, make: Callable[..., Run], settings: TrainSettings, seed: int) -> tuple[float, float]:
    """Train one run; return its accuracy on the evaluation sentences, and the CPU seconds of training."""
    plan = RunPlan(key=f"run {seed}", seed=seed, rows=np.arange(job.train.units), epochs=settings.epochs)
    with one_thread():
        run = make(plan, job.train, job.evaluation, job.model, settings)
        began = process_time()
        for epoch in range(settings.epochs):
            for _ in run.epoch(epoch):
                pass
        seconds = process_time() - began
        outputs = run.evaluate()
    if isinstance(run, GradualRun):
        assert (run.left > 0).sum(1).eq(run.kept).all(), "the cut is not complete"
    assert outputs is not None
    return float((outputs.argmax(1) == job.evaluation.labels).mean()), seconds


if __name__ == "__main__":
    typer.run(main)
