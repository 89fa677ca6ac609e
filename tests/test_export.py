import csv
import json
import os
import shlex
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pruning import export, worker
from pruning.decisions import Decision
from pruning.errors import ExportError, UsageError
from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.recorder import Recorder
from pruning.records import DecisionKind, Subset
from pruning.settings import Settings


def some(experiment: Experiment, keep: slice = slice(0, None, 3)) -> Subset:
    return Subset(name="every-third", method="test", rule="every third", kept=experiment.ids[keep], total=len(experiment.ids))


def test_kept_lines_come_out_byte_for_byte(scored: Experiment, tmp_path: Path, reviews: tuple[Path, Path]) -> None:
    output = tmp_path / "out.jsonl"
    export.build(scored, some(scored), output)
    lines = reviews[0].read_bytes().splitlines(keepends=True)
    assert output.read_bytes() == b"".join(lines[::3])


def test_odd_but_valid_json_stays_as_it_is(settings: Settings, reviews: tuple[Path, Path], tmp_path: Path) -> None:
    """Spaces, escapes, key order, duplicate-looking numbers and blank lines: what is kept is not re-serialised."""
    odd = [
        b'{"label":"positive",  "sentence": "a g\\u00f6od film", "x": 1.0e2}\r\n',
        b"\n",
        b'{"sentence": "a dull film", "label": "negative", "x": 3}\n',
        b'{"sentence": "the best film", "label": "positive", "x": 4}\n',
        b'{"sentence": "the worst film", "label": "negative", "x": 5}',
    ]
    source = tmp_path / "odd.jsonl"
    source.write_bytes(b"".join(odd))
    experiment = worker.score(settings.with_changes(data=str(source), seeds=(1,)), tmp_path / "odd")
    export.build(experiment, some(experiment, slice(0, None, 3)), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == odd[0] + odd[4]


def test_the_manifest_says_what_it_is_and_verify_agrees(scored: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    manifest = export.build(scored, some(scored), output)
    assert manifest["output"]["rows"] == 40
    assert manifest["ids"] == scored.ids[::3].tolist()
    assert manifest["data"]["fingerprint"] == scored.info["data"]["fingerprint"]
    assert "--subset every-third" in manifest["command"]
    assert any("never trained" in sentence for sentence in manifest["warnings"])
    assert export.verify(output) == manifest
    output.write_bytes(output.read_bytes().replace(b"film", b"fi1m", 1))
    with pytest.raises(ExportError, match="differs from its manifest"):
        export.verify(output)


def test_verify_names_what_is_missing(scored: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is not there"):
        export.verify(tmp_path / "nothing.jsonl")
    lonely = tmp_path / "lonely.jsonl"
    lonely.write_text("{}\n")
    with pytest.raises(ExportError, match="has no manifest"):
        export.verify(lonely)


def test_an_output_that_exists_needs_force(scored: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("mine")
    with pytest.raises(ExportError, match="--force"):
        export.build(scored, some(scored), output)
    assert output.read_text() == "mine"
    export.build(scored, some(scored), output, force=True)
    assert export.verify(output)["output"]["rows"] == 40


def test_formulas_are_escaped_in_csv(settings: Settings, tmp_path: Path) -> None:
    rows = [("=1+1 good film", "positive"), ("@dull film", "negative"), ("a fun film", "positive"), ("slow, a film", "negative")]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps({"sentence": text, "label": label}) + "\n" for text, label in rows))
    experiment = worker.score(settings.with_changes(data=str(source), seeds=(1,)), tmp_path / "formulas")
    export.build(experiment, some(experiment, slice(None)), tmp_path / "out.csv", format="csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["sentence"] for row in read] == ["'=1+1 good film", "'@dull film", "a fun film", "slow, a film"]


@pytest.mark.parametrize("format", ["parquet", "hf", "csv"])
def test_every_format_has_the_sources_own_columns(scored: Experiment, tmp_path: Path, format: str) -> None:
    output = tmp_path / f"out-{format}"
    export.build(scored, some(scored), output, format=format)
    assert export.verify(output)["output"]["format"] == format
    if format == "parquet":
        table = pd.read_parquet(output)
    elif format == "csv":
        table = pd.read_csv(output)
    else:
        import datasets

        table = datasets.load_from_disk(str(output)).to_pandas()
    assert list(table.columns) == ["sentence", "label", "source"]
    assert len(table) == 40


def test_labels_changed_by_hand_change_only_their_rows(scored: Experiment, tmp_path: Path, reviews: tuple[Path, Path]) -> None:
    lines = [json.loads(line) for line in reviews[0].read_text().splitlines()]
    other = "negative" if lines[3]["label"] == "positive" else "positive"
    scored.decide(Decision(kind=DecisionKind.RELABEL, ids=(3,), value=other))
    export.build(scored, some(scored), tmp_path / "out.jsonl")
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written[1] == {**lines[3], "label": other}
    assert [written[0], *written[2:]] == [lines[0], *lines[6::3]]


def test_wrong_formats_and_empty_subsets_are_refused(scored: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jsonl, csv, parquet, hf"):
        export.build(scored, some(scored), tmp_path / "x", format="xlsx")
    with pytest.raises(ExportError, match="keeps no example"):
        export.build(scored, some(scored, slice(0, 0)), tmp_path / "x")
    assert list(tmp_path.glob("x*")) == []


def relabel(experiment: Experiment, example: int) -> str:
    """Give that example the other label, and return it."""
    assert experiment.labels is not None
    other = experiment.label_names[1 - experiment.labels[example]]
    experiment.decide(Decision(kind=DecisionKind.RELABEL, ids=(example,), value=other))
    return other


def test_every_format_has_a_place_of_its_own(scored: Experiment) -> None:
    """A format built after another leaves that one and its manifest as they were."""
    subset = scored.subset("drop-hard")
    outputs = [export.default_output(scored, subset, format) for format in export.WRITERS]
    for output, format in zip(outputs, export.WRITERS, strict=True):
        export.build(scored, subset, output, format)
    assert [export.verify(output)["output"]["format"] for output in outputs] == list(export.WRITERS)
    assert outputs[0] == scored.folder.exports / "drop-hard" / "data.jsonl"


def test_an_export_is_current_until_something_in_it_changes(scored: Experiment, tmp_path: Path) -> None:
    subset = scored.subset("drop-hard")
    export.build(scored, subset, tmp_path / "out.jsonl")
    manifest = export.verify(tmp_path / "out.jsonl")
    assert export.is_current(manifest, scored, subset)
    assert not export.is_current(manifest, scored, scored.subset("drop-hard", 0), 0)
    assert not export.is_current(manifest, scored, some(scored))
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(subset.kept[0]),)))
    assert export.is_current(manifest, scored, subset), "decisions by hand are no part of the plain subset"
    first = scored.measured_subset("drop-hard+decisions")
    manifest = export.build(scored, first, tmp_path / "decided.jsonl")
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(subset.kept[1]),)))
    assert not export.is_current(manifest, scored, scored.measured_subset("drop-hard+decisions"))
    relabel(scored, int(subset.kept[2]))
    assert not export.is_current(export.verify(tmp_path / "out.jsonl"), scored, subset)


