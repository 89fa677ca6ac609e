"""The loss mask of the first rows as text: which tokens are learned, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pruning.data import lengths, models
from pruning.data.examples import read_source
from pruning.data.tasks import TASKS, detect
from pruning.data.tasks.generation.encoding import sequences
from pruning.data.tasks.generation.render import way
from pruning.data.tasks.generation.turns import conversations_of
from pruning.formatting import counted
from pruning.settings import Settings

ROWS = 3
SEARCHED = 200
"""Rows from the start among which the first that can be read are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedRow:
    """One example as its tokens are learned or only read."""

    id: int
    pieces: tuple[tuple[str, bool], ...]
    """Stretches of text, True where they are learned; together the whole text, special tokens included."""
    learned: int
    """Tokens learned."""
    total: int
    """All tokens."""

    @property
    def sentence(self) -> str:
        """How many of its tokens are learned."""
        return f"{counted(self.learned, 'token is', 'tokens are')} learned of {self.total:,} in example {self.id}"


def of_table(table: pa.Table, tokenizer: Any) -> list[MaskedRow]:
    """Return the rows of an examples' table with their masks. Raises DataError for one that the template cannot render."""
    ids = table["id"].to_pylist()
    return [_masked(ids[place], one, tokenizer) for place, one in enumerate(sequences(conversations_of(table), tokenizer, ids))]


def _masked(example: int, one: Any, tokenizer: Any) -> MaskedRow:
    learned = one.learned.copy()
    learned[:1] = False
    pairs = zip(one.ids.tolist(), learned.tolist(), strict=True)
    pieces = [(tokenizer.decode([token for token, _ in group]), mask) for mask, group in groupby(pairs, key=lambda pair: pair[1])]
    return MaskedRow(id=example, pieces=tuple(pieces), learned=int(learned.sum()), total=len(one.ids))


def preview(settings: Settings, rows: int = ROWS) -> tuple[Sequence[MaskedRow], str]:
    """Return the first rows of the data with their masks, and how these are found; nothing where the model's tokenizer is not local.

    Raises DataError for data that cannot be read or rendered, UsageError for a template that is not there.
    """
    path = lengths.tokenizer(settings.model)
    if path is None:
        return (), "The model's tokenizer is not on this machine yet, so what is learned is shown once it is."
    tokenizer = models.load_tokenizer(path.parent, settings.template)
    source = read_source(settings.data, None, settings.header)
    task, guess = detect(source, settings.task, settings.columns)
    if task.kind != "generation":
        return (), ""
    fields = TASKS[task.name].read(replace(source, table=source.table.slice(0, SEARCHED)), guess.columns)
    table = pa.table({"id": pa.array(range(min(SEARCHED, source.table.num_rows))), **fields.columns})
    good = table.filter(pc.is_valid(table["render"])).slice(0, rows)
    return of_table(good, tokenizer), way(tokenizer)
