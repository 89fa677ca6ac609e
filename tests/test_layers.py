"""The direction of the imports, held by running Python rather than by reading it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIGHT = sorted(path.stem for path in (ROOT / "pruning").glob("*.py") if path.stem not in ("__init__", "__main__"))


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_brings_neither_torch_nor_streamlit(module: str) -> None:
    code = f"import sys, pruning.{module}; sys.exit(' '.join(sorted({{'torch', 'streamlit'}} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_engine_needs_only_torch_transformers_and_numpy() -> None:
    code = """
import sys
for name in ("datasets", "pandas", "pyarrow", "streamlit", "plotly", "typer"):
    sys.modules[name] = None
import pruning.training
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
