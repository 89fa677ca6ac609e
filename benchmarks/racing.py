"""Does racing choose what the exhaustive frontier would, and at what cost? Simulated frontiers whose truth is known.

    python -m benchmarks.racing [--trials 1000]

Each trial has five candidates of 10% to 90% of the examples. Their true accuracies fall with size in one of five ways: not at all, gently,
steeply, at a cliff, or by a hair more than the margin for each. A fine-tuning's accuracy varies with its seed by 0.2 to 1.2 pp, half of the
variance shared with full data, which has the seeds of the scoring runs. The exhaustive frontier fine-tunes every candidate with the usual
number of seeds and takes what `recommend` says of it; how often it does the same again with other seeds is the most that any race on other
fine-tunings could agree with it. A wrong choice is one whose true accuracy is more than the margin below full data's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.machine import heading
from pruning.analysis.frontier import USUAL_SEEDS, paired_values
from pruning.analysis.racing import BUDGET, Candidate, Rules, Step, advance
from pruning.analysis.recommendation import recommend
from pruning.records import FrontierPoint

TOTAL = 2000
SHAPES = ("not at all", "gently", "steeply", "at a cliff", "past the margin")
MARGINS = (0.005, 0.01, 0.02)
NOISE = 0.002, 0.012


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice made in a simulated decision."""

    size: float
    """Share kept; 1 where nothing was chosen."""
    cost: float
    """Fine-tunings of full data."""
    wrong: bool


def main(
    trials: Annotated[int, typer.Option(help="Simulated decisions for each row.")] = 1000,
    seeds: Annotated[int, typer.Option(help="Scoring runs, and most seeds that the race gives a candidate.")] = 6,
    exhaustive: Annotated[int, typer.Option(help="Seeds of every candidate on the exhaustive frontier.")] = USUAL_SEEDS,
    budget: Annotated[float, typer.Option(help="Budget of the race in fine-tunings of full data.")] = BUDGET,
) -> None:
    """Simulate and print Markdown."""
    words = f"python -m benchmarks.racing --trials {trials} --seeds {seeds} --exhaustive {exhaustive} --budget {budget:g}"
    print(heading("Racing against the exhaustive frontier", words))
    print("| accuracy falls | may give up | same choice | race smaller | race larger or none |", end="")
    print(" exhaustive, other seeds: same choice | chose a set: race, exhaustive | mean kept |", end="")
    print(" cost: race, 95th percentile | exhaustive | wrong: race, exhaustive |")
    print("|" + "---|" * 11)
    everything: list[tuple[Choice, ...]] = []
    for shape in SHAPES:
        for margin in MARGINS:
            random = np.random.default_rng([len(shape), round(1e4 * margin)])
            rules = Rules(seeds=seeds, margin=margin, budget=budget)
            found = [decide(random, shape, rules, exhaustive) for _ in range(trials)]
            everything += found
            print(f"| {shape} | {margin * 100:g} pp | {row(found)} |", flush=True)
    print(f"| **all** | | {row(everything)} |")
    print(f"\nCosts in fine-tunings of full data. Noise of one seed {NOISE[0] * 100:g} to {NOISE[1] * 100:g} pp.")


def row(found: list[tuple[Choice, ...]]) -> str:
    """Cells of a row of the table."""
    raced, everything, again = (np.array([[each.size, each.cost, each.wrong] for each in side]) for side in zip(*found, strict=True))
    same, smaller = raced[:, 0] == everything[:, 0], raced[:, 0] < everything[:, 0]
    cells = [f"{share:.1%}" for share in (same.mean(), smaller.mean(), (~same & ~smaller).mean(), (again[:, 0] == everything[:, 0]).mean())]
    cells.append(", ".join(f"{(side[:, 0] < 1).mean():.1%}" for side in (raced, everything)))
    cells.append(", ".join(f"{side[:, 0].mean():.0%}" for side in (raced, everything)))
    cells.append(f"{raced[:, 1].mean():.1f}, {np.percentile(raced[:, 1], 95):.1f}")
    cells.append(f"{everything[:, 1].mean():.1f}")
    cells.append(", ".join(f"{side[:, 2].mean():.1%}" for side in (raced, everything)))
    return " | ".join(cells)


