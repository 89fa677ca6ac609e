"""Subsets: the grammar of their names, the rules behind them, ways to choose rows, and decisions by hand."""
