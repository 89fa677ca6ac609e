"""How fast Winnow scores a small language model with LoRA adapters, against TRL's SFTTrainer with packing on the same rows.

    python -m benchmarks.lora [--answers word --answers sentence] [--rounds 5] [--seconds 20] [--packed 1024] [--alone]

SmolLM2-135M-Instruct, adapters of rank 16 on every linear layer, the sample's film sentences as conversations, the same token ids and
learned tokens for both. TRL (pip install --no-deps trl==1.16.0) is optional: without it only Winnow is measured. It packs sentences into
sequences of --packed tokens, in bf16, with fused AdamW and without gradient checkpointing, on one thread and on all: the better counts.
The protocol is that of `benchmarks.scoring`: processes that are kept, a block of each in every round, medians of ratios; the last line is
`ratio_vs_trl=X` for the first of --answers. Memory is what the processes hold together: pages that several share count once (PSS).
For a machine that others use, --alone compares one run with TRL on one thread, by CPU time in place of wall time.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import psutil
import pyarrow as pa
import torch
import typer

from benchmarks.machine import heading
from benchmarks.scoring import OURS, Contender, Ours, Rounds, fastest, in_turns, table
from benchmarks.trainers import Block, Clock, peak_memory
from pruning.data import models, sample
from pruning.data.tasks.generation.encoding import encode
from pruning.data.tasks.generation.turns import Conversation, Turn, columns_of
from pruning.files import training_environment
from pruning.jobs.demo_llm import LEARNING_RATE, RANK, small_model
from pruning.records import Encoded, Progress, RunPlan
from pruning.settings import TrainSettings
from pruning.training import kept_processes
from pruning.training.devices import cores, slots
from pruning.training.loop import Run

ROWS = 2048


class Answers(StrEnum):
    """What the model learns to answer."""

    WORD = "word"
    SENTENCE = "sentence"


WORDS = {
    Answers.WORD: "the answer is the word positive or negative (as in demo-llm)",
    Answers.SENTENCE: "the answer is the sentence itself",
}


def main(
    answers: Annotated[list[Answers], typer.Option(help="Kinds of answers; may be given more than once.")] = list(Answers),  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Times that everyone trains a block.")] = 5,
    seconds: Annotated[float, typer.Option(help="Length of a block.")] = 20.0,
    packed: Annotated[int, typer.Option(help="Tokens of a sequence that TRL packs; 1024 is its default.")] = 1024,
    alone: Annotated[bool, typer.Option("--alone", help="One run against one thread of TRL, by CPU time.")] = False,
) -> None:
    """Measure and print Markdown."""
    model = str(small_model())
    words = [*(f"--answers {name}" for name in answers), f"--rounds {rounds}", f"--seconds {seconds:g}", f"--packed {packed}"]
    words += ["--alone"] if alone else []
    command = " ".join(words)
    print(heading("LoRA on a language model", f"python -m benchmarks.lora {command}"))
    ways = (
        ["one thread, CPU time"] * 2
        if alone
        else ["the better of one thread and all", f"{slots('cpu')} single-thread processes side by side"]
    )
    print(f"- **trl**: SFTTrainer, packing into {packed} tokens, bf16, fused AdamW, no gradient checkpointing, {ways[0]}")
    print(f"- **{OURS}**: the engine as `score` uses it, {ways[1]}\n")
    last = ""
    for kind in answers:
        data = conversations(kind, ROWS, model)
        found, threads = measure(model, data, rounds, seconds, packed, alone=alone)
        learned = data.answer_lengths
        assert learned is not None
        print(f"## {WORDS[kind]}: {np.diff(data.offsets).mean():.1f} tokens on average, {learned.mean():.1f} learned\n")
        print(f"{table(found, threads)}\n")
        print("" if alone else f"Memory (PSS): {memory(model, data)}\n", flush=True)
        if "trl" in found[0]:
            last = last or f"ratio_vs_trl={median(turn[OURS].rate / turn['trl'].rate for turn in found):.2f}"
    print(last)


def conversations(kind: Answers, count: int, model: str) -> Encoded:
    """`count` of the sample's sentences as conversations, seeded."""
    rows = [json.loads(line) for line in sample.sample_data().read_text(encoding="utf-8").splitlines()]
    found = []
    for place in np.random.default_rng(0).permutation(len(rows))[:count]:
        sentence, label = rows[place]["sentence"], rows[place]["label"]
        asked, answer = (sentence, label) if kind is Answers.WORD else (f"Write a {label} sentence of a film review.", sentence)
        found.append(
            Conversation(turns=(Turn(role="user", content=asked, trained=False), Turn(role="assistant", content=answer, trained=True)))
        )
    return encode(pa.table({"id": pa.array(np.arange(count)), **columns_of(found)}), models.load_tokenizer(Path(model)), 256)


def measure(model: str, data: Encoded, rounds: int, seconds: float, packed: int, *, alone: bool) -> tuple[Rounds, dict[str, int]]:
    """Let every contender train `rounds` blocks of about `seconds`."""
    threads = {OURS: 1}
    with ExitStack() as stack:
        stack.enter_context(kept_processes())
        contenders: dict[str, Contender] = {OURS: Alone(OURS, model, data, "cpu", 1, serve_run) if alone else Adapted(model, data)}
        stack.callback(contenders[OURS].close)
        if _present():
            contenders["trl"], threads["trl"] = best(stack, model, data, packed, alone=alone)
        sizes = {name: size(contender, seconds) for name, contender in contenders.items()}
        found = in_turns(contenders, sizes, rounds)
    return found, threads