def decide(random: np.random.Generator, shape: str, rules: Rules, seeds: int) -> tuple[Choice, ...]:
    """Simulate one decision: raced and exhaustive on the same fine-tunings, then exhaustive with other seeds."""
    sizes = np.sort(random.uniform(0.1, 0.9, 5))
    loss = true_loss(random, sizes, shape, rules.margin)
    noise, most = random.uniform(*NOISE), max(rules.seeds, 2 * seeds)
    shared = random.normal(0, noise / 2**0.5, most)
    full = 0.85 + shared + random.normal(0, noise / 2**0.5, most)
    accuracy = {f"c{place}": 0.85 - lost + shared + random.normal(0, noise / 2**0.5, most) for place, lost in enumerate(loss)}
    candidates = [Candidate(name=f"c{place}", kept=round(size * TOTAL), cost=float(size)) for place, size in enumerate(sizes)]
    step = race(candidates, full[: rules.seeds], accuracy, rules)

    def exhausted(part: slice) -> str | None:
        measured = {name: values[part] for name, values in accuracy.items()}
        return recommend(frontier(candidates, full[part], measured), rules.margin).subset

    def choice(name: str | None, cost: float) -> Choice:
        place = None if name is None else int(name[1:])
        return Choice(1.0 if place is None else float(sizes[place]), cost, place is not None and bool(loss[place] > rules.margin))

    cost = float(seeds * sizes.sum())
    return (choice(step.chosen, step.spent), *(choice(exhausted(part), cost) for part in (slice(seeds), slice(seeds, 2 * seeds))))


def frontier(candidates: list[Candidate], full: NDArray[np.float64], accuracy: dict[str, NDArray[np.float64]]) -> list[FrontierPoint]:
    """Return the points of a frontier on which every candidate has every seed."""
    everything = [(Candidate(name="full", kept=TOTAL, cost=1.0), full), *((each, accuracy[each.name]) for each in candidates)]
    return [
        FrontierPoint(
            subset=each.name,
            method="m",
            kept=each.kept,
            kept_fraction=each.kept / TOTAL,
            seeds=len(values),
            budget="epochs",
            metrics={"accuracy": float(values.mean())},
            ci95={"accuracy": (0.0, 1.0)},
            vs_full=None if each.name == "full" else paired_values(values - full),
            vs_random=None,
            seconds=each.cost,
            seconds_saved=1 - each.cost,
            steps=round(100 * each.cost),
            steps_saved=round(100 * (1 - each.cost)),
        )
        for each, values in everything
    ]


def race(candidates: list[Candidate], full: NDArray[np.float64], accuracy: dict[str, NDArray[np.float64]], rules: Rules) -> Step:
    """Run a race to its end, taking each fine-tuning that it asks for from `accuracy`."""
    done = dict.fromkeys(accuracy, 0)
    while True:
        seen = {name: accuracy[name][:count].tolist() for name, count in done.items()}
        step = advance(candidates, full.tolist(), seen, rules)
        if not step.pieces:
            return step
        for name, _ in step.pieces:
            done[name] += 1


def true_loss(random: np.random.Generator, sizes: NDArray[np.float64], shape: str, margin: float) -> NDArray[np.float64]:
    """[subsets] accuracy lost by each, as a share; rules differ a little at equal size."""
    differ = random.normal(0, 0.002, len(sizes))
    if shape == "not at all":
        return differ
    if shape == "gently":
        return np.asarray(random.uniform(0.005, 0.03) * (1 - sizes) + differ)
    if shape == "steeply":
        return np.asarray(random.uniform(0.05, 0.3) * (1 - sizes) ** 2 + differ)
    if shape == "at a cliff":
        return np.asarray(np.where(sizes < random.uniform(0.2, 0.7), random.uniform(0.02, 0.4), 0.0) + differ)
    return np.full(len(sizes), margin + 1e-9)


if __name__ == "__main__":
    typer.run(main)
