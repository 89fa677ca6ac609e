"""Why an example is kept or pruned, and why its label is doubted, each in one line of plain words. Face-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pruning.analysis.audit import LABEL_EPOCHS, Hard
from pruning.analysis.scores import SCORES
from pruning.data.tasks import TASKS
from pruning.formatting import counted
from pruning.records import DISTINCT, Subset
from pruning.reports.browse import View
from pruning.subsets import decisions as by_hand
from pruning.subsets.findings import CHOICE, SUSPECTS, chosen
from pruning.subsets.grammar import Name, parse
from pruning.subsets.looks import looks_rule
from pruning.subsets.rules import parse_removes
from pruning.subsets.titles import short


def why(view: View, subset: Subset, position: int, kept: bool) -> str:
    """Return why the subset keeps or prunes the example at that position; of a combined subset, the part that decides."""
    example, decided = int(view.experiment.ids[position]), view.decided
    if example in decided.dropped:
        return "Dropped by hand."
    if example in decided.labels:
        return f"Relabelled by hand to {decided.labels[example]}, so it is kept."
    if example in decided.kept:
        return "Kept by hand."
    name, _ = by_hand.without_suffix(subset.name)
    tree = parse(name, "")
    if subset.removes:
        right = _how_right(view, position)
        return f"{right} This subset drops H = {_listed(subset.removes)}{'; this one is kept' if kept else ''}."
    return " ".join(dict.fromkeys(_sentences(view, tree, position)))


def _sentences(view: View, tree: Name, position: int) -> list[str]:
    """Return the sentences of one part of a subset's name."""
    if len(tree.parts) == 2:
        return _combined(view, tree, position)
    kept = _keeps(view, tree.text, position)
    if tree.parts:
        return _applied(view, tree, position, kept)
    saved = tree.word in view.experiment.saved
    if tree.word == "full":
        return ["Full data keeps everything."]
    if tree.word == SUSPECTS and not saved:
        return ["Its label does not look wrong." if kept else "Its label looks wrong, and such examples are dropped."]
    if tree.word == CHOICE and not saved:
        return _sentences(view, parse(chosen(view.experiment.findings), ""), position)
    if tree.word == DISTINCT and not saved:
        return [_distinct(view, position, kept)]
    removes = parse_removes(tree.word, view.experiment.dynamics.runs)
    if removes is not None:
        right = _how_right(view, position)
        dropped = f"H = {_listed(removes)} {'is' if len(removes) == 1 else 'are'} dropped"
        return [right, f"{dropped}; this one is kept." if kept else f"{dropped}."]
    if not saved and looks_rule(tree.word) is not None:
        right, every = view.rates.successes[position], view.rates.attempts[position]
        what = view.rule(tree.text).rule.partition(";")[0].removeprefix("keep ")
        return [f"Right at {right:,} of {every:,} looks.", f"{short(tree.word)} keeps {what}{'; this one is kept' if kept else ''}."]
    return [f"It is {'among' if kept else 'not among'} the examples saved as {tree.word}."]


def _distinct(view: View, position: int, kept: bool) -> str:
    """Return whether an example stands for others of its group, or which one stands for it."""
    groups, labels, ids = view.experiment.same_meaning, view.experiment.labels, view.experiment.ids
    if groups is None or groups[position] < 0:
        return "No other example has nearly the same meaning."
    alike = groups == groups[position] if labels is None else (groups == groups[position]) & (labels == labels[position])
    if alike.sum() == 1:
        return "No other example has its label and nearly the same meaning."
    if kept:
        return f"It stands for {counted(int(alike.sum()) - 1, 'other example', 'other examples')} of nearly the same meaning."
    return f"Example {ids[alike.argmax()]} means nearly the same and stands for it."


def _combined(view: View, tree: Name, position: int) -> list[str]:
    """Return the sentences of two parts joined by or, and, minus: the part that decides, or both."""
    first, second = tree.parts
    a, b = _keeps(view, first.text, position), _keeps(view, second.text, position)
    names = short(first.text), short(second.text)
    if tree.word == "minus":
        if a and b:
            return [f"It is in {names[1]}, which is taken away."]
        return [f"It is in {names[0]} and not in {names[1]}."] if a else _sentences(view, first, position)
    if a and b:
        return [f"It is in both {names[0]} and {names[1]}."]
    if tree.word == "or" and (a or b):
        return _sentences(view, first if a else second, position)
    lacking = [part for part, keeps in ((first, a), (second, b)) if not keeps]
    return [sentence for part in lacking for sentence in _sentences(view, part, position)]


