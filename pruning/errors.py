"""Everything that can go wrong in a way a person can mend, one class per situation.

Each error is one sentence: what is wrong, where, and what would be right. The command line and the
pages turn them into words in one place each; anything that is not a `WinnowError` is our bug.
"""

LONGEST = 2000
"""Letters of the longest message."""


class WinnowError(Exception):
    """Base of every error a person can mend. Exit code 1 on the command line."""

    def __str__(self) -> str:
        """The sentence on one line. What it quotes from data can neither break it, steer a terminal, nor flood one.

        >>> str(WinnowError("no label\\n\\x1b[31mred"))
        'no label  [31mred'
        """
        text = "".join(letter if letter.isprintable() else " " for letter in super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class UsageError(WinnowError):
    """A setting, flag or name that cannot be right. Exit code 2 on the command line."""


class DataError(WinnowError):
    """A file or dataset cannot be read as labelled examples."""


class ModelError(WinnowError):
    """A model is not there, or cannot do the task."""


class ExperimentError(WinnowError):
    """An experiment's folder is missing, incomplete, from another version, or has other settings."""


class BusyError(WinnowError):
    """Another worker owns the experiment."""


class SubsetError(WinnowError):
    """A subset cannot be made, found, or trained on."""


class ScoreError(WinnowError):
    """A score needs something the recording does not have."""


class ExportError(WinnowError):
    """An export cannot be written, or does not match its manifest."""


class DownloadError(WinnowError):
    """The sample could not be fetched, or is not the file that was pinned."""


class TrainingError(WinnowError):
    """A run could not be trained to its end."""


class Diverged(TrainingError):
    """A run's loss became NaN; `key` names the run."""

    def __init__(self, sentence: str, key: str = "") -> None:
        super().__init__(sentence)
        self.key = key


class Cancelled(WinnowError):
    """The person asked for the work to stop; what was finished is kept."""
