"""Recordings made elsewhere: a recorder for your own training loop, and importers for other tools."""
