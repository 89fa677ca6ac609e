"""The arrays of a look as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pruning.store import look


def test_a_small_array_survives_its_file_being_cut_short(tmp_path: Path) -> None:
    """It is a copy; a mapped array would end the process at its next access."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(100_000, dtype=np.float16))
    loaded = look.load_array(path)
    path.write_bytes(b"")
    assert not isinstance(loaded, np.memmap) and float(loaded[2000]) == 2000.0


def test_a_large_array_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "MAPPED_FROM", 1000)
    np.save(tmp_path / "a.npy", np.zeros(1000, np.float16))
    assert isinstance(look.load_array(tmp_path / "a.npy"), np.memmap)
