"""Settings that depend on the task and the model, decided before a recording begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pruning.data import model_checks
from pruning.data.tasks import TASKS
from pruning.errors import UsageError
from pruning.settings import Settings

LARGE = 300_000_000
"""Parameters above which a causal language model trains adapters instead of all weights."""

RANK = 16
"""Rank of these adapters."""

RUNS = 2
"""Runs of generation: started from the same weights they agree, and epochs tell examples apart; the second shows how far they agree."""


def decided(settings: Settings, task: str, model: Path, runs_given: bool = True) -> Settings:
    """Return the settings with the task's usual length, adapters where nothing was said, and for generation 2 runs unless given.

    Raises UsageError for four bits where they cannot be used, and ModelError for weights that this machine cannot hold.
    """
    generates = TASKS[task].kind == "generation"
    in_4bit, rank = settings.train.load_in_4bit, settings.train.lora_rank
    if in_4bit:
        _check_4bit(task, generates)
    if rank is None:
        large = generates and (in_4bit or model_checks.shape(model, settings.model).parameters > LARGE)
        rank = RANK if large else 0
    model_checks.check_memory(model, settings.model, replace(settings.train, lora_rank=rank))
    seeds = settings.seeds if runs_given or not generates else settings.seeds[:RUNS]
    return settings.with_changes(max_length=settings.max_length or TASKS[task].max_length, lora_rank=rank, seeds=seeds)


def _check_4bit(task: str, generates: bool) -> None:
    """Raise UsageError for a task whose models are not adapted in all linear layers, or without bitsandbytes."""
    if not generates:
        raise UsageError(
            f"load_in_4bit is for prompts and answers (task generation), where adapters are on every linear layer; the task is {task}.",
            "load_in_4bit",
        )
    from pruning.training.four_bits import check_installed

    check_installed()
