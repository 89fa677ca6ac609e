"""Frontiers of a scored experiment, put down by hand."""

from pruning.analysis.frontier import of_subset
from pruning.experiment import Experiment
from pruning.fine_tunings import FineTuning
from pruning.store import checksums
from tests.conftest import EPOCHS, SEEDS

SECONDS = {"full": 20.0, "remove-0": 12.0, "random@remove-0": 12.0}
STEPS = {"full": 15, "remove-0": 9, "random@remove-0": 9}


def measure(experiment: Experiment, metric: str = "accuracy", **worse: float) -> Experiment:
    """Finished fine-tunings put down by hand: full data at 0.8 with each scoring seed, "remove-0" and its random as much worse as said.

    They are said to be measured on 10,000 evaluation examples: the few of a test could not tell these numbers apart.
    """
    experiment.folder.frontier.unlink()
    for name, lost in {"full": 0.0, "remove-0": worse.get("ours", 0.0), "random@remove-0": worse.get("random", 0.0)}.items():
        for place, seed in enumerate(SEEDS):
            subset = experiment.subset(name, seed=seed)
            done = FineTuning(
                **of_subset(subset, "epochs", experiment.burn_in),
                seed=seed,
                epochs=EPOCHS,
                seconds=SECONDS[name],
                steps=STEPS[name],
                finished=0.0,
                metrics={metric: 0.8 - lost + place / 1e4},
                class_accuracy={"negative": 0.7 - lost, "positive": 0.9 - lost} if metric == "accuracy" else {},
            )
            experiment.add_finished(done.row)
    data = {**experiment.info["data"], "evaluation": {**experiment.info["data"]["evaluation"], "rows": 10_000}}
    checksums.write_manifest(experiment.folder, {**experiment.info, "data": data})
    return Experiment(experiment.folder.root)
