import os
import signal
import time
from pathlib import Path

import pytest

from pruning import jobs
from pruning.cli import app
from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.ownership import last_words
from pruning.records import JobState
from pruning.settings import Settings, default_seeds
from tests.conftest import EPOCHS


def wait_for(directory: Path, *states: JobState, seconds: float = 150) -> Experiment:
    """The experiment once its job stands in one of the states."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (directory / "experiment.json").exists():
            experiment = Experiment(directory)
            if experiment.status().state in states and (JobState.RUNNING in states or not experiment.owned()):
                return experiment
        time.sleep(0.1)
    raise AssertionError(f"still not {states} after {seconds} s; last words: {last_words(directory)}")


def test_a_worker_scores_in_the_background(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    jobs.start(jobs.score_command(settings, folder), folder)
    experiment = wait_for(folder, JobState.DONE, JobState.FAILED)
    assert experiment.status().state is JobState.DONE
    assert experiment.settings == settings.with_changes(task=experiment.settings.task, columns=experiment.settings.columns)
    assert experiment.dynamics.epochs == EPOCHS


def test_cancel_then_resume(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    longer = settings.with_changes(seeds=default_seeds(40))
    jobs.start(jobs.score_command(longer, folder), folder)
    wait_for(folder, JobState.RUNNING)
    assert jobs.cancel(folder)
    experiment = wait_for(folder, JobState.CANCELLED)
    assert len(experiment.finished_runs()) < 40
    with pytest.raises(ExperimentError, match="Nothing runs"):
        jobs.cancel(folder)
    jobs.resume(folder)
    wait_for(folder, JobState.RUNNING)
    assert jobs.cancel(folder)


def test_a_killed_worker_shows_as_interrupted_and_lived_at_low_priority(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    jobs.start(jobs.score_command(settings.with_changes(seeds=default_seeds(40)), folder), folder)
    running = wait_for(folder, JobState.RUNNING)
    end = time.monotonic() + 30
    while running.status().pid is None and time.monotonic() < end:
        time.sleep(0.1)
    pid = running.status().pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + jobs.NICENESS)
    os.kill(pid, signal.SIGKILL)
    wait_for(folder, JobState.INTERRUPTED, seconds=10)


def test_the_command_carries_every_setting(settings: Settings) -> None:
    """Each flag that `score` has is either written by `score_command` or is another spelling of one that is."""
    import typer.main

    command = typer.main.get_command(app)
    flags = {option for parameter in command.commands["score"].params for option in parameter.opts if option.startswith("--")}  # type: ignore[attr-defined]
    changed = settings.with_changes(
        task="pair",
        columns={"text": "a"},
        evaluation_fraction=0.3,
        evaluation_seed=1,
        drop_invalid=True,
        max_length=9,
        burn_in=1,
        checkpoints=False,
        stop_when_stable=0.9,
        limit=10,
        approximate="layers",
        frontier_learning_rate=1e-4,
        train=type(settings.train)(
            epochs=4,
            batch_size=5,
            learning_rate=1e-3,
            weight_decay=0.1,
            warmup_ratio=0.1,
            max_grad_norm=2,
            fixed_order=True,
            deterministic=True,
            precision="fp32",
            device="cpu",
        ),
    )
    words = jobs.score_command(changed, "x")
    assert flags - set(words) == {"--text", "--text-pair", "--label", "--runs", "--checkpoints", "--preset", "--estimate", "--json"}
    assert "--no-checkpoints" in words
