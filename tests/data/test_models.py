"""Models are found, checked before any training, and identified by their files."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from pruning.data import model_checks, models
from pruning.data.tasks import TASKS
from pruning.errors import ModelError
from tests.support.tiny import tiny_data, tiny_model, tiny_questions, tiny_tokenizer


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    """A copy of the tiny model to change."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_a_model_folder_is_used_where_it_is(tiny: str) -> None:
    assert models.locate(tiny) == Path(tiny)
    assert models.load_tokenizer(Path(tiny))("a good film")["input_ids"]


def test_the_fingerprint_follows_weights_and_configuration(tiny: str, copy: Path) -> None:
    before = models.fingerprint(copy)
    assert before == models.fingerprint(Path(tiny))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.5}))
    assert models.fingerprint(copy) != before


def change_weights(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def change_config(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.5}))


def change_tokenizer(copy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(copy))
    tokenizer.add_tokens(["film-noir"])
    tokenizer.save_pretrained(str(copy))


CHANGES = {"weights": change_weights, "config": change_config, "tokenizer": change_tokenizer}


@pytest.mark.parametrize("part", CHANGES)
def test_a_changed_part_is_named(copy: Path, part: str) -> None:
    recorded = models.identity(copy)
    models.check_unchanged(copy, "mine", recorded, Path("x"))
    CHANGES[part](copy)
    with pytest.raises(ModelError, match=f"^The {part} of mine changed since x was recorded; restore the original files"):
        models.check_unchanged(copy, "mine", recorded, Path("x"))


def test_an_identity_without_parts_is_compared_as_it_was_recorded(copy: Path) -> None:
    """Experiments recorded before the tokenizer counted still measure, and still notice other weights."""
    recorded = {"source": str(copy), "fingerprint": models.fingerprint(copy)}
    change_tokenizer(copy)
    models.check_unchanged(copy, "mine", recorded, Path("x"))
    change_weights(copy)
    with pytest.raises(ModelError, match="The weights or config of mine changed"):
        models.check_unchanged(copy, "mine", recorded, Path("x"))


def test_weights_are_read_once_while_they_are_the_same(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(models, "sha256", lambda file: (read.append(Path(file).name), "00" * 32)[1])
    for _ in range(3):
        models.identity(copy)
    assert read.count("model.safetensors") == 1


def test_a_replaced_tokenizer_is_loaded_again(copy: Path) -> None:
    before = len(models.load_tokenizer(copy))
    change_tokenizer(copy)
    assert len(models.load_tokenizer(copy)) == before + 1


def test_other_places_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for place, says in (("file", "is a file"), ("empty", "no config.json"), ("a/b/c", "not a hub name")):
        with pytest.raises(ModelError, match=says):
            models.locate(str(tmp_path / place) if place != "a/b/c" else place)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/other.safetensors", "gone.safetensors"])
def test_weights_outside_the_folder_are_refused(name: str, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes((copy / "model.safetensors").read_bytes())
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    assert models.locate(str(copy)) == copy
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": name}}))
    with pytest.raises(ModelError, match=f"names '{name}'"):
        models.locate(str(copy))
    index.write_text("[]")
    with pytest.raises(ModelError, match="not an index of weights"):
        models.locate(str(copy))


# -- files ---------------------------------------------------------------------------------------------------------------


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n"


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    return lambda copy: (copy / name).write_bytes(content.encode() if isinstance(content, str) else content) and None


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(copy: Path) -> None:
        config = {**json.loads((copy / "config.json").read_text()), **changes}
        (copy / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value != "DROP"}))

    return change


def header(content: bytes, length: int | None = None, data: bytes = b"") -> Callable[[Path], None]:
    return write("model.safetensors", struct.pack("<Q", len(content) if length is None else length) + content + data)


def pickled(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")


def only_gguf(copy: Path) -> None:
    for file in copy.iterdir():
        file.unlink()
    (copy / "model-q4.gguf").write_bytes(b"GGUF")


def cut_off(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def adapter_only(copy: Path) -> None:
    """As peft's save_pretrained leaves it: no config.json, no tokenizer."""
    for file in copy.iterdir():
        file.unlink()
    (copy / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "roberta-base", "peft_type": "LORA"}))
    (copy / "adapter_model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")


