"""The subsets that a person can choose for an experiment."""

from __future__ import annotations

from pruning.reading import Reading
from pruning.records import DECISIONS, DISTINCT, Subset
from pruning.reports.browse import View, at_hand
from pruning.store.saved_subsets import saved_names
from pruning.subsets import findings
from pruning.subsets.ladder import ladder_names
from pruning.subsets.looks import SOMETIMES
from pruning.subsets.rules import TICKET


def ladder(experiment: Reading) -> list[str]:
    """Return the names of the paper's rules for as many runs as are complete."""
    return ladder_names(len(experiment.finished_runs()))


def usual(experiment: Reading) -> str:
    """Return the subset of a view that names none: the winning ticket, or Winnow's choice where only that is measured.

    For prompts and answers, where the ticket keeps few: sometimes right.
    """
    if experiment.settings.task == "generation":
        return SOMETIMES
    measured = _measured(experiment)
    return findings.CHOICE if findings.CHOICE in measured and TICKET not in measured else TICKET


def subset_names(experiment: Reading) -> list[str]:
    """Return every subset to choose from: the ladder, Winnow's choice, what was saved or found, the ladder's ends, what was measured."""
    quick = at_hand(experiment)
    choice = [findings.CHOICE] if quick else []
    found = [findings.SUSPECTS] if experiment.finds_label_errors else []
    found += [DISTINCT] if quick and experiment.same_meaning is not None and experiment.same_meaning.max() >= 0 else []
    saved = saved_names(experiment.folder)
    return list(
        dict.fromkeys([*ladder(experiment), *choice, *saved, *found, "drop-easy", "drop-hard", SOMETIMES, *_measured(experiment), "full"])
    )


def _measured(experiment: Reading) -> list[str]:
    return [name.removesuffix(DECISIONS) for name in experiment.finished()["subset"].unique()]


def unmeasurable(experiment: Reading) -> str:
    """Return why no subset can be fine-tuned, in words that follow the experiment's name; empty where one can."""
    if experiment.sampled:
        return "has sampled answers, which are not fine-tuned here; export a subset and compare a run on it with one on random of its size."
    found = {"a model": bool(experiment.settings.model), "evaluation data": experiment.evaluation(["id"]).num_rows > 0}
    lacking = [what for what, there in found.items() if not there]
    return f"lacks {' and '.join(lacking)} to measure subsets with; record it with both." if lacking else ""


def instead(view: View) -> Subset | None:
    """Return the subset to take where the chosen one keeps nothing: the first of the ladder that keeps some, else full data."""
    offered = (view.subset(name) for name in [*ladder(view.experiment), "full"])
    return next((subset for subset in offered if subset.size), None)
