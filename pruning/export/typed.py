"""Columns with the types and declared features of their source, for Parquet and for `datasets`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.readers.source import FEATURE, one_line
from pruning.errors import ExportError
from pruning.export import rows
from pruning.export.exportable import Exportable


def typed_batches(
    source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], format: str
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the schema of an export and its batches: values checked against the source, features restored (ClassLabel and others).

    Raises ExportError naming a column that cannot be written as it was, or that has lost its feature.
    """
    batches = rows.same_batches(source, kept, labels, format)
    first = next(batches)
    features = _features(source, first.schema)
    if features is None:
        schema = pa.schema([field.remove_metadata() for field in first.schema])
        return schema, (pa.record_batch(batch.columns, schema=schema) for batch in chain([first], batches))
    schema = features.arrow_schema
    return schema, (_restored(batch, features, schema, format) for batch in chain([first], batches))


def _features(source: Exportable, schema: pa.Schema) -> Any:
    """Return the features of all columns as `datasets` has them; None where the source declares none."""
    declared = {field.name: (field.metadata or {}).get(FEATURE) for field in rows.fields(source)}
    if not any(declared.values()):
        return None
    from datasets import Features
    from datasets.features.features import generate_from_arrow_type

    described = {}
    for field in schema:
        said = declared[field.name]
        try:
            described[field.name] = Features.from_dict({"": json.loads(said)})[""] if said else generate_from_arrow_type(field.type)
        except Exception as error:
            raise ExportError(f"Column {field.name!r} declares a feature that `datasets` does not know: {one_line(error)}.") from None
    return Features(described)


def _restored(batch: pa.RecordBatch, features: Any, schema: pa.Schema, format: str) -> pa.RecordBatch:
    from datasets.table import cast_array_to_feature

    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(cast_array_to_feature(column, features[name]))
        except Exception as error:
            raise rows.refused(name, None, f"its values do not fit its declared feature, {one_line(error)}", format, "jsonl") from None
    return pa.record_batch(columns, schema=schema)
