"""Does Winnow find wrong labels? Flip some of the sample's on purpose and look.

    python -m benchmarks.label_noise [--train 2000] [--evaluation 2000] [--seeds 3] [--learning-rate 2e-4] [--share 0.1 --share 0.2]

For each share a seeded choice of training labels is flipped, the set is scored (6 runs x 3 epochs), and the table says how many of the
flipped labels are in H = 0 and in the list of label errors, how much of that list is flipped, and the average precision of its order;
beside it cleanlab as its tutorials run it for text, on cross-validated predictions of a linear model on embeddings. The frontier then
measures full data with the listed examples, without them, and without as many at random; evaluation labels are never flipped. It resumes
where it was stopped.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.machine import heading
from benchmarks.study import in_pp
from pruning.analysis import audit, scores
from pruning.cli import live
from pruning.data.sample import sample_split
from pruning.experiment import Experiment
from pruning.files import atomic_write
from pruning.formatting import bracketed
from pruning.jobs import worker
from pruning.records import DecisionKind
from pruning.settings import Settings, TrainSettings
from pruning.subsets.decisions import Decision

OTHER = {"positive": "negative", "negative": "positive"}
CLEANED = "full+decisions"

DROPPED = "dropped"
RELABELLED = {DROPPED: 0.0, "relabelled": 1.0, "half-relabelled": 0.5}
"""Way to treat the listed examples -> share of them, the surest, that get the suggested label; the others are dropped."""
RATING = "source.rating_mean"


def main(
    train: Annotated[int, typer.Option(help="Training sentences.")] = 2000,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point; 0 = no frontier.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="Peak rate; the sample's best, see results/learning-rate.md.")] = 2e-4,
    share: Annotated[list[float], typer.Option(help="Share of labels to flip; may be given more than once.")] = [0.0, 0.1, 0.2],  # noqa: B006
) -> None:
    """Run the study and print its Markdown."""
    options = f"--train {train} --evaluation {evaluation} --seeds {seeds} --learning-rate {learning_rate:g}"
    shares = " ".join(f"--share {value:g}" for value in share)
    experiments = [scored(value, train, evaluation, seeds, learning_rate) for value in share]
    print(heading("Finding flipped labels", f"python -m benchmarks.label_noise {options} {shares}"))
    print("| flipped | order by | listed | in H = 0, recall | list: recall | precision | average precision | times the base rate |")
    print("|---" * 8 + "|")
    for experiment, flipped in experiments:
        print("\n".join(found(experiment, flipped)))
    print(
        "\n| flipped | mean absolute human rating (0 to 4): flipped and listed | not flipped but listed | not listed |\n|---|---|---|---|"
    )
    for experiment, flipped in experiments:
        print(clarity(experiment, flipped))
    print("\n| flipped | the listed | kept | wrong labels left | accuracy | 95% interval | against everything, pp | seeds |")
    print("|---" * 8 + "|")
    for experiment, flipped in experiments:
        print("\n".join(frontier(experiment, flipped)))
    print("\nhalf-relabelled: the surest half of the list gets the suggested labels, the other half is dropped.")


def scored(share: float, train: int, evaluation: int, seeds: int, learning_rate: float) -> tuple[Experiment, NDArray[np.bool_]]:
    """The experiment on the sample with that share of labels flipped, and which they are."""
    source, held_out = sample_split(train, evaluation)
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    flipped = np.zeros(train, dtype=bool)
    flipped[np.random.default_rng(0).permutation(train)[: round(share * train)]] = True
    folder = Path(f"experiments/label-noise-{train}-{share:g}-{learning_rate:g}")
    data = folder.parent / f"{folder.name}.jsonl"
    folder.parent.mkdir(exist_ok=True)
    if not data.exists():
        with atomic_write(data) as temporary:
            temporary.write_text(
                "".join(
                    json.dumps({**row, "label": OTHER[row["label"]] if flip else row["label"]}, ensure_ascii=False) + "\n"
                    for row, flip in zip(rows, flipped, strict=True)
                ),
                encoding="utf-8",
            )
    with live.listener(f"Scoring with {share:.0%} flipped") as listen:
        experiment = worker.score(
            Settings(data=str(data), evaluation=str(held_out), train=TrainSettings(learning_rate=learning_rate)), folder, listen
        )
    if seeds:
        measured = experiment
        with live.listener(f"Frontier with {share:.0%} flipped") as listen:
            for way, relabelled in RELABELLED.items():
                decided = decide(measured, folder.with_name(f"{folder.name}-{way}"), relabelled)
                also = [f"random@{decided.subset(CLEANED).size}"] if way == DROPPED else []
                measured = worker.frontier(decided.folder.root, [CLEANED, *also], [], seeds, listen=listen)
    return experiment, flipped


def decide(experiment: Experiment, folder: Path, relabelled: float) -> Experiment:
    """A copy of the experiment in which this share of the listed labels, the surest, is changed and the rest dropped."""
    if not folder.exists():
        shutil.copytree(experiment.folder.root, folder)
        Experiment(folder).folder.decisions.unlink(missing_ok=True)
    copy = Experiment(folder)
    errors = copy.label_errors
    if errors is not None and not copy.decisions():
        listed = np.flatnonzero(errors.suspect)
        surest = listed[np.argsort(errors.quality[listed], kind="stable")][: round(relabelled * len(listed))]
        for label, name in enumerate(copy.label_names):
            changed = copy.ids[surest[errors.suggested[surest] == label]]
            if len(changed):
                copy.decide(Decision(kind=DecisionKind.RELABEL, ids=tuple(changed.tolist()), value=name))
        dropped = copy.ids[np.setdiff1d(listed, surest)]
        if len(dropped):
            copy.decide(Decision(kind=DecisionKind.DROP, ids=tuple(dropped.tolist())))
    return copy


def found(experiment: Experiment, flipped: NDArray[np.bool_]) -> list[str]:
    """How well each order finds them; only label errors are a list with an end of its own, the others are cut to its length."""
    errors, dynamics = experiment.label_errors, experiment.dynamics
    assert errors is not None and experiment.labels is not None
    hard = scores.h_score(dynamics.correct) == 0
    base = flipped.mean()
    classes, look = len(experiment.label_names), experiment.look
    lists = {"label errors (runs and look)": errors}
    if look is not None and look.probabilities is not None:
        lists["cleanlab's usual way: the look alone"] = audit.label_errors_of_probe(look.probabilities, experiment.labels)
    lists["runs alone"] = audit.label_errors(dynamics, experiment.labels, classes)
    for epochs in (1, 3):
        lists[f"runs alone, first {epochs} of 3 epochs"] = audit.label_errors(dynamics, experiment.labels, classes, epochs=epochs)
    orders = {
        **{name: -found.quality for name, found in lists.items()},
        "AUM": -scores.compute("aum", dynamics),
        "loss": scores.compute("loss", dynamics),
        "H": -scores.compute("h", dynamics),
    }
    lines = []
    for name, order in orders.items():
        listed = lists[name].suspect if name in lists else order >= np.sort(order)[-errors.suspect.sum()]
        cells = [f"{base:.0%}", name, f"{listed.sum():,}"]
        if flipped.any():
            precision = average_precision_score(flipped, order)
            cells += [f"{flipped[hard].sum() / flipped.sum():.0%}", f"{flipped[listed].sum() / flipped.sum():.0%}"]
            cells += [f"{flipped[listed].mean():.0%}", f"{precision:.2f}", f"{precision / base:.1f}"]
        elif name in lists:
            cells += ["-"] * 5
        else:
            continue
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def clarity(experiment: Experiment, flipped: NDArray[np.bool_]) -> str:
    """How clear people found what is listed, rightly and wrongly, and what is not."""
    assert experiment.label_errors is not None
    rating = np.abs(experiment.examples([RATING])[RATING].to_numpy())
    listed = experiment.label_errors.suspect
    groups = (listed & flipped, listed & ~flipped, ~listed)
    return f"| {flipped.mean():.0%} | {' | '.join(f'{rating[group].mean():.2f}' if group.any() else '-' for group in groups)} |"


def frontier(experiment: Experiment, flipped: NDArray[np.bool_]) -> list[str]:
    """What was measured of everything and of each way to treat the list, each against everything, paired by seed."""
    lines = []
    for way in RELABELLED:
        folder = experiment.folder.root.with_name(f"{experiment.folder.root.name}-{way}")
        if not folder.exists():
            continue
        decided = Experiment(folder)
        for point in decided.frontier():
            subset = decided.named(point.subset)
            name = {"full": "everything", CLEANED: way}.get(point.subset, "without as many at random")
            if way not in (DROPPED, name):
                continue  # full data and random rows are those of the first copy
            kept, new = subset.mask(experiment.ids), np.isin(experiment.ids, np.array([*subset.labels], dtype=np.int64))
            wrong = (flipped & kept & ~new).sum() + (new & ~flipped).sum()
            cells = [f"{flipped.mean():.0%}", name, f"{point.kept:,}", f"{wrong:,}", f"{point.metrics['accuracy']:.3f}"]
            against = "" if point.vs_full is None else in_pp(point.vs_full)
            lines.append(f"| {' | '.join(cells)} | {bracketed(*point.ci95['accuracy'])} | {against} | {point.seeds} |")
    return lines


if __name__ == "__main__":
    typer.run(main)
