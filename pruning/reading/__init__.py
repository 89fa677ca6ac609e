"""One reading of an experiment: burn-in, success rule, decisions made by hand or not. `reading` has the whole, the others its parts."""

from pruning.reading.reading import Reading

__all__ = ["Reading"]
