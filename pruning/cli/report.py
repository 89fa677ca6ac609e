"""Output of the command line about an experiment: the histogram, the subsets and the frontier."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from pruning.analysis.frontier import BUDGETS, USUAL_SEEDS, headline_of, pareto, score_seconds
from pruning.analysis.recommendation import MARGIN, cost, recommend
from pruning.cli import by_model, generated
from pruning.cli.base import say
from pruning.formatting import bracketed, counted, duration, one_line, possible, printable, runs_by_epochs, scientific
from pruning.records import Difference, FrontierPoint
from pruning.settings import Settings
from pruning.store.saved_subsets import saved_names
from pruning.subsets.looks import SOMETIMES

if TYPE_CHECKING:
    from pruning.analysis.comparison import Comparison
    from pruning.experiment import Experiment
    from pruning.jobs.prune import Pruned

MOST_CHANGED, LONGEST_TEXT = 10, 100
"""Examples that a printed comparison lists, and characters of their texts."""

MOST_GROUPS = 5
"""Groups of a subset that `show` names."""

PLAIN_WIDTH = 140
"""Width of the tables without a terminal."""


class _Clean(Console):
    """A console that prints texts of data without what steers a terminal; its own colours remain."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """Yield what is printed, its texts cleaned."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


console = _Clean(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def print_line(sentence: str, style: str = "") -> None:
    """Print a sentence as one line, whatever it quotes from data."""
    console.print(one_line(sentence), style=style or None, markup=False)


def show(experiment: Experiment, budget: str = "epochs", margin: float = MARGIN) -> None:
    """Print histogram, subsets and frontier. `margin` is the accuracy that the recommended subset may lose, as a share."""
    experiment.need_a_run()
    console.print()
    print_line(experiment.learned.sentence)
    if experiment.sampled:
        _show_rates(experiment)
    else:
        _show_histogram(experiment)
    _show_subsets(experiment)
    points = experiment.frontier(budget)
    if points:
        _show_frontier(points, budget, experiment.learned.majority)
        _show_recommendation(experiment, points, margin)
        for found in experiment.groups_of_points(budget):
            if found.losing:
                print_line(
                    f"{found.sentence} They are {', '.join(row.name for row in found.losing[:MOST_GROUPS])}; see the verb groups.", "yellow"
                )
    for fingerprint, name in experiment.other_models.items():
        read = experiment.with_model(fingerprint)
        if measured := read.frontier(budget):
            rate = read.settings.measuring.learning_rate
            at = "" if rate is None else f" at learning rate {scientific(rate)}"
            _show_frontier(measured, budget, experiment.learned.majority, f"{name}{at}")
    show_by_model(experiment, budget)
    for sentence in experiment.warnings():
        print_line(sentence, "yellow")


def show_by_model(experiment: Experiment, budget: str = "epochs") -> None:
    """Print what each model makes of full data, a subset and random rows of its size, where several measured them."""
    by_model.show(experiment, budget, console.print)


def show_never_right(experiment: Experiment) -> None:
    """Print the generated answers that are right at no look, highest loss first."""
    generated.show_never_right(experiment, print_line)


def say_estimate(settings: Settings, as_json: bool = False, runs_given: bool = True) -> None:
    """Print how long scoring and the frontier would take on this machine, in words or as JSON."""
    from pruning.jobs.estimate import ROUGH, estimate, fewer_runs

    found = estimate(settings, runs_given)
    if as_json:
        print(json.dumps(asdict(found)))
        return
    if found.look_seconds:
        say(f"Looking at the data first: {duration(found.look_seconds)}, part of scoring (--no-look leaves it out).")
    if found.fit_seconds:
        say(f"Fitting the learning rate: {duration(found.fit_seconds)}, part of scoring.")
    say(f"Scoring {found.examples:,} examples, {runs_by_epochs(found.runs, settings.scoring.epochs)}: {duration(found.score_seconds)}.")
    if fewer := fewer_runs(found.by_runs):
        say(fewer)
    say(f"The whole frontier with both baselines, {USUAL_SEEDS} seeds each: about {duration(found.frontier_seconds)}.")
    if found.scaling:
        say(f"Both on more cores or GPUs like this one: {', '.join(f'{n}: {duration(time)}' for n, time in found.scaling.items())}.")
        alone = duration(found.critical_seconds)
        say(f"More than {found.useful} save less than 5%: the parts that must run one after another take {alone}.")
    if found.rough:
        say(ROUGH)
    if found.truncated:
        say(f"{counted(found.truncated, 'example is', 'examples are')} longer than the maximum length and would be truncated.")


def say_whole_estimate(settings: Settings, budget: float) -> None:
    """Print how long each part of the whole job would take on this machine."""
    from pruning.jobs.estimate import ROUGH, estimate

    found = estimate(settings)
    scoring = found.score_seconds - found.fit_seconds - found.look_seconds
    deciding = budget * scoring / found.runs
    parts = [f"scoring {duration(scoring)}", f"deciding at most {duration(deciding)} ({budget:g} fine-tunings of full data)"]
    if found.fit_seconds:
        parts.insert(0, f"fitting the learning rate {duration(found.fit_seconds)}")
    say(f"Estimate for {found.examples:,} examples: at most {duration(found.score_seconds + deciding)}: {', '.join(parts)}.")
    if found.rough:
        say(ROUGH)
    if found.truncated:
        say(f"{counted(found.truncated, 'example is', 'examples are')} longer than the maximum length and would be truncated.")


def show_pruned(done: Pruned) -> None:
    """Print the verdict of the whole job: did the model learn, what was measured, which subset, what it cost, where the file is."""
    console.print()
    print_line(done.experiment.learned.sentence)
    for fit in done.experiment.learning_rates.values():
        print_line(fit.sentence)
    table = Table("candidate", "keeps", "seeds", "to full data", "", title="Candidates", title_justify="left", box=None)
    for found in done.step.standings:
        mean = f"{found.mean * 100:+.1f} pp" if found.seeds else ""
        table.add_row(found.candidate.name, f"{found.candidate.kept:,}", str(found.seeds), mean, str(found.state))
    console.print(table)
    for sentence in done.sentences:
        print_line(sentence)
    if done.output is not None:
        print_line(f"Wrote {done.output} and verified it; its manifest is {done.output.name}.manifest.json.")


def say_data(experiment: Experiment) -> None:
    """Print the detected columns, and the rows that were skipped or split off; what training and evaluation data share, once."""
    for note in dict.fromkeys((*experiment.info["data"]["notes"], *experiment.info["data"]["evaluation"]["notes"])):
        say(note)


def _show_histogram(experiment: Experiment) -> None:
    dynamics = experiment.dynamics
    counts = experiment.h_histogram()
    epochs = dynamics.epochs - experiment.burn_in
    console.print(f"\n[bold]{dynamics.examples:,} examples[/bold], {runs_by_epochs(dynamics.runs, dynamics.epochs)}")
    show_learning_rates(experiment)
    if experiment.settings.caveat:
        print_line(experiment.settings.caveat)
    counted_epochs = "the epoch counted" if epochs == 1 else f"all {epochs} epochs counted"
    console.print(f"H = number of runs that got an example right in {counted_epochs}")
    if dynamics.runs < experiment.settings.runs:
        console.print(f"Only {dynamics.runs} of {experiment.settings.runs} runs are complete; these numbers use only those.")
    for h, count in enumerate(counts):
        bar = "█" * round(40 * count / counts.max())
        meaning = {0: "never right", dynamics.runs: "always right"}.get(h, "")
        console.print(f"  H = {h:<2} {count:>8,}  {bar} {meaning}")
    generated.show(experiment, console.print, print_line)
    if experiment.stopped:
        print_line(experiment.stopped)
    steady = experiment.stability()
    for sentence in filter(None, (steady.sentence, steady.about_halves, steady.about_more)):
        print_line(sentence)


def _show_rates(experiment: Experiment) -> None:
    """Print the histogram of pass rates, and what so few samples can say."""
    from pruning.reports import answers

    found = answers.rates(experiment)
    bars = answers.histogram(found)
    most = max(1, *(count for _, count in bars))
    console.print(f"\n[bold]{len(found.attempts):,} prompts[/bold] by right answers")
    for name, count in bars:
        console.print(f"  {name:<12} {count:>8,}  {'█' * round(40 * count / most)}")
    for sentence in answers.sentences(found):
        print_line(sentence)


def show_learning_rates(experiment: Experiment) -> None:
    """Print each fitted learning rate and the held-out losses it was chosen by."""
    for fit in experiment.learning_rates.values():
        print_line(fit.sentence + (f" Taken from {fit.taken_from}." if fit.taken_from else ""))
        for number, each in enumerate(fit.rounds, 1):
            marks = {fit.best: " (the best)"} if number == len(fit.rounds) else {}
            rates = [(one["rate"], one["loss"]) for one in each["candidates"]]
            losses = ", ".join(f"{scientific(rate)} {_loss(loss)}{marks.get(rate, '')}" for rate, loss in rates)
            print_line(f"  round {number}, {each['rows']:,} rows, {each['steps']:,} steps: held-out loss {losses}")


def _loss(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.3f}"


def _show_subsets(experiment: Experiment) -> None:
    table = Table("subset", "removes H", "keeps", "share", title="Subsets", title_justify="left", box=None)
    offered = [experiment.subset(SOMETIMES), *experiment.subsets()] if experiment.sampled else experiment.subsets()
    for subset in offered:
        table.add_row(subset.name, " ".join(map(str, subset.removes or ())), f"{subset.size:,}", f"{subset.kept_fraction:.1%}")
    console.print(table)
    if experiment.applied.sentence:
        print_line(f"Decisions count here: {experiment.applied.sentence} (--without-decisions leaves them out).")
    if saved := saved_names(experiment.folder):
        print_line(f"Saved: {', '.join(saved)}")


def _show_frontier(points: list[FrontierPoint], budget: str, majority: float, model: str = "") -> None:
    headline = headline_of(points[0].metrics)
    words, unbeaten = headline.replace("_", " "), {point.subset for point in pareto(points, headline)}
    beside = f", measured with {escape(model)}" if model else ""
    title = f"Frontier {BUDGETS[budget]}{beside}: evaluation {words}, mean and 95% interval; * = Pareto front"
    if headline == "accuracy" and not math.isnan(majority):
        title += f"; majority class {majority:.3f}"
    table = Table(
        "subset",
        "keeps",
        words,
        "95% interval",
        "to full data",
        "to random",
        "seeds",
        "seconds",
        title=title,
        title_justify="left",
        box=None,
    )
    for point in sorted(points, key=lambda point: -point.kept):
        table.add_row(
            f"{point.subset}{' *' * (point.subset in unbeaten)}",
            f"{point.kept:,}",
            f"{point.metrics[headline]:.3f}",
            bracketed(*point.ci95[headline]),
            _difference(point.vs_full),
            _difference(point.vs_random),
            str(point.seeds),
            f"{point.seconds:.1f}",
        )
    console.print(table)


def _show_recommendation(experiment: Experiment, points: list[FrontierPoint], margin: float) -> None:
    recommended = recommend(points, margin, measuring=experiment.status().measuring, refusal=experiment.learned.refusal)
    print_line(recommended.sentence)
    smaller = [point for point in points if point.subset != "full"]
    seconds = score_seconds(experiment.finished(), experiment.settings)
    if smaller and seconds is not None:
        point = next((point for point in smaller if point.subset == recommended.subset), min(smaller, key=lambda point: point.kept))
        print_line(cost(seconds, point))


def compare(found: Comparison, changed: list[dict[str, Any]]) -> None:
    """Print a comparison: the numbers, H against H, and the examples that changed most."""
    for sentence in found.sentences:
        console.print(sentence, markup=False)
    title = f"Examples by H in {found.first.name} (rows) and in {found.second.name} (columns)"
    table = Table("H", *map(str, range(found.second.runs + 1)), title=escape(title), title_justify="left", box=None)
    for h, row in enumerate(found.counts.tolist()):
        table.add_row(str(h), *(f"{count:,}" for count in row))
    console.print(table)
    if changed:
        console.print("Changed most (id, H in both, text):")
    for row in changed:
        first, second = row["h"]
        text = " ".join(row["text"].split())
        words = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}\u2026"
        console.print(f"  {row['id']:>8}  {first} of {found.first.runs}, {second} of {found.second.runs}  {words}", markup=False)


def _difference(difference: Difference | None) -> str:
    if difference is None or difference.pairs == 0:
        return ""
    return f"{difference.mean:+.3f} {bracketed(*possible(difference.low, difference.high), sign='+')}"
