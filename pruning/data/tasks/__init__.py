"""The tasks: one class each, listed in `TASKS`. To add a task, add a class there."""

from __future__ import annotations

from collections.abc import Mapping

from pruning.data.readers import Source
from pruning.data.tasks.base import Fields, Guess, Part, Problem, Task
from pruning.data.tasks.classification import Classification
from pruning.data.tasks.generation import Generation
from pruning.data.tasks.multiple_choice import MultipleChoice
from pruning.data.tasks.question_answering import QuestionAnswering
from pruning.data.tasks.rollouts import Rollouts
from pruning.errors import DataError, UsageError

__all__ = ["TASKS", "Fields", "Guess", "Part", "Problem", "Task", "detect"]

TASKS: dict[str, Task] = {task.name: task for task in (QuestionAnswering(), MultipleChoice(), Generation(), Classification(), Rollouts())}
"""Name -> task, the most specific first: detection uses the first whose columns are there."""


def detect(source: Source, task: str = "auto", columns: Mapping[str, str] | None = None) -> tuple[Task, Guess]:
    """Return the task of a source and the columns of its fields, keeping those given.

    Raises UsageError for a task or field that does not exist, DataError for a column that does not exist, and when no task fits;
    the message lists the choices.
    """
    if task != "auto" and task not in TASKS:
        raise UsageError(f"task must be auto or one of {', '.join(TASKS)}, got {task!r}.", "task")
    given, there = dict(columns or {}), source.table.column_names
    for field, column in given.items():
        if column not in there:
            raise DataError(f"{source.name} has no column {column!r} for {field}; its columns are {', '.join(there[:20])}.")
    candidates = [one for one in TASKS.values() if one.scored] if task == "auto" else [TASKS[task]]
    fields = dict.fromkeys(field for one in candidates for field in one.all_fields)
    if unknown := sorted(given.keys() - fields.keys()):
        raise UsageError(f"There is no field {unknown[0]!r}; name the column of any of {', '.join(fields)}.")
    candidates = [one for one in candidates if given.keys() <= set(one.all_fields)]
    if not candidates:
        raise UsageError(f"No task has all the fields {', '.join(given)}.")
    for one in candidates:
        guess = one.guess(source, given)
        if guess is not None:
            return one, guess
    wanted = ", or ".join(f"{one.name}: {one.wanted}" for one in sorted(candidates, key=lambda one: one.name != "classification"))
    here = ", ".join(map(repr, there[:20]))
    raise DataError(f"Cannot detect the columns of {source.name}: {here}. Name those of one task ({wanted}).", "columns")
