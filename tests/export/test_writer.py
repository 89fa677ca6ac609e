import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pruning.errors import ExportError, UsageError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.export.formats import FORMATS
from pruning.files import package_environment
from pruning.records import DecisionKind
from pruning.subsets.decisions import Decision
from tests.support.subsets import some


def test_the_manifest_says_what_it_is_and_verify_agrees(scored: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    manifest = writer.build(scored, some(scored), output)
    assert manifest["output"]["rows"] == 40
    assert manifest["ids"] == scored.ids[::3].tolist()
    assert manifest["data"]["fingerprint"] == scored.info["data"]["fingerprint"]
    assert "--subset every-third" in manifest["command"]
    assert any("never trained" in sentence for sentence in manifest["warnings"])
    assert writer.verify(output) == manifest
    output.write_bytes(output.read_bytes().replace(b"film", b"fi1m", 1))
    with pytest.raises(ExportError, match="differs from its manifest"):
        writer.verify(output)


def test_verify_names_what_is_missing(scored: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is not there"):
        writer.verify(tmp_path / "nothing.jsonl")
    lonely = tmp_path / "lonely.jsonl"
    lonely.write_text("{}\n")
    with pytest.raises(ExportError, match="has no manifest"):
        writer.verify(lonely)


def test_an_output_that_exists_needs_force(scored: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    writer.build(scored, some(scored), output)
    with pytest.raises(ExportError, match="--force"):
        writer.build(scored, some(scored), output)
    writer.build(scored, some(scored, slice(0, None, 4)), output, force=True)
    assert writer.verify(output)["output"]["rows"] == 30


def test_wrong_formats_and_empty_subsets_are_refused(scored: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jsonl, csv, parquet, hf"):
        writer.build(scored, some(scored), tmp_path / "x", format="xlsx")
    with pytest.raises(ExportError, match="keeps no examples"):
        writer.build(scored, some(scored, slice(0, 0)), tmp_path / "x")
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
    outputs = [writer.default_output(scored, subset, format) for format in FORMATS]
    for output, format in zip(outputs, FORMATS, strict=True):
        writer.build(scored, subset, output, format)
    assert [writer.verify(output)["output"]["format"] for output in outputs] == list(FORMATS)
    assert outputs[0] == scored.folder.exports / "drop-hard" / "data.jsonl"


def test_an_export_is_current_until_something_in_it_changes(scored: Experiment, tmp_path: Path) -> None:
    subset = scored.subset("drop-hard")
    writer.build(scored, subset, tmp_path / "out.jsonl")
    manifest = writer.verify(tmp_path / "out.jsonl")
    assert writer.is_current(manifest, scored, subset)
    assert not writer.is_current(manifest, scored.reading(0), scored.reading(0).subset("drop-hard"))
    assert not writer.is_current(manifest, scored, some(scored))
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(subset.kept[0]),)))
    assert writer.is_current(manifest, scored, subset), "decisions by hand are no part of the plain subset"
    first = scored.subset("drop-hard+decisions")
    manifest = writer.build(scored, first, tmp_path / "decided.jsonl")
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(subset.kept[1]),)))
    assert not writer.is_current(manifest, scored, scored.subset("drop-hard+decisions"))
    manifest = writer.build(scored, scored.subset("drop-hard"), tmp_path / "decided.jsonl", force=True)
    relabel(scored, int(subset.kept[2]))
    assert not writer.is_current(manifest, scored, scored.subset("drop-hard"))
    assert writer.is_current(writer.verify(tmp_path / "out.jsonl"), scored, subset), "nor are labels changed by hand"


def test_only_decisions_that_are_in_the_rows_are_counted(scored: Experiment, tmp_path: Path) -> None:
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(0, 3)))
    scored.decide(Decision(kind=DecisionKind.KEEP, ids=(1,)))
    relabel(scored, 6)
    relabel(scored, 1)
    plain = writer.build(scored, some(scored), tmp_path / "plain.jsonl")["decisions"]
    assert plain == {"kept": 0, "dropped": 0, "relabelled": 0, "labels": {}}
    decided = writer.build(scored, scored.subset("full+decisions"), tmp_path / "decided.jsonl")["decisions"]
    assert (decided["kept"], decided["dropped"], decided["relabelled"]) == (2, 2, 2)


def test_a_label_changed_back_leaves_its_row_alone(scored: Experiment, tmp_path: Path, reviews: tuple[Path, Path]) -> None:
    assert scored.labels is not None
    scored.decide(Decision(kind=DecisionKind.RELABEL, ids=(3,), value=scored.label_names[scored.labels[3]]))
    manifest = writer.build(scored, scored.subset("full"), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == reviews[0].read_bytes()
    assert manifest["decisions"]["relabelled"] == 0


def test_changed_labels_are_said_and_count_as_never_measured(scored: Experiment) -> None:
    assert not any("by hand" in sentence for sentence in writer.warnings(scored, scored.subset("full")))
    relabel(scored, 3)
    subset = scored.subset("full+decisions")
    assert subset.name == "full+decisions" and subset.size == len(scored.ids) and set(subset.labels) == {3}
    found = writer.warnings(scored, subset)
    assert "Labels changed by hand: 1. The scores were made with the labels before that." in found
    assert any(sentence.startswith("full+decisions was never trained on") for sentence in found)


@pytest.mark.process
@pytest.mark.parametrize("format", ["jsonl", "hf"])
def test_the_manifests_command_makes_the_same_bytes_again(scored: Experiment, tmp_path: Path, format: str) -> None:
    relabel(scored, 3)
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(0, 1)))
    scored = scored.reading(1)
    subset = scored.subset("full+decisions")
    manifest = writer.build(scored, subset, tmp_path / "with space" / "out", format)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    environment = {**package_environment(), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    assert "--force" not in manifest["command"]
    (tmp_path / "with space").rename(tmp_path / "first")
    done = subprocess.run(manifest["command"], shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = writer.verify(tmp_path / "with space" / "out")
    assert {**again, "created": ""} == {**manifest, "created": ""}


def test_an_exported_folder_can_be_zipped_and_verified(scored: Experiment, tmp_path: Path) -> None:
    output = tmp_path / "exports" / "x" / "data"
    writer.build(scored, some(scored), output, "hf")
    assert writer.archived(output) is None
    path = writer.archive(output)
    assert writer.archived(output) == path == output.with_name("data.zip")
    with zipfile.ZipFile(path) as zipped:
        zipped.extractall(tmp_path / "got" / "exports" / "x")
    assert writer.verify(tmp_path / "got" / "exports" / "x" / "data") == writer.verify(output)
    writer.build(scored, some(scored, slice(0, None, 4)), output, "hf", force=True)
    assert writer.archived(output) is None, "a zip of what was there before"
