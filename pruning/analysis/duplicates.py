"""Groups of exact and near duplicate texts. Pure functions.

Exact: equal after normalising letter case, punctuation and spacing. Near: a Jaccard similarity of character 5-grams of at least
`SIMILAR`. Examples with several texts (a pair, a question on a passage) are duplicates only if each of their texts is: two questions
on one passage are not. MinHash signatures (rensa) in bands give candidate pairs, which are then compared exactly, so that every
listed pair is that similar; at a similarity of 0.8 or more, 99.8% of pairs become candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

SIMILAR = 0.8
"""Jaccard similarity of character 5-grams from which two texts are near duplicates."""

_BETWEEN = "\x1f"
_SHINGLE = 5
_BANDS, _ROWS = 21, 6
_NEIGHBOURS = 16
_CHUNK = 20_000


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Duplicates:
    """Groups of examples with identical or nearly identical texts."""

    group: NDArray[np.int64]
    """[N] number of the example's group, in order of first appearance; -1 for unique texts."""
    exact: NDArray[np.bool_]
    """[N] True if another example has exactly this text (ignoring case, punctuation and spacing)."""

    @property
    def groups(self) -> int:
        """Number of groups; each has two examples or more."""
        return int(self.group.max(initial=-1)) + 1

    @property
    def redundant(self) -> int:
        """Number of examples that could be dropped with one kept per group."""
        return int((self.group >= 0).sum()) - self.groups

    def members(self, group: int) -> NDArray[np.int64]:
        """Return the positions of a group's examples, ascending."""
        return np.flatnonzero(self.group == group)


def repeated(group: NDArray[np.int64]) -> tuple[int, int]:
    """Count the groups that occur twice or more, and the examples beyond the first of each; -1 is in no group.

    >>> repeated(np.array([0, -1, 0, 1, 0]))
    (1, 2)
    """
    sizes = np.bincount(group[group >= 0], minlength=1)
    return int((sizes > 1).sum()), int((sizes[sizes > 1] - 1).sum())


def duplicates(texts: Sequence[str] | pa.Array | pa.Table) -> Duplicates:
    """Group exact and near duplicates among texts, or among rows of a table of texts.

    To find leaks, pass training and evaluation texts together, then call `leaks`.

    >>> duplicates(["A great film!", "a  great film", "No plot at all.", "Terrible"]).group
    array([ 0,  0, -1, -1])
    """
    fields = [normalised(column) for column in (texts.columns if isinstance(texts, pa.Table) else [texts])]
    encoded = _as_one(fields).dictionary_encode()
    which = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    different: list[str] = encoded.dictionary.to_pylist()
    exact = np.bincount(which, minlength=len(different))[which] > 1
    return Duplicates(group=_numbered(_components(different)[which]), exact=exact)


def normalised(texts: Sequence[str] | pa.Array) -> pa.Array:
    """Normalise case, punctuation and spacing; a text of punctuation only is unchanged."""
    raw = pa.array(texts, pa.string()) if not isinstance(texts, (pa.Array, pa.ChunkedArray)) else texts.cast(pa.string())
    raw = pc.fill_null(raw.combine_chunks() if isinstance(raw, pa.ChunkedArray) else raw, "")
    words = pc.replace_substring_regex(pc.utf8_lower(pc.utf8_normalize(raw, form="NFKC")), r"[^\p{L}\p{M}\p{N}]+", " ")
    trimmed = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(trimmed, ""), raw, trimmed)


def _as_one(fields: list[pa.Array]) -> pa.Array:
    """Join the normalised fields of each row with a separator that occurs in none of them."""
    apart = [pc.replace_substring(field, _BETWEEN, " ") for field in fields]
    return pc.binary_join_element_wise(*apart, _BETWEEN) if len(apart) > 1 else apart[0]


def leaks(found: Duplicates, training: int) -> NDArray[np.bool_]:
    """Return [N] True for examples whose group has both training and evaluation texts; the first `training` are training texts.

    >>> leaks(duplicates(["a b c d", "e f g h", "A B C D"]), training=2)
    array([ True, False,  True])
    """
    inside = np.zeros(found.groups + 1, dtype=bool)
    outside = inside.copy()
    inside[found.group[:training]] = True
    outside[found.group[training:]] = True
    both = inside & outside
    both[-1] = False  # -1: no group
    return both[found.group]