def no_tokenizer(copy: Path) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights are a pointer": (write("model.safetensors", POINTER), "model.safetensors of .* is a git-lfs pointer.*git lfs pull"),
    "config is a pointer": (write("config.json", POINTER), "config.json of .* is a git-lfs pointer"),
    "tokenizer is a pointer": (write("tokenizer.json", POINTER), "tokenizer.json of .* is a git-lfs pointer"),
    "empty weights": (write("model.safetensors", b""), "cut off or damaged: 0 bytes"),
    "cut off": (cut_off, "cut off or damaged: [0-9,]+ bytes instead of"),
    "header longer than the file": (header(b"{}", 10_000), "cut off or damaged: 10 bytes, with a header of 10,000 bytes"),
    "absurd header": (header(b"{}", 2**62), "with a header of 4,611,686,018,427,387,904 bytes"),
    "header is no JSON": (header(b"oops"), "a header that is not safetensors"),
    "header is a list": (header(b"[1]"), "a header that is not safetensors"),
    "header without shapes": (header(b'{"a": {}}'), "a header that is not safetensors"),
    "GGUF": (only_gguf, "holds model-q4.gguf, a GGUF file for inference that cannot be fine-tuned"),
    "pickle": (pickled, "has its weights in pytorch_model.bin, a format that can run code.*save the model as safetensors"),
    "config is a list": (write("config.json", "[]"), "config.json of .* holds a list instead of an object"),
    "config is no JSON": (write("config.json", "{"), "config.json of .* is not valid JSON"),
    "config is no text": (write("config.json", b"\xff\xfe\x00"), "config.json of .* is not valid JSON"),
    "no model_type": (configured(model_type="DROP"), "has no model_type"),
    "layers in words": (configured(num_hidden_layers="two"), 'num_hidden_layers = "two", which must be a whole number'),
    "a million layers": (configured(num_hidden_layers=1_000_000), "says 1,000,000 layers, but the weights hold 2"),
    "one layer more": (configured(num_hidden_layers=3), "says 3 layers, but the weights hold 2"),
    "absurd width": (configured(hidden_size=10_000_000), r"has [0-9,.]+ billion weights of 0.5 bytes, but this machine has"),
    "an adapter": (adapter_only, "is an adapter for roberta-base, not a whole model; merge the two"),
    "an adapter beside a model": (write("adapter_config.json", "{}"), "is an adapter for another model"),
    "no tokenizer": (no_tokenizer, "has no tokenizer: it needs one of tokenizer.json"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_model_are_refused_in_one_sentence(copy: Path, name: str) -> None:
    change, sentence = FILES[name]
    change(copy)
    with pytest.raises(ModelError, match=sentence) as error:
        models.locate(str(copy))
    assert str(copy) in str(error.value) and str(error.value).count(". ") == 0


def test_a_tokenizer_that_cannot_be_read_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("[]")
    with pytest.raises(ModelError, match="no tokenizer that can be loaded"):
        models.load_tokenizer(copy)


def test_a_tokenizer_that_is_missing_is_refused(copy: Path) -> None:
    no_tokenizer(copy)
    with pytest.raises(ModelError, match="has no tokenizer"):
        models.load_tokenizer(copy)


# -- what the model takes ------------------------------------------------------------------------------------------------


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    "bert": ({}, 40),
    "electra": ({"embedding_size": 32}, 40),
    "distilbert": ({"dim": 32, "hidden_dim": 48, "n_layers": 1, "n_heads": 4}, 40),
    "mpnet": ({}, 38),
    "roberta": ({"pad_token_id": 1}, 38),
    "camembert": ({"pad_token_id": 1}, 38),
    "gpt2": ({"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 40}, 40),
    "opt": ({"ffn_dim": 48, "word_embed_proj_dim": 32}, 40),
    "albert": ({"embedding_size": 32, "num_hidden_groups": 1, "num_hidden_layers": 4}, 40),
    "modernbert": ({"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}, 40),
    "llama": ({"num_key_value_heads": 2}, 40),
}
"""Architecture -> configuration, and the tokens of the longest sequence that 40 positions leave."""


def architecture(path: Path, kind: str) -> str:
    changes, _ = ARCHITECTURES[kind]
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{"vocab_size": 130, "max_position_embeddings": 40, "pad_token_id": 0, **SMALL, **changes})
    AutoModel.from_config(config).save_pretrained(str(path))
    tiny_tokenizer().save_pretrained(str(path))
    return str(path)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_longest_sequence_is_the_one_that_the_model_can_take(tmp_path: Path, kind: str) -> None:
    """One token more is an IndexError in the model itself, except where positions are computed; the limit itself is not."""
    path, limit = Path(architecture(tmp_path / kind, kind)), ARCHITECTURES[kind][1]
    found = model_checks.shape(models.locate(str(path)), kind)
    assert (found.longest, found.embedding_rows) == (limit, 130)
    model_checks.check_data(path, kind, tiny_data([3, limit]))
    with pytest.raises(ModelError, match=f"has {limit + 1} tokens, but {kind} takes at most {limit}; use --max-length {limit} or less"):
        model_checks.check_data(path, kind, tiny_data([3, limit]), tiny_data([limit + 1]))
    model = AutoModel.from_pretrained(str(path)).eval()
    model(input_ids=torch.full((1, limit), 5))
    if kind not in ("modernbert", "llama"):
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, limit + 1), 5))


