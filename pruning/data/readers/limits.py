"""How much of anything a source may have; more is taken for a mistake, or for an attack."""

CHUNK = 8192
"""Rows turned into Arrow arrays at a time."""

MAX_COLUMNS = 10_000
MAX_ROWS = 100_000_000
MAX_DEPTH = 32
"""Lists and objects within each other."""
MAX_BYTES = 32 << 30
"""Of a file, and of what it unpacks to."""
