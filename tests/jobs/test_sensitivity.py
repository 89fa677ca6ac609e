"""An experiment scored again with one thing changed each time."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruning.errors import ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.jobs import sensitivity as job
from pruning.reports import comparison
from tests.support.commands import winnow
from tests.support.pages import open_page


def stamps(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in root.rglob("epoch=*.parquet")}


@pytest.mark.process
def test_only_what_was_asked_is_scored_once_and_compared_with_the_noise_floor(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root
    found = job.sensitivity(root, ["rate-double", "runs-half"])
    assert [path.name for path in scored.folder.variations] == ["rate-double", "seeds"]
    by_name = {row.name: row for row in found.rows}
    assert found.rows[0].name == "seeds" and set(by_name) == {"seeds", "rate-double", "runs-half"}
    floor, rate = (Experiment(scored.folder.variation(name)) for name in ("seeds", "rate-double"))
    assert floor.settings.seeds == rate.settings.seeds and not {*floor.settings.seeds} & {*scored.settings.seeds}
    assert rate.settings.train == replace(scored.settings.train, learning_rate=2 * scored.settings.train.peak)
    assert by_name["rate-double"].words == "learning rate 5e-3 to 1e-2" and by_name["runs-half"].words == "runs 3 to 1"
    for name, other in (("seeds", floor), ("rate-double", rate)):
        both = comparison.compare(scored, other)
        assert (by_name[name].rank_agreement, by_name[name].overlap) == (both.rank_agreement, both.overlap)
        assert by_name[name].accuracy == pytest.approx(other.finished()["accuracy"].mean())
    h = floor.reading(scored.burn_in).dynamics.correct[:1, scored.burn_in :].all(axis=1).sum(axis=0)
    assert by_name["runs-half"].kept_fraction == np.mean((h > 0) & (h < 1)) == 0
    before = stamps(root)
    again = winnow("sensitivity", root, "--variations", "rate-double", "--json")
    assert again.returncode == 0, again.stderr
    assert "nothing is left to train" in again.stderr and stamps(root) == before
    assert json.loads(again.stdout)["sentence"] == found.sentence
    app = open_page("difficulty", root.parent, monkeypatch)
    assert not app.exception and found.sentence in [text.value for text in app.text]


@pytest.mark.process
def test_an_unfinished_variation_is_finished_and_one_that_diverges_is_reported(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root
    job.sensitivity(root, ["seeds"])
    floor = Experiment(scored.folder.variation("seeds"))
    shutil.rmtree(floor.folder.epoch(2, 0).parent)
    [row, *_] = job.report(Experiment(root)).rows
    assert row.problem.startswith("2 of 3 runs are complete") and "score the variation seeds first" in job.report(Experiment(root)).sentence
    kept = {name: stamp for name, stamp in stamps(root).items() if "run=2" not in name}
    monkeypatch.setitem(job.VARIATIONS, "rate-double", lambda settings: settings.with_changes(learning_rate=1e30))  # type: ignore[arg-type]
    found = {row.name: row for row in job.sensitivity(root, ["rate-double"]).rows}
    assert not found["seeds"].problem and kept.items() <= stamps(root).items()
    assert "NaN" in found["rate-double"].problem and not found["rate-double"].matters
    shown = winnow("sensitivity", root, "--variations", "seeds")
    assert "rate-double: " in shown.stdout and "What this ticket depends on" in shown.stdout


@pytest.mark.process
def test_what_cannot_be_varied_is_refused(scored: Experiment, tmp_path: Path) -> None:
    root = scored.folder.root
    with pytest.raises(UsageError, match="variations must be any of seeds, rate-half"):
        job.sensitivity(root, ["rate-triple"])
    unknown = winnow("sensitivity", root, "--variations", "rate-half,nothing")
    assert unknown.returncode == 2 and "--variations" in unknown.stderr
    none = winnow("sensitivity", root, "--model", tmp_path / "nowhere", "--estimate")
    assert none.returncode == 1 and "There is no folder" in none.stderr and not scored.folder.variations
    shutil.rmtree(scored.folder.epoch(2, 0).parent)
    with pytest.raises(ExperimentError, match="not scored completely"):
        job.sensitivity(root)


def test_the_plan_is_six_variations_and_a_model_of_its_own_rate(scored: Experiment) -> None:
    plan = job.planned(scored, job.DEFAULT)
    assert len(plan) == 6 and next(iter(plan)) == "seeds"
    changed = {name: settings.train for name, settings in plan.items()}
    base = scored.settings.train
    assert [changed[name].learning_rate for name in ("seeds", "rate-half", "rate-double")] == [5e-3, 2.5e-3, 1e-2]
    assert (changed["batch-double"].batch_size, changed["epochs-more"].epochs) == (2 * base.batch_size, 4)
    assert len(plan["runs-half"].seeds) == 1 and not any(settings.look for settings in plan.values())
    other = job.planned(scored, ["seeds"], "models/Large")["model-large"]
    assert other.model == "models/Large" and other.train.learning_rate is None
    with pytest.raises(UsageError, match="leaves 2 of 3 epochs, which burn-in 2 does not count"):
        job.planned(scored, ["epochs-fewer"])
