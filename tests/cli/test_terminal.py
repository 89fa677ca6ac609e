"""Texts of data on a terminal."""

import ast
import io
import json
import logging
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner

from pruning import __version__, cli, logs
from pruning.cli import report
from pruning.cli.base import Unbroken, app, say
from pruning.formatting import one_line
from tests.support.commands import winnow
from tests.support.tiny import tiny_model

STEERING = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202e\u2066\r"
"""Clipboard, a cleared screen, an 8-bit escape, text that runs backwards, a line that is written over."""


def test_plain_lines_and_tables_have_no_terminal_control_characters() -> None:
    raw = io.StringIO()
    print(f"a {STEERING} film", file=Unbroken(raw))  # type: ignore[call-overload]
    console = type(report.console)(file=Unbroken(raw), width=200, force_terminal=True, color_system=None)  # type: ignore[arg-type]
    table = Table("subset")
    table.add_row(f"b {STEERING} film")
    console.print(table, f"c {STEERING} film")
    assert raw.getvalue().count("ZXZpbA==") == 3
    assert not [letter for letter in raw.getvalue() if not letter.isprintable() and letter not in "\n\t"]


BREAKS = ("\n", "\r", "\r\n", "\x1b[1A", "\x1bE", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
"""Ways to begin another line, or to write over one."""


@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
def test_data_with_line_breaks_stays_on_one_printed_line(
    line_break: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through `say`, the console and the log alike."""
    fake = f"a class{line_break}Error: disk full"
    say(fake)
    say(fake, error=True)
    printed = io.StringIO()
    monkeypatch.setattr(report, "console", type(report.console)(file=printed, width=200))
    report.print_line(fake)
    with logs.to_stderr():
        logging.getLogger("pruning.test").info("read %s", fake)
    out, err = capsys.readouterr()
    assert len(out.split("\n")) == len(printed.getvalue().split("\n")) == 2
    assert len(err.split("\n")) == 3
    for text in (out, printed.getvalue(), err):
        assert "Error: disk full" in text
        assert not [letter for letter in text if letter != "\n" and not letter.isprintable()]
        assert not any(line.startswith("Error") for line in text.split("\n"))


def test_everything_the_command_line_prints_passes_one_place() -> None:
    """`print` prints JSON, which escapes line ends itself, or stands in `say`; rich prints tables and sentences of our own."""
    found = []
    for path in sorted(Path(cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(ast.unparse(node).partition("(")[2])
    assert found and all(text.startswith(("json.dumps(", "one_line(")) for text in found)


@pytest.mark.process
def test_a_class_name_with_line_ends_is_one_line_on_the_terminal(tmp_path: Path) -> None:
    """The audit and the warnings of scoring name classes; none of their lines is the one that the data drew."""
    fake = "bad\nError: disk full\u2028Error: disk full\rError: disk full"
    rows = [{"text": f"film {number % 7}", "label": ("good", fake)[number % 2]} for number in range(24)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_model(tmp_path / "model")
    shared = ("--experiment", str(tmp_path / "x"), "--runs", "2", "--epochs", "1", "--learning-rate", "1e-3")
    done = [winnow("score", str(tmp_path / "data.jsonl"), "--model", str(tmp_path / "model"), *shared)]
    done += [winnow("audit", str(tmp_path / "x"), "--subset", "full"), winnow("show", str(tmp_path / "x"))]
    assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
    texts = [each.stdout + each.stderr for each in done]
    assert one_line(fake) in "".join(texts)
    assert not [line for text in texts for line in text.splitlines() if line.startswith("Error")]


def test_the_version_is_that_of_the_package() -> None:
    printed = CliRunner().invoke(app, ["--version"])
    assert printed.exit_code == 0 and printed.output == f"winnow {__version__}\n"
