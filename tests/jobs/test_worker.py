import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from pruning.analysis.frontier import rows_sha256
from pruning.errors import Cancelled, ExperimentError, ModelError, SubsetError, UsageError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import worker
from pruning.records import DecisionKind, JobState
from pruning.settings import Settings
from pruning.store.lock import owned
from pruning.subsets.decisions import Decision
from tests.conftest import EPOCHS, SEEDS
from tests.support.commands import winnow

pytestmark = pytest.mark.process


def test_full_data_is_measured_by_the_scoring_itself(scored: Experiment) -> None:
    """The scoring runs are fine-tunings of full data with the frontier's own recipe, so they are its first points."""
    finished = scored.finished()
    assert finished["subset"].tolist() == ["full"] * 3
    assert sorted(finished["seed"]) == sorted(SEEDS)
    assert finished["accuracy"].between(0, 1).all()


def test_the_same_settings_give_identical_recordings(scored: Experiment, settings: Settings, tmp_path: Path) -> None:
    again = worker.score(settings, tmp_path / "again").dynamics
    for name in ("correct", "gold_prob", "gold_margin", "error_norm", "loss", "predicted", "position"):
        assert np.array_equal(getattr(again, name), getattr(scored.dynamics, name)), name


def test_different_seeds_differ(scored: Experiment) -> None:
    probabilities = scored.dynamics.gold_prob
    assert not np.array_equal(probabilities[0], probabilities[1])


def test_resume_redoes_only_what_is_missing(scored: Experiment) -> None:
    before = scored.dynamics
    kept = scored.folder.epoch(0, 0)
    stamp = kept.stat().st_mtime_ns
    scored.folder.epoch(1, 1).unlink()
    again = worker.resume(scored.folder.root)
    assert kept.stat().st_mtime_ns == stamp
    assert np.array_equal(again.dynamics.gold_prob, before.gold_prob)
    assert sorted(again.finished()["seed"]) == sorted(SEEDS)


def test_scoring_ends_when_the_ranks_are_stable_and_goes_on_when_asked(settings: Settings, tmp_path: Path) -> None:
    """Any agreement is enough for a threshold near 0, so four of the six runs are trained; asked without one, the others follow."""
    asked = settings.with_changes(seeds=(1, 2, 3, 4, 5, 6), burn_in=2, stop_when_stable=0.001)
    folder = tmp_path / "stable"
    experiment = worker.score(asked, folder)
    assert experiment.dynamics.runs == experiment.settings.runs == 4
    assert experiment.stopped.startswith("Scoring stopped after 4 of 6 runs") and experiment.info["stopped"] == experiment.stopped
    stamp = experiment.folder.epoch(3, 0).stat().st_mtime_ns
    assert worker.score(asked, folder).settings.runs == worker.resume(folder).settings.runs == 4
    more = worker.score(asked.with_changes(stop_when_stable=None), folder)
    assert more.dynamics.seeds == asked.seeds and more.stopped == ""
    assert experiment.folder.epoch(3, 0).stat().st_mtime_ns == stamp


def test_frontier_measures_and_keeps_its_points(scored: Experiment) -> None:
    names = ["remove-0", f"remove-{len(SEEDS)}"]
    trainable = [name for name in names if scored.subset(name).size > 10]
    measured = worker.frontier(scored.folder.root, trainable, ["random"], seeds=2)
    points = {point.subset: point for point in measured.frontier()}
    assert set(points) == {"full", *trainable, *(f"random@{name}" for name in trainable)}
    for name in trainable:
        assert points[name].seeds == 2
        assert points[name].kept == points[f"random@{name}"].kept == scored.subset(name).size
        assert points[name].vs_random is not None
    rows = len(measured.finished())
    assert len(worker.frontier(scored.folder.root, trainable, ["random"], seeds=2).finished()) == rows


