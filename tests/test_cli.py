import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruning.experiment import Experiment
from pruning.records import JobState
from pruning.settings import Settings
from tests.conftest import EPOCHS, EXAMPLES, SEEDS
from tests.support.commands import winnow
from tests.support.processes import ROOT, environment, score_words
from tests.support.repeating import experiment as repeating

pytestmark = pytest.mark.process


def test_the_whole_path_by_command(reviews: tuple[Path, Path], tiny: str, tmp_path: Path) -> None:
    train, evaluation = reviews
    folder, output = tmp_path / "x", tmp_path / "ticket.jsonl"
    recipe = [
        "--model",
        tiny,
        "--epochs",
        "3",
        "--batch-size",
        "4",
        "--learning-rate",
        "5e-3",
        "--device",
        "cpu",
        "--max-length",
        "32",
        "--burn-in",
        "2",
    ]
    done = winnow("score", train, "--experiment", folder, "--eval", evaluation, "--seed-list", "11,22,33", *recipe)
    assert done.returncode == 0, done.stderr
    assert "H = 3" in done.stdout and "After 3 runs: " in done.stdout
    done = winnow("frontier", folder, "--subsets", "remove-0", "--baselines", "random", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    done = winnow("show", folder, "--json")
    shown = json.loads(done.stdout)
    assert (shown["examples"], shown["runs"], shown["epochs"], len(shown["h_histogram"])) == (EXAMPLES, len(SEEDS), EPOCHS, len(SEEDS) + 1)
    assert sum(shown["h_histogram"]) == EXAMPLES
    assert {"name", "removes", "kept", "kept_fraction"} <= shown["subsets"][0].keys()
    point = shown["frontier"][0]
    assert {"subset", "method", "kept", "accuracy_mean", "accuracy_ci95", "seeds", "ci95", "vs_random", "seconds_saved"} <= point.keys()
    assert {point["subset"] for point in shown["frontier"]} == {"full", "remove-0", "random@remove-0"}
    assert winnow("export", folder, "--subset", "remove-0", "--output", output).returncode == 0
    assert winnow("verify", output).returncode == 0
    assert winnow("status", folder).stdout.startswith("frontier measured")


def bad_rows(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


GOOD = b'{"sentence": "a good film", "label": "positive"}\n{"sentence": "a dull film", "label": "negative"}\n'


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        (None, [], "no file or folder"),
        (GOOD, ["--text", "txt"], "txt"),
        (b"", [], "empty"),
        (GOOD.replace(b"negative", b"positive"), [], "at least two classes"),
        (b'{"sentence": "\xff\xfe", "label": "a"}\n', [], "UTF-8"),
        (GOOD + b'{"sentence": "cut of\n', [], "line 3"),
        (GOOD.replace(b'"label"', b'"id": 1, "label"'), ["--id", "id"], "id"),
        (GOOD, ["--model", "no/such/model/here"], "no/such/model/here"),
        (GOOD, ["--runs", "0"], "--runs"),
    ],
    ids=["missing", "column", "empty", "one-class", "utf8", "malformed", "duplicate-id", "model", "runs"],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, tiny: str, reviews: tuple[Path, Path], content: bytes | None, words: list[str], says: str
) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    defaults = [] if "--model" in words else ["--model", tiny]
    failed = winnow("score", path, "--experiment", tmp_path / "x", "--eval", reviews[1], *defaults, *words)
    assert failed.returncode in (1, 2), failed.stdout
    assert says.lower() in failed.stderr.lower()
    assert "Traceback" not in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_label_unseen_in_training_is_refused(tmp_path: Path, tiny: str, reviews: tuple[Path, Path]) -> None:
    evaluation = tmp_path / "eval.jsonl"
    evaluation.write_text('{"sentence": "a film", "label": "mixed"}\n')
    failed = winnow("score", reviews[0], "--experiment", tmp_path / "x", "--eval", evaluation, "--model", tiny)
    assert failed.returncode == 1
    assert "mixed" in failed.stderr


