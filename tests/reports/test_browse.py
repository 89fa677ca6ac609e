import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pruning.analysis.audit import Hard
from pruning.analysis.ranges import inside
from pruning.errors import SubsetError
from pruning.experiment import Experiment
from pruning.records import DecisionKind
from pruning.reports import browse, conditions
from pruning.reports.audit_report import findings
from pruning.reports.browse import View
from pruning.reports.composition import class_shares_sentence
from pruning.reports.conditions import Filter
from pruning.store import saved_filters
from pruning.subsets.decisions import Decision, decided


@pytest.fixture
def view(scored: Experiment) -> View:
    return View(scored, scored.settings.burn_in)


def found(view: View, **wanted: object) -> list[int]:
    return view.matching(Filter(**wanted), view.kept(view.subset("drop-hard"))).tolist()  # type: ignore[arg-type]


def test_search_ignores_letter_case_and_needs_every_word(view: View) -> None:
    texts = view.experiment.texts["text"].to_pylist()
    assert found(view, text="FILM") == [i for i, text in enumerate(texts) if "film" in text]
    assert found(view, text="film the") == [i for i, text in enumerate(texts) if "film" in text and "the" in text]
    assert found(view, text='"film the"') == [i for i, text in enumerate(texts) if "film the" in text]
    assert found(view, text="no such word") == []


def test_every_example_is_either_kept_or_pruned(view: View) -> None:
    kept, pruned = found(view, show="kept"), found(view, show="pruned")
    assert sorted(kept + pruned) == found(view) == list(range(120))
    assert (view.h[pruned] == 0).all()


def test_the_difference_between_two_subsets(view: View) -> None:
    here, there = view.kept(view.subset("drop-hard")), view.kept(view.subset("drop-easy"))
    only_here = view.matching(Filter(show="only here"), here, there)
    only_there = view.matching(Filter(show="only there"), here, there)
    assert set(view.h[only_here]) == {3}
    assert set(view.h[only_there]) == {0}


def test_filters_combine_with_and(view: View) -> None:
    labels = np.array(view.experiment.label_names)[view.experiment.labels]
    source = np.array(view.experiment.examples(["source.source"])["source.source"].to_pylist())
    confidence = view.score("confidence")
    wanted = found(
        view,
        levels=(1, 2, 3),
        labels=("positive",),
        column="source",
        values=("s0", "s2"),
        score="confidence",
        between=(0.4, 0.9),
        text="film",
    )
    texts = view.experiment.texts["text"].to_pylist()
    expected = (
        (view.h > 0)
        & (labels == "positive")
        & np.isin(source, ["s0", "s2"])
        & (confidence >= np.float32(0.4))
        & (confidence <= np.float32(0.9))
        & np.array(["film" in text for text in texts])
    )
    assert wanted == np.flatnonzero(expected).tolist()
    assert 0 < len(wanted) < 120


def test_filter_by_the_majority_prediction(view: View) -> None:
    votes = view.experiment.dynamics.predicted[:, -1]
    names = view.experiment.label_names
    expected = [i for i in range(120) if names[int(np.bincount(votes[:, i]).argmax())] == "negative"]
    assert found(view, predicted=("negative",)) == expected


def test_sorted_by_any_score(view: View) -> None:
    values = view.score("loss")
    down = found(view, sort="loss", descending=True)
    assert (np.diff(values[down]) <= 0).all()
    assert (np.diff(values[found(view, sort="loss")]) >= 0).all()
    assert found(view, descending=True) == list(range(119, -1, -1))


def test_filter_by_decided_suspected_or_duplicate_examples(view: View) -> None:
    view.experiment.decide(Decision(kind=DecisionKind.NOTE, ids=(4, 7), value="look again"))
    assert found(view, only="decided by hand") == [4, 7]
    errors = view.experiment.label_errors
    assert errors is not None
    assert found(view, only="suspected label errors") == errors.ranked.tolist() != []
    assert found(view, only="suspected label errors", descending=True) == errors.ranked[::-1].tolist()
    by_loss = found(view, only="suspected label errors", sort="loss")
    assert sorted(by_loss) == sorted(errors.ranked) and (np.diff(view.score("loss")[by_loss]) >= 0).all()
    assert (view.duplicates.group[found(view, only="duplicates")] >= 0).all()


