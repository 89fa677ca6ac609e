import numpy as np
import pytest

from pruning import browse
from pruning.decisions import Decision
from pruning.experiment import Experiment
from pruning.records import DecisionKind


@pytest.fixture
def kept(scored: Experiment) -> np.ndarray:
    return np.isin(scored.ids, scored.subset("remove-0").kept)


def test_search_ignores_letter_case_and_looks_at_every_text(scored: Experiment, kept: np.ndarray) -> None:
    found = browse.matching(scored, kept=kept, show="all", h=scored.h_score(), text="FILM")
    texts = scored.examples(["text"])["text"].to_pylist()
    assert found.tolist() == [i for i, text in enumerate(texts) if "film" in text]


def test_kept_and_pruned_are_two_halves(scored: Experiment, kept: np.ndarray) -> None:
    h = scored.h_score()
    halves = [browse.matching(scored, kept=kept, show=show, h=h) for show in ("kept", "pruned")]
    assert sorted(np.concatenate(halves)) == list(range(len(scored.ids)))
    assert (h[halves[1]] == 0).all()


def test_filters_add_up(scored: Experiment, kept: np.ndarray) -> None:
    h = scored.h_score()
    found = browse.matching(scored, kept=kept, show="all", h=h, levels=[0, 3], text="plot")
    assert set(h[found]) <= {0, 3}
    assert set(found) < set(browse.matching(scored, kept=kept, show="all", h=h, levels=[0, 3]))


def test_narrowed_to_what_was_decided_looks_wrong_or_repeats(scored: Experiment, kept: np.ndarray) -> None:
    h = scored.h_score()
    scored.decide(Decision(kind=DecisionKind.NOTE, ids=(4, 7), value="look again"))
    assert browse.matching(scored, kept=kept, show="all", h=h, only="decided by hand").tolist() == [4, 7]
    assert scored.label_errors is not None
    suspects = browse.matching(scored, kept=kept, show="all", h=h, only="suspected label errors")
    assert suspects.tolist() == np.flatnonzero(scored.label_errors.suspect).tolist()
    repeated = browse.matching(scored, kept=kept, show="all", h=h, only="duplicates")
    assert (scored.duplicates.group[repeated] >= 0).all()


def test_source_columns_have_their_own_names(scored: Experiment) -> None:
    assert browse.source_columns(scored) == ["sentence", "label", "source"]
