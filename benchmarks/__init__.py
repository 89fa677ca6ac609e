"""Measurements, each a command; their last results lie in benchmarks/results with command, date and machine kind."""
