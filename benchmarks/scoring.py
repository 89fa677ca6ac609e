"""How fast Winnow scores, against the recipes people use, on this machine.

    python -m benchmarks.scoring [--quick] [--busy] [--device cpu] [--shape minilm] [--lengths sst2 ...]

Each contender trains in a process of its own and keeps it; in each round every contender trains one block, in an order that
changes from round to round, so that a noisy machine disturbs all of them alike. A block is as many examples as that contender
does in --seconds. Start-up is not counted for anyone: in a real scoring it is nothing. Ours is `pruning.training.train` itself,
in processes that are kept like the others', with as many runs side by side as the machine has slots, recording on. The ratios are
medians over rounds; the last line is for the first of --lengths: `ratio_vs_paper=X ratio_vs_tuned=Y`.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.lengths import SHAPES, WORDS, Lengths, Shape, encoded, shaped
from benchmarks.machine import heading
from benchmarks.trainers import RECIPES, Block, peak_memory, serve
from pruning.records import Encoded, Progress, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training import kept_processes, train
from pruning.training.devices import cores, pick_device, slots
from pruning.training.interleaved import MOST_AT_ONCE

OURS = "winnow"
EXAMPLES = 4096
"""Texts of each length; a block takes the first of them."""

PEAK_FLOPS, PEAK_BYTES = 790e12, 4.5e12
"""An H200's bf16 arithmetic and memory traffic per second, as seen in practice."""

