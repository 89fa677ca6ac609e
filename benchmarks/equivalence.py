"""Does the fast engine find the same examples? Two reference sets of runs against two of ours, then the approximations.

    python -m benchmarks.equivalence [--train 1500] [--evaluation 1000] [--runs 6]

The reference is the Hugging Face Trainer (random batches, dynamic padding, bf16), recording online in its loss. Set A has the
paper's seeds, set B others. How two reference sets differ is the noise of the method itself; ours against the reference should
differ no more. Finished runs are kept in experiments/equivalence-N, so it goes on where it was stopped.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import stats

from benchmarks.machine import heading
from benchmarks.trainers import RECIPES, as_rows, load, train
from pruning import data, models, sample
from pruning.files import atomic_write
from pruning.records import Encoded, EpochRecord, Progress, RunPlan, RunResult
from pruning.scores import h_score
from pruning.settings import APPROXIMATIONS, Settings, default_seeds
from pruning.tasks import TASKS
from pruning.training import train as train_ours
from pruning.training.devices import cores

EPOCHS = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """Data and model, for whatever process trains on them."""

    train: Encoded
    evaluation: Encoded
    model: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A set of runs."""

    correct: NDArray[np.bool_]
    """[runs, epochs, examples]"""
    accuracy: NDArray[np.float64]
    """[runs] on the evaluation data."""
    seconds: NDArray[np.float64]
    """[runs] of training; zeros for the reference, which shares the machine differently."""

    @property
    def h(self) -> NDArray[np.int64]:
        """[examples] H-scores."""
        return h_score(self.correct)

    @property
    def ticket(self) -> NDArray[np.bool_]:
        """[examples] whether the winning ticket keeps it."""
        return (self.h > 0) & (self.h < len(self.correct))


def main(
    train: Annotated[int, typer.Option(help="Training sentences of the sample.")] = 1500,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 1000,
    runs: Annotated[int, typer.Option(help="Runs of each set.")] = 6,
) -> None:
    """Train what is missing and print Markdown."""
    folder = Path(f"experiments/equivalence-{train}")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = default_seeds(2 * runs)
    halves = {"A": seeds[:runs], "B": seeds[runs:]}
    job = prepare(train, evaluation)
    recipes = {"winnow": "", **{f"--approximate {name}": name for name in APPROXIMATIONS}}
    sets: dict[str, Recorded] = {}
    for half, own in halves.items():
        sets[f"reference {half}"] = kept(folder / f"reference-{half}.npz", own, partial(reference, job))
    for name, approximate in recipes.items():
        for half in halves if not approximate else "A":
            make = partial(winnow, job, Settings(data="sample", approximate=approximate))
            sets[f"{name} {half}"] = kept(folder / f"winnow{approximate}-{half}.npz", halves[half], make)
    print(heading("The same statistics", f"python -m benchmarks.equivalence --train {train} --evaluation {evaluation} --runs {runs}"))
    print(f"{train:,} sentences, {runs} runs x {EPOCHS} epochs in each set.\n")
    print(each(sets))
    print(f"\n{pairs(sets)}\n")
    print(approximations(sets))


def prepare(train: int, evaluation: int) -> Job:
    """The sample, encoded."""
    model = models.locate(models.SAMPLE)
    tokenizer, task = models.load_tokenizer(model), TASKS["classification"]
    first, second = (task.encode(data.load(path).table, tokenizer, 128) for path in sample.sample_split(train, evaluation))
    return Job(train=first, evaluation=second, model=str(model))


def kept(path: Path, seeds: Sequence[int], make: Callable[[Sequence[int]], Recorded]) -> Recorded:
    """What was trained before, else trained now."""
    if not path.exists():
        made = make(seeds)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, correct=made.correct, accuracy=made.accuracy, seconds=made.seconds)
    with np.load(path) as found:
        return Recorded(correct=found["correct"], accuracy=found["accuracy"], seconds=found["seconds"])


def reference(job: Job, seeds: Sequence[int]) -> Recorded:
    """One Trainer per seed, as many at once as there are cores."""
    with multiprocessing.get_context("spawn").Pool(len(cores())) as pool:
        found = pool.starmap(reference_run, [(job, seed) for seed in seeds], chunksize=1)
    return Recorded(
        correct=np.stack([correct for correct, _ in found]), accuracy=np.array([right for _, right in found]), seconds=np.zeros(len(found))
    )


def reference_run(job: Job, seed: int) -> tuple[NDArray[np.bool_], float]:
    """[epochs, examples] what was right, and the accuracy on the evaluation data."""
    torch.set_num_threads(1)
    model = load(job.model, job.train.classes, "sdpa", seed)
    settings = {"train_sampling_strategy": "random"}
    trainer, _ = train(RECIPES["tuned"], model, job.train, as_rows(job.train), seed=seed, epochs=EPOCHS, device="cpu", settings=settings)
    predicted = trainer.predict(as_rows(job.evaluation)).predictions
    return np.stack(trainer.epochs), float((predicted.argmax(-1) == job.evaluation.labels).mean())


