"""Read Parquet, Arrow, folders saved by `datasets`, and hub datasets: tables with types and declared classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pruning.data.readers import limits
from pruning.data.readers.files import File
from pruning.data.readers.origin import Origin
from pruning.data.readers.source import FEATURE, JSON_TEXT, Source, name_of, one_line, storable
from pruning.errors import DataError
from pruning.files import sha256

TRAINING_SPLITS = ("train", "training")
"""Splits that are read when none is named, in this order."""

HUB_SECONDS = 10.0
"""Seconds to wait for the hub to answer whether it has a dataset."""

HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*(?:/[\w-][\w.-]*)?)(?::(?P<config>[^@#]+))?(?:@(?P<revision>[^#]+))?")
"""name, name:config, name@revision, name:config@revision."""


def read_parquet(files: Sequence[File]) -> Source:
    """Read Parquet files of the same columns, each checked before and after it unpacks."""
    return _together(files, [_read_parquet(file) for file in files])


def read_arrow(files: Sequence[File]) -> Source:
    """Read Arrow files of the same columns, in the file format (Feather) or the stream format, as `datasets` writes it."""
    return _together(files, [_read_arrow(file) for file in files])


def _together(files: Sequence[File], sources: list[Source]) -> Source:
    if len({tuple(sorted(source.table.column_names)) for source in sources}) > 1:
        raise DataError(f"{name_of(files)} have different columns; each shard must have the same.")
    if len({tuple(sorted(source.class_names.items())) for source in sources}) > 1:
        raise DataError(f"{name_of(files)} declare different classes; each shard must declare the same.")
    first = sources[0]
    try:
        table = pa.concat_tables([source.table.select(first.table.column_names) for source in sources], promote_options="default")
    except pa.ArrowException as error:
        raise DataError(f"{name_of(files)} have columns of different types: {one_line(error)}.") from None
    starts = np.cumsum([0, *(source.table.num_rows for source in sources[:-1])]).tolist()
    return replace(first, name=name_of(files), table=table, starts=tuple(starts), origin=Origin(files=tuple(files)))


def _read_parquet(path: File) -> Source:
    try:
        with pq.ParquetFile(path.path) as file:
            _check_unpacked(path, file.metadata)
            texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        with pq.ParquetFile(path.path, read_dictionary=texts) as file:
            table = file.read()
        return _checked(path, table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a whole Parquet file: {one_line(error)}.") from None


def _read_arrow(path: File) -> Source:
    try:
        with pa.OSFile(str(path.path)) as file:
            own = file.read(6) == b"ARROW1"
            file.seek(0)
            with (pa.ipc.open_file if own else pa.ipc.open_stream)(file) as reader:
                table = reader.read_all()
        return _checked(path, table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a whole Arrow file: {one_line(error)}.") from None


def _checked(path: File, table: pa.Table) -> Source:
    """Return the table as a source. Raises DataError if it is too large unpacked, ArrowInvalid if it contradicts itself."""
    if (size := sum(_unpacked(column) for column in table.columns)) > limits.MAX_BYTES:
        raise DataError(f"{path} has {size:,} bytes when unpacked; at most {limits.MAX_BYTES:,} can be read.")
    table.validate(full=True)
    return _source(str(path), table)


def _check_unpacked(path: File, metadata: Any) -> None:
    """Raise DataError for a file whose metadata announces more rows, columns or bytes than can be read."""
    if metadata.num_rows > limits.MAX_ROWS:
        raise DataError(f"{path} has {metadata.num_rows:,} rows; at most {limits.MAX_ROWS:,} can be read.")
    if metadata.num_columns > limits.MAX_COLUMNS:
        raise DataError(f"{path} has {metadata.num_columns} columns; at most {limits.MAX_COLUMNS} can be read.")
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if size > limits.MAX_BYTES:
        raise DataError(f"{path} has {size:,} bytes when unpacked; at most {limits.MAX_BYTES:,} can be read.")


def _unpacked(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column with its dictionary decoded: until then a text that many rows share is stored once."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        return int(column.nbytes)
    return sum(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices).cast(pa.int64())).as_py() or 0 for chunk in column.chunks)


def read_saved(path: Path, split: str | None) -> Source:
    """Read a folder saved by `datasets` into memory, with `datasets`; no code in it is executed."""
    import datasets

    _check_named(path)
    named = saved_splits(path)
    chosen = choose_split(str(path), list(named), split) if named else None
    files = _files_of(path / chosen if chosen else path)
    try:
        loaded = datasets.load_from_disk(str(path), keep_in_memory=True)
    except Exception as error:
        raise DataError(f"{path} is a damaged folder of datasets: {one_line(error)}.") from None
    if chosen is None and split is not None:
        raise DataError(f"{path} has no splits, so {split!r} cannot be chosen.")
    if isinstance(loaded, datasets.DatasetDict) != bool(chosen) or (chosen and chosen not in loaded):
        raise DataError(f"{path} is a damaged folder of datasets: dataset_dict.json does not name the splits that are there.")
    source = _of_dataset(f"{path}#{chosen}", loaded[chosen]) if chosen else _of_dataset(str(path), loaded)
    for file in files:
        file.check()
    return replace(source, origin=Origin(files=files))


def _files_of(folder: Path) -> tuple[File, ...]:
    """Return the files that the folder's state.json names as its rows."""
    named = [file.get("filename") if isinstance(file, dict) else file for file in _said(folder, "state.json", "_data_files")]
    paths = [folder / _own(folder, name) for name in named]
    return tuple(File(path=path, name=str(path), kind=".arrow", sha256=sha256(path), origin=path) for path in paths if path.is_file())


