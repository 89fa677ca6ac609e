"""Errors the user can fix, one class per situation.

Each message is one sentence: what is wrong (with the value), where, and how to fix it. The command line and the
pages print them in one place each; any other exception is a bug in Winnow.
"""

import os

LONGEST = 2000
"""Maximum length of a message, in characters."""


def system_words(error: OSError) -> str:
    """Return the system's own words for its error, also where a library put words of its own around them.

    >>> system_words(OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device"))
    'no space left on device'
    """
    return (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()


class WinnowError(Exception):
    """Base class for errors the user can fix. Exit code 1 on the command line."""

    def __str__(self) -> str:
        """Return the message on one line, without control characters and at most `LONGEST` characters long.

        >>> str(WinnowError("no label\\n\\x1b[31mred"))
        'no label  [31mred'
        """
        text = "".join(letter if letter.isprintable() else " " for letter in super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class UsageError(WinnowError):
    """A setting, flag or name that is not valid. Exit code 2 on the command line.

    `field` names the setting, so that the command line can add its flag and a page its widget.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class DataError(WinnowError):
    """A file or dataset cannot be read as labelled examples. `field` names the setting that would help, as in `UsageError`."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class ModelError(WinnowError):
    """A model does not exist, cannot be loaded, or does not support the task."""


class ExperimentError(WinnowError):
    """An experiment's folder is missing, incomplete, from another version, or has other settings. `field` as in `UsageError`."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class BusyError(WinnowError):
    """The experiment is in use by another job."""


class SubsetError(WinnowError):
    """A subset does not exist, or cannot be created or trained on."""


class ScoreError(WinnowError):
    """A score needs values that the recording does not have."""


class ExportError(WinnowError):
    """An export cannot be written, or does not match its manifest."""


class DownloadError(WinnowError):
    """The sample could not be downloaded, or is not the pinned file."""


class ClusterError(WinnowError):
    """A Ray cluster cannot be used, or has no machine that can train."""


class TrainingError(WinnowError):
    """A run could not be trained to its end."""


class Diverged(TrainingError):
    """A run's loss became NaN."""


class Cancelled(WinnowError):
    """The user stopped the work; finished work is kept. Exit code 130 on the command line."""
