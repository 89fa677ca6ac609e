"""Every task once on real text with the sample model: pairs, multiple choice and questions made from the sample's sentences.

    python -m benchmarks.tasks [--train 400] [--evaluation 200] [--runs 2] [--seeds 2]

- pairs: do two sentences agree in sentiment?
- multiple choice: which of four sentences says what the fifth does not: three of one sentiment, one of the other?
- questions: the context is several sentences; the question is the beginning of one of them, the answer its end; a quarter of the
  questions begin a sentence that is not there and have no answer.

Each is scored, measured and exported, and the export is verified. The tasks are made up; what is shown is that the whole path works
on text of real length and vocabulary.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import heading
from pruning.cli import report
from pruning.data import sample
from pruning.export import writer
from pruning.files import atomic_write
from pruning.jobs import worker
from pruning.settings import Settings, TrainSettings, default_seeds

Row = dict[str, Any]


def main(
    train: Annotated[int, typer.Option(help="Training examples of each task.")] = 400,
    evaluation: Annotated[int, typer.Option(help="Evaluation examples.")] = 200,
    runs: Annotated[int, typer.Option(help="Fine-tunings that score.")] = 2,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point.")] = 2,
) -> None:
    """Run what is missing and print Markdown."""
    lines = []
    for name, make in MAKERS.items():
        folder = Path(f"experiments/tasks-{name}-{train}")
        files = [written(folder.with_suffix(f".{part}.jsonl"), make, count, part) for part, count in parts(train, evaluation)]
        settings = Settings(
            data=str(files[0]), evaluation=str(files[1]), seeds=default_seeds(runs), train=TrainSettings(learning_rate=5e-5)
        )
        with report.listener(f"Scoring {name}") as listen:
            worker.score(settings, folder, listen)
        with report.listener(f"Measuring {name}") as listen:
            experiment = worker.frontier(folder, ["random@0.5"], [], seeds, listen=listen)
        manifest = writer.build(experiment, experiment.subset("random@0.5"), folder.with_suffix(".export.jsonl"), force=True)
        writer.verify(folder.with_suffix(".export.jsonl"))
        accuracy = " ".join(f"{value:.3f}" for value in experiment.epoch_accuracy().mean(axis=0))
        for point in experiment.frontier():
            metrics = ", ".join(f"{metric} {value:.3f}" for metric, value in point.metrics.items())
            lines.append(f"| {name} ({experiment.settings.task}) | {accuracy} | {point.subset} | {point.kept} | {metrics} |")
        lines.append(f"| | | exported and verified | {manifest['output']['rows']} | |")
    print(
        heading(
            "Every task on real text", f"python -m benchmarks.tasks --train {train} --evaluation {evaluation} --runs {runs} --seeds {seeds}"
        )
    )
    print("| task | online success by epoch | trained on | examples | evaluation |\n|---|---|---|---|---|")
    print("\n".join(lines))


def parts(train: int, evaluation: int) -> list[tuple[str, int]]:
    """Part -> how many examples."""
    return [("train", train), ("eval", evaluation)]


def written(path: Path, make: Callable[[random.Random, list[Row]], Row], count: int, part: str) -> Path:
    """The file of one part; training and evaluation use different sentences."""
    sentences = [json.loads(line) for line in sample.sample_data().read_text(encoding="utf-8").splitlines()]
    random.Random(0).shuffle(sentences)
    half = len(sentences) // 2
    mine, draw = sentences[:half] if part == "train" else sentences[half:], random.Random(part)
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(make(draw, mine), ensure_ascii=False) + "\n" for _ in range(count)), encoding="utf-8")
    return path


def pair(draw: random.Random, sentences: list[Row]) -> Row:
    """Two sentences and whether their labels are equal."""
    first, second = draw.sample(sentences, 2)
    agree = first["label"] == second["label"]
    return {"sentence1": first["sentence"], "sentence2": second["sentence"], "label": "agree" if agree else "disagree"}


def choice(draw: random.Random, sentences: list[Row]) -> Row:
    """Four sentences of which one is of the other sentiment."""
    odd = draw.choice(["positive", "negative"])
    one = draw.choice([row for row in sentences if row["label"] == odd])
    others = draw.sample([row for row in sentences if row["label"] != odd], 3)
    options = draw.sample([one, *others], 4)
    question = f"Which of these is the {odd} one?"
    return {"question": question, "options": [row["sentence"] for row in options], "answer": "ABCD"[options.index(one)]}


def question(draw: random.Random, sentences: list[Row]) -> Row:
    """Some sentences in a row, and the beginning of one of them, or of another."""
    chosen = [" ".join(row["sentence"].split()) for row in draw.sample([row for row in sentences if len(row["sentence"].split()) >= 8], 5)]
    context, asked = " ".join(chosen[:4]), chosen[draw.randrange(4) if draw.random() < 0.75 else 4]
    words = asked.split()
    begins, ends = " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
    start = context.find(asked)
    place = context.index(ends, start) if start >= 0 else -1
    answers = {"text": [ends], "answer_start": [place]} if place >= 0 else {"text": [], "answer_start": []}
    return {"question": begins, "context": context, "answers": answers}


MAKERS = {"pairs": pair, "choice": choice, "questions": question}


if __name__ == "__main__":
    typer.run(main)
