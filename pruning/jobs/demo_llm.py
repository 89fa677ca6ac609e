"""The demo of prompts and answers: a small language model with adapters, from scoring to a verified export."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np

from pruning.analysis.frontier import USUAL_SEEDS, check_seeds
from pruning.analysis.looks import looks
from pruning.data import sample_chats
from pruning.data.sample import fetching
from pruning.experiment import Experiment
from pruning.files import atomic_write
from pruning.jobs import worker
from pruning.jobs.demo import Demo, Listening, concluded, fitting, silence
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.subsets.looks import SOMETIMES

LEARNING_RATE = 5e-4
"""Rate of the demo, so that it need not search."""

SIZES = (150, 120, 90)
"""Training conversations of the demo: the most that end in time, else the fewest."""

MINUTES = 10.0
"""Time that the demo may take."""

KEPT = 0.9
"""Share of the conversations that the demo's subsets keep, at most; known only after scoring."""

RATING = "source.rating_mean"

RANK = 16
"""Rank of the adapters on every linear layer."""


def small_model() -> Path:
    """Return the folder of SmolLM2-135M-Instruct, fetched and unpacked once (540 MB). Raises DownloadError, and ModelError without gguf."""
    folder = sample_chats.chat_folder()
    with fetching(folder) as downloads:
        if downloads:
            from pruning.training import gguf_weights

            gguf_weights.check_reader()
            file = sample_chats.download_chat_model(downloads)
            with atomic_write(folder) as temporary:
                gguf_weights.unpack(file, temporary)
    return folder


def affordable(directory: str | Path, evaluation: int, runs: int, seeds: int) -> tuple[int, float | None]:
    """Return how many training conversations the demo takes here; see `demo.fitting`. Raises as `small_model` and `worker.score` do."""
    fractions = [1.0] * max(0, seeds - runs) + [KEPT] * 2 * seeds
    return fitting(directory, SIZES, MINUTES, lambda train: _settings(train, evaluation, runs), fractions)


def demo(
    directory: str | Path,
    train: int = SIZES[0],
    evaluation: int = 120,
    runs: int = 2,
    seeds: int = USUAL_SEEDS,
    listening: Listening = lambda title: nullcontext(silence),
) -> Demo:
    """Score the conversations, measure full data, `sometimes-right` and random of its size, then export a subset and verify it.

    The exported subset is the recommended one, or `sometimes-right` where none is recommended. Raises what `small_model`, `worker.score`
    and `worker.frontier` raise.

    Parameters
    ----------
    directory
        Folder of the experiment.
    train, evaluation
        Conversations drawn from the sample.
    runs
        Fine-tunings that score.
    seeds
        Fine-tunings per point of the frontier.
    listening
        Opens the listener of a job, given the job's title.
    """
    check_seeds(seeds)
    with listening(f"Scoring {train} conversations, {runs} runs") as listen:
        experiment = worker.score(_settings(train, evaluation, runs), directory, listen)
    with listening(f"Measuring full data, {SOMETIMES}, and random of equal size") as listen:
        names = [SOMETIMES] if experiment.subset(SOMETIMES).size else ["random@0.5"]
        experiment = worker.frontier(directory, names, ["random"], seeds, listen=listen)
    return concluded(experiment, SOMETIMES)


def people(experiment: Experiment) -> str:
    """Say how clear people found the sentences that are right at no look and at every look; no training saw their ratings."""
    clear = np.abs(experiment.examples([RATING])[RATING].to_numpy())
    right, every = looks(experiment.dynamics)
    groups = [("right at no look", right == 0), ("at some", (right > 0) & (right < every)), ("at every look", right == every)]
    means = ", ".join(f"{name} {clear[group].mean():.2f}" for name, group in groups if group.any())
    return f"How far from neutral some 20 people rated the sentences (0 to 4, mean; not trained on): {means}."


def _settings(train: int, evaluation: int, runs: int) -> Settings:
    """Return the settings of the demo's scoring."""
    model = small_model()
    train_file, evaluation_file = sample_chats.chat_split(train, evaluation)
    recipe = TrainSettings(learning_rate=LEARNING_RATE, lora_rank=RANK)
    return Settings(
        data=str(train_file),
        evaluation=str(evaluation_file),
        model=str(model),
        seeds=default_seeds(runs),
        burn_in=1,  # in the first epoch the model learns what an answer looks like, so that hardly any look is right
        train=recipe,
    )
