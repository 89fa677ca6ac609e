import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from pruning.analysis.duplicates import SIMILAR, duplicates, leaks, normalised
from pruning.data import sample

FILM = "the gorgeously elaborate continuation of the lord of the rings trilogy is so huge that a column cannot describe it"


def test_exact_and_near_duplicates_are_found_and_others_are_not() -> None:
    found = duplicates(
        [FILM, FILM.upper() + "!", FILM.replace("huge", "vast"), "effective but too tepid biopic", "a tepid but effective biopic"]
    )
    assert found.group.tolist() == [0, 0, 0, -1, -1]
    assert found.exact.tolist() == [True, True, False, False, False]


def test_duplicates_of_the_sample_are_found_and_its_nearest_other_sentences_are_not() -> None:
    """The sample's two pairs of equal sentences, and those of its other sentences that come nearest to each other."""
    equal = ["...a pretentious mess...", "Stock up on silver bullets for director Neil Marshall's intense freight train of a film."]
    apart = [
        *(
            "...a bland, pretentious mess.",
            "Doesn't really add up to much.",
            "Doesn't add up to much.",
            "Full of surprises.",
            "No surprises.",
        ),
        *(
            "One of the best movies of the year.",
            "One of the worst movies of the year.",
            "Grating and tedious.",
            "Aggravating and tedious.",
        ),
    ]
    found = duplicates([*equal, *apart, *equal])
    assert found.groups == found.redundant == 2
    assert [found.members(group).tolist() for group in range(2)] == [[0, 11], [1, 12]]


@pytest.mark.slow
def test_the_whole_sample_has_exactly_two_pairs_of_duplicates() -> None:
    """Needs a network once. Every pair of the sample's sentences is compared: 5-grams in common over all of theirs."""
    texts = [json.loads(line)["sentence"] for line in sample.sample_data().read_text(encoding="utf-8").splitlines()]
    found = duplicates(texts)
    assert len(texts) == 10_568
    assert [found.members(group).tolist() for group in range(found.groups)] == PAIRS
    assert np.flatnonzero(found.exact).tolist() == sorted(place for pair in PAIRS for place in pair)
    assert similar_pairs(normalised(texts).to_pylist(), SIMILAR) == PAIRS


PAIRS = [[10286, 10303], [10467, 10521]]


def similar_pairs(texts: list[str], threshold: float) -> list[list[int]]:
    """All pairs that similar, ascending, by products of the texts' sets of 5-grams: no signatures, none left to chance.

    Two texts that share `threshold` of their 5-grams share one of the rarest that either has: all but `threshold` of them, and one.
    """
    count = CountVectorizer(analyzer=lambda text: {text.ljust(5)[place : place + 5] for place in range(max(len(text) - 4, 1))})
    grams = count.fit_transform(texts).astype(np.int32)
    sizes = np.diff(grams.indptr)
    row = np.repeat(np.arange(len(texts)), sizes)
    order = np.lexsort((grams.indices, np.bincount(grams.indices)[grams.indices], row))
    rare = np.arange(len(order)) - grams.indptr[row] <= (sizes - np.ceil(threshold * sizes))[row]
    rarest = sparse.csr_array((np.ones(rare.sum(), dtype=np.int32), (row[rare], grams.indices[order][rare])), shape=grams.shape)
    one, other = sparse.triu(rarest @ rarest.T, k=1).coords
    common = np.asarray(grams[one].multiply(grams[other]).sum(axis=1)).ravel()
    alike = common >= threshold * (sizes[one] + sizes[other] - common)
    return sorted([int(i), int(j)] for i, j in zip(one[alike], other[alike], strict=True))


def test_examples_of_several_texts_are_the_same_only_where_each_text_is() -> None:
    """Two questions on one long passage, the same question on two, one pair nearly repeated, and one divided elsewhere."""
    passage = "The tower was built in 1889 for the fair, and was for forty years the tallest building that anybody had made. " * 4
    rows = [
        (passage, "Who built the tower?"),
        (passage, "When was it taken down?"),
        (passage.replace("forty", "fourty", 1), "who built the tower"),
        ("Something else altogether was said here.", "Who built the tower?"),
        ("a b", "c"),
        ("a", "b c"),
        (None, "\x1f"),
    ]
    table = pa.table({"context": [row[0] for row in rows], "question": [row[1] for row in rows]})
    assert duplicates(table).group.tolist() == [0, -1, 0, -1, -1, -1, -1]
    assert not duplicates(table).exact.any()
    assert duplicates(["\x1f", "a"]).groups == 0


def test_leaks_are_duplicates_between_training_and_evaluation_data() -> None:
    texts = [FILM, "x y z and more words here", FILM + "."]
    assert leaks(duplicates(texts), 2).tolist() == [True, False, True]


@given(st.lists(st.text(alphabet="abc .,!", max_size=12), min_size=1, max_size=30))
def test_equal_texts_always_share_a_group(texts: list[str]) -> None:
    found = duplicates(texts)
    assert len(found.group) == len(texts)
    for i, first in enumerate(texts):
        for j, second in enumerate(texts[:i]):
            if first == second:
                assert found.group[i] == found.group[j] >= 0
