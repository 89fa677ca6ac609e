"""The first look in numbers and sentences: how hard the data is before training, or with the runs so far. Face-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pruning.analysis.duplicates import repeated
from pruning.analysis.neighbours import SAME_MEANING
from pruning.errors import ExperimentError
from pruning.formatting import counted
from pruning.reading import Reading
from pruning.records import DISTINCT
from pruning.subsets.findings import many


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """The look at one experiment."""

    examples: int
    runs: int
    """Complete runs that the expected success rests on, beside the probe."""
    accuracy: float | None
    """Share of labels that the probe gets right out of sample; None without a probe."""
    majority: float | None
    """Share of the most frequent label."""
    verdict: str
    """Probe against majority class, in one sentence, or why there is no probe."""
    histogram: tuple[int, ...]
    """Examples by expected success, in ten steps from 0 to 1; empty without a probe."""
    precision: float | None
    """The interval of an example's expected success is that of a success rate known from so many runs."""
    suspects: int | None
    """Labels that look wrong; None where nothing can tell."""
    suspected: str
    """The same in one sentence; empty where nothing can tell."""
    groups: int
    """Groups of the same or nearly the same text."""
    redundant: int
    """Examples beyond the first of each group."""
    alike: int | None
    """Groups of nearly the same meaning, those of the same text included; None where embeddings do not tell."""
    alike_redundant: int | None
    """Examples beyond the first of each of these groups."""
    copies: str
    """Advice to score one of each instead where many examples are near-duplicates, in two sentences; empty where few are."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "histogram": list(self.histogram), "notes": list(self.notes)}

    def sentences(self) -> Iterator[str]:
        """Lines for the terminal, the verdict first."""
        yield self.verdict
        yield from self.notes
        if self.histogram:
            yield f"Expected success {'of one more run' if self.runs else 'before training'}, {counted(self.examples, 'example')}:"
            for step, count in enumerate(self.histogram):
                bar = "█" * round(40 * count / max(1, *self.histogram))
                yield f"  {step / 10:.1f} to {(step + 1) / 10:.1f} {count:>9,}  {bar}"
        if self.suspected:
            yield self.suspected
        yield f"{counted(self.groups, 'group')} of the same or nearly the same text; {counted(self.redundant, 'example')} could be dropped."
        if self.alike is not None:
            more = counted(self.alike_redundant or 0, "example")
            yield f"{counted(self.alike, 'group')} of nearly the same meaning (cosine {SAME_MEANING} or more); {more} could be dropped."
        if self.copies:
            yield self.copies


def first_look(reading: Reading) -> FirstLook:
    """Summarise the look of an experiment. Raises ExperimentError where there is none, or none that can be used."""
    look = reading.look
    if look is None:
        raise ExperimentError(
            reading.look_problem or f"{reading.folder.root} has no look yet; make it: python -m pruning look {reading.folder.root}"
        )
    expected, errors, both = reading.expected_success, reading.label_errors, reading.duplicates
    groups, redundant = repeated(both.group[: len(reading.ids)])
    alike = None if reading.same_meaning is None else repeated(reading.same_meaning)
    copied = reading.findings[DISTINCT]()
    return FirstLook(
        examples=len(reading.ids),
        runs=len(reading.finished_runs()),
        accuracy=look.probe.accuracy if look.probe else None,
        majority=look.probe.majority if look.probe else None,
        verdict=look.probe.sentence if look.probe else look.left_out,
        histogram=() if expected is None else tuple(int(count) for count in expected.histogram()),
        precision=None if expected is None else expected.precision,
        suspects=None if errors is None else int(errors.suspect.sum()),
        suspected="" if errors is None else errors.sentence,
        groups=groups,
        redundant=redundant,
        alike=None if alike is None else alike[0],
        alike_redundant=None if alike is None else alike[1],
        copies=_copies(int(copied.sum()), len(copied)) if copied is not None and many(copied) else "",
        notes=look.probe.notes if look.probe else (),
    )


def _copies(copied: int, examples: int) -> str:
    share = f"{copied / examples:.0%} of the examples nearly repeat another one of their label, and what is repeated looks easy."
    return f"{share} Score the subset {DISTINCT} instead: {examples - copied:,} of {examples:,}."
