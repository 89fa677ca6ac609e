"""Does the fast engine find the same examples? Sets of reference runs against sets of ours, then the approximations.

    python -m benchmarks.equivalence [--train 1500] [--evaluation 1000] [--runs 6] [--sets 2]

Everything trains at the learning rate that Winnow's search fits to the sentences, and each approximation at its own.
The reference is the Hugging Face Trainer (random batches, dynamic padding, bf16), recording online in its loss. Set A has the
paper's seeds, the others further ones. How two reference sets differ is the noise of the method itself; ours against the
reference should differ no more. The runs of a set share their luck, so examples are no independent witnesses and the usual
p-values would be far too small: here a difference is judged against that of the same runs dealt to the sets at random.
Finished sets are kept in experiments/equivalence-N, so it goes on where it was stopped.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from pathlib import Path
from string import ascii_uppercase
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import stats

from benchmarks.machine import heading
from benchmarks.trainers import RECIPES, as_rows, load, train
from pruning.analysis.scores import h_score
from pruning.approximations import APPROXIMATIONS
from pruning.cli import live
from pruning.data import examples, models, sample
from pruning.data.tasks import TASKS
from pruning.files import atomic_write
from pruning.formatting import scientific
from pruning.jobs import worker
from pruning.records import Encoded, EpochRecord, Progress, RunPlan, RunResult
from pruning.settings import FULL_RECIPE, SAMPLE, Settings, TrainSettings, default_seeds
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
    count: Annotated[int, typer.Option("--sets", min=2, help="Sets of each kind.")] = 2,
) -> None:
    """Train what is missing and print Markdown."""
    folder = Path(f"experiments/equivalence-{train}")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = default_seeds(count * runs)
    groups = {ascii_uppercase[i]: seeds[i * runs : (i + 1) * runs] for i in range(count)}
    job = prepare(train, evaluation)
    recipes = {"winnow": "", **{f"--approximate {name}": name for name in APPROXIMATIONS}}
    rates = {name: fit(train, evaluation, name, folder) for name in ("", *APPROXIMATIONS)}
    sets: dict[str, Recorded] = {}
    for group, own in groups.items():
        sets[f"reference {group}"] = kept(folder / f"reference-{group}.npz", own, partial(reference, job, rates[""]))
    for name, approximate in recipes.items():
        for group in groups if not approximate else "A":
            recipe = TrainSettings(learning_rate=rates[""])
            asked = Settings(data="sample", approximate=approximate, train=recipe, scoring_learning_rate=rates[approximate])
            make = partial(winnow, job, asked)
            sets[f"{name} {group}"] = kept(folder / f"winnow{approximate}-{group}.npz", groups[group], make)
    command = f"python -m benchmarks.equivalence --train {train} --evaluation {evaluation} --runs {runs} --sets {count}"
    print(heading("The same statistics", command))
    words = ", ".join(f"{name or 'the full recipe'} {scientific(rate)}" for name, rate in rates.items())
    print(f"{train:,} sentences, {runs} runs x {EPOCHS} epochs in each set. Fitted learning rates: {words}.\n")
    print(each(sets))
    full = list(sets.values())[: 2 * count]
    print(f"\n{pairs(full[:count], full[count:])}\n")
    print(approximations(sets))


def prepare(train: int, evaluation: int) -> Job:
    """The sample, encoded."""
    model = models.locate(SAMPLE)
    tokenizer, task = models.load_tokenizer(model), TASKS["classification"]
    first, second = (task.encode(examples.load(path).table, tokenizer, 128) for path in sample.sample_split(train, evaluation))
    return Job(train=first, evaluation=second, model=str(model))


def fit(train: int, evaluation: int, approximate: str, folder: Path) -> float:
    """The learning rate that the search fits to the sentences, for the full recipe or an approximation."""
    data, held_out = sample.sample_split(train, evaluation)
    asked = Settings(data=str(data), evaluation=str(held_out), approximate=approximate)
    with live.listener(f"Fitting the learning rate of {approximate or FULL_RECIPE}") as listen:
        found = worker.fit(asked, folder / f"fit{approximate}", listen).learning_rates[approximate or FULL_RECIPE].rate
    assert found is not None
    return found


def kept(path: Path, seeds: Sequence[int], make: Callable[[Sequence[int]], Recorded]) -> Recorded:
    """What was trained before, else trained now."""
    if not path.exists():
        made = make(seeds)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, correct=made.correct, accuracy=made.accuracy, seconds=made.seconds)
    with np.load(path) as found:
        return Recorded(correct=found["correct"], accuracy=found["accuracy"], seconds=found["seconds"])


def reference(job: Job, rate: float, seeds: Sequence[int]) -> Recorded:
    """One Trainer per seed, as many at once as there are cores."""
    with multiprocessing.get_context("spawn").Pool(len(cores())) as pool:
        found = pool.starmap(reference_run, [(job, rate, seed) for seed in seeds], chunksize=1)
    return Recorded(
        correct=np.stack([correct for correct, _ in found]), accuracy=np.array([right for _, right in found]), seconds=np.zeros(len(found))
    )


def reference_run(job: Job, rate: float, seed: int) -> tuple[NDArray[np.bool_], float]:
    """[epochs, examples] what was right, and the accuracy on the evaluation data."""
    torch.set_num_threads(1)
    model = load(job.model, job.train.classes, "sdpa", seed)
    settings = {"train_sampling_strategy": "random", "learning_rate": rate}
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


def pairs(references: Sequence[Recorded], ours: Sequence[Recorded]) -> str:
    """How pairs of sets differ: within the reference, within ours, across; and how odd that is if the engine made no difference."""
    kinds = {
        "reference, reference": np.array([difference(a, b) for a, b in combinations(references, 2)]),
        "winnow, winnow": np.array([difference(a, b) for a, b in combinations(ours, 2)]),
        "winnow, reference": np.array([difference(a, b) for a, b in product(ours, references)]),
    }
    lines = ["| sets, median (range) of their pairs | " + " | ".join(DIFFERENCES) + " |", "|---" * (1 + len(DIFFERENCES)) + "|"]
    for words, found in kinds.items():
        low, middle, high = found.min(axis=0), np.median(found, axis=0), found.max(axis=0)
        cells = (
            f"{m:{style}} ({a:{style}} to {b:{style}})" for m, a, b, style in zip(middle, low, high, DIFFERENCES.values(), strict=True)
        )
        lines.append(f"| {words} | {' | '.join(cells)} |")
    share = oddness(references, ours)
    lines.append(f"| p: across differ so much more than within, runs dealt at random | {' | '.join(f'{p:.2f}' for p in share)} |")
    return "\n".join(lines)


DIFFERENCES = {
    "chi-square of H": ".1f",
    "Spearman of H": ".3f",
    "ticket sizes differ by": ".1%",
    "Jaccard of tickets": ".2f",
    "evaluation accuracy differs by": ".3f",
}
"""What `difference` measures -> how it is printed."""

LARGER_IS_CLOSER = np.array([False, True, False, True, False])


def difference(a: Recorded, b: Recorded) -> NDArray[np.float64]:
    """The quantities of `DIFFERENCES`."""
    counts = np.stack([np.bincount(found.h, minlength=len(found.correct) + 1) for found in (a, b)])
    return np.array(
        [
            stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0]).statistic,
            stats.spearmanr(a.h, b.h).statistic,
            abs(a.ticket.mean() - b.ticket.mean()),
            (a.ticket & b.ticket).sum() / (a.ticket | b.ticket).sum(),
            abs(a.accuracy.mean() - b.accuracy.mean()),
        ]
    )


def oddness(references: Sequence[Recorded], ours: Sequence[Recorded], deals: int = 500) -> NDArray[np.float64]:
    """Permutation p of each difference: how often sets of the same runs, dealt at random, differ as much more across than within."""
    everyone, size = [*references, *ours], len(references[0].accuracy)
    correct, accuracy = np.concatenate([found.correct for found in everyone]), np.concatenate([found.accuracy for found in everyone])

    def gap(order: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        dealt = [Recorded(correct=correct[part], accuracy=accuracy[part], seconds=accuracy[part]) for part in parts]
        first, second = dealt[: len(references)], dealt[len(references) :]
        across = np.mean([difference(a, b) for a, b in product(first, second)], axis=0)
        within = np.mean([difference(a, b) for half in (first, second) for a, b in combinations(half, 2)], axis=0)
        return np.where(LARGER_IS_CLOSER, within - across, across - within)

    rng, seen = np.random.default_rng(0), gap(np.arange(len(correct)))
    as_odd = np.sum([gap(rng.permutation(len(correct))) >= seen for _ in range(deals)], axis=0)
    return (1 + as_odd) / (1 + deals)


def approximations(sets: dict[str, Recorded]) -> str:
    """Each cheaper way against the full recipe with other seeds, beside fewer runs of the full recipe."""
    target, full = sets["winnow B"], sets["winnow A"]
    ways = {"the full recipe, set A": full}
    ways |= {f"its first {runs} runs": fewer(full, runs) for runs in range(len(full.correct) - 1, 0, -1)}
    ways |= {f"`{name.removesuffix(' A')}`": found for name, found in sets.items() if name.startswith("--")}
    lines = ["| scored by | time | Spearman of H with the full recipe's set B | of mean success | ticket | Jaccard of tickets | accuracy |"]
    lines.append("|---" * 7 + "|")
    for words, found in ways.items():
        cells = [
            f"{found.seconds.sum() / full.seconds.sum():.0%}",
            f"{stats.spearmanr(found.h, target.h).statistic:.3f}",
            f"{stats.spearmanr(found.correct.mean(axis=(0, 1)), target.correct.mean(axis=(0, 1))).statistic:.3f}",
            f"{found.ticket.mean():.1%}",
            f"{(found.ticket & target.ticket).sum() / (found.ticket | target.ticket).sum():.2f}",
            f"{found.accuracy.mean():.3f}",
        ]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fewer(found: Recorded, runs: int) -> Recorded:
    """The first runs of a set."""
    return Recorded(correct=found.correct[:runs], accuracy=found.accuracy[:runs], seconds=found.seconds[:runs])


if __name__ == "__main__":
    typer.run(main)
