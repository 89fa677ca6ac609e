"""How often would the recommendation be wrong? Simulated frontiers whose truth is known.

    python -m benchmarks.recommendation [--trials 1000]

Each trial is a ladder of seven subsets with random and ambiguous ones of equal size. Its true accuracies fall with size in one
of four ways (gently, steeply, not at all until a cliff, or by a hair more than the margin for each), seeds share a part of their
noise with full data, as pairs do, and the recommendation sees what a person would see: a few seeds. An error is recommending a
subset whose true accuracy is more than the margin below full data's. The last two columns are of a person who does as is advised:
as long as nothing is recommended and more seeds "would probably settle it", they are measured and looked at, up to five times.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from benchmarks.machine import heading
from pruning.analysis.frontier import points
from pruning.analysis.recommendation import MARGIN, recommend
from pruning.subsets.rules import ladder, subset_name

TOTAL = 2000
SHAPES = ("gentle", "steep", "cliff", "margin")
LOOKS = 5
MOST_SEEDS = 200


def main(trials: Annotated[int, typer.Option(help="Simulated frontiers for each row.")] = 1000) -> None:
    """Simulate and print Markdown."""
    print(heading("How often the recommendation is wrong", f"python -m benchmarks.recommendation --trials {trials}"))
    print(
        "| accuracy falls | seeds | recommended something | wrong (worse than the margin) | mean size recommended "
        "| following the advice: recommended | wrong |\n|---|---|---|---|---|---|---|"
    )
    for shape in SHAPES:
        for seeds in (3, 5, 10):
            random = np.random.default_rng(seeds)
            outcomes = [trial(random, seeds, shape) for _ in range(trials)]
            first, last = [looks[0] for looks in outcomes], [looks[-1] for looks in outcomes]
            sizes = [size for size, _ in first if size]
            once, followed = (
                f"{sum(size > 0 for size, _ in seen) / trials:.1%} | {sum(wrong for _, wrong in seen) / trials:.1%}"
                for seen in (first, last)
            )
            print(f"| {shape} | {seeds} | {once} | {np.mean(sizes):.0%} | {followed} |", flush=True)
    print(f"\nMargin {MARGIN * 100:g} points, 95% confidence; noise of one seed 0.4 to 1.2 points, half of it shared with full data.")


def trial(random: np.random.Generator, seeds: int, shape: str) -> list[tuple[float, bool]]:
    """At each look: kept share of the recommended subset (0 = none), and whether its true loss is above the margin."""
    removed = [subset_name(removes, 6) for removes in ladder(6)]
    fractions = np.sort(random.uniform(0.1, 0.8, len(removed)))[::-1]
    names = ["full"] + [f"{prefix}{name}" for name in removed for prefix in ("", "random@", "ambiguous@")]
    sizes = np.array([1.0, *np.repeat(fractions, 3)])
    loss = dict(zip(names, true_loss(random, sizes, shape), strict=True))
    noise = random.uniform(0.004, 0.012)
    shared = random.normal(0, noise / 2**0.5, MOST_SEEDS)
    rows: list[dict[str, object]] = []

    def measure(name: str, start: int, end: int, look: int) -> None:
        for seed in range(start, end):
            accuracy = 0.85 - loss[name] + shared[seed] + random.normal(0, noise / 2**0.5)
            about = {"subset": name, "method": "m", "kept": round(sizes[names.index(name)] * TOTAL), "budget": "epochs", "seconds": 1.0}
            rows.append({**about, "steps": 1, "seed": seed, "accuracy": accuracy, "finished": float(look)})

    for name in names:
        measure(name, 0, seeds, look=1)
    measured = dict.fromkeys(names, seeds)
    seen: list[tuple[float, bool]] = []
    for look in range(1, LOOKS + 1):
        advice = recommend(points(pd.DataFrame(rows), TOTAL, starts=[earlier - 0.5 for earlier in range(1, look + 1)]))
        found = advice.subset
        seen.append((0.0, False) if found is None else (float(sizes[names.index(found)]), bool(loss[found] > MARGIN)))
        if found is not None or not advice.measure:
            break
        for name in {"full", *advice.measure}:
            end = max(measured[part] for part in advice.measure) + advice.more_seeds
            measure(name, measured[name], end, look + 1)
            measured[name] = max(measured[name], end)
    return seen


def true_loss(random: np.random.Generator, sizes: NDArray[np.float64], shape: str) -> NDArray[np.float64]:
    """[subsets] accuracy lost by each, 0 for full data; rules differ a little at equal size."""
    if shape == "gentle":
        loss = random.uniform(0.005, 0.03) * (1 - sizes)
    elif shape == "steep":
        loss = random.uniform(0.05, 0.3) * (1 - sizes) ** 2
    elif shape == "cliff":
        loss = np.where(sizes < random.uniform(0.2, 0.7), random.uniform(0.02, 0.4), 0.0)
    else:
        return np.where(sizes < 1, MARGIN + 1e-9, 0.0)
    differ = random.normal(0, 0.003, len(sizes))
    return np.where(sizes < 1, loss + differ, 0.0)


if __name__ == "__main__":
    typer.run(main)
