"""Subsets: rules that choose the examples to keep. Pure functions; a subset has unique ids in source order.

The command line, the pages, the frontier and the manifest use the same grammar of names (`resolve`):

    full                    everything
    winning-ticket          remove H = 0 and H = R: the paper's largest automatic subset
    remove-0-1-6            remove these H-values; drop-easy and drop-hard are remove-R and remove-0
    drop-suspects           remove the examples whose labels look wrong (`pruning.analysis.audit.label_errors`)
    distinct                one of each group of examples with the same label and nearly the same meaning (`neighbours.repeats`)
    choice                  Winnow's choice: winning-ticket and drop-suspects, or distinct and drop-suspects where there are many copies
    sometimes-right         0 < right looks < all looks, every run and epoch (or sampled answer) being one look, burn-in or not;
                            sometimes-right-0.1 also keeps that share of the examples that are right at every look
    looks-2-6               2 to 6 right looks; looks-0.2-0.8: that share of the looks is right
    random@X                random examples, as many as X keeps
    stratified@X            the same, with the same share of every class and every H-value
    ambiguous@X             as many as X keeps, with the highest variability over all runs: the paper's baseline
    ccs@X, ccs-0.3@X        as many as X keeps, spread over all difficulties except the hardest tenth or another share
                            (coverage-centric selection)
    mixed@X, mixed-0.3@X    as many as X keeps: half of them, or another share, as in ambiguous@X, the rest as in stratified@X
    s2l@X                   as many as X keeps, the same number from each cluster of loss trajectories
    length-matched@X        as many as X keeps at random, with X's lengths of generated answers
    anchored@X, anchored-0.3@X  like mixed, with the highest AUM of each class instead of the ambiguous examples
    aum-high@X, loss-low@X  as many as X keeps, the highest or lowest by any score
    winning-ticket@X, (Y)@X as many as X keeps, drawn at random from the subset before the @
    floor-0.2@Y, floor-50@Y Y with the most ambiguous examples added back until every class keeps at least that share or number
    Y or Z, Y and Z, Y minus Z, (Y)
    mine                    a saved subset of that name (`pruning.store.saved_subsets`), always with the same rows

X, Y and Z are names of subsets; X may also be a share such as 0.3 or a number such as 500. An @ applies to everything after it:
random@Y or Z draws as many as "Y or Z" keeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.scores import SCORES, compute, h_score
from pruning.errors import SubsetError
from pruning.records import Dynamics, Subset
from pruning.subsets import answers
from pruning.subsets.findings import CHOICE, FINDINGS, Finding, chosen, without
from pruning.subsets.floors import add_back
from pruning.subsets.grammar import JOINS, Name, parse
from pruning.subsets.ladder import TICKET, ladder, ladder_names, parse_removes, subset_name
from pruning.subsets.looks import SOMETIMES, by_looks, looks_rule
from pruning.subsets.selection import HARDEST, coverage, highest, quotas, stratified

__all__ = ["TICKET", "ladder", "parse_removes", "subset_name"]

MATCHED = "length-matched"

Ids = NDArray[np.int64]


def understood(word: str) -> bool:
    """Return True if the grammar defines a word, or has a specific error message for it.

    >>> [understood(word) for word in ("full", "remove-0-9", "random", "ccs-0.3", "random-x", "aum-high", "floor-2", "or")]
    [True, True, True, True, True, True, True, True]
    >>> [understood(word) for word in ("mine", "randomly", "remove-duplicates", "aum")]
    [False, False, False, False]
    """
    if word in ("full", *FINDINGS, CHOICE, *JOINS) or word.partition("-")[0] == "floor":
        return True
    try:
        return parse_removes(word, 1) is not None or looks_rule(word) is not None or bool(_ruled(word)[0])
    except SubsetError:
        return True


def resolve(
    name: str,
    dynamics: Dynamics,
    labels: Ids | None,
    burn_in: int = 0,
    seed: int = 0,
    classes: Sequence[str] = (),
    saved: Mapping[str, Subset] | None = None,
    findings: Mapping[str, Finding] | None = None,
) -> Subset:
    """Return the subset of that name (see the module's docstring). `seed` is for random draws; `classes` are the labels' names,
    `saved` the saved subsets by name, and `findings` what `drop-suspects` and `distinct` remove, by these names.

    Raises SubsetError for an unknown name, listing the known ones, and for an impossible size; ScoreError if the recording lacks
    a quantity that a rule needs.
    """
    recording = _Recording(dynamics, labels, burn_in, seed, classes, saved or {}, findings or {})
    return _subset(parse(name, recording.there_is), recording)


def by_h(name: str, h: NDArray[np.int64], ids: Ids, removes: Sequence[int]) -> Subset:
    """Remove the examples whose H is one of `removes`."""
    values = " and ".join(filter(None, [", ".join(map(str, removes[:-1])), str(removes[-1])]))
    kept = ids[~np.isin(h, removes)]
    return Subset(name=name, method="h-score", rule=f"remove H = {values}", kept=kept, total=len(ids), removes=tuple(removes))


def balanced(subset: Subset, scores: NDArray[np.float64], ids: Ids, labels: Ids, floor: float, classes: Sequence[str] = ()) -> Subset:
    """Add examples back to classes that keep less than `floor`, highest score first.

    A floor below 1 is a share of each class; from 1 on it is a number (or all examples of a smaller class). The subset is named
    "floor-<floor>@...", and its rule says how many examples of each class were added back.
    """
    kept = subset.mask(ids)
    added: dict[int, int] = {}
    for label in np.unique(labels):
        members = labels == label
        total = int(members.sum())
        wanted = int(np.ceil(floor * total)) if floor < 1 else min(int(floor), total)
        if missing := add_back(kept, members, wanted, lambda pruned, count: pruned[highest(scores[pruned], count)]):
            added[int(label)] = missing
    back = ", ".join(f"{count} of {classes[label] if len(classes) else f'class {label}'}" for label, count in added.items()) or "none"
    rule = f"{subset.rule}; never below {f'{floor:.0%}' if floor < 1 else f'{floor:g}'} of a class ({back} added back)"
    return replace(subset, name=f"floor-{floor:g}@{subset.name}", method="floor", rule=rule, kept=ids[kept], removes=None)


def combine(first: Subset, how: str, second: Subset, ids: Ids) -> Subset:
    """Return the union ("or"), intersection ("and") or difference ("minus") of two subsets."""
    a, b = first.mask(ids), second.mask(ids)
    kept = {"or": a | b, "and": a & b, "minus": a & ~b}.get(how)
    if kept is None:
        raise SubsetError(f"Subsets combine with or, and, minus, got {how!r}.")
    name = f"{first.name} {how} {second.name}"
    return Subset(name=name, method="combined", rule=f"({first.rule}) {how} ({second.rule})", kept=ids[kept], total=len(ids))


# -- trees to subsets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Recording:
    """Recording, labels and saved subsets that names refer to."""

    dynamics: Dynamics
    labels: Ids | None
    burn_in: int
    seed: int
    classes: Sequence[str]
    saved: Mapping[str, Subset]
    findings: Mapping[str, Finding]

    @property
    def there_is(self) -> str:
        """Sentence that lists the possible names."""
        runs = self.dynamics.runs
        names = ", ".join([*ladder_names(runs), *self.saved])
        rules = ", ".join(f"{rule}@X" for rule in _RULES)
        sizes = f"{rules}, SCORE-high@X, SCORE-low@X, (one of these)@X for X one of these, a share or a number"
        words = ", ".join([names, SOMETIMES, *FINDINGS, CHOICE])
        return f"use full, {words}, any remove-... or looks-LOW-HIGH, floor-0.2@(one of these), or {sizes}"

    def score(self, name: str) -> NDArray[np.float64]:
        return compute(name, self.dynamics, self.burn_in)

    def h(self) -> NDArray[np.int64]:
        return h_score(self.dynamics.correct, self.burn_in)

    def random(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, int.from_bytes(sha256(name.encode()).digest()[:8], "big")])

    def strata(self) -> Ids:
        """[N] one number per pair of class and H-value."""
        return self.h() if self.labels is None else self.labels * (self.dynamics.runs + 1) + self.h()


def _subset(tree: Name, recording: _Recording) -> Subset:
    dynamics = recording.dynamics
    if len(tree.parts) == 2:
        first, second = (_subset(part, recording) for part in tree.parts)
        return replace(combine(first, tree.word, second, dynamics.ids), name=tree.text)
    if tree.parts:
        return _applied(tree, recording)
    if tree.word == "full":
        return Subset(name="full", method="full", rule="keep everything", kept=dynamics.ids, total=dynamics.examples, removes=())
    if tree.word in FINDINGS and tree.word not in recording.saved:
        return without(tree.word, recording.findings, dynamics.ids)
    if tree.word == CHOICE and CHOICE not in recording.saved:
        return replace(_subset(parse(chosen(recording.findings), ""), recording), name=CHOICE)
    removes = parse_removes(tree.word, dynamics.runs)
    if removes is not None:
        return replace(by_h(tree.word, recording.h(), dynamics.ids, removes), name=tree.text)
    saved = recording.saved.get(tree.word)
    if saved is None and (rule := looks_rule(tree.word)) is not None:
        return replace(by_looks(rule, dynamics, recording.random(tree.text)), name=tree.text)
    if saved is None:
        raise SubsetError(f"There is no subset {tree.word!r}; {recording.there_is}.")
    return saved


def _applied(tree: Name, recording: _Recording) -> Subset:
    """Resolve `word`@X: a rule at the size of X, a random part of a subset at that size, or X with a floor."""
    dynamics, of = recording.dynamics, tree.parts[0]
    rule, argument, choose = _ruled(tree.word)
    if tree.word.startswith("floor-"):
        return _floored(tree, recording)
    size = _size(of, recording)
    if tree.word == MATCHED:
        kept, words = _length_matched(of, recording, size, recording.random(tree.text))
    elif choose is not None:
        kept, words = choose(recording, size, argument, recording.random(tree.text))
    else:
        rule, source = "part", _subset(parse(tree.word, recording.there_is), recording)
        if size > source.size:
            raise SubsetError(f"{tree.text} asks for {size:,} examples; {source.name} keeps only {source.size:,}.")
        kept = np.sort(recording.random(tree.text).permutation(np.flatnonzero(source.mask(dynamics.ids)))[:size])
        words = f"{size} at random from: {source.rule}"
    if of.parts or _number(of.word) is None:
        words = f"{words}, as many as {of.text} keeps"
    return Subset(name=tree.text, method=rule, rule=words, kept=dynamics.ids[kept], total=dynamics.examples)


def _floored(tree: Name, recording: _Recording) -> Subset:
    floor = _number(tree.word.removeprefix("floor-"))
    if floor is None or floor <= 0:
        raise SubsetError(f"{tree.word} has no floor; use a share of each class such as floor-0.2 or a number such as floor-50.")
    if recording.labels is None:
        raise SubsetError(f"{tree.text} needs classes; this task has none.")
    of = tree.parts[0]
    if not of.parts and _number(of.word) is not None:
        raise SubsetError(f"{tree.text} needs a subset after the @, such as {tree.word}@(random@{of.word}).")
    base = _subset(of, recording)
    floored = balanced(base, recording.score("pooled-variability"), recording.dynamics.ids, recording.labels, floor, recording.classes)
    return replace(floored, name=tree.text)


_Chosen = tuple[NDArray[np.int64], str]
_Choose = Callable[[_Recording, int, float, np.random.Generator], _Chosen]


def _at_random(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    return np.sort(random.permutation(recording.dynamics.examples)[:size]), f"{size} at random"


def _stratified(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    return stratified(recording.strata(), size, random), f"{size} at random, with the same share of every class and H"


def _ambiguous(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    return highest(recording.score("pooled-variability"), size), f"{size} with the highest variability over all runs"


def _covering(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    """Coverage within each class, so that classes keep their shares."""
    words = f"{size} spread over all difficulties except the hardest {'tenth' if argument == HARDEST else f'{argument:.0%}'}"
    difficulty = -recording.score("aum")
    return _by_class(recording, size, lambda members, count: coverage(difficulty[members], count, argument)), words


def _by_class(recording: _Recording, size: int, choose: Callable[[Ids, int], Ids]) -> Ids:
    """Choose each class's share of `size`; `choose` picks that many positions among a class's members."""
    labels = np.zeros(recording.dynamics.examples, dtype=np.int64) if recording.labels is None else recording.labels
    parts = [(np.flatnonzero(labels == label), count) for label, count in quotas(labels, size)]
    chosen = [members[choose(members, count)] for members, count in parts if count]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *chosen]))


def _mixed(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    first = highest(recording.score("pooled-variability"), round(argument * size))
    return _with_others(first, "with the highest variability over all runs", recording, size, random)


def _anchored(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    sure = recording.score("aum")
    first = _by_class(recording, round(argument * size), lambda members, count: highest(sure[members], count))
    return _with_others(first, "with the highest AUM of each class", recording, size, random)


def _s2l(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    loss = recording.dynamics.loss[:, recording.burn_in :]
    return answers.s2l(loss, size, random), f"{size} spread evenly over clusters of loss trajectories"


def _any_length(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
    return answers.length_matched(recording.score("answer-length"), size, None, random), f"{size} at random, of all lengths"


def _length_matched(of: Name, recording: _Recording, size: int, random: np.random.Generator) -> _Chosen:
    """Draw answers of the lengths that a subset keeps; of all lengths where its size is only a number."""
    if not of.parts and _number(of.word) is not None:
        return _any_length(recording, size, 0.0, random)
    like, length = _subset(of, recording).mask(recording.dynamics.ids), recording.score("answer-length")
    return answers.length_matched(length, size, like, random), f"{size} at random, with the same lengths"


def _with_others(first: Ids, words: str, recording: _Recording, size: int, random: np.random.Generator) -> _Chosen:
    """Fill `first` up to `size` with other examples, stratified by class and H."""
    others = np.setdiff1d(np.arange(recording.dynamics.examples), first)
    rest = others[stratified(recording.strata()[others], size - len(first), random)]
    return np.sort(np.concatenate([first, rest])), f"{len(first)} {words}, {len(rest)} others at random by class and H"


_RULES: dict[str, tuple[_Choose, float | None]] = {
    "random": (_at_random, None),
    "stratified": (_stratified, None),
    "ambiguous": (_ambiguous, None),
    "ccs": (_covering, HARDEST),
    "mixed": (_mixed, 0.5),
    "anchored": (_anchored, 0.5),
    "s2l": (_s2l, None),
    MATCHED: (_any_length, None),
}
"""Rule -> its function, and its default share."""

BASELINES = tuple(_RULES)
"""Baselines that the frontier can measure at every subset's size."""

OF_ANSWERS = ("s2l", MATCHED)
"""Baselines that need the losses and lengths of generated answers."""

NOT_PROPOSED = ("full", *BASELINES)
"""Methods of subsets that others are compared with: full data and the baselines."""

USUAL_BASELINES = ("random", "ambiguous")
"""Default baselines: random, and the paper's."""


def _ruled(word: str) -> tuple[str, float, _Choose | None]:
    """Return the rule of a word, its share, and its function; None if the word is not a rule."""
    score, _, end = word.rpartition("-")
    if score in SCORES and end in ("high", "low"):
        return word, 0.0, _by_score(score, end)
    rule, dash, argument = (word, "", "") if word in _RULES else word.partition("-")
    if rule not in _RULES:
        return "", 0.0, None
    choose, share = _RULES[rule]
    given = _number(argument) if dash else share
    if dash and (share is None or given is None or not 0 <= given < 1):
        raise SubsetError(
            f"{word} is not a rule; " + (f"{rule}- needs a share below 1." if share is not None else f"{rule} takes no share.")
        )
    return rule, given or 0.0, choose


def _by_score(score: str, end: str) -> _Choose:
    def choose(recording: _Recording, size: int, argument: float, random: np.random.Generator) -> _Chosen:
        values = recording.score(score)
        return highest(values if end == "high" else -values, size), f"{size} with the {end}est {SCORES[score].title}"

    return choose


def _size(of: Name, recording: _Recording) -> int:
    """Return the number of examples that a number, a share or a subset means."""
    number, examples = (None if of.parts else _number(of.word)), recording.dynamics.examples
    if number is None:
        return _subset(of, recording).size
    if number > 1 and number.is_integer():
        if number > examples:
            raise SubsetError(f"A subset cannot keep {number:,.0f} of {examples:,} examples.")
        return int(number)
    if not 0 < number <= 1:
        raise SubsetError(f"A subset cannot keep {of.word}; use a share between 0 and 1, or a whole number of examples.")
    return max(1, round(number * examples))


def _number(word: str) -> float | None:
    return float(word) if re.fullmatch(r"-?(\d+(\.\d+)?|\.\d+)", word, re.ASCII) else None
