"""Audit of one subset, as data and as sentences: what pruning removes, suspected labels, duplicates and leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.analysis import answer_audit, audit, slices
from pruning.analysis.duplicates import conflicting, leaks, one_each, together
from pruning.analysis.groups import Groups
from pruning.data.examples import SOURCE_PREFIX
from pruning.errors import UsageError
from pruning.formatting import counted
from pruning.reading import Reading
from pruning.records import DecisionKind, Subset
from pruning.reports.summary import without_nan
from pruning.subsets.decisions import Decision, apply

WORST = 5
"""Number of suspected labels listed."""

SETTLEMENTS = {
    "keep-one": "Keep one of each group",
    "keep-whole": "Keep split groups whole",
    "drop-whole": "Drop split groups",
    "drop-leaks": "Drop leaked examples",
}
"""Ways to resolve all duplicates at once, with their labels; see `settlement`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An example whose label looks wrong."""

    id: int
    label: str
    suggested: str
    quality: float
    """Agreement of the label with the predictions, 0..1."""
    kept: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAnswers:
    """One finding about prompts and answers."""

    what: str
    """In words that follow "examples"."""
    all: int
    kept: int
    """Those that the subset keeps."""
    first: tuple[int, ...]
    """Ids of the first of them."""

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        named = f", such as {', '.join(map(str, self.first))}" if self.first else ""
        return f"{counted(self.all, 'example')} {self.what}; this subset keeps {self.kept:,}{named}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Findings of the audit. Counts are of training examples."""

    subset: str
    caveat: str
    """Warning about scores made with an approximation; empty for the full recipe."""
    diverged: tuple[str, ...]
    """One sentence per diverged fine-tuning."""
    decisions: str
    """Counts of the decisions applied to the subset; empty if there are none, or they are left out."""
    kept: int
    total: int
    shares: tuple[slices.Shares, ...]
    """Kept shares by label and by every column: numbers by quarters, text by length."""
    hard: dict[str, int] | None
    """Number of examples with H = 0 by cause; None if the recording lacks what it takes."""
    suspects: tuple[Suspect, ...] | None
    """Labels that look wrong, worst first; None if the recording lacks what it takes."""
    groups: int
    """Number of groups of identical or nearly identical texts."""
    redundant: int
    """Number of examples that could be dropped with one kept per group."""
    contradicting: int
    """Number of examples in groups with more than one label."""
    split: int
    """Number of groups that the subset keeps in part."""
    leaking: int
    """Number of kept examples that are also in the evaluation data, exactly or nearly."""
    answers: tuple[OfAnswers, ...] = ()
    """Findings about prompts and generated answers; empty for other kinds of tasks."""
    by_group: Groups | None = None
    """Accuracy by class and slice; None where Winnow does not fine-tune on the data."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the p-value of a constant column is null."""
        by_group = None if self.by_group is None else without_nan(self.by_group.to_dict())
        return {**asdict(self), "shares": [_plain(one) for one in self.shares], "by_group": by_group}

    @property
    def suspects_kept(self) -> int:
        """Number of labels that look wrong and are kept."""
        return sum(suspect.kept for suspect in self.suspects or ())

    @property
    def remarks(self) -> tuple[str, ...]:
        """Things to check before training on the subset, one line each; empty if nothing was found."""
        counted_ones = [
            (self.suspects_kept, "kept example has a suspected label.", "kept examples have suspected labels."),
            (self.contradicting, "example has the text of another one, but not its label.", "examples share a text, but not the label."),
            (self.leaking, "kept example is also in the evaluation data.", "kept examples are also in the evaluation data."),
        ]
        return (
            *([self.caveat] if self.caveat else []),
            *self.diverged,
            *(one.sentence for one in self.shares if one.flagged),
            *(row.sentence for row in (self.by_group.losing if self.by_group is not None else ())),
            *(counted(count, one, many) for count, one, many in counted_ones if count),
        )

    def sentences(self) -> Iterator[str]:
        """Yield the findings as sentences, flagged slices first."""
        if self.caveat:
            yield self.caveat
        yield from self.diverged
        decided = f" ({self.decisions})" if self.decisions else ""
        yield f"{self.subset} keeps {self.kept:,} of {counted(self.total, 'example')}{decided}."
        for one in sorted(self.shares, key=lambda shares: not shares.flagged):
            yield f"{'! ' if one.flagged else ''}{one.sentence} (Cramer's V {one.cramers_v:.2f})"
        if self.by_group is not None:
            yield self.by_group.sentence
            yield from (f"! {row.sentence}" for row in self.by_group.losing)
        if self.shares:
            yield "Cramer's V: how strongly being kept depends on the column, from 0 (not at all) to 1."
        if self.hard is not None and (hard := sum(self.hard.values())):
            yield f"{counted(hard, 'example')} with H = 0: {', '.join(f'{count:,} {why}' for why, count in self.hard.items())}."
        if self.suspects is not None:
            wrong = counted(len(self.suspects), "label looks", "labels look")
            yield f"{wrong} wrong; this subset keeps {self.suspects_kept:,} of them."
            for suspect in self.suspects[:WORST]:
                yield f"  {suspect.id}: {suspect.label}, looks like {suspect.suggested}: {suspect.text[:100]}"
        yield (
            f"{counted(self.groups, 'group')} of identical or nearly identical texts: {counted(self.redundant, 'example')} redundant, "
            f"{self.contradicting:,} with contradicting labels, {counted(self.split, 'group is', 'groups are')} kept in part."
        )
        yield from (found.sentence for found in self.answers if found.all)
        yield f"{counted(self.leaking, 'kept example is', 'kept examples are')} also in the evaluation data, exactly or nearly."


