"""Where a training step's time goes: one run on one thread, as in a child process of `score`.

    python -m benchmarks.profile [--shape minilm] [--lengths sst2] [--steps 30]
    python -m benchmarks.profile --lora 16 [--answers word] [--steps 10]

Prints the CPU time of a step without the profiler, then PyTorch's operations by what they are for, as shares of their own time.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time
from typing import Annotated

import numpy as np
import typer
from torch.profiler import ProfilerActivity, profile

from benchmarks.lengths import Lengths, Shape, encoded, shaped
from benchmarks.lora import Answers, conversations
from benchmarks.machine import heading
from pruning.jobs.demo_llm import small_model
from pruning.records import RunPlan
from pruning.settings import TrainSettings
from pruning.training.devices import one_thread
from pruning.training.loop import Run
from pruning.training.process_pool import child_environment

PURPOSES = {
    "matrix products": ("mm", "addmm", "addmm_", "bmm", "baddbmm", "linear", "mkldnn_linear", "matmul"),
    "attention": ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward"),
    "AdamW": ("_fused_adamw_", "_foreach_"),
    "copies and casts": ("copy_", "_to_copy", "clone", "cat", "stack", "contiguous"),
    "layout of attention": ("index_select", "index_copy_", "index", "index_add_", "gather", "new_zeros"),
    "softmax, GELU and SiLU": ("_softmax", "_softmax_backward_data", "gelu", "gelu_backward", "silu", "silu_backward", "_log_softmax"),
    "layer norm": ("native_layer_norm", "native_layer_norm_backward"),
    "products and sums by element": (
        *("mul", "mul_", "add", "add_", "addcmul", "addcmul_", "pow", "mean", "rsqrt", "neg"),
        *("sum", "sub", "div", "where", "masked_fill_"),
    ),
    "norm of the gradients": ("linalg_vector_norm",),
    "allocation and zeros": ("empty", "empty_like", "empty_strided", "fill_", "zero_", "resize_"),
}
"""What an operation is for; all others, with Python's own time and the random numbers, are the rest."""

WARM = 5
"""Steps before the first one that counts."""


def main(
    shape: Annotated[Shape, typer.Option(help="Model shape.")] = Shape.MINILM,
    lengths: Annotated[Lengths, typer.Option(help="Lengths of text.")] = Lengths.SST2,
    steps: Annotated[int, typer.Option(help="Steps that count.")] = 30,
    lora: Annotated[int, typer.Option(help="Instead: SmolLM2-135M with adapters of this rank, on conversations.")] = 0,
    answers: Annotated[Answers, typer.Option(help="What the conversations' answers are.")] = Answers.WORD,
) -> None:
    """Measure and print Markdown."""
    environment = child_environment()
    if os.environ.get("GLIBC_TUNABLES") != environment["GLIBC_TUNABLES"]:  # read when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.profile", *sys.argv[1:]], environment)
    asked = f"--lora {lora} --answers {answers}" if lora else f"--shape {shape} --lengths {lengths}"
    print(heading("Where a step goes", f"python -m benchmarks.profile {asked} --steps {steps}"))
    with tempfile.TemporaryDirectory() as folder, one_thread():
        if lora:
            model = str(small_model())
            data = conversations(answers, 1024, model)
        else:
            model, data = shaped(shape, encoded(lengths, 1024), Path(folder))
        plan = RunPlan(key="run 0", seed=0, rows=np.arange(data.units), epochs=2 * (WARM + steps))
        run = Run(plan, data, None, model, TrainSettings(device="cpu", learning_rate=2e-5, lora_rank=lora))
        random = np.random.default_rng(0)
        batches = [random.permutation(data.units)[:32] for _ in range(WARM + steps)]
        run.network.train()
        run.recorder.start()
        times = [timed(run, batch) for batch in batches]
        tokens = float(np.mean([np.diff(data.offsets)[batch].sum() for batch in batches[WARM:]]))
        print(f"{1000 * median(times[WARM:]):.0f} ms CPU time a step, {tokens:.0f} tokens of text a step, products in {run.dtype}.\n")
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for batch in batches[WARM:]:
                run.step(batch)
    print(table({event.key.removeprefix("aten::"): (event.self_cpu_time_total, event.count / steps) for event in profiler.key_averages()}))


def timed(run: Run, batch: np.ndarray) -> float:
    """CPU seconds of one step."""
    started = process_time()
    run.step(batch)
    return process_time() - started


def table(events: dict[str, tuple[float, float]]) -> str:
    """Shares by purpose, largest first. `events`: operation -> microseconds of its own, calls a step."""
    whole = sum(own for own, _ in events.values())
    of = {name: purpose for purpose, names in PURPOSES.items() for name in names}
    shares: dict[str, list[float]] = {}
    for name, (own, calls) in events.items():
        purpose = of.get("_foreach_" if name.startswith("_foreach_") else name, "the rest")
        entry = shares.setdefault(purpose, [0.0, 0.0])
        entry[0] += own / whole
        entry[1] += calls
    rows = sorted(shares.items(), key=lambda item: -item[1][0])
    lines = ["| share | what | calls a step |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {share:.1%} | {purpose} | {calls:.0f} |" for purpose, (share, calls) in rows)])


if __name__ == "__main__":
    typer.run(main)