def conflicting(found: Duplicates, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return [N] True for examples of groups with more than one label: one is wrong, or the text does not determine the label.

    >>> conflicting(duplicates(["a b c d", "A B C D", "e f"]), np.array([0, 1, 0]))
    array([ True,  True, False])
    """
    grouped = found.group >= 0
    pairs = np.unique(np.stack([found.group[grouped], labels[grouped]]), axis=1)
    several = np.bincount(pairs[0], minlength=found.groups + 1) > 1
    return several[found.group]


def one_each(found: Duplicates, preferred: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Return [N] True for one example per group (the first, or the first of those with the highest `preferred`) and for unique texts.

    >>> one_each(duplicates(["a b c d", "A B C D", "e f"]))
    array([ True, False,  True])
    """
    keep = found.group < 0
    order = np.arange(len(keep)) if preferred is None else np.argsort(-preferred, kind="stable")
    _, first = np.unique(found.group[order], return_index=True)
    keep[order[first]] = True
    return keep


def together(found: Duplicates, kept: NDArray[np.bool_], keep: bool = True) -> NDArray[np.bool_]:
    """Return [N] the selection without split groups: a group kept in part is kept whole, or (keep=False) dropped whole.

    >>> together(duplicates(["a b c d", "A B C D", "e f"]), np.array([True, False, False]))
    array([ True,  True, False])
    """
    grouped = found.group >= 0
    decided = kept.copy()
    any_kept = np.bincount(found.group[grouped], kept[grouped], minlength=found.groups) > 0
    any_gone = np.bincount(found.group[grouped], ~kept[grouped], minlength=found.groups) > 0
    decided[grouped] = (any_kept if keep else ~any_gone)[found.group[grouped]]
    return decided


def _numbered(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Convert component labels to group numbers by first appearance; -1 for components of one member."""
    _, first, which, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    number = np.full(len(first), -1)
    several = np.flatnonzero(counts > 1)
    number[several[np.argsort(first[several])]] = np.arange(len(several))
    return number[which].astype(np.int64)


def _components(texts: list[str]) -> NDArray[np.int64]:
    """Return [U] the connected component of each distinct text; texts are linked if they are similar enough."""
    pairs = _candidates(texts)
    for field in zip(*(text.split(_BETWEEN) for text in texts), strict=True):
        pairs = pairs[_jaccard(field, pairs) >= SIMILAR]
    links = sparse.coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(texts),) * 2)
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _candidates(texts: list[str]) -> NDArray[np.int64]:
    """Return [P, 2] pairs of texts with an equal signature band: all pairs if up to 17 texts share the band,
    else each text with the next 16 and with the first.
    """
    size = len(texts)
    codes: list[NDArray[np.int64]] = []
    for band in _bands(texts):
        order = np.argsort(band, kind="stable")
        ranked = band[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        first = np.repeat(order[starts], np.diff(np.r_[starts, size]))
        codes.append((first * size + order)[first != order])
        for step in range(1, min(_NEIGHBOURS, size - 1) + 1):
            same = np.flatnonzero(ranked[step:] == ranked[:-step])
            if len(same) == 0:
                break
            codes.append(order[same] * size + order[same + step])
    unique = np.unique(np.concatenate(codes)) if codes else np.empty(0, dtype=np.int64)
    return np.stack([unique // size, unique % size], axis=1) if size else np.empty((0, 2), dtype=np.int64)


def _bands(texts: list[str]) -> NDArray[np.uint64]:
    """Return [bands, U] one number per band of each text's MinHash signature."""
    from rensa import RMinHash  # type: ignore[import-untyped]

    mixers = np.random.default_rng(0).integers(1, 2**63, size=_ROWS, dtype=np.uint64) | np.uint64(1)
    bands = np.empty((_BANDS, len(texts)), dtype=np.uint64)
    for start, hashes, offsets in _shingled(texts):
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, _BANDS * _ROWS, 1)
        rows = np.array(matrix.to_rows(), dtype=np.uint64).reshape(-1, _BANDS, _ROWS)
        bands[:, start : start + len(rows)] = (rows * mixers).sum(axis=2).T
    return bands


def _shingled(texts: Sequence[str]) -> Iterator[tuple[int, NDArray[np.uint64], NDArray[np.uint64]]]:
    """Yield per chunk: its start, the hashes of all character 5-grams, and the start of each text's hashes."""
    base = np.uint64(0x9E3779B97F4A7C15)
    for start in range(0, len(texts), _CHUNK):
        padded = [text.ljust(_SHINGLE) for text in texts[start : start + _CHUNK]]
        code = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
        hashes = np.zeros(len(code) - _SHINGLE + 1, dtype=np.uint64)
        for place in range(_SHINGLE):
            hashes = (hashes + code[place : place + len(hashes)] + np.uint64(1)) * base
        lengths = np.array([len(text) for text in padded])
        ends = np.cumsum(lengths)
        inside = np.ones(len(code), dtype=bool)
        for place in range(1, _SHINGLE):
            inside[ends - place] = False
        yield start, hashes[inside[: len(hashes)]], np.r_[0, np.cumsum(lengths - _SHINGLE + 1)].astype(np.uint64)


def _jaccard(texts: Sequence[str], pairs: NDArray[np.int64], chunk: int = 20_000) -> NDArray[np.float64]:
    """Return [P] the exact Jaccard similarity of each pair's 5-grams."""
    involved, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    hashes, lengths = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    for _, found, offsets in _shingled([texts[index] for index in involved]):
        hashes.append(found)
        lengths.append(np.diff(offsets).astype(np.int64))
    _, column = np.unique(np.concatenate(hashes), return_inverse=True)
    starts = np.r_[0, np.cumsum(np.concatenate(lengths))]
    grams = sparse.csr_array((np.ones(len(column), dtype=np.int32), column, starts), shape=(len(involved), column.max(initial=-1) + 1))
    grams.sum_duplicates()
    grams.data[:] = 1
    sizes = np.diff(grams.indptr)
    common = [np.empty(0)]
    for start in range(0, len(pairs), chunk):
        a, b = place[start : start + chunk].T
        common.append(np.asarray(grams[a].multiply(grams[b]).sum(axis=1), dtype=np.float64).ravel())
    shared = np.concatenate(common)
    return shared / (sizes[place[:, 0]] + sizes[place[:, 1]] - shared)