class Alone(Contender):
    """One run in a process with the environment of a training process."""

    def __init__(self, *arguments: Any) -> None:
        before = os.environ.copy()
        os.environ.update(training_environment())
        try:
            super().__init__(*arguments)
        finally:
            os.environ.clear()
            os.environ.update(before)


class Adapted(Ours):
    """The engine with adapters, with all the slots of the machine."""

    def __init__(self, model: str, data: Encoded) -> None:
        super().__init__(model, data, "cpu")
        self.settings = TrainSettings(device="cpu", learning_rate=LEARNING_RATE, lora_rank=RANK)
        self.most = 0

    def train(self, examples: int, runs: int) -> Block:
        """Trains `runs` runs; memory is the most that their processes held together."""
        self.most = 0
        return replace(super().train(examples, runs), memory=self.most)

    def reports(self, plans: Sequence[RunPlan]) -> Iterator[Any]:
        """What the engine reports, while the memory of its processes is watched."""
        for item in super().reports(plans):
            if isinstance(item, Progress):
                self.most = max(self.most, held())
            yield item


def held() -> int:
    """Bytes that training processes hold; a page that several have mapped counts once."""
    found = 0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += child.memory_full_info().pss if "process_worker" in " ".join(child.cmdline()) else 0
    return found


def best(stack: ExitStack, model: str, data: Encoded, packed: int, *, alone: bool) -> tuple[Contender, int]:
    """TRL with one thread or with one per core, whichever is faster in a trial; if `alone`, with one."""
    asked = partial(serve, clock=process_time if alone else perf_counter, packed=packed)
    return fastest(stack, [1] if alone else sorted({1, len(cores())}), lambda threads: Contender("trl", model, data, "cpu", threads, asked))


def size(contender: Contender, seconds: float) -> int:
    """Examples that keep it busy so long."""
    runs = contender.runs if isinstance(contender, Ours) else 1
    rate = contender.block(96 * runs).rate
    return int(np.clip(round(rate * seconds / 32 / runs), 2, ROWS // 32)) * 32 * runs


def serve_run(connection: Any, name: str, model: str, data: Encoded, device: str, threads: int) -> None:
    """A process that trains a run of Winnow whenever it is asked, as `serve` does TRL; seconds of CPU time."""
    torch.set_num_threads(threads)
    connection.send(None)
    while (examples := connection.recv()) is not None:
        rows = np.arange(int(examples))
        settings = TrainSettings(device=device, learning_rate=LEARNING_RATE, lora_rank=RANK)
        run = Run(RunPlan(key=name, seed=0, rows=rows, epochs=1), data, None, model, settings)
        began = process_time()
        for _ in run.epoch(0):
            pass
        seconds = process_time() - began
        connection.send(Block(examples=len(rows), tokens=run.tokens, seconds=seconds, memory=peak_memory(device)))


def serve(
    connection: Any, name: str, model: str, data: Encoded, device: str, threads: int, clock: Callable[[], float], packed: int
) -> None:
    """A process that measures TRL whenever it is asked: takes a number of examples, answers with a `Block`; None ends it."""
    torch.set_num_threads(threads)
    rows = rows_of(data)
    connection.send(None)
    while (examples := connection.recv()) is not None:
        part = rows[: int(examples)]
        seconds = train_packed(model, part, clock, packed)
        tokens = sum(len(row["input_ids"]) for row in part)
        connection.send(Block(examples=len(part), tokens=tokens, seconds=seconds, memory=peak_memory(device)))


def rows_of(data: Encoded) -> list[dict[str, list[int]]]:
    """One dictionary per example, as TRL takes what is tokenised already."""
    assert data.answer is not None
    spans = [slice(start, end) for start, end in zip(data.offsets, data.offsets[1:], strict=False)]
    return [{"input_ids": data.tokens[own].tolist(), "completion_mask": data.answer[own].astype(int).tolist()} for own in spans]


def train_packed(model: str, rows: Sequence[dict[str, list[int]]], clock: Callable[[], float], packed: int) -> float:
    """Train adapters with TRL for one epoch; return the seconds of `clock` from the first step on."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    watch = Clock(clock)
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"packing": True, "max_length": packed, "per_device_train_batch_size": 1, "completion_only_loss": True}
        settings |= {"bf16": True, "optim": "adamw_torch_fused", "gradient_checkpointing": False, "learning_rate": LEARNING_RATE}
        settings |= {"num_train_epochs": 1, "lr_scheduler_type": "linear", "save_strategy": "no", "logging_strategy": "no"}
        settings |= {"report_to": [], "disable_tqdm": True, "use_cpu": True, "output_dir": folder}
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            args=SFTConfig(**settings),
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=models.load_tokenizer(Path(model)),
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return watch.seconds


def memory(model: str, data: Encoded) -> str:
    """One run alone against as many side by side as there are slots."""
    with kept_processes():
        ours = Adapted(model, data)
        alone, together = (ours.train(96, runs).memory / 2**20 for runs in (1, ours.runs))
    return f"one run {alone:,.0f} MiB, {ours.runs} side by side {together:,.0f} MiB ({together / alone:.2f} times one)."


def _present() -> bool:
    try:
        import_module("trl")
    except ImportError:
        print("TRL is left out: it is not installed (pip install --no-deps trl==1.16.0).\n")
        return False
    return True


if __name__ == "__main__":
    typer.run(main)
