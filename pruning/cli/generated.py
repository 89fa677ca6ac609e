"""The part of `show` about generated answers: the success rule, right looks, and what is learned in the first rows."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape

from pruning.data import lengths, mask_preview, models
from pruning.experiment import Experiment
from pruning.formatting import counted
from pruning.reports.generated import Spread, looks_sentence, never_right, spreads
from pruning.subsets.looks import SOMETIMES
from pruning.subsets.rules import TICKET
from pruning.success import right_looks_histogram

ROWS, LONGEST = 2, 300
"""Rows whose mask is printed, and characters of one stretch of their text."""

WORST, SHORT = 3, 100
"""Examples right at no look that are printed, and characters of their prompts and answers."""


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
    _spreads(spreads(experiment), print_)
    _mask(experiment, print_, line)


def _spreads(found: list[Spread], print_: Callable[[str], None]) -> None:
    """Print the examples by H and by right looks under each rule, a line a rule; the recording is the same."""
    if not found:
        return
    print_(f"The same recording under each success rule (examples by H and by right looks from 0 on; {TICKET} and {SOMETIMES} keep)")
    cells = [
        (each.rule, " ".join(map(str, each.h)), " ".join(map(str, each.looks)), f"{each.ticket:.0%}", f"{each.sometimes:.0%}")
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        rule, h, looks, ticket, sometimes = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_(f"  {rule}  H {h}  looks {looks}  {ticket} and {sometimes}".rstrip())


def show_never_right(experiment: Experiment, line: Callable[[str], None]) -> None:
    """Print how many examples are right at no look, and those of the highest loss: a wrong answer in the data looks like that."""
    places = never_right(experiment)
    if not len(places):
        line("Every example is right at some look.")
        return
    line(f"{counted(len(places), 'example is', 'examples are')} right at no look; read them before you keep or drop them. Highest loss:")
    table = experiment.examples(["id", "prompt", "answer"]).take(places[:WORST])
    for row in table.to_pylist():
        prompt, answer = (" ".join(row[name].split()) for name in ("prompt", "answer"))
        line(f"  {row['id']}: {_end(prompt)} -> {answer[:SHORT]}")


def _end(text: str) -> str:
    return text if len(text) <= SHORT else f"... {text[-SHORT:]}"


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