def test_names_that_do_not_exist_and_outputs_that_do(scored: Experiment, tmp_path: Path) -> None:
    failed = winnow("export", scored.folder.root, "--subset", "loosing-ticket", "--output", tmp_path / "a.jsonl")
    assert failed.returncode in (1, 2)
    assert "winning-ticket" in failed.stderr
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    failed = winnow("export", scored.folder.root, "--subset", "remove-0", "--output", there)
    assert failed.returncode == 1
    assert "--force" in failed.stderr
    assert there.read_text() == "mine"


def test_the_frontier_is_shown_at_the_budget_asked_for(scored: Experiment) -> None:
    assert "Frontier at equal epochs" in winnow("show", scored.folder.root).stdout
    assert "Frontier at equal steps" in winnow("show", scored.folder.root, "--budget", "steps").stdout
    wrong = winnow("show", scored.folder.root, "--budget", "days")
    assert (
        wrong.returncode == 2
        and wrong.stderr.startswith("Error: budget must be epochs, steps or enough, got 'days' (--budget).")
        and not wrong.stdout
    )


@pytest.mark.process
def test_a_closed_pipe_ends_the_printing_and_not_the_work(settings: Settings, tmp_path: Path) -> None:
    """`winnow score ... | head` in a process of its own, its reader gone before the first line."""
    folder, read = tmp_path / "x", os.pipe()
    os.close(read[0])
    command = [sys.executable, "-m", "pruning", *score_words(settings.with_changes(seeds=settings.seeds[:1]), folder), "--verbose"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=read[1], stderr=subprocess.PIPE, text=True, timeout=150, check=False)
    os.close(read[1])
    assert done.returncode == 0 and "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
    assert Experiment(folder).status().state is JobState.DONE and Experiment(folder).finished_runs() == [0]
    assert ": run 0 finished in" in done.stderr


def test_the_log_is_printed_where_it_is_asked_for(scored: Experiment, tmp_path: Path) -> None:
    words = ["export", scored.folder.root, "--subset", "remove-0", "--output"]
    assert "INFO" not in winnow(*words, tmp_path / "a.jsonl").stderr
    size = scored.subset("remove-0").size
    written = winnow(*words, tmp_path / "b.jsonl", "--verbose")
    assert f"INFO pruning.export.writer: wrote {size} rows of remove-0 to {tmp_path / 'b.jsonl'}" in written.stderr
    assert "INFO" not in written.stdout
    assert "INFO" not in winnow(*words, tmp_path / "c.jsonl").stderr


def test_wrong_usage_exits_with_2() -> None:
    assert winnow("score").returncode == 2
    assert winnow("shove").returncode == 2


