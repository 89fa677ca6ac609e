"""Subsets: rules that say which examples stay. Pure; every subset keeps ids once and in source order.

One grammar of names serves the command line, the pages, the frontier and the manifest (`resolve`):

    full                    everything
    winning-ticket          remove H = 0 and H = R: the paper's largest automatic subset
    remove-0-1-6            remove these H-values; drop-easy and drop-hard stand for remove-R and remove-0
    random@X                as many as X keeps, drawn at random
    ambiguous@X             as many as X keeps, with the highest variability over all runs: the paper's baseline
    ccs@X                   as many as X keeps, spread over all difficulties but the hardest tenth (coverage-centric selection)
    aum-high@X, loss-low@X  as many as X keeps, highest or lowest by any score

where X is a subset's name or a share such as 0.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from pruning.errors import SubsetError
from pruning.records import Dynamics, Subset
from pruning.scores import SCORES, compute, h_score

TICKET = "winning-ticket"
DECISIONS = "+decisions"
"""After a subset's name: as decided by hand."""

Ids = NDArray[np.int64]


def ladder(runs: int) -> list[tuple[int, ...]]:
    """H-values removed by each automatic subset, in the order of the paper.

    Always 0 and R; then growing from the hard end, then from both ends. For R = 6 these are the published seven.

    >>> ladder(6)
    [(0, 6), (0, 1, 6), (0, 1, 2, 6), (0, 1, 2, 3, 6), (0, 1, 5, 6), (0, 1, 2, 3, 4, 6), (0, 1, 2, 3, 5, 6)]
    >>> ladder(3)
    [(0, 3), (0, 1, 3)]
    """
    hard = [(*range(end), runs) for end in range(1, runs)]
    if runs < 5:
        return hard
    both = [(0, 1, runs - 1, runs), (*range(runs - 2), runs - 1, runs)]
    return [*hard[:-1], both[0], hard[-1], *both[1:]]


def subset_name(removes: Iterable[int], runs: int) -> str:
    """The name of the subset that removes these H-values.

    >>> subset_name((0, 6), 6), subset_name((0, 10, 12), 12)
    ('winning-ticket', 'remove-0-10-12')
    """
    values = sorted(set(removes))
    return TICKET if values == [0, runs] else "remove-" + "-".join(map(str, values))


def parse_removes(name: str, runs: int) -> tuple[int, ...] | None:
    """The H-values that a name removes, or None when it is no such name. Raises SubsetError for values beyond 0..R.

    >>> parse_removes("remove-0-10-12", 12), parse_removes("drop-easy", 6), parse_removes("random@full", 6)
    ((0, 10, 12), (6,), None)
    """
    fixed = {TICKET: (0, runs), "drop-easy": (runs,), "drop-hard": (0,)}
    if name in fixed:
        return fixed[name]
    values = name.removeprefix("remove-").split("-")
    if not name.startswith("remove-") or not all(value.isdigit() for value in values):
        return None
    removes = tuple(sorted({int(value) for value in values}))
    if removes[-1] > runs:
        raise SubsetError(f"{name} removes H = {removes[-1]}; with {runs} runs H lies between 0 and {runs}.")
    return removes


def resolve(name: str, dynamics: Dynamics, labels: Ids | None, burn_in: int = 0, seed: int = 0) -> Subset:
    """The subset of that name (see the module's docstring). `seed` draws random subsets, a different one for each.

    Raises SubsetError for a name that does not exist, listing what does, and for a size that cannot be had.
    """
    if name == "full":
        return Subset(name=name, method="full", rule="keep everything", kept=dynamics.ids, total=dynamics.examples, removes=())
    removes = parse_removes(name, dynamics.runs)
    if removes is not None:
        return by_h(name, h_score(dynamics.correct, burn_in), dynamics.ids, removes)
    method, at, of = name.partition("@")
    if not at:
        raise SubsetError(f"There is no subset {name!r}; {_what_there_is(dynamics.runs)}.")
    size = _size(of, dynamics, labels, burn_in, seed)
    if method == "random":
        kept = np.sort(_generator(name, seed).permutation(dynamics.examples)[:size])
        rule = f"{size} at random"
    else:
        kept, rule = _chosen(method, size, dynamics, labels, burn_in)
    return Subset(name=name, method=method, rule=f"{rule}, as many as {of} keeps", kept=dynamics.ids[kept], total=dynamics.examples)


def by_h(name: str, h: NDArray[np.int64], ids: Ids, removes: Sequence[int]) -> Subset:
    """Remove the examples whose H is one of `removes`."""
    values = " and ".join(filter(None, [", ".join(map(str, removes[:-1])), str(removes[-1])]))
    kept = ids[~np.isin(h, removes)]
    return Subset(name=name, method="h-score", rule=f"remove H = {values}", kept=kept, total=len(ids), removes=tuple(removes))


