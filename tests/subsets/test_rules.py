import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pruning.analysis.neighbours import repeats
from pruning.analysis.scores import SCORES, h_score
from pruning.errors import ScoreError, SubsetError
from pruning.records import DISTINCT, Subset
from pruning.subsets import rules
from pruning.subsets.findings import CHOICE, SUSPECTS, Finding
from pruning.subsets.trainable import check_trainable
from tests.support.recordings import gold_labels, recording

PAPER = [{0, 6}, {0, 1, 6}, {0, 1, 2, 6}, {0, 1, 2, 3, 6}, {0, 1, 5, 6}, {0, 1, 2, 3, 4, 6}, {0, 1, 2, 3, 5, 6}]
"""H-values removed by the paper's subsets for R = 6, in their published order."""

RULES = [
    "random",
    "stratified",
    "ambiguous",
    "ccs",
    "ccs-0.3",
    "mixed",
    "mixed-0.2",
    "anchored",
    "anchored-0.2",
    *(f"{name}-{end}" for name in SCORES for end in ("high", "low")),
]


def test_the_ladder_of_six_runs_is_the_papers() -> None:
    assert [set(removes) for removes in rules.ladder(6)] == PAPER


@given(st.integers(1, 15))
def test_every_ladder_removes_both_ends_once_and_never_everything(runs: int) -> None:
    ladder = rules.ladder(runs)
    assert len(set(ladder)) == len(ladder)
    for removes in ladder:
        assert {0, runs} <= set(removes) < set(range(runs + 1)) or runs == 1
        assert rules.parse_removes(rules.subset_name(removes, runs), runs) == removes


def test_h_values_above_nine_are_numbers_not_digits() -> None:
    """The published code reads H-values as digits of a string, so that R > 9 is impossible."""
    assert rules.parse_removes("remove-1-10", 12) == (1, 10)
    h = np.array([0, 1, 10, 11, 12])
    assert rules.by_h("remove-1-10", h, np.arange(5), (1, 10)).kept.tolist() == [0, 3, 4]


