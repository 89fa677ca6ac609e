"""The look as a job: what it keeps, resumes, refuses, and what scoring does with it."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pruning.cli import app
from pruning.cli.base import score_command
from pruning.errors import Cancelled, DataError, ExperimentError, ModelError, UsageError
from pruning.experiment import Experiment
from pruning.jobs import mapping, worker
from pruning.records import JobState
from pruning.settings import Settings
from pruning.training import embedding
from tests.conftest import SEEDS
from tests.support.processes import room
from tests.support.sources import write_jsonl
from tests.support.tasks import CASES
from tests.support.tiny import WORDS, tiny_model

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PART", 32)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("looked") / "reviews"


@pytest.fixture
def looked(once: Path, settings: Settings, tmp_path: Path) -> Experiment:
    """An experiment with a look and no run, of the test's own."""
    if not once.exists():
        worker.look(settings, once)
    return Experiment(shutil.copytree(once, tmp_path / "reviews"))


def test_a_look_that_was_killed_is_resumed_as_a_look(looked: Experiment) -> None:
    """The last event of a worker that died may not say what it was doing; the first one does."""
    looked.log("started", state="running", verb="look", pid=1)
    looked.log("died", state="interrupted", pid=1, message="The worker was killed.")
    found = worker.resume(looked.folder.root)
    assert found.status().verb == "look" and not found.finished_runs()


def test_embeddings_and_probabilities_are_kept_in_the_documented_form(looked: Experiment) -> None:
    look, examples = looked.look, len(looked.ids)
    assert look is not None and look.probe is not None and look.probabilities is not None
    embeddings = np.load(looked.folder.root / "look" / "embeddings.npy", mmap_mode="r")
    assert embeddings.shape == (examples, 32) and embeddings.dtype == np.float16
    assert np.allclose(np.linalg.norm(embeddings.astype(np.float32), axis=1), 1, atol=2e-3)
    assert look.probabilities.shape == (examples, 2) and np.allclose(look.probabilities.sum(axis=1), 1, atol=1e-5)
    assert look.probe.accuracy > look.probe.majority and look.probe.sentence.startswith("Before any training")
    written = {path.name for path in (*looked.folder.of_look, looked.folder.map)}
    assert looked.verify() == 7 and {path.name for path in looked.folder.look.parent.iterdir()} == written
    assert looked.status().state is JobState.DONE and looked.status().done == looked.status().total == examples
    assert looked.finished_runs() == []


def test_the_map_is_kept_in_the_documented_form(looked: Experiment) -> None:
    table = pandas.read_parquet(looked.folder.root / "look" / "map.parquet")
    assert table["id"].tolist() == looked.ids.tolist() and table[["x", "y"]].abs().max().max() == 1
    found = looked.map
    assert found is not None and np.array_equal(found.places, table[["x", "y"]].to_numpy()) and found.fitted == 120


def test_an_older_look_gets_its_map_and_the_same_bits(looked: Experiment) -> None:
    bits = looked.folder.map.read_bytes()
    looked.folder.map.unlink()
    older, before = Experiment(looked.folder.root), looked.folder.embeddings.stat().st_mtime_ns
    assert older.map is None and older.map_problem == "" and older.look is not None
    again = worker.look_again(looked.folder.root)
    assert again.map is not None and looked.folder.map.read_bytes() == bits
    assert looked.folder.embeddings.stat().st_mtime_ns == before


def test_a_damaged_map_is_said_and_made_again(looked: Experiment) -> None:
    looked.folder.map.write_bytes(looked.folder.map.read_bytes()[:-3] + b"xyz")
    damaged = Experiment(looked.folder.root)
    assert damaged.map is None and "map.parquet is damaged; make it again: python -m pruning look" in damaged.map_problem
    assert worker.look_again(looked.folder.root).map is not None


def test_a_map_that_finds_no_room_is_said_and_made_when_there_is(looked: Experiment) -> None:
    looked.folder.map.unlink()
    with room(100), pytest.raises(ExperimentError, match=r"map\.parquet could not be written: file too large"):
        mapping.ensure(Experiment(looked.folder.root))
    assert {path.name for path in looked.folder.map.parent.iterdir()} == {path.name for path in looked.folder.of_look}
    assert mapping.ensure(Experiment(looked.folder.root)).map is not None


