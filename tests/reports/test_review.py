"""Review queues hold the examples they name, and every reason is the true one."""

import numpy as np
import pytest

from pruning.experiment import Experiment
from pruning.records import DecisionKind
from pruning.reports import review
from pruning.reports.browse import Filter, View
from pruning.subsets.decisions import Decision


@pytest.fixture
def view(scored: Experiment) -> View:
    return View(scored, scored.settings.burn_in)


def test_a_queue_counts_what_its_filter_shows(view: View) -> None:
    view.experiment.decide(Decision(kind=DecisionKind.TAG, ids=(int(view.experiment.ids[3]),), value="slang"))
    runs, everything = view.experiment.dynamics.runs, np.ones(len(view.h), dtype=bool)
    for queue, count in review.counts(view).items():
        assert count == len(view.matching(review.queued(Filter(), queue, runs), everything)), queue
    assert review.counts(view)["decided"] == 1


def test_h_asked_for_by_hand_leads_over_the_queue() -> None:
    assert review.queued(Filter(levels=(2,)), "never", 6).levels == (2,)
    assert review.queued(Filter(), None, 6) == Filter()


def test_why_an_example_is_pruned(view: View) -> None:
    runs = view.experiment.dynamics.runs
    ticket = view.subset("winning-ticket")
    kept = view.kept(ticket)
    for position in range(len(view.h)):
        sentence = review.why(view, ticket, position, bool(kept[position]))
        if view.h[position] == 0:
            assert sentence == f"No run got it right in every epoch. This subset drops H = 0 and {runs}."
        elif view.h[position] == runs:
            assert sentence == f"All {runs} runs got it right in every epoch. This subset drops H = 0 and {runs}."
        else:
            assert "this one is kept" in sentence
    dropped = int(view.experiment.ids[0])
    view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(dropped,)))
    assert review.why(view, view.subset("full"), 0, False) == "Dropped by hand."


def test_why_a_label_is_doubted(view: View) -> None:
    errors, labels, names = view.label_errors, view.experiment.labels, view.experiment.label_names
    assert errors is not None and labels is not None
    said = view.experiment.dynamics.predicted
    for position in range(len(view.h)):
        sentence = review.why_doubted(view, position)
        if errors.suspect[position]:
            other = errors.suggested[position]
            count = int((said[:, :, position] == other).sum())
            assert sentence == f"Labelled {names[labels[position]]}, but {count} of {said[:, :, 0].size} answers said {names[other]}."
            assert review.suggested(view, position) == other
        else:
            assert sentence == ""


def test_flags_count_what_is_kept_and_wrong(view: View) -> None:
    errors = view.label_errors
    assert errors is not None
    everything = np.ones(len(view.h), dtype=bool)
    found = {queue: sentence for sentence, queue in review.flags(view, everything) if queue == "suspected"}
    assert found["suspected"].startswith(f"{int(errors.suspect.sum())} kept example")
    assert not [queue for _, queue in review.flags(view, ~errors.suspect) if queue == "suspected"]