def test_why_no_run_got_it_right_is_what_the_audit_says(view: View) -> None:
    kinds = {kind: found(view, only=name) for name, kind in conditions.HARD.items()}
    counts = findings(view.experiment, view.subset("full")).hard
    assert {str(kind): len(rows) for kind, rows in kinds.items()} == counts
    assert sorted(chain(*kinds.values())) == np.flatnonzero(view.h == 0).tolist() != []
    quality = view.experiment.label_errors.quality  # type: ignore[union-attr]
    assert (np.diff(quality[kinds[Hard.MISLABELLED]]) >= 0).all()


def test_beyond_a_size_what_takes_long_is_kept_before_it_is_shown(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "AT_ONCE", 100)
    again = View(Experiment(view.experiment.folder.root), view.burn_in)
    assert not again.audited
    _ = again.duplicates, again.label_errors, again.experiment.same_meaning
    assert not again.audited
    assert (again.hard != None).any() and again.audited  # noqa: E711
    assert View(Experiment(view.experiment.folder.root), 0).audited


def test_a_recording_without_probabilities_has_no_label_errors(scored: Experiment) -> None:
    for path in scored.folder.dynamics.glob("*/*.parquet"):
        table = pq.read_table(path)
        margin = pa.array(np.full(table.num_rows, np.nan, dtype=np.float32))
        pq.write_table(table.set_column(table.schema.get_field_index("gold_margin"), "gold_margin", margin), path)
    scored.folder.checksums.unlink()
    scored.folder.look.unlink()
    view = View(scored, 0)
    assert view.label_errors is None and found(view, only="H = 0: rare") == found(view, only="suspected label errors") == []


def test_cached_results_are_read_by_the_next_view(view: View) -> None:
    again = View(Experiment(view.experiment.folder.root), view.burn_in)
    assert not again.experiment.audited
    group, suspect = view.duplicates.group, view.experiment.label_errors.suspect  # type: ignore[union-attr]
    assert not again.experiment.audited
    rarity = view.experiment.rarity
    assert (again.experiment.rarity == rarity).all() and not again.experiment.audited
    _ = view.experiment.same_meaning
    assert again.experiment.audited
    assert (again.duplicates.group == group).all()
    assert (again.experiment.label_errors.suspect == suspect).all()  # type: ignore[union-attr]
    view.experiment.folder.cache("duplicates").write_bytes(b"damaged")
    assert (Experiment(view.experiment.folder.root).duplicates.group == group).all()


def test_decisions_are_seen_at_once(view: View) -> None:
    before = view.subset("full").size
    view.experiment.decide(drop := Decision(kind=DecisionKind.DROP, ids=(4, 7)))
    assert view.subset("full").size == before - 2
    view.experiment.decide(Decision(kind=DecisionKind.UNDO, value=drop.key))
    assert view.subset("full").size == before
    assert view.standing == [] and view.redoable is not None
    view.experiment.decide(Decision(kind=DecisionKind.UNDO, value=view.redoable.key))
    assert [act.key for act in view.standing] == [drop.key] and view.redoable is None


