"""The lengths told before training are those that encoding the texts gives."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pruning.data import access, lengths, models
from pruning.data import examples as data
from pruning.data import preview as first_look
from pruning.data.tasks import TASKS
from tests.support.texts import pairs

ROOT = Path(__file__).resolve().parents[2]
TASK = "classification"


@pytest.mark.parametrize("max_length", [16, 40, 4000])
def test_the_share_that_would_be_cut_is_what_the_task_cuts(max_length: int, tmp_path: Path, tiny: str) -> None:
    examples, preview = data.load(pairs(tmp_path)), first_look.preview(tmp_path / "pairs.jsonl", rows=lengths.ROWS)
    own = models.load_tokenizer(Path(tiny))
    cut = TASKS[TASK].encode(examples.table, own, max_length).truncated / len(examples)
    told = lengths.sentence(preview.rows, preview.mapping, TASK, tiny, max_length)
    assert f"{cut:.1%} are longer than {min(max_length, own.model_max_length)} tokens and would be cut." in told
    words = [len(f"{row['premise']} {row['hypothesis']}".split()) for row in preview.rows]
    assert f"first 300 rows have {np.median(words):,.0f} words at the median, {max(words)} at most." in told


@pytest.mark.parametrize("model", ["org/not-here", "", "nowhere/at/all"])
def test_without_the_model_s_tokenizer_words_are_counted_and_that_is_said(model: str) -> None:
    rows = [{"text": "word " * count} for count in (1, 10, 50, 100)]
    told = lengths.sentence(rows, {"text": "text", "label": "label"}, TASK, model, 64)
    assert "At 1.3 tokens per word" in told and "about 50.0% are longer than 64 tokens" in told


def test_lengths_are_estimated_without_a_readable_tokenizer(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    rows, mapping = [{"text": "a film"}], {"text": "text", "label": "label"}
    assert "is not on this machine" in lengths.sentence(rows, mapping, TASK, str(tmp_path), 8)
    assert "is not on this machine" not in lengths.sentence(rows, mapping, TASK, tiny, 8)
    monkeypatch.setenv(access.ROOTS, str(tmp_path))
    assert "is not on this machine" in lengths.sentence(rows, mapping, TASK, tiny, 8)


def test_contexts_read_in_overlapping_pieces_are_not_reported_as_truncated() -> None:
    rows = [{"q": "Who?", "c": "long " * 900, "a": ["he"]}]
    mapping = {"question": "q", "context": "c", "answers": "a"}
    assert lengths.sentence(rows, mapping, "question-answering", "sample", 384).endswith("is read in overlapping pieces.")
    assert lengths.sentence([{"q": None}], mapping, "question-answering", "sample", 384) == ""


def test_lengths_of_long_documents_take_under_two_seconds(tiny: str) -> None:
    rows = lengths.first([{"text": "a marvellous film " * 500}] * lengths.ROWS, at_least=5)
    assert 5 <= len(rows) < 50
    start = time.process_time()
    lengths.sentence(rows, {"text": "text"}, TASK, tiny, 128)
    assert time.process_time() - start < 2


@pytest.mark.process
def test_counting_tokens_does_not_import_torch(tiny: str) -> None:
    code = """
import sys
from pruning.data import lengths
assert "would be cut" in lengths.sentence([{"t": "a film"}], {"text": "t"}, "classification", sys.argv[1], 8)
sys.exit("torch" in sys.modules or "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, tiny], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
