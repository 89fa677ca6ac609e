"""The verb narrow: a folder that any tool loads and Winnow scores and measures with, or one sentence and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from pruning.data import models
from pruning.errors import Cancelled, ExperimentError, ModelError, UsageError
from pruning.experiment import Experiment
from pruning.interop.importers import take_over
from pruning.jobs import worker
from pruning.jobs.narrow import narrow, narrow_widths
from pruning.jobs.progress import JobProgress
from pruning.reports.by_model import by_model
from tests.support.commands import winnow
from tests.support.pages import open_page
from tests.support.processes import room
from tests.support.tiny import tiny_model


def contents(root: Path) -> dict[str, str]:
    """Every file of a folder and its sha256; the cache of what was derived is left out."""
    files = [file for file in root.rglob("*") if file.is_file() and "cache" not in file.parts]
    return {str(file.relative_to(root)): sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_command_writes_a_model_that_winnow_and_others_read(scored: Experiment, tmp_path: Path, tiny: str) -> None:
    root, folder = scored.folder.root, tmp_path / "models" / "half"
    before = contents(root)
    done = winnow("narrow", root, "--width", "0.5", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert contents(root) == before, "the experiment is only read"
    notes = json.loads((folder / "width.json").read_text())
    assert (notes["share"], notes["width"], notes["width_before"], np.shape(notes["kept"])) == (0.5, 24, 48, (2, 24))
    assert notes["model"] == {"source": tiny, "fingerprint": models.fingerprint(Path(tiny))}
    full, half = (AutoModel.from_pretrained(path) for path in (tiny, folder))
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (full, half)]
    assert [notes["parameters_before"], notes["parameters"]] == sizes and sizes[0] - sizes[1] == 2 * 24 * (32 + 32 + 1)
    assert f"{sizes[1]:,} of {sizes[0]:,} parameters" in " ".join(done.stdout.split())
    assert AutoTokenizer.from_pretrained(folder)("a good film") == AutoTokenizer.from_pretrained(tiny)("a good film")
    assert {path.name for path in folder.parent.iterdir()} == {"half"}

    measured = worker.frontier(root, ["winning-ticket"], [], seeds=1, model=str(folder), learning_rate=5e-3)
    assert list(measured.other_models.values()) == [str(folder)]
    again = worker.score(scored.settings.with_changes(model=str(folder)), tmp_path / "narrow")
    assert again.finished_runs() == [0, 1, 2] and again.own_model == models.fingerprint(folder)


def test_the_same_bits_twice_and_what_is_kept(scored: Experiment, tmp_path: Path) -> None:
    for name in ("one", "two"):
        narrow(scored.folder.root, 0.5, tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    random, other = (narrow(scored.folder.root, 0.5, tmp_path / f"random-{seed}", "random", seed=seed) for seed in (1, 2))
    assert contents(random.folder)["model.safetensors"] != contents(other.folder)["model.safetensors"]


def test_the_whole_width_trains_nothing(scored: Experiment, tmp_path: Path, tiny: str) -> None:
    heard: list[JobProgress] = []
    narrow(scored.folder.root, 1, tmp_path / "same", listen=heard.append)
    assert not heard and models.fingerprint(tmp_path / "same") == models.fingerprint(Path(tiny))


def test_progress_is_that_of_a_run(scored: Experiment, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    narrow(scored.folder.root, 0.5, tmp_path / "half", listen=lambda progress: heard.append((progress.done, progress.total)))
    examples = len(scored.ids) * scored.settings.train.epochs
    assert heard[-1] == (examples, examples)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--width", "0"], "width must be above 0 and at most 1, got 0"),
        (["--width", "1.5"], "width must be above 0 and at most 1, got 1.5"),
        (["--importance", "magic"], "importance must be one of"),
    ],
)
def test_impossible_options(words: list[str], sentence: str, scored: Experiment, tmp_path: Path) -> None:
    done = winnow("narrow", scored.folder.root, "--output", tmp_path / "half", *words)
    assert done.returncode == 2 and sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "half").exists()


def test_an_existing_folder_is_kept(scored: Experiment, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"half exists; choose another folder"):
        narrow(scored.folder.root, 0.5, tmp_path / "half")
    assert (tmp_path / "half" / "mine.txt").read_text() == "mine"


def test_nothing_is_written_into_the_experiment(scored: Experiment) -> None:
    with pytest.raises(UsageError, match="in the experiment's folder"):
        narrow(scored.folder.root, 0.5, scored.folder.root / "half")


def test_a_language_model_keeps_its_head_and_its_template(chats_once: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(chats_once, tmp_path / "chats")
    experiment = Experiment(folder / "experiments" / "chats")
    made = narrow(experiment.folder.root, 0.5, tmp_path / "half")
    full, half = (AutoTokenizer.from_pretrained(path) for path in (experiment.settings.model, made.folder))
    assert full.chat_template and half.chat_template == full.chat_template
    assert AutoModelForCausalLM.from_pretrained(made.folder).config.intermediate_size == made.width == 24


def test_an_experiment_without_a_model(scored: Experiment, tmp_path: Path) -> None:
    scored.export("full", tmp_path / "recorded", format="cartography")
    imported = take_over([tmp_path / "recorded" / "run=0"], tmp_path / "imported", scored.settings.with_changes(model=""))
    with pytest.raises(ExperimentError, match="has no model to narrow"):
        narrow(imported.folder.root, 0.5, tmp_path / "half")


def test_a_model_that_cannot_be_cut(scored: Experiment, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "modern", "modernbert")
    experiment = worker.score(scored.settings.with_changes(model=model, seeds=(1,)), tmp_path / "experiment")
    with pytest.raises(ModelError, match=r"the layers of a modernbert model have no intermediate\.dense"):
        narrow(experiment.folder.root, 0.5, tmp_path / "half")


def test_a_full_disk_leaves_nothing(scored: Experiment, tmp_path: Path) -> None:
    with room(10_000), pytest.raises(ExperimentError, match="could not be written"):
        narrow(scored.folder.root, 0.5, tmp_path / "models" / "half", "random")
    assert os.listdir(tmp_path / "models") == []


def test_a_stop_leaves_nothing(scored: Experiment, tmp_path: Path) -> None:
    def stop(progress: JobProgress) -> None:
        os.kill(os.getpid(), 2)

    with pytest.raises(Cancelled):
        narrow(scored.folder.root, 0.5, tmp_path / "models" / "half", listen=stop)
    assert not (tmp_path / "models").exists()


def test_a_changed_model_is_not_cut(scored: Experiment, tmp_path: Path, tiny: str) -> None:
    copy = shutil.copytree(tiny, tmp_path / "copy")
    experiment = worker.score(scored.settings.with_changes(model=str(copy), seeds=(1,)), tmp_path / "experiment")
    tiny_model(copy, seed=5)
    with pytest.raises(ModelError, match=r"weights.* changed since"):
        narrow(experiment.folder.root, 0.5, tmp_path / "half")


@pytest.mark.process
def test_widths_are_measured_beside_the_whole_model(scored: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command; the same again trains nothing, and the page has the table."""
    root, folder = scored.folder.root, tmp_path / "models"
    words = ["narrow", root, "--width", "0.75,0.5", "--output", folder, "--measure", "drop-hard", "--learning-rate", "5e-3", "--seeds", "2"]
    done = winnow(*words)
    assert done.returncode == 0, done.stderr
    assert "Data x model" in done.stdout and "measured with" not in done.stderr
    measured = Experiment(root)
    rows = by_model(measured)
    assert [row.model for row in rows] == [
        name for name in (scored.settings.model, str(folder / "width-0.75"), str(folder / "width-0.5")) for _ in range(3)
    ]
    assert [row.point.subset for row in rows] == ["full", "drop-hard", "random@drop-hard"] * 3
    sizes = [json.loads((folder / f"width-{share}" / "width.json").read_text())["parameters"] for share in (0.75, 0.5)]
    assert [rows[place].parameters for place in (3, 6)] == sizes and (rows[0].parameters or 0) > sizes[0] > sizes[1]
    assert all(row.milliseconds is not None and 0 < row.milliseconds < 100 for row in rows)
    assert measured.finished()[["compute_seconds", "evaluation_seconds"]].gt(0).all(axis=None)
    assert all(row.training_seconds is not None and 0 < row.training_seconds < 100 for row in rows)

    trained = pd.read_parquet(measured.folder.frontier)["finished"]
    before = contents(folder)
    assert winnow(*words).returncode == 0
    assert contents(folder) == before and pd.read_parquet(measured.folder.frontier)["finished"].equals(trained)

    app = open_page("frontier", root.parent, monkeypatch)
    app.selectbox(key="subset").set_value("drop-hard").run()
    assert not app.exception
    [table] = [frame.value for frame in app.dataframe if "parameters" in frame.value]
    assert len(table) == 9 and not [code for code in app.code if "narrow" in code.value]
    app.selectbox(key="subset").set_value("drop-easy").run()
    assert [code.value for code in app.code] == [f"winnow narrow {root} --width 0.7,0.5 --output models --measure drop-easy"]


