"""How good is a narrower model? As the one that scores, and as the one that is trained.

    python -m benchmarks.width [--cell movies-1000] [--rows 600] [--evaluation 600] [--runs 3] [--seeds 3] [--folder DIR]
    python -m benchmarks.width --measured

A set of the study is scored with the full model, and with models that keep a share of its neurons (`winnow narrow`), chosen by their
importance and at random; the same seeds score each, and runs of the full model with other seeds are what they should agree with. Then full
data, Winnow's choice and random rows of its number are measured with the full model and two narrower ones. Each width trains at the
learning rate that is fitted to it. It resumes where it was stopped; --measured trains nothing and prints what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.cells import CELLS, files
from benchmarks.machine import heading
from benchmarks.study import in_pp
from pruning.analysis.frontier import paired_values
from pruning.analysis.neurons import RANDOM, TAYLOR
from pruning.cli import live
from pruning.data import model_checks, models
from pruning.data.tasks import TASKS
from pruning.experiment import Experiment
from pruning.formatting import scientific
from pruning.jobs import worker
from pruning.jobs.narrow import measure_neurons, narrow
from pruning.records import RunPlan
from pruning.settings import Settings, default_seeds
from pruning.subsets.findings import CHOICE
from pruning.training.devices import one_thread
from pruning.training.loop import Run

WIDTHS = (0.5, 0.7)
RULES = (TAYLOR, RANDOM)
ROUNDS, BATCH = 15, 32


def main(
    cell: Annotated[str, typer.Option(help="Cell of benchmarks.cells.")] = "movies-1000",
    rows: Annotated[int, typer.Option(help="Training rows.")] = 600,
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 600,
    runs: Annotated[int, typer.Option(help="Scoring runs.")] = 3,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per subset.")] = 3,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/width"),
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing, print what is there.")] = False,
) -> None:
    """Train what is missing and print Markdown."""
    if not measured:
        train, held_out = files(next(each for each in CELLS if each.name == cell), evaluation, folder / "data")
        measure(Settings(data=str(train), evaluation=str(held_out), limit=rows, checkpoints=False), runs, seeds, folder)
    full = Experiment(folder / "full")
    options = f"--cell {cell} --rows {rows} --evaluation {evaluation} --runs {runs} --seeds {seeds}"
    print(heading("Narrower models", f"python -m benchmarks.width {options}"))
    print(f"{len(full.ids):,} rows, {full.evaluated:,} to evaluate, {runs} scoring runs, {seeds} seeds. {full.learned.sentence}\n")
    costs = timings(full, folder)
    print("\n".join(["## As the model that scores", "", *agreement(folder, costs), "", "## As the model that is trained", ""]))
    print("\n".join(trained(full, folder, costs)))


def measure(settings: Settings, runs: int, seeds: int, folder: Path) -> None:
    """Score with every arm and measure every subset; what is finished is kept."""
    every, names = default_seeds(2 * runs), ([CHOICE], ["random"], seeds)
    own = settings.with_changes(seeds=every[:runs])
    full = scored(own, folder / "full")
    rate = full.settings.measuring.learning_rate
    scored(own.with_changes(seeds=every[runs:], learning_rate=rate, look=False), folder / "held-out")
    frontier(full, names, None)
    neurons = None
    for share in WIDTHS:
        for rule in RULES:
            model = folder / "models" / f"{share:g}-{rule}"
            if not model.exists():
                if rule != RANDOM and neurons is None:
                    with live.listener("Measuring neurons") as listen:
                        neurons = measure_neurons(full.folder.root, listen)
                print(narrow(full.folder.root, share, model, rule, measured=neurons).sentence, flush=True)
            if rule == TAYLOR:
                rate = frontier(full, names, str(model)).settings.measuring.learning_rate
            scored(own.with_changes(model=str(model), learning_rate=rate, look=False), folder / model.name)
    scored(own.with_changes(approximate="epochs", look=False), folder / "epochs")


def scored(settings: Settings, folder: Path) -> Experiment:
    """An experiment with these settings."""
    with live.listener(f"Scoring {folder.name}") as listen:
        return worker.score(settings, folder, listen)


def frontier(full: Experiment, names: tuple[list[str], list[str], int], model: str | None) -> Experiment:
    """The subsets measured with that model, read with it."""
    with live.listener(f"Measuring with {model or 'the full model'}") as listen:
        found = worker.frontier(full.folder.root, *names, listen=listen, model=model)
    return found if model is None else found.with_model(models.fingerprint(Path(model)))


def timings(full: Experiment, folder: Path) -> dict[str, tuple[float, float]]:
    """Model -> CPU milliseconds a sentence of training and of inference on one core: medians of rounds in which the models take turns."""
    path = models.locate(full.settings.model)
    task = TASKS[full.settings.task]
    data = task.encode(full.examples(), models.load_tokenizer(path), full.settings.max_length or task.max_length)
    found = {
        "full": path,
        **{name: folder / "models" / name for share in WIDTHS if (folder / "models" / (name := f"{share:g}-{TAYLOR}")).exists()},
    }
    plan = RunPlan(key="timing", seed=1, rows=np.arange(data.units), epochs=1, record=False)
    with one_thread():
        engines = {name: Run(plan, data, None, str(place), full.settings.measuring) for name, place in found.items()}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
        for number in range(ROUNDS + 3):
            rows = np.arange(number * BATCH, (number + 1) * BATCH) % data.units
            for name, run in engines.items():
                run.network.train()
                training = clocked(partial(run.step, rows))
                run.network.eval()
                taken[name].append((training, clocked(partial(run.predict, run.data, rows))))
    return {name: tuple(1000 / BATCH * np.median(each[3:], axis=0)) for name, each in taken.items()}


def clocked(work: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def agreement(folder: Path, costs: dict[str, tuple[float, float]]) -> list[str]:
    """Each way to score against the full model's runs with other seeds; fewer runs of the full model beside them."""
    target, full = Experiment(folder / "held-out").dynamics, Experiment(folder / "full")
    wanted = (quality(target.gold_prob), target.correct.sum(axis=(0, 1)))
    header = ("scored by", "cost", "rank agreement of the mean gold probability", "of correctness", "accuracy of full data")
    lines = [f"| {' | '.join(header)} | against the full model, pp | against random neurons, pp |", "|---" * 7 + "|"]
    for name, cost, experiment, runs in arms(full, folder, costs):
        part = experiment.dynamics
        own = (quality(part.gold_prob[:runs]), part.correct[:runs].sum(axis=(0, 1)))
        cells = [interval(one, other) for one, other in zip(own, wanted, strict=True)]
        accuracy, random = experiment.learned.accuracy, folder / f"{name.removeprefix('width ').partition(',')[0]}-{RANDOM}"
        cells.append("" if np.isnan(accuracy) else f"{accuracy:.3f}")
        cells.append("" if experiment is full else against(experiment, full))
        cells.append(against(experiment, Experiment(random)) if name.startswith("width") and random.exists() else "")
        lines.append(f"| {name} | {cost:.0%} | {' | '.join(cells)} |")
    return lines