def test_decisions_and_their_totals_come_from_one_read(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who decides while the list is read is seen in both or in neither."""
    view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(4,)))
    read = view.experiment.decisions

    def read_and_decide() -> list[Decision]:
        found = read()
        view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(7,)))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(view.experiment, "decisions", read_and_decide)
        _, standing, state, _ = view._read_decisions()
    assert decided(standing) == state
    assert view.decided.dropped == {4, 7} and len(view.standing) == 2


def test_the_mask_of_a_subset_does_not_change_with_later_decisions(view: View) -> None:
    view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(4,)))
    before = view.subset("full")
    view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(7,)))
    assert np.flatnonzero(~view.kept(before)).tolist() == [4]
    assert np.flatnonzero(~view.kept(view.subset("full"))).tolist() == [4, 7]


def test_a_view_s_subsets_have_the_decisions_without_being_asked(view: View) -> None:
    view.experiment.decide(Decision(kind=DecisionKind.DROP, ids=(4,)))
    assert view.subset("full").name == "full+decisions" and view.rule("full").name == "full"
    assert view.subset("full+decisions").kept.tolist() == view.subset("full").kept.tolist()
    with pytest.raises(SubsetError, match=r"There is no subset 'full\+decisions'"):
        view.rule("full+decisions")


def test_threads_share_a_view(view: View) -> None:
    names, interval = ("full", "drop-easy", "drop-hard", "winning-ticket", "remove-0", "remove-0-1"), sys.getswitchinterval()
    expected = {name: View(view.experiment, view.burn_in).subset(name).size for name in names}

    def ask(turn: int) -> bool:
        subset = view.subset(names[turn % 6])
        matching = view.matching(Filter(text=str(turn % 20), show="kept"), view.kept(subset))
        return subset.size == expected[names[turn % 6]] and not len(matching)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(600)))
    finally:
        sys.setswitchinterval(interval)


def test_class_shares_follow_labels_changed_by_hand(view: View) -> None:
    everything = np.ones(120, dtype=bool)
    assert view.labels is not None and (view.labels == view.experiment.labels).all()
    negative = view.experiment.label_names.index("negative")
    ids = np.flatnonzero(view.labels == negative)
    view.experiment.decide(Decision(kind=DecisionKind.RELABEL, ids=tuple(ids.tolist()), value="positive"))
    assert (view.labels != negative).all()
    assert all(words in class_shares_sentence(view, everything) for words in ("to 100%", "to 0%"))
    assert class_shares_sentence(view, everything, most=1).endswith(", and 1 more.")


def test_one_row_is_read_from_its_part_of_the_file(view: View) -> None:
    assert view.row(77)["text"] == view.experiment.texts["text"][77].as_py()
    with pytest.raises(IndexError):
        view.row(120)


def test_computing_a_score_frees_its_intermediate_arrays(view: View) -> None:
    view.score("aum")
    assert "gold_margin" not in vars(view.experiment.dynamics)
    assert len(view.score("aum")) == 120


def test_a_box_on_the_map_selects_by_both_axes() -> None:
    x, y = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.6, 0.9], np.float32)
    assert inside(x, y, [(0.1, 0.6), (0.2, 1.0)]).tolist() == [False, True, False]


def test_views_are_saved_by_name_and_forgotten(scored: Experiment) -> None:
    folder = scored.folder
    saved_filters.save(folder, "wrong", {"only": "suspected label errors"})
    saved_filters.save(folder, "films", {"q": "film"})
    saved_filters.save(folder, "wrong", {"only": "duplicates", "h": [0, 1]})
    assert saved_filters.saved(folder) == {"wrong": {"only": "duplicates", "h": [0, 1]}, "films": {"q": "film"}}
    saved_filters.save(folder, "wrong", None)
    assert list(saved_filters.saved(folder)) == ["films"]


def test_source_columns_have_their_own_names(scored: Experiment) -> None:
    assert browse.source_columns(scored) == ["sentence", "label", "source"]


def test_a_cell_of_the_confusion_has_its_examples(scored: Experiment) -> None:
    """Those of its label that a run predicted so; each run that did is counted once, whatever decisions changed."""
    scored.decide(Decision(kind=DecisionKind.RELABEL, ids=(int(scored.ids[4]),), value=scored.label_names[1]))
    view = View(scored, scored.settings.burn_in)
    counts, labels, last = view.confusion, view.labels, scored.dynamics.predicted[:, -1]
    assert counts is not None and labels is not None and labels[4] == 1
    everything = np.ones(len(view.h), dtype=bool)
    for gold, name in enumerate(scored.label_names):
        for said, predicted in enumerate(scored.label_names):
            found = view.matching(Filter(labels=(name,), answered=(predicted,)), everything)
            assert found.tolist() == np.flatnonzero((labels == gold) & (last == said).any(axis=0)).tolist()
            assert counts.loc[name, predicted] == pytest.approx((last[:, found] == said).sum() / len(last))
    assert counts.to_numpy().sum() == pytest.approx(len(view.h))
