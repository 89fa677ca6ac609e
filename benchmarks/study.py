"""Which rule beats chance, and where? Every rule at one size, on real training sets and on the same sets changed on purpose.

    python -m benchmarks.study [--cell movies-2000 --cell ...] [--seeds 3] [--runs 4] [--share 0.5] [--folder DIR]
    python -m benchmarks.study --confirm --seeds 10 --cell movies-2000-copied ...
    python -m benchmarks.study --measured --chart assets/study.svg > benchmarks/results/study.md

For each cell (`benchmarks.cells.CELLS`) the learning rate is fitted, the set is scored, and each rule keeps the same number of rows:
`--share` of the set, or fewer where a subset to draw from has fewer. Every rule is fine-tuned for as many epochs as full data. The table
gives each rule's accuracy minus that of random rows of the same number, and minus full data's, paired by seed. --confirm measures only
Winnow's choice, random rows of its size and full data, with more seeds. It resumes where it was stopped. What was found in a cell is kept
in `benchmarks/results/study.json`, so that cells can be measured one by one, on any machine; --measured trains nothing and prints what is
kept there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks.cells import CELLS, Cell, files
from benchmarks.forest import forest
from benchmarks.machine import today
from pruning.analysis.frontier import paired, paired_values
from pruning.cli import live
from pruning.errors import TrainingError
from pruning.experiment import Experiment
from pruning.formatting import in_points, scientific
from pruning.jobs import worker
from pruning.records import DISTINCT, Difference, FrontierPoint
from pruning.settings import Settings, default_seeds
from pruning.subsets.findings import CHOICE, MANY_COPIES, SUSPECTS
from pruning.subsets.ladder import TICKET
from pruning.subsets.trainable import trainable

KEPT = Path(__file__).parent / "results" / "study.json"
"""What was found: "screened" and "confirmed", each cell -> its kind, words about it, and each rule's size, accuracy and differences."""

SCREENED, CONFIRMED = "screened", "confirmed"

BOTH = f"({TICKET} and {SUSPECTS})"

DRAWN = (TICKET, SUSPECTS, BOTH)
"""Subsets from which rows are drawn at random."""

ALIKE = 0.01
"""Difference of two sizes, as a share, up to which they count as equal."""

RULES = (*DRAWN, "stratified", "ambiguous", "ccs")


def main(
    cell: Annotated[list[str], typer.Option(help="Cell to measure; may be given more than once. Default: all.")] = [],  # noqa: B006
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per rule.")] = 3,
    runs: Annotated[int, typer.Option(help="Fine-tunings that score.")] = 4,
    share: Annotated[float, typer.Option(help="Share of the rows that every rule keeps.")] = 0.5,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/study"),
    confirm: Annotated[bool, typer.Option("--confirm", help="Only Winnow's choice, random rows of its size and full data.")] = False,
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing.")] = False,
    chart: Annotated[Path | None, typer.Option(help="Also draw a rule against random rows in every cell, as SVG.")] = None,
) -> None:
    """Run the study and print its Markdown."""
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {SCREENED: {}, CONFIRMED: {}}
    for wanted in CELLS if not measured else ():
        if cell and wanted.name not in cell:
            continue
        start = time.perf_counter()
        try:
            experiment = scored(wanted, evaluation, runs, folder)
            wanted_names = confirming(experiment) if confirm else screening(experiment, share)
            points = fine_tuned(experiment, wanted_names, seeds, f"{'Confirming' if confirm else 'Rules on'} {wanted.name}")
        except TrainingError as error:
            print(f"{wanted.name}: {error}", file=sys.stderr, flush=True)
            continue
        print(f"{wanted.name}: {(time.perf_counter() - start) / 60:.1f} minutes", file=sys.stderr, flush=True)
        found[CONFIRMED if confirm else SCREENED][wanted.name] = summary(wanted, points, Experiment(folder / wanted.name))
        KEPT.write_text(json.dumps(found, indent=1) + "\n")
    print("# Which rule beats chance\n\n`python -m benchmarks.study --measured`\n")
    for name, each in found[SCREENED].items():
        print("\n".join(table(name, each)))
    print("\n".join([*overview(found[SCREENED]), *confirmation(found[CONFIRMED])]))
    if chart is not None:
        draw(found[SCREENED] | found[CONFIRMED], chart)