def test_the_columns_of_the_frontier_are_those_of_the_public_format(scored: Experiment) -> None:
    """Fine-tunings of the scoring, of two names at once, and of rows that were trained under another name before."""
    worker.frontier(scored.folder.root, ["drop-hard", "drop-hard and full"], [], seeds=1)
    measured = worker.frontier(scored.folder.root, ["remove-0"], [], seeds=1)
    columns = [(field.name, str(field.type)) for field in pq.read_schema(measured.folder.frontier)]
    assert columns == [
        ("subset", "large_string"),
        ("method", "large_string"),
        ("rule", "large_string"),
        ("kept", "int64"),
        ("kept_fraction", "double"),
        ("rows_sha256", "large_string"),
        ("budget", "large_string"),
        ("burn_in", "int64"),
        ("seed", "int64"),
        ("epochs", "int64"),
        ("seconds", "double"),
        ("steps", "int64"),
        ("finished", "double"),
        ("accuracy", "double"),
        ("macro_f1", "double"),
        ("mcc", "double"),
        ("micro_batch", "int64"),
        ("tokens", "int64"),
        ("stuck", "bool"),
        ("class_accuracy.negative", "double"),
        ("class_accuracy.positive", "double"),
        ("compute_seconds", "double"),
        ("evaluation_seconds", "double"),
        ("model", "large_string"),
        ("right", "list<element: bool>"),
    ]
    assert len(measured.finished()) == len(SEEDS) + 3
    whole = measured.finished(right=True)
    assert [float(np.mean(right)) for right in whole["right"]] == pytest.approx(whole["accuracy"].tolist())
    assert all(list(point.metrics) == ["accuracy", "macro_f1", "mcc"] for point in measured.frontier())
    tokens = measured.finished().groupby("subset")["tokens"].mean()
    saved = {point.subset: point.tokens_saved for point in measured.frontier()}
    assert saved["full"] == 0 and saved["remove-0"] == round(tokens["full"] - tokens["remove-0"]) > 0


def test_equal_steps_train_small_subsets_longer(scored: Experiment) -> None:
    name = "remove-0"
    measured = worker.frontier(scored.folder.root, [f"random@{name}"], [], seeds=1, budget="steps").finished()
    row = measured[measured["subset"] == f"random@{name}"].iloc[0]
    full = measured[measured["subset"] == "full"].iloc[0]
    assert row["epochs"] >= EPOCHS
    assert abs(row["steps"] - full["steps"]) <= row["steps"] / row["epochs"]


