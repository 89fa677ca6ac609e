"""Frontiers made up by hand: fine-tunings as rows, and points."""

import pandas as pd

from pruning.records import Difference, FrontierPoint


def finetunings(**accuracy: list[float]) -> pd.DataFrame:
    """One row per fine-tuning; keyword = subset (with _at_ for @), its accuracies by seed 0, 1, ..."""
    sizes = {"full": 1000, "a": 500, "b": 200}
    rows = []
    for name, values in accuracy.items():
        subset = name.replace("_at_", "@")
        kept = sizes[subset.rpartition("@")[2]]
        rows += [
            {
                "subset": subset,
                "method": subset.partition("@")[0],
                "kept": kept,
                "seed": seed,
                "budget": "epochs",
                "accuracy": value,
                "macro_f1": value,
                "seconds": kept / 10,
                "steps": kept // 10,
            }
            for seed, value in enumerate(values)
        ]
    return pd.DataFrame(rows)


def point(
    subset: str, kept: int, accuracy: float, mean: float | None = None, half: float = 0.001, pairs: int = 3, random: float | None = None
) -> FrontierPoint:
    def difference(value: float) -> Difference:
        return Difference(mean=value, low=value - half, high=value + half, pairs=pairs)

    return FrontierPoint(
        subset=subset,
        method="m",
        kept=kept,
        kept_fraction=kept / 1000,
        seeds=pairs,
        budget="epochs",
        metrics={"accuracy": accuracy},
        ci95={"accuracy": (accuracy - half, accuracy + half)},
        vs_full=None if mean is None else difference(mean),
        vs_random=None if random is None else difference(random),
        seconds=1,
        seconds_saved=1,
        steps=1,
        steps_saved=1,
    )


FULL = point("full", 1000, 0.8)
