"""Does scoring of prompts and answers find what people find hard, and wrong answers? SmolLM2-135M-Instruct with LoRA.

    python -m benchmarks.generation [--set films] [--train 400] [--evaluation 200] [--runs 3] [--share 0.1] [--folder DIR] [--measured]

A set (`benchmarks.answer_sets`) is scored twice: as it is, and with `--share` of the answers exchanged; film sentences, whose answer is
the word positive or negative, also as a classification by the sample model. The tables say how H and right looks spread under each success
rule, how two halves of the runs agree, how the scores rank with people's ratings and with H of the classification, and how early each
score ranks the exchanged answers. It resumes where it was stopped; --measured trains nothing and prints what is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from benchmarks.answer_sets import split
from benchmarks.label_noise import RATING
from benchmarks.machine import heading
from pruning.analysis import scores
from pruning.cli import live
from pruning.data.sample import sample_split
from pruning.data.sample_chats import chat_folder
from pruning.experiment import Experiment
from pruning.files import atomic_write
from pruning.jobs import worker
from pruning.jobs.demo import LEARNING_RATE as CLASSIFICATION_RATE
from pruning.jobs.demo_llm import LEARNING_RATE, RANK, small_model
from pruning.reports.generated import spreads
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.success import EXACT

CLASSIFICATION_RUNS = 6

BURN_IN = {"answers": 1, "exchanged": 1, "classes": 0}
"""Experiment -> first epochs that H leaves out: in its first epoch a language model learns what an answer looks like."""


def main(
    name: Annotated[str, typer.Option("--set", help="films, trivia or code.")] = "films",
    train: Annotated[int, typer.Option(help="Rows that are scored.")] = 400,
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 200,
    runs: Annotated[int, typer.Option(help="Fine-tunings of the language model.")] = 3,
    share: Annotated[float, typer.Option(help="Share of the answers that are exchanged.")] = 0.1,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/generation"),
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing.")] = False,
) -> None:
    """Run the study and print its Markdown."""
    folder = folder if name == "films" else folder / name
    exchanged = np.zeros(train, dtype=np.bool_)
    exchanged[np.random.default_rng(0).permutation(train)[: round(share * train)]] = True
    if not measured:
        score(folder, name, train, evaluation, runs, exchanged)
    found = [kind for kind in BURN_IN if (folder / kind / "experiment.json").exists()]
    done = {kind: Experiment(folder / kind, BURN_IN[kind]) for kind in found}
    done = {kind: each for kind, each in done.items() if each.finished_runs()}
    print(heading("Prompts and answers", f"python -m benchmarks.generation {' '.join(sys.argv[1:])}".strip()))
    for kind, each in done.items():
        dynamics = each.dynamics
        print(f"- {kind}: {dynamics.examples:,} rows, {dynamics.runs} runs x {dynamics.epochs} epochs. {each.learned.sentence}")
    if "answers" in done:
        print("\n".join(spread_table(done["answers"])))
        print("\n".join(agreement_table(done["answers"], done.get("classes"))))
    if "exchanged" in done:
        print("\n".join(noise_table(done["exchanged"], exchanged)))


def score(folder: Path, name: str, train: int, evaluation: int, runs: int, exchanged: NDArray[np.bool_]) -> None:
    """Score what is not scored yet, the classification first, because it takes a minute."""
    small_model()
    data, held_out = split(name, train, evaluation, folder)
    lora = TrainSettings(learning_rate=LEARNING_RATE, lora_rank=RANK)
    generation = Settings(data=str(data), evaluation=str(held_out), model=str(chat_folder()), seeds=default_seeds(runs), train=lora)
    wrong = folder / "exchanged.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    if not wrong.exists():
        with atomic_write(wrong) as temporary:
            temporary.write_text("".join(exchange(data.read_text(encoding="utf-8").splitlines(), exchanged)), encoding="utf-8")
    wanted = {"answers": generation, "exchanged": generation.with_changes(data=str(wrong))}
    if name == "films":
        sentences = sample_split(train, evaluation)
        classification = Settings(
            data=str(sentences[0]),
            evaluation=str(sentences[1]),
            seeds=default_seeds(CLASSIFICATION_RUNS),
            train=TrainSettings(learning_rate=CLASSIFICATION_RATE),
        )
        wanted = {"classes": classification, **wanted}
    for kind, settings in wanted.items():
        with live.listener(f"Scoring {kind}") as listen:
            worker.score(settings, folder / kind, listen)


def exchange(lines: list[str], chosen: NDArray[np.bool_]) -> Iterator[str]:
    """Give each chosen conversation another's answer: the next chosen one's that says something else."""
    rows = [json.loads(line) for line in lines]
    answers = [row["messages"][-1]["content"] for row in rows]
    others = np.flatnonzero(chosen).tolist()
    for number, row in enumerate(rows):
        if chosen[number]:
            later = others[others.index(number) + 1 :] + others
            row["messages"][-1]["content"] = next(answers[other] for other in later if answers[other] != answers[number])
        yield json.dumps(row, ensure_ascii=False) + "\n"


def spread_table(experiment: Experiment) -> list[str]:
    """How H and right looks spread under each rule."""
    lines = [
        "",
        "## Spread",
        "",
        "| rule | examples by H | by right looks | winning ticket keeps | sometimes right |",
        "|---|---|---|---|---|",
    ]
    for each in spreads(experiment):
        cells = [each.rule, " ".join(map(str, each.h)), " ".join(map(str, each.looks)), f"{each.ticket:.0%}", f"{each.sometimes:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def by_rule(experiment: Experiment) -> dict[str, Experiment]:
    """The recording under `exact` and under the rule that Winnow proposes for it, by name."""
    assert experiment.success is not None
    names = dict.fromkeys((EXACT, experiment.success.name))
    return {name: experiment.reading(burn_in=experiment.burn_in, success=name) for name in names}


def orders(experiment: Experiment) -> dict[str, NDArray[np.float64]]:
    """Scores by name, higher = harder."""
    dynamics, found = experiment.dynamics, dict[str, NDArray[np.float64]]()
    for name, read in by_rule(experiment).items():
        found[f"right looks ({name})"] = -read.dynamics.correct.sum(axis=(0, 1)).astype(float)
        found[f"H ({name})"] = -read.h_score().astype(float)
    return found | {
        "mean loss": dynamics.loss.mean(axis=(0, 1)).astype(float),
        "mean loss, first epoch": dynamics.loss[:, 0].mean(axis=0).astype(float),
        "worst token": -scores.compute("worst-token", dynamics),
        "loss before training": dynamics.extras["loss0"].astype(float),
    }


def agreement_table(experiment: Experiment, classes: Experiment | None) -> list[str]:
    """Rank correlations (Spearman) of each score between two runs, and with people's ratings and H of the classification, if any."""
    loss = experiment.dynamics.loss.mean(axis=1).astype(float)
    halves = {"mean loss": (loss[0], loss[-1])}
    for name, read in by_rule(experiment).items():
        looks = -read.dynamics.correct.sum(axis=1).astype(float)
        halves[f"right looks ({name})"] = looks[0], looks[-1]
    rated = RATING in experiment.examples().column_names
    clear = np.abs(experiment.examples([RATING])[RATING].to_numpy()) if rated else None
    usable = classes is not None and not classes.learned.refusal  # H of a model that has not learned ranks nothing
    difficulty = -scores.compute("h", classes.dynamics) if classes is not None and usable else None
    ranked, columns = orders(experiment), dict[str, dict[str, str]]()
    if clear is not None:
        columns["people's unsureness"] = {name: rho(order, -clear) for name, order in ranked.items()}
    if difficulty is not None:
        columns["H of the classification"] = {name: rho(order, difficulty) for name, order in ranked.items()}
    if experiment.dynamics.runs > 1:
        columns["first run against the last"] = {name: rho(*halves[name]) for name in ranked if name in halves}
    lines = ["", "## Agreement (Spearman)", "", f"| score | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join([name, *(each.get(name, '') for each in columns.values())])} |" for name in ranked]
    if clear is None:
        return lines
    if difficulty is not None:
        lines.append(f"| H of the classification | {rho(difficulty, -clear)} |  |  |")
    return [*lines, "", "People's unsureness: minus the distance of the mean rating (-4 to 4) from neutral; no training saw it."]


def rho(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Spearman's correlation, or a dash where one side has a single value."""
    found = spearmanr(one, other).statistic if np.ptp(one) > 0 and np.ptp(other) > 0 else np.nan
    return "-" if np.isnan(found) else f"{found:.2f}"


def noise_table(experiment: Experiment, exchanged: NDArray[np.bool_]) -> list[str]:
    """How early each score ranks the exchanged answers."""
    base = exchanged.mean()
    lines = [
        "",
        f"## Exchanged answers ({base:.0%} of the rows)",
        "",
        "| order by | average precision | times the base rate |",
        "|---|---|---|",
    ]
    for name, order in orders(experiment).items():
        precision = float(average_precision_score(exchanged, order))
        lines.append(f"| {name} | {precision:.2f} | {precision / base:.1f} |")
    return lines


if __name__ == "__main__":
    typer.run(main)
