"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts; `many` is for words that take more than an s.

    >>> counted(1, "example"), counted(2000, "example"), counted(1, "label looks", "labels look")
    ('1 example', '2,000 examples', '1 label looks')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