Rounds = list[dict[str, Block]]


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Two rounds of 5 seconds of the first lengths only, without dPrune.")] = False,
    busy: Annotated[bool, typer.Option("--busy", help="With one other busy process beside it.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    shape: Annotated[list[Shape], typer.Option(help="Model shapes; may be given more than once.")] = [Shape.MINILM],  # noqa: B006
    lengths: Annotated[list[Lengths], typer.Option(help="Lengths of text; may be given more than once.")] = list(Lengths),  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Times that everyone trains a block.")] = 5,
    seconds: Annotated[float, typer.Option(help="Length of a block.")] = 8.0,
    without: Annotated[list[str], typer.Option(help="A contender to leave out.")] = [],  # noqa: B006
) -> None:
    """Measure and print Markdown."""
    kind = pick_device(device).type
    if quick:
        lengths, rounds, seconds, without = lengths[:1], 2, 5.0, [*without, "dprune"]
    names = [name for name in RECIPES if name not in without and _present(name)]
    words = [*(f"--shape {s}" for s in shape), *(f"--lengths {name}" for name in lengths), f"--rounds {rounds}", f"--seconds {seconds:g}"]
    words += [*(f"--without {name}" for name in without), *(["--busy"] if busy else [])]
    print(heading("How fast Winnow scores", f"python -m benchmarks.scoring --device {kind} {' '.join(words)}"))
    print("\n".join(f"- **{name}**: {RECIPES[name].words}" for name in names))
    print(f"- **{OURS}**: the engine as `score` uses it, {_side_by_side(kind)}\n")
    last = ""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if busy:
            stack.enter_context(busy_process())
        for one_shape in shape:
            for length in lengths:
                model, data = shaped(one_shape, encoded(length, EXAMPLES), folder)
                measured = measure(names, model, data, kind, rounds, seconds)
                print(f"## {one_shape}, {WORDS[length]}: {np.diff(data.offsets).mean():.1f} tokens on average\n")
                print(table(measured.rounds, measured.threads, None if kind == "cpu" else partial(hardware, one_shape, data)))
                print(f"\nPeak memory: {measured.memory}\n", flush=True)
                last = last or ratios(measured.rounds)
    print(last)


@dataclass
class Measured:
    """What came out for one model and one length."""

    rounds: Rounds = field(default_factory=list)
    threads: dict[str, int] = field(default_factory=dict)
    memory: str = ""


def measure(names: Sequence[str], model: str, data: Encoded, device: str, rounds: int, seconds: float) -> Measured:
    """Lets every contender train `rounds` blocks of about `seconds`."""
    measured = Measured()
    with ExitStack() as stack:
        stack.enter_context(kept_processes())
        contenders: dict[str, Contender] = {}
        for name in names:
            contenders[name], measured.threads[name] = _with_best_threads(stack, name, model, data, device)
        contenders[OURS] = Ours(model, data, device)
        measured.threads[OURS] = 1
        sizes = {name: _size(contender, seconds) for name, contender in contenders.items()}
        measured.rounds = in_turns(contenders, sizes, rounds)
    measured.memory = memory(contenders[OURS], sizes[OURS], device)
    return measured


class Contender:
    """A reference recipe in a process of its own."""

    def __init__(self, name: str, model: str, data: Encoded, device: str, threads: int, serve: Callable[..., None] = serve) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, model, data, device, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()

    def block(self, examples: int) -> Block:
        """Trains on that many examples."""
        self.connection.send(examples)
        return self.connection.recv()

    def close(self) -> None:
        """Ends the process."""
        self.connection.send(None)
        self.process.join()


class Ours(Contender):
    """The engine, with all the slots of the machine."""

    def __init__(self, model: str, data: Encoded, device: str) -> None:
        self.model, self.data, self.device = model, data, device
        self.runs = slots(device) if device == "cpu" else MOST_AT_ONCE
        self.settings = TrainSettings(device=device, learning_rate=2e-5)

    def block(self, examples: int) -> Block:
        """Trains as many runs as there are slots, on that many examples in all."""
        return self.train(examples // self.runs, self.runs)

    def train(self, examples: int, runs: int) -> Block:
        """Trains `runs` runs on `examples` examples each."""
        rows = np.arange(min(examples, self.data.units))
        epochs = max(1, round(examples / len(rows)))
        plans = [RunPlan(key=f"run {run}", seed=run, rows=rows, epochs=epochs) for run in range(runs)]
        peaks: dict[str, int] = {}
        taken: list[float] = []
        for item in self.reports(plans):
            if isinstance(item, Progress):
                peaks[item.key] = item.memory
            elif isinstance(item, RunResult):
                taken.append(item.seconds)
        tokens = runs * epochs * int(np.diff(self.data.offsets)[rows].sum())
        memory = sum(peaks.values()) if self.device == "cpu" else peak_memory(self.device)
        return Block(examples=runs * epochs * len(rows), tokens=tokens, seconds=max(taken), memory=memory)

    def reports(self, plans: Sequence[RunPlan]) -> Iterator[Any]:
        """What the engine reports."""
        return train(plans, self.data, None, self.model, self.settings)

    def close(self) -> None:
        """Nothing stays open."""


def table(rounds: Rounds, threads: Mapping[str, int], more: Callable[[float], list[str]] | None = None) -> str:
    """Medians over rounds, and how often Winnow is as fast; `more` makes the cells of `hardware` from the examples per second."""
    lines = ["| | threads | examples/s | tokens/s | winnow is faster by | least and most | memory |"]
    lines[0] += " MFU | share of the floor |" if more else ""
    lines.append("|---" * (9 if more else 7) + "|")
    for name in rounds[0]:
        blocks = [turn[name] for turn in rounds]
        faster = [turn[OURS].rate / turn[name].rate for turn in rounds]
        rate, tokens = median(block.rate for block in blocks), median(block.tokens / block.seconds for block in blocks)
        cells = [name, str(threads[name]), f"{rate:,.1f}", f"{tokens:,.0f}", f"{median(faster):.2f}"]
        cells += [f"{min(faster):.2f} to {max(faster):.2f}", f"{max(block.memory for block in blocks) / 2**20:,.0f} MiB"]
        lines.append(f"| {' | '.join([*cells, *(more(rate) if more else [])])} |")
    return "\n".join(lines)


def ratios(rounds: Rounds) -> str:
    """The line that a script reads."""
    found = {name: median(turn[OURS].rate / turn[name].rate for turn in rounds) for name in rounds[0] if name != OURS}
    return " ".join(f"ratio_vs_{name}={found[name]:.2f}" for name in ("paper", "tuned") if name in found)


def memory(ours: Contender, examples: int, device: str) -> str:
    """One run alone against as many side by side as there are slots."""
    assert isinstance(ours, Ours)
    alone, together = ours.train(examples // ours.runs, 1).memory, ours.train(examples // ours.runs, ours.runs).memory
    times = together / alone
    return f"one run {alone / 2**20:,.0f} MiB, {ours.runs} side by side {together / 2**20:,.0f} MiB ({times:.2f} times one)."


def flops(shape: Shape, data: Encoded) -> float:
    """Arithmetic of training on one example, mean: 3 (2 N l + 4 L h l^2) with N the parameters outside the embedding."""
    config: dict[str, Any] = SHAPES[shape] or {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    hidden, layers, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    weights = layers * (4 * hidden**2 + 2 * hidden * inner)
    length = np.diff(data.offsets).astype(float)
    return float(3 * (2 * weights * length + 4 * layers * hidden * length**2).mean())


def parameters(shape: Shape) -> float:
    """All parameters that AdamW moves, roughly."""
    config: dict[str, Any] = SHAPES[shape] or {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    hidden, layers, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    return float(layers * (4 * hidden**2 + 2 * hidden * inner) + hidden * (30522 if SHAPES[shape] is None else 50265))


@contextmanager
def busy_process() -> Iterator[None]:
    """Somebody else's work on one core."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _spin() -> None:
    while True:
        pass


def _with_best_threads(stack: ExitStack, name: str, model: str, data: Encoded, device: str) -> tuple[Contender, int]:
    """The contender with one thread or with one per core, whichever is faster in a trial."""
    counts = sorted({1, len(cores())}) if device == "cpu" else [1]
    return fastest(stack, counts, lambda threads: Contender(name, model, data, device, threads))


def fastest(stack: ExitStack, counts: Sequence[int], make: Callable[[int], Contender]) -> tuple[Contender, int]:
    """The contender with as many threads as are fastest in a trial, and how many those are; the others are closed."""
    trials: list[tuple[float, int, Contender]] = []
    for threads in counts:
        contender = make(threads)
        contender.block(64)
        trials.append((contender.block(96).rate, threads, contender))
    *slower, (_, threads, best) = sorted(trials, key=lambda trial: trial[0])
    for _, _, contender in slower:
        contender.close()
    stack.callback(best.close)
    return best, threads


def in_turns(contenders: Mapping[str, Contender], sizes: Mapping[str, int], rounds: int) -> Rounds:
    """Let each contender train a block of its size in each round, in an order that changes from round to round."""
    found: Rounds = []
    order = list(contenders)
    for number in range(rounds):
        turn = order[number % len(order) :] + order[: number % len(order)]
        found.append({name: contenders[name].block(sizes[name]) for name in turn})
    return found


def _size(contender: Contender, seconds: float) -> int:
    """Examples that keep it busy so long: whole batches, at least two for each run."""
    runs = contender.runs if isinstance(contender, Ours) else 1
    rate = contender.block((512 if isinstance(contender, Ours) else 96) * runs).rate
    most = EXAMPLES * (8 * runs if isinstance(contender, Ours) else 1)
    return int(np.clip(round(rate * seconds / 32 / runs), 2, most // 32 // runs)) * 32 * runs


def hardware(shape: Shape, data: Encoded, rate: float) -> list[str]:
    """Model FLOPs utilisation, and how close to the least time that arithmetic and AdamW's memory traffic allow."""
    arithmetic = flops(shape, data) / PEAK_FLOPS
    floor = arithmetic + 28 * parameters(shape) / PEAK_BYTES / 32
    return [f"{rate * arithmetic:.1%}", f"{rate * floor:.0%}"]


def _present(name: str) -> bool:
    if name != "dprune":
        return True
    try:
        import_module("dprune.callbacks")
    except ImportError:
        print("dPrune is left out: it is not installed (pip install --no-deps dprune==0.0.1).\n")
        return False
    return True


def _side_by_side(device: str) -> str:
    if device == "cpu":
        return f"{slots(device)} runs side by side in single-thread processes"
    return f"up to {MOST_AT_ONCE} runs side by side on the GPU"


if __name__ == "__main__":
    typer.run(main)
