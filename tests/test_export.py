import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from pruning import export, worker
from pruning.decisions import Decision
from pruning.errors import ExportError, UsageError
from pruning.experiment import Experiment
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