def highest(values: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Positions of the `size` highest values, ascending; equal values go by source order.

    >>> highest(np.array([1.0, 3.0, 2.0, 3.0]), 2)
    array([1, 3])
    """
    return np.sort(np.argsort(-values, kind="stable")[:size])


def coverage(values: NDArray[np.float64], size: int, hardest: float = 0.1, bins: int = 50) -> NDArray[np.int64]:
    """Positions of `size` examples spread evenly over difficulty (`values`, higher = harder), the hardest share left out.

    Coverage-centric selection (CCS, Zheng et al. 2023): equal-width bins, the smallest first, each giving an equal part of what
    is still wanted or all it has. Within a bin examples are taken at even steps of source order, so that nothing is random.
    The hardest share gives way where `size` asks for more than the rest.

    >>> coverage(np.array([0.0, 0.1, 0.2, 5.0, 5.1, 9.9]), 3, hardest=0.17, bins=2)
    array([0, 2, 3])
    """
    dropped = min(int(len(values) * hardest), len(values) - size)
    pool = np.argsort(values, kind="stable")[: len(values) - dropped]
    low, high = values[pool].min(), values[pool].max()
    width = (high - low) / bins or 1.0
    which = np.minimum(((values[pool] - low) / width).astype(np.int64), bins - 1)
    members = sorted((np.sort(pool[which == b]) for b in np.unique(which)), key=len)
    kept: list[NDArray[np.int64]] = []
    wanted = size
    for index, bin_members in enumerate(members):
        share = min(len(bin_members), wanted // (len(members) - index))
        kept.append(bin_members[np.linspace(0, len(bin_members) - 1, share).round().astype(np.int64)])
        wanted -= share
    return np.sort(np.concatenate(kept))


def balanced(subset: Subset, scores: NDArray[np.float64], ids: Ids, labels: Ids, floor: float) -> tuple[Subset, dict[int, int]]:
    """The subset with examples added back where a class would fall below `floor` (0..1) of its size, highest score first.

    Returns it and, by class, how many were added back.
    """
    kept = np.isin(ids, subset.kept)
    added: dict[int, int] = {}
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        missing = int(np.ceil(floor * len(members))) - int(kept[members].sum())
        if missing > 0:
            pruned = members[~kept[members]]
            kept[pruned[highest(scores[pruned], missing)]] = True
            added[int(label)] = missing
    rule = f"{subset.rule}; never below {floor:.0%} of a class"
    return replace(subset, name=f"{subset.name}+floor{floor:g}", rule=rule, kept=ids[kept]), added


def combine(first: Subset, how: str, second: Subset, ids: Ids) -> Subset:
    """Union ("or"), intersection ("and") or difference ("minus") of two subsets."""
    a, b = np.isin(ids, first.kept), np.isin(ids, second.kept)
    kept = {"or": a | b, "and": a & b, "minus": a & ~b}.get(how)
    if kept is None:
        raise SubsetError(f"Subsets combine with or, and, minus; not with {how!r}.")
    name = f"{first.name} {how} {second.name}"
    return Subset(name=name, method="combined", rule=f"({first.rule}) {how} ({second.rule})", kept=ids[kept], total=len(ids))


def check_trainable(subset: Subset, labels: Ids | None, ids: Ids) -> None:
    """Raise SubsetError, saying why, when a subset is empty or has one class only (`labels` None: no classes)."""
    if subset.size == 0:
        raise SubsetError(f"{subset.name} ({subset.rule}) keeps no example; there is nothing to train on.")
    if labels is None:
        return
    present = np.unique(labels[np.isin(ids, subset.kept)])
    if len(present) < 2:
        raise SubsetError(f"All {subset.size} examples that {subset.name} keeps have one class; a model trained on them learns nothing.")


def _chosen(method: str, size: int, dynamics: Dynamics, labels: Ids | None, burn_in: int) -> tuple[NDArray[np.int64], str]:
    if method == "ambiguous":
        return highest(compute("pooled-variability", dynamics, burn_in), size), f"{size} with the highest variability over all runs"
    if method == "ccs":
        return _covered(-compute("aum", dynamics, burn_in), size, labels), f"{size} spread over all difficulties but the hardest tenth"
    score, _, end = method.rpartition("-")
    if score not in SCORES or end not in ("high", "low"):
        raise SubsetError(f"There is no rule {method!r}; {_what_there_is(dynamics.runs)}.")
    values = compute(score, dynamics, burn_in)
    return highest(values if end == "high" else -values, size), f"{size} with the {end}est {SCORES[score].title}"


def _covered(difficulty: NDArray[np.float64], size: int, labels: Ids | None) -> NDArray[np.int64]:
    """Coverage within each class, so that classes keep their own shares."""
    if labels is None:
        return coverage(difficulty, size)
    classes, counts = np.unique(labels, return_counts=True)
    exact = size * counts / counts.sum()
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: size - quota.sum()]] += 1
    members = [np.flatnonzero(labels == label) for label in classes]
    return np.sort(np.concatenate([m[coverage(difficulty[m], n)] for m, n in zip(members, quota, strict=True) if n]))


def _size(of: str, dynamics: Dynamics, labels: Ids | None, burn_in: int, seed: int) -> int:
    try:
        share = float(of)
    except ValueError:
        return resolve(of, dynamics, labels, burn_in, seed).size
    if not 0 < share <= 1:
        raise SubsetError(f"A subset cannot keep a share of {of}; it must lie between 0 and 1.")
    return max(1, round(share * dynamics.examples))


def _generator(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(sha256(name.encode()).digest()[:8], "big")])


def _what_there_is(runs: int) -> str:
    names = ", ".join(subset_name(removes, runs) for removes in ladder(runs))
    rules = "random@X, ambiguous@X, ccs@X, SCORE-high@X, SCORE-low@X"
    return f"use full, {names}, any remove-..., or {rules} for X one of these or a share"