def test_a_folder_of_another_request_is_kept(scored: Experiment, tmp_path: Path) -> None:
    """Neither overwritten nor taken for the one that is asked for."""
    narrow_widths(scored.folder.root, [0.5], tmp_path / "half", "random")
    before = contents(tmp_path / "half")
    [again] = narrow_widths(scored.folder.root, [0.5], tmp_path / "half", "random")
    assert again.width == 24 and contents(tmp_path / "half") == before
    with pytest.raises(UsageError, match=r"half exists; choose another folder"):
        narrow_widths(scored.folder.root, [0.75], tmp_path / "half", "random")
    (tmp_path / "half" / "width.json").write_text("[]")
    with pytest.raises(UsageError, match=r"half exists; choose another folder"):
        narrow_widths(scored.folder.root, [0.5], tmp_path / "half", "random")


def test_nothing_is_measured_before_a_request_is_known_to_be_possible(scored: Experiment, tmp_path: Path) -> None:
    for words, code, sentence in (
        (["--width", "0.5,half"], 2, "width must be a number above 0 and at most 1, or several with commas, got 'half'"),
        (["--width", "0.5,1.5"], 2, "width must be above 0 and at most 1, got 1.5"),
        (["--width", ","], 2, "width names no share"),
        (["--measure", "drop-everything"], 1, "drop-everything"),
    ):
        done = winnow("narrow", scored.folder.root, "--output", tmp_path / "models", *words)
        assert done.returncode == code and sentence in " ".join(done.stderr.split()) and not done.stdout, words
    assert not (tmp_path / "models").exists()


