"""Groups that lose under a subset: by hand, planted, and by chance."""

from math import isnan

import numpy as np
import pytest
from scipy import stats

from pruning.analysis.groups import LEVEL, Groups, Slicing, groups


def sliced(random: np.random.Generator, examples: int, columns: int) -> list[Slicing]:
    """Columns of 2 to 11 values of very different frequency, which have nothing to do with anything."""
    found = []
    for place in range(columns):
        values = int(random.integers(2, 12))
        codes = random.choice(values, examples, p=random.dirichlet(np.ones(values)))
        names = tuple(map(str, range(values)))
        found.append(Slicing(column=f"column {place}", names=names, evaluation=codes, training=codes))
    return found


def simulated(random: np.random.Generator, seeds: int, examples: int, drop: float, lost: float = 0.0) -> Groups:
    """Full data and a subset that costs every example `drop` logits, and the first value of the first column `lost` more.

    Each example has a difficulty, the subset changes each a little for good, and each fine-tuning likes some groups better than others.
    """
    slicings = sliced(random, examples, 6)
    logits = stats.logistic.ppf(np.clip(random.beta(3, 1, examples), 0.02, 0.98))
    lasting = random.normal(0, 0.5, examples) - drop - lost * (slicings[0].evaluation == 0)
    sides: list[dict[int, np.ndarray]] = [{}, {}]
    for seed in range(seeds):
        for side, effect in zip(sides, (0.0, lasting), strict=True):
            luck = sum(random.normal(0, 0.3, len(one.names))[one.evaluation] for one in slicings)
            side[seed] = random.random(examples) < stats.logistic.cdf(logits + effect + luck)
    return groups("mine", *sides, slicings, np.arange(examples) % 2 == 0)


@pytest.mark.process
@pytest.mark.process
@pytest.mark.parametrize(("seeds", "drop"), [(3, 0.0), (3, 0.4), (6, 0.4)])
def test_where_no_group_loses_more_a_flag_is_rare(seeds: int, drop: float) -> None:
    """A subset that costs every example the same is no reason for a flag: at most 5% of 200 simulations have one."""
    random = np.random.default_rng(seeds)
    flagged = sum(bool(simulated(random, seeds, 600, drop).losing) for _ in range(200))
    assert flagged <= 200 * LEVEL


def test_a_planted_loss_is_found_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    found = [simulated(random, 3, 1000, 0.2, lost=3.0) for _ in range(20)]
    testable = [each for each in found if any(row.name == "column 0 = 0" and not isnan(row.p_value) for row in each.rows)]
    hits = sum("column 0 = 0" in {row.name for row in each.losing} for each in testable)
    others = sum(len({row.name for row in each.losing} - {"column 0 = 0"}) > 0 for each in testable)
    assert len(testable) > 10 and hits > 0.6 * len(testable) and others <= 3


def test_accuracies_changes_and_floors_by_hand() -> None:
    """40 of group a, whose accuracy falls from .75 to .25 with every seed; 60 of b, all right. A quarter of a's examples is kept."""
    codes = np.repeat([0, 1], [40, 60])
    full = np.ones((3, 100), dtype=bool)
    full[:, :10] = False
    ours = full.copy()
    ours[:, 10:30] = False
    slicing = Slicing(column="source", names=("a", "b", "unused"), evaluation=codes, training=codes)
    kept = np.arange(100) % 4 == 0
    kept[40:] = True
    found = groups("mine", dict(enumerate(full)), dict(enumerate(ours)), [slicing], kept)
    a, b = found.rows
    assert (a.name, a.evaluated, a.full, a.subset, a.change.mean, a.others) == ("source = a", 40, 0.75, 0.25, -0.5, 0.0)
    assert (a.kept, a.total, a.floor, a.loses) == (10, 40, 25, True) and (b.floor, b.loses, round(b.p_value, 6)) == (None, False, 1.0)
    assert found.tested == 2 and found.sentence.startswith("1 group loses more under mine than the other examples do, of 2 tested")
    assert a.sentence == (
        f"source = a loses 50.0 pp [{100 * a.change.low:+.1f}, {100 * a.change.high:+.1f}] on 40 evaluation examples; "
        "all others change by +0.0 pp. Keeps 10 of 40; proposed floor: 25."
    )
    deviation = float(np.repeat([0.0, -1.0], [20, 20]).std(ddof=1)) / 40**0.5
    assert (a.change.high - a.change.low) / 2 == pytest.approx(stats.t.ppf(0.975, 39) * deviation)


def test_p_values_are_corrected_for_the_number_of_groups() -> None:
    random = np.random.default_rng(3)
    full, ours = ({seed: random.random(400) < share for seed in range(4)} for share in (0.8, 0.7))
    half = np.repeat([0, 1], 200)
    one = Slicing(column="half", names=("first", "second"), evaluation=half, training=None)
    many = sliced(random, 400, 8)
    alone = {row.value: row.p_value for row in groups("mine", full, ours, [one], np.ones(0, bool)).rows}
    among = {row.value: row.p_value for row in groups("mine", full, ours, [one, *many], np.ones(400, bool)).rows if row.column == "half"}
    assert min(alone.values()) < 0.5 and min(among.values()) > min(alone.values())


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_and_small_groups_are_not_tested(seeds: int) -> None:
    codes = np.repeat([0, 1], [10, 90])
    sides = [{seed: np.full(100, right) for seed in range(seeds)} for right in (True, False)]
    slicing = Slicing(column="source", names=("small", "large"), evaluation=codes, training=None)
    few = groups("mine", *sides, [slicing], np.ones(0, bool))
    assert few.tested == 0 and not few.losing and f"there are {seeds}" in few.sentence
    more = [dict.fromkeys(range(5), side[0]) for side in sides]
    assert groups("mine", *more, [slicing], np.ones(0, bool)).tested == 0, "one of the two is too small to compare with"
    assert groups("mine", {1: np.ones(3, bool)}, {2: np.ones(3, bool)}, [], np.ones(0, bool)).missing