def arms(full: Experiment, folder: Path, costs: dict[str, tuple[float, float]]) -> Iterator[tuple[str, float, Experiment, int]]:
    """Name, training cost of the scoring runs as a share of the full model's, experiment, and how many of its runs count."""
    count = full.settings.runs
    for runs in range(count, 0, -1):
        yield "the full model" if runs == count else f"its first {runs} of {count} runs", runs / count, full, runs
    if (folder / "epochs" / "experiment.json").exists():
        yield "`--approximate epochs`", 2 / 3, Experiment(folder / "epochs"), count
    for share in WIDTHS:
        cost = costs.get(f"{share:g}-{TAYLOR}", (np.nan, np.nan))[0] / costs["full"][0]
        for place in sorted(folder.glob(f"{share:g}-*")):
            if (place / "experiment.json").exists() and len((found := Experiment(place)).finished_runs()) == count:
                yield f"width {place.name.replace('-', ', ')}", cost, found, count


def against(experiment: Experiment, other: Experiment) -> str:
    """Accuracy of full data minus that of another model, in percentage points, paired by seed; empty for the same."""
    both = [each.finished().query("subset == 'full'").drop_duplicates("seed").set_index("seed") for each in (experiment, other)]
    if experiment.folder.root == other.folder.root or not all(map(len, both)):
        return ""
    return in_pp(paired_values((both[0]["accuracy"] - both[1]["accuracy"]).dropna().to_numpy()))


def quality(gold_prob: NDArray[np.float32]) -> NDArray[np.float64]:
    """[examples] mean gold probability over runs and epochs."""
    return np.asarray(gold_prob.mean(axis=(0, 1)), dtype=np.float64)


def interval(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Spearman's rank correlation with its 95% bootstrap interval over examples."""
    random = np.random.default_rng(0)
    draws = [random.integers(0, len(one), len(one)) for _ in range(300)]
    low, high = np.percentile([spearmanr(one[draw], other[draw]).statistic for draw in draws], [2.5, 97.5])
    return f"{spearmanr(one, other).statistic:.2f} [{low:.2f}, {high:.2f}]"


def trained(full: Experiment, folder: Path, costs: dict[str, tuple[float, float]]) -> list[str]:
    """Data x model: each subset with each width."""
    header = ("width", "parameters", "rate", "rows", "number", "accuracy", "majority", "training", "inference, ms a sentence")
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    size = model_checks.shape(models.locate(full.settings.model), "sample").parameters
    readings = [("1", "full", full, size)]
    for share in sorted(WIDTHS, reverse=True):
        path = folder / "models" / f"{share:g}-{TAYLOR}"
        if path.exists() and (fingerprint := models.fingerprint(path)) in full.other_models:
            readings.append((f"{share:g}", path.name, full.with_model(fingerprint), model_checks.shape(path, path.name).parameters))
    for width, name, reading, parameters in readings:
        rate = reading.settings.measuring.learning_rate
        for point in reading.frontier():
            low, high = point.ci95["accuracy"]
            training = point.kept / len(full.ids) * costs[name][0] / costs["full"][0]
            cells = [width, f"{parameters / 1e6:.1f} M", scientific(rate) if rate else "", point.subset, f"{point.kept:,}"]
            cells += [f"{point.metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}]", f"{full.majority:.3f}", f"{training:.0%}"]
            lines.append(f"| {' | '.join([*cells, f'{costs[name][1]:.1f}'])} |")
    return lines


if __name__ == "__main__":
    typer.run(main)
