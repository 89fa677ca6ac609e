"""Real small things that several tests share: review files, a tiny model, a scored experiment."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings as hypothesis_settings

from pruning.experiment import Experiment
from pruning.settings import Settings, TrainSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

hypothesis_settings.register_profile("busy", deadline=None)  # how long an example takes says something of the machine, not of us
hypothesis_settings.load_profile("busy")

QUEUE = "WINNOW_QUEUE"
SEEDS = (11, 22, 33)
EPOCHS = 3
LOOK_FILES = 3
"""Files of a finished look: embeddings, probabilities, look.json."""
EXAMPLES = 120
BURN_IN = 2
"""The tiny model says one class throughout its first epochs, so only the last one counts."""


def write_reviews(path: Path, examples: int, seed: int = 0) -> Path:
    """JSON lines of short made-up reviews; a tenth of the labels is wrong, so that difficulty varies."""
    random = np.random.default_rng(seed)
    good, bad = ["good", "great", "fine", "fun", "love", "best"], ["bad", "awful", "dull", "slow", "hate", "worst"]
    with path.open("w", encoding="utf-8") as file:
        for index in range(examples):
            positive = index % 2 == 0
            words = [
                *random.choice(good if positive else bad, size=random.integers(1, 4)),
                *random.choice(["film", "the", "plot", "cast"], size=3),
            ]
            label = positive if random.random() > 0.1 else not positive
            row = {"sentence": " ".join(words), "label": "positive" if label else "negative", "source": f"s{index % 3}"}
            file.write(json.dumps(row) + "\n")
    return path


STARTS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec")
_started: list[str] | None = None


def _notice(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: note each start of a process while a test runs that says it starts none."""
    if _started is not None and event in STARTS:
        _started.append(f"{event} {arguments[:2]}")


sys.addaudithook(_notice)


@pytest.fixture(autouse=True)
def _no_process_unless_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that starts processes is marked `process`; `make check`, which leaves those out, holds the others to it."""
    global _started
    if "not process" in request.config.option.markexpr:
        _started = []
    yield
    started, _started = _started, None
    assert not started, f"mark this test with pytest.mark.process: it started {started[0]}"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder or file made by the first test process that needs it, the same for all of a run."""
    base = factory.getbasetemp()
    path = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
    path.parent.mkdir(exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            make(path)
    return path


@pytest.fixture(scope="session", autouse=True)
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests wait for no device that something else on this machine trains on."""
    folder = tmp_path_factory.mktemp("queues")
    before = os.environ.get(QUEUE)
    os.environ[QUEUE] = str(folder)
    yield folder
    os.environ.pop(QUEUE)
    if before is not None:
        os.environ[QUEUE] = before


@pytest.fixture(autouse=True)
def _a_queue_of_its_own(queues: Path) -> Iterator[None]:
    """Nor for what another test may have left running."""
    os.environ[QUEUE] = str(queues / secrets.token_hex(4))
    yield
    os.environ[QUEUE] = str(queues)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny real BERT with its tokenizer."""
    from tests.support.tiny import tiny_model

    return str(made_once(tmp_path_factory, "bert", tiny_model))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Training and evaluation files."""
    train = made_once(tmp_path_factory, "train.jsonl", lambda path: write_reviews(path, EXAMPLES))
    return train, made_once(tmp_path_factory, "eval.jsonl", lambda path: write_reviews(path, 24, seed=1))


@pytest.fixture(scope="session")
def settings(reviews: tuple[Path, Path], tiny: str) -> Settings:
    """Settings of a scoring that takes a second or two."""
    train, evaluation = reviews
    recipe = TrainSettings(epochs=EPOCHS, batch_size=4, learning_rate=5e-3, device="cpu")
    return Settings(data=str(train), evaluation=str(evaluation), model=tiny, seeds=SEEDS, max_length=32, burn_in=BURN_IN, train=recipe)


@pytest.fixture(scope="session", autouse=True)
def in_process() -> Iterator[Callable[..., Any]]:
    """Runs train in the test's own process, those of fixtures too: starting others takes seconds. Every command of its own starts them,
    and tests marked `pool`, which get back what this yields. An estimate measures for a moment, and a start of a process only once.
    """
    from pruning import training
    from pruning.training import cost

    real = training.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", partial(real, workers=0))
        patch.setattr(cost, "PROBE_SECONDS", 0.1)
        patch.setattr(cost, "_process_seconds", cache(cost._process_seconds))
        yield real


@pytest.fixture(autouse=True)
def _in_a_pool_where_marked(request: pytest.FixtureRequest, in_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("pool") is not None:
        monkeypatch.setattr("pruning.training.train", in_process)


@pytest.fixture(scope="session")
def scored_once(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment scored by the real worker, its runs trained in this process; copy it before changing it."""
    from pruning.jobs import worker

    return made_once(tmp_path_factory, "reviews", lambda path: worker.score(settings, path))


@pytest.fixture
def scored(scored_once: Path, tmp_path: Path) -> Experiment:
    """A scored experiment of the test's own."""
    assert not (scored_once / "cache").exists(), "a test opened the shared experiment itself; it must copy it first"
    return Experiment(shutil.copytree(scored_once, tmp_path / "reviews"))


@pytest.fixture(scope="session")
def chats_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of short chats, a tiny language model, and a scored experiment of them, `experiments/chats`; copy before changing it."""
    from pruning.jobs import worker
    from tests.support.chats import settings_of

    def make(folder: Path) -> None:
        folder.mkdir()
        worker.score(settings_of(folder), folder / "experiments" / "chats")

    return made_once(tmp_path_factory, "chats", make)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a process: Playwright cannot be started twice. Busy machines get 20 seconds before a test gives up."""
    from playwright.sync_api import expect, sync_playwright

    from tests.support.browser_setup import find
    from tests.support.browsing import FLAGS

    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        yield browser
        browser.close()
