from hypothesis import given
from hypothesis import strategies as st

from pruning.duplicates import duplicates, leaks

FILM = "the gorgeously elaborate continuation of the lord of the rings trilogy is so huge that a column cannot describe it"


def test_exact_and_near_duplicates_are_found_and_others_are_not() -> None:
    found = duplicates(
        [FILM, FILM.upper() + "!", FILM.replace("huge", "vast"), "effective but too tepid biopic", "a tepid but effective biopic"]
    )
    assert found.group.tolist() == [0, 0, 0, -1, -1]
    assert found.exact.tolist() == [True, True, False, False, False]


def test_what_the_sample_holds_and_no_more() -> None:
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


def test_what_leaks_lies_on_both_sides() -> None:
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
