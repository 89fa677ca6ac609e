"""The race: what it asks for, when it ends, and that it accepts nothing the paired test does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.analysis.frontier import paired_values
from pruning.analysis.racing import AT_ONCE, Candidate, Rules, Standing, State, Step, advance, explain
from pruning.analysis.recommendation import at_look, lower_bound

SEEDS = 6
FULL = [0.80, 0.81, 0.79, 0.80, 0.805, 0.795]


def run(candidates: list[Candidate], full: list[float], accuracy: dict[str, list[float]], rules: Rules) -> list[Step]:
    """Race to the end; every step."""
    done, steps = dict.fromkeys(accuracy, 0), list[Step]()
    while not steps or steps[-1].pieces:
        steps.append(advance(candidates, full, {name: accuracy[name][:count] for name, count in done.items()}, rules))
        for name, place in steps[-1].pieces:
            assert place == done[name] < rules.seeds, "seeds come in their order, none twice"
            done[name] += 1
    return steps


def made(differences: dict[float, list[float]]) -> tuple[list[Candidate], dict[str, list[float]]]:
    """Candidates by share kept, each with its differences to full data by seed."""
    candidates = [Candidate(name=f"c{share:g}", kept=round(1000 * share), cost=share) for share in differences]
    return candidates, {f"c{share:g}": np.add(FULL, values).tolist() for share, values in differences.items()}


def test_every_candidate_gets_one_seed_first_smallest_first() -> None:
    candidates, accuracy = made({0.5: [0.0] * SEEDS, 0.2: [0.0] * SEEDS})
    [first, *_] = run(candidates, FULL, accuracy, Rules(seeds=SEEDS))
    assert first.pieces == (("c0.2", 0), ("c0.5", 0)) and first.spent == 0
    assert [found.state for found in first.standings] == [State.WAITING] * 2


def test_the_smallest_that_passes_is_chosen_and_larger_ones_get_no_more_seeds() -> None:
    candidates, accuracy = made({0.5: [0.0] * SEEDS, 0.2: [0.001, 0.0, 0.001, 0.0, 0.001, 0.0]})
    last = run(candidates, FULL, accuracy, Rules(seeds=SEEDS))[-1]
    assert last.chosen == "c0.2" and [found.seeds for found in last.standings] == [3, 1]
    assert last.spent == pytest.approx(3 * 0.2 + 0.5) and explain(last, Rules(seeds=SEEDS)) == ""


def test_a_clear_loss_is_dropped_after_one_seed_and_the_next_larger_is_tested() -> None:
    candidates, accuracy = made({0.5: [0.001, 0.0, 0.001, 0.0, 0.001, 0.0], 0.2: [-0.2] * SEEDS})
    last = run(candidates, FULL, accuracy, Rules(seeds=SEEDS))[-1]
    assert last.chosen == "c0.5" and last.standings[0].state is State.DROPPED and last.standings[0].seeds == 1


def test_where_every_candidate_loses_it_ends_and_says_what_it_would_take() -> None:
    candidates, accuracy = made({0.5: [-0.1] * SEEDS, 0.2: [-0.2] * SEEDS})
    rules = Rules(seeds=SEEDS)
    last = run(candidates, FULL, accuracy, rules)[-1]
    assert last.chosen is None and not last.out_of_budget and last.spent == pytest.approx(0.7)
    assert explain(last, rules).startswith(
        "No smaller set was shown to be within 0.5 pp of full data. The best, c0.5, is at -10.0 pp after 1"
    )
    assert "--give-up 10.1" in explain(last, rules)


def test_a_candidate_within_the_margin_needs_seeds_and_not_a_larger_margin() -> None:
    one, other = (Candidate(name=name, kept=kept, cost=0.5) for name, kept in (("small", 5), ("large", 9)))
    standings = (
        Standing(candidate=one, state=State.OPEN, seeds=1, mean=0.001, chance=0.3),
        Standing(candidate=other, state=State.FAILED, seeds=3, mean=-0.003, chance=0.05),
    )
    told = explain(Step(standings=standings, spent=2.0), Rules(seeds=SEEDS))
    assert "The best, small, is at +0.1 pp after 1 of 6 seeds." in told and "measure more seeds" in told and "--give-up" not in told


def test_a_spent_budget_names_the_flag_that_would_continue() -> None:
    candidates, accuracy = made({0.5: [0.0, 0.02, -0.02, 0.0, 0.01, -0.01], 0.4: [0.0, 0.02, -0.02, 0.0, 0.01, -0.01]})
    rules = Rules(seeds=SEEDS, budget=1.0)
    last = run(candidates, FULL, accuracy, rules)[-1]
    assert last.chosen is None and last.out_of_budget and last.spent <= 1.0 and "--budget-runs" in explain(last, rules)
    asked, with_full = (float(explain(last, rules, beside).split("--budget-runs ")[1].rstrip(".")) for beside in (0.0, 4.0))
    assert asked > 1.0 and with_full == pytest.approx(asked + 4.0)
    nothing = advance(candidates, FULL, {}, Rules(seeds=SEEDS, budget=0.1))
    assert not nothing.pieces and nothing.out_of_budget and "raise the budget" in explain(nothing, rules)


@given(
    st.lists(
        st.tuples(st.floats(0.05, 0.95), st.floats(-0.05, 0.01)), min_size=1, max_size=6, unique_by=lambda pair: round(1000 * pair[0])
    ),
    st.integers(3, 8),
    st.floats(0.0, 0.05),
    st.floats(0.1, 8.0),
    st.integers(0, 2**31),
)
def test_a_race_of_any_results_ends_within_budget_and_accepts_only_what_passes(
    truth: list[tuple[float, float]], seeds: int, margin: float, budget: float, seed: int
) -> None:
    """The race ends, stays within its budget, repeats itself from any point, and accepts only what passes the paired test."""
    random = np.random.default_rng(seed)
    full = random.normal(0.8, 0.005, seeds)
    candidates = [Candidate(name=f"c{place}", kept=round(1000 * size), cost=size) for place, (size, _) in enumerate(truth)]
    accuracy = {f"c{place}": (full + lost + random.normal(0, 0.006, seeds)).tolist() for place, (_, lost) in enumerate(truth)}
    rules = Rules(seeds=seeds, margin=margin, budget=budget)
    steps = run(candidates, full.tolist(), accuracy, rules)
    last = steps[-1]
    assert len(steps) <= 1 + len(truth) * seeds and last.spent <= budget + 1e-6
    assert all(len(step.pieces) <= max(AT_ONCE, len(truth)) for step in steps)
    assert run(candidates[::-1], full.tolist(), accuracy, rules)[-1] == last, "the order of the candidates is of no account"
    if last.chosen is None:
        assert explain(last, rules)
        return
    [chosen] = [found for found in last.standings if found.candidate.name == last.chosen]
    values = np.subtract(accuracy[last.chosen][: chosen.seeds], full[: chosen.seeds])
    bounds = [lower_bound(paired_values(values[:n]), at_look(1, 0.95)) for n in {3, chosen.seeds} if n <= chosen.seeds]
    assert chosen.seeds >= 3 and max(bounds) > -margin and chosen.state is State.PASSED
