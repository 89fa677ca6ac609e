"""What each writer writes: the rows as they were, and in parts."""

import csv
import json
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pruning.errors import UsageError
from pruning.experiment import Experiment, verified
from pruning.export import writer
from pruning.export.formats import FORMATS, of_output
from pruning.files import package_environment
from pruning.interop.recorder import Recorder
from pruning.jobs import worker
from pruning.records import DecisionKind
from pruning.settings import Settings
from pruning.subsets.decisions import Decision
from tests.support.subsets import some


@pytest.mark.process
def test_kept_lines_come_out_byte_for_byte(scored: Experiment, tmp_path: Path, reviews: tuple[Path, Path]) -> None:
    output = tmp_path / "out.jsonl"
    writer.build(scored, some(scored), output)
    lines = reviews[0].read_bytes().splitlines(keepends=True)
    assert output.read_bytes() == b"".join(lines[::3])


@pytest.mark.process
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
    writer.build(experiment, some(experiment, slice(0, None, 3)), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == odd[0] + odd[4]


@pytest.mark.parametrize("format", ["parquet", "hf", "csv"])
def test_every_format_has_the_sources_own_columns(scored: Experiment, tmp_path: Path, format: str) -> None:
    output = tmp_path / f"out-{format}"
    writer.build(scored, some(scored), output, format=format)
    assert writer.verify(output)["output"]["format"] == format
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
    writer.build(scored, replace(some(scored), labels={3: other}), tmp_path / "out.jsonl")
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written[1] == {**lines[3], "label": other}
    assert [written[0], *written[2:]] == [lines[0], *lines[6::3]]


def recorded(folder: Path, data: Path) -> Experiment:
    """An experiment of two runs of one epoch that were always right."""
    recorder = Recorder(folder / "x", data, evaluation=data, epochs=1, runs=2)
    classes = len(recorder.experiment.label_names)
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(len(recorder.labels)), 4 * np.eye(classes)[recorder.labels])
    return Experiment(folder / "x")


FORMULAS = ["=1+1 good", "@user", "- item", "-1", "\t=1", " =1", "a;=1", "a\n+1", "\uff1d1", "plain"]


def test_csv_is_verbatim_unless_formulas_are_escaped(tmp_path: Path) -> None:
    """Both say so: in the manifest, its warnings and command, and in what `verify` prints. A label is text too; a number is none."""
    rows = [{"text": text, "label": "ab"[place % 2], "n": -place} for place, text in enumerate(FORMULAS)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    experiment = recorded(tmp_path, tmp_path / "data.jsonl")
    expected = {
        False: FORMULAS,
        True: ["'=1+1 good", "'@user", "'- item", "-1", "'\t'=1", "' =1", "a;'=1", "a\n'+1", "'\uff1d1", "plain"],
    }
    for escape, texts in expected.items():
        output = tmp_path / f"{escape}.csv"
        manifest = experiment.export("full", output, escape_formulas=escape)
        with output.open(newline="") as file:
            read = list(csv.DictReader(file))
        assert [row["text"] for row in read] == texts
        assert [int(row["n"]) for row in read] == [-place for place in range(len(FORMULAS))]
        assert manifest["output"]["format"] == "csv" and manifest["cells"] == {"formulas_escaped": escape}
        assert any("--escape-formulas" in sentence for sentence in manifest["warnings"])
        assert ("--escape-formulas" in manifest["command"]) == escape
        assert (", formulas escaped," in verified(output)) == escape
        subset = experiment.subset("full")
        assert writer.is_current(manifest, experiment, subset, escape)
        assert not writer.is_current(manifest, experiment, subset, not escape)
    with pytest.raises(UsageError, match="Only csv has cells to escape; jsonl has none"):
        experiment.export("full", tmp_path / "out.jsonl", escape_formulas=True)


def test_an_export_of_before_still_verifies_and_is_out_of_date(tmp_path: Path) -> None:
    """CSV was always escaped, and its manifest did not say so."""
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"text": f"film {i}", "label": "ab"[i % 2]}) + "\n" for i in range(4)))
    experiment = recorded(tmp_path, tmp_path / "data.jsonl")
    experiment.export("full", tmp_path / "out.csv")
    path = writer.manifest_path(tmp_path / "out.csv")
    manifest = json.loads(path.read_text())
    del manifest["cells"]
    path.write_text(json.dumps(manifest))
    assert "matches its manifest: full, 4 rows, sha256" in verified(tmp_path / "out.csv")
    assert not writer.is_current(manifest, experiment, experiment.subset("full"))


