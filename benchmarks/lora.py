"""How fast Winnow scores a small language model with LoRA adapters, against TRL's SFTTrainer with packing on the same rows.

    python -m benchmarks.lora [--answers word --answers sentence] [--rounds 5] [--seconds 20]

SmolLM2-135M-Instruct, adapters of rank 16 on every linear layer, the sample's film sentences as conversations, the same token ids and
learned tokens for both. TRL (pip install --no-deps trl==1.16.0) is optional: without it only Winnow is measured. It packs sentences into
sequences of `PACKED` tokens, in bf16, with fused AdamW and without gradient checkpointing, on one thread and on all: the better counts.
The protocol is that of `benchmarks.scoring`: processes that are kept, a block of each in every round, medians of ratios; the last line is
`ratio_vs_trl=X` for the first of --answers. Memory is what the processes hold together: pages that several share count once (PSS).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import typer

from benchmarks.machine import heading
from benchmarks.scoring import OURS, Contender, Ours, Rounds
from benchmarks.trainers import Block, Clock, peak_memory
from pruning.data import models, sample
from pruning.data.tasks.generation.encoding import encode
from pruning.data.tasks.generation.turns import Conversation, Turn, columns_of
from pruning.jobs.demo_llm import LEARNING_RATE, RANK, small_model
from pruning.records import Encoded
from pruning.settings import TrainSettings
from pruning.training import kept_processes
from pruning.training.devices import cores, slots

ROWS, PACKED = 2048, 1024


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
) -> None:
    """Measure and print Markdown."""
    model = str(small_model())
    command = " ".join([*(f"--answers {name}" for name in answers), f"--rounds {rounds}", f"--seconds {seconds:g}"])
    print(heading("LoRA on a language model", f"python -m benchmarks.lora {command}"))
    print(
        f"- **trl**: SFTTrainer with packing into {PACKED} tokens, bf16, fused AdamW, no gradient checkpointing, the better of one thread"
    )
    print(f"  and all\n- **{OURS}**: the engine as `score` uses it, {slots('cpu')} runs side by side in single-thread processes\n")
    last = ""
    for kind in answers:
        data = conversations(kind, ROWS, model)
        found, threads = measure(model, data, rounds, seconds)
        learned = data.answer_lengths
        assert learned is not None
        print(f"## {WORDS[kind]}: {np.diff(data.offsets).mean():.1f} tokens on average, {learned.mean():.1f} learned\n")
        print(table(found, threads), flush=True)
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


def measure(model: str, data: Encoded, rounds: int, seconds: float) -> tuple[Rounds, dict[str, int]]:
    """Let every contender train `rounds` blocks of about `seconds`."""
    found: Rounds = []
    threads = {OURS: 1}
    with ExitStack() as stack:
        stack.enter_context(kept_processes())
        contenders: dict[str, Contender] = {OURS: Adapted(model, data)}
        if _present():
            contenders["trl"], threads["trl"] = best(stack, model, data)
        sizes = {name: size(contender, seconds) for name, contender in contenders.items()}
        order = list(contenders)
        for number in range(rounds):
            turn = order[number % len(order) :] + order[: number % len(order)]
            found.append({name: contenders[name].block(sizes[name]) for name in turn})
    return found, threads


class Adapted(Ours):
    """The engine with adapters, with all the slots of the machine."""

    def __init__(self, model: str, data: Encoded) -> None:
        super().__init__(model, data, "cpu")
        self.settings = TrainSettings(device="cpu", learning_rate=LEARNING_RATE, lora_rank=RANK)


def best(stack: ExitStack, model: str, data: Encoded) -> tuple[Contender, int]:
    """TRL with one thread or with one per core, whichever is faster in a trial."""
    trials = []
    for threads in sorted({1, len(cores())}):
        contender = Contender("trl", model, data, "cpu", threads, serve)
        contender.block(64)
        trials.append((contender.block(96).rate, threads, contender))
    *slower, (_, threads, chosen) = sorted(trials, key=lambda trial: trial[0])
    for _, _, contender in slower:
        contender.close()
    stack.callback(chosen.close)
    return chosen, threads


def size(contender: Contender, seconds: float) -> int:
    """Examples that keep it busy so long."""
    runs = contender.runs if isinstance(contender, Ours) else 1
    rate = contender.block(96 * runs).rate
    return int(np.clip(round(rate * seconds / 32 / runs), 2, ROWS // 32)) * 32 * runs


def serve(connection: Any, name: str, model: str, data: Encoded, device: str, threads: int) -> None:
    """A process that measures TRL whenever it is asked: takes a number of examples, answers with a `Block`; None ends it."""
    torch.set_num_threads(threads)
    rows = rows_of(data)
    connection.send(None)
    while (examples := connection.recv()) is not None:
        part = rows[: int(examples)]
        seconds = train_packed(model, part)
        tokens = sum(len(row["input_ids"]) for row in part)
        connection.send(Block(examples=len(part), tokens=tokens, seconds=seconds, memory=peak_memory(device)))


def rows_of(data: Encoded) -> list[dict[str, list[int]]]:
    """One dictionary per example, as TRL takes what is tokenised already."""
    assert data.answer is not None
    spans = [slice(start, end) for start, end in zip(data.offsets, data.offsets[1:], strict=False)]
    return [{"input_ids": data.tokens[own].tolist(), "completion_mask": data.answer[own].astype(int).tolist()} for own in spans]


def train_packed(model: str, rows: Sequence[dict[str, list[int]]]) -> float:
    """Train adapters with TRL for one epoch; return the seconds from the first step on."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"packing": True, "max_length": PACKED, "per_device_train_batch_size": 1, "completion_only_loss": True}
        settings |= {"bf16": True, "optim": "adamw_torch_fused", "gradient_checkpointing": False, "learning_rate": LEARNING_RATE}
        settings |= {"num_train_epochs": 1, "lr_scheduler_type": "linear", "save_strategy": "no", "logging_strategy": "no"}
        settings |= {"report_to": [], "disable_tqdm": True, "use_cpu": True, "output_dir": folder}
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            args=SFTConfig(**settings),
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=models.load_tokenizer(Path(model)),
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds


def table(rounds: Rounds, threads: dict[str, int]) -> str:
    """Medians over rounds, and how often Winnow is as fast."""
    lines = ["| | threads | examples/s | tokens/s | winnow is faster by | least and most | memory |", "|---|---|---|---|---|---|---|"]
    for name in rounds[0]:
        blocks = [turn[name] for turn in rounds]
        faster = [turn[OURS].rate / turn[name].rate for turn in rounds]
        tokens = median(block.tokens / block.seconds for block in blocks)
        cells = [name, str(threads[name]), f"{median(block.rate for block in blocks):,.1f}", f"{tokens:,.0f}", f"{median(faster):.2f}"]
        cells += [f"{min(faster):.2f} to {max(faster):.2f}", f"{max(block.memory for block in blocks) / 2**20:,.0f} MiB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _present() -> bool:
    try:
        import_module("trl")
    except ImportError:
        print("TRL is left out: it is not installed (pip install --no-deps trl==1.16.0).\n")
        return False
    return True


if __name__ == "__main__":
    typer.run(main)