def findings(experiment: Reading, subset: Subset) -> Findings:
    """Audit a subset. Label errors and duplicates take time on the first call (see `Experiment.audited`)."""
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
        answers=_of_answers(experiment, kept),
        by_group=None if experiment.sampled else experiment.groups(subset),
    )


def _of_answers(experiment: Reading, kept: NDArray[np.bool_]) -> tuple[OfAnswers, ...]:
    """Return the findings about generated answers, most examples first."""
    if "render" not in experiment.schema.names:
        return ()
    table = experiment.examples(["prompt", "answer"])
    masks = answer_audit.found(table["prompt"].to_pylist(), table["answer"].to_pylist(), experiment.extras)
    made = [
        OfAnswers(what=what, all=int(mask.sum()), kept=int((mask & kept).sum()), first=tuple(experiment.ids[mask][:5].tolist()))
        for what, mask in masks.items()
    ]
    return tuple(sorted(made, key=lambda one: -one.all))


def settlement(experiment: Reading, subset: Subset, how: str, among: NDArray[np.int64] | None = None) -> Decision:
    """Return the decision that resolves duplicates in one of the ways of SETTLEMENTS; it has no ids if nothing is to be decided.

    keep-one drops all but one example per group, and prefers to keep one of the subset's. keep-whole and drop-whole apply to
    groups that the subset keeps in part. drop-leaks drops examples that are also in the evaluation data, exactly or nearly.
    Examples kept or dropped by hand before are not changed; with `among`, only examples with these ids are. Raises UsageError for any
    other way.
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
    ids = ids if among is None else np.intersect1d(ids, among)
    kind = DecisionKind.KEEP if how == "keep-whole" else DecisionKind.DROP
    return Decision(kind=kind, ids=tuple(ids.tolist()), value=SETTLEMENTS[how].lower())


def _plain(shares: slices.Shares) -> dict[str, Any]:
    rows = [{**asdict(row), "kept_fraction": row.kept_fraction} for row in shares.rows]
    return {**asdict(shares), "rows": rows, "p_value": None if isnan(shares.p_value) else shares.p_value}


def _shares(experiment: Reading, kept: NDArray[np.bool_]) -> Iterator[slices.Shares]:
    label = SOURCE_PREFIX + experiment.settings.label_column
    if experiment.labels is not None:
        yield slices.kept_shares("label", np.asarray(experiment.label_names)[experiment.labels], kept, classes=True)
    for field in experiment.schema:
        if field.name.startswith(SOURCE_PREFIX) and field.name != label:
            column = experiment.examples([field.name])[field.name].to_pandas()
            title, found = slices.slices(field.name.removeprefix(SOURCE_PREFIX), column)
            if not slices.names_each(found):
                yield slices.kept_shares(title, found, kept)


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
    """Return [N] the text fields of each example as one line."""
    rows = zip(*(column.to_pylist() for column in experiment.texts.columns), strict=True)
    return [" | ".join(" ".join(str(part).split()) for part in row if part is not None) for row in rows]
