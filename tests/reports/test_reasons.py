"""Every reason is the true one, for every rule that can be named."""

import numpy as np
import pytest

from pruning.analysis.audit import LABEL_EPOCHS
from pruning.experiment import Experiment
from pruning.records import DecisionKind
from pruning.reports import reasons, review
from pruning.reports.browse import View
from pruning.subsets.decisions import Decision


@pytest.fixture
def view(scored: Experiment) -> View:
    return View(scored, scored.settings.burn_in)


def given(view: View, name: str) -> list[tuple[str, bool]]:
    """The reason of each example in the subset of that name, and whether it is kept."""
    subset = view.subset(name)
    kept = view.kept(subset)
    return [(reasons.why(view, subset, place, bool(kept[place])), bool(kept[place])) for place in range(len(view.h))]


def test_why_an_example_is_pruned(view: View) -> None:
    runs = view.experiment.dynamics.runs
    ticket = view.subset("winning-ticket")
    kept = view.kept(ticket)
    for position in range(len(view.h)):
        sentence = reasons.why(view, ticket, position, bool(kept[position]))
        if view.h[position] == 0:
            assert sentence == f"No run got it right in every epoch. This subset drops H = 0 and {runs}."
        elif view.h[position] == runs:
            assert sentence == f"All {runs} runs got it right in every epoch. This subset drops H = 0 and {runs}."
        else:
            assert "this one is kept" in sentence
    dropped = int(view.experiment.ids[0])
    view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(dropped,)))
    assert reasons.why(view, view.subset("full"), 0, False) == "Dropped by hand."


def test_why_suspected_labels_are_dropped(view: View) -> None:
    errors = view.label_errors
    assert errors is not None and errors.suspect.any()
    for suspect, (sentence, kept) in zip(errors.suspect, given(view, "drop-suspects"), strict=True):
        assert kept != suspect
        assert sentence == ("Its label looks wrong, and such examples are dropped." if suspect else "Its label does not look wrong.")


def test_what_stands_for_a_copy(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, size = view.experiment.labels, len(view.h)
    assert labels is not None
    alike, other = np.flatnonzero(labels == labels[0])[:3], int(np.flatnonzero(labels != labels[0])[0])
    groups = np.full(size, -1)
    groups[[*alike, other]] = 0
    monkeypatch.setattr("pruning.analysis.neighbours.same_meaning", lambda embeddings: groups)
    found = given(view, "distinct")
    ids = view.experiment.ids
    assert found[alike[0]] == ("It stands for 2 other examples of nearly the same meaning.", True)
    assert found[alike[1]] == found[alike[2]] == (f"Example {ids[0]} means nearly the same and stands for it.", False)
    assert found[other] == ("No other example has its label and nearly the same meaning.", True)
    alone = int(np.flatnonzero(groups < 0)[0])
    assert found[alone] == ("No other example has nearly the same meaning.", True)
    assert sum(kept for _, kept in found) == size - 2


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("random@0.3", "36 of 120 examples are drawn at random."),
        ("stratified@30", "30 of 120 examples are drawn at random, the same share of every class and H."),
    ],
)
def test_what_is_drawn_at_random_says_so(view: View, name: str, drawn: str) -> None:
    for sentence, kept in given(view, name):
        assert sentence == f"{'Drawn' if kept else 'Not drawn'}: {drawn}"


@pytest.mark.parametrize(("name", "score", "end"), [("aum-low@40", "aum", "lowest"), ("ambiguous@40", "pooled-variability", "highest")])
def test_what_is_chosen_by_a_score_says_its_value(view: View, name: str, score: str, end: str) -> None:
    for place, (sentence, kept) in enumerate(given(view, name)):
        assert f" {float(view.score(score)[place]):.3g} is {'among' if kept else 'not among'} the 40 {end}." in sentence


@pytest.mark.parametrize("name", ["ccs@0.3", "mixed@0.3", "anchored@30"])
def test_other_rules_say_how_they_choose(view: View, name: str) -> None:
    for sentence, kept in given(view, name):
        assert sentence == f"{'Chosen' if kept else 'Not chosen'}: {view.rule(name).rule}."