def test_the_map_of_another_look_is_no_map(looked: Experiment, tiny: str) -> None:
    info = json.loads(looked.folder.look.read_text())
    (looked.folder.root / "checksums.jsonl").unlink()
    looked.folder.look.write_text(json.dumps({**info, "recipe": "of longer texts"}))
    assert Experiment(looked.folder.root).look is not None and Experiment(looked.folder.root).map is None


def test_embeddings_are_the_models_own_states_averaged(looked: Experiment, tiny: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    text = looked.examples(["text"])["text"].to_pylist()[:5]
    model = AutoModel.from_pretrained(tiny).eval()
    assert looked.look is not None
    for row, words in zip(looked.look.embeddings, text, strict=False):
        with torch.inference_mode():
            states = model(**AutoTokenizer.from_pretrained(tiny)(words, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        assert np.allclose((states / states.norm()).numpy(), row, atol=2e-3)


@pytest.mark.parametrize("family", ["opt", "deberta-v2"])
def test_embeddings_of_any_architecture_do_not_depend_on_the_batch(family: str, settings: Settings, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / family, family)
    whole = worker.look(settings.with_changes(model=model), tmp_path / "whole").look
    few = worker.look(settings.with_changes(model=model, limit=9), tmp_path / "few")
    rows = np.searchsorted(Experiment(tmp_path / "whole").ids, few.ids)
    assert whole is not None and few.look is not None
    assert np.allclose(whole.embeddings[rows], few.look.embeddings, atol=2e-3)


def test_the_same_bits_twice_and_after_a_kill(looked: Experiment, settings: Settings, tmp_path: Path) -> None:
    folder, done = tmp_path / "killed", []

    def cancel(progress: object) -> None:
        done.append(progress.done)  # type: ignore[attr-defined]
        if done[-1] > 64:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Cancelled):
        worker.look(settings, folder, cancel)
    half = Experiment(folder)
    parts = {path.name: path.stat().st_mtime_ns for path in half.folder.look.parent.rglob("*.npy")}
    assert half.look is None and half.status().state is JobState.CANCELLED and set(parts) == {"0.npy", "32.npy", "64.npy"}
    seen: list[int] = []
    resumed = worker.resume(folder, lambda progress: seen.append(progress.done))
    assert min(seen) > 64 and resumed.look is not None and looked.look is not None
    for path in ("embeddings", "probabilities"):
        ours, theirs = getattr(resumed.folder, path), getattr(looked.folder, path)
        assert ours.read_bytes() == theirs.read_bytes(), path


def test_a_damaged_part_is_embedded_again(looked: Experiment, settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    with pytest.raises(Cancelled):
        worker.look(settings, folder, lambda progress: os.kill(os.getpid(), signal.SIGTERM) if progress.done > 64 else None)
    part = next(Experiment(folder).folder.look.parent.rglob("32.npy"))
    part.write_bytes(part.read_bytes()[:50])
    assert worker.resume(folder).folder.embeddings.read_bytes() == looked.folder.embeddings.read_bytes()


def test_scoring_looks_first_counts_it_and_gives_the_scores(settings: Settings, looked: Experiment, tmp_path: Path) -> None:
    totals: list[tuple[int, int]] = []
    scored = worker.score(
        settings.with_changes(seeds=SEEDS[:2]), tmp_path / "x", lambda progress: totals.append((progress.done, progress.total))
    )
    assert totals[0][1] == totals[-1][0] == totals[-1][1] == 120 + 2 * 120 * 3
    assert scored.look is not None and looked.look is not None and np.array_equal(scored.look.embeddings, looked.look.embeddings)
    table = scored.scores()
    assert {"expected-success", "probe"} <= set(table) and table["expected-success"].between(0, 1).all()
    assert scored.subset("expected-success-low@0.3").size == 36 and scored.subset("probe-high@10").size == 10
    errors = scored.label_errors
    assert errors is not None and errors.sentence.endswith("each time just before they trained on the example and by the look.")


def test_without_a_look_scoring_is_as_before(settings: Settings, tmp_path: Path) -> None:
    scored = worker.score(settings.with_changes(seeds=SEEDS[:2], look=False), tmp_path / "x")
    assert scored.look is None and not scored.folder.look.parent.exists() and "probe" not in scored.scores()
    assert scored.label_errors is not None and "look." not in scored.label_errors.sentence
    files = len(scored.files())
    again = worker.look_again(scored.folder.root)
    assert again.look is not None and "probe" in again.scores() and again.verify() == files + 4
    assert np.array_equal(again.dynamics.correct, scored.dynamics.correct)


def test_an_experiment_that_was_only_looked_at_takes_other_settings(looked: Experiment, settings: Settings) -> None:
    changed = settings.with_changes(seeds=(5, 6), epochs=4, burn_in=0)
    before = looked.folder.embeddings.stat().st_mtime_ns
    scored = worker.score(changed, looked.folder.root)
    assert scored.dynamics.runs == 2 and scored.dynamics.epochs == 4 and scored.folder.embeddings.stat().st_mtime_ns == before
    with pytest.raises(ExperimentError, match=r"was made with epochs = 4, not 3"):
        worker.score(settings.with_changes(seeds=(5, 6)), looked.folder.root)


def test_the_verb_prints_what_there_is_before_training(looked: Experiment) -> None:
    for verb, flag in (("look", "--limit"), ("look", "--text"), ("fit", "--epochs"), ("fit", "--model")):
        ignored = CliRunner().invoke(app, [verb, str(looked.folder.root), flag, "3"])
        assert ignored.exit_code == 2 and f"own settings hold; leave out {flag}, or name data" in ignored.output
    done = CliRunner().invoke(app, ["look", str(looked.folder.root)])
    assert done.exit_code == 0, done.output
    assert "Before any training, a linear model" in done.output and "Expected success before training, 120 examples:" in done.output
    assert "before training, judged by the look alone." in done.output and "of the same or nearly the same text" in done.output
    found = json.loads(CliRunner().invoke(app, ["look", str(looked.folder.root), "--json"]).output)
    assert sum(found["histogram"]) == found["examples"] == 120 and found["runs"] == 0 and found["accuracy"] > found["majority"]


def test_the_verb_makes_an_experiment_of_a_file(reviews: tuple[Path, Path], tiny: str, tmp_path: Path) -> None:
    words = ["look", str(reviews[0]), "--model", tiny, "--experiment", str(tmp_path / "new"), "--max-length", "32", "--limit", "40"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and f"The look is in {tmp_path / 'new'}." in done.output
    assert Experiment(tmp_path / "new").look is not None
    assert "python -m pruning score new.distinct.jsonl" in done.output


def test_the_command_that_scores_names_what_the_look_was_given() -> None:
    columns = {"text": "Customer message", "label": "team"}
    settings = Settings(data="a b.csv", task="classification", columns=columns, model="m", limit=40, max_length=128, drop_invalid=True)
    assert score_command("a b.csv", settings, Path("e")) == (
        "python -m pruning score 'a b.csv' --model m --column 'text=Customer message' --column label=team --limit 40 --drop-invalid "
        "--experiment e"
    )
    assert "--max-length 64 --no-header" in score_command(
        "a.csv", replace(settings, max_length=64, drop_invalid=False, header=False), Path("e")
    )


def test_the_commands_it_prints_work_for_columns_of_any_name(tiny: str, tmp_path: Path) -> None:
    """With copies: those that export one of each and score these, word for word; to a tiny model all texts are alike, so
    that evaluation data is given."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 8)) for _ in range(40)]
    rows = [{"Customer message": text, "Queue / Team": str(index % 2)} for index, text in enumerate([*texts, *texts[:4]])]
    rows += [{"Customer message": "the plot", "Queue / Team": None}]
    data, folder = write_jsonl(tmp_path / "my tickets.jsonl", rows), tmp_path / "looks" / "first"
    words = ["look", str(data), "--model", tiny, "--text", "Customer message", "--label", "Queue / Team", "--experiment", str(folder)]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1 and "skip invalid rows (--drop-invalid)" in refused.output
    done = CliRunner().invoke(app, [*words, "--drop-invalid"])
    export, score = (shlex.split(line.partition(": ")[2])[3:] for line in done.output.splitlines()[-2:])
    written = tmp_path / "one-of-each.jsonl"
    assert export[-2] == "--output" and score[1] == export[-1] == "first.distinct.jsonl"
    assert CliRunner().invoke(app, [*export[:-1], str(written)]).exit_code == 0
    held_out = write_jsonl(tmp_path / "held-out.jsonl", rows[:40])
    short = ["--runs", "1", "--epochs", "1", "--learning-rate", "1e-3", "--eval", str(held_out)]
    scored = CliRunner().invoke(app, [score[0], str(written), *score[2:], *short])
    assert scored.exit_code == 0, scored.output
    assert Experiment(tmp_path / "looks" / "first-distinct").dynamics.runs == 1


def test_a_model_fine_tuned_for_classification_is_embedded(looked: Experiment, settings: Settings, tmp_path: Path) -> None:
    """Trainer writes the problem type into the configuration; it is about the old head, which the look leaves out."""
    folder = Path(shutil.copytree(settings.model, tmp_path / "tuned"))
    tuned = json.loads((folder / "config.json").read_text()) | {"problem_type": "single_label_classification"}
    (folder / "config.json").write_text(json.dumps(tuned))
    found = worker.look(settings.with_changes(model=str(folder)), tmp_path / "x").look
    assert found is not None and looked.look is not None
    assert np.array_equal(found.embeddings, looked.look.embeddings)


def test_another_model_is_refused_and_never_mixed_up(looked: Experiment, settings: Settings, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match=r"was made with the model .* its look uses the same, not .*other"):
        worker.look_again(looked.folder.root, model=other)
    theirs = worker.look(settings.with_changes(model=other), tmp_path / "theirs")
    for path, mine in zip(theirs.folder.of_look, looked.folder.of_look, strict=True):
        shutil.copyfile(path, mine)
    (looked.folder.root / "checksums.jsonl").unlink()
    mixed = Experiment(looked.folder.root)
    assert mixed.look is None and "is of another model (the weights differ); make it again" in mixed.look_problem
    assert mixed.look_problem in mixed.warnings() and mixed.expected_success is None
    assert worker.look_again(looked.folder.root).look is not None


def test_another_tokenizer_is_another_model(looked: Experiment, tiny: str, settings: Settings, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "model"))
    worker.look(settings.with_changes(model=str(model)), tmp_path / "x")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match=r"The tokenizer of .* changed since"):
        worker.look_again(tmp_path / "x")


@pytest.mark.parametrize("name", ["embeddings", "probabilities", "look"])
def test_a_damaged_look_is_said_left_out_and_made_again(name: str, looked: Experiment) -> None:
    path = getattr(looked.folder, name)
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    with pytest.raises(ExperimentError, match=r"is damaged .* make it again: python -m pruning look DIR"):
        looked.verify()
    again = Experiment(looked.folder.root)
    assert again.look is None and "is damaged" in again.look_problem
    with pytest.raises(ExperimentError, match=r"is damaged"):
        from pruning.reports.first_look import first_look

        first_look(again)
    assert worker.resume(looked.folder.root).look is not None and Experiment(looked.folder.root).verify()


def test_a_full_disk_is_said_before_the_pass(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 5000))
    with pytest.raises(ExperimentError, match=r"The look needs 0 MB of disk space .*free some space, or leave the look out"):
        worker.look(settings, tmp_path / "x")
    scored = worker.score(settings.with_changes(seeds=SEEDS[:1]), tmp_path / "y")
    assert scored.look is None and scored.dynamics.runs == 1
    assert any(note.startswith("Scored without a look. The look needs") for note in scored.notes())


def test_a_model_whose_weights_overflow_is_refused_in_a_sentence(tiny: str, settings: Settings, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "broken"))
    weights = load_file(model / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"][:] = float("inf")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"gives values that are not finite for example [0-9]+; its weights overflow"):
        worker.look(settings.with_changes(model=str(model)), tmp_path / "x")
    assert Experiment(tmp_path / "x").look is None


def test_weights_of_half_precision_are_computed_in_float32(tiny: str, settings: Settings, looked: Experiment, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny, tmp_path / "half"))
    weights = {name: tensor.half() for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    half = worker.look(settings.with_changes(model=str(model)), tmp_path / "x").look
    assert half is not None and looked.look is not None
    assert np.allclose(half.embeddings, looked.look.embeddings, atol=1e-2)


def test_too_few_rows_keep_embeddings_and_say_why_there_is_no_probe(settings: Settings, tmp_path: Path) -> None:
    looked = worker.look(settings.with_changes(limit=4), tmp_path / "x")
    assert looked.look is not None and looked.look.probe is None and looked.probe is None and looked.expected_success is None
    assert looked.look.left_out in looked.notes() and "at least 5 examples, one for each fold; there are 4" in looked.look.left_out
    assert looked.verify() and looked.label_errors is None


def test_one_class_is_refused_before_the_pass(settings: Settings, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(settings.data).read_text().splitlines()]
    data = write_jsonl(tmp_path / "one.jsonl", [{**row, "label": "positive"} for row in rows])
    with pytest.raises(DataError, match=r"Every row has the label 'positive'; training needs at least two classes"):
        worker.look(settings.with_changes(data=str(data), evaluation=None), tmp_path / "x")


def test_long_texts_empty_texts_and_a_rare_class_are_handled(settings: Settings, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(settings.data).read_text().splitlines()]
    rows[0]["sentence"], rows[1]["sentence"], rows[2]["label"] = "good film " * 20_000, " ", "odd"
    data = tmp_path / "strange.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = settings.with_changes(data=str(data), evaluation=None, evaluation_fraction=0.05)
    with pytest.raises(DataError, match=r"--drop-invalid|drop_invalid"):
        worker.look(asked, tmp_path / "x")
    looked = worker.look(asked.with_changes(drop_invalid=True), tmp_path / "y")
    assert looked.look is not None and looked.look.truncated == 1 and np.isfinite(looked.look.embeddings).all()


@pytest.mark.parametrize("kind", ["choice", "question"])
def test_tasks_without_one_text_per_label_have_no_look(kind: str, tiny: str, tmp_path: Path) -> None:
    draw, (make, task) = random.Random(0), CASES[kind]
    path = write_jsonl(tmp_path / "rows.jsonl", [make(draw) for _ in range(40)])
    with pytest.raises(DataError, match=f"There is no look at {task} data"):
        worker.look(Settings(data=str(path), model=tiny, max_length=48), tmp_path / "x")


def test_a_pair_is_embedded_as_one_text(tiny: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    path = write_jsonl(tmp_path / "rows.jsonl", [CASES["pair"][0](draw) for _ in range(60)])
    looked = worker.look(Settings(data=str(path), model=tiny, max_length=32), tmp_path / "x")
    assert looked.look is not None and looked.look.embeddings.shape == (48, 32) and looked.look.probe is not None


def test_scoring_can_train_on_one_of_each_near_duplicate(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [json.loads(line)["label"] for line in Path(settings.data).read_text(encoding="utf-8").splitlines()]
    first, *copies = [row for row, label in enumerate(labels) if label == labels[0]][:3]
    other = next(row for row, label in enumerate(labels) if label != labels[0])
    groups = np.full(len(labels), -1)
    groups[[first, *copies, other]] = 0  # of another label: it stands for itself
    monkeypatch.setattr("pruning.analysis.neighbours.same_meaning", lambda embeddings: groups)
    asked = settings.with_changes(one_of_each=True, seeds=SEEDS[:2])
    scored = worker.score(asked, tmp_path / "x")
    alone = worker.score(settings.with_changes(seeds=SEEDS[:2]), tmp_path / "all")
    kept = np.delete(np.arange(len(labels)), copies)
    for name in ("correct", "gold_prob", "loss"):
        recorded = getattr(scored.dynamics, name)
        assert all(np.array_equal(recorded[..., copy], recorded[..., first]) for copy in copies)
    assert scored.dynamics.position.max() == len(kept) - 1 < alone.dynamics.position.max()
    assert not np.array_equal(scored.dynamics.gold_prob[..., kept], alone.dynamics.gold_prob[..., kept]), "copies were not trained on"
    [point] = scored.frontier()
    assert (point.subset, point.kept, point.seeds) == ("distinct", len(kept), 2) and point.subset == asked.scored_subset
    assert scored.learned.accuracy == pytest.approx(point.metrics["accuracy"])
    assert any(f"{len(kept)} of {len(labels)} examples, one of each near-duplicate" in note for note in scored.notes())
    manifest = scored.export("drop-hard", tmp_path / "out.jsonl")
    assert any("one of each near-duplicate" in sentence for sentence in manifest["warnings"])

    lost = scored.folder.epoch(1, 0)
    before = scored.dynamics.gold_prob
    lost.unlink()
    again = worker.resume(tmp_path / "x")
    assert lost.exists() and np.array_equal(again.dynamics.gold_prob, before)
    measured = worker.frontier(tmp_path / "x", ["distinct"], [], seeds=2)
    assert {point.subset: point.seeds for point in measured.frontier()} == {"full": 2, "distinct": 2}
    assert measured.finished()["subset"].value_counts()["distinct"] == 2, "the scoring runs are its points; none is trained again"


def test_one_of_each_needs_near_duplicates_that_are_known(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match="leave out --no-look"):
        worker.score(settings.with_changes(one_of_each=True, look=False), tmp_path / "y")
    monkeypatch.setattr("pruning.analysis.neighbours.same_meaning", lambda embeddings: None)
    with pytest.raises(ExperimentError, match=r"Near-duplicates are not known.*--one-of-each"):
        worker.score(settings.with_changes(one_of_each=True), tmp_path / "x")
