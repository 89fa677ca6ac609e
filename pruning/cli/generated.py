"""The part of `show` about generated answers: the success rule and right looks."""

from __future__ import annotations

from collections.abc import Callable

from pruning.experiment import Experiment
from pruning.reports.generated import looks_sentence
from pruning.success import right_looks_histogram


def show(experiment: Experiment, print_: Callable[[str], None], line: Callable[[str], None]) -> None:
    """Print the rule in force, the histogram of right looks, and why the looks are counted; nothing for other kinds of tasks."""
    if experiment.success is None:
        return
    counts = right_looks_histogram(experiment.dynamics.correct)
    line(f"Success rule {experiment.success.name}. {experiment.success_reason}")
    print_("Right looks, over all runs and epochs (burn-in or not)")
    for looks, count in enumerate(counts):
        meaning = {0: "right at no look", len(counts) - 1: "right at every look"}.get(looks, "")
        print_(f"  {looks:>5} {count:>8,}  {'█' * round(40 * count / counts.max())} {meaning}")
    line(looks_sentence(experiment))
