"""Everything the audit finds in one subset of an experiment, as data and as sentences: what would be lost, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.analysis import audit
from pruning.analysis.duplicates import conflicting, leaks, one_each, together
from pruning.data.examples import SOURCE_PREFIX
from pruning.errors import UsageError
from pruning.formatting import counted
from pruning.reading import Reading
from pruning.records import DecisionKind, Subset
from pruning.subsets.decisions import Decision, apply

WORST = 5
"""Suspected labels that the sentences list."""

SETTLEMENTS = {
    "keep-one": "Keep one of each group",
    "keep-whole": "Keep split groups whole",
    "drop-whole": "Drop split groups",
    "drop-leaks": "Drop what is evaluated on",
}
"""What can be decided of duplicates at once, in words: `settlement`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An example whose label looks wrong."""

    id: int
    label: str
    suggested: str
    quality: float
    """How well the label fits the predictions, 0..1."""
    kept: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the audit finds. Counts are of training examples."""

    subset: str
    caveat: str
    """What a person must know of the scores; empty when they are the full recipe's."""
    diverged: tuple[str, ...]
    """Fine-tunings that went wrong, a sentence each."""
    decisions: str
    """Counts of the decisions made by hand that are in the subset; empty when there are none, or they are left out."""
    kept: int
    total: int
    shares: tuple[audit.Shares, ...]
    """Of the label and of every column: numbers by quarters, text by its length."""
    hard: dict[str, int] | None
    """Examples that no run got right throughout, by why; None where the recording cannot tell."""
    suspects: tuple[Suspect, ...] | None
    """Labels that look wrong, worst first; None where the recording cannot tell."""
    groups: int
    """Groups of the same or nearly the same text."""
    redundant: int
    """Examples that could go if each group kept one."""
    contradicting: int
    """Examples in groups that carry more than one label."""
    split: int
    """Groups of which the subset keeps a part."""
    leaking: int
    """Kept examples that are in the evaluation data too, or nearly."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for the p-value of a column in which nothing can differ."""
        return {**asdict(self), "shares": [_plain(one) for one in self.shares]}

    def sentences(self) -> Iterator[str]:
        """What to read, flagged slices first."""
        if self.caveat:
            yield self.caveat
        yield from self.diverged
        decided = f" ({self.decisions})" if self.decisions else ""
        yield f"{self.subset} keeps {self.kept:,} of {counted(self.total, 'example')}{decided}."
        for one in sorted(self.shares, key=lambda shares: not shares.flagged):
            yield f"{'! ' if one.flagged else ''}{one.sentence} (Cramer's V {one.cramers_v:.2f})"
        if self.shares:
            yield "Cramer's V: how much what stays depends on the column, from 0 (not at all) to 1."
        if self.hard is not None and (hard := sum(self.hard.values())):
            yield f"{counted(hard, 'example')} with H = 0: {', '.join(f'{count:,} {why}' for why, count in self.hard.items())}."
        if self.suspects is not None:
            stay = sum(suspect.kept for suspect in self.suspects)
            wrong = counted(len(self.suspects), "label looks", "labels look")
            yield f"{wrong} wrong; {counted(stay, 'stays', 'stay')} in this subset."
            for suspect in self.suspects[:WORST]:
                yield f"  {suspect.id}: {suspect.label}, looks like {suspect.suggested}: {suspect.text[:100]}"
        yield (
            f"{counted(self.groups, 'group')} of the same or nearly the same text: {counted(self.redundant, 'example')} could go, "
            f"{self.contradicting:,} contradict each other, {counted(self.split, 'group is', 'groups are')} kept in part."
        )
        yield f"{counted(self.leaking, 'kept example is', 'kept examples are')} in the evaluation data too, or nearly."