def test_only_decisions_that_are_in_the_rows_are_counted(scored: Experiment, tmp_path: Path) -> None:
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(0, 3)))
    scored.decide(Decision(kind=DecisionKind.KEEP, ids=(1,)))
    other = relabel(scored, 6)
    relabel(scored, 1)
    plain = export.build(scored, some(scored), tmp_path / "plain.jsonl")["decisions"]
    assert plain == {"kept": 0, "dropped": 0, "relabelled": 1, "labels": {"6": other}}
    decided = export.build(scored, scored.measured_subset("full+decisions"), tmp_path / "decided.jsonl")["decisions"]
    assert (decided["kept"], decided["dropped"], decided["relabelled"]) == (1, 2, 2)


def test_a_label_changed_back_leaves_its_row_alone(scored: Experiment, tmp_path: Path, reviews: tuple[Path, Path]) -> None:
    assert scored.labels is not None
    scored.decide(Decision(kind=DecisionKind.RELABEL, ids=(3,), value=scored.label_names[scored.labels[3]]))
    manifest = export.build(scored, scored.subset("full"), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == reviews[0].read_bytes()
    assert manifest["decisions"]["relabelled"] == 0


def test_changed_labels_are_said_to_have_been_measured_unchanged(scored: Experiment) -> None:
    assert not any("by hand" in sentence for sentence in export.warnings(scored, scored.subset("full")))
    relabel(scored, 3)
    subset = scored.measured_subset("full+decisions")
    assert subset.name == "full"
    assert "Labels changed by hand: 1. Scores and frontier were measured with the labels before that." in export.warnings(scored, subset)


@pytest.mark.parametrize("format", ["jsonl", "hf"])
def test_the_manifests_command_makes_the_same_bytes_again(scored: Experiment, tmp_path: Path, format: str) -> None:
    relabel(scored, 3)
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(0, 1)))
    subset = scored.measured_subset("full+decisions")
    manifest = export.build(scored, subset, tmp_path / "with space" / "out", format, burn_in=1)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    environment = {**package_environment(), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(manifest["command"], shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = export.verify(tmp_path / "with space" / "out")
    assert {**again, "created": ""} == {**manifest, "created": ""}


def recorded(folder: Path, data: Path) -> Experiment:
    """An experiment of two runs of one epoch that were always right."""
    recorder = Recorder(folder / "x", data, evaluation=data, epochs=1, runs=2)
    classes = len(recorder.experiment.label_names)
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(len(recorder.labels)), 4 * np.eye(classes)[recorder.labels])
    return Experiment(folder / "x")


STARS = ("1", "2", "3", "4", "5")


@pytest.mark.parametrize(
    ("names", "labels", "new", "expected"),
    [
        (STARS, [0, 1, 2, 3, 4], "5", 4),
        (STARS, [0, 1, 2, 1, 0], "5", 4),
        (("0", "2", "1"), [0, 1, 2, 0, 1], "2", 1),
        (None, [1, 2, 3, 4, 5], "5", 5),
        (None, [1.0, 2.0, 3.0, 2.0, 1.0], "3", 3.0),
        (None, [True, False, True, False, True], "false", False),
        (None, ["1", "2", "3", "2", "1"], "3", "3"),
    ],
)
def test_a_changed_label_is_written_as_the_source_writes_it(
    tmp_path: Path, names: tuple[str, ...] | None, labels: list[Any], new: str, expected: object
) -> None:
    """ClassLabels as their index, even where their names are digits and where no row had the new one."""
    import datasets

    data = datasets.Dataset.from_dict({"text": [f"film {word}" for word in "abcde"], "label": labels})
    data = data.cast_column("label", datasets.ClassLabel(names=list(names))) if names else data
    data.save_to_disk(str(tmp_path / "data"))
    experiment = recorded(tmp_path, tmp_path / "data")
    experiment.decide(Decision(kind=DecisionKind.RELABEL, ids=(0,), value=new))
    for format in ("jsonl", "parquet"):
        export.build(experiment, experiment.subset("full"), tmp_path / format, format)
    written = [json.loads(line)["label"] for line in (tmp_path / "jsonl").read_text().splitlines()]
    assert written == [expected, *labels[1:]]
    assert type(written[0]) is type(labels[0])
    assert pd.read_parquet(tmp_path / "parquet")["label"].tolist() == [expected, *labels[1:]]


def test_a_datasets_folder_is_written_in_parts(tmp_path: Path) -> None:
    """A hundred megabytes of rows go out through a few megabytes of memory."""
    rows = 100_000
    with (tmp_path / "data.jsonl").open("w") as file:
        for row in range(rows):
            file.write(json.dumps({"text": f"{row} " + "word " * 200, "label": "ab"[row % 2]}) + "\n")
    recorded(tmp_path, tmp_path / "data.jsonl")
    code = f"""
import pyarrow
from pruning import export
from pruning.experiment import Experiment
experiment = Experiment({str(tmp_path / "x")!r})
rows = export.WRITERS['hf'](experiment, experiment.ids, {{}}, __import__("pathlib").Path({str(tmp_path / "out")!r}))
assert rows == {rows}
print(pyarrow.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], env=package_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 60e6
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) > 100e6
    assert not (tmp_path / "out" / "scratch").exists()


def test_a_folder_can_be_had_as_one_zip(scored: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "exports" / "x" / "data"
    export.build(scored, some(scored), output, "hf")
    assert export.archived(output) is None
    path = export.archive(output)
    assert export.archived(output) == path == output.with_name("data.zip")
    with zipfile.ZipFile(path) as zipped:
        zipped.extractall(tmp_path / "got" / "exports" / "x")
    assert export.verify(tmp_path / "got" / "exports" / "x" / "data") == export.verify(output)
    export.build(scored, some(scored, slice(0, None, 4)), output, "hf", force=True)
    assert export.archived(output) is None, "a zip of what was there before"


def test_cartographys_format_is_written_in_parts(tmp_path: Path) -> None:
    """Neither an epoch's file nor the recording is ever whole in memory, and every chosen row comes out once, in order."""
    rows = 30_000
    (tmp_path / "data.jsonl").write_text(
        "".join(json.dumps({"text": f"film {row}", "label": "abc"[row % 3]}) + "\n" for row in range(rows))
    )
    experiment = recorded(tmp_path, tmp_path / "data.jsonl")
    kept, file = experiment.ids[::2], tmp_path / "out" / "run=1" / "training_dynamics" / "dynamics_epoch_0.jsonl"
    assert experiment.dynamics.runs == 2 and experiment.labels is not None
    tracemalloc.start()
    assert export.WRITERS["cartography"](experiment, kept, {}, tmp_path / "out") == len(kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6, "a part, which 8,192 rows of three numbers are"
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["guid"] for line in written] == kept.tolist()
    assert [line["gold"] for line in written] == experiment.labels[::2].tolist()
    logits = np.array([line["logits_epoch_0"] for line in written])
    gold = np.exp(logits[np.arange(len(kept)), experiment.labels[::2]])
    assert np.allclose(gold, experiment.dynamics.gold_prob[1, 0, ::2], atol=1e-5)