@pytest.mark.parametrize(
    ("output", "format", "expected"),
    [
        ("o.csv", None, "csv"),
        ("o.CSV", None, "csv"),
        ("o.parquet", None, "parquet"),
        ("o.ndjson", None, "jsonl"),
        ("o.data", None, "jsonl"),
        ("folder", "hf", "hf"),
        ("v1.2", "parquet", "parquet"),
        ("o.csv", "parquet", "o.csv names csv by its ending, but format is parquet"),
        ("o.parquet", "hf", "o.parquet names parquet by its ending, but format is hf"),
        ("o.tsv", None, "No format is written as .tsv"),
        ("o.json", None, "No format is written as .json"),
        ("o.xlsx", None, "No format is written as .xlsx"),
        ("o.json", "jsonl", "jsonl"),
        ("o.jsonl.gz", None, "would not be compressed"),
        ("o.csv", "xlsx", "format must be one of"),
        (None, None, "jsonl"),
    ],
)
def test_the_format_follows_from_the_file_extension(output: str | None, format: str | None, expected: str) -> None:
    path = None if output is None else Path(output)
    if expected in FORMATS:
        assert of_output(path, format) == expected
    else:
        with pytest.raises(UsageError, match=re.escape(expected)):
            of_output(path, format)


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
        writer.build(experiment, experiment.subset("full"), tmp_path / format, format)
    written = [json.loads(line)["label"] for line in (tmp_path / "jsonl").read_text().splitlines()]
    assert written == [expected, *labels[1:]]
    assert type(written[0]) is type(labels[0])
    assert pd.read_parquet(tmp_path / "parquet")["label"].tolist() == [expected, *labels[1:]]


@pytest.mark.process
def test_a_datasets_folder_is_written_in_parts(tmp_path: Path) -> None:
    """A hundred megabytes of rows go out through a few megabytes of memory."""
    rows = 100_000
    with (tmp_path / "data.jsonl").open("w") as file:
        for row in range(rows):
            file.write(json.dumps({"text": f"{row} " + "word " * 200, "label": "ab"[row % 2]}) + "\n")
    recorded(tmp_path, tmp_path / "data.jsonl")
    code = f"""
import pyarrow
from pruning.experiment import Experiment
from pruning.export.formats import FORMATS
experiment = Experiment({str(tmp_path / "x")!r})
rows = FORMATS['hf'].write(experiment, experiment.ids, {{}}, __import__("pathlib").Path({str(tmp_path / "out")!r}))
assert rows == {rows}
print(pyarrow.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], env=package_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 60e6
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) > 100e6
    assert not (tmp_path / "out" / "scratch").exists()


@pytest.mark.process
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
    assert FORMATS["cartography"].write(experiment, kept, {}, tmp_path / "out") == len(kept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6, "a part, which 8,192 rows of three numbers are"
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["guid"] for line in written] == kept.tolist()
    assert [line["gold"] for line in written] == experiment.labels[::2].tolist()
    logits = np.array([line["logits_epoch_0"] for line in written])
    gold = np.exp(logits[np.arange(len(kept)), experiment.labels[::2]])
    assert np.allclose(gold, experiment.dynamics.gold_prob[1, 0, ::2], atol=1e-5)
