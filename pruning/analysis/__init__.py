"""Pure functions over arrays and tables: scores, stability, audit, duplicates, the frontier and the recommendation."""
