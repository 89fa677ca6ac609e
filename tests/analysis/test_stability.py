from itertools import combinations
from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pruning.analysis.scores import h_score
from pruning.analysis.stability import stability
from pruning.errors import UsageError
from tests.support.recordings import recording


@pytest.mark.process
@given(st.integers(2, 9), st.integers(1, 3), st.integers(5, 80), st.integers(0, 2**31))
def test_what_the_last_run_added_is_counted(runs: int, epochs: int, examples: int, seed: int) -> None:
    """The closed form (f_1 + f_(R-1)) / (R |ticket|) against leaving out each run in turn."""
    correct = recording(runs, epochs, examples, 2, seed).correct
    found = stability(correct, resamples=5)
    h = h_score(correct)
    ticket = (h > 0) & (h < runs)
    assert found.ticket == ticket.sum()
    if ticket.any():
        without = [h_score(np.delete(correct, run, axis=0)) for run in range(runs)]
        new = [(ticket & ~((fewer > 0) & (fewer < runs - 1))).sum() / ticket.sum() for fewer in without]
        assert found.last_run_added == pytest.approx(np.mean(new))


def test_halves_agree_as_computed_directly() -> None:
    """Four runs: three ways to halve them; mean Spearman and Jaccard against scipy, then stepped up from two runs to four."""
    correct = recording(4, 2, 300, 2, 3).correct
    splits = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
    pairs = [(h_score(correct[a]), h_score(correct[b])) for a, b in splits]
    half = np.mean([spearmanr(a, b).statistic for a, b in pairs])
    found = stability(correct)
    assert found.rank_agreement == pytest.approx(2 * half / (1 + half))
    assert found.half_jaccard == pytest.approx(np.mean([((a == 1) & (b == 1)).sum() / ((a == 1) | (b == 1)).sum() for a, b in pairs]))
    assert found.rank_ci95[0] < found.rank_agreement < found.rank_ci95[1]


def test_what_more_runs_would_find_is_near_what_they_find() -> None:
    """Twelve runs, of which six are seen: forecast ticket within 5%, rank agreement of two scorings within .05."""
    rates = np.random.default_rng(0).beta(0.6, 0.4, size=4000)
    right = np.random.default_rng(1).random((24, 1, 4000)) < rates
    found = stability(right[:6])
    h = right[:12, 0].sum(axis=0)
    assert found.outlook[1].runs == 12
    assert found.outlook[1].ticket == pytest.approx(((h > 0) & (h < 12)).sum(), rel=0.05)
    assert found.outlook[1].rank_agreement == pytest.approx(spearmanr(h, right[12:, 0].sum(axis=0)).statistic, abs=0.05)
    assert found.ticket <= found.outlook[0].ticket <= found.outlook[1].ticket


def test_ranks_settle_with_runs_while_the_set_grows() -> None:
    rates = np.random.default_rng(0).beta(0.6, 0.4, size=2000)
    right = np.random.default_rng(1).random((30, 1, 2000)) < rates
    few, many = stability(right[:4]), stability(right)
    assert not few.ranks_settled(0.95)
    assert many.ranks_settled(0.95)
    assert many.ticket > few.ticket


@pytest.mark.process
def test_ranks_are_called_settled_too_early_as_rarely_as_promised() -> None:
    """Runs of unequal strength: the lower end of the interval lies above what two scorings really agree to in at most 5% of 80."""
    random = np.random.default_rng(0)

    def scored(rates: Any, runs: int = 6) -> Any:
        odds = np.log(rates / (1 - rates)) + random.normal(0, 0.5, size=(runs, 1, 1))
        return random.random((runs, 1, len(rates))) < 1 / (1 + np.exp(-odds))

    many = random.beta(0.6, 0.9, size=20_000).clip(1e-4, 1 - 1e-4)
    true = np.mean([spearmanr(h_score(scored(many)), h_score(scored(many))).statistic for _ in range(10)])
    found = [stability(scored(random.choice(many, 1000)), resamples=40) for _ in range(80)]
    assert np.mean([each.rank_ci95[0] > true for each in found]) <= 0.05
    assert np.mean([each.rank_ci95[0] for each in found]) > true - 0.15
    assert all(isnan(end) for end in stability(scored(many, 2)[:, :, :50]).rank_ci95)


def test_stability_is_undefined_for_one_run_or_identical_answers() -> None:
    one = stability(recording(1, 2, 20, 2, 0).correct)
    assert isnan(one.rank_agreement) and not one.ranks_settled(0.5)
    assert "One run" in one.sentence and one.so_far == f"After 1 run: {one.sentence}"
    same = stability(np.ones((4, 2, 20), dtype=bool))
    assert same.ticket == 0 and isnan(same.last_run_added) and "same for every" in same.sentence
    assert same.half_jaccard_ci95 == (pytest.approx(nan, nan_ok=True), pytest.approx(nan, nan_ok=True))


def test_one_of_two_runs_always_right_cannot_tell() -> None:
    right = np.ones((2, 1, 20), dtype=bool)
    right[0, 0, :5] = False
    found = stability(right)
    assert "In half of the runs" in found.sentence and found.ticket == 5
    assert found.about_halves == found.about_more == ""


def test_the_ticket_of_fewer_runs_is_the_mean_over_which_they_are() -> None:
    correct = recording(4, 2, 300, 2, 3).correct
    found = stability(correct, resamples=5)
    for outlook in found.by_runs:
        chosen = [h_score(correct[list(runs)]) for runs in combinations(range(4), outlook.runs)]
        assert outlook.ticket == round(np.mean([((h > 0) & (h < outlook.runs)).sum() for h in chosen]))
    assert [outlook.runs for outlook in found.by_runs] == [1, 2, 3, 4]
    assert found.by_runs[1].rank_agreement == pytest.approx(found.half_rank)
    assert (found.by_runs[-1].ticket, found.by_runs[-1].rank_agreement) == (found.ticket, pytest.approx(found.rank_agreement))


def test_halves_and_more_runs_are_described_with_their_numbers() -> None:
    found = stability(recording(4, 2, 300, 2, 3).correct)
    assert f"rank agreement (Spearman) {found.half_rank:.2f} (95% interval {found.half_rank_ci95[0]:.2f} to" in found.about_halves
    assert f"split-half overlap (Jaccard) {found.half_jaccard:.0%}" in found.about_halves
    assert f"with 10: about {found.outlook[1].ticket} and {found.outlook[1].rank_agreement:.2f}." in found.about_more
    assert "overlap" not in stability(recording(3, 2, 300, 2, 3).correct).about_halves


@pytest.mark.parametrize(("low", "high", "how"), [(0.05, 0.95, "well"), (0.3, 0.7, "moderately"), (0.45, 0.55, "only weakly")])
def test_rank_agreement_is_put_in_words(low: float, high: float, how: str) -> None:
    """Six runs of examples that are right with probability `low` or `high`: the wider apart, the better two scorings agree."""
    rates = np.repeat([low, high], 500)
    found = stability(np.random.default_rng(0).random((6, 1, 1000)) < rates)
    assert found.sentence.startswith(f"6 more runs would agree {how} with these (Spearman {found.rank_agreement:.2f}). The last run added ")


def test_stability_handles_more_than_eight_runs() -> None:
    correct = recording(13, 2, 400, 2, 0).correct
    assert stability(correct, resamples=2).ticket == ((h_score(correct) > 0) & (h_score(correct) < 13)).sum()


def test_burn_in_must_leave_an_epoch() -> None:
    with pytest.raises(UsageError, match="must be 0 to 1"):
        stability(np.ones((2, 2, 3), dtype=bool), burn_in=2)
