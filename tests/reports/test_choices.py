"""The subset that every page is about before a person names one."""

from pruning.experiment import Experiment
from pruning.reports import choices
from tests.support.frontiers import measure


def test_a_view_that_names_no_subset_is_about_one_that_is_measured(scored: Experiment) -> None:
    made = measure(scored)
    assert choices.usual(made) == "winning-ticket"
    row = made.finished().iloc[-1].to_dict()
    made.add_finished({**row, "subset": "choice+decisions"})
    assert choices.usual(Experiment(made.folder.root)) == "choice"
    made.add_finished({**row, "subset": "winning-ticket"})
    assert choices.usual(Experiment(made.folder.root)) == "winning-ticket"