def findings(experiment: Reading, subset: Subset) -> Findings:
    """The audit of that subset. Label errors and duplicates take a while the first time (see `Experiment.audited`)."""
    kept = subset.mask(experiment.ids)
    both = experiment.duplicates
    group = both.group[: subset.total]
    members, stay = (np.bincount(group[chosen & (group >= 0)], minlength=both.groups) for chosen in (np.ones_like(kept), kept))
    inside = np.bincount(group[group >= 0], minlength=both.groups) > 1
    contradicting = 0
    if experiment.labels is not None:
        contradicting = int(conflicting(replace(both, group=group, exact=both.exact[: subset.total]), experiment.labels).sum())
    return Findings(
        subset=subset.name,
        caveat=experiment.settings.caveat,
        diverged=tuple(experiment.warnings()),
        decisions=experiment.applied.sentence,
        kept=subset.size,
        total=subset.total,
        shares=tuple(_shares(experiment, kept)),
        hard=_hard(experiment),
        suspects=_suspects(experiment, kept),
        groups=int(inside.sum()),
        redundant=int((members[inside] - 1).sum()),
        contradicting=contradicting,
        split=int((inside & (stay > 0) & (stay < members)).sum()),
        leaking=int((leaks(both, subset.total)[: subset.total] & kept).sum()),
    )


def settlement(experiment: Reading, subset: Subset, how: str) -> Decision:
    """The decision that settles duplicates in one of the ways of SETTLEMENTS; it has no ids where there is nothing to decide.

    keep-one drops all but one example of each group, and keeps one of the subset's where it has any. keep-whole and drop-whole are
    about groups of which the subset keeps a part. drop-leaks drops what the evaluation data has too, or nearly. What was kept or
    dropped by hand stays as it is. Raises UsageError for any other way.
    """
    if how not in SETTLEMENTS:
        raise UsageError(f"duplicates must be one of {', '.join(SETTLEMENTS)}, got {how!r}.", "duplicates")
    decided, both, total = experiment.decided, experiment.duplicates, subset.total
    kept = apply(subset, decided, experiment.ids).mask(experiment.ids)
    sides = [np.isin(experiment.ids, np.fromiter(side, dtype=np.int64)) for side in (decided.kept, decided.dropped)]
    own = replace(both, group=both.group[:total], exact=both.exact[:total])
    found = {
        "keep-one": lambda: ~one_each(own, 2 * kept + ~sides[1]),
        "keep-whole": lambda: together(own, kept) & ~kept,
        "drop-whole": lambda: kept & ~together(own, kept, keep=False),
        "drop-leaks": lambda: leaks(both, total)[:total],
    }[how]()
    ids = experiment.ids[found & ~sides[0] & ~sides[1]]
    kind = DecisionKind.KEEP if how == "keep-whole" else DecisionKind.DROP
    return Decision(kind=kind, ids=tuple(ids.tolist()), value=SETTLEMENTS[how].lower())


def _plain(shares: audit.Shares) -> dict[str, Any]:
    rows = [{**asdict(row), "kept_fraction": row.kept_fraction} for row in shares.rows]
    return {**asdict(shares), "rows": rows, "p_value": None if isnan(shares.p_value) else shares.p_value}


def _shares(experiment: Reading, kept: NDArray[np.bool_]) -> Iterator[audit.Shares]:
    label = SOURCE_PREFIX + experiment.settings.label_column
    if experiment.labels is not None:
        yield audit.kept_shares("label", np.asarray(experiment.label_names)[experiment.labels], kept, classes=True)
    for field in experiment.schema:
        if field.name.startswith(SOURCE_PREFIX) and field.name != label:
            column = experiment.examples([field.name])[field.name].to_pandas()
            yield audit.kept_shares(*audit.slices(field.name.removeprefix(SOURCE_PREFIX), column), kept)


def _hard(experiment: Reading) -> dict[str, int] | None:
    errors = experiment.label_errors
    if errors is None:
        return None
    kinds = Counter(audit.hard_kinds(experiment.dynamics, errors, experiment.rarity, experiment.burn_in))
    return {str(kind): kinds[kind] for kind in audit.Hard}


def _suspects(experiment: Reading, kept: NDArray[np.bool_]) -> tuple[Suspect, ...] | None:
    errors, labels, names = experiment.label_errors, experiment.labels, experiment.label_names
    if errors is None or labels is None:
        return None
    texts = _texts(experiment)
    return tuple(
        Suspect(
            id=int(experiment.ids[place]),
            label=names[labels[place]],
            suggested=names[errors.suggested[place]],
            quality=float(errors.quality[place]),
            kept=bool(kept[place]),
            text=texts[place],
        )
        for place in errors.ranked
    )


def _texts(experiment: Reading) -> list[str]:
    """[N] the text fields of each example, as one line."""
    rows = zip(*(column.to_pylist() for column in experiment.texts.columns), strict=True)
    return [" | ".join(" ".join(str(part).split()) for part in row if part is not None) for row in rows]