def _applied(view: View, tree: Name, position: int, kept: bool) -> list[str]:
    """Return the sentences of a rule applied to a size or to another subset."""
    rule, of = tree.word.partition("-")[0], tree.parts[0]
    made = view.rule(tree.text)
    count = f"{made.size:,} of {made.total:,} examples"
    if rule == "floor":
        if _keeps(view, of.text, position) or not kept:
            return _sentences(view, of, position)
        floor = float(tree.word.removeprefix("floor-"))
        least = f"{floor:.0%} of it" if floor < 1 else f"{floor:g} examples"
        return [f"{short(of.text)} prunes it; it is added back because its class would keep less than {least}."]
    score, _, end = tree.word.rpartition("-")
    if rule == "ambiguous" or (score in SCORES and end in ("high", "low")):
        measured = "pooled-variability" if rule == "ambiguous" else score
        found = f"{SCORES[measured].title} {float(view.score(measured)[position]):.3g}"
        return [f"Its {found} is {'among' if kept else 'not among'} the {made.size:,} {'lowest' if end == 'low' else 'highest'}."]
    ways = {"random": "at random", "stratified": "at random, the same share of every class and H"}
    if rule in ways and tree.word == rule:
        return [f"{'Drawn' if kept else 'Not drawn'}: {count} are drawn {ways[rule]}."]
    if made.method == "part":
        if not _keeps(view, tree.word, position):
            return _sentences(view, parse(tree.word, ""), position)
        return [f"{'Drawn' if kept else 'Not drawn'}: {made.size:,} examples of {short(tree.word)} are drawn at random."]
    return [f"{'Chosen' if kept else 'Not chosen'}: {made.rule}."]


def _keeps(view: View, name: str, position: int) -> bool:
    """Return whether the rule of that name, no decision applied, keeps the example."""
    return bool(view.kept(view.rule(name))[position])


def _how_right(view: View, position: int) -> str:
    """Return how many runs, or sampled answers, were right."""
    if view.experiment.sampled:
        return f"{view.rates.successes[position]:,} of {view.rates.attempts[position]:,} sampled answers were right."
    return _right(int(view.h[position]), view.experiment.dynamics.runs)


def _right(h: int, runs: int) -> str:
    """Return how many runs got it right, in words.

    >>> _right(0, 6), _right(1, 6), _right(6, 6)
    ('No run got it right in every epoch.', '1 of 6 runs got it right in every epoch.', 'All 6 runs got it right in every epoch.')
    """
    if h == 0:
        return "No run got it right in every epoch."
    return f"{f'All {runs}' if h == runs else f'{h} of {runs}'} runs got it right in every epoch."


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:-1])) + (" and " if len(values) > 1 else "") + str(values[-1])


def why_doubted(view: View, position: int) -> str:
    """Return why the label of the example at that position is doubted; empty where it is not a suspect, or was changed by hand.

    It counts the predictions that the judgement rests on: those of the first epochs.
    """
    errors, labels = (view.label_errors if view.audited else None), view.experiment.labels
    if errors is None or labels is None or not errors.suspect[position] or int(view.experiment.ids[position]) in view.decided.labels:
        return ""
    names, other, dynamics = view.experiment.label_names, int(errors.suggested[position]), view.experiment.dynamics
    epochs = min(LABEL_EPOCHS, dynamics.epochs)
    said = dynamics.predicted[:, :epochs, position]
    answers = int((said == other).sum())
    when = "epoch 1" if epochs == 1 else f"epochs 1 to {epochs}"
    label = names[labels[position]]
    if 2 * answers > said.size:
        return f"Labelled {label}, but {answers:,} of {said.size:,} predictions are {names[other]} in {when}."
    probability = float(dynamics.gold_prob[:, :epochs, position].mean())
    return f"Labelled {label}, which the runs gave {probability:.0%} on average in {when}; {names[other]} looks likelier."


RARITY = {
    Hard.MISLABELLED: "its label is a suspected error",
    Hard.RARE: "its words are rarer than those of nine in ten examples",
    Hard.CONTESTED: "runs and epochs disagree about it",
}


def lines(view: View, subset: Subset, position: int, kept: bool) -> list[tuple[str, str]]:
    """Return why an example is kept or pruned, why its label is doubted, and why no run got it right, as (title, sentence)."""
    found = [("Why it is kept" if kept else "Why it is pruned", why(view, subset, position, kept))]
    if doubt := why_doubted(view, position):
        return [*found, ("Why its label is doubted", doubt)]
    kind = view.hard[position] if view.audited and view.label_errors is not None else None
    if kind is not None:
        found.append(("Never right", f"{kind}: {RARITY[kind]}."))
    said = predictions(view, position)
    if said is not None:
        counts = Counter(name for run in said for name in run).most_common()
        found.append(("Predictions", ", ".join(f"\u2068{name}\u2069 {count:,}x" for name, count in counts) + "."))
    return found


def predictions(view: View, position: int) -> list[list[str]] | None:
    """Return the model's predictions for an example, [runs][epochs]; None where they have no names."""
    predicted = view.experiment.dynamics.predicted[:, :, position]
    names = list(view.experiment.label_names)
    if (predicted < 0).any():
        return None
    if names:
        return [[names[label] for label in run] for run in predicted]
    kind = TASKS[view.experiment.settings.task].kind
    return [[f"option {chr(ord('A') + int(option))}" for option in run] for run in predicted] if kind == "multiple_choice" else None