def winnow(job: Job, settings: Settings, seeds: Sequence[int]) -> Recorded:
    """The engine, as `score` uses it."""
    rows = np.arange(job.train.units)
    plans = [RunPlan(key=str(seed), seed=seed, rows=rows, epochs=settings.scoring.epochs) for seed in seeds]
    records: dict[tuple[str, int], NDArray[np.bool_]] = {}
    results: dict[str, RunResult] = {}
    began = perf_counter()
    for item in train_ours(plans, job.train, job.evaluation, job.model, settings.scoring):
        if isinstance(item, EpochRecord):
            records[item.key, item.epoch] = item.correct
        elif isinstance(item, RunResult):
            results[item.key] = item
            print(f"{settings.approximate or 'winnow'}: {len(results)} of {len(seeds)} runs, {perf_counter() - began:.0f} s", flush=True)
        else:
            assert isinstance(item, Progress)
    outputs = [results[plan.key].outputs for plan in plans]
    return Recorded(
        correct=np.stack([np.stack([records[plan.key, epoch] for epoch in range(plan.epochs)]) for plan in plans]),
        accuracy=np.array([(output.argmax(-1) == job.evaluation.labels).mean() for output in outputs if output is not None]),
        seconds=np.array([results[plan.key].seconds for plan in plans]),
    )


def each(sets: dict[str, Recorded]) -> str:
    """Every set alone."""
    full = {name: found for name, found in sets.items() if not name.startswith("--")}
    lines = ["| set | examples with H = 0, 1, ... | ticket | accuracy by epoch | evaluation accuracy, mean (sd) |", "|---" * 5 + "|"]
    for name, found in full.items():
        counts = " ".join(str(count) for count in np.bincount(found.h, minlength=len(found.correct) + 1))
        epochs = " ".join(f"{value:.3f}" for value in found.correct.mean(axis=(0, 2)))
        accuracy = f"{found.accuracy.mean():.3f} ({found.accuracy.std(ddof=1):.3f})"
        lines.append(f"| {name} | {counts} | {found.ticket.mean():.1%} | {epochs} | {accuracy} |")
    return "\n".join(lines)


def pairs(sets: dict[str, Recorded]) -> str:
    """How pairs of sets differ: within the reference, within ours, across."""
    kinds = {
        "reference, reference": [("reference A", "reference B")],
        "winnow, winnow": [("winnow A", "winnow B")],
        "winnow, reference": list(product(("winnow A", "winnow B"), ("reference A", "reference B"))),
    }
    lines = [
        "| sets | chi-square of H, p | Spearman of H | ticket sizes differ by | Jaccard of tickets | evaluation accuracy differs by (p) |"
    ]
    lines.append("|---" * 6 + "|")
    for words, chosen in kinds.items():
        for a, b in chosen:
            cells = " | ".join(difference(sets[a], sets[b]))
            lines.append(f"| {words if len(chosen) == 1 else f'{a}, {b}'} | {cells} |")
    return "\n".join(lines)


def difference(a: Recorded, b: Recorded) -> list[str]:
    """One line of the table."""
    counts = np.stack([np.bincount(found.h, minlength=len(found.correct) + 1) for found in (a, b)])
    p = stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue
    jaccard = (a.ticket & b.ticket).sum() / (a.ticket | b.ticket).sum()
    accuracy = stats.ttest_ind(a.accuracy, b.accuracy, equal_var=False)
    return [
        f"{p:.2g}",
        f"{stats.spearmanr(a.h, b.h).statistic:.3f}",
        f"{a.ticket.mean() - b.ticket.mean():+.1%}",
        f"{jaccard:.2f}",
        f"{a.accuracy.mean() - b.accuracy.mean():+.3f} ({accuracy.pvalue:.2g})",
    ]


def approximations(sets: dict[str, Recorded]) -> str:
    """Each cheaper way against the full recipe with other seeds, beside what other seeds alone do."""
    target = sets["winnow B"]
    lines = ["| scored by | time | Spearman of H with the full recipe's set B | of mean success | ticket | Jaccard of tickets |"]
    lines.append("|---" * 6 + "|")
    for name in ("winnow A", *(name for name in sets if name.startswith("--"))):
        found = sets[name]
        cells = [
            f"{found.seconds.mean() / sets['winnow A'].seconds.mean():.0%}",
            f"{stats.spearmanr(found.h, target.h).statistic:.3f}",
            f"{stats.spearmanr(found.correct.mean(axis=(0, 1)), target.correct.mean(axis=(0, 1))).statistic:.3f}",
            f"{found.ticket.mean():.1%}",
            f"{(found.ticket & target.ticket).sum() / (found.ticket | target.ticket).sum():.2f}",
        ]
        label = "the full recipe, set A" if name == "winnow A" else f"`{name.removesuffix(' A')}`"
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
