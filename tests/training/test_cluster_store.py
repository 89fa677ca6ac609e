"""What is sent to the machines of a cluster, without Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pruning.errors import ClusterError
from pruning.training.cluster_store import bytes_of, check_store, files_to_send, put_model
from tests.support.tiny import tiny_data


def node(address: str, store: float, alive: bool = True) -> dict[str, Any]:
    return {"NodeManagerAddress": address, "Resources": {"object_store_memory": store}, "Alive": alive}


def test_a_machine_that_is_lost_or_large_enough_is_no_matter_and_one_too_small_is_named() -> None:
    nodes = [node("10.0.0.1", 1e9), node("10.0.0.2", 1e6, alive=False)]
    ray = SimpleNamespace(nodes=lambda: nodes)
    check_store(ray, 10**9)
    nodes.append(node("10.0.0.3", 2e8))
    with pytest.raises(
        ClusterError, match=r"The object store of 10\.0\.0\.3 holds 200 MB, but the model and the data take 1,000; start Ray"
    ):
        check_store(ray, 10**9)


def test_a_model_is_sent_unless_every_machine_sees_it(tiny: str, tmp_path: Path) -> None:
    ray = SimpleNamespace(put=bytes)
    files = files_to_send(Path(tiny), tmp_path)
    assert {"config.json", "model.safetensors"} <= {path.name for path in files}
    sent = put_model(ray, Path(tiny), files)
    assert sent[1] == [(path.name, path.read_bytes()) for path in files]
    assert files_to_send(Path(tiny), Path(tiny).parent) == []
    assert put_model(ray, Path(tiny), []) == str(Path(tiny).resolve())


def test_the_bytes_of_data_are_those_of_its_arrays() -> None:
    data = tiny_data([5, 9])
    assert bytes_of(data) == sum(array.nbytes for array in (data.tokens, data.offsets, data.unit_offsets, data.labels))
