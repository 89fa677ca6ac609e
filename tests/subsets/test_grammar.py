import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.errors import SubsetError
from pruning.subsets.grammar import parse

WORDS = ["(", ")", "@", " or ", " and ", " minus ", "full", "mine", "random", "0.5"]


def test_names_are_one_whatever_their_spacing() -> None:
    first, second = (parse(name, "") for name in (" random @ ( drop-easy or full )", "random@(drop-easy or full)"))
    assert first == second and first.text == "random@drop-easy or full"


@given(st.lists(st.sampled_from(WORDS), max_size=9).map("".join) | st.text(max_size=10))
def test_the_canonical_form_of_a_name_parses_to_the_same_tree(name: str) -> None:
    try:
        tree = parse(name, "use full")
    except SubsetError as error:
        assert str(error).endswith(".")
    else:
        assert parse(tree.text, "use full") == tree


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("(full", "The subset name '(full' lacks a closing parenthesis."),
        ("full)", "The subset name 'full)' has an unexpected ')'; use full."),
        ("full or", "The subset name 'full or' is not complete; use full."),
        ("@full", "The subset name '@full' is not complete; use full."),
        ("(full or full)@", "The subset name '(full or full)@' is not complete; use full."),
        ("x" * 501, "A subset name of 501 characters is too long; at most 500 are allowed."),
        ("(" * 499, "A subset name with 499 parentheses is too deep; at most 30 are allowed."),
        ("(" * 240 + "full" + ")" * 240, "A subset name with 240 parentheses is too deep; at most 30 are allowed."),
    ],
)
def test_an_unparsable_name_says_why(name: str, sentence: str) -> None:
    with pytest.raises(SubsetError) as refused:
        parse(name, "use full")
    assert str(refused.value) == sentence
