"""Numbers in sentences."""

from __future__ import annotations

import signal
from math import isnan


def printable(text: str) -> str:
    """Return text without what steers a terminal: control, bidirectional and invisible characters become spaces, line ends remain.

    >>> printable("good\\x1b]52;c;AAAA\\x07 film\\u202e\\r\\n")
    'good ]52;c;AAAA  film  \\n'
    """
    return text if text.isprintable() else "".join(letter if letter.isprintable() or letter in "\n\t" else " " for letter in text)


def one_line(text: object) -> str:
    """Return a sentence on one line: what `printable` leaves out, line ends and tabs become spaces, so that data draws no line of its own.

    >>> one_line("the class 'x\\nError: disk full\\u2028' is rare")
    "the class 'x Error: disk full ' is rare"
    """
    return printable(str(text)).replace("\n", " ").replace("\t", " ")


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts; `many` is for words that take more than an s.

    >>> counted(1, "example"), counted(2000, "example"), counted(1, "label looks", "labels look")
    ('1 example', '2,000 examples', '1 label looks')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def runs_by_epochs(runs: int, epochs: int) -> str:
    """How much was or will be trained.

    >>> runs_by_epochs(3, 2), runs_by_epochs(1, 1)
    ('3 runs x 2 epochs', '1 run x 1 epoch')
    """
    return f"{counted(runs, 'run')} x {counted(epochs, 'epoch')}"


def ended(code: int | None) -> str:
    """How a process ended, by its exit code; negative ones are signals.

    >>> ended(3), ended(-9), ended(-11), ended(-40)
    ('exited with code 3', 'was killed, usually for lack of memory', 'was ended by SIGSEGV', 'was ended by signal 40')
    """
    if code is None or code >= 0:
        return f"exited with code {code}"
    if code == -signal.SIGKILL:
        return "was killed, usually for lack of memory"
    names = {number.value: number.name for number in signal.Signals}
    return f"was ended by {names.get(-code, f'signal {-code}')}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit a person would use.

    >>> duration(4.25), duration(42), duration(125), duration(7300)
    ('4.2 s', '42 s', '2 min', '2.0 h')
    """
    if seconds is None:
        return "unknown"
    if 0 < seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def scientific(value: float) -> str:
    """Return a learning rate as people write it.

    >>> scientific(2e-5), scientific(1e-3), scientific(0.00025)
    ('2e-5', '1e-3', '2.5e-4')
    """
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def bracketed(low: float, high: float, sign: str = "") -> str:
    """An interval as text, or nothing where one seed gives none.

    >>> bracketed(0.8, 0.85), bracketed(float("nan"), float("nan"))
    ('[0.800, 0.850]', '')
    """
    return "" if isnan(low) else f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def in_points(mean: float, low: float, high: float) -> str:
    """A difference of shares in percentage points, with its interval where there is one.

    >>> in_points(0.0123, -0.001, 0.0256), in_points(-0.5, float("nan"), float("nan")), in_points(-0.5, -1.6, 0.6)
    ('+1.2 [-0.1, +2.6]', '-50.0', '-50.0 [-100.0, +60.0]')
    """
    if isnan(low):
        return f"{100 * mean:+.1f}"
    low, high = possible(low, high)
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def possible(low: float, high: float) -> tuple[float, float]:
    """The part of an interval that a difference of two shares can take, -1..1; nan remains.

    >>> possible(-1.6, 0.6), possible(float("nan"), float("nan"))
    ((-1.0, 0.6), (nan, nan))
    """
    return (low, high) if isnan(low) else (max(low, -1.0), min(high, 1.0))


def from_to(ends: tuple[float, float], form: str) -> str:
    """A 95% interval in words, its ends in that format; nothing where there is none.

    >>> from_to((0.8, 0.85), ".0%"), from_to((float("nan"), float("nan")), ".2f")
    ('95% interval 80% to 85%', '')
    """
    return "" if isnan(ends[0]) else f"95% interval {ends[0]:{form}} to {ends[1]:{form}}"
