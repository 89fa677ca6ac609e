"""The part of `show` about generated answers: the success rule, right looks, and what is learned in the first rows."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape

from pruning.data import lengths, mask_preview, models
from pruning.experiment import Experiment
from pruning.reports.generated import looks_sentence
from pruning.success import right_looks_histogram

ROWS, LONGEST = 2, 300
"""Rows whose mask is printed, and characters of one stretch of their text."""


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
    _mask(experiment, print_, line)


def _mask(experiment: Experiment, print_: Callable[[str], None], line: Callable[[str], None]) -> None:
    """Print the first rows as text, what is learned in colour; nothing where the model is not on this machine any more."""
    path = lengths.tokenizer(experiment.settings.model)
    if path is None:
        return
    tokenizer = models.load_tokenizer(path.parent, experiment.settings.template)
    for row in mask_preview.of_table(experiment.examples().slice(0, ROWS), tokenizer):
        line(f"{row.sentence}; what is learned in colour:")
        pieces = [(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...", learned) for text, learned in row.pieces]
        print_("  " + "".join(f"[green]{escape(text)}[/green]" if learned else escape(text) for text, learned in pieces))