def test_a_combined_subset_names_the_part_that_decides(view: View) -> None:
    errors, runs = view.label_errors, view.experiment.dynamics.runs
    assert errors is not None
    inside = (view.h > 0) & (view.h < runs)
    for place, (sentence, kept) in enumerate(given(view, "winning-ticket and drop-suspects")):
        assert kept == (inside[place] and not errors.suspect[place])
        assert (f"H = 0 and {runs} are dropped." in sentence) == (not inside[place])
        assert ("Its label looks wrong" in sentence) == errors.suspect[place]
        assert ("It is in both Winning ticket and Drop suspected labels." in sentence) == kept
    for place, (sentence, kept) in enumerate(given(view, "full minus drop-suspects")):
        assert kept == errors.suspect[place]
        expected = (
            "It is in Full data and not in Drop suspected labels." if kept else "It is in Drop suspected labels, which is taken away."
        )
        assert sentence == expected
    for place, (sentence, kept) in enumerate(given(view, "remove-0 or drop-suspects")):
        assert kept == bool(view.h[place] > 0 or not errors.suspect[place])
        assert kept or sentence == (
            "No run got it right in every epoch. H = 0 is dropped. Its label looks wrong, and such examples are dropped."
        )


def test_a_part_of_a_subset_tells_the_rule_from_the_draw(view: View) -> None:
    size = view.rule("remove-0").size // 2
    for place, (sentence, kept) in enumerate(given(view, f"remove-0@{size}")):
        if view.h[place] == 0:
            assert sentence == "No run got it right in every epoch. H = 0 is dropped."
        else:
            assert sentence == f"{'Drawn' if kept else 'Not drawn'}: {size} examples of Drop H = 0 are drawn at random."


def test_what_a_floor_adds_back_says_so(view: View) -> None:
    labels = view.experiment.labels
    assert labels is not None
    base = view.kept(view.rule("winning-ticket")).copy()
    added = 0
    for place, (sentence, kept) in enumerate(given(view, "floor-0.9@winning-ticket")):
        assert ("added back because its class would keep less than 90% of it" in sentence) == (kept and not base[place])
        added += kept and not base[place]
    assert added


def test_a_saved_subset_is_called_by_its_name(view: View, scored: Experiment) -> None:
    scored.save("mine", scored.subset("random@50"))
    for sentence, kept in given(view, "mine"):
        assert sentence == f"It is {'among' if kept else 'not among'} the examples saved as mine."


def test_decisions_take_precedence_over_every_rule(view: View) -> None:
    ids, names = view.experiment.ids, view.experiment.label_names
    for kind, place, value in ((DecisionKind.KEEP, 1, ""), (DecisionKind.DROP, 2, ""), (DecisionKind.RELABEL, 3, names[0])):
        view.experiment.decide(Decision(kind=kind, ids=(int(ids[place]),), value=value))
    for name in ("drop-suspects", "random@0.3", "winning-ticket and drop-suspects"):
        sentences = [sentence for sentence, _ in given(view, name)]
        assert sentences[1:4] == ["Kept by hand.", "Dropped by hand.", f"Relabelled by hand to {names[0]}, so it is kept."]


def test_why_a_label_is_doubted(view: View) -> None:
    """By the predictions that the judgement rests on; not once the label was changed by hand."""
    errors, labels, names = view.label_errors, view.experiment.labels, view.experiment.label_names
    assert errors is not None and labels is not None and errors.suspect.any()
    dynamics = view.experiment.dynamics
    for position in range(len(view.h)):
        sentence = reasons.why_doubted(view, position)
        if not errors.suspect[position]:
            assert sentence == ""
            continue
        other, label = errors.suggested[position], names[labels[position]]
        said = dynamics.predicted[:, :LABEL_EPOCHS, position]
        if (said == other).mean() > 0.5:
            assert (
                sentence == f"Labelled {label}, but {(said == other).sum()} of {said.size} predictions are {names[other]} in epochs 1 to 2."
            )
        else:
            gave = dynamics.gold_prob[:, :LABEL_EPOCHS, position].mean()
            assert (
                sentence == f"Labelled {label}, which the runs gave {gave:.0%} on average in epochs 1 to 2; {names[other]} looks likelier."
            )
        assert review.suggested(view, position) == other
    suspect = int(np.flatnonzero(errors.suspect)[0])
    view.experiment.decide(
        Decision(kind=DecisionKind.RELABEL, ids=(int(view.experiment.ids[suspect]),), value=names[errors.suggested[suspect]])
    )
    assert reasons.why_doubted(view, suspect) == ""


def test_a_rule_on_right_looks_says_how_many_there_were(view: View) -> None:
    subset = view.subset("sometimes-right")
    kept = view.kept(subset)
    position = int(np.flatnonzero(kept)[0])
    right, every = view.rates.successes[position], view.rates.attempts[position]
    wanted = f"Right at {right} of {every} looks. Sometimes right keeps 0 < right looks < all looks; this one is kept."
    assert reasons.why(view, subset, position, True) == wanted
