"""Review queues hold the examples they name."""

import numpy as np
import pytest

from pruning.experiment import Experiment
from pruning.records import DecisionKind
from pruning.reports import review
from pruning.reports.browse import View
from pruning.reports.conditions import Filter
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


def test_an_h_filter_takes_precedence_over_the_queue() -> None:
    assert review.queued(Filter(levels=(2,)), "never", 6).levels == (2,)
    assert review.queued(Filter(), None, 6) == Filter()


def test_flags_count_what_is_kept_and_wrong(view: View) -> None:
    errors = view.label_errors
    assert errors is not None
    everything = np.ones(len(view.h), dtype=bool)
    found = {queue: sentence for sentence, queue in review.flags(view, everything) if queue == "suspected"}
    assert found["suspected"].startswith(f"{int(errors.suspect.sum())} kept example")
    assert not [queue for _, queue in review.flags(view, ~errors.suspect) if queue == "suspected"]
