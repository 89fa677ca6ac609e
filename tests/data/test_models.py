import json
import shutil
from pathlib import Path

import pytest

from pruning.data import models
from pruning.errors import ModelError


def test_a_folder_is_its_own_place(tiny: str) -> None:
    assert models.locate(tiny) == Path(tiny)
    assert models.load_tokenizer(Path(tiny))("a good film")["input_ids"]


def test_the_fingerprint_follows_weights_and_configuration(tiny: str, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "copy")
    before = models.fingerprint(copy)
    assert before == models.fingerprint(Path(tiny))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.5}))
    assert models.fingerprint(copy) != before


def test_other_places_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for place, says in (("file", "is a file"), ("empty", "no config.json"), ("a/b/c", "no hub name")):
        with pytest.raises(ModelError, match=says):
            models.locate(str(tmp_path / place) if place != "a/b/c" else place)


def test_pickled_weights_are_refused(tiny: str, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "copy")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        models.fingerprint(copy)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/other.safetensors", "gone.safetensors"])
def test_weights_outside_the_folder_are_refused(name: str, tiny: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    (tmp_path / "other.safetensors").write_bytes((copy / "model.safetensors").read_bytes())
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    assert models.locate(str(copy)) == copy
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": name}}))
    with pytest.raises(ModelError, match=f"names '{name}'"):
        models.locate(str(copy))
    index.write_text("[]")
    with pytest.raises(ModelError, match="no index of weights"):
        models.locate(str(copy))


def test_an_adapter_is_refused(tiny: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    (copy / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/somewhere/else"}))
    with pytest.raises(ModelError, match="merge it first"):
        models.locate(str(copy))


def test_a_missing_tokenizer_is_said(tiny: str, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "copy")
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        models.load_tokenizer(copy)
