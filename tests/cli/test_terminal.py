"""Texts of data on a terminal."""

import io

from rich.table import Table

from pruning.cli import report
from pruning.cli.base import Unbroken

STEERING = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202e\u2066\r"
"""Clipboard, a cleared screen, an 8-bit escape, text that runs backwards, a line that is written over."""


def test_plain_lines_and_tables_carry_nothing_that_steers_a_terminal() -> None:
    raw = io.StringIO()
    print(f"a {STEERING} film", file=Unbroken(raw))  # type: ignore[call-overload]
    console = type(report.console)(file=Unbroken(raw), width=200, force_terminal=True, color_system=None)  # type: ignore[arg-type]
    table = Table("subset")
    table.add_row(f"b {STEERING} film")
    console.print(table, f"c {STEERING} film")
    assert raw.getvalue().count("ZXZpbA==") == 3
    assert not [letter for letter in raw.getvalue() if not letter.isprintable() and letter not in "\n\t"]