def test_enough_steps_end_where_the_first_run_stopped_improving(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budgets are points of their own, and where they ask for the same epochs nothing is trained twice."""
    assert 1 <= scored.plateau <= EPOCHS
    monkeypatch.setattr(Experiment, "plateau", 2)
    name = f"random@{len(scored.ids) // 4}"
    measured = worker.frontier(scored.folder.root, [name], [], seeds=1, budget="enough")
    (point,) = (point for point in measured.frontier("enough") if point.subset == name)
    full = next(point for point in measured.frontier("enough") if point.subset == "full")
    assert point.steps == pytest.approx(2 * full.steps / EPOCHS, rel=0.3) and point.steps < full.steps
    assert name not in {each.subset for each in measured.frontier("epochs")}


def test_the_same_rows_are_trained_once_under_whatever_name(scored: Experiment) -> None:
    worker.frontier(scored.folder.root, ["drop-hard"], [], seeds=1)
    first = worker.frontier(scored.folder.root, ["drop-hard"], [], seeds=1).finished()
    again = worker.frontier(scored.folder.root, ["remove-0", "drop-hard and full"], [], seeds=1).finished().set_index("subset")
    assert len(again) == len(first) + 2
    for name in ("remove-0", "drop-hard and full"):
        for column in ("rows_sha256", "seed", "epochs", "seconds", "accuracy", "finished"):
            assert again.loc[name, column] == again.loc["drop-hard", column], column


def test_the_same_rows_under_two_names_at_once_are_trained_once(scored: Experiment) -> None:
    names = ["drop-hard", "remove-0", "drop-hard and full"]
    finished = worker.frontier(scored.folder.root, names, [], seeds=1).finished().set_index("subset")
    for name in names[1:]:
        assert finished.loc[name, "finished"] == pytest.approx(finished.loc["drop-hard", "finished"], abs=0.5)
        assert finished.loc[name, "seconds"] == finished.loc["drop-hard", "seconds"]


def test_the_random_baseline_has_exactly_the_size_of_its_subset(scored: Experiment) -> None:
    dropped = tuple(int(each) for each in scored.subset("drop-hard").kept[:3])
    scored.decide(Decision(kind=DecisionKind.DROP, ids=dropped))
    names = ["drop-hard+decisions", "stratified@0.5", "ambiguous@drop-hard", "(ccs@0.3) or remove-0", "random@0.4"]
    measured = worker.frontier(scored.folder.root, names, ["random"], seeds=1)
    points = {point.subset: point for point in measured.frontier()}
    assert {f"random@{points['drop-hard+decisions'].kept}", "random@0.5", "random@drop-hard", "random@0.4"} <= points.keys()
    assert points["drop-hard+decisions"].kept == points["ambiguous@drop-hard"].kept - 3
    for name in names[:-1]:
        assert points[name].vs_random is not None, name
    assert points["random@0.4"].vs_random is None


def test_one_switch_measures_every_subset_as_decided(scored: Experiment) -> None:
    """A subset that no decision changes keeps its rule's name, and is not entered again when the command is repeated."""
    easy = scored.ids[scored.h_score() == scored.dynamics.runs]
    scored.decide(Decision(kind=DecisionKind.DROP, ids=tuple(easy[:3].tolist())))
    untouched = "drop-easy"
    for _ in range(2):
        done = winnow(
            "frontier", scored.folder.root, "--subsets", f"drop-hard,{untouched}", "--baselines", "", "--seeds", "1", "--with-decisions"
        )
        assert done.returncode == 0, done.stderr
    measured = Experiment(scored.folder.root)
    sizes = {point.subset: point.kept for point in measured.frontier()}
    rules = {name: measured.rule(name).size for name in ("full", "drop-hard", untouched)}
    assert sizes == {"full": rules["full"], "drop-hard+decisions": rules["drop-hard"] - 3, untouched: rules[untouched]}
    rows = measured.finished()
    assert len(rows) == len(rows.drop_duplicates(["subset", "seed", "budget"]))


def test_a_drawn_subset_is_exported_as_it_was_trained_on(scored: Experiment) -> None:
    """The draw of the first fine-tuning, so that "measured" is true of the very rows."""
    says = "random@0.5 was never trained on: what it costs in accuracy is unknown. Measure it with the frontier first."
    assert says in writer.warnings(scored, scored.subset("random@0.5"))
    measured = worker.frontier(scored.folder.root, ["random@0.5"], [], seeds=2)
    subset = measured.subset("random@0.5")
    assert says not in writer.warnings(measured, subset)
    assert rows_sha256(subset.kept) == measured.finished().set_index(["subset", "seed"]).loc[("random@0.5", SEEDS[0]), "rows_sha256"]


def test_a_measurement_of_full_data_alone_is_resumed_with_its_seeds(scored: Experiment) -> None:
    seeds = len(SEEDS) + 1
    worker.frontier(scored.folder.root, ["full"], [], seeds=seeds)
    again = worker.resume(scored.folder.root)
    assert again.finished()["subset"].tolist() == ["full"] * seeds


def test_a_point_that_a_burn_in_cannot_give_is_left_out(scored: Experiment) -> None:
    """Dyn-Unc needs two epochs; with two of three left out, its point stays in the file and out of the frontier."""
    worker.frontier(scored.folder.root, ["dyn-unc-high@remove-0"], [], seeds=1, burn_in=0)
    measured = Experiment(scored.folder.root)
    assert "dyn-unc-high@remove-0" in {point.subset for point in measured.reading(0).frontier()}
    assert {point.subset for point in measured.reading(2).frontier()} == {"full"}


def test_where_data_lies_and_how_it_is_read_may_change(scored: Experiment, settings: Settings, tmp_path: Path) -> None:
    moved = shutil.copy(settings.data, tmp_path / "moved.jsonl")
    again = worker.score(settings.with_changes(data=str(moved), burn_in=1), scored.folder.root)
    assert (again.settings.data, again.settings.burn_in) == (str(moved), 1)


def test_wrong_names_are_refused_before_any_work(scored: Experiment) -> None:
    rows = len(scored.finished())
    for wrong, error in (
        ({"names": ["nothing"]}, SubsetError),
        ({"baselines": ["lucky"]}, UsageError),
        ({"budget": "days"}, UsageError),
        ({"seeds": 0}, UsageError),
    ):
        with pytest.raises(error):
            worker.frontier(scored.folder.root, **wrong)  # type: ignore[arg-type]
    assert len(Experiment(scored.folder.root).finished()) == rows


def test_cancelling_keeps_finished_work_and_can_be_resumed(settings: Settings, tmp_path: Path) -> None:
    """A signal in the middle of training; what was finished stays and the rest follows on resume."""
    folder = tmp_path / "cancelled"
    longer = settings.with_changes(seeds=tuple(range(1, 9)))
    with pytest.raises(Cancelled):
        worker.score(longer, folder, lambda progress: os.kill(os.getpid(), signal.SIGTERM))
    experiment = Experiment(folder)
    assert experiment.status().state is JobState.CANCELLED
    assert len(experiment.finished_runs()) < 8
    assert not owned(experiment.folder)
    finished = worker.resume(folder)
    assert finished.finished_runs() == list(range(8))
    assert finished.status().state is JobState.DONE


def test_an_approximate_scoring_is_no_point_of_the_frontier_and_says_so(settings: Settings, tmp_path: Path) -> None:
    scored = worker.score(settings.with_changes(approximate="epochs", burn_in=0, seeds=SEEDS[:2]), tmp_path / "approximate")
    assert scored.dynamics.runs == 2
    assert scored.finished().empty
    full = worker.frontier(scored.folder.root, [f"random@{len(scored.ids) // 2}"], [], seeds=1).finished()
    assert sorted(full["subset"]) == ["full", f"random@{len(scored.ids) // 2}"]
    assert "two thirds of the epochs" in writer.warnings(scored, scored.subset("full"))[0]
    assert worker.resume(scored.folder.root).dynamics.runs == 2


def test_draws_that_lack_a_class_are_not_trained_and_noted(settings: Settings, tmp_path: Path) -> None:
    """Two of sixty of one class: the most variable few and the random draws of some seeds lack it, and the notes say so."""
    rows = [json.loads(line) for line in Path(settings.data).read_text().splitlines()]
    column = settings.columns.get("label", "label")
    names = sorted({row[column] for row in rows})
    rare = [row for row in rows if row[column] == names[0]][:2]
    skewed = tmp_path / "skewed.jsonl"
    skewed.write_text("".join(json.dumps(row) + "\n" for row in [*rare, *[row for row in rows if row[column] == names[1]][:58]]))
    folder = tmp_path / "x"
    worker.score(settings.with_changes(data=str(skewed)), folder)
    experiment, seeds = Experiment(folder), settings.seeds

    def classes(name: str, seed: int) -> int:
        return len(np.unique(experiment.labels[experiment.subset(name, seed=seed).mask(experiment.ids)]))

    sizes = [{seed: classes(f"random@{size}", seed) for seed in seeds} for size in range(3, 40)]
    some = next(size for size, found in enumerate(sizes, 3) if found[seeds[0]] == 2 and 1 in found.values())
    lost = next(
        size for size, found in enumerate(sizes, 3) if found[seeds[0]] == 1 and classes(f"floor-1@random@{size - 1}", seeds[0]) == 2
    )
    measured = worker.frontier(folder, [f"random@{some}", f"floor-1@random@{lost - 1}"], ["random"], seeds=len(seeds))
    trained, notes = measured.finished(), " ".join(measured.notes())
    for seed in seeds:
        assert (f"random@{some} with seed {seed} was not trained" in notes) == (classes(f"random@{some}", seed) == 1)
    assert len(trained[trained["subset"] == f"random@{some}"]) == sum(found == 2 for found in sizes[some - 3].values())
    assert f"Not measured, because they keep only one class or nothing: random@{lost}." in notes
    assert len(worker.resume(folder).finished()) == len(trained)


def test_a_model_replaced_after_scoring_is_not_trained(settings: Settings, tiny: str, tmp_path: Path) -> None:
    """Frontier, resume and a second scoring used to train on with the other tokenizer, without a message."""
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    asked = settings.with_changes(model=str(model))
    experiment = worker.score(asked, tmp_path / "x")
    assert set(experiment.info["model"]["parts"]) == {"weights", "config", "tokenizer"}
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    tokenizer.add_tokens(["film-noir"])
    tokenizer.save_pretrained(str(model))
    sentence = "The tokenizer of .* changed since .* was recorded"
    with pytest.raises(ModelError, match=sentence):
        worker.frontier(tmp_path / "x", ["random@0.5"], [], seeds=1)
    experiment.folder.epoch(0, 0).unlink()
    with pytest.raises(ModelError, match=sentence):
        worker.resume(tmp_path / "x")
    assert not experiment.folder.epoch(0, 0).exists()
    with pytest.raises(ExperimentError, match=r"made with a different model: the tokenizer of .* changed"):
        worker.score(asked, tmp_path / "x")


def test_token_ids_without_embeddings_are_refused_before_training(settings: Settings, tiny: str, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    tokenizer.add_tokens([word for row in Path(settings.data).read_text().splitlines() for word in json.loads(row)["sentence"].split()[:1]])
    tokenizer.add_tokens(["goo", "fil", "mov"])
    tokenizer.save_pretrained(str(model))
    with pytest.raises(ModelError, match=r"occurs in the data, but the embeddings of .*resize_token_embeddings"):
        worker.score(settings.with_changes(model=str(model)), tmp_path / "x")


def test_resume_restores_a_run_and_then_completes_the_latest_frontier(scored: Experiment) -> None:
    measured = worker.frontier(scored.folder.root, ["random@20"], [], seeds=2)
    rows = measured.finished()
    measured.folder.frontier.unlink()
    for row in rows.loc[rows["subset"] == "full"].to_dict("records"):
        measured.add_finished(row)
    measured.folder.epoch(1, 1).unlink()
    again = worker.resume(scored.folder.root)
    assert again.finished_runs() == scored.finished_runs()
    assert sorted(again.finished()["subset"]) == sorted(rows["subset"])
