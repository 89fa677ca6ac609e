"""Two experiments compared on the examples that both have."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pruning.errors import UsageError
from pruning.experiment import Experiment
from pruning.interop.recorder import Recorder
from pruning.reports import comparison
from pruning.reports.browse import View
from pruning.reports.conditions import Filter
from pruning.subsets.rules import TICKET


def recorded(folder: Path, texts: list[str], runs: int, seed: int) -> Experiment:
    """An experiment of these texts, recorded from random logits that lean to the label."""
    source = folder.parent / f"{folder.name}.jsonl"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(json.dumps({"text": text, "label": ("bad", "good")[len(text) % 2]}) + "\n" for text in texts))
    recorder = Recorder(folder, source, epochs=2, runs=runs)
    random = np.random.default_rng(seed)
    ease = random.normal(1, 1, size=(len(texts), 1))
    for one in recorder.seeds:
        run = recorder.run(one)
        for _ in range(2):
            run.add(np.arange(len(texts)), ease * np.eye(2)[recorder.labels] + random.normal(size=(len(texts), 2)))
    return Experiment(folder)


def texts(*numbers: int) -> list[str]:
    return [f"a text of {chr(ord('a') + number % 26) * (number + 2)}" for number in numbers]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Experiment, Experiment]:
    """Texts 0 to 39 in three runs, and 20 to 49, backwards, in five."""
    return (
        recorded(tmp_path / "one", texts(*range(40)), 3, seed=0),
        recorded(tmp_path / "two", texts(*range(49, 19, -1)), 5, seed=1),
    )


def test_only_examples_that_both_have_are_compared_text_by_text(pair: tuple[Experiment, Experiment]) -> None:
    one, two = pair
    found = comparison.compare(one, two)
    first, second = found.places
    assert first.tolist() == list(range(20, 40)) and second.tolist() == list(range(29, 9, -1))
    h, other = one.h_score()[first], two.h_score()[second]
    for a in range(4):
        for b in range(6):
            assert found.counts[a, b] == ((h == a) & (other == b)).sum()
    assert found.rank_agreement == pytest.approx(stats.spearmanr(h, other).statistic)
    mine, theirs = (
        set(np.flatnonzero(np.isin(reading.ids, reading.rule(TICKET).kept)[place]))
        for reading, place in zip(pair, found.places, strict=True)
    )
    assert found.overlap == pytest.approx(len(mine & theirs) / len(mine | theirs))
    assert found.sentences[0] == "20 examples are in both (40 in one, 30 in two)."


def test_examples_whose_h_changed_most_come_first_with_their_text(pair: tuple[Experiment, Experiment]) -> None:
    one, two = pair
    rows = comparison.changed(one, comparison.compare(one, two), most=50)
    steps = [abs(row["h"][1] / 5 - row["h"][0] / 3) for row in rows]
    assert steps == sorted(steps, reverse=True) and min(steps) > 0 and len(rows) > 5
    for row in rows:
        assert row["text"].strip() == one.texts["text"][row["id"]].as_py()
        assert row["h"][0] == one.h_score()[row["id"]]


def test_the_same_data_is_matched_by_id(scored: Experiment) -> None:
    found = comparison.compare(scored, scored)
    assert found.rank_agreement == 1 and found.overlap == 1 and not found.change.any()
    assert found.counts.tolist() == np.diag(np.bincount(scored.h_score(), minlength=4)).tolist()
    assert comparison.changed(scored, found) == []


def test_experiments_without_a_common_example_are_refused(tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "one", texts(*range(6)), 2, 0), recorded(tmp_path / "two", texts(*range(10, 16)), 2, 0)
    with pytest.raises(UsageError, match="one and two have no example in common"):
        comparison.compare(one, two)


def test_a_filter_takes_h_in_the_other_experiment(pair: tuple[Experiment, Experiment]) -> None:
    one, two = pair
    view, everything = View(one, 0), np.ones(40, dtype=bool)
    found = comparison.compare(one, two)
    for a, b in np.argwhere(found.counts):
        shown = view.matching(Filter(levels=(int(a),), beside="two", beside_levels=(int(b),)), everything)
        assert len(shown) == found.counts[a, b]
    assert len(view.matching(Filter(beside="two", beside_levels=tuple(range(6))), everything)) == 20
