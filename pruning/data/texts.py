"""The text of examples, whatever the task: one column of strings per field that holds text. Pure: schemas and tables in."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pruning.data.examples import SOURCE_PREFIX


def text_fields(schema: pa.Schema) -> list[str]:
    """The task's fields that hold text or lists of texts, in their order.

    >>> text_fields(pa.schema({"id": pa.int64(), "question": pa.string(), "options": pa.list_(pa.string()), "label": pa.int64()}))
    ['question', 'options']
    """
    own = [field for field in schema if field.name not in ("id", "row", "label") and not field.name.startswith(SOURCE_PREFIX)]
    return [field.name for field in own if _is_text(field.type) or (pa.types.is_list(field.type) and _is_text(field.type.value_type))]


def flat(table: pa.Table) -> pa.Table:
    """The same columns, each list of texts as one text, a line each.

    >>> flat(pa.table({"options": [["yes", "no"]]}))["options"].to_pylist()
    ['yes\\nno']
    """
    columns = [column if _is_text(column.type) else pc.binary_join(column, "\n") for column in table.columns]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def stacked(first: pa.Table, second: pa.Table) -> pa.Table:
    """The rows of both, their columns as strings.

    >>> stacked(pa.table({"text": ["a"]}), pa.table({"text": ["b"]}))["text"].to_pylist()
    ['a', 'b']
    """
    return pa.concat_tables(pa.table({name: table[name].cast(pa.string()) for name in first.column_names}) for table in (first, second))


def joined(table: pa.Table) -> pa.Array:
    """[N] all columns of each row as one text.

    >>> joined(pa.table({"question": ["Why?", None], "answer": ["So.", "No."]})).to_pylist()
    ['Why?\\nSo.', '\\nNo.']
    """
    columns = [pc.fill_null(column.cast(pa.string()), "") for column in table.columns]
    return pc.binary_join_element_wise(*columns, "\n").combine_chunks()


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
