"""Limits of a source; data beyond them is treated as a mistake or an attack, and refused."""

CHUNK = 8192
"""Rows turned into Arrow arrays at a time."""

MAX_COLUMNS = 10_000
MAX_ROWS = 100_000_000
MAX_DEPTH = 32
"""Levels of nested lists and objects."""
MAX_BYTES = 32 << 30
"""Bytes of a file, packed and unpacked."""