def test_an_estimate_trains_nothing_and_leaves_nothing(reviews: tuple[Path, Path], tiny: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    words = ["score", reviews[0], "--eval", reviews[1], "--model", tiny, "--runs", "2", "--device", "cpu", "--experiment", folder]
    told = json.loads(winnow(*words, "--estimate", "--json").stdout)
    assert told["examples"] == EXAMPLES
    assert 0 < told["score_seconds"] < 600 and 0 < told["frontier_seconds"] < 6000
    assert not folder.exists()


def test_a_preset_stands_in_for_the_data_and_is_changed_by_other_options(tmp_path: Path) -> None:
    done = winnow("score", "--preset", "sst2", "--eval-seed", "1", "--experiment", tmp_path / "x", "--epochs", "0")
    assert done.stderr == "Error: epochs must be at least 1, got 0 (--epochs).\n"
    assert "one of sst2, mnli" in winnow("score", "--preset", "imdb", "--experiment", tmp_path / "x").stderr
    assert "exactly one" in winnow("score", "x.jsonl", "--preset", "sst2").stderr
    assert "--experiment" in winnow("score", "x.jsonl").stderr
    assert not (tmp_path / "x").exists()


def test_the_audit_is_printed_and_is_data(scored: Experiment) -> None:
    done = winnow("audit", scored.folder.root, "--subset", "remove-0")
    assert done.returncode == 0 and "labels look wrong" in done.stdout and "By source" in done.stdout
    found = json.loads(winnow("audit", scored.folder.root, "--subset", "remove-0", "--json").stdout)
    assert (found["subset"], found["total"]) == ("remove-0", EXAMPLES)
    assert [shares["column"] for shares in found["shares"]] == ["label", "words in sentence", "source"]
    assert winnow("audit", scored.folder.root, "--subset", "lucky").returncode == 1


def test_duplicates_are_settled_and_the_margin_is_set_by_command(tmp_path: Path) -> None:
    """Three of the six texts are nearly the same."""
    folder = repeating(tmp_path).folder.root
    done = winnow("audit", folder, "--subset", "full", "--duplicates", "keep-one", "--json")
    assert done.returncode == 0 and done.stderr.startswith("keep one of each group: 2 examples decided by hand.")
    found = json.loads(done.stdout)
    assert (found["subset"], found["kept"], found["redundant"]) == ("full+decisions", 4, 2)
    wrong = winnow("audit", folder, "--duplicates", "keep-none")
    assert wrong.returncode == 2 and "one of keep-one" in wrong.stderr
    assert json.loads(winnow("show", folder, "--margin", "2", "--json").stdout)["recommendation"]["margin"] == 0.02
    assert winnow("show", folder, "--margin", "nan").stderr.startswith(
        "Error: margin must be at least 0 and below 100 (pp), got nan (--margin)."
    )


def test_a_subset_is_saved_by_command_and_named_by_others(scored: Experiment, tmp_path: Path) -> None:
    folder = scored.folder.root
    size = scored.reading(1).subset("drop-hard").size
    done = winnow("save", folder, "drop-hard", "mine", "--burn-in", "1")
    where = scored.folder.saved("mine")
    assert done.stdout == f"Saved {size} of {EXAMPLES} examples (remove H = 0) as mine in {where}.\n" and done.returncode == 0, done.stderr
    assert "Saved: mine\n" in winnow("show", folder).stdout
    assert json.loads(winnow("audit", folder, "--subset", "mine", "--json").stdout)["kept"] == size
    assert winnow("export", folder, "--subset", "mine or full@1", "--output", tmp_path / "mine.jsonl").returncode == 0
    for words, code, says in ((("full", "mine"), 1, "mine already exists"), (("full", "ccs"), 2, "is the name of a rule")):
        failed = winnow("save", folder, *words)
        assert (failed.returncode, len(failed.stderr.splitlines())) == (code, 1) and says in failed.stderr
    where.write_bytes(where.read_bytes()[:-1])
    assert "mine.parquet is damaged" in winnow("verify", folder).stderr
    assert winnow("forget", folder, "mine").stdout == "Removed the saved subset mine.\n" and winnow("verify", folder).returncode == 0
    assert "No subset is saved under 'mine'" in winnow("forget", folder, "mine").stderr


def test_a_recording_of_cartography_goes_in_and_out(scored: Experiment, reviews: tuple[Path, Path], tmp_path: Path) -> None:
    exported = tmp_path / "dynamics"
    done = winnow("export", scored.folder.root, "--subset", "full", "--format", "cartography", "--output", exported)
    assert done.returncode == 0, done.stderr
    runs = [exported / f"run={run}" for run in range(len(SEEDS))]
    done = winnow("import", *runs, "--data", reviews[0], "--experiment", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert Experiment(tmp_path / "again", 0).h_score().tolist() == scored.reading(0).h_score().tolist()
    done = winnow("import", runs[0], "--data", reviews[0], "--experiment", tmp_path / "third", "--runs", "6")
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and "1 runs instead of 6" in done.stderr


@pytest.mark.process
def test_several_files_are_scored_as_one(reviews: tuple[Path, Path], tiny: str, tmp_path: Path) -> None:
    """As a shell hands them over for data/*.jsonl; a comma in a name would separate files, so it is refused."""
    lines = reviews[0].read_bytes().splitlines(keepends=True)
    parts = [tmp_path / f"part-{number}.jsonl" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(b"".join(lines[number * 40 : number * 40 + 40]))
    options = ("--model", tiny, "--runs", "2", "--epochs", "1", "--learning-rate", "1e-3", "--experiment", tmp_path / "x")
    assert winnow("score", *parts, *options).returncode == 0
    assert (tmp_path / "x" / "source.jsonl").read_bytes() == reviews[0].read_bytes()
    (tmp_path / "a,b.jsonl").write_bytes(lines[0])
    for verb in ("score", "fit"):
        done = winnow(verb, parts[0], tmp_path / "a,b.jsonl", "--experiment", tmp_path / "y")
        assert done.returncode == 2 and "has a comma in its name" in done.stderr
