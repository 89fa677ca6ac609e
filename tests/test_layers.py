"""The direction of the imports."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


PACKAGE = ROOT / "pruning"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


@pytest.mark.process
def test_only_the_engine_imports_torch_and_only_the_dashboard_streamlit() -> None:
    names = [dotted(path) for path in MODULES if path.relative_to(PACKAGE).parts[0] not in ("training", "ui")]
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    assert not {{"torch", "streamlit"}} & set(sys.modules), name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_import_only_from_their_row_or_above() -> None:
    """The rows are those of CONTRIBUTING.md's table; imports inside functions count too."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)(?:\.py|/)`", row) for row in table.splitlines()[2:]]
    layer = {name: number for number, row in enumerate(rows) for name in row}
    assert {room(path) for path in MODULES} - {"__init__"} <= set(layer), "a module that CONTRIBUTING.md's table leaves out"
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            for module in imported(node):
                if module.startswith("pruning.") and room(path) != "__init__":
                    target = module.split(".")[1]
                    if layer.get(target, 0) > layer[room(path)]:
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {module}")
                    if (room(path), target) == ("ui", "cli"):
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {module}: ui works without cli")
    assert not wrong, "\n".join(wrong)


def test_no_import_closes_a_circle() -> None:
    """Imports for type checking only, and those inside functions, count too; `from package import module` is one of the module."""
    names = {dotted(path): path for path in MODULES if dotted(path) != "pruning"}
    arrows: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            targets = set(imported(node)) & names.keys()
            arrows[name] |= {target for target in targets if not any(other.startswith(f"{target}.") for other in targets)}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_page_is_short() -> None:
    """A page reads top to bottom; what it is made of lives in pruning/ui/, what it shows in the library."""
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "pages").glob("*.py")}
    assert len(lengths) == 6 and {name: lines for name, lines in lengths.items() if lines > 80} == {}


def dotted(path: Path) -> str:
    """The module's name as it is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(path: Path) -> str:
    """The folder or module directly under pruning/."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.process
def test_the_engine_needs_only_torch_transformers_and_numpy() -> None:
    code = """
import sys
from graphlib import CycleError, TopologicalSorter
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
    by_hand = {"dprune", "math-verify", "ray", "trl"}
    assert packages - by_hand <= pinned, "dPrune, TRL, and the extras math-verify and ray, are installed by whoever wants them"


def imported(node: ast.AST) -> list[str]:
    """Names of the modules that a statement imports; of `from package import name`, the package and the name in it."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
