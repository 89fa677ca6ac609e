"""The direction of the imports."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_only_the_engine_imports_torch_and_only_the_dashboard_streamlit() -> None:
    modules = sorted(path.stem for path in (ROOT / "pruning").glob("*.py") if path.stem != "__main__")
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module("pruning." + name if name != "__init__" else "pruning")
    assert not {{"torch", "streamlit"}} & set(sys.modules), name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_import_only_what_stands_in_their_layer_or_above() -> None:
    """The layers are those of CONTRIBUTING.md's table; imports inside functions are for what is needed rarely, and free."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)(?:\.py|/)`", row) for row in table.splitlines()[2:]]
    layer = {name: number for number, row in enumerate(rows) for name in row}
    sources = {path.relative_to(ROOT / "pruning").parts[0].removesuffix(".py") for path in (ROOT / "pruning").rglob("*.py")}
    assert sources - {"__init__", "__main__"} <= set(layer), "a module that CONTRIBUTING.md's layers leave out"
    for path in (ROOT / "pruning").rglob("*.py"):
        name = path.relative_to(ROOT / "pruning").parts[0].removesuffix(".py")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pruning"):
                parts = (node.module or "").split(".")
                for imported in [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]:
                    assert layer.get(imported, 0) <= layer.get(name, len(rows)), f"{path} imports {imported}"
                    assert (name, imported) != ("ui", "report"), (
                        f"{path} imports report.py, which brings rich and is the command line's alone"
                    )


def test_the_engine_needs_only_torch_transformers_and_numpy() -> None:
    code = """
import sys
for name in ("datasets", "pandas", "pyarrow", "streamlit", "plotly", "typer"):
    sys.modules[name] = None
import pruning.training
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folders", "pins"),
    [
        (("app.py", "pages", "pruning"), ["requirements.txt"]),
        (("tests", "benchmarks", "assets"), ["requirements.txt", "requirements-dev.txt"]),
    ],
)
def test_every_package_imported_is_pinned(folders: tuple[str, ...], pins: list[str]) -> None:
    pinned = {line.partition("==")[0].lower() for name in pins for line in (ROOT / name).read_text().splitlines() if "==" in line}
    sources = [path for folder in folders for path in ([ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"))]
    names = {name.partition(".")[0] for path in sources for node in ast.walk(ast.parse(path.read_text())) for name in imported(node)}
    known = packages_distributions()
    packages = {known[name][0].lower() for name in names - sys.stdlib_module_names if name in known}
    assert packages - {"dprune"} <= pinned, "only dPrune is installed by hand, by whoever compares with it"


def imported(node: ast.AST) -> list[str]:
    """Names of the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