def scored(cell: Cell, evaluation: int, runs: int, folder: Path) -> Experiment:
    """Return the scored cell."""
    train, held_out = files(cell, evaluation, folder / "data")
    settings = Settings(data=str(train), evaluation=str(held_out), seeds=default_seeds(runs), checkpoints=False)
    with live.listener(f"Scoring {cell.name}") as listen:
        return worker.score(settings, folder / cell.name, listen)


def fine_tuned(experiment: Experiment, subsets: dict[str, str], seeds: int, title: str) -> dict[str, FrontierPoint]:
    """Rule -> the point of its subset, fine-tuned with at least that many seeds."""
    wanted = [name for name in dict.fromkeys(subsets.values()) if name != "full"]
    with live.listener(title) as listen:
        measured = worker.frontier(experiment.folder.root, wanted, [], seeds, listen=listen)
    points = {point.subset: point for point in measured.frontier() if point.seeds >= seeds}
    return {rule: points[name] for rule, name in subsets.items() if name in points}


def screening(experiment: Experiment, share: float) -> dict[str, str]:
    """Rule -> its subset of the cell's size, random first, then what is measured whole; rules that cannot be trained on are left out."""
    reading = experiment.reading(decisions=False)
    sizes = {name: reading.rule(name.strip("()")).size for name in drawn(reading)}
    size = min(round(share * len(experiment.ids)), *(size for size in sizes.values() if size))
    found = {"random": f"random@{size}", **{rule: f"{rule}@{size}" for rule in (*sizes, *RULES)}}
    found = {rule: name for rule, name in found.items() if trainable(reading.rule(name), experiment.labels, experiment.ids)}
    whole = {f"all of {name}": name for name in sizes if name != BOTH}
    copied = DISTINCT in sizes
    return {**found, "full": "full", **whole, **({f"all of {CHOICE}": CHOICE} if copied else {}), CHOICE: CHOICE if copied else found[BOTH]}


def confirming(experiment: Experiment) -> dict[str, str]:
    """Rule -> its subset: random rows of the size of Winnow's choice, the choice, and full data."""
    return {"random": f"random@{experiment.rule(CHOICE).size}", CHOICE: CHOICE, "full": "full"}


def drawn(experiment: Experiment) -> tuple[str, ...]:
    """Return the subsets from which rows are drawn; one of each meaning is among them where there are copies."""
    copied = experiment.rule(DISTINCT).kept_fraction < 1 - MANY_COPIES
    return (*DRAWN, DISTINCT) if copied else DRAWN


def summary(cell: Cell, points: dict[str, FrontierPoint], experiment: Experiment) -> dict[str, Any]:
    """Return what is kept of a cell. Differences are [mean, low, high], or nothing where sizes are not alike."""
    full, random, finished = points["full"], points["random"], experiment.finished()
    assert full.kept == len(experiment.ids)
    rate = experiment.settings.scoring.learning_rate or float("nan")
    about = f"{full.kept:,} rows, fitted learning rate {scientific(rate)}. {experiment.learned.sentence} Measured: {today()}."
    rules = {}
    for rule, point in points.items():
        alike = abs(point.kept - random.kept) <= ALIKE * random.kept and point is not random
        rules[rule] = {
            "kept": point.kept,
            "seeds": point.seeds,
            "accuracy": round(point.metrics["accuracy"], 4),
            "random": against(random, point, finished) if alike else None,
            "full": against(full, point, finished) if point is not full else None,
        }
    return {"kind": cell.kind, "about": about, "rules": rules}


def against(other: FrontierPoint, point: FrontierPoint, finished: pd.DataFrame) -> list[float]:
    """Accuracy of the point minus the other's, paired by seed: mean, low, high."""
    ours, theirs = (finished[finished["subset"] == each.subset].set_index("seed")["accuracy"] for each in (point, other))
    found = paired(ours, theirs)
    return [round(value, 4) for value in (found.mean, found.low, found.high)]


