"""Accuracy by class and by slice of any column: full data against a subset, paired by seed. Pure.

A group is tested for losing more than the other evaluation examples do, so that a subset that costs everybody one point flags nobody.
Benjamini-Hochberg's correction holds the false discovery rate of all groups of one subset at `LEVEL`: where no group loses more than
the others, the chance of any flag at all is at most `LEVEL`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, inf, isnan, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pruning.formatting import counted, possible
from pruning.records import Difference

LEVEL = 0.05
"""False discovery rate of the flags of one subset."""

CORRECTION = "Benjamini-Hochberg"
"""Correction for the number of groups (`scipy.stats.false_discovery_control`)."""

FEWEST = 20
"""Evaluation examples of a group, and of the others, that are tested; the variance of fewer is not known well enough."""

FEWEST_SEEDS = 3
"""Seeds that full data and the subset need in common for a test."""

PRIOR = 4
"""Seeds that the variance between seeds over all groups stands for beside a group's own."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Slicing:
    """One column as groups of examples."""

    column: str
    """As `slices.slices` calls it; "label" for the classes."""
    names: tuple[str, ...]
    evaluation: NDArray[np.int64]
    """[E] index in `names` of each evaluation example."""
    training: NDArray[np.int64] | None
    """[N] the same of each training example; None where the training data lacks the column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One class or slice."""

    column: str
    value: str
    evaluated: int
    """Its evaluation examples."""
    full: float
    """Accuracy on them with full data, mean over the seeds in common."""
    subset: float
    """The same with the subset."""
    change: Difference
    """Subset minus full data, with a 95% interval over seeds and examples; not corrected for the number of groups."""
    others: float
    """The same change on all other evaluation examples; nan where there are none."""
    p_value: float
    """Chance of losing so much more than the others by luck, corrected for the number of groups; nan where it was not tested."""
    total: int | None
    """Its training examples; None where the training data lacks the column."""
    kept: int | None
    """Those that the subset keeps."""

    @property
    def loses(self) -> bool:
        """True where it is worse than with full data, and loses more than the others."""
        return self.p_value < LEVEL and self.change.mean < 0

    @property
    def name(self) -> str:
        """The group in words.

        >>> Group(column="source", value="s2", evaluated=0, full=0, subset=0, change=Difference(mean=0, low=0, high=0, pairs=0), others=0,
        ...       p_value=1, total=None, kept=None).name
        'source = s2'
        """
        return f"{self.column} = {self.value}"

    @property
    def floor(self) -> int | None:
        """Number of its training examples to keep at least: half of those that were pruned are added back; None where none were."""
        if self.total is None or self.kept is None or self.kept >= self.total:
            return None
        return self.kept + ceil((self.total - self.kept) / 2)

    @property
    def sentence(self) -> str:
        """The loss in words, with the floor proposed."""
        spread = "" if isnan(self.change.low) else f" [{100 * self.change.low:+.1f}, {100 * self.change.high:+.1f}]"
        said = (
            f"{self.name} loses {-100 * self.change.mean:.1f} pp{spread} on {counted(self.evaluated, 'evaluation example')}; "
            f"all others change by {100 * self.others:+.1f} pp."
        )
        if self.floor is None:
            return said
        return f"{said} Keeps {self.kept:,} of {self.total:,}; proposed floor: {self.floor:,}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "loses": self.loses, "floor": self.floor if self.loses else None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Accuracy of every group under one subset, the largest loss first."""

    subset: str
    seeds: int
    """Seeds that full data and the subset have in common."""
    rows: tuple[Group, ...] = ()
    missing: str = ""
    """Why there are no rows, in a sentence."""

    @property
    def losing(self) -> tuple[Group, ...]:
        """Groups that lose more than the others."""
        return tuple(row for row in self.rows if row.loses)

    @property
    def tested(self) -> int:
        """Number of groups tested."""
        return sum(not isnan(row.p_value) for row in self.rows)

    @property
    def warnings(self) -> list[str]:
        """The groups that lose, a sentence each, after one that counts them; empty where none does."""
        return [self.sentence, *(row.sentence for row in self.losing)] if self.losing else []

    @property
    def sentence(self) -> str:
        """The result in one line."""
        if self.missing:
            return self.missing
        if not self.tested:
            seeds = self.seeds
            return (
                f"No group of {self.subset} is tested: that takes {FEWEST_SEEDS} seeds (there are {seeds}) and {FEWEST} examples a group."
            )
        how = f"{counted(self.seeds, 'seed')}, {CORRECTION} at {LEVEL:.0%}"
        many = "No group loses" if not self.losing else counted(len(self.losing), "group loses", "groups lose")
        return f"{many} more under {self.subset} than the other examples do, of {self.tested:,} tested ({how})."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: what was tested, and the groups that lose."""
        return {
            "subset": self.subset,
            "seeds": self.seeds,
            "tested": self.tested,
            "correction": CORRECTION,
            "level": LEVEL,
            "missing": self.missing,
            "losing": [row.to_dict() for row in self.losing],
        }


def groups(
    subset: str,
    full: Mapping[int, NDArray[np.bool_]],
    ours: Mapping[int, NDArray[np.bool_]],
    slicings: Sequence[Slicing],
    kept: NDArray[np.bool_],
) -> Groups:
    """Compare a subset with full data on every group.

    Parameters
    ----------
    subset
        Its name.
    full, ours
        Seed -> [E] whether each evaluation example was predicted right, of full data and of the subset.
    slicings
        The columns.
    kept
        [N] True for the training examples that the subset keeps.

    Intervals and tests count both the variance over seeds and that over examples, so that they speak of other seeds and of other examples
    of the same kind; see `_uncertainty`.

    >>> right = np.ones((3, 100), bool)
    >>> worse = right.copy(); worse[:, :50] = np.arange(50) % 3 > 0
    >>> slicing = Slicing(column="label", names=("a", "b"), evaluation=np.arange(100) // 50, training=np.arange(100) // 50)
    >>> found = groups("mine", dict(enumerate(right)), dict(enumerate(worse)), [slicing], np.arange(100) >= 40)
    >>> [(row.value, round(row.change.mean, 2), row.loses, row.floor) for row in found.rows]
    [('a', -0.34, True, 30), ('b', 0.0, False, None)]
    """
    seeds = [seed for seed in ours if seed in full]
    if not seeds:
        return Groups(subset=subset, seeds=0, missing=f"Accuracy by group of {subset} is not measured: no seed has its predictions.")
    right, base = (np.stack([side[seed] for seed in seeds]).astype(np.float64) for side in (ours, full))
    change = right - base
    rows = [
        (slicing, int(code), slicing.evaluation == code)
        for slicing in slicings
        for code in np.flatnonzero(np.bincount(slicing.evaluation, minlength=len(slicing.names)))
    ]
    raw = _p_values(change, [members for _, _, members in rows])
    corrected = _corrected(raw)
    found = [
        _group(slicing, code, members, base, right, change, float(p), kept)
        for (slicing, code, members), p in zip(rows, corrected, strict=True)
    ]
    order = sorted(found, key=lambda row: (not row.loses, row.change.mean))
    return Groups(subset=subset, seeds=len(seeds), rows=tuple(order))


def _group(
    slicing: Slicing,
    code: int,
    members: NDArray[np.bool_],
    base: Floats,
    right: Floats,
    change: Floats,
    p_value: float,
    kept: NDArray[np.bool_],
) -> Group:
    inside = None if slicing.training is None else slicing.training == code
    return Group(
        column=slicing.column,
        value=slicing.names[code],
        evaluated=int(members.sum()),
        full=float(base[:, members].mean()),
        subset=float(right[:, members].mean()),
        change=_change(change[:, members]),
        others=nan if members.all() else float(change[:, ~members].mean()),
        p_value=p_value,
        total=None if inside is None else int(inside.sum()),
        kept=None if inside is None else int((inside & kept).sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    """The mean change of some examples, minus that of the others where they are compared with them."""

    by_seed: Floats
    """[S] its value for each seed."""
    over_examples: tuple[tuple[float, int], ...]
    """Variance of each side's mean over examples, and its degrees of freedom; examples have their means over seeds."""
    noise: float
    """Variance that `by_seed` would have if every prediction were independent."""

    @property
    def over_seeds(self) -> float:
        """Variance of `by_seed`."""
        return float(self.by_seed.var(ddof=1))


def _contrast(*sides: Floats) -> _Contrast:
    """Return the contrast of one side [S, n], or of two."""
    means = [side.mean(axis=1) for side in sides]
    return _Contrast(
        by_seed=means[0] - means[1] if len(sides) > 1 else means[0],
        over_examples=tuple((float(side.mean(axis=0).var(ddof=1)) / side.shape[1], side.shape[1] - 1) for side in sides),
        noise=sum(float((side - side.mean(axis=0)).var()) * len(side) / (len(side) - 1) / side.shape[1] for side in sides),
    )


def _uncertainty(found: _Contrast, extra: float) -> tuple[float, float]:
    """Return the variance of a contrast's mean over seeds, and its degrees of freedom.

    `extra` is the variance between seeds beyond `noise`, as all groups together show it. It weighs like `PRIOR` more seeds, so that three
    seeds that agree by luck do not look certain (a moderated variance, as in Smyth 2004).
    """
    own = len(found.by_seed) - 1
    moderated = (PRIOR * (found.noise + extra) + own * found.over_seeds) / (PRIOR + own)
    parts = [(moderated / len(found.by_seed), PRIOR + own), *found.over_examples]
    both, weight = sum(part for part, _ in parts), sum(part**2 / free for part, free in parts)
    variance = max(both - found.noise / len(found.by_seed), max(part for part, _ in parts))
    return variance, variance**2 / weight if weight else inf


def _change(values: Floats) -> Difference:
    """Return the mean change of a group [S, n] with its 95% interval within -1..1; nan with one seed or one example."""
    mean, seeds = float(values.mean()), len(values)
    if min(values.shape) < 2:
        return Difference(mean=mean, low=nan, high=nan, pairs=seeds)
    found = _contrast(values)
    variance, freedom = _uncertainty(found, max(0.0, found.over_seeds - found.noise))
    half = float(stats.t.ppf(0.975, freedom)) * sqrt(variance)
    low, high = possible(mean - half, mean + half)
    return Difference(mean=mean, low=low, high=high, pairs=seeds)


def _p_values(change: Floats, groups: Sequence[NDArray[np.bool_]]) -> Floats:
    """Return the one-sided p-value that each group loses more than the others; nan for too few seeds or examples."""
    contrasts = {
        place: _contrast(change[:, members], change[:, ~members])
        for place, members in enumerate(groups)
        if len(change) >= FEWEST_SEEDS and min(members.sum(), (~members).sum()) >= FEWEST
    }
    p_values = np.full(len(groups), nan)
    if not contrasts:
        return p_values
    extra = max(0.0, float(np.mean([found.over_seeds - found.noise for found in contrasts.values()])))
    for place, found in contrasts.items():
        variance, freedom = _uncertainty(found, extra)
        mean = float(found.by_seed.mean())
        p_values[place] = stats.t.cdf(mean / sqrt(variance), freedom) if variance else float(mean >= 0)
    return p_values


def _corrected(p_values: Floats) -> Floats:
    """Return the p-values corrected for their number; nan remains."""
    found = np.full(len(p_values), nan)
    known = ~np.isnan(p_values)
    if known.any():
        found[known] = stats.false_discovery_control(p_values[known], method="bh")
    return found