def test_heads_of_a_language_model(chats_once: Path, tmp_path: Path) -> None:
    """Half of the neurons and one of two groups of heads; the cut model measures a subset like any other."""
    folder = shutil.copytree(chats_once, tmp_path / "chats")
    experiment = Experiment(folder / "experiments" / "chats")
    done = winnow("narrow", experiment.folder.root, "--heads", "0.5", "--output", tmp_path / "half")
    assert done.returncode == 0, done.stderr
    assert "24 of 48 neurons and 2 of 4 attention heads in each layer" in " ".join(done.stdout.split())
    notes = json.loads((tmp_path / "half" / "width.json").read_text())
    assert (notes["heads"], notes["heads_before"], np.shape(notes["kept_groups"])) == (2, 4, (2, 1))
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "half").config.head_dim == 8
    before = contents(tmp_path / "half")
    [again] = narrow_widths(experiment.folder.root, [0.5], tmp_path / "half", heads=0.5)
    assert again.heads == (2, 4) and contents(tmp_path / "half") == before
    with pytest.raises(UsageError, match="exists"):
        narrow_widths(experiment.folder.root, [0.5], tmp_path / "half")
    measured = worker.frontier(experiment.folder.root, ["random@0.5"], [], seeds=1, model=str(tmp_path / "half"), learning_rate=1e-3)
    [fingerprint] = measured.other_models
    assert {point.subset for point in measured.with_model(fingerprint).frontier()} == {"full", "random@0.5"}
    fewer = narrow(experiment.folder.root, 1, tmp_path / "fewer", "random", heads=0.5)
    assert fewer.width == fewer.width_before and fewer.parameters < fewer.parameters_before


def test_heads_that_cannot_be_cut_are_refused_in_a_sentence(scored: Experiment, tmp_path: Path) -> None:
    done = winnow("narrow", scored.folder.root, "--heads", "0.5", "--output", tmp_path / "half")
    assert done.returncode == 1 and "keeps all its heads: the configuration of a bert model" in " ".join(done.stderr.split())
    assert not (tmp_path / "half").exists()