def saved_splits(path: Path) -> tuple[str, ...]:
    """Return the splits of a folder saved by `datasets`; none where it has none."""
    named = _said(path, "dataset_dict.json", "splits")
    return tuple(_own(path, name) for name in named)


def _check_named(path: Path) -> None:
    """Raise DataError for a folder that names files outside of it, which `datasets` would read as its own."""
    for folder in (path, *(path / split for split in saved_splits(path))):
        for file in _said(folder, "state.json", "_data_files"):
            _own(folder, file.get("filename") if isinstance(file, dict) else file)


def _said(folder: Path, file: str, key: str) -> list[Any]:
    """Return the list under that key of a JSON file of a saved folder; empty where there is no such file."""
    try:
        said = json.loads((folder / file).read_text(encoding="utf-8"))[key]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder} is a damaged folder of datasets: {file} cannot be read ({one_line(error)}).") from None
    if not isinstance(said, list):
        raise DataError(f"{folder} is a damaged folder of datasets: {key!r} in {file} is not a list.")
    return said


def _own(folder: Path, name: Any) -> str:
    """Return a name that a saved folder gives to one of its parts. Raises DataError when it leads, or could lead, out of the folder."""
    if not isinstance(name, str) or not name or name.startswith("/") or re.search(r"[\\:\0]", name) or ".." in PurePosixPath(name).parts:
        raise DataError(f"{folder} is a damaged folder of datasets: it names {name!r}, which is not a file within it.")
    return name


def read_hub(name: str, split: str | None) -> Source:
    """Read a hub dataset, fetched once into the hub's own cache; its code, if it has any, is never run."""
    import datasets

    hub, config, revision = _hub_parts(name)
    with _hub_in_words(name):
        _find(hub, revision)
        loaded = datasets.load_dataset(hub, config, revision=revision)
    chosen = choose_split(name, list(loaded), split)
    return _of_dataset(f"{name}#{chosen}", loaded[chosen])


def hub_splits(name: str) -> tuple[str, ...]:
    """Return the splits of a hub dataset."""
    import datasets

    hub, config, revision = _hub_parts(name)
    with _hub_in_words(name):
        return tuple(str(split) for split in datasets.get_dataset_split_names(hub, config, revision=revision))


