"""Rules on right looks: the same for runs and epochs of a fine-tuning and for sampled answers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.analysis.looks import looks
from pruning.errors import SubsetError
from pruning.subsets import rules
from tests.support.recordings import recording


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**31), st.integers(0, 3))
def test_sometimes_right_drops_right_at_no_look_and_at_every_look(runs: int, epochs: int, examples: int, seed: int, burn_in: int) -> None:
    dynamics = recording(runs, epochs, examples, 2, seed)
    right = dynamics.correct.reshape(runs * epochs, examples).sum(axis=0)
    wanted = dynamics.ids[(right > 0) & (right < runs * epochs)]
    kept = rules.resolve("sometimes-right", dynamics, None, min(burn_in, epochs - 1)).kept
    assert kept.tolist() == wanted.tolist()


def test_a_band_is_of_right_looks_or_of_their_share() -> None:
    dynamics = recording(2, 3, 60, 2, 7)
    right, every = looks(dynamics)
    assert set(every) == {6}
    assert len(set(right)) > 3
    assert rules.resolve("looks-2-4", dynamics, None).kept.tolist() == dynamics.ids[(right >= 2) & (right <= 4)].tolist()
    assert rules.resolve("looks-0.5-1.0", dynamics, None).kept.tolist() == dynamics.ids[right >= 3].tolist()
    assert rules.resolve("looks-0.2-0.8@5", dynamics, None).size == 5


def test_counts_of_unequal_attempts_are_used_and_what_was_never_sampled_is_kept() -> None:
    dynamics = replace(
        recording(1, 1, 5, 2, 0),
        successes=np.array([[0, 4, 3, 0, 1]]),
        attempts=np.array([[4, 4, 16, 0, 5]]),
    )
    subset = rules.resolve("sometimes-right", dynamics, None)
    assert subset.kept.tolist() == [6, 9, 12]
    assert subset.rule == "keep 0 < right looks < all looks; 1 example without a look kept"
    assert rules.resolve("looks-0.2-0.8", dynamics, None).kept.tolist() == [9, 12]
    assert rules.resolve("looks-1-3", dynamics, None).kept.tolist() == [6, 9, 12]


def test_a_share_of_the_always_right_is_drawn_again_for_each_seed() -> None:
    dynamics = replace(recording(4, 2, 100, 2, 0), correct=np.ones((4, 2, 100), dtype=bool), successes=None)
    draws = [rules.resolve("sometimes-right-0.1", dynamics, None, seed=seed) for seed in (0, 0, 1)]
    assert [draw.size for draw in draws] == [10, 10, 10]
    assert draws[0].kept.tolist() == draws[1].kept.tolist() != draws[2].kept.tolist()
    assert "and 10% of those always right (10 at random)" in draws[0].rule


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("looks-6-2", "keeps nothing"),
        ("looks-2", "is not a band"),
        ("looks-0.5-1.5", "share up to 1.0"),
        ("looks-7-9", "no example has more than 6 looks"),
        ("sometimes-right-2", "between 0 and 1"),
    ],
)
def test_impossible_bands_are_named(name: str, sentence: str) -> None:
    with pytest.raises(SubsetError, match=sentence):
        rules.resolve(name, recording(2, 3, 10, 2, 0), None)


def test_the_words_cannot_name_a_saved_subset() -> None:
    assert all(map(rules.understood, ("sometimes-right", "looks-2-6", "sometimes-right-0.1", "looks-like")))