def table(name: str, found: dict[str, Any]) -> list[str]:
    """Return the lines about one cell."""
    lines = [f"## {name} ({found['kind']})", "", found["about"], ""]
    lines += ["| rule | kept | accuracy | against random of its size, pp | against full data, pp |", "|---|---|---|---|---|"]
    for rule, point in found["rules"].items():
        cells = [in_pp(difference(point[other])) if point[other] else "" for other in ("random", "full")]
        lines.append(f"| {rule} | {point['kept']:,} | {point['accuracy']:.3f} | {' | '.join(cells)} |")
    return [*lines, ""]


def difference(values: Sequence[float]) -> Difference:
    """Return a difference that was kept."""
    mean, low, high = values
    return Difference(mean=mean, low=low, high=high, pairs=0)


def in_pp(found: Difference) -> str:
    """The same in percentage points, with its 95% interval where there is one."""
    return in_points(found.mean, found.low, found.high)


def overview(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return how often each rule was shown to be better or worse than random rows of its size, and than full data."""
    lines = [
        f"## All {len(found)} cells",
        "",
        "| rule | cells | mean over cells against random, pp | better than random | worse | better than full data | worse |",
        "|---" * 7 + "|",
    ]
    for rule in (*RULES, DISTINCT, CHOICE):
        points = [each["rules"][rule] for each in found.values() if rule in each["rules"]]
        if not points:
            continue
        row = [rule, str(len(points))]
        for other in ("random", "full"):
            each = [difference(point[other]) for point in points]
            row += [in_pp(over_cells(each))] if other == "random" else []
            row += [str(sum(one.low > 0 for one in each)), str(sum(one.high < 0 for one in each))]
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, "", *NOTES, *(f"{cell.name} is not measured." for cell in CELLS if cell.name not in found), ""]


def confirmation(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines about Winnow's choice with more seeds."""
    lines = [f"## `{CHOICE}` alone, with more seeds", ""]
    lines += [
        "| cell | rows | kept | accuracy: all, random, choice | against random of its size, pp | against full data, pp | seeds |",
        "|---" * 7 + "|",
    ]
    for name, cell in found.items():
        full, random, choice = (cell["rules"][rule] for rule in ("full", "random", CHOICE))
        accuracy = ", ".join(f"{each['accuracy']:.3f}" for each in (full, random, choice))
        differences = [in_pp(difference(choice[other])) for other in ("random", "full")]
        row = [f"{name} ({cell['kind']})", f"{full['kept']:,}", f"{choice['kept']:,}", accuracy, *differences, str(choice["seeds"])]
        lines.append(f"| {' | '.join(row)} |")
    return [*lines, "", *(f"{name}: {cell['about']}" for name, cell in found.items()), ""] if found else []


NOTES = (
    "Better, worse: the 95% interval of the paired difference lies above, below 0. The mean over cells counts each cell once, with",
    "Student's t over cells; several share a source.",
    "",
    f"`{CHOICE}` is `{TICKET} and {SUSPECTS}`, and `{DISTINCT} and {SUSPECTS}` where more than {MANY_COPIES:.0%} of the examples are",
    "copies (movies-2000-copied). It was put together after the first seven sets had been measured; the others were not seen before.",
    "movies-2000-one-rare could not be learned: no rate beats the majority class (.905). Cells measured on 2026-11-27 have the rates",
    "of earlier searches, which often chose a higher candidate than today's. A cell takes 4 to 9 minutes on 2 free cores, with --confirm",
    "and ten seeds some 20.",
    "",
)


def draw(found: dict[str, dict[str, Any]], chart: Path) -> None:
    """Write a chart of Winnow's choice against random rows of its size, in every cell and on average."""
    each = {f"{name} ({cell['kind']})": difference(cell["rules"][CHOICE]["random"]) for name, cell in found.items()}
    lines = [*each.items(), (f"mean of {len(each)} sets", over_cells([*each.values()]))]
    title = "Winnow's choice against random rows of its size"
    chart.write_text(forest(title, "percentage points of accuracy, with 95% intervals", lines))


def over_cells(found: Sequence[Difference]) -> Difference:
    """Mean difference over cells, each counted once, with its 95% interval."""
    return paired_values(np.array([each.mean for each in found]))


if __name__ == "__main__":
    typer.run(main)