def _hub_parts(name: str) -> tuple[str, str | None, str | None]:
    """Return name, configuration and revision of a hub dataset. Raises DataError when it cannot be one."""
    matched = HUB_NAME.fullmatch(name)
    if not matched:
        raise DataError(f"There is no file or folder {name}.")
    return matched["name"], matched["config"], matched["revision"]


def _find(hub: str, revision: str | None) -> None:
    """Ask the hub once whether it has the dataset, because `datasets` itself retries an unreachable hub for half a minute."""
    import huggingface_hub

    if not huggingface_hub.constants.HF_HUB_OFFLINE:
        huggingface_hub.HfApi().dataset_info(hub, revision=revision, timeout=HUB_SECONDS)


@contextmanager
def _hub_in_words(name: str) -> Iterator[None]:
    """Turn errors of the hub and the network into one sentence."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    missing = f"There is no file or folder {name}"
    try:
        yield
    except (DatasetNotFoundError, RepositoryNotFoundError, HFValidationError):
        raise DataError(f"{missing}, and the hub has no dataset of that name that can be read from here.") from None
    except Exception as error:
        if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith("httpx"):
            hint = "" if HF_HUB_OFFLINE else "; with HF_HUB_OFFLINE=1 a copy fetched earlier is used"
            raise DataError(f"{missing}, and the hub cannot be reached to look for a dataset of that name{hint}.") from None
        raise DataError(f"{missing}, and the hub's dataset of that name cannot be read: {one_line(error)}.") from None


def choose_split(name: str, there: list[str], split: str | None) -> str:
    """Return the split asked for, else the training split, else the only one."""
    if not there:
        raise DataError(f"{name} has no splits.")
    wanted = [split] if split is not None else [one for one in TRAINING_SPLITS if one in there] or there
    if wanted[0] not in there or (split is None and len(wanted) > 1 and wanted == there):
        raise DataError(f"{name} has the splits {', '.join(there)}; {f'there is no {split!r}' if split else 'choose one with #NAME'}.")
    return wanted[0]


def _of_dataset(name: str, dataset: Any) -> Source:
    table = dataset.with_format("arrow")[:]
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise DataError(f"{name} is damaged: {one_line(error)}.") from None
    return _source(name, table, dataset.features)


def _source(name: str, table: pa.Table, features: Any = None) -> Source:
    """Return a source from an Arrow table, its dictionaries decoded, its class names from the features that `datasets` stores with it."""
    names = table.column_names
    if len(set(names)) < len(names):
        raise DataError(f"{name} has two columns of the same name; each needs its own.")
    notes: tuple[str, ...] = ()
    if features is None and b"huggingface" in (table.schema.metadata or {}):
        features, notes = _features(table.schema)
    class_names = {column: tuple(feature.names) for column, feature in (features or {}).items() if getattr(feature, "names", None)}
    declared = features.to_dict() if features is not None else {}
    columns, fields = [], []
    for column in names:
        values = _plain(table[column])
        encoded = pa.types.is_nested(_plain_type(table[column].type)) and not pa.types.is_nested(values.type)
        metadata = JSON_TEXT if encoded else {FEATURE: json.dumps(declared[column]).encode()} if column in declared else None
        columns.append(values)
        fields.append(pa.field(column, values.type, metadata=metadata))
    return Source(name=name, table=pa.table(columns, schema=pa.schema(fields)), class_names=class_names, notes=notes)


def _features(schema: pa.Schema) -> tuple[Any, tuple[str, ...]]:
    """Return the features that `datasets` stored in a file's schema, and notes about them."""
    import datasets

    try:
        return datasets.Features.from_arrow_schema(schema), ()
    except Exception as error:
        return None, (f"Its declared features cannot be read and are ignored: {one_line(error)}.",)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column with plain strings and lists instead of dictionaries, views and large ones; JSON text where it cannot be stored."""
    kind = _plain_type(column.type)
    return storable(column if kind == column.type else column.cast(kind))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([part.with_type(_plain_type(part.type)) for part in kind])
    return kind