@pytest.mark.process
@given(st.integers(1, 12), st.integers(1, 10), st.integers(4, 60), st.integers(2, 20), st.floats(1, 4), st.integers(0, 2**31))
def test_every_rule_keeps_known_ids_once_in_source_order(
    runs: int, epochs: int, examples: int, classes: int, skew: float, seed: int
) -> None:
    ids = 3 * np.random.default_rng(seed).permutation(examples)
    dynamics = replace(recording(runs, epochs, examples, classes, seed, skew), ids=ids)
    labels = gold_labels(examples, classes, seed, skew)
    names = ["full", *(rules.subset_name(removes, runs) for removes in rules.ladder(runs)), "drop-easy", "drop-hard"]
    names += [
        "full@0.5",
        "floor-0.3@winning-ticket",
        "floor-2@ambiguous@0.2",
        "drop-easy or (random@0.2) minus drop-hard",
        "random@drop-easy",
    ]
    names += [f"{rule}@0.4" for rule in RULES if epochs >= SCORES.get(rule.rpartition("-")[0], SCORES["h"]).epochs]
    for name in names:
        subset = rules.resolve(name, dynamics, labels, seed=seed)
        assert np.isin(subset.kept, ids).all(), name
        assert (np.diff(np.argsort(ids)[subset.kept // 3]) > 0).all(), name
        assert subset.total == examples
        trainable = subset.size > 0 and len(np.unique(labels[subset.mask(dynamics.ids)])) > 1
        if trainable:
            check_trainable(subset, labels, dynamics.ids)
        else:
            with pytest.raises(SubsetError, match=r"no example|one class"):
                check_trainable(subset, labels, dynamics.ids)


@pytest.mark.parametrize("rule", ["random", "ambiguous", "ccs", "aum-low", "el2n-high"])
def test_a_rule_at_a_subset_has_exactly_its_size(rule: str) -> None:
    dynamics, labels = recording(6, 3, 500, 3, 1), gold_labels(500, 3, 1)
    ticket = rules.resolve("winning-ticket", dynamics, labels)
    assert rules.resolve(f"{rule}@winning-ticket", dynamics, labels).size == ticket.size
    assert rules.resolve(f"{rule}@0.25", dynamics, labels).size == 125


def test_random_is_drawn_anew_for_each_seed_and_repeats() -> None:
    dynamics = recording(6, 3, 300, 2, 5)
    first, again, other = (rules.resolve("random@0.5", dynamics, None, seed=seed).kept.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_coverage_reaches_every_difficulty_and_keeps_class_shares() -> None:
    dynamics, labels = recording(6, 3, 2000, 2, 7, skew=3), gold_labels(2000, 2, 7, skew=3)
    kept = rules.resolve("ccs@0.3", dynamics, labels).mask(dynamics.ids)
    assert labels[kept].mean() == pytest.approx(labels.mean(), abs=0.01)
    hardness = -dynamics.gold_margin.mean(axis=(0, 1))
    for decile in np.array_split(np.argsort(hardness)[:1800], 9):
        assert kept[decile].any()


def test_a_class_floor_adds_back_and_says_how_many() -> None:
    labels, ids = np.array([0] * 8 + [1] * 4), np.arange(12)
    subset = Subset(name="s", method="m", rule="r", kept=ids[:6], total=12)
    floored = rules.balanced(subset, np.arange(12.0), ids, labels, 0.5)
    assert floored.rule == "r; never below 50% of a class (2 of class 1 added back)"
    assert floored.kept.tolist() == [0, 1, 2, 3, 4, 5, 10, 11]


def test_subsets_combine() -> None:
    ids = np.arange(6)
    a, b = (Subset(name=n, method="m", rule=n, kept=np.array(k), total=6) for n, k in (("a", [0, 1, 2]), ("b", [2, 3])))
    assert rules.combine(a, "or", b, ids).kept.tolist() == [0, 1, 2, 3]
    assert rules.combine(a, "and", b, ids).kept.tolist() == [2]
    assert rules.combine(a, "minus", b, ids).kept.tolist() == [0, 1]


def test_at_binds_to_the_whole_expression_after_it() -> None:
    dynamics = recording(6, 3, 300, 2, 5)

    def kept(name: str) -> set[int]:
        return set(rules.resolve(name, dynamics, None).kept.tolist())

    union = kept("winning-ticket or drop-easy")
    assert union == kept("winning-ticket") | kept("drop-easy")
    assert len(kept("random@winning-ticket or drop-easy")) == len(union)
    assert kept("(random@winning-ticket) or drop-easy") == kept("random@winning-ticket") | kept("drop-easy")
    assert kept("full minus drop-hard minus winning-ticket") == kept("full") - kept("drop-hard") - kept("winning-ticket")
    assert kept("drop-easy and drop-hard") == kept("winning-ticket")


def test_sizes_are_numbers_shares_or_subsets() -> None:
    dynamics = recording(6, 3, 300, 2, 5)
    sizes = {name: rules.resolve(name, dynamics, None).size for name in ("random@120", "random@0.4", "random@1", "full@120")}
    assert sizes == {"random@120": 120, "random@0.4": 120, "random@1": 300, "full@120": 120}
    with pytest.raises(SubsetError, match="cannot keep 301 of 300 examples"):
        rules.resolve("aum-low@301", dynamics, None)


def test_a_part_of_a_subset_lies_within_it() -> None:
    dynamics = recording(6, 3, 300, 2, 5)
    whole, part = (rules.resolve(name, dynamics, None) for name in ("drop-hard", "drop-hard@50"))
    assert part.size == 50 and whole.mask(part.kept).all()
    with pytest.raises(SubsetError, match="keeps only"):
        rules.resolve("winning-ticket@full", dynamics, None)


def test_what_is_put_together_can_be_cut_to_a_size_too() -> None:
    dynamics = recording(6, 3, 300, 2, 5)
    either, ticket = (rules.resolve(name, dynamics, None) for name in ("drop-hard or ambiguous@0.1", "winning-ticket@40"))
    for name in ("(drop-hard or ambiguous@0.1)@winning-ticket@40", "( drop-hard or (ambiguous@0.1) )@(winning-ticket@40)"):
        part = rules.resolve(name, dynamics, None)
        assert part.size == ticket.size == 40 and np.isin(part.kept, either.kept).all()
        assert part.name == "(drop-hard or (ambiguous@0.1))@winning-ticket@40"
    assert rules.resolve("(drop-hard)@50", dynamics, None).name == "drop-hard@50"
    assert rules.resolve("random@(floor-0.5@(random@0.2))", dynamics, gold_labels(300, 2, 5)).size >= 150


@pytest.mark.parametrize("word", [*RULES, "full", "winning-ticket", "drop-easy", "remove-0-12", "floor-0.2", "or", "minus"])
def test_words_of_the_grammar_are_understood(word: str) -> None:
    assert rules.understood(word)


@given(st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True))
def test_every_other_word_can_name_a_saved_subset_wherever_one_can_stand(word: str) -> None:
    assume(not rules.understood(word))
    dynamics, labels = recording(3, 2, 60, 2, 5), gold_labels(60, 2, 5)
    saved = {word: Subset(name=word, method="saved", rule="r", kept=dynamics.ids[:30], total=60)}

    def kept(name: str) -> set[int]:
        subset = rules.resolve(name, dynamics, labels, saved=saved)
        assert subset.name == name
        return set(subset.kept.tolist())

    mine = set(dynamics.ids[:30].tolist())
    assert kept(word) == mine and kept(f"full minus {word}") == kept("full") - mine == kept("full") - kept(f"{word} and {word}")
    assert len(kept(f"random@{word}")) == 30 and len(kept(f"{word}@0.1") & mine) == 6 and kept(f"floor-0.1@{word}") >= mine
    with pytest.raises(SubsetError, match=re.escape(f"no subset {word!r}")):
        rules.resolve(word, dynamics, labels)


def test_stratified_keeps_every_share_of_class_and_h() -> None:
    dynamics, labels = recording(6, 3, 3000, 3, 7, skew=2), gold_labels(3000, 3, 7, skew=2)
    strata = labels * 7 + h_score(dynamics.correct)
    kept = rules.resolve("stratified@0.3", dynamics, labels).mask(dynamics.ids)
    assert np.abs(np.bincount(strata[kept], minlength=21) - 0.3 * np.bincount(strata, minlength=21)).max() <= 1


def test_mixed_is_part_ambiguous_and_part_stratified() -> None:
    dynamics = recording(6, 3, 1000, 2, 7)
    ambiguous = rules.resolve("ambiguous@60", dynamics, None).kept
    mixed = [rules.resolve("mixed-0.2@300", dynamics, None, seed=seed).kept for seed in (0, 1)]
    for kept in mixed:
        assert len(kept) == 300 and np.isin(ambiguous, kept).all()
    assert len(np.intersect1d(*mixed)) < 200


def test_anchored_is_part_easiest_of_each_class_and_part_stratified() -> None:
    dynamics, labels = recording(6, 3, 1000, 2, 7, skew=2), gold_labels(1000, 2, 7, skew=2)
    sure = dynamics.gold_margin.mean(axis=(0, 1))
    kept = rules.resolve("anchored-0.4@300", dynamics, labels).mask(dynamics.ids)
    assert kept.sum() == 300
    for label, count in enumerate(np.bincount(labels)):
        members = np.flatnonzero(labels == label)
        assert kept[members[np.argsort(-sure[members])[: int(0.12 * count)]]].all()
        assert kept[members].mean() == pytest.approx(0.3, abs=0.01)


def test_coverage_leaves_out_the_share_it_is_told() -> None:
    dynamics = recording(6, 3, 1000, 2, 7)
    hardness = -dynamics.gold_margin.mean(axis=(0, 1))
    for name, share in (("ccs@200", 0.1), ("ccs-0.4@200", 0.4)):
        kept = rules.resolve(name, dynamics, None).mask(dynamics.ids)
        assert hardness[kept].max() <= np.quantile(hardness, 1 - share)


def test_a_floor_in_a_name_adds_the_most_ambiguous_back() -> None:
    dynamics, labels = recording(6, 3, 500, 4, 3, skew=3), gold_labels(500, 4, 3, skew=3)
    floored = rules.resolve("floor-0.5@aum-high@0.3", dynamics, labels)
    kept = floored.mask(dynamics.ids)
    for label in range(4):
        assert kept[labels == label].mean() >= 0.5
    assert floored.name == "floor-0.5@aum-high@0.3" and "added back" in floored.rule
    named = rules.resolve("floor-0.5@aum-high@0.3", dynamics, labels, classes=("sun", "rain", "snow", "hail")).rule
    assert any(f" of {name}" in named for name in ("sun", "rain", "snow", "hail")) and "of class" in floored.rule
    few = rules.resolve("floor-7@aum-high@0.1", dynamics, labels).mask(dynamics.ids)
    assert all(few[labels == label].sum() >= min(7, (labels == label).sum()) for label in range(4))
    with pytest.raises(SubsetError, match="needs classes"):
        rules.resolve("floor-0.5@full", dynamics, None)


def test_what_is_drawn_changes_with_the_seed_and_nothing_else_does() -> None:
    dynamics, labels = recording(6, 3, 400, 3, 5), gold_labels(400, 3, 5)
    drawn = re.compile(r"\b(random|stratified|mixed|anchored)(-[\d.]+)?@|@40$")
    names = ["full", "winning-ticket", "floor-0.2@drop-easy", "floor-0.2@random@0.2", "drop-easy minus random@0.5", "winning-ticket@40"]
    for name in [*names, *(f"{rule}@0.3" for rule in RULES if SCORES.get(rule.rpartition("-")[0], SCORES["h"]).epochs <= 3)]:
        first, second = (rules.resolve(name, dynamics, labels, seed=seed).kept.tolist() for seed in (1, 2))
        assert (first != second) == (drawn.search(name) is not None), name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("el2n-high@0.5", "EL2N needs error_norm, which this recording does not have."),
        ("dual-high@0.5", "DUAL needs 2 epochs; this recording has 1, 1 of them counted."),
        ("winning-ticket", r"winning-ticket \(remove H = 0 and 1\) keeps no examples; there is nothing to train on."),
        ("aum-low@21", "A subset cannot keep 21 of 20 examples."),
        ("aum-low@0", "A subset cannot keep 0; use a share between 0 and 1, or a whole number of examples."),
        ("random@-1", "A subset cannot keep -1; use a share between 0 and 1, or a whole number of examples."),
        ("floor-0.3@full", "floor-0.3@full needs classes; this task has none."),
    ],
)
def test_a_rule_the_recording_is_too_small_for_is_refused_in_one_sentence(name: str, sentence: str) -> None:
    """One run, one epoch, no error norms, no classes."""
    whole = recording(1, 1, 20, 2, 0)
    dynamics = replace(whole, error_norm=np.full_like(whole.error_norm, np.nan))
    with pytest.raises((ScoreError, SubsetError), match=f"^{sentence}$"):
        check_trainable(rules.resolve(name, dynamics, None), None, dynamics.ids)


def test_a_subset_of_one_class_says_so() -> None:
    dynamics, labels = recording(6, 3, 30, 2, 0), np.array([0] * 29 + [1])
    with pytest.raises(SubsetError, match=r"^All 29 examples that most keeps have one class; a model would learn nothing.$"):
        subset = Subset(name="most", method="m", rule="r", kept=dynamics.ids[:29], total=30)
        check_trainable(subset, labels, dynamics.ids)


WORDS = ["(", ")", "@", " or ", " and ", " minus ", "full", "drop-easy", "random", "aum-low", "floor-0.2", "0.5", "7", "winning-ticket"]


@given(st.lists(st.sampled_from(WORDS), max_size=9).map("".join) | st.text(max_size=10))
def test_any_text_is_a_subset_or_one_sentence(name: str) -> None:
    try:
        subset = rules.resolve(name, recording(3, 2, 20, 2, 0), None)
    except SubsetError as error:
        assert str(error).endswith(".")
    else:
        assert rules.resolve(subset.name, recording(3, 2, 20, 2, 0), None).kept.tolist() == subset.kept.tolist()


@pytest.mark.parametrize("name", ["floor-x@full", "floor-0@full", "floor-0.5@0.2", "random-0.3@0.5", "ccs-2@0.5", "(full or full)@"])
def test_misspelt_or_incomplete_rules_say_why(name: str) -> None:
    with pytest.raises(SubsetError, match=r"has no floor|is not a rule|needs a subset after|is not complete; use full, winning-ticket"):
        rules.resolve(name, recording(6, 3, 20, 2, 0), gold_labels(20, 2, 0))


@pytest.mark.parametrize(
    "name", ["loosing-ticket", "random", "luck@0.5", "random@nothing", "remove-", "remove-a", "remove-7", "random@1.5", "h-sideways@0.5"]
)
def test_names_that_do_not_exist_are_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(SubsetError, match=r"winning-ticket|between 0 and"):
        rules.resolve(name, recording(6, 3, 20, 2, 0), None)


def test_drop_suspects_keeps_every_example_whose_label_is_not_doubted() -> None:
    dynamics = recording(4, 3, 40, 2, 0)
    suspect = np.arange(40) % 7 == 0

    def kept(name: str, found: NDArray[np.bool_] | None = suspect, **more: Any) -> list[int]:
        return rules.resolve(name, dynamics, None, findings={SUSPECTS: lambda: found}, **more).kept.tolist()

    assert kept("drop-suspects") == dynamics.ids[~suspect].tolist()
    assert kept("winning-ticket and drop-suspects") == [i for i in kept("winning-ticket") if i in set(kept("drop-suspects"))]
    assert len(kept("drop-suspects@10")) == 10 and set(kept("drop-suspects@10")) <= set(kept("drop-suspects"))
    with pytest.raises(SubsetError, match="needs classes and recorded probabilities"):
        kept("drop-suspects", None)
    mine = rules.resolve("full minus drop-suspects", dynamics, None, findings={SUSPECTS: lambda: suspect})
    assert kept("drop-suspects", saved={"drop-suspects": mine}) == dynamics.ids[suspect].tolist(), "a subset saved under that name stays"


def test_distinct_keeps_one_example_of_each_group_and_label() -> None:
    dynamics, labels = recording(4, 3, 6, 2, 0), np.array([0, 0, 0, 1, 1, 1])
    copies = repeats(np.array([0, -1, 0, 0, 1, 1]), labels)
    findings: dict[str, Finding] = {DISTINCT: lambda: copies}

    def kept(name: str) -> list[int]:
        return np.flatnonzero(rules.resolve(name, dynamics, labels, findings=findings).mask(dynamics.ids)).tolist()

    assert kept("distinct") == [0, 1, 3, 4], "the third stands in the first's group with its label; the fourth has another label"
    assert len(kept("distinct@2")) == 2 and set(kept("distinct@2")) <= {0, 1, 3, 4}
    assert kept("full minus distinct") == [2, 5]
    with pytest.raises(SubsetError, match="needs a first look"):
        rules.resolve("distinct", dynamics, labels, findings={DISTINCT: lambda: None})


def test_the_choice_is_the_ticket_without_suspects_but_one_of_each_meaning_where_there_are_copies() -> None:
    dynamics = recording(4, 3, 40, 2, 0)
    suspect, few, many = np.arange(40) % 7 == 0, np.arange(40) == 3, np.arange(40) % 3 == 1

    def kept(name: str, copies: NDArray[np.bool_] | None, suspects: NDArray[np.bool_] | None = suspect) -> list[int]:
        findings: dict[str, Finding] = {DISTINCT: lambda: copies, SUSPECTS: lambda: suspects}
        return rules.resolve(name, dynamics, None, findings=findings).kept.tolist()

    ticket = kept("winning-ticket and drop-suspects", None)
    assert kept(CHOICE, None) == kept(CHOICE, few) == ticket and 0 < len(ticket) < 40
    assert kept(CHOICE, many) == dynamics.ids[~many & ~suspect].tolist()
    assert kept(CHOICE, None, None) == kept("winning-ticket", None)
    assert set(kept("choice@5", many)) < set(kept(CHOICE, many)) and len(kept("choice@5", many)) == 5
    assert rules.understood(CHOICE)