def test_relative_positions_have_no_limit(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "deberta", "deberta-v2")
    assert model_checks.shape(Path(path), "deberta").longest is None
    model_checks.check_data(Path(path), "deberta", tiny_data([500]))


def test_tokens_without_embeddings_are_refused(copy: Path) -> None:
    """Tokens were added and the embeddings not resized: an IndexError in the middle of training."""
    rows = model_checks.shape(copy, "mine").embedding_rows
    assert rows == len(AutoTokenizer.from_pretrained(str(copy)))
    change_tokenizer(copy)
    tokenizer = models.load_tokenizer(copy)
    import pyarrow as pa

    table = pa.table({"id": [0, 1], "text": ["a good film-noir", "bad"], "label": [0, 1]})
    with pytest.raises(
        ModelError, match=rf"Token id {rows} occurs in the data, but the embeddings of mine have {rows} rows; .*resize_token"
    ):
        model_checks.check_data(copy, "mine", TASKS["classification"].encode(table, tokenizer, 64))
    plain = pa.table({"id": [0, 1], "text": ["a good film", "bad"], "label": [0, 1]})
    model_checks.check_data(copy, "mine", TASKS["classification"].encode(plain, tokenizer, 64))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "gpt2", "opt", "electra", "mpnet", "albert"])
def test_a_head_of_another_size_is_refused(tmp_path: Path, kind: str) -> None:
    """Transformers would end in a size mismatch; a head of the right size, or of no kind that counts, is accepted."""
    changes, _ = ARCHITECTURES[kind]
    usual = {"vocab_size": 130, "max_position_embeddings": 40, "pad_token_id": 0, "num_labels": 3, **SMALL}
    AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **{**usual, **changes})).save_pretrained(str(tmp_path))
    data = tiny_data([3, 4, 5])
    with pytest.raises(ModelError, match="mine has a head for 3 classes, but the data needs 2 classes; save the model without its head"):
        model_checks.check_data(tmp_path, "mine", data)
    model_checks.check_data(tmp_path, "mine", tiny_data([3, 4, 5, 6], classes=3))
    with pytest.raises(ModelError, match="the data needs 1 output"):
        model_checks.check_data(tmp_path, "mine", tiny_questions("multiple_choice", [[3, 4], [4, 5]]))
    model_checks.check_data(tmp_path, "mine", tiny_questions("span", [[3], [4]]))


def test_a_model_larger_than_the_memory_even_in_four_bits_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = model_checks.shape(copy, "mine").parameters // 2
    monkeypatch.setattr(model_checks, "_memory", lambda: needed + 1)
    models.locate(str(copy))
    model_checks._shape.cache_clear()
    monkeypatch.setattr(model_checks, "_memory", lambda: needed // 2)
    with pytest.raises(ModelError, match="of memory; use a smaller model"):
        models.locate(str(copy))


def test_the_size_of_a_checkpoint_counts_every_number(copy: Path) -> None:
    numbers = sum(parameter.numel() for parameter in AutoModel.from_pretrained(str(copy)).parameters())
    assert models.checkpoint_bytes(copy) == 12 * numbers
    assert np.isclose(models.checkpoint_bytes(copy) / (copy / "model.safetensors").stat().st_size, 3, rtol=0.1)
